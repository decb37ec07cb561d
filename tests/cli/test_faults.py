"""Nothing lost when things go wrong around a run: full disks, folders that cannot be written, memory that ends, a clock
that goes backwards, damaged checkpoints, numbers that are not finite. Each leaves a message, its exit code and a last
state that is whole and goes on."""

import ctypes
import json
import os
import pathlib
import resource
import shutil
import unittest

from harness import DATA, DONE, MEMORY, NUMERICAL, SANITIZED, USAGE, WRITE, CliTest, read_safetensors

BACKWARD_CLOCK = os.environ.get("OSCULANT_BACKWARD_CLOCK", "")


def without_root():
    """The next program has no powers over others' permissions, though it be root's."""
    if os.geteuid() == 0:
        PR_SET_SECUREBITS, SECBIT_NOROOT = 28, 1
        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_SECUREBITS, SECBIT_NOROOT, 0, 0, 0) != 0:
            os._exit(77)


class Faults(CliTest):
    def training(self, out, *more, steps=200):
        return ["train", *self.cloud_problem(), "--method", "adam", "--batch-size", "16", "--steps", steps, "--out", out,
                *([] if "--checkpoint-every" in more else ["--checkpoint-every", 20]), *more]  # fmt: skip

    def run_to(self, code, *arguments, says=(), **keywords):
        process = self.start(*arguments, **keywords)
        out, err = process.communicate(timeout=120)
        if process.returncode == 77:
            self.skipTest("this user cannot give up its powers")
        self.assertEqual(process.returncode, code, err)
        for text in [says] if isinstance(says, str) else says:
            self.assertIn(text, err)
        self.assertNotIn("a bug", err)
        return err

    def assert_whole(self, out):
        """What is there can be read: nothing is half written."""
        folder = self.folder / out
        for path in folder.rglob("*"):
            self.assertNotIn(".tmp-", path.name)
            if path.suffix == ".safetensors":
                read_safetensors(path)
            if path.name == "result.json":
                json.loads(path.read_text())
            if path.suffix == ".jsonl":
                text = path.read_text()
                self.assertTrue(text == "" or text.endswith("\n"))
                [json.loads(line) for line in text.splitlines()]

    def assert_goes_on(self, out, **keywords):
        """Resumed, it comes to the bits of a run that nothing happened to."""
        self.tool(*self.training(out, "--resume"), **keywords)
        if not (self.folder / "whole").exists():
            self.tool(*self.training("whole"))
        for name in ("parameters.safetensors", "best.safetensors"):
            if (self.folder / "whole" / name).exists():
                self.assertEqual((self.folder / out / name).read_bytes(), (self.folder / "whole" / name).read_bytes())

    # ---- disk

    def test_a_disk_that_fills_in_the_middle_of_a_training(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))  # metrics.jsonl reaches it after about 70 steps

        self.run_to(WRITE, *self.training("t"), says=["t/metrics.jsonl", "cannot write"], preexec_fn=limit)
        self.assert_whole("t")
        self.assertTrue(list((self.folder / "t/checkpoints").iterdir()))
        self.assert_goes_on("t")

    def test_a_checkpoint_that_does_not_fit(self):
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

        problem = self.training("t", "--checkpoint-every", 1)
        self.run_to(WRITE, *problem, says="cannot write t/", preexec_fn=limit)
        self.assert_whole("t")
        self.assert_goes_on("t")

    def test_folders_that_may_not_be_written(self):
        (self.folder / "locked").mkdir()
        (self.folder / "locked").chmod(0o555)
        self.run_to(WRITE, *self.training("locked/t"), says=["locked/t", "Permission denied"], preexec_fn=without_root)
        self.run_to(WRITE, *self.training("locked"), says=["locked/", "Permission denied"], preexec_fn=without_root)
        self.assertEqual(list((self.folder / "locked").iterdir()), [])

    def test_checkpoints_that_may_not_be_written(self):
        self.tool(*self.training("t", steps=40))
        os.remove(self.folder / "t/result.json")
        (self.folder / "t/checkpoints").chmod(0o555)
        self.run_to(WRITE, *self.training("t", "--resume"), says=["t/checkpoints", "Permission denied"], preexec_fn=without_root)
        self.assert_whole("t")
        (self.folder / "t/checkpoints").chmod(0o755)
        self.assert_goes_on("t")

    def test_files_that_may_not_be_read(self):
        problem = self.linear_problem()
        (self.folder / "train.safetensors").chmod(0)
        self.run_to(DATA, "analyze", *problem, says=["train.safetensors", "Permission denied"], preexec_fn=without_root)

    # ---- checkpoints

    def test_damaged_checkpoints_are_passed_over_and_named(self):
        self.tool(*self.training("t", steps=100))
        os.remove(self.folder / "t/result.json")
        newest, middle, oldest = sorted((self.folder / "t/checkpoints").iterdir(), reverse=True)
        newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
        flipped = bytearray(middle.read_bytes())
        flipped[-40] ^= 1  # one bit of a weight
        middle.write_bytes(flipped)
        shutil.copytree(self.folder / "t", self.folder / "lost")
        err = self.run_to(DONE, *self.training("t", "--resume"), says=[newest.name, middle.name, "checksum", f"({pathlib.Path('t/checkpoints') / oldest.name})"])
        self.assertEqual(err.count("trying the one before"), 2)
        self.assert_goes_on("t")
        oldest = self.folder / "lost/checkpoints" / oldest.name
        oldest.write_bytes(b"")
        before = (self.folder / "lost/metrics.jsonl").read_bytes()
        self.run_to(DATA, *self.training("lost", "--resume"), says=str(oldest.relative_to(self.folder)))
        self.assertEqual((self.folder / "lost/metrics.jsonl").read_bytes(), before)

    def test_a_checkpoint_whose_log_is_shorter_is_passed_over(self):
        self.tool(*self.training("t", steps=100))
        os.remove(self.folder / "t/result.json")
        log = self.folder / "t/metrics.jsonl"
        lines = log.read_bytes().splitlines(keepends=True)
        log.write_bytes(b"".join(lines[:70]) + lines[70][:30])  # as after a power cut
        self.run_to(DONE, *self.training("t", "--resume"), says=["metrics.jsonl", "trying the one before"])
        self.assert_goes_on("t")
        self.assertEqual([json.loads(line)["step"] for line in log.read_text().splitlines()], list(range(1, 201)))

    # ---- memory, clock, devices

    @unittest.skipIf(SANITIZED, "the tool is built with a sanitizer")
    def test_memory_that_ends(self):
        problem = self.cloud_problem(examples=300)
        problem[1] = "mlp:2-6000-6000-3"  # 144 MB of parameters

        def limit():
            resource.setrlimit(resource.RLIMIT_DATA, (500_000_000, 500_000_000))

        self.run_to(MEMORY, "train", *problem, "--method", "adam", "--steps", 5, "--out", "t", "--memory-budget", "100GiB", says="memory", preexec_fn=limit)
        self.assert_whole("t")

    @unittest.skipUnless(BACKWARD_CLOCK, "no library that turns the clock back")
    @unittest.skipIf(SANITIZED, "AddressSanitizer wants to be the first library")
    def test_a_clock_that_goes_backwards(self):
        backwards = {"LD_PRELOAD": BACKWARD_CLOCK}
        self.tool(*self.training("t", steps=100), env=backwards)
        result = json.loads((self.folder / "t/result.json").read_text())
        self.assertGreaterEqual(result["cost"]["seconds"], 0)
        seconds = [json.loads(line)["seconds"] for line in (self.folder / "t/metrics.jsonl").read_text().splitlines()]
        self.assertEqual(seconds, sorted(seconds))
        self.assertLess(seconds[-1], 100)
        os.remove(self.folder / "t/result.json")
        self.assert_goes_on("t", env=backwards)
        timed = self.training("timed", steps=10**9)
        self.tool(*timed, "--budget", "0.5s", env=backwards)  # ends, and not at once
        self.assertGreater(len((self.folder / "timed/metrics.jsonl").read_text().splitlines()), 1)

    def test_a_device_that_is_not_there_before_anything_is_written(self):
        self.refused(USAGE, *self.training("t", "--device", "cuda:63"), says="cuda:63")
        self.assertFalse((self.folder / "t").exists())

    # ---- results

    def test_results_of_another_schema_are_refused_by_name(self):
        self.tool(*self.training("t", steps=20))
        path = self.folder / "t/result.json"
        result = json.loads(path.read_text())
        result["schema"] = 0
        path.write_text(json.dumps(result))
        says = ["t/result.json", "schema 1", "schema 0"]
        self.refused(DATA, *self.training("t", "--resume"), says=says)
        self.refused(DATA, "report", "t", says=says)

    def test_nothing_is_written_through_a_link(self):
        self.tool(*self.training("t", steps=20))
        precious = self.folder / "precious"
        precious.write_text("mine")
        os.remove(self.folder / "t/report.html")
        (self.folder / "t/report.html").symlink_to(precious)
        self.refused(WRITE, "report", "t", says=["t/report.html", "is a link"])
        os.remove(self.folder / "t/result.json")
        self.refused(WRITE, *self.training("t", "--resume"), says=["t/report.html", "is a link"])
        self.assertEqual(precious.read_text(), "mine")


class NotFinite(CliTest):
    def power_problem(self, exponent, bias=0.0):
        """y = |x W' + b|^exponent, at W = 0: at its kink."""
        problem = self.linear_problem(bias=bias)
        self.insert_nodes([("abs.default", []), ("pow.Tensor_Scalar", [("exponent", {"as_float": exponent})])])
        return problem

    def insert_nodes(self, operators):
        import zipfile

        path = self.folder / "m.pt2"
        with zipfile.ZipFile(path) as archive:
            records = {name: archive.read(name) for name in archive.namelist()}
        program = json.loads(records["m/models/model.json"])
        graph = program["graph_module"]["graph"]
        last = "linear"
        for i, (operator, more) in enumerate(operators):
            name = f"extra_{i}"
            inputs = [{"name": "self", "arg": {"as_tensor": {"name": last}}, "kind": 1}]
            inputs += [{"name": key, "arg": value, "kind": 1} for key, value in more]
            graph["nodes"].append({"target": f"torch.ops.aten.{operator}", "inputs": inputs, "outputs": [{"as_tensor": {"name": name}}], "metadata": {}, "name": name, "is_hop_single_tensor_return": None})
            graph["tensor_values"][name] = graph["tensor_values"][last]
            last = name
        graph["outputs"] = [{"as_tensor": {"name": last}}]
        program["graph_module"]["signature"]["output_specs"] = [{"user_output": {"arg": {"as_tensor": {"name": last}}}}]
        records["m/models/model.json"] = json.dumps(program).encode()
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for name, content in records.items():
                archive.writestr(name, content)

    def test_a_gradient_that_is_not_finite(self):
        problem = self.power_problem(0.5)
        self.refused(NUMERICAL, "analyze", *problem, "--eigenvalues", "1", says="not finite")
        out, err = self.tool("train", *problem, "--method", "sgd", "--steps", "100", "--out", "t", code=NUMERICAL)
        self.assertIn("steps in a row were not finite", out + err)
        self.assertEqual(read_safetensors(self.folder / "t/parameters.safetensors")["fc.weight"], ([1, 2], [0.0, 0.0]))
        self.assertEqual(json.loads((self.folder / "t/result.json").read_text())["status"], "failed")

    def test_a_curvature_product_that_is_not_finite(self):
        problem = self.power_problem(1.5)
        out, err = self.tool("analyze", *problem, "--eigenvalues", "1", "--out", "a", code=NUMERICAL)
        self.assertIn("the matrix holds entries that are not finite", out)
        self.assertEqual(json.loads((self.folder / "a/result.json").read_text())["status"], "failed")

    def test_a_solver_that_does_not_converge(self):
        """One iteration where hundreds are needed: each step says so, and the loss falls by what was found."""
        more = ["--set", "train.options.cg_iterations=1", "--set", "train.options.tolerance=1e-9", "--steps", "5", "--out", "t"]
        result = self.tool_json("train", *self.cloud_problem(), "--method", "newton_cg", "--batch-size", "full", *more)
        self.assertEqual(result["status"], "done")
        self.assertLess(result["training"]["final"]["loss"], result["training"]["initial"]["loss"])
        for line in (self.folder / "t/metrics.jsonl").read_text().splitlines():
            self.assertIn("iteration", json.loads(line)["solver_stop"])

    def test_a_loss_that_becomes_infinite(self):
        out, err = self.tool("train", *self.linear_problem(), "--method", "sgd", "--lr", "1e8", "--steps", "100", "--out", "t", code=NUMERICAL)
        result = json.loads((self.folder / "t/result.json").read_text())
        self.assertEqual((result["status"], result["training"]["stop"]["reason"]), ("failed", "numerical_failure"))
        for line in (self.folder / "t/metrics.jsonl").read_text().splitlines():
            json.loads(line, parse_constant=self.fail)  # no NaN that JSON lacks


if __name__ == "__main__":
    unittest.main()
