"""`advise`: what it records, the run file it leaves, refusals."""

import unittest

from harness import USAGE, CliTest


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

    def test_refusals(self):
        self.refused(USAGE, "advise", *self.linear_problem(), "--candidates", "1", "--out", "d", says="--candidates")
        self.refused(USAGE, "advise", *self.linear_problem(), "--target", "acuracy>=1", "--out", "d", says="acuracy")


if __name__ == "__main__":
    unittest.main()
