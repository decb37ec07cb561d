"""`compare`: races whose outcome is known, what is written, failures, refusals, interruption and going on."""

import json
import os
import pty
import signal
import subprocess
import time
import unittest

from harness import DONE, NUMERICAL, TOOL, USAGE, CliTest


class Compare(CliTest):
    def test_a_race_to_a_target(self):
        """On a quadratic whose Hessian is 2 diag(1, 9, 1) Gauss-Newton steps are there long before slow descent."""
        problem = self.linear_problem()
        result = self.tool_json(
            "compare", *problem, "--methods", "sgd:learning_rate=1e-3,hessian_free,lbfgs", "--budget", "100ge", "--target", "loss<=1e-6",
            "--seeds", "2", "--tune", "2", "--out", "c",
        )  # fmt: skip
        self.assertEqual(result["status"], "done")
        self.assertEqual(result["race"], {"budget": "100ge", "target": "loss <= 1e-06", "metric": "loss", "seeds": 2, "tune": 2, "tuning_share": 0.25})
        runs = result["comparison"]
        self.assertEqual([(run["method"], run["seed"]) for run in runs], [(m, s) for s in (0, 1) for m in ("sgd:learning_rate=1e-3", "hessian_free", "lbfgs")])
        for run in runs:
            self.assertEqual(run["reached"], run["method"] != "sgd:learning_rate=1e-3")
            self.assertEqual(run["trajectory"][0]["step"], 0)
            self.assertAlmostEqual(run["trajectory"][0]["loss"], 13.25, places=5)
            self.assertEqual(run["trajectory"][-1]["loss"], run["final"]["loss"])
            self.assertEqual(run["trajectory"][-1]["step"], run["steps"])
        self.assertEqual(runs[0]["steps"], 100)
        self.assertEqual(runs[0]["gradient_equivalents"], 100)
        self.assertEqual(runs[0]["options"], {"learning_rate": 1e-3})
        self.assertEqual([trial["method"] for trial in result["tuning"]], ["hessian_free"] * 2)
        rows = result["verdict"]["methods"]
        self.assertEqual(rows[-1]["method"], "sgd:learning_rate=1e-3")
        self.assertIsNone(rows[-1]["gradient_equivalents"]["median"])
        self.assertEqual(rows[-1]["reached"], 0)
        self.assertEqual(rows[0]["reached"], 2)
        self.assertIn(rows[0]["method"] + " is first to loss <= 1e-06", result["verdict"]["words"])

    def test_a_contestant_is_a_run_of_train(self):
        problem = [*self.cloud_problem(), "--seed", "3", "--batch-size", "40", "--budget", "9ge"]
        compared = self.tool_json("compare", *problem, "--methods", "adam:learning_rate=0.01,sgd:learning_rate=0.1", "--tune", "0", "--seeds", "1")
        for run in compared["comparison"]:
            name, rate = run["method"].split(":learning_rate=")
            alone = self.tool_json("train", *problem, "--method", name, "--lr", rate)
            self.assertEqual(run["final"]["loss"], alone["training"]["final"]["loss"])
            self.assertEqual(run["steps"], alone["training"]["steps"])

    def test_what_a_person_reads(self):
        out, err = self.tool(
            "compare", *self.linear_problem(), "--methods", "sgd,hessian_free", "--budget", "0.2s", "--target", "loss<=1e-6", "--seeds", "1", "--tune", "2",
            "--out", "c",
        )  # fmt: skip
        for word in ("Race: 0.2s each", "learning_rate = ", "damping = ", "time to target", "work to target", "1 of 1", " is first to loss <= 1e-06", "c/result.json"):
            self.assertIn(word, out)
        self.assertIn("2 methods, 2 tuning trials of 0.05 s and 1 seeds of 0.2 s each", err)
        self.assertNotIn("\x1b", out + err)

    def test_a_live_table_on_a_terminal(self):
        leader, follower = pty.openpty()
        process = subprocess.Popen(
            [TOOL, "compare", *self.linear_problem(), "--methods", "sgd,adam", "--budget", "1s", "--seeds", "1", "--tune", "0"],
            cwd=self.folder, env=self.environment, stdout=subprocess.DEVNULL, stderr=follower,
        )  # fmt: skip
        os.close(follower)
        shown = b""
        while True:
            try:
                piece = os.read(leader, 65536)
            except OSError:  # what Linux says at the end
                break
            if not piece:
                break
            shown += piece
        os.close(leader)
        self.assertEqual(process.wait(timeout=60), DONE)
        text = shown.decode()
        for word in ("seed 1 of 1, 1 s each", "sgd", "adam", "spent", "\x1b[J"):
            self.assertIn(word, text)

    def test_a_failing_contestant_harms_nobody(self):
        problem = self.linear_problem()
        methods = "sgd:learning_rate=1e30,sgd:learning_rate=0.05"
        result = self.tool_json("compare", *problem, "--methods", methods, "--budget", "200ge", "--seeds", "1", "--tune", "0")
        failed, healthy = result["comparison"]
        self.assertEqual(failed["status"], "failed")
        self.assertIn("not finite", failed["stop"]["message"])
        self.assertEqual(healthy["status"], "done")
        self.assertEqual(healthy["steps"], 200)
        self.assertEqual(result["verdict"]["methods"][0]["method"], "sgd:learning_rate=0.05")
        self.assertEqual(result["verdict"]["methods"][1]["failed"], 1)
        _, err = self.tool("compare", *problem, "--methods", "sgd:learning_rate=1e30", "--budget", "200ge", "--seeds", "1", code=NUMERICAL)
        self.assertIn("every method failed", err)

    def test_the_run_file_can_say_it_all(self):
        self.linear_problem()
        self.write(
            "run.toml",
            '[model]\nkind = "exported"\npath = "m.pt2"\n[data]\nkind = "safetensors"\npath = "train.safetensors"\n[loss]\nkind = "mse"\n'
            '[train]\nbudget = "10ge"\n[compare]\nmethods = ["adam", "sgd:learning_rate=0.01,weight_decay=1e-4"]\nseeds = 1\ntune = 0\n[run]\nout = "c"\n',
        )
        first = self.tool_json("compare", "run.toml")
        self.assertEqual([run["method"] for run in first["comparison"]], ["adam", "sgd:learning_rate=0.01,weight_decay=1e-4"])
        again = self.tool_json("compare", "c/run.toml", "--out", "d")
        self.assertEqual([run["final"] for run in first["comparison"]], [run["final"] for run in again["comparison"]])

    def test_refusals(self):
        problem = self.linear_problem()
        budget = ["--budget", "10ge"]
        refused = lambda says, *more: self.refused(USAGE, "compare", *problem, *more, says=says)  # noqa: E731
        refused("compare.methods", *budget)
        refused("train.budget is not given", "--methods", "adam")
        refused(["--methods", "did you mean adam?"], "--methods", "adma", *budget)
        refused("learning_rat", "--methods", "adam:learning_rat=1", *budget)
        refused("batch_size", "--methods", "adam:batch_size=some", *budget)
        refused("comes twice", "--methods", "adam,adam", *budget)
        refused("--budget: train.budget = 10 hours: must be", "--methods", "adam", "--budget", "10 hours")
        refused("--seeds: compare.seeds = 0", "--methods", "adam", "--seeds", "0", *budget)
        refused("compare.tuning_share = 2", "--methods", "adam", "--set", "compare.tuning_share=2", *budget)
        refused("height", "--methods", "adam", "--target", "height<=1", *budget)
        self.assertFalse((self.folder / "runs").exists())


class StopAndGoOn(CliTest):
    def race(self, *more, out="c", methods="adam:learning_rate=1e-3,sgd:learning_rate=1e-2", budget="150ge"):
        return [
            "compare", *self.cloud_problem(), "--methods", methods, "--budget", budget, "--batch-size", "4", "--seeds", "2", "--tune", "0",
            "--out", out, *more,
        ]  # fmt: skip

    def after_lines(self, lines, which, out="c"):
        process = self.start(*self.race(out=out))
        log = self.folder / out / "contestants.jsonl"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (log.exists() and log.read_text().count("\n") >= lines):
            time.sleep(0.01)
        process.send_signal(which)
        _, err = process.communicate(timeout=60)
        return process.returncode, err

    def test_interrupted_and_killed_races_go_on_to_the_same_end(self):
        whole = self.tool_json(*self.race(out="whole"))
        code, err = self.after_lines(2, signal.SIGINT)
        self.assertEqual(code, 130, err)
        self.assertIn("--resume", err)
        part = json.loads((self.folder / "c/result.json").read_text())
        self.assertEqual(part["status"], "interrupted")
        self.assertEqual([run["status"] for run in part["comparison"][:2]], ["done", "done"])
        self.assertTrue(all(run["status"] == "interrupted" for run in part["comparison"][2:]))
        self.assertEqual(part["verdict"]["methods"][0]["runs"], 1)
        rest = self.tool_json("compare", "--resume", "--out", "c")
        self.assertEqual(rest["status"], "done")
        self.assertEqual([run["trajectory"][-1]["loss"] for run in rest["comparison"]], [run["trajectory"][-1]["loss"] for run in whole["comparison"]])
        self.assertEqual([run["seconds"] for run in rest["comparison"][:2]], [run["seconds"] for run in part["comparison"][:2]])

        code, _ = self.after_lines(1, signal.SIGKILL, out="k")
        self.assertEqual(code, -signal.SIGKILL)
        rest = self.tool_json("compare", "--resume", "--out", "k")
        self.assertEqual([run["final"] for run in rest["comparison"]], [run["final"] for run in whole["comparison"]])

        out, err = self.tool("compare", "--resume", "--out", "k", "--json")
        self.assertEqual(json.loads(out), rest)
        self.assertIn("finished", err)

    def test_another_race_is_not_mixed_in(self):
        code, _ = self.after_lines(1, signal.SIGTERM)
        self.assertEqual(code, 143)
        self.refused(USAGE, *self.race("--resume", methods="adam,lbfgs"), says=["--resume", "compare.methods"])
        self.refused(USAGE, *self.race("--resume", budget="20ge"), says=["--resume", "train.budget"])
        self.refused(USAGE, *self.race(), says=["--resume", "--overwrite"])


if __name__ == "__main__":
    unittest.main()
