"""The tool under mpirun: the same results, one writer, one message, and nothing left hanging."""

import json
import os
import shutil
import signal
import subprocess
import time
import unittest

from harness import DATA, DONE, TOOL, MEMORY, USAGE, CliTest

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

    def wider_problem(self):
        return ["--model", "mlp:2-40-16-3", *self.cloud_problem()[2:], "--dtype", "float64"]  # 827 parameters: no matrix is formed

    def test_a_whole_analysis_gives_what_one_process_gives(self):
        arguments = ["analyze", *self.wider_problem(), "--full", "--eigenvalues", "3", "--set", "analyze.tolerance=1e-10"]
        self.tool(*arguments, "--out", "one")
        self.finished(3, *arguments, "--out", "three")
        one, three = (self.result(folder)["spectrum"]["hessian"] for folder in ("one", "three"))

        def near(a, b, limit=1e-8):
            self.assertAlmostEqual(a, b, delta=limit * max(abs(a), abs(b), 1e-12))

        for a, b in zip(one["largest"] + one["smallest"], three["largest"] + three["smallest"], strict=True):
            near(a["value"], b["value"], 1e-10)
        near(one["trace"]["value"], three["trace"]["value"])
        near(one["rank"]["effective"]["value"], three["rank"]["effective"]["value"])
        for a, b in zip(one["density"]["density"], three["density"]["density"], strict=True):
            near(a, b, 1e-6)
        for a, b in zip(one["low_rank"]["methods"], three["low_rank"]["methods"], strict=True):
            for x, y in zip(a["error"], b["error"], strict=True):
                near(x["value"], y["value"], 1e-6)
        for a, b in zip(one["slices"]["lines"], three["slices"]["lines"], strict=True):
            near(a["curvature"], b["curvature"], 1e-6)
        self.assertEqual(one["products"], three["products"])

    def test_kept_eigenpairs_are_those_of_any_number(self):
        arguments = ["analyze", *self.wider_problem(), "--eigenvalues", "3", "--set", "analyze.check_products=0"]
        self.finished(3, *arguments, "--keep-eigenpairs", "--out", "kept")
        self.finished(2, *arguments, "--start-from", "kept", "--out", "again")
        self.tool(*arguments, "--start-from", "kept", "--out", "alone")
        first, again, alone = (self.result(folder)["spectrum"]["hessian"] for folder in ("kept", "again", "alone"))
        for a, b in zip(first["largest"], again["largest"], strict=True):
            self.assertAlmostEqual(a["value"], b["value"], delta=1e-4 * first["largest"][0]["value"])
        self.assertEqual(again["products"], alone["products"])
        self.assertLess(again["products"], first["products"])

    def test_a_basis_is_planned_by_the_rows_that_a_process_holds(self):
        arguments = ["analyze", "--model", "mlp:2-100-200-3", *self.cloud_problem()[2:], "--eigenvalues", "40", "--batch-size", "10",
                     "--set", "analyze.tolerance=0.5", "--set", "analyze.check_products=0"]
        self.tool(*arguments, "--out", "one")
        self.finished(4, *arguments, "--out", "four")
        one, four = (self.result(folder)["plan"]["bytes"] for folder in ("one", "four"))
        self.assertLess(four, 0.4 * one)
        small = ["--memory-budget", "16000000"]  # 260 vectors of 84 kB do not fit
        self.tool(*arguments, *small, "--out", "none", code=MEMORY)
        self.finished(4, *arguments, *small, "--out", "fits")

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
