#!/usr/bin/env python3
"""Iterations and processor seconds of torch.optim.Muon and pytorch_optimizer's SOAP to test accuracies on Fashion-MNIST.

The network, data, batches, options and evaluations of bench/matrix_methods.cpp; one thread, float32.
"""

import argparse
import gzip
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy
import torch
from pytorch_optimizer import SOAP
from torch import nn

SECONDS, EVERY, ACCURACIES = 40.0, 10, (0.88, 0.89)
FOLDER = Path(os.environ.get("OSCULANT_FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))


def images(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    def read(kind: str, header: int) -> numpy.ndarray:
        path = next(FOLDER.glob(f"{name}-{kind}*"))
        data = gzip.open(path).read() if path.suffix == ".gz" else path.read_bytes()
        return numpy.frombuffer(data, numpy.uint8, offset=header)
    x = torch.tensor(read("images", 16).reshape(-1, 784), dtype=torch.float32) / 255
    return x, torch.tensor(read("labels", 8), dtype=torch.long)


class Several:
    """Optimizers that step together."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        self.parts = parts

    def step(self) -> None:
        for part in self.parts:
            part.step()


def muon(net: nn.Module) -> Several:
    matrices = [p for p in net.parameters() if p.ndim == 2]
    others = [p for p in net.parameters() if p.ndim != 2]
    return Several(torch.optim.Muon(matrices, lr=0.02), torch.optim.AdamW(others))


PEERS: dict[str, tuple[str, Callable]] = {
    "muon": ("torch.optim", muon),
    "soap": ("pytorch_optimizer", lambda net: SOAP(net.parameters(), lr=3e-3)),
    "adam": ("torch.optim", lambda net: torch.optim.Adam(net.parameters())),
}


def train(make: Callable, data: tuple, test: tuple, seed: int) -> dict[float, tuple[float, float]]:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer, (x, y) = make(net), data
    reached: dict[float, tuple[float, float]] = {}
    spent, steps, order = 0.0, 0, iter(())
    while spent < SECONDS and len(reached) < len(ACCURACIES):
        start = time.process_time()
        for _ in range(EVERY):
            batch = next(order, None)
            if batch is None:
                order = iter(torch.randperm(len(x)).split(256))
                batch = next(order)
            for p in net.parameters():
                p.grad = None
            nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
            steps += 1
        spent += time.process_time() - start
        with torch.no_grad():
            accuracy = (net(test[0]).argmax(1) == test[1]).double().mean().item()
        for target in ACCURACIES:
            if accuracy >= target and target not in reached:
                reached[target] = (steps, spent)
    return reached


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data, test = images("train"), images("t10k")
    rows = []
    for name, (by, make) in PEERS.items():
        if arguments.only and name not in arguments.only.split(","):
            continue
        runs = [train(make, data, test, seed) for seed in range(arguments.rounds)]
        for target in ACCURACIES:
            print(name, target, [run.get(target) for run in runs], file=sys.stderr)
            for i, what in enumerate(("iterations", "CPU seconds")):
                values = [run.get(target, (math.inf, math.inf))[i] for run in runs]
                rows.append({"problem": name, "work": f"to .{round(100 * target)}, {what}", "by": by,
                             "median": statistics.median_high(values), "low": min(values), "high": max(values),
                             "rounds": len(values)})
    versions = {"torch": torch.__version__, "pytorch_optimizer": version("pytorch_optimizer")}
    arguments.out.write_text(json.dumps({"benchmark": "matrix_methods", "versions": versions, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
