"""Runs for long and watches what must not grow: `soak.py [MINUTES]`, 30 by default.

Each of several trainings (with evaluations, checkpoints and a progress line) gets its share of the time. Measured over it:
resident memory, open files, files in the result directory, and the processor's time a step. The second half of each is
compared with the first, after a warm-up: more memory than 2 % and 4 MiB, another file, or a step that costs a fifth
more end it with exit code 1.
"""

import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
from harness import TOOL, CliTest  # noqa: E402

RUNS = {
    "adam": ["--model", "mlp:2-64-3", "--method", "adam", "--batch-size", "16"],
    "momentum with penalties": ["--model", "mlp:2-64-3", "--method", "momentum", "--batch-size", "16", "--set", "train.averaging=0.9",
                                "--set", "train.regularizers=gradient_norm:strength=1e-4"],
    "muon": ["--model", "mlp:2-64-3", "--method", "muon", "--batch-size", "16"],
    "soap": ["--model", "mlp:2-32-3", "--method", "soap", "--batch-size", "40"],
    "kfac": ["--model", "mlp:2-32-3", "--method", "kfac", "--batch-size", "40"],
}  # fmt: skip
TICK = os.sysconf("SC_CLK_TCK")


def sample(process, folder):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    with open(folder / "metrics.jsonl", "rb") as log:
        log.seek(0, os.SEEK_END)
        log.seek(max(0, log.tell() - 20000))
        step = json.loads(log.read().splitlines(keepends=True)[-2])["step"]
    return {
        "kib": resident,
        "cpu": (int(fields[11]) + int(fields[12])) / TICK,
        "step": step,
        "open": len(os.listdir(f"/proc/{process.pid}/fd")),
        "files": sum(len(files) for _, _, files in os.walk(folder)),
    }


def soak(name, arguments, seconds, folder):
    problem = CliTest()
    problem.folder = folder
    out = folder / "run"
    command = [TOOL, "train", *problem.cloud_problem(examples=400)[2:], *arguments, "--steps", str(10**9), "--out", "run",
               "--checkpoint-every", "200", "--set", "train.evaluate_every=100"]  # fmt: skip
    process = subprocess.Popen(command, cwd=folder, env=dict(os.environ, OMP_NUM_THREADS="1"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    samples, begun = [], time.monotonic()
    while process.poll() is None and time.monotonic() < begun + seconds:
        time.sleep(min(5, seconds / 40))
        try:
            samples.append(sample(process, out))
        except (OSError, IndexError, StopIteration):
            continue  # not begun yet
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    if process.returncode != 128 + signal.SIGTERM:
        return [f"{name}: ended with {process.returncode}: {err[-500:]}"]
    samples = samples[len(samples) // 5 :]
    half = len(samples) // 2
    first, second = samples[:half], samples[half:]
    kib = [statistics.median(s["kib"] for s in part) for part in (first, second)]
    cost = [(part[-1]["cpu"] - part[0]["cpu"]) / max(part[-1]["step"] - part[0]["step"], 1) for part in (first, second)]
    # A checkpoint that is being written is one more of both, for as long as that takes.
    files, opened = ([statistics.median_high(s[what] for s in part) for part in (first, second)] for what in ("files", "open"))
    print(f"{name}: {samples[-1]['step']} steps in {seconds:.0f} s; {kib[0] / 1024:.1f} to {kib[1] / 1024:.1f} MiB resident, "
          f"{opened[0]} to {opened[1]} open files, {files[0]} to {files[1]} files, {1e6 * cost[0]:.1f} to {1e6 * cost[1]:.1f} us of processor a step", flush=True)  # fmt: skip
    grown = []
    if kib[1] > 1.02 * kib[0] + 4096:
        grown.append(f"{name}: memory grew from {kib[0]} to {kib[1]} KiB")
    if opened[1] > opened[0] or files[1] > files[0]:
        grown.append(f"{name}: files grew: open {opened}, in the folder {files}")
    if cost[1] > 1.2 * cost[0] and len(samples) >= 20:
        grown.append(f"{name}: a step costs {cost[1] / cost[0]:.2f} times what it did")
    return grown


def main():
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 30
    grown = []
    for name, arguments in RUNS.items():
        with tempfile.TemporaryDirectory(prefix="osculant_soak_") as folder:
            grown += soak(name, arguments, 60 * minutes / len(RUNS), pathlib.Path(folder))
    print("\n".join(grown) if grown else "nothing grew")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
