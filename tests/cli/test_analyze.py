"""`check`, `analyze` and `evaluate` on problems whose answers are known."""

import json
import os
import signal
import time
import unittest

from harness import DATA, USAGE, CliTest, write_safetensors


class Analyze(CliTest):
    def test_spectrum_of_a_linear_problem(self):
        """The Hessian is 2 diag(1, 9, 1): eigenvalues 18, 2, 2, trace 22, at theta = 0 gradient (-4, 18, -1)."""
        result = self.tool_json("analyze", *self.linear_problem(), "--eigenvalues", "1", "--set", "analyze.matrix=hessian,gauss_newton", "--out", "a")
        self.assertEqual(result["schema"], 1)
        self.assertEqual(result["command"], "analyze")
        self.assertEqual(result["status"], "done")
        self.assertEqual(result["model"]["parameters"], 3)
        self.assertEqual(result["data"]["examples"], 8)
        self.assertAlmostEqual(result["objective"]["value"], 4 + 9 + 0.25, places=5)
        self.assertAlmostEqual(result["objective"]["gradient_norm"], (16 + 324 + 1) ** 0.5, places=4)
        for matrix in ("hessian", "gauss_newton"):
            spectrum = result["spectrum"][matrix]
            top, bottom = spectrum["largest"][0], spectrum["smallest"][0]
            self.assertLessEqual(abs(top["value"] - 18), top["residual"] + 1e-4)
            self.assertLessEqual(abs(bottom["value"] - 2), bottom["residual"] + 1e-4)
            self.assertLess(top["residual"], 0.1)
            self.assertLessEqual(spectrum["trace"]["low"], 22 + 1e-4)
            self.assertGreaterEqual(spectrum["trace"]["high"], 22 - 1e-4)
            self.assertGreater(spectrum["products"], 0)
        self.assertGreater(result["cost"]["gradient_equivalents"], 0)
        self.assertGreater(result["cost"]["seconds"], 0)
        self.assertGreater(result["cost"]["peak_bytes"], 0)
        self.assertEqual(json.loads((self.folder / "a/result.json").read_text()), result)

    def test_fisher_matrices_of_a_linear_problem(self):
        """Residuals r = z - y of the eight examples, rows a = (x1, x2, 1): F = G, E = mean of 4 r^2 a a', C = E - g g'."""
        every = "fisher,sampled_fisher,empirical_fisher,gradient_covariance,functional"
        result = self.tool_json("analyze", *self.linear_problem(), "--eigenvalues", "3", "--dtype", "float64", "--matrix", every, "--rank")
        spectra = result["spectrum"]
        self.assertEqual(list(spectra), every.split(","))
        rows = [(a, 3 * b, 1) for a in (-1, 1) for b in (-1, 1)]
        residuals = [-(2 * x - y + 0.5) for x, y, _ in rows]
        moment = sum(4 * r * r * (x * x + y * y + 1) for r, (x, y, _) in zip(residuals, rows)) / 4
        gradient = [sum(2 * r * row[i] for r, row in zip(residuals, rows)) / 4 for i in range(3)]

        def trace(matrix):
            return spectra[matrix]["trace"]["value"]

        self.assertAlmostEqual(trace("fisher"), 22, places=9)
        self.assertAlmostEqual(spectra["fisher"]["largest"][0]["value"], 18, places=9)
        self.assertAlmostEqual(trace("empirical_fisher"), moment, places=9)
        self.assertAlmostEqual(trace("gradient_covariance"), moment - sum(g * g for g in gradient), places=9)
        self.assertAlmostEqual(spectra["functional"]["largest"][0]["value"], 0, places=9)
        self.assertGreater(trace("sampled_fisher"), 1)
        self.assertEqual([spectra[m]["rank"]["upper_bound"] for m in every.split(",")], [3, 3, 3, 3, None])
        self.assertIn("neither", spectra["empirical_fisher"]["note"])
        self.assertIn("unknown", spectra["sampled_fisher"]["note"])
        other = self.tool_json("analyze", *self.linear_problem(), "--dtype", "float64", "--matrix", "sampled_fisher",
                               "--set", "analyze.fisher_draws=3000")["spectrum"]["sampled_fisher"]
        # The deviation of the trace: each example's is 4 a'a / 2 e^2 with e normal; twice that much is far.
        self.assertAlmostEqual(other["trace"]["value"], 22, delta=4 * 22 * (2 / 24000) ** 0.5)
        out, _ = self.tool("analyze", *self.linear_problem(), "--matrix", "empirical_fisher,functional")
        self.assertIn("Empirical Fisher matrix (", out)
        self.assertIn("neither the Fisher matrix", out)

    def test_the_plan_prices_both_products_of_the_functional_part(self):
        plans = {
            matrix: self.tool_json("analyze", *self.cloud_problem(), "--matrix", matrix)["plan"]["gradient_equivalents"]
            for matrix in ("hessian", "gauss_newton", "empirical_fisher", "functional")
        }
        products = 99 + 99  # the matrix is formed, then its diagonal is summed
        self.assertAlmostEqual(plans["hessian"], 1.1 * 2 + 1.5 * (products + 1), places=6)
        self.assertAlmostEqual(plans["empirical_fisher"], plans["gauss_newton"], places=9)
        self.assertGreater(plans["functional"], plans["hessian"] + 1.2 * products)

    def test_alignment_of_a_linear_problem(self):
        """The gradient (-4, 18, -1) and the eigenvectors of 2 diag(1, 9, 1): the second axis alone belongs to 18."""
        result = self.tool_json("analyze", *self.linear_problem(), "--dtype", "float64", "--alignment")
        alignment = result["spectrum"]["hessian"]["alignment"]
        cosine, share = alignment["largest"]["cosines"][0], alignment["largest"]["shares"][0]
        self.assertAlmostEqual(cosine["value"], 18 / 341**0.5, places=12)
        self.assertAlmostEqual(share["value"], 324 / 341, places=12)
        for x in (cosine, share):
            self.assertLess(x["high"] - x["low"], 1e-6)
        self.assertIsNone(alignment["largest"]["cosines"][1]["low"])  # 2 is double
        self.assertAlmostEqual(alignment["largest"]["shares"][2]["low"], 1, places=9)
        self.assertAlmostEqual(alignment["gradient"]["curvature"], (2 * 17 + 18 * 324) / 341, places=10)
        self.assertTrue(2 <= alignment["random"]["curvature"] <= 18)
        self.assertEqual(alignment["miss_probability"], 0)
        out, _ = self.tool("analyze", *self.linear_problem(), "--alignment", "--out", "a")
        for word in ("curvature along the gradient", "Cosine of the gradient", "interval unknown"):
            self.assertIn(word, out)
        self.assertIn("The gradient among the eigenvectors", (self.folder / "a/report.html").read_text())
        self.refused(USAGE, "analyze", *self.linear_problem(), "--alignment", "--eigenvalues", "0", says="needs eigenvectors")

    def test_slices_of_a_quadratic_are_the_model(self):
        problem = [*self.linear_problem(), "--dtype", "float64", "--matrix", "hessian,empirical_fisher", "--out", "a"]
        result = self.tool_json("analyze", *problem, "--slices", "1", "--set", "analyze.slice_points=5", "--set", "analyze.plane_points=3")
        self.assertNotIn("slices", result["spectrum"]["empirical_fisher"])  # no model of the objective
        slices = result["spectrum"]["hessian"]["slices"]
        self.assertEqual([line["direction"] for line in slices["lines"]], ["largest 1", "smallest 1"])
        top = slices["lines"][0]
        self.assertAlmostEqual(top["curvature"], 18, places=10)
        self.assertAlmostEqual(abs(top["slope"]), 18, places=10)
        self.assertAlmostEqual(18 * top["radius"] + 9 * top["radius"] ** 2, 13.25, places=9)  # the objective's value
        self.assertEqual(top["reach"], top["radius"])
        for line in slices["lines"]:
            self.assertEqual(len(line["steps"]), 5)
            for value, model in zip(line["values"], line["model"]):
                self.assertAlmostEqual(value, model, places=10)
        (plane,) = slices["planes"]
        for values, model in zip(plane["values"], plane["model"]):
            for value, predicted in zip(values, model):
                self.assertAlmostEqual(value, predicted, places=10)
        plain = self.tool_json("analyze", *problem[:-2])["plan"]["gradient_equivalents"]
        work = 1 + 2 * 5 / 3 + 9 / 3 + 4 * 1.5  # gradient, lines, plane, products; and an evaluation that is measured
        self.assertAlmostEqual(result["plan"]["gradient_equivalents"] - plain, work + 1 / 3, places=9)
        self.assertIn("Slices of the objective", (self.folder / "a/report.html").read_text())
        self.refused(USAGE, "analyze", *problem[:-2], "--slices", "3", "--eigenvalues", "2", says="analyze.eigenvalues = 2: must be >= 3")
        self.refused(USAGE, "analyze", *problem[:-2], "--slices", "1", "--set", "analyze.slice_points=4", says="odd")

    def test_sampling_error_of_a_small_problem(self):
        result = self.tool_json("analyze", *self.cloud_problem(), "--dtype", "float64", "--sampling-error", "--out", "a")
        spectrum = result["spectrum"]["hessian"]
        found = spectrum["sampling_error"]
        self.assertEqual(found["examples"], 120)
        self.assertAlmostEqual(found["largest"]["value"], spectrum["largest"][0]["value"], places=10)
        trace = found["trace"]
        self.assertAlmostEqual(trace["value"], spectrum["trace"]["value"], places=8)
        for size in trace["sizes"]:  # linear in the examples
            self.assertEqual(len(size["values"]), size["parts"])
            self.assertAlmostEqual(size["mean"], trace["value"], places=8)
        for size in found["largest"]["sizes"]:
            self.assertGreaterEqual(size["mean"], found["largest"]["value"])
        self.assertLess(found["largest"]["population"]["low"], found["largest"]["population"]["value"])
        self.assertGreater(trace["deviation"], 0)
        self.assertIn("due to the examples at hand", (self.folder / "a/report.html").read_text())
        out, _ = self.tool("analyze", *self.cloud_problem(), "--sampling-error")
        self.assertIn("estimated from 2, 4 and 8 parts", out)
        self.refused(USAGE, "analyze", *self.linear_problem(), "--sampling-error", says="8 examples cannot be split")

    def test_fisher_needs_a_likelihood(self):
        linear = self.linear_problem()
        self.refused(USAGE, "analyze", *linear[:4], "--loss", "huber", "--matrix", "fisher",
                     says=["fisher: the loss huber is the negative log likelihood of no distribution", "use gauss_newton"])
        self.refused(USAGE, "analyze", *self.cloud_problem(), "--matrix", "hessian,sampled_fisher", "--set", "loss.label_smoothing=0.1",
                     says=["sampled_fisher", "label smoothing"])

    def test_rank_and_density_of_a_linear_problem(self):
        """Eigenvalues 18, 2, 2: stable rank (324 + 4 + 4) / 324, participation (22)^2 / 332."""
        result = self.tool_json("analyze", *self.linear_problem(), "--eigenvalues", "1", "--rank", "--density", "--matrix", "gauss_newton")
        spectrum = result["spectrum"]["gauss_newton"]
        rank = spectrum["rank"]
        self.assertEqual(rank["numerical"], {"value": 3, "low": 3, "high": 3, "threshold": 1e-5})
        self.assertAlmostEqual(rank["stable"]["value"], 332 / 324, places=5)
        self.assertAlmostEqual(rank["participation"]["value"], 22**2 / 332, places=4)
        self.assertEqual(rank["rank_one"], "no")
        self.assertEqual(rank["upper_bound"], 3)
        self.assertAlmostEqual(spectrum["frobenius"]["value"], 332**0.5, places=4)
        density = spectrum["density"]
        self.assertTrue(density["exact"])
        self.assertEqual(density["cumulative"][-1], 1)
        self.assertEqual(len(density["grid"]), len(density["high"]))
        self.assertEqual(rank["layers"], [])  # one layer alone
        self.assertEqual(spectrum["products"], 4 * 3)  # eigenvalues, trace, rank, density

    def test_rank_and_density_by_probes(self):
        """1,003 parameters: too many for the matrix to be formed."""
        problem = ["--model", "mlp:2-40-20-3", *self.cloud_problem()[2:], "--seed", "1", "--eigenvalues", "2"]
        settings = ["--set", "analyze.quadrature_steps=20", "--set", "analyze.quadrature_probes=4", "--set", "analyze.rank_threshold=0.01"]
        spectrum = self.tool_json("analyze", *problem, *settings, "--rank", "--density")["spectrum"]["hessian"]
        plain = self.tool_json("analyze", *problem)["spectrum"]["hessian"]
        layers = 120 + (20 + 20 * 4) + 63  # the second is too large to be formed; beside its eigenpairs
        least = 2 * 20 * 4 + 30 + layers
        self.assertTrue(least < spectrum["products"] - plain["products"] <= least + 90 + 10 * 3, spectrum["products"])
        self.assertNotIn("rank", plain)
        rank, density = spectrum["rank"], spectrum["density"]
        self.assertFalse(rank["exact"] or density["exact"])
        self.assertEqual(rank["numerical"]["threshold"], 0.01)
        self.assertTrue(1 <= rank["numerical"]["low"] <= rank["numerical"]["high"] <= 1003)
        for key in ("stable", "effective", "participation"):
            self.assertTrue(1 <= rank[key]["low"] <= rank[key]["value"] <= rank[key]["high"] <= 1003, rank[key])
        self.assertEqual(density["grid"], sorted(density["grid"]))
        for low, value, high in zip(density["cumulative_low"], density["cumulative"], density["cumulative_high"]):
            self.assertTrue(low <= value + 1e-12 and value <= high + 1e-12)

    def middle_problem(self, out, *more):
        """3,343 parameters, an analysis of about 2 s."""
        return ["analyze", "--model", "mlp:2-80-36-3", *self.cloud_problem()[2:], "--dtype", "float64", "--eigenvalues", "3", "--full", "--threads", "1", "--out", out, *more]

    def numbers(self, result):
        return {name: {key: value for key, value in spectrum.items() if key != "products"} for name, spectrum in result["spectrum"].items()}

    def test_full_measures_everything_and_says_what_is_left(self):
        result = self.tool_json(*self.middle_problem("whole"))
        spectrum = result["spectrum"]["hessian"]
        for part in ("rank", "density", "trace", "sparsity", "low_rank", "alignment", "slices", "sampling_error"):
            self.assertIn(part, spectrum)
            self.assertIn(part, spectrum["finished"])
        self.assertIn("gradient_flow", result["diagnosis"])

    def test_an_interrupted_or_killed_analysis_goes_on(self):
        whole = self.numbers(self.tool_json(*self.middle_problem("whole")))
        for which in (signal.SIGINT, signal.SIGKILL):
            with self.subTest(signal=which):
                out = f"cut-{which}"
                process = self.start(*self.middle_problem(out))
                path = self.folder / out / "result.json"
                while process.poll() is None and not path.exists():  # the first part is made
                    time.sleep(0.005)
                process.send_signal(which)
                _, err = process.communicate(timeout=60)
                if which == signal.SIGINT:
                    self.assertEqual(process.returncode, 130, err)
                    self.assertIn("--resume", err)
                part = json.loads(path.read_text())
                self.assertEqual(part["status"], "interrupted")
                self.assertEqual(part["spectrum"]["hessian"]["finished"][0], "eigenvalues")
                self.assertNotIn("density", part["spectrum"]["hessian"]["finished"])
                self.assertEqual(part["spectrum"]["hessian"]["largest"], whole["hessian"]["largest"])
                self.refused(USAGE, *self.middle_problem(out, "--resume", "--seed", "9"), says=["--resume", "run.seed"])
                rest = self.tool_json("analyze", "--resume", "--out", out)
                self.assertEqual(rest["status"], "done")
                self.assertEqual(self.numbers(rest), whole)
                self.assertFalse((self.folder / out / "eigenpairs").exists())

    def test_a_spectrum_is_followed_from_the_pairs_of_another_analysis(self):
        problem = ["analyze", "--model", "mlp:2-80-36-3", *self.cloud_problem()[2:], "--dtype", "float64", "--eigenvalues", "3"]
        first = self.tool_json(*problem, "--keep-eigenpairs", "--out", "first")
        again = self.tool_json(*problem, "--start-from", "first")
        file = self.tool_json(*problem, "--start-from", "first/eigenpairs/hessian.safetensors")
        self.assertEqual(self.numbers(file), self.numbers(again))
        for end in ("largest", "smallest"):
            for a, b in zip(first["spectrum"]["hessian"][end], again["spectrum"]["hessian"][end]):
                self.assertLess(abs(a["value"] - b["value"]), a["residual"] + b["residual"])
        self.assertLess(again["spectrum"]["hessian"]["miss_probability"], 0.011)
        quick = self.tool_json(*problem, "--start-from", "first", "--set", "analyze.check_products=0")["spectrum"]["hessian"]
        self.assertLessEqual(quick["products"] - 100, 2 * 6 + 1, "beside the trace, two a pair and one for the noise")
        self.assertEqual(quick["miss_probability"], 1)
        self.refused(USAGE, *problem, "--start-from", "nowhere", says=["analyze.start_from", "nowhere", "keep_eigenpairs"])
        self.refused(DATA, "analyze", "--model", "mlp:2-80-35-3", *problem[3:], "--start-from", "first", says=["hessian.safetensors", "rows"])

    def test_rank_by_layer(self):
        """Two layers of 30 and 18 parameters on 4 examples: 4 outputs x 2 for cross entropy of 3 classes bounds all."""
        problem = ["--model", "mlp:4-6-3", "--data", "d.safetensors", "--loss", "cross_entropy", "--dtype", "float64"]
        write_safetensors(self.folder / "d.safetensors", {
            "inputs": ("F64", [[1.0, 2.0, -1.0, 0.5], [0.0, 1.0, 3.0, -2.0], [2.0, 0.5, 0.0, 1.0], [-1.0, 1.0, 1.0, 1.0]]),
            "targets": ("I64", [0, 1, 2, 1])})  # fmt: skip
        rank = self.tool_json("analyze", *problem, "--matrix", "gauss_newton", "--rank")["spectrum"]["gauss_newton"]["rank"]
        self.assertEqual([(layer["name"], layer["parameters"]) for layer in rank["layers"]], [("0", 30), ("2", 21)])
        for layer in rank["layers"]:
            self.assertTrue(layer["exact"])
            self.assertEqual(layer["upper_bound"], 8)
            self.assertTrue(1 <= layer["numerical"]["low"] <= layer["numerical"]["high"] <= 8, layer)
            self.assertLessEqual(layer["numerical"]["high"], rank["numerical"]["high"])
            self.assertEqual(layer["rank_one"], "no")
        without = self.tool_json("analyze", *problem, "--matrix", "gauss_newton", "--rank", "--set", "analyze.rank_layers=false")
        self.assertEqual(without["spectrum"]["gauss_newton"]["rank"]["layers"], [])
        out, _ = self.tool("analyze", *problem, "--rank", "--out", "text")
        self.assertIn("Each layer's own block", out)

    def test_sparsity_of_a_linear_problem(self):
        """The Hessian is 2 diag(1, 9, 1): weights and bias are one layer, and nothing lies off the diagonal."""
        flags = ["--sparsity", "--low-rank", "2", "--set", "analyze.low_rank_error=0.2"]
        spectrum = self.tool_json("analyze", *self.linear_problem(), *flags, "--out", "a")["spectrum"]["hessian"]
        sparsity = spectrum["sparsity"]
        self.assertEqual(sparsity["structure"], "diagonal")
        self.assertEqual(sparsity["layers"], [{"name": "fc", "parameters": 3}])
        self.assertAlmostEqual(sparsity["norms"][0][0]["value"], 332**0.5, places=4)
        self.assertAlmostEqual(sparsity["scale"], 18, places=4)
        self.assertAlmostEqual(sparsity["negligible"]["value"], 6 / 9)
        self.assertEqual(sparsity["columns"], 3)
        low_rank = spectrum["low_rank"]
        self.assertTrue(low_rank["exact"])
        methods = {method["method"]: method for method in low_rank["methods"]}
        svd = methods["svd"]
        for error, squares in zip(svd["error"], (332, 8, 4), strict=True):
            self.assertAlmostEqual(error["value"], (squares / 332) ** 0.5, places=5)
        self.assertEqual((svd["rank"], svd["words"]), ({"low": 1, "high": 1}, "1"))
        self.assertEqual((methods["nystrom"]["error"], methods["nystrom"]["words"]), ([], "unknown"))
        self.assertEqual(spectrum["products"], 4 * 3)  # eigenvalues, trace, sparsity, low rank
        out, _ = self.tool("analyze", *self.linear_problem(), *flags, "--out", "b")
        for word in ("sparsity: diagonal", "Share of entries", "low rank: norm_F", "randomized_svd", "not known to be positive semidefinite"):
            self.assertIn(word, out)

    def test_sparsity_and_low_rank_by_probes(self):
        """1,003 parameters in three layers: the matrix is not formed."""
        problem = ["--model", "mlp:2-40-20-3", *self.cloud_problem()[2:], "--seed", "1", "--eigenvalues", "3"]
        settings = ["--set", "analyze.sparsity_products=90", "--set", "analyze.sparsity_columns=20"]
        result = self.tool_json("analyze", *problem, *settings, "--sparsity", "--low-rank", "8", "--matrix", "gauss_newton")
        plain = self.tool_json("analyze", *problem, "--matrix", "gauss_newton")
        spectrum = result["spectrum"]["gauss_newton"]
        products = 90 + 8 + 20 + 30 + 2 * 18 * 4 + 18 + 18
        self.assertEqual(spectrum["products"] - plain["spectrum"]["gauss_newton"]["products"], products)
        planned = result["plan"]["gradient_equivalents"] - plain["plan"]["gradient_equivalents"]
        made = result["cost"]["gradient_equivalents"] - plain["cost"]["gradient_equivalents"]
        self.assertAlmostEqual(planned, made, delta=0.01 * made)
        sparsity = spectrum["sparsity"]
        self.assertEqual([layer["name"] for layer in sparsity["layers"]], ["0", "2", "4"])
        for a in range(3):
            for b in range(3):
                norm = sparsity["norms"][a][b]
                self.assertTrue(0 < norm["low"] <= norm["value"] <= norm["high"], norm)
                self.assertEqual(norm, sparsity["norms"][b][a])
        self.assertIn(sparsity["structure"], ("dense", "band", "unknown"))
        self.assertTrue(0 <= sparsity["negligible"]["low"] <= sparsity["negligible"]["value"] <= sparsity["negligible"]["high"] <= 1)
        self.assertEqual(sparsity["columns"], 20)
        methods = {method["method"]: method for method in spectrum["low_rank"]["methods"]}
        self.assertIn("formed up to n = 500", methods["svd"]["note"])
        self.assertEqual(len(methods["lanczos"]["error"]), 7)  # of 3 pairs at each end
        for name in ("randomized_svd", "randomized_qr", "nystrom", "indefinite_nystrom"):
            errors = methods[name]["error"]
            self.assertEqual(len(errors), 9)
            self.assertTrue(all(error["low"] <= error["value"] <= error["high"] for error in errors))
            self.assertTrue(all(a["value"] >= b["value"] for a, b in zip(errors, errors[1:])), name)
        self.refused(USAGE, "analyze", *problem, "--sparsity", "--set", "analyze.sparsity_products=11", says=["sparsity_products = 11", ">= 12"])

    def test_a_flat_layer_is_found(self):
        """The weights behind the first layer are 1e-6 of the others': gradients reach it, its curvature is 1e-12 of theirs."""
        write_safetensors(self.folder / "d.safetensors", {
            "inputs": ("F64", [[(i * j) % 7 - 3.0 for j in range(1, 4)] for i in range(20)]),
            "targets": ("F64", [[float(i % 3), float(i % 2)] for i in range(20)])})  # fmt: skip
        pattern = lambda rows, columns, scale: [[scale * ((3 * i + 5 * j) % 11 - 5.0) for j in range(columns)] for i in range(rows)]
        write_safetensors(self.folder / "w.safetensors", {
            "0.weight": ("F64", pattern(5, 3, 0.1)), "0.bias": ("F64", [0.1] * 5),
            "2.weight": ("F64", pattern(5, 5, 1e-6)), "2.bias": ("F64", [0.1] * 5),
            "4.weight": ("F64", pattern(2, 5, 0.3)), "4.bias": ("F64", [0.1] * 2)})  # fmt: skip
        problem = ["--model", "mlp:3-5-5-2", "--data", "d.safetensors", "--loss", "mse", "--dtype", "float64", "--eigenvalues", "2",
                   "--set", "model.activation=tanh", "--set", "model.parameters=w.safetensors", "--matrix", "gauss_newton"]  # fmt: skip
        for flags in ([], ["--sparsity"]):
            result = self.tool_json("analyze", *problem, "--gradient-flow", *flags)
            flow = result["diagnosis"]["gradient_flow"]
            self.assertEqual(flow["verdict"], "flat_but_alive", flow["words"])
            self.assertIn("the curvature of 0 (", flow["words"])
            self.assertEqual("layer_norms" in result["spectrum"]["gauss_newton"], not flags)

    def test_the_same_seed_gives_the_same_numbers(self):
        problem = self.cloud_problem()
        runs = [self.tool_json("analyze", *problem, "--seed", "3", "--eigenvalues", "2") for _ in range(2)]
        self.assertEqual(runs[0]["spectrum"], runs[1]["spectrum"])

    def test_batch_size_changes_no_answer(self):
        problem = self.cloud_problem()
        whole, ragged = (
            self.tool_json("analyze", *problem, "--dtype", "float64", "--eigenvalues", "2", "--batch-size", size)
            for size in ("full", "50")
        )
        self.assertAlmostEqual(whole["objective"]["value"], ragged["objective"]["value"], places=12)
        for end in ("largest", "smallest"):
            for a, b in zip(whole["spectrum"]["hessian"][end], ragged["spectrum"]["hessian"][end]):
                self.assertLessEqual(abs(a["value"] - b["value"]), a["residual"] + b["residual"])

    def test_what_a_person_reads(self):
        out, err = self.tool("analyze", *self.linear_problem(), "--eigenvalues", "1", "--out", "a")
        for word in ("parameters", "loss", "gradient norm", "fc ", "largest", "smallest", "trace", "a/result.json"):
            self.assertIn(word, out)
        self.assertIn("ge", err)  # the plan
        self.assertNotIn("\x1b", out + err)

    def test_file_names_with_quotes_and_commas(self):
        problem = self.linear_problem()
        os.rename(self.folder / "m.pt2", self.folder / "it's, m.pt2")
        self.tool("analyze", "--model", "it's, m.pt2", *problem[2:], "--eigenvalues", "1", "--out", "a")
        self.tool("analyze", "a/run.toml", "--out", "b")

    def test_gradient_flow_names_a_dead_signal(self):
        """Ten sigmoid layers of width 20: differences fall by a factor of about 0.14 a layer, below float32's rounding."""
        write_safetensors(self.folder / "d.safetensors", {
            "inputs": ("F32", [[(i * j) % 7 - 3.0 for j in range(1, 6)] for i in range(30)]),
            "targets": ("I64", [i % 3 for i in range(30)])})
        problem = ["--set", "model.kind=mlp", "--set", "model.widths=5," + "20," * 10 + "3",
                   "--data", "d.safetensors", "--loss", "cross_entropy",
                   "--eigenvalues", "0", "--set", "analyze.trace_probes=5", "--set", "model.activation=sigmoid"]
        plain = self.tool_json("analyze", *problem, "--out", "plain")
        self.assertNotIn("diagnosis", plain)
        out, _ = self.tool("analyze", *problem, "--out", "words")
        self.assertNotIn("Not converged", out)
        result = self.tool_json("analyze", *problem, "--gradient-flow", "--out", "flow")
        flow = result["diagnosis"]["gradient_flow"]
        self.assertEqual(flow["verdict"], "dead_signal")
        self.assertIn("Dead signal", flow["words"])
        self.assertEqual(len(flow["layers"]), 11)
        self.assertEqual(flow["layers"][0]["name"], "0")
        self.assertIsNone(flow["layers"][0]["dead"])
        self.assertEqual(flow["layers"][0]["saturated"], 0)
        for ratio, value in (("forward_ratio", 0.02), ("backward_ratio", 0.14)):
            self.assertLess(flow[ratio]["low"], flow[ratio]["value"])
            self.assertLess(flow[ratio]["value"], flow[ratio]["high"])
            self.assertAlmostEqual(flow[ratio]["value"], value, delta=value / 2)
        self.assertAlmostEqual(result["cost"]["gradient_equivalents"] - plain["cost"]["gradient_equivalents"], 1, places=6)
        planned = result["plan"]["gradient_equivalents"] - plain["plan"]["gradient_equivalents"]
        norms = 4 * 11 * 1.5  # products with each layer, which a dead network does not need after all
        self.assertAlmostEqual(planned, 2 + norms, places=6)  # one batch, which is all the data, is measured first
        out, _ = self.tool("analyze", *problem, "--gradient-flow", "--out", "text")
        for word in ("Gradient flow", "Dead signal", "forward variance", "addmm, sigmoid"):
            self.assertIn(word, out)
        self.assertIn("Gradient flow", (self.folder / "flow/report.html").read_text())

    def test_frozen_parameters_are_left_out(self):
        result = self.tool_json("analyze", *self.linear_problem(), "--eigenvalues", "1", "--freeze", "fc.bias")
        self.assertEqual(result["model"]["parameters"], 2)

    def test_run_file_and_recorded_run_file(self):
        self.linear_problem()
        self.write(
            "run.toml",
            '[model]\nkind = "exported"\npath = "m.pt2"\n[data]\nkind = "safetensors"\npath = "train.safetensors"\n'
            '[loss]\nkind = "mse"\n[analyze]\neigenvalues = 2\n[run]\nout = "first"\n',
        )
        first = self.tool_json("analyze", "run.toml", "--eigenvalues", "1")
        self.assertEqual(len(first["spectrum"]["hessian"]["largest"]), 1)  # flags win
        recorded = (self.folder / "first/run.toml").read_text()
        self.assertIn("eigenvalues = 1", recorded)
        self.assertRegex(recorded, r"memory_budget = \d+")
        again = self.tool_json("analyze", "first/run.toml", "--out", "second")
        self.assertEqual(first["spectrum"], again["spectrum"])

    def test_result_directories_are_not_overwritten(self):
        problem = self.linear_problem()
        self.tool("analyze", *problem, "--out", "a", "--eigenvalues", "1")
        before = (self.folder / "a/result.json").read_text()
        self.refused(USAGE, "analyze", *problem, "--out", "a", says=["--resume", "--overwrite"])
        self.assertEqual((self.folder / "a/result.json").read_text(), before)
        out, _ = self.tool("analyze", *problem, "--out", "a", "--eigenvalues", "1", "--resume", "--json")
        self.assertEqual(out, before)
        self.refused(USAGE, "analyze", *problem, "--out", "a", "--resume", says=["analyze.eigenvalues is 10", "it was 1"])
        self.tool("analyze", *problem, "--out", "a", "--overwrite", "--eigenvalues", "2")
        self.assertEqual(len(json.loads((self.folder / "a/result.json").read_text())["spectrum"]["hessian"]["largest"]), 2)

    def test_a_folder_of_other_files_is_left_alone(self):
        problem = self.linear_problem()
        os.mkdir(self.folder / "mine")
        self.write("mine/notes.txt", "keep")
        self.refused(USAGE, "analyze", *problem, "--out", "mine", "--overwrite", says="no results")
        self.assertEqual(os.listdir(self.folder / "mine"), ["notes.txt"])


class Check(CliTest):
    def test_tells_layers_shapes_and_second_derivatives(self):
        out, _ = self.tool("check", *self.linear_problem())
        for word in ("fc ", "[1, 2]", "[8, 2]", "second derivatives", "yes"):
            self.assertIn(word, out)
        check = self.tool_json("check", *self.linear_problem())["check"]
        self.assertTrue(check["second_derivatives"])
        self.assertEqual(check["unused"], [])
        self.assertEqual(len(check["layers"]), 1)
        layer = check["layers"][0]
        self.assertEqual((layer["name"], layer["kind"]), ("fc", "linear"))
        self.assertTrue(layer["covered"] and layer["second_derivative"])
        self.assertEqual((layer["flops"], layer["bytes"]), (2 * 2, 4))  # two inputs, one output, float32

    def test_names_parameters_that_no_gradient_reaches(self):
        """With inputs that are all zero the weights do not matter."""
        problem = self.linear_problem()
        write_safetensors(self.folder / "train.safetensors", {"inputs": ("F32", [[0.0, 0.0]] * 4), "targets": ("F32", [[1.0]] * 4)})
        check = self.tool_json("check", *problem)["check"]
        self.assertEqual(check["zero_gradient"], ["fc.weight"])
        self.assertEqual(check["unused"], [])


class Evaluate(CliTest):
    def test_value_and_metrics_at_given_weights(self):
        problem = self.linear_problem()
        write_safetensors(self.folder / "w.safetensors", {"fc.weight": ("F32", [[2.0, -1.0]]), "fc.bias": ("F32", [1.5])})
        result = self.tool_json(
            "evaluate", *problem, "--parameters", "w.safetensors", "--test-data", "train.safetensors", "--set", "metrics.names=squared_error,relative_l2"
        )
        evaluation = result["evaluation"]
        self.assertAlmostEqual(evaluation["loss"], 1.0, places=6)  # the bias is off by one
        self.assertAlmostEqual(evaluation["metrics"]["squared_error"], 1.0, places=6)
        self.assertAlmostEqual(evaluation["metrics"]["relative_l2"], (1 / 13.25) ** 0.5, places=6)
        self.assertAlmostEqual(evaluation["test"]["loss"], 1.0, places=6)
        self.assertFalse((self.folder / "runs").exists())


if __name__ == "__main__":
    unittest.main()
