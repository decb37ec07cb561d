"""`train`: what it reaches, what it writes, how it is stopped and how it goes on."""

import json
import os
import random
import shutil
import signal
import time
import unittest

from harness import DATA, USAGE, WRITE, CliTest, read_safetensors, write_safetensors


class Train(CliTest):
    def test_reaches_a_target_and_records_it(self):
        result = self.tool_json("train", *self.linear_problem(), "--method", "hessian_free", "--target", "loss<=1e-6", "--steps", "50", "--out", "t")
        training = result["training"]
        self.assertEqual(training["method"], "hessian_free")
        self.assertTrue(training["reached"])
        self.assertEqual(training["stop"]["reason"], "target")
        self.assertLessEqual(training["final"]["loss"], 1e-6)
        self.assertIsNone(training["final"]["test"])
        lines = [json.loads(line) for line in (self.folder / "t/metrics.jsonl").read_text().splitlines()]
        self.assertEqual([line["step"] for line in lines if "step" in line][-1], training["steps"])
        shape, weight = read_safetensors(self.folder / "t/parameters.safetensors")["fc.weight"]
        self.assertEqual(shape, [1, 2])
        for found, true in zip(weight, (2, -1)):
            self.assertAlmostEqual(found, true, places=2)
        self.assertIn('method = "hessian_free"', (self.folder / "t/run.toml").read_text())
        evaluated = self.tool_json("evaluate", *self.linear_problem(), "--parameters", "t/parameters.safetensors")
        self.assertAlmostEqual(evaluated["evaluation"]["loss"], training["final"]["loss"], places=9)

    def test_a_target_missed_is_no_failure(self):
        result = self.tool_json("train", *self.linear_problem(), "--method", "sgd", "--lr", "1e-6", "--steps", "3", "--target", "loss=1e-9")
        self.assertIs(result["training"]["reached"], False)
        self.assertEqual(result["training"]["stop"]["reason"], "steps")
        self.assertEqual(result["training"]["steps"], 3)

    def test_gradient_descent_takes_the_steps_it_should(self):
        """Full-batch gradient descent from 0: theta <- theta - lr g, g = 2 diag(1, 9, 1) (theta - theta*)."""
        result = self.tool_json("train", *self.linear_problem(), "--method", "sgd", "--lr", "0.01", "--steps", "5", "--batch-size", "full", "--dtype", "float64")
        loss = 4 * (1 - 0.02) ** 10 + 9 * (1 - 0.18) ** 10 + 0.25 * (1 - 0.02) ** 10
        self.assertAlmostEqual(result["training"]["final"]["loss"], loss, places=9)
        self.assertIsNone(result["training"]["reached"])

    def test_watches_what_it_does(self):
        """g = 2 diag(1, 9, 1) (theta - theta*): beyond 2 / 18 = 0.111 steps grow, by 3 with 4 / 18."""
        flags = ("--method", "sgd", "--batch-size", "full", "--steps", "30")
        watch = self.tool_json("train", *self.linear_problem(), *flags, "--lr", "0.05")["training"]["watch"]
        self.assertEqual(watch["warnings"], [])
        self.assertAlmostEqual(watch["stability_limit"], 40)
        self.assertLessEqual(watch["gradient_equivalents"], 0.05 * 30)
        _, said = self.tool("train", *self.linear_problem(), *flags, "--lr", "0.2222", "--out", "t")
        self.assertRegex(said, r"multiplied by (2\.9|3)")
        self.assertIn("2 / eta", said)
        self.tool("report", "t")
        self.assertIn("it overflows", (self.folder / "t/report.html").read_text())
        self.assertNotIn("watch", self.tool_json("train", *self.linear_problem(), *flags, "--lr", "0.05", "--watch", "false")["training"])
        self.refused(USAGE, "train", *self.linear_problem(), *flags, "--watch", "perhaps", says="train.watch")

    def test_certifies_the_minimum(self):
        """The Hessian is 2 diag(1, 9, 1)."""
        flags = ("--method", "newton", "--gradient-norm", "1e-8", "--dtype", "float64")
        training = self.tool_json("train", *self.linear_problem(), *flags, "--require-psd", "1e-3")["training"]
        self.assertEqual(training["stop"]["reason"], "gradient_norm")
        self.assertEqual(training["curvature"]["verdict"], "certified")
        self.assertAlmostEqual(training["curvature"]["smallest"], 2)
        self.assertEqual(training["curvature"]["tolerance"], 1e-3)
        self.assertLessEqual(training["curvature"]["failure_probability"], 0.01)
        self.assertEqual(training["curvature"]["steps"], 0)
        out, _ = self.tool("train", *self.linear_problem(), *flags, "--require-psd", "1e-3")
        self.assertIn("Positive semidefinite: certified: smallest eigenvalue >= -0.001", out)
        self.assertNotIn("curvature", self.tool_json("train", *self.linear_problem(), *flags)["training"])
        self.refused(USAGE, "train", *self.linear_problem(), *flags, "--require-psd", "-1", says="train.require_psd")

    def test_metrics_on_test_data_and_the_best_weights(self):
        problem = self.cloud_problem()
        result = self.tool_json(
            "train", *problem, "--test-data", "clouds.safetensors", "--set", "metrics.names=accuracy", "--method", "adam", "--lr", "0.01",
            "--epochs", "30", "--batch-size", "40", "--target", "test.accuracy>=0.95", "--out", "t",
        )  # fmt: skip
        self.assertTrue(result["training"]["reached"])
        self.assertGreaterEqual(result["training"]["final"]["test"]["accuracy"], 0.95)
        self.assertTrue((self.folder / "t/best.safetensors").exists())

    def test_a_transformer_learns_a_text(self):
        """abcabc...: each character is known from the one before it."""
        (self.folder / "book.txt").write_text("abc" * 70)
        problem = ["--model", "transformer", "--set", "model.width=8", "--set", "model.layers=1", "--set", "model.heads=2", "--data", "book.txt", "--loss", "cross_entropy"]
        problem += ["--set", "data.context=5", "--set", "data.test=split", "--set", "metrics.names=accuracy"]
        result = self.tool_json("train", *problem, "--method", "adam", "--lr", "0.03", "--steps", "60", "--batch-size", "full", "--out", "t")
        self.assertEqual(result["training"]["final"]["test"]["accuracy"], 1)
        self.assertEqual(result["data"], {"examples": 33, "test_examples": 8})
        recorded = (self.folder / "t/run.toml").read_text()
        for text in ("vocabulary = 3\n", "context = 5\n"):
            self.assertIn(text, recorded)
        evaluated = self.tool_json("evaluate", "t/run.toml", "--parameters", "t/parameters.safetensors")
        self.assertAlmostEqual(evaluated["evaluation"]["loss"], result["training"]["final"]["loss"], places=9)
        analyzed = self.tool_json("analyze", "t/run.toml", "--set", "model.parameters=t/parameters.safetensors", "--eigenvalues", "1", "--out", "a")
        self.assertAlmostEqual(analyzed["objective"]["value"], result["training"]["final"]["loss"], places=6)

    def test_a_residual_network_learns_images(self):
        """Which half of an image is bright."""
        rng = random.Random(1)
        images = [[[[rng.random() + (2 if (j < 4) == (i % 2 == 0) else 0) for j in range(8)] for _ in range(8)]] for i in range(40)]
        write_safetensors(self.folder / "images.safetensors", {"inputs": ("F32", images), "targets": ("I64", [i % 2 for i in range(40)])})
        problem = ["--model", "resnet", "--set", "model.input=[1, 8, 8]", "--set", "model.filters=[4, 8]", "--set", "model.outputs=2"]
        problem += ["--data", "images.safetensors", "--loss", "cross_entropy", "--set", "metrics.names=accuracy"]
        training = self.tool_json("train", *problem, "--method", "adam", "--lr", "0.01", "--steps", "60", "--target", "accuracy>=1")["training"]
        self.assertTrue(training["reached"])
        self.refused(USAGE, "check", *problem, "--set", "model.norm=groop", says=["model.norm = groop", "group, layer, batch, none"])
        self.refused(USAGE, "check", *problem, "--set", "model.layers=2", says='model.layers = 2: means nothing for model.kind = "resnet"')
        self.refused(DATA, "check", *problem, "--set", "model.input=[3, 8, 8]", says=["[3, 8, 8]", "[4, 1, 8, 8]"])

    def test_weight_decay_is_part_of_the_objective_and_of_no_bias(self):
        """loss + w^2 / 2 for the weight alone."""
        plain = self.tool_json("train", *self.linear_problem(), "--method", "sgd", "--lr", "0.01", "--steps", "5", "--dtype", "float64", "--out", "plain")
        arguments = ["--method", "sgd", "--lr", "0.01", "--steps", "5", "--dtype", "float64", "--set", "train.weight_decay=1", "--set", "train.weight_decays=*.bias=0"]
        decayed = self.tool_json("train", *self.linear_problem(), *arguments, "--out", "decayed")
        self.assertEqual(plain["training"]["final"]["objective"], plain["training"]["final"]["loss"])
        weight = read_safetensors(self.folder / "decayed/parameters.safetensors")["fc.weight"][1]
        penalty = sum(w * w for w in weight) / 2
        final = decayed["training"]["final"]
        self.assertAlmostEqual(final["objective"] - final["loss"], penalty, places=12)
        self.assertGreater(final["loss"], plain["training"]["final"]["loss"])

    def test_regularisers_are_part_of_the_objective(self):
        """loss + norm(g)^2 / 20, g = 2 diag(1, 9, 1) (theta - theta*)."""
        arguments = ["--method", "sgd", "--lr", "0.01", "--steps", "5", "--dtype", "float64", "--out", "t", "--set"]
        final = self.tool_json("train", *self.linear_problem(), *arguments, "train.regularizers=squared_gradient_norm:strength=0.1")["training"]["final"]
        found = read_safetensors(self.folder / "t/parameters.safetensors")
        theta = (*found["fc.weight"][1], *found["fc.bias"][1])
        g = [2 * curvature * (at - end) for curvature, at, end in zip((1, 9, 1), theta, (2, -1, 0.5))]
        self.assertAlmostEqual(final["objective"] - final["loss"], sum(x * x for x in g) / 20, places=9)
        self.assertIn('regularizers = ["squared_gradient_norm:strength=0.1"]', (self.folder / "t/run.toml").read_text())

    def test_regularisers_that_cannot_be_meant_are_refused(self):
        def refused(value, *says):
            self.refused(USAGE, "train", *self.cloud_problem(), "--method", "adam", "--steps", "1", "--set", f"train.regularizers={value}", says=says)

        refused("gradient_nrom", "train.regularizers", "did you mean gradient_norm?")
        refused("trace:probs=3", "train.regularizers", "trace has none of that name (did you mean probes?)")
        refused("trace:strength=1e-3,parameters=9.*", "train.regularizers", '"9.*": matches none of: 0.weight')
        refused("trace:matrix=fisher", "one of hessian, gauss_newton")
        refused("strength=1", "no regulariser is named before it")
        says = "sharpness_radius of method lbfgs"
        self.refused(USAGE, "train", *self.cloud_problem(), "--method", "lbfgs", "--steps", "1", "--set", "train.sharpness_radius=0.1", says=says)

    def test_averaged_weights_are_what_is_kept(self):
        arguments = ["--method", "sgd", "--lr", "0.01", "--steps", "4", "--dtype", "float64", "--set", "train.averaging=1"]
        result = self.tool_json("train", *self.linear_problem(), *arguments, "--out", "t")
        evaluated = self.tool_json("evaluate", *self.linear_problem(), "--dtype", "float64", "--parameters", "t/parameters.safetensors")
        self.assertAlmostEqual(evaluated["evaluation"]["loss"], result["training"]["final"]["loss"], places=12)

    def test_a_schedule_needs_a_length_and_a_learning_rate(self):
        self.refused(USAGE, "train", *self.linear_problem(), "--method", "sgd", "--budget", "5ge", "--set", "train.schedule=cosine", says=["needs train.steps or train.epochs"])
        self.refused(USAGE, "train", *self.linear_problem(), "--method", "lbfgs", "--steps", "5", "--set", "train.schedule=cosine", says=["finds the length of its steps itself"])
        self.refused(USAGE, "train", *self.linear_problem(), "--method", "sgd", "--steps", "5", "--set", "train.learning_rates=fc.bias", says=['train.learning_rates: "fc.bias": must be NAME=NUMBER'])

    def test_budget_in_gradient_equivalents(self):
        result = self.tool_json("train", *self.cloud_problem(), "--method", "sgd", "--lr", "0.1", "--batch-size", "full", "--budget", "10ge")
        self.assertEqual(result["training"]["stop"]["reason"], "budget")
        self.assertEqual(result["training"]["steps"], 10)

    def test_frozen_parameters_stay(self):
        self.tool("train", *self.linear_problem(bias=0.25), "--method", "sgd", "--lr", "0.01", "--steps", "3", "--freeze", "fc.bias", "--out", "t")
        self.assertEqual(read_safetensors(self.folder / "t/parameters.safetensors")["fc.bias"][1], [0.25])

    def test_divergence_is_a_numerical_failure(self):
        out, err = self.tool("train", *self.linear_problem(), "--method", "sgd", "--lr", "1e30", "--steps", "100", "--out", "t", code=5)
        result = json.loads((self.folder / "t/result.json").read_text())
        self.assertEqual(result["status"], "failed")
        self.assertIn("not finite", err)


class StopAndGoOn(CliTest):
    def long_run(self, *more, out="t"):
        return ["train", *self.cloud_problem(), "--method", "adam", "--lr", "1e-3", "--batch-size", "16", "--out", out, *more]

    def interrupted(self, which, out="t"):
        """Starts a run without end, interrupts it after some steps, and returns how many it made."""
        process = self.start(*self.long_run("--steps", "100000000", out=out))
        deadline = time.monotonic() + 60
        log = self.folder / out / "metrics.jsonl"
        while time.monotonic() < deadline and not (log.exists() and log.read_text().count("\n") > 20):
            time.sleep(0.02)
        process.send_signal(which)
        _, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 128 + which, err)
        result = json.loads((self.folder / out / "result.json").read_text())
        self.assertEqual(result["status"], "interrupted")
        self.assertEqual(result["training"]["stop"]["reason"], "interrupted")
        self.assertTrue(os.listdir(self.folder / out / "checkpoints"))
        self.assertIn("--resume", err)
        return result["training"]["steps"]

    def test_a_table_of_numbers_and_classes(self):
        rows = "".join(f"{i},{x},{-x + 0.1 * (i % 3)},{'up' if x > 0 else 'down'}\n" for i, x in ((i, (i * 37 % 41 - 20) / 10) for i in range(80)))
        (self.folder / "table.csv").write_text("id,a,b,kind\n" + rows)
        (self.folder / "test.csv").write_text("id,a,b,kind\n1,3,-3,up\n")
        problem = ["--model", "mlp:2-8-2", "--data", "table.csv", "--test-data", "test.csv", "--loss", "cross_entropy", "--set", "data.ignore=id", "--set", "metrics.names=accuracy"]
        result = self.tool_json("train", *problem, "--method", "adam", "--lr", "0.05", "--steps", "60", "--out", "csv")
        self.assertGreater(result["training"]["final"]["test"]["accuracy"], 0.99)
        self.assertEqual(result["data"], {"examples": 80, "test_examples": 1})
        regression = ["--model", "mlp:2-8-1", "--data", "table.csv", "--loss", "mse", "--set", "data.ignore=id,kind", "--set", "data.target=b", "--set", "model.widths=1,8,1"]
        self.assertEqual(self.tool_json("analyze", *regression, "--eigenvalues", "1")["data"]["examples"], 80)
        (self.folder / "test.csv").write_text("id,a,b,kind\n1,3,-3,up\n2,,4,down\n")
        self.refused(DATA, "train", *problem, "--steps", "1", says=["test.csv:3", '"a" is missing'])
        self.refused(USAGE, "train", *self.linear_problem(), "--set", "data.target=b", "--steps", "1", says=["data.target", "csv"])

    def test_interrupted_runs_go_on(self):
        for which in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(signal=which):
                steps = self.interrupted(which, out=f"t{which}")
                result = self.tool_json(*self.long_run("--steps", str(steps + 7), "--resume", out=f"t{which}"))
                self.assertEqual(result["status"], "done")
                self.assertEqual(result["training"]["steps"], steps + 7)
                lines = (self.folder / f"t{which}/metrics.jsonl").read_text().splitlines()
                self.assertEqual([json.loads(line)["step"] for line in lines], list(range(1, steps + 8)))

    def test_going_on_needs_no_more_than_the_folder(self):
        steps = self.interrupted(signal.SIGTERM)
        result = self.tool_json("train", "--resume", "--out", "t", "--steps", steps + 3)
        self.assertEqual(result["training"]["steps"], steps + 3)

    def test_going_on_with_another_method_is_refused(self):
        self.interrupted(signal.SIGTERM)
        other = self.long_run("--steps", "100", "--resume")
        other[other.index("adam")] = "sgd"
        self.refused(USAGE, *other, says=["train.method", '"adam"', "two runs"])

    def test_resumed_equals_uninterrupted(self):
        steps = self.interrupted(signal.SIGTERM) + 5
        self.tool(*self.long_run("--steps", str(steps), "--resume"))
        self.tool(*self.long_run("--steps", str(steps), out="whole"))
        resumed, straight = (read_safetensors(self.folder / name / "parameters.safetensors") for name in ("t", "whole"))
        self.assertEqual(resumed, straight)

    def killed(self, arguments, out, delay):
        """Starts or resumes a run, and kills it `delay` seconds after it has written another checkpoint."""
        folder = self.folder / out / "checkpoints"
        names = lambda: set(os.listdir(folder)) if folder.exists() else set()  # noqa: E731
        before = names()
        process = self.start(*arguments)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None and not names() - before:
            time.sleep(0.001)
        time.sleep(delay)
        process.kill()
        process.communicate(timeout=60)
        return process.returncode

    def test_killed_runs_go_on_to_the_same_bits(self):
        """Killed twice at random moments, the newest checkpoint damaged once: the same weights, the same log. One of them with all a run may ask for."""
        rng = random.Random(7)
        methods = {"adam": 3000, "momentum": 600, "lbfgs": 300, "hessian_free": 100, "inverse_correction": 40}
        penalties = "regularizers=gradient_norm:strength=1e-3,spectral:strength=1e-3,tail_energy:strength=1e-4,parameters=*.weight"
        wishes = ("schedule=cosine", "learning_rates=*.bias=0.5", "weight_decay=1e-3", "clip_gradient_norm=0.5", "averaging=0.9", "sharpness_radius=0.01", penalties)
        for method, steps in methods.items():
            more = [word for wish in wishes for word in ("--set", f"train.{wish}")] if method == "momentum" else []
            batch = "full" if method == "lbfgs" else "16"
            arguments = lambda out: [  # noqa: E731
                "train", *self.cloud_problem(), "--method", method, "--batch-size", batch, "--steps", str(steps), "--out", out, "--resume",
                "--checkpoint-every", str(steps // 20), *more,
            ]  # fmt: skip
            with self.subTest(method=method):
                self.tool(*arguments("whole"))
                out = f"killed-{method}"
                kills = sum(self.killed(arguments(out), out, rng.random() * 0.1) == -signal.SIGKILL for _ in range(2))
                self.assertGreater(kills, 0)
                checkpoints = sorted((self.folder / out / "checkpoints").iterdir())
                # Three are kept; a kill between writing one and removing the oldest leaves four.
                self.assertLessEqual(len([path for path in checkpoints if path.name.endswith(".safetensors")]), 4)
                if len(checkpoints) > 1:
                    checkpoints[-1].write_bytes(checkpoints[-1].read_bytes()[:1000])
                self.tool(*arguments(out))
                for name in ("parameters.safetensors", "best.safetensors"):
                    paths = [self.folder / run / name for run in (out, "whole")]
                    if paths[1].exists():
                        self.assertEqual(paths[0].read_bytes(), paths[1].read_bytes())
                logs = [[json.loads(line) for line in (self.folder / run / "metrics.jsonl").read_text().splitlines()] for run in (out, "whole")]
                for line in logs[0] + logs[1]:
                    del line["seconds"]
                self.assertEqual(logs[0], logs[1])
            shutil.rmtree(self.folder / "whole")

    def test_the_last_checkpoints_are_kept(self):
        self.tool(*self.long_run("--steps", "9", "--checkpoint-every", "1", "--set", "train.keep_checkpoints=4"))
        self.assertEqual(sorted(os.listdir(self.folder / "t/checkpoints")), [f"step-{step:09}.safetensors" for step in (6, 7, 8, 9)])

    def test_checkpoints_of_another_model_are_refused(self):
        other = [argument.replace("2-16-3", "2-8-3") for argument in self.long_run("--steps", "9", "--checkpoint-every", "1", out="other")]
        self.tool(*other)
        self.tool(*self.long_run("--steps", "9", "--checkpoint-every", "1"))
        os.remove(self.folder / "t/result.json")
        shutil.rmtree(self.folder / "t/checkpoints")
        shutil.copytree(self.folder / "other/checkpoints", self.folder / "t/checkpoints")
        self.refused(DATA, *self.long_run("--steps", "9", "--resume"), says=["t/checkpoints/step-", "another model", "0.weight 8 2"])

    def test_resume_on_nothing_starts_and_on_a_finished_run_reports(self):
        arguments = self.long_run("--steps", "5", "--resume")
        first = self.tool_json(*arguments)
        self.assertEqual(first["training"]["steps"], 5)
        stamp = os.stat(self.folder / "t/parameters.safetensors").st_mtime_ns
        self.assertEqual(self.tool_json(*arguments), first)
        self.assertEqual(os.stat(self.folder / "t/parameters.safetensors").st_mtime_ns, stamp)
        self.assertEqual(self.tool_json("train", "--resume", "--out", "t"), first)
        self.assertEqual(self.tool_json("train", "--resume", "--out", "t", "--checkpoint-every", "2"), first)

    def test_a_finished_run_is_not_taken_for_another(self):
        self.tool(*self.long_run("--steps", "5"))
        for other, says in (
            (("--lr", "0.5"), ["train.options is { learning_rate = 0.5 }", "two runs"]),
            (("--steps", "9"), ["train.steps is 9", "t/run.toml it was 5"]),
            (("--seed", "3"), ["run.seed is 3"]),
        ):
            self.refused(USAGE, "train", "--resume", "--out", "t", *other, says=says)
        self.refused(USAGE, "analyze", "--resume", "--out", "t", says=["t holds results of osculant train", "osculant analyze"])
        self.refused(USAGE, "train", "--resume", "--out", "nothere", "--steps", "3", says=["nothere: there is no run to go on with"])
        self.refused(USAGE, "train", "--resume", says="--out DIR")

    def test_a_target_that_nothing_measures_names_what_would(self):
        problem = [*self.cloud_problem(), "--method", "adam", "--steps", "1"]
        says = ["no metric is called accuracy", "--set metrics.names=accuracy"]
        self.refused(USAGE, "train", *problem, "--target", "accuracy>=0.9", says=says)
        self.refused(USAGE, "train", *problem, "--target", "test.accuracy>=0.9", says=["--test-data FILE", says[1]])

    def test_a_refused_run_leaves_nothing_behind(self):
        write_safetensors(self.folder / "i.safetensors", {"inputs": ("F32", [float(i % 7) for i in range(8 * 64)], [8, 1, 8, 8]), "targets": ("I64", [0, 1] * 4)})
        problem = ["--model", "cnn", "--set", "model.input=1,8,8", "--set", "model.filters=2,2", "--set", "model.hidden=4", "--set", "model.outputs=2", "--set", "model.batch_norm=true"]
        problem += ["--data", "i.safetensors", "--loss", "cross_entropy", "--steps", "2", "--out", "t"]
        self.refused(USAGE, "train", *problem, "--method", "kfac", says="--set model.mode=eval")
        self.assertFalse((self.folder / "t").exists())
        self.tool("train", *problem, "--method", "kfac", "--set", "model.mode=eval")

    def test_a_jacobian_is_planned_by_rows_where_layers_do_not_tell_it(self):
        write_safetensors(self.folder / "i.safetensors", {"inputs": ("F32", [float(i * i % 7) for i in range(24 * 64)], [24, 1, 8, 8]), "targets": ("I64", [0, 1, 2] * 8)})
        problem = ["--model", "cnn", "--set", "model.input=1,8,8", "--set", "model.filters=2,2", "--set", "model.hidden=4", "--set", "model.outputs=3"]
        problem += ["--data", "i.safetensors", "--loss", "cross_entropy", "--method", "gauss_newton", "--steps", "3", "--batch-size", "full", "--watch", "false"]
        for norm in ("false", "true"):
            result = self.tool_json("train", *problem, "--set", f"model.batch_norm={norm}", "--out", norm)
            planned, spent = result["plan"]["gradient_equivalents"], result["cost"]["gradient_equivalents"]
            self.assertLess(planned, 1.5 * spent, norm)
            self.assertGreater(planned, spent / 1.5, norm)

    def test_a_second_run_in_the_same_folder_is_refused(self):
        process = self.start(*self.long_run("--steps", "100000000"))
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and not (self.folder / "t/metrics.jsonl").exists():
                time.sleep(0.05)
            for how in ("--resume", "--overwrite"):
                self.refused(WRITE, *self.long_run("--steps", "1", how), says="another run")
        finally:
            process.terminate()
            process.communicate(timeout=60)


if __name__ == "__main__":
    unittest.main()
