"""report.html: looked at in Chromium. Every chart drawn, nothing on the console, nothing fetched, narrow enough for a phone."""

import html
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

from harness import DATA, CliTest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

# Before the page's own scripts: whatever goes wrong is kept. After them: what there is to see.
WATCH = """<script>
  window.trouble = [];
  for (const level of ['error', 'warn']) console[level] = (...words) => trouble.push(words.join(' '));
  addEventListener('error', event => trouble.push(event.message));
  addEventListener('securitypolicyviolation', event => trouble.push('fetch of ' + event.blockedURI));
</script>"""
LOOK = """<script>
  const drawn = canvas => {
    const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    let count = 0;
    for (let i = 3; i < pixels.length; i += 4) count += pixels[i] > 0;
    return count;
  };
  const look = () => ({
    trouble, width: innerWidth, scroll: document.documentElement.scrollWidth,
    requests: performance.getEntriesByType('resource').length,
    canvases: [...document.querySelectorAll('canvas')].map(canvas => [canvas.id, drawn(canvas)]),
    unnamed: [...document.querySelectorAll('canvas')].filter(canvas => !canvas.getAttribute('aria-label')).length,
    dangling: [...document.querySelectorAll('nav a')].filter(a => !document.getElementById(a.hash.slice(1))).length,
    ground: getComputedStyle(document.body).backgroundColor, images: document.images.length,
  });
  const first = look();
  for (const select of document.querySelectorAll('select')) {
    select.value = '1';
    select.dispatchEvent(new Event('change'));
  }
  const result = document.createElement('pre');
  result.id = 'probe';
  result.textContent = JSON.stringify({first, switched: look()});
  document.body.append(result);
</script>"""


@unittest.skipUnless(CHROMIUM, "no chromium")
class Report(CliTest):
    def look_at(self, page, *flags):
        source = pathlib.Path(page).read_text(encoding="utf-8")
        probed = source.replace("<head>", "<head>" + WATCH, 1).replace("</body>", LOOK + "</body>", 1)
        copy = self.folder / "probed.html"
        copy.write_text(probed, encoding="utf-8")
        done = subprocess.run(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={(self.folder / 'profile')}", *flags, "--dump-dom", copy.as_uri()],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        probe = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
        self.assertIsNotNone(probe, done.stderr[-2000:])
        return json.loads(html.unescape(probe.group(1)))

    def assert_well(self, page, charts):
        seen = self.look_at(page)
        for state in (seen["first"], seen["switched"]):
            self.assertEqual(state["trouble"], [])
            self.assertEqual(state["requests"], 0)
            self.assertEqual(sorted(name for name, _ in state["canvases"]), sorted(charts))
            for name, pixels in state["canvases"]:
                self.assertGreater(pixels, 500, name)
            self.assertEqual((state["unnamed"], state["dangling"]), (0, 0))
        phone = self.look_at(page, "--window-size=390,844")["first"]
        self.assertLessEqual(phone["width"], 500)
        self.assertLessEqual(phone["scroll"], phone["width"])
        dark = self.look_at(page, "--blink-settings=preferredColorScheme=0")["first"]
        self.assertNotEqual(dark["ground"], seen["first"]["ground"])
        self.assertEqual(dark["trouble"], [])
        self.assertLess(os.path.getsize(page), 1_000_000)

    def test_analysis(self):
        self.tool("analyze", *self.cloud_problem(), "--matrix", "hessian,gauss_newton", "--out", "a")
        self.assert_well((self.folder / "a/report.html"), ["eigenvalues-hessian", "eigenvalues-gauss_newton", "gradient-norms"])

    def test_landscape(self):
        self.tool("analyze", *self.cloud_problem(), "--alignment", "--slices", "1", "--sampling-error", "--out", "a")
        charts = ["slice-hessian-0", "slice-hessian-1", "plane-hessian-2", "sampling-chart-hessian"]
        self.assert_well((self.folder / "a/report.html"), ["eigenvalues-hessian", "gradient-norms", *charts])

    def test_structure(self):
        problem = ["--model", "mlp:2-10-10-10-10-3", *self.cloud_problem()[2:]]
        self.tool("analyze", *problem, "--sparsity", "--low-rank", "5", "--rank", "--out", "a")
        page = self.folder / "a/report.html"
        self.assert_well(page, ["eigenvalues-hessian", "low-rank-chart-hessian", "gradient-norms"])
        source = page.read_text()
        self.assertEqual(source.count("<th scope=\"row\">"), 5)
        self.assertIn("heat-8", source)

    def test_training(self):
        self.tool("train", *self.cloud_problem(), "--method", "hessian_free", "--steps", "20", "--out", "t")
        self.assert_well((self.folder / "t/report.html"), ["loss-curve", "norms-curve", "damping-curve", "rho-curve"])

    def test_race(self):
        self.tool("compare", *self.linear_problem(), "--methods", "sgd,lbfgs", "--budget", "20ge", "--seeds", "2", "--tune", "0", "--out", "c")
        self.assert_well((self.folder / "c/report.html"), ["race-loss"])

    def test_through_training(self):
        problem = self.cloud_problem()
        self.tool("train", *problem, "--method", "sgd", "--batch-size", "full", "--steps", "9",
                  "--set", "train.checkpoint_every=3", "--out", "t")  # fmt: skip
        result = self.tool_json("analyze", *problem, "--through", "t", "--out", "a")
        self.assertEqual([point["step"] for point in result["through"]["points"]], [3, 6, 9])
        self.assertAlmostEqual(result["through"]["stability_limit"], 2 / 0.01)
        self.assert_well(self.folder / "a/report.html", ["through-chart"])

    def test_advice(self):
        self.tool("advise", *self.linear_problem(), "--race", "--budget", "200ge", "--candidates", "2", "--out", "d")
        self.assert_well((self.folder / "d/report.html"), ["gradient-flow-chart"])

    def test_names_are_text(self):
        name = "<img src=x onerror=alert(1)>"
        self.tool("analyze", *self.linear_problem(), "--out", name)
        seen = self.look_at(self.folder / name / "report.html")["first"]
        self.assertEqual((seen["trouble"], seen["images"], seen["requests"]), ([], 0, 0))

    def test_again(self):
        self.tool("train", *self.linear_problem(), "--method", "sgd", "--steps", "3", "--out", "t")
        page = self.folder / "t/report.html"
        written = page.read_bytes()
        page.unlink()
        out, _ = self.tool("report", "t")
        self.assertIn("t/report.html", out)
        self.assertEqual(page.read_bytes(), written)

    def test_no_result(self):
        self.refused(DATA, "report", "nowhere", says="nowhere/result.json")


if __name__ == "__main__":
    if not CHROMIUM:
        sys.exit(77)
    unittest.main()
