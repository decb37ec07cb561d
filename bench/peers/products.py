#!/usr/bin/env python3
"""Products with curvature by other projects, in units of one full gradient in plain PyTorch in this process.

The networks, data sizes, batches and rounds of bench/products.cpp; one thread, float32. Every product is compared
with the first project's on the same network before it is timed.
"""

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch
from curvlinops import GGNLinearOperator, HessianLinearOperator
from hessian_eigenthings.loss_fns.standard import supervised_forward, supervised_loss, supervised_loss_of_output
from hessian_eigenthings.operators.ggn import GGNOperator
from hessian_eigenthings.operators.hessian import HessianOperator
from pyhessian import hessian as PyHessian
from torch import nn

Work = dict[str, Callable[[], torch.Tensor]]
BLOCK = 16


def dense_network() -> nn.Sequential:
    widths = [784, 1024, 512, 256, 128, 64, 10]
    layers: list[nn.Module] = []
    for i in range(len(widths) - 1):
        layers += [nn.Tanh()] * (i > 0) + [nn.Linear(widths[i], widths[i + 1])]
    return nn.Sequential(*layers)


def convolutional_network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Flatten(), nn.Linear(1568, 64), nn.ReLU(), nn.Linear(64, 10))


def gradient(net: nn.Module, data: list, examples: int) -> None:
    net.zero_grad()
    for x, y in data:
        (nn.functional.cross_entropy(net(x), y, reduction="sum") / examples).backward()


def peers(net: nn.Module, data: list, v: torch.Tensor) -> dict[str, Work]:
    loss = nn.CrossEntropyLoss()
    params = [p for p in net.parameters() if p.requires_grad]
    parts = [part.reshape(p.shape) for part, p in zip(v.split([p.numel() for p in params]), params)]
    flat = lambda tensors: torch.cat([t.detach().reshape(-1) for t in tensors])
    cl_hessian = HessianLinearOperator(net, loss, params, data, check_deterministic=False)
    cl_ggn = GGNLinearOperator(net, loss, params, data, check_deterministic=False)
    he_hessian = HessianOperator(net, data, supervised_loss(loss))
    he_ggn = GGNOperator(net, data, supervised_forward, supervised_loss_of_output(loss))
    block = torch.randn(len(v), BLOCK)
    py_hessian = PyHessian(net, loss, dataloader=data, cuda=False)
    return {
        "Hessian product": {
            "curvlinops": lambda: flat(cl_hessian @ parts),
            "hessian-eigenthings": lambda: he_hessian.matvec(v),
            "PyHessian": lambda: flat(py_hessian.dataloader_hv_product(parts)[1]),
        },
        "Gauss-Newton product": {
            "curvlinops": lambda: flat(cl_ggn @ parts),
            "hessian-eigenthings": lambda: he_ggn.matvec(v),
        },
        f"Hessian product, block of {BLOCK}, a vector": {"curvlinops": lambda: cl_hessian @ block},
        f"Gauss-Newton product, block of {BLOCK}, a vector": {"curvlinops": lambda: cl_ggn @ block},
    }


def seconds(f: Callable[[], object]) -> float:
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


def measure(problem: str, net: nn.Sequential, data: list, rounds: int) -> list[dict]:
    """Each work between two gradients, in turn, as measure_interleaved of bench/benchmark.cpp does."""
    examples = sum(len(y) for _, y in data)
    v = torch.randn(sum(p.numel() for p in net.parameters()))
    works = {(work, by): run for work, group in peers(net, data, v).items() for by, run in group.items()}
    first: dict[str, torch.Tensor] = {}
    for (work, by), run in works.items():
        product = run()
        expected = first.setdefault(work, product)
        if (product - expected).norm() > 1e-3 * expected.norm():
            raise SystemExit(f"{problem}: {work} of {by} is not that of the others")
    reference = lambda: gradient(net, data, examples)
    reference()
    ratios: dict[tuple[str, str], list[float]] = {key: [] for key in works}
    before = seconds(reference)
    for _ in range(rounds):
        for key, run in works.items():
            taken, after = seconds(run), seconds(reference)
            ratios[key].append(2 * taken / (before + after) / (BLOCK if "block" in key[0] else 1))
            before = after
    return [{"problem": problem, "work": work, "by": by, "median": statistics.median_high(values),
             "low": min(values), "high": max(values), "rounds": rounds}
            for (work, by), values in ratios.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", message="Using backward")  # PyHessian keeps its graphs that way
    torch.set_num_threads(1)
    torch.manual_seed(0)

    def data(count: int, size: int, *shape: int) -> list:
        x, y = torch.randn(count, *shape), torch.randint(10, (count,))
        return list(zip(x.split(size), y.split(size)))

    rows = measure("CA", dense_network(), data(1024, 512, 784), arguments.rounds)
    rows += measure("CB", convolutional_network(), data(512, 256, 1, 28, 28), arguments.rounds)
    versions = {"torch": torch.__version__, **{name: version(name) for name in
                ("curvlinops-for-pytorch", "hessian-eigenthings", "pyhessian")}}
    arguments.out.write_text(json.dumps({"benchmark": "products", "versions": versions, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
