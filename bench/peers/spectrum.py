#!/usr/bin/env python3
"""Largest eigenvalues and traces by other projects: the networks, spectra, starts and rows of bench/spectrum.cpp.

Every project has its own defaults but for what a row names; products are counted where they are made. One thread.
"""

import argparse
import json
import statistics
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from curvlinops import HessianLinearOperator, hutchinson_trace, hutchpp_trace, xtrace
from hessian_eigenthings import HessianOperator, LambdaOperator, hutch_plus_plus, hutchinson, lanczos
from hessian_eigenthings.loss_fns.standard import supervised_loss
from products import convolutional_network, dense_network
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import nn

pyhessian = import_module("pyhessian.hessian")  # the package has a class of that name too

EXAMPLES, TRACE_PRODUCTS, TRACE_SEEDS = 256, 100, 200

# (number of values, start) -> (values, products)
Solver = Callable[[int, int], tuple[np.ndarray, int]]


def row(problem: str, work: str, by: str, values: list[float]) -> dict:
    return {"problem": problem, "work": work, "by": by, "median": statistics.median_high(values),
            "low": min(values), "high": max(values), "rounds": len(values)}


def eigsh_on(net: nn.Module, data: list, tolerance: float) -> Solver:
    params = [p for p in net.parameters() if p.requires_grad]
    hessian = HessianLinearOperator(net, nn.CrossEntropyLoss(), params, data, check_deterministic=False).to_scipy()

    def solve(count: int, start: int) -> tuple[np.ndarray, int]:
        products = 0

        def apply(v: np.ndarray) -> np.ndarray:
            nonlocal products
            products += 1
            return hessian @ v.astype(hessian.dtype).ravel()

        counted = LinearOperator(hessian.shape, matvec=apply, dtype=hessian.dtype)
        v0 = np.random.default_rng(start).standard_normal(hessian.shape[0]).astype(hessian.dtype)
        values = eigsh(counted, k=count, which="LA", tol=tolerance, v0=v0, return_eigenvectors=False)
        return np.sort(values)[::-1], products

    return solve


def hessian_eigenthings_on(net: nn.Module, data: list) -> Solver:
    operator = HessianOperator(net, data, supervised_loss(nn.CrossEntropyLoss()))

    def solve(count: int, start: int) -> tuple[np.ndarray, int]:
        result = lanczos(operator, k=count, which="LA", seed=start)
        return np.sort(result.eigenvalues.numpy())[::-1], result.iterations

    return solve


def pyhessian_on(net: nn.Module, data: list) -> Solver:
    def solve(count: int, start: int) -> tuple[np.ndarray, int]:
        products, product = 0, pyhessian.hessian_vector_product

        def counted(*arguments):
            nonlocal products
            products += 1
            return product(*arguments)

        torch.manual_seed(start)
        net.zero_grad()
        pyhessian.hessian_vector_product = counted
        values, _ = pyhessian.hessian(net, nn.CrossEntropyLoss(), data=data[0], cuda=False).eigenvalues(top_n=count)
        pyhessian.hessian_vector_product = product
        return np.sort(np.array(values))[::-1], products

    return solve


def eigenvalues(problem: str, net: nn.Module, data: list, starts: int) -> list[dict]:
    reference, _ = eigsh_on(net, data, 1e-6)(10, 1000)
    print(f"{problem}, reference: {reference}")
    peers = {"curvlinops, eigsh tol 1e-2": (eigsh_on(net, data, 1e-2), starts),
             "hessian-eigenthings": (hessian_eigenthings_on(net, data), starts),
             "PyHessian": (pyhessian_on(net, data), 1)}  # slow, and far off: one start shows it
    rows = []
    for count in (5, 10):
        for by, (solve, rounds) in peers.items():
            found = [solve(count, start) for start in range(rounds)]
            errors = [float(abs(values - reference[:count]).max() / reference[0]) for values, _ in found]
            rows += [row(problem, f"top {count}, products", by, [float(products) for _, products in found]),
                     row(problem, f"top {count}, error", by, errors)]
    return rows


def with_spectrum(values: torch.Tensor) -> torch.Tensor:
    n = len(values)
    Q, _ = torch.linalg.qr(torch.randn(n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))
    return Q @ torch.diag(values) @ Q.T


def matrices() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    x, y = torch.randn(EXAMPLES, 20, dtype=torch.float64), torch.randint(10, (EXAMPLES,))
    net = nn.Sequential(nn.Linear(20, 16), nn.Tanh(), nn.Linear(16, 10)).double()
    H = HessianLinearOperator(net, nn.CrossEntropyLoss(), list(net.parameters()), [(x, y)], check_deterministic=False)
    n = H.shape[0]
    H = H @ torch.eye(n, dtype=torch.float64)
    i = torch.arange(1, n + 1, dtype=torch.float64)
    bulk = 0.1 + 0.01 * torch.linspace(0, 1, n, dtype=torch.float64)
    noise = 0.05 * torch.randn(n - 10, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    some = lambda value: torch.full((8,), value, dtype=torch.float64)
    half = n // 2
    return {"tanh network, 506 parameters": (H + H.T) / 2,
            "flat": with_spectrum(10 * bulk),
            "power law": with_spectrum(i**-1.5),
            "clustered": with_spectrum(torch.cat([some(20.0), some(-5.0), bulk[16:]])),
            "low rank + noise": with_spectrum(torch.cat([torch.linspace(1, 10, 10, dtype=torch.float64), noise])),
            "plus minus pairs": with_spectrum(torch.cat([2 / i[:half], -1 / i[:half]]))}


def traces(problem: str, A: torch.Tensor) -> list[dict]:
    operator = LambdaOperator(lambda v: A @ v, len(A), dtype=A.dtype)
    estimators = {
        ("Hutchinson", "curvlinops"): lambda seed: hutchinson_trace(A, TRACE_PRODUCTS),
        ("Hutch++", "curvlinops"): lambda seed: hutchpp_trace(A, TRACE_PRODUCTS // 3 * 3),
        ("XTrace", "curvlinops"): lambda seed: xtrace(A, TRACE_PRODUCTS),
        ("Hutchinson", "hessian-eigenthings"): lambda seed: hutchinson(operator, num_samples=TRACE_PRODUCTS, seed=seed).estimate,
        ("Hutch++", "hessian-eigenthings"): lambda seed: hutch_plus_plus(operator, num_matvecs=TRACE_PRODUCTS, seed=seed).estimate,
    }
    truth, rows = A.trace().item(), []
    for (work, by), estimate in estimators.items():
        errors = []
        for seed in range(TRACE_SEEDS):
            torch.manual_seed(seed)
            errors.append(abs(float(estimate(seed)) - truth) / abs(truth))
        rows.append(row(problem, f"trace, {work}", by, errors))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", message="Using backward")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    labels = torch.randint(10, (EXAMPLES,))
    vectors, images = torch.randn(EXAMPLES, 784), torch.randn(EXAMPLES, 1, 28, 28)
    networks = {"CA": (dense_network(), vectors), "CB": (convolutional_network(), images)}
    rows = []
    for problem, (net, inputs) in networks.items():
        rows += eigenvalues(problem, net, [(inputs, labels)], arguments.rounds)
    for problem, A in matrices().items():
        rows += traces(problem, A)
    versions = {"torch": torch.__version__, **{name: version(name) for name in
                ("curvlinops-for-pytorch", "hessian-eigenthings", "pyhessian", "scipy")}}
    arguments.out.write_text(json.dumps({"benchmark": "spectrum", "versions": versions, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
