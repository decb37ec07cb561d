"""Damaged and unfitting files, devices that are not there, disks that are full: the message and the exit code."""

import gzip
import json
import os
import re
import resource
import struct
import subprocess
import time
import unittest

from harness import DATA, MEMORY, NUMERICAL, SANITIZED, TOOL, USAGE, WRITE, CliTest, write_linear_program, write_safetensors


class BadFiles(CliTest):
    def analyze(self, code, says, *arguments, **keywords):
        return self.refused(code, "analyze", *arguments, says=says, **keywords)

    def test_missing_files(self):
        problem = self.linear_problem()
        self.analyze(DATA, "absent.pt2", "--model", "absent.pt2", *problem[2:])
        self.analyze(DATA, "absent.safetensors", *problem[:2], "--data", "absent.safetensors", "--loss", "mse")

    def test_a_network_by_a_name_that_is_near(self):
        problem = self.linear_problem()
        self.analyze(USAGE, ["no such file", "did you mean mlp:2-6-1?"], "--model", "mpl:2-6-1", *problem[2:])

    def test_truncated_program(self):
        problem = self.linear_problem()
        path = self.folder / "m.pt2"
        whole = path.read_bytes()
        for share in (0, 0.3, 0.9):
            path.write_bytes(whole[: int(len(whole) * share)])
            self.analyze(DATA, "m.pt2", *problem)

    def test_truncated_safetensors(self):
        problem = self.linear_problem()
        path = self.folder / "train.safetensors"
        whole = path.read_bytes()
        for length in (0, 5, 40, len(whole) - 1):
            path.write_bytes(whole[:length])
            self.analyze(DATA, "train.safetensors", *problem)

    def test_header_claiming_two_to_the_sixty_bytes(self):
        problem = self.linear_problem()
        path = self.folder / "train.safetensors"
        path.write_bytes(struct.pack("<Q", 2**60) + path.read_bytes()[8:])
        self.analyze(DATA, ["train.safetensors", str(2**60)], *problem)

    def test_tensor_claiming_two_to_the_sixty_bytes(self):
        problem = self.linear_problem()
        header = {"inputs": {"dtype": "F32", "shape": [2**58], "data_offsets": [0, 2**60]}}
        text = json.dumps(header).encode()
        (self.folder / "train.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * 64)
        self.analyze(DATA, "train.safetensors", *problem)

    @unittest.skipIf(SANITIZED, "the tool is built with a sanitizer")
    def test_bombs(self):
        """A few kilobytes that unpack to more than they say, and to more than there is memory."""
        mebibyte = gzip.compress(b"\0" * 2**20)  # one stream after another is one

        def limit():
            resource.setrlimit(resource.RLIMIT_DATA, (500_000_000, 500_000_000))

        for first, times, code, says in ((60000, 200, DATA, "more bytes than its dimensions say"), (2**31, 1000, MEMORY, "memory")):
            header = gzip.compress(struct.pack(">HBBIII", 0, 8, 3, first, 28, 28))
            (self.folder / "train-images-idx3-ubyte.gz").write_bytes(header + mebibyte * times)
            (self.folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(struct.pack(">HBBI", 0, 8, 1, 0)))
            begun = time.monotonic()
            self.analyze(code, says, "--model", "mlp:784-10", "--data", "fashion_mnist", "--set", "data.path=.", "--loss", "cross_entropy",
                         preexec_fn=limit)  # fmt: skip
            self.assertLess(time.monotonic() - begun, 30)

    def test_program_for_one_batch_size(self):
        problem = self.linear_problem()
        write_linear_program(self.folder / "m.pt2", [[0.0, 0.0]], [0.0], batch=3)
        self.analyze(DATA, ["exactly 3 examples", "dynamic_shapes"], *problem)
        write_linear_program(self.folder / "m.pt2", [[0.0, 0.0]], [0.0], batch=4)  # 8 examples are two of those
        self.tool("analyze", *problem, "--set", "analyze.batch_size=4", "--eigenvalues", "1")

    def test_program_of_two_dtypes(self):
        problem = self.linear_problem()
        write_linear_program(self.folder / "m.pt2", [[0.0, 0.0]], [0.0], dtypes=("F32", "F64"))
        self.analyze(DATA, ["m.pt2", "fc.bias"], *problem)

    def test_shapes_that_do_not_fit(self):
        problem = self.linear_problem()
        write_safetensors(self.folder / "train.safetensors", {"inputs": ("F32", [[1.0, 2.0, 3.0]] * 4), "targets": ("F32", [[1.0]] * 4)})
        self.analyze(DATA, ["[4, 3]"], *problem)

    def test_targets_that_would_broadcast(self):
        problem = self.linear_problem()
        write_safetensors(self.folder / "train.safetensors", {"inputs": ("F32", [[1.0, 2.0]] * 4), "targets": ("F32", [1.0] * 4)})
        self.analyze(DATA, ["[4, 1]", "[4]"], *problem)

    def test_inputs_and_targets_of_different_length(self):
        problem = self.linear_problem()
        write_safetensors(self.folder / "train.safetensors", {"inputs": ("F32", [[1.0, 2.0]] * 4), "targets": ("F32", [[1.0]] * 3)})
        self.analyze(DATA, ["train.safetensors", "4", "3"], *problem)

    def test_images_and_labels_of_different_number(self):
        (self.folder / "x").write_bytes(struct.pack(">HBBIII", 0, 8, 3, 3, 2, 2) + bytes(12))
        (self.folder / "y").write_bytes(struct.pack(">HBBI", 0, 8, 1, 2) + bytes(2))
        keys = [f"data.{key}" for key in ("kind=idx", "path=x", "labels=y", "flatten=true")]
        self.analyze(DATA, ["/x has 3 examples", "/y has 2"], "--model", "mlp:4-2", "--loss", "cross_entropy", *[word for key in keys for word in ("--set", key)])

    def test_nan_in_data(self):
        problem = self.linear_problem()
        inputs = [[1.0, 2.0], [3.0, float("nan")]]
        write_safetensors(self.folder / "train.safetensors", {"inputs": ("F32", inputs), "targets": ("F32", [[1.0], [2.0]])})
        self.analyze(DATA, ["train.safetensors", "inputs[1, 1] = nan"], *problem)

    def test_label_out_of_range(self):
        problem = self.cloud_problem(examples=4)
        write_safetensors(self.folder / "clouds.safetensors", {"inputs": ("F32", [[1.0, 2.0]] * 4), "targets": ("I64", [0, 1, 2, 7])})
        self.analyze(DATA, ["= 7 (row of the training data, the first is 0)", "[3]"], *problem)
        self.analyze(DATA, "the first is 0, as they were shuffled)", *problem, "--set", "data.shuffle=true")
        write_safetensors(self.folder / "clouds.safetensors", {"inputs": ("F32", [[1.0, 2.0]] * 4), "targets": ("I64", [0, 1, -1, 2])})
        self.analyze(DATA, "-1", *problem)

    def test_empty_data(self):
        problem = self.linear_problem()
        write_safetensors(self.folder / "train.safetensors", {"inputs": ("F32", [], [0, 2]), "targets": ("F32", [], [0, 1])})
        self.analyze(DATA, "train.safetensors", *problem)

    def test_no_targets(self):
        problem = self.linear_problem()
        write_safetensors(self.folder / "train.safetensors", {"inputs": ("F32", [[1.0, 2.0]] * 4)})
        self.analyze(DATA, ["train.safetensors", "takes one target"], *problem)

    def test_weights_that_are_not_the_models(self):
        problem = self.linear_problem()
        write_safetensors(self.folder / "w.safetensors", {"fc.weight": ("F32", [[1.0, 2.0]])})
        self.refused(DATA, "evaluate", *problem, "--parameters", "w.safetensors", says=["w.safetensors", "fc.bias"])
        self.refused(DATA, "evaluate", *problem, "--parameters", "absent.safetensors", says="absent.safetensors")


class HostileNames(CliTest):
    """A model's names may hold anything. What comes out of them is text."""

    NAMES = ("<script>alert(1)</script>.weight", "b\x1b]0;owned\x07\x1b[2J\r\x7f\x9b1m.bias")

    def problem(self):
        problem = self.linear_problem()
        write_linear_program(self.folder / "m.pt2", [[0.0, 0.0]], [0.0], names=self.NAMES)
        return problem

    def assert_text(self, *texts):
        for text in texts:
            controls = {c for c in text if c not in "\n\t" and (c < " " or "\x7f" <= c < "\xa0")}
            self.assertEqual(controls, set())

    def test_wherever_they_come_out(self):
        problem, pages = self.problem(), ""
        runs = {
            "train": ["--method", "sgd", "--steps", 3],
            "analyze": ["--full"],
            "advise": [],
            "compare": ["--methods", "sgd,adam", "--budget", "20ge"],
        }
        for command, more in runs.items():
            self.assert_text(*self.tool(command, *problem, *more, "--out", command))
            self.assert_text(*self.tool("report", command))
            folder = self.folder / command
            page = (folder / "report.html").read_text()
            self.assertNotIn("<script>alert", page)
            page = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)  # ours, and JSON
            self.assert_text(page)
            pages += page
            self.assertEqual(json.loads((folder / "result.json").read_text())["command"], command)
        self.assertIn("&lt;script&gt;alert(1)&lt;/script&gt;", pages)
        out, err = self.tool("check", *problem)
        self.assert_text(out, err)
        self.assertIn("<script>alert(1)</script>", out)

    def test_in_messages(self):
        err = self.refused(USAGE, "train", *self.problem(), "--method", "sgd", "--steps", 3, "--set", "model.freeze=absent*", "--out", "t", says="absent")
        self.assert_text(err)


class BadText(CliTest):
    def check(self, content, *more, says, code=DATA):
        (self.folder / "book.txt").write_bytes(content)
        problem = ["--model", "transformer", "--data", "book.txt", "--loss", "cross_entropy", "--set", "data.context=4"]
        self.refused(code, "check", *problem, *more, says=says)

    def test_texts_that_cannot_be_read(self):
        self.check(b"", says="book.txt: is empty")
        self.check(b"abc", says=["book.txt: has 3 characters", "context = 4 needs 5"])
        self.check(b"abcde\nfg\xff", says=["book.txt:2: byte 8: 0xff", "UTF-8"])
        self.check(b"abcdefgh", "--test-data", "book.txt.test", says="book.txt.test: cannot be read")
        self.check(b"abcdefgh", "--test-data", "split", says="for testing it has 2 characters")

    def test_networks_that_do_not_fit_the_text(self):
        self.check(b"abcdefghijkl", "--set", "model.vocabulary=3", says=["book.txt", "a token is", "[0, 3)"])
        self.check(b"abcdefghijkl", "--set", "model.context=2", says=["book.txt", "1 to 2 positions", "[2, 4]"])
        self.check(b"abcdefghijkl", "--set", "model.width=6", code=USAGE, says="width = 6: must be a multiple of heads = 4")
        self.check(b"abcdefghijkl", "--set", "data.classes=true", code=USAGE, says="data.classes: belongs to data.kind csv")
        problem = self.cloud_problem()
        self.refused(USAGE, "check", "--model", "transformer", *problem[2:], says="model.vocabulary is not given")
        self.refused(USAGE, "check", *problem, "--set", "data.context=4", says="data.context: belongs to data.kind text")


class BadRequests(CliTest):
    def test_negative_learning_rate(self):
        problem = self.linear_problem()
        self.refused(USAGE, "train", *problem, "--method", "sgd", "--lr", "-0.1", "--steps", "1", says=["learning_rate", "-0.1", "must be"])

    def test_unknown_method_and_option(self):
        problem = self.linear_problem()
        self.refused(USAGE, "train", *problem, "--method", "adma", "--steps", "1", says="did you mean adam?")
        self.refused(USAGE, "train", *problem, "--method", "adam", "--steps", "1", "--set", "train.options.learning_rat=1", says=["learning_rat", "learning_rate"])

    def test_device_that_is_not_there(self):
        problem = self.linear_problem()
        self.refused(USAGE, "analyze", *problem, "--device", "cuda:63", says="cuda:63")
        self.refused(USAGE, "analyze", *problem, "--device", "abacus", says="abacus")

    def test_targets_that_make_no_sense(self):
        problem = self.linear_problem()
        for target in ("loss", "loss<=low", "height<=1", "test.loss<=1"):
            self.refused(USAGE, "train", *problem, "--method", "adam", "--steps", "1", "--target", target, says=target)

    def test_freezing_what_is_not_there(self):
        problem = self.linear_problem()
        self.refused(USAGE, "analyze", *problem, "--freeze", "features.*", says="features.*")

    def test_more_memory_than_allowed_is_refused_before_the_work(self):
        problem = self.cloud_problem(examples=3000)
        problem[1] = "mlp:2-400-400-3"
        err = self.refused(MEMORY, "analyze", *problem, "--eigenvalues", "50", "--memory-budget", "4MiB", says="4.0 MiB")
        self.assertIn("what would fit: ", err)
        self.assertIn("--memory-budget", err)
        self.assertFalse((self.folder / "runs").exists())

    def test_a_loss_that_is_not_finite(self):
        problem = self.linear_problem(weight=(float("inf"), 0.0))
        self.refused(NUMERICAL, "analyze", *problem, says="not finite")


class CannotWrite(CliTest):
    @unittest.skipUnless(os.path.exists("/dev/full"), "no /dev/full here")
    def test_standard_output_that_is_full(self):
        with open("/dev/full", "w") as full:
            process = subprocess.run([TOOL, "methods"], stdout=full, stderr=subprocess.PIPE, env=self.environment, text=True, timeout=60)
        self.assertEqual(process.returncode, WRITE)
        self.assertIn("standard output", process.stderr)

    def test_folder_that_cannot_be_made(self):
        problem = self.linear_problem()
        self.write("file", "")
        self.refused(WRITE, "analyze", *problem, "--out", "file/results", says="file/results")
        self.assertEqual((self.folder / "file").read_text(), "")

    def test_disk_full_while_writing(self):
        """No file may grow beyond 512 bytes, so that result.json does not fit; nothing half written is left."""
        problem = self.linear_problem()

        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))

        process = self.start("analyze", *problem, "--out", "results", preexec_fn=limit)
        _, err = process.communicate(timeout=120)
        self.assertEqual(process.returncode, WRITE, err)
        self.assertIn("results/", err)
        self.assertFalse((self.folder / "results/result.json").exists())
        self.assertEqual([name for name in os.listdir(self.folder / "results") if "tmp" in name], [])


if __name__ == "__main__":
    unittest.main()
