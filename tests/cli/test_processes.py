"""The tool under mpirun: the same results, one writer, one message, and nothing left hanging."""

import json
import os
import shutil
import signal
import subprocess
import time
import unittest

from harness import DATA, DONE, TOOL, USAGE, CliTest

MPIRUN = ["mpirun", "--oversubscribe", "--bind-to", "none"]


class Processes(CliTest):
    def together(self, processes, *arguments, **more):
        environment = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        command = [*MPIRUN, "-n", str(processes), TOOL, *arguments]
        return subprocess.Popen(command, cwd=self.folder, env=environment, text=True, start_new_session=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)

    def finished(self, processes, *arguments, code=DONE):
        process = self.together(processes, *arguments)
        out, err = process.communicate(timeout=300)
        self.assertEqual(process.returncode, code, out + err)
        return out, err

    def result(self, folder):
        return json.loads((self.folder / folder / "result.json").read_text())

    def lines(self, folder):
        return [json.loads(line) for line in (self.folder / folder / "metrics.jsonl").read_text().splitlines()]

    def test_training_gives_what_one_process_gives(self):
        arguments = ["train", *self.cloud_problem(), "--method", "kfac", "--batch-size", "50", "--steps", "12", "--dtype", "float64"]
        self.tool(*arguments, "--out", "one")
        out, err = self.finished(3, *arguments, "--out", "three")
        self.assertEqual(out.count("Results: "), 1, out)
        self.assertEqual(err.count("plan: "), 1, err)
        one, three = self.result("one"), self.result("three")
        self.assertAlmostEqual(one["training"]["final"]["loss"], three["training"]["final"]["loss"], delta=1e-8)
        self.assertEqual([line["step"] for line in self.lines("three") if "step" in line], list(range(1, 13)))
        self.assertEqual(one["cost"]["gradient_equivalents"], three["cost"]["gradient_equivalents"])
        self.assertNotIn("communication", one["cost"])
        self.assertEqual(three["cost"]["communication"]["processes"], 3)
        self.assertGreater(three["cost"]["communication"]["bytes"], 12 * 8 * 99)  # of a gradient of 99 numbers, 12 times

    def test_an_analysis_gives_what_one_process_gives(self):
        arguments = ["analyze", *self.cloud_problem(), "--eigenvalues", "3", "--dtype", "float64"]
        self.tool(*arguments, "--out", "one")
        self.finished(2, *arguments, "--out", "two")
        one, two = (self.result(folder)["spectrum"]["hessian"]["largest"] for folder in ("one", "two"))
        self.assertEqual(len(one), 3)
        for a, b in zip(one, two, strict=True):
            self.assertAlmostEqual(a["value"], b["value"], delta=1e-9 * abs(a["value"]))

    def test_a_race_in_seconds_ends_for_all(self):
        self.finished(2, "compare", *self.cloud_problem(), "--methods", "sgd,adam,lbfgs", "--budget", "0.3s", "--out", "c")
        self.assertEqual({entry["method"] for entry in self.result("c")["comparison"]}, {"sgd", "adam", "lbfgs"})

    def test_a_mistake_is_told_once(self):
        out, err = self.finished(2, "train", *self.cloud_problem(), "--method", "adm", "--steps", "1", code=USAGE)
        self.assertEqual(err.count("did you mean adam"), 1, err)
        _, err = self.finished(2, "train", "--model", "mlp:2-3", "--data", "absent.safetensors", "--loss", "mse", "--steps", "1", code=DATA)
        self.assertEqual(err.count("absent.safetensors"), 1, err)

    def running(self, processes, out, *more):
        arguments = ["train", *self.cloud_problem(), "--method", "adam", "--batch-size", "40", "--steps", "100000000", "--checkpoint-every", "20",
                     "--out", out, *more]
        process = self.together(processes, *arguments)
        end = time.time() + 60
        while not list(self.folder.glob(f"{out}/checkpoints/*")):
            self.assertIsNone(process.poll(), "ended early")
            self.assertLess(time.time(), end)
            time.sleep(0.05)
        return process

    def test_an_interrupt_leaves_a_checkpoint_and_another_number_of_processes_goes_on(self):
        process = self.running(2, "stopped")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        result = self.result("stopped")
        self.assertEqual(result["status"], "interrupted")
        steps = result["training"]["steps"]
        self.assertGreater(steps, 0)
        shutil.copytree(self.folder / "stopped", self.folder / "alone")
        for folder, processes in (("stopped", 3), ("alone", 1)):
            self.finished(processes, "train", "--resume", "--out", folder, "--steps", str(steps + 5))
            self.assertEqual(self.result(folder)["training"]["steps"], steps + 5)
            self.assertEqual([line["step"] for line in self.lines(folder) if "step" in line], list(range(1, steps + 6)))
        a, b = (self.result(folder)["training"]["final"]["loss"] for folder in ("stopped", "alone"))
        self.assertAlmostEqual(a, b, delta=1e-4 * abs(a))

    def test_a_process_that_dies_ends_all(self):
        process = self.running(3, "died")
        children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True).stdout.split()
        os.kill(int(children[-1]), signal.SIGKILL)
        began = time.time()
        _, err = process.communicate(timeout=60)
        self.assertLess(time.time() - began, 20)
        self.assertNotEqual(process.returncode, 0)
        self.assertIn("signal 9", err)
        last = max(int(path.stem.split("-")[1]) for path in (self.folder / "died/checkpoints").glob("step-*.safetensors"))
        self.finished(2, "train", "--resume", "--out", "died", "--steps", str(last + 3))
        self.assertEqual(self.result("died")["training"]["steps"], last + 3)


if __name__ == "__main__":
    if shutil.which("mpirun") is None or subprocess.run([*MPIRUN, "-n", "2", TOOL, "--version"], capture_output=True, check=False, env={
            **os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}).returncode != 0:
        raise SystemExit(77)
    unittest.main()
