"""Kills trainings and analyses at random moments: `kill_loop.py [KILLS [SEED]]`, 200 by default.

After each kill, what the run had said was saved must be there and whole, and nothing half written beside it; resumed
again and again, a run must come to the bits of one that was never killed. Prints what it did; any loss ends it with
exit code 1 and the folder left where it is.
"""

import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
from harness import TOOL, CliTest, read_safetensors  # noqa: E402

# Of each run: what it is asked for, and a limit that takes it a second or two.
PENALTY = ["--set", "train.averaging=0.9", "--set", "train.schedule=cosine", "--lr", "0.01"]
TRAININGS = {
    "adam": (["--batch-size", "16"], 6000),
    "momentum": (["--batch-size", "16", *PENALTY], 4000),
    "lbfgs": (["--batch-size", "full"], 400),
    "hessian_free": (["--batch-size", "16"], 200),
    "muon": (["--batch-size", "16"], 3000),
}
NOT_COMPARED = ("seconds", "peak_bytes", "plan")


class Lost(Exception):
    pass


def require(condition, message):
    if not condition:
        raise Lost(message)


def without_times(value):
    if isinstance(value, dict):
        return {key: without_times(part) for key, part in value.items() if key not in NOT_COMPARED}
    return [without_times(part) for part in value] if isinstance(value, list) else value


class Loop:
    def __init__(self, folder, seed):
        self.folder, self.random = folder, random.Random(seed)
        self.problem = CliTest()
        self.problem.folder = folder
        self.kills = {"train": 0, "analyze": 0}
        self.checked = 0
        self.ends = 0

    def start(self, arguments):
        environment = dict(os.environ, OMP_NUM_THREADS="1")
        return subprocess.Popen([TOOL, *map(str, arguments)], cwd=self.folder, env=environment,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)  # fmt: skip

    def finish(self, arguments):
        process = self.start(arguments)
        _, err = process.communicate(timeout=600)
        require(process.returncode == 0, f"osculant {' '.join(map(str, arguments))} ended with {process.returncode}: {err}")
        return err

    def check(self, folder):
        """Every file that has its name is whole; what a kill leaves of another is its temporary alone."""
        for path in folder.rglob("*"):
            if ".tmp-" in path.name or path.is_dir():
                continue
            self.checked += 1
            if path.suffix == ".safetensors":
                read_safetensors(path)
            elif path.name == "result.json":
                require(json.loads(path.read_text())["schema"] == 1, f"{path} is no result")
            elif path.suffix == ".jsonl":
                for line in path.read_text().splitlines(keepends=True)[:-1]:
                    json.loads(line)  # the last line may lack its end; resuming cuts it off

    def killed(self, arguments, out):
        """Starts or resumes a run and kills it after a random time: from its start, or from when it saved something more.
        True when it lived that long."""
        before = self.saved(out)
        process = self.start(arguments)
        if self.random.random() < 0.7:
            while process.poll() is None and self.saved(out) == before:
                time.sleep(0.002)
            time.sleep(self.random.expovariate(1 / 0.05))
        else:
            time.sleep(self.random.expovariate(1 / 0.5))
        alive = process.poll() is None
        process.kill()
        _, err = process.communicate(timeout=60)
        require(process.returncode in (0, -signal.SIGKILL), f"{out} ended with {process.returncode}: {err}")
        self.check(self.folder / out)
        # Progress is never taken back: the newest checkpoint is at least as new as before.
        require(self.saved(out) >= before, f"{out}: saved {before} before the kill, {self.saved(out)} after it")
        resumed = re.search(r"resuming after step (\d+)", err)
        if before[0] > 0 and resumed:
            require(int(resumed[1]) == before[0], f"{out}: resumed after step {resumed[1]}, and {before[0]} was saved")
        require("trying the one before" not in err, f"{out}: a checkpoint was damaged: {err}")
        self.kills[arguments[0]] += alive
        return alive

    def saved(self, out):
        """Steps of the newest checkpoint; parts of the analysis that are finished."""
        folder = self.folder / out
        steps = [int(path.stem[5:]) for path in (folder / "checkpoints").glob("step-*.safetensors")]
        result = folder / "result.json"
        spectrum = json.loads(result.read_text()).get("spectrum", {}) if result.exists() else {}
        return max(steps, default=0), sum(len(matrix["finished"]) for matrix in spectrum.values())

    def train(self, method, goal):
        more, steps = TRAININGS[method]
        arguments = lambda out: ["train", *self.problem.cloud_problem(), "--method", method, "--steps", steps, "--out", out,  # noqa: E731
                                 "--resume", "--checkpoint-every", max(steps // 40, 1), *more]  # fmt: skip
        whole, out = f"whole-{method}", f"killed-{method}"
        if not (self.folder / whole).exists():
            self.finish(arguments(whole))
        while sum(self.kills.values()) < goal and not self.done(out):
            self.killed(arguments(out), out)
        self.finish(arguments(out))
        for name in ("parameters.safetensors", "best.safetensors"):
            paths = [self.folder / run / name for run in (out, whole)]
            require(paths[0].exists() == paths[1].exists(), f"{out}/{name} is missing")
            require(not paths[0].exists() or paths[0].read_bytes() == paths[1].read_bytes(), f"{out}/{name}: other bits than {whole}")
        logs = [[json.loads(line) for line in (self.folder / run / "metrics.jsonl").read_text().splitlines()] for run in (out, whole)]
        require(without_times(logs[0]) == without_times(logs[1]), f"{out}/metrics.jsonl: other steps than {whole}")
        self.end(out)

    def analyze(self, goal):
        arguments = lambda out: ["analyze", "--model", "mlp:2-40-20-3", *self.problem.cloud_problem()[2:], "--full", "--matrix", "hessian,gauss_newton",  # noqa: E731
                                 "--out", out, "--resume"]  # fmt: skip
        whole, out = "whole-analysis", "killed-analysis"
        if not (self.folder / whole).exists():
            self.finish(arguments(whole))
        while sum(self.kills.values()) < goal and not self.done(out):
            self.killed(arguments(out), out)
        self.finish(arguments(out))
        results = [json.loads((self.folder / run / "result.json").read_text())["spectrum"] for run in (out, whole)]
        for result in results:
            for matrix in result.values():
                matrix.pop("products", None)  # an interrupted part is begun anew
        require(without_times(results[0]) == without_times(results[1]), f"{out}: other numbers than {whole}")
        self.end(out)

    def done(self, out):
        path = self.folder / out / "result.json"
        return path.exists() and json.loads(path.read_text())["status"] == "done"

    def end(self, out):
        self.ends += 1
        shutil.rmtree(self.folder / out)


def main():
    goal = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    folder = pathlib.Path(tempfile.mkdtemp(prefix="osculant_kills_"))
    loop = Loop(folder, seed)
    begun = time.monotonic()
    try:
        while sum(loop.kills.values()) < goal:
            for method in TRAININGS:
                if sum(loop.kills.values()) < goal:
                    loop.train(method, min(goal, sum(loop.kills.values()) + 8))
            if sum(loop.kills.values()) < goal:
                loop.analyze(min(goal, sum(loop.kills.values()) + 8))
    except (Lost, json.JSONDecodeError, OSError, ValueError) as lost:
        print(f"LOST after {loop.kills}: {lost!r}\nleft in {folder}")
        return 1
    shutil.rmtree(folder)
    print(f"{loop.kills['train']} kills of trainings and {loop.kills['analyze']} of analyses in {time.monotonic() - begun:.0f} s: "
          f"{loop.checked} files read after them, all whole; {loop.ends} runs came to the bits of those never killed")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
