#!/usr/bin/env python3
"""Iterations and processor seconds of torch.optim.Muon, torch's Adam and pytorch_optimizer's SOAP on bench/training.cpp's problems.

Networks, data, batches, targets and evaluations are those of bench/training.cpp; one thread, float32.
"""

import argparse
import gzip
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy
import torch
from pytorch_optimizer import SOAP
from torch import nn
from torch.nn import functional

FOLDER = Path(os.environ.get("OSCULANT_FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))


def images(name: str, count: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    def read(kind: str, header: int) -> numpy.ndarray:
        path = next(FOLDER.glob(f"{name}-{kind}*"))
        data = gzip.open(path).read() if path.suffix == ".gz" else path.read_bytes()
        return numpy.frombuffer(data, numpy.uint8, offset=header)
    x = torch.tensor(read("images", 16).reshape(-1, 784), dtype=torch.float32) / 255
    return x[:count], torch.tensor(read("labels", 8), dtype=torch.long)[:count]


class Several:
    """Optimizers that step together."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        self.parts = parts

    def step(self) -> None:
        for part in self.parts:
            part.step()


def muon(rate: float) -> Callable:
    def make(net: nn.Module) -> Several:
        matrices = [p for p in net.parameters() if p.ndim == 2]
        others = [p for p in net.parameters() if p.ndim != 2]
        return Several(torch.optim.Muon(matrices, lr=rate), torch.optim.AdamW(others))
    return make


def soap(rate: float) -> Callable:
    return lambda net: SOAP(net.parameters(), lr=rate)


def adam(rate: float) -> Callable:
    return lambda net: torch.optim.Adam(net.parameters(), lr=rate)


def stack(widths: list[int], activation: type[nn.Module]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for fan_in, fan_out in zip(widths, widths[1:]):
        layers += [nn.Linear(fan_in, fan_out), activation()]
    return nn.Sequential(*layers[:-1])


@dataclass
class Problem:
    name: str
    what: str  # the number that targets are of
    data: tuple[torch.Tensor, torch.Tensor]
    network: Callable[[], nn.Module]
    loss: Callable
    measure: Callable  # of the network; falls
    targets: list[tuple[str, float]]
    seconds: float
    methods: list[tuple[str, str, int, Callable]]  # name, by, batch size, of the network


def accuracy_problem() -> Problem:
    test = images("t10k")
    return Problem(
        "T1", "test accuracy", images("train"), lambda: stack([784, 256, 128, 10], nn.ReLU), functional.cross_entropy,
        lambda net: 1 - (net(test[0]).argmax(1) == test[1]).double().mean().item(), [(".88", 0.12), (".89", 0.11)], 40,
        [("muon", "torch.optim", 256, muon(0.02)), ("soap", "pytorch_optimizer", 256, soap(3e-3)),
         ("adam", "torch.optim", 256, adam(1e-3))])


def autoencoder_problem() -> Problem:
    x = functional.avg_pool2d(images("train", 5000)[0].view(-1, 1, 28, 28), 2).flatten(1)
    return Problem(
        "T2", "squared error", (x, x), lambda: stack_with_linear_code([196, 100, 50, 20, 6, 20, 50, 100, 196]),
        lambda z, y: functional.binary_cross_entropy_with_logits(z, y, reduction="sum") / len(z),
        lambda net: (torch.sigmoid(net(x)) - x).square().sum().item() / len(x),
        [("1.5", 1.5), ("1.35", 1.35), ("1.25", 1.25)], 60,
        [("soap", "pytorch_optimizer", 200, soap(1e-2)),
         ("soap, 2e-2, batch 500", "pytorch_optimizer", 500, soap(2e-2)), ("adam", "torch.optim", 200, adam(1e-2))])


def stack_with_linear_code(widths: list[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i, (fan_in, fan_out) in enumerate(zip(widths, widths[1:])):
        layers.append(nn.Linear(fan_in, fan_out))
        if fan_out != min(widths) and i + 2 < len(widths):
            layers.append(nn.Sigmoid())
    return nn.Sequential(*layers)


def deep_tanh_problem() -> Problem:
    x, y = images("train", 10000)

    def network() -> nn.Sequential:
        net = stack([784] + [100] * 30 + [10], nn.Tanh)
        for layer in net:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
        return net
    return Problem(
        "T3t", "training loss", (x, y), network, functional.cross_entropy,
        lambda net: functional.cross_entropy(net(x), y).item(), [(".5", 0.5), (".2", 0.2), (".1", 0.1)], 30,
        [("soap", "pytorch_optimizer", 256, soap(3e-3)), ("soap, 2e-3, batch 512", "pytorch_optimizer", 512, soap(2e-3)),
         ("adam", "torch.optim", 256, adam(1e-3))])


def batches(count: int, size: int) -> Iterator[torch.Tensor]:
    while True:
        yield from torch.randperm(count).split(size)


def train(problem: Problem, batch_size: int, make: Callable, seed: int) -> dict[str, tuple[float, float]]:
    torch.manual_seed(seed)
    net, (x, y) = problem.network(), problem.data
    optimizer, order = make(net), batches(len(x), batch_size)
    reached: dict[str, tuple[float, float]] = {}
    spent, steps = 0.0, 0
    while spent < problem.seconds and len(reached) < len(problem.targets):
        start = time.process_time()
        for _ in range(10):
            batch = next(order)
            for p in net.parameters():
                p.grad = None
            problem.loss(net(x[batch]), y[batch]).backward()
            optimizer.step()
            steps += 1
        spent += time.process_time() - start
        with torch.no_grad():
            value = problem.measure(net)
        for name, target in problem.targets:
            if value <= target and name not in reached:
                reached[name] = (steps, spent)
    return reached


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="seed of the first round")
    parser.add_argument("--only", default="", help="PROBLEM:METHOD;...")
    arguments = parser.parse_args()
    wanted = set(filter(None, arguments.only.split(";")))
    torch.set_num_threads(1)
    rows = []
    for problem in (accuracy_problem(), autoencoder_problem(), deep_tanh_problem()):
        for name, by, batch_size, make in problem.methods:
            if wanted and f"{problem.name}:{name}" not in wanted:
                continue
            seeds = range(arguments.first, arguments.first + arguments.rounds)
            runs = [train(problem, batch_size, make, seed) for seed in seeds]
            for target, _ in problem.targets:
                print(problem.name, name, target, [run.get(target) for run in runs], file=sys.stderr)
                for i, what in enumerate(("iterations", "CPU seconds")):
                    values = [run.get(target, (math.inf, math.inf))[i] for run in runs]
                    rows.append({"problem": f"{problem.name}, {name}", "work": f"{problem.what} {target}, {what}",
                                 "by": by, "values": values, "median": statistics.median_high(values),
                                 "low": min(values), "high": max(values), "rounds": len(values)})
    versions = {"torch": torch.__version__, "pytorch_optimizer": version("pytorch_optimizer")}
    arguments.out.write_text(json.dumps({"benchmark": "training", "versions": versions, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
