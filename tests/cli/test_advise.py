"""`advise`: what it records, the run file it leaves, refusals."""

import random
import unittest

from harness import DONE, USAGE, CliTest, write_safetensors


class Advise(CliTest):
    def test_a_ranking_with_its_facts(self):
        result = self.tool_json("advise", *self.linear_problem(), "--out", "d")
        advice = result["advice"]
        methods = [choice["method"] for choice in advice["ranking"]]
        self.assertEqual(methods[0], "levenberg_marquardt")
        self.assertEqual(len(methods), len(set(methods)))
        self.assertTrue(all(choice["reason"] for choice in advice["ranking"]))
        facts = {fact["name"]: fact for fact in advice["facts"]}
        for fact in facts.values():
            self.assertTrue(fact["words"], fact)
            self.assertLessEqual(fact["low"], fact["value"])
            if fact["high"] is not None:  # a noise scale may have no bound
                self.assertLessEqual(fact["value"], fact["high"])
        # The Hessian is 2 diag(1, 9, 1).
        self.assertAlmostEqual(facts["curvature.largest"]["value"], 18, places=4)
        self.assertAlmostEqual(facts["curvature.smallest"]["value"], 2, places=4)
        self.assertEqual(advice["rounds"], [])

    def test_its_run_file_trains(self):
        self.tool("advise", *self.linear_problem(), "--race", "--budget", "300ge", "--candidates", "3", "--out", "d")
        trained = self.tool_json("train", "d/advised.toml", "--steps", "5", "--out", "t")
        self.assertLess(trained["training"]["final"]["loss"], trained["training"]["initial"]["loss"])

    def test_what_can_run_is_what_train_accepts(self):
        """Batch normalisation couples the examples of a batch in training mode alone, which advise does not measure in."""
        rng = random.Random(2)
        images = [rng.gauss(0, 1) for _ in range(24 * 36)]
        write_safetensors(self.folder / "i.safetensors", {"inputs": ("F32", images, [24, 1, 6, 6]), "targets": ("I64", [i % 2 for i in range(24)])})
        keys = ["input=1,6,6", "filters=2", "hidden=4", "outputs=2", "batch_norm=true"]
        problem = ["--model", "cnn", *[word for key in keys for word in ("--set", f"model.{key}")], "--data", "i.safetensors", "--loss", "cross_entropy"]
        result = self.tool_json("advise", *problem, "--out", "d")
        self.assertTrue(any("evaluation mode" in note and "model.mode=eval" in note for note in result.get("notes", [])), result)
        for choice in result["advice"]["ranking"]:
            with self.subTest(method=choice["method"]):
                process = self.start("train", *problem, "--method", choice["method"], "--batch-size", choice["batch_size"], "--steps", "1")
                _, err = process.communicate(timeout=60)
                self.assertEqual(process.returncode, DONE if choice["runs"] else USAGE, f'{choice["reason"]}\n{err}')
                self.assertEqual("model.mode=eval" in err, not choice["runs"], err)
        still = self.tool_json("advise", *problem, "--set", "model.mode=eval", "--out", "e")
        self.assertTrue(all(choice["runs"] for choice in still["advice"]["ranking"]))
        self.assertNotIn("notes", still)
        self.assertTrue(any("evaluation mode" in note for note in self.tool_json("check", *problem).get("notes", [])))
        self.assertNotIn("notes", self.tool_json("check", *problem, "--set", "model.mode=eval"))

    def test_refusals(self):
        self.refused(USAGE, "advise", *self.linear_problem(), "--candidates", "1", "--out", "d", says="--candidates")
        self.refused(USAGE, "advise", *self.linear_problem(), "--target", "acuracy>=1", "--out", "d", says="acuracy")


if __name__ == "__main__":
    unittest.main()
