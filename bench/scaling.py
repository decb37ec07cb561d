#!/usr/bin/env python3
"""scaling.py RECORD OUT: what bench/scaling.cpp measured on 1 and 2 processes, a model of it, and the model elsewhere.

A step on R processes takes compute / R and a reduction of b bytes, which takes s + t log2(R) + b (R - 1) / R / w (a
reduce-scatter and an allgather; Thakur, Rabenseifner & Gropp 2005). s, t and w are fitted to the reductions measured; the
rest is predicted and compared. Networks elsewhere are stated, not measured.
"""

import json
import math
import sys
from pathlib import Path

PARAMETERS = 1_501_770  # of CA
LATENCY, BANDWIDTH = 5e-6, 25e9  # of the network assumed elsewhere: seconds, bytes a second each way
SIZES = ((1.5e6, 60_000), (1e8, 1_000_000), (1e9, 1_000_000))  # parameters, examples a step


def medians(record: dict, problem: str, processes: int) -> dict[str, float]:
    name = f"{problem}, {processes} process{'es' if processes > 1 else ''}"
    return {row["work"]: row["median"] / 1e3 for row in record["rows"] if row["problem"] == name}


def fitted(reductions: dict[str, float]) -> tuple[float, float]:
    """Latency and seconds a byte, by least squares of relative errors."""
    points = [(float(size), seconds) for size, seconds in reductions.items()]
    a = sum(1 / s**2 for _, s in points)
    b = sum(x / s**2 for x, s in points)
    c = sum(x * x / s**2 for x, s in points)
    d, e = sum(1 / s for _, s in points), sum(x / s for x, s in points)
    det = a * c - b * b
    return max(0.0, (d * c - b * e) / det), max(0.0, (a * e - b * d) / det)


def reduction(size: float, processes: int) -> float:
    """Seconds on the network assumed."""
    return 2 * math.log2(processes) * LATENCY + 2 * size * (processes - 1) / processes / BANDWIDTH


def main() -> None:
    record, out = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    latency, a_byte = fitted(medians(record, "reduction", 2))
    lines = [f"Reductions on 2 processes of one machine: {latency * 1e6:.0f} us and {1e-9 / a_byte:.1f} GB/s.", "",
             "| operation | 1 process | 2, strong | predicted | 2, weak | predicted |", "|---|---|---|---|---|---|"]
    alone, strong, weak = (medians(record, name, r) for name, r in (("strong", 1), ("strong", 2), ("weak", 2)))
    wire = latency + 4 * PARAMETERS * a_byte
    for work, seconds in alone.items():
        cells = (seconds, strong[work], seconds / 2 + wire, weak[work], seconds + wire)
        lines.append(f"| {work} | " + " | ".join(f"{1e3 * cell:.1f} ms" for cell in cells) + " |")
    lines += ["", f"Predicted for processes that compute as one of these does, on a network of {LATENCY * 1e6:.0f} us and "
              f"{BANDWIDTH / 1e9:.0f} GB/s:", "",
              "| parameters | examples a step | operation | " + " | ".join(f"{r:,}" for r in (1, 16, 128, 1024)) + " | wire's share at 1,024 |",
              "|---|---|---|---|---|---|---|---|"]
    for n, examples in SIZES:
        for work, seconds in alone.items():
            compute = seconds / 1024 / PARAMETERS * n * examples
            times = [compute / r + (reduction(4 * n, r) if r > 1 else 0) for r in (1, 16, 128, 1024)]
            share = reduction(4 * n, 1024) / times[-1]
            lines.append(f"| {n:.0e} | {examples:,} | {work} | " + " | ".join(f"{t:,.3g} s" for t in times) + f" | {share:.0%} |")
    out.write_text("\n".join(lines) + "\n")
    print(out.read_text())


if __name__ == "__main__":
    main()
