#!/usr/bin/env python3
"""scaling.py RECORD OUT: what bench/scaling.cpp measured on 1 and 2 processes, a model of it, and the model elsewhere.

A step on R processes takes its compute, divided by R where examples or rows are (inverses by the load of the process that
has most), and its messages: a reduction of b bytes 2 log2(R) t + 2 b (R - 1) / (R w), a reduce-scatter and an allgather
(Thakur, Rabenseifner & Gropp 2005), a gathering half of that. Compute is that of one process as measured, on all of the
examples and on half of them, which tells what does not fall with their number. t and w are fitted to the messages measured, what two processes take is predicted from them and compared; those of networks elsewhere are stated.
"""

import json
import math
import sys
from pathlib import Path

WIDTHS = (784, 1024, 512, 256, 128, 64, 10)  # of CA
PARAMETERS = sum((a + 1) * b for a, b in zip(WIDTHS, WIDTHS[1:]))
LATENCY, BANDWIDTH = 5e-6, 25e9  # of the network assumed elsewhere: seconds, bytes a second each way
DEVICE = 20e12  # multiplications and additions a second of the other kind of process
RANKS = (1, 16, 128, 1024)
# Parameters, in layers of d x d, and examples a step.
NETWORKS = ((1.5e6, 512, 8192), (1e9, 4096, 8192), (1e9, 4096, 1_000_000))
BASIS = 160  # vectors of an eigensolver, with those it makes pairs of
EVERY = 10  # steps between refreshes of K-FAC's inverses
FLOAT = 4


def medians(record: dict, problem: str, processes: int, unit: float = 1e-3) -> dict[str, float]:
    name = f"{problem}, {processes} process{'es' if processes > 1 else ''}"
    return {row["work"]: row["median"] * unit for row in record["rows"] if row["problem"] == name}


def fitted(messages: dict[str, float]) -> tuple[float, float]:
    """Latency, that of the smallest message, and seconds a byte, that of those of 4 MiB and more."""
    points = sorted((float(size), seconds) for size, seconds in messages.items())
    latency = points[0][1]
    large = [(seconds - latency) / size for size, seconds in points if size >= 1 << 22]
    return latency, max(0.0, sum(large) / len(large))


def largest_load(costs: list[float], processes: int) -> float:
    """Of the process that has most, the dearest dealt first."""
    loads = [0.0] * processes
    for cost in sorted(costs, reverse=True):
        loads[loads.index(min(loads))] += cost
    return max(loads)


def inverse_costs() -> list[float]:
    return [float((a + 1) ** 3 + b**3) for a, b in zip(WIDTHS, WIDTHS[1:])]


def time(seconds: float) -> str:
    return f"{1e3 * seconds:,.3g} ms" if seconds < 1 else f"{seconds:,.3g} s"


def measured_against_model(record: dict) -> list[str]:
    reduce, gather = (fitted(medians(record, what, 2)) for what in ("reduction", "gathering"))
    lines = ["Messages between 2 processes of one machine: " + "; ".join(
        f"{what} {1e6 * latency:.0f} us and {1e-9 / max(a_byte, 1e-15):.1f} GB/s"
        for what, (latency, a_byte) in (("reductions", reduce), ("gatherings", gather))) + ".", "",
        "| operation | 1 process | 2, strong | predicted | 2, weak | predicted | messages | bytes |", "|---|---|---|---|---|---|---|---|"]
    alone, half, strong, weak = (medians(record, name, r) for name, r in (("strong", 1), ("half", 1), ("strong", 2), ("weak", 2)))
    count, size = (medians(record, what, 2, 1) for what in ("messages", "bytes"))
    costs = inverse_costs()
    for work, seconds in alone.items():
        gathered = FLOAT * PARAMETERS / 2 if work == "Lanczos step" else size[work] if work == "K-FAC inverses" else 0
        gatherings = 1 if gathered else 0
        wire = ((count[work] - gatherings) * reduce[0] + (size[work] - gathered) * reduce[1]
                + gatherings * gather[0] + 2 * gathered * gather[1])
        dealt = seconds * largest_load(costs, 2) / sum(costs)
        compute = (dealt, dealt) if work == "K-FAC inverses" else (half[work], seconds)
        cells = (seconds, strong[work], compute[0] + wire, weak[work], compute[1] + wire)
        lines.append(f"| {work} | " + " | ".join(f"{1e3 * cell:.1f} ms" for cell in cells)
                     + f" | {count[work]:.0f} | {size[work]:,.0f} |")
    return lines


def reduction(size: float, processes: int) -> float:
    return 2 * math.log2(processes) * LATENCY + 2 * size * (processes - 1) / processes / BANDWIDTH


class Network:
    """Seconds of compute, and of messages, on the network assumed; of processes `speed` times as fast as the one measured."""

    def __init__(self, record: dict, n: float, side: int, examples: int, speed: float) -> None:
        alone, half = medians(record, "strong", 1), medians(record, "half", 1)
        self.n, self.layers = n, max(1, round(n / side**2))
        scale = n / PARAMETERS / speed

        def by_examples(name: str):
            """Seconds of a process with its share of the examples: a part for each of them, and one that stays."""
            fixed = max(0.0, 2 * half[name] - alone[name])
            return lambda processes: scale * (fixed + (alone[name] - fixed) * examples / 1024 / processes)

        self.gradient, self.product, self.factors = map(by_examples, ("gradient", "Hessian product", "K-FAC factors"))
        self.vectors = max(0.0, alone["Lanczos step"] - alone["Hessian product"]) * n / PARAMETERS / speed
        self.inverse = alone["K-FAC inverses"] * 2 * side**3 / sum(inverse_costs()) / speed  # of a layer

    def operations(self, processes: int) -> dict[str, tuple[float, float]]:
        def wire(reduced: int, gathered: int = 0, small: int = 0) -> float:
            """Of messages of n numbers each, and small ones."""
            if processes == 1:
                return 0
            whole = reduction(FLOAT * self.n, processes)
            return reduced * whole + gathered * whole / 2 + small * reduction(8, processes)

        inverses = self.inverse * math.ceil(self.layers / processes)
        return {"gradient": (self.gradient(processes), wire(1)),
                "Hessian product": (self.product(processes), wire(1)),
                "Lanczos step": (self.product(processes) + self.vectors / processes, wire(1, gathered=1, small=4)),
                # A reduction of the gradient and of two triangles a layer, and every so often two inverses gathered.
                "K-FAC step": (self.gradient(processes) + self.factors(processes) + inverses / EVERY,
                               wire(2) + wire(0, gathered=2) / EVERY)}

    def efficiency(self, work: str, processes: int) -> float:
        return self.operations(1)[work][0] / processes / sum(self.operations(processes)[work])

    def half(self, work: str) -> str:
        """Processes at which a half of their time is gone."""
        for power in range(1, 24):
            if self.efficiency(work, 2**power) < 0.5:
                return f"{2**power:,}"
        return "-"


def elsewhere(record: dict) -> list[str]:
    alone = medians(record, "strong", 1)
    core = 6 * PARAMETERS * 1024 / alone["gradient"]  # multiplications and additions a second, of a gradient
    lines = []
    for what, speed in ((f"that compute as one core here ({core / 1e9:.0f} Gflop/s in a gradient)", 1.0),
                        (f"with a device of {DEVICE / 1e12:.0f} Tflop/s each, whose numbers the wire takes directly", DEVICE / core)):
        lines += ["", f"Predicted for processes {what}, on a network of {LATENCY * 1e6:.0f} us and {BANDWIDTH / 1e9:.0f} GB/s, "
                  f"K-FAC's inverses refreshed every {EVERY} steps:", "",
                  "| parameters | examples a step | operation | " + " | ".join(f"{r:,}" for r in RANKS)
                  + " | efficiency at 1,024 | half of it gone at |", "|---|---|---|" + "---|" * (len(RANKS) + 2)]
        for n, side, examples in NETWORKS:
            network = Network(record, n, side, examples, speed)
            for work in network.operations(1):
                lines.append(f"| {n:.2g} in {network.layers} layers | {examples:,} | {work} | "
                             + " | ".join(time(sum(network.operations(r)[work])) for r in RANKS)
                             + f" | {network.efficiency(work, RANKS[-1]):.0%} | {network.half(work)} |")
    n = NETWORKS[-1][0]
    lines += ["", f"Memory of a process in GB at {n:.0e} parameters in float32, graphs of the examples and the data apart:", "",
              "| | " + " | ".join(f"{r:,}" for r in RANKS) + " |", "|---|" + "---|" * len(RANKS)]
    for what, vectors in (("theta, gradient, a product's two vectors", lambda r: 4.0), (f"basis of {BASIS} vectors, by rows", lambda r: BASIS / r),
                          ("K-FAC's factors, inverses and their message", lambda r: 6.0)):
        lines.append(f"| {what} | " + " | ".join(f"{FLOAT * n * vectors(r) / 1e9:,.3g}" for r in RANKS) + " |")
    return lines


def main() -> None:
    record, out = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    out.write_text("\n".join(measured_against_model(record) + elsewhere(record)) + "\n")
    print(out.read_text())


if __name__ == "__main__":
    main()
