#!/usr/bin/env python3
"""Processor milliseconds and steps of torch-levenberg-marquardt and optimistix to targets of the mean squared error, on the
fit of bench/least_squares.cpp: sin(10 x) / (10 x) at 2,000 points, 1-20-1 tanh, torch's default initialisation at the same
seeds; float64, one thread.

torch-levenberg-marquardt with its two fast solvers; optimistix's whole minimisation in one jitted loop that ends at the
target, compiled before it is timed.
"""

import os

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import equinox
import jax
import jax.numpy as jnp
import optimistix
import torch
from torch import nn
from torch_levenberg_marquardt.training import LevenbergMarquardtModule

TARGETS, STEPS = (1e-4, 1e-5, 1e-6), 1000


def data() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1000)
    x = torch.rand(2000, 1, dtype=torch.float64) * 2 - 1
    return x, torch.sin(10 * x) / (10 * x)


def network(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(1, 20), nn.Tanh(), nn.Linear(20, 1)).double()


def torch_lm(solver: str) -> Callable:
    def run(seed: int) -> dict[float, tuple[float, float]]:
        x, y = data()
        net = network(seed)
        module = LevenbergMarquardtModule(net, solve_method=solver)
        spent, reached = 0.0, {}
        for step in range(1, STEPS + 1):
            start = time.process_time()
            module.training_step(x, y)
            spent += time.process_time() - start
            with torch.no_grad():
                error = (net(x) - y).square().mean().item()
            for target in TARGETS:
                if error <= target:
                    reached.setdefault(target, (step, spent))
            if len(reached) == len(TARGETS):
                break
        return reached

    run(1000)  # what is made once
    return run


def optimistix_lm() -> Callable:
    x, y = (jnp.asarray(tensor.numpy()) for tensor in data())

    def residuals(theta, _):
        W, b, V, c = theta
        return (jnp.tanh(x @ W.T + b) @ V.T + c - y).ravel(), None

    solver = optimistix.LevenbergMarquardt(rtol=1e-14, atol=1e-14)

    @equinox.filter_jit
    def minimise(theta, target):
        shapes = jax.eval_shape(lambda t: residuals(t, None), theta)
        state = solver.init(residuals, theta, None, {}, *shapes, frozenset())
        dynamic, static = equinox.partition(state, equinox.is_array)

        def going_on(carry):
            theta, _, steps = carry
            return (jnp.mean(residuals(theta, None)[0] ** 2) > target) & (steps < STEPS)

        def body(carry):
            theta, dynamic, steps = carry
            theta, state, _ = solver.step(residuals, theta, None, {}, equinox.combine(dynamic, static), frozenset())
            return theta, equinox.filter(state, equinox.is_array), steps + 1

        return jax.lax.while_loop(going_on, body, (theta, dynamic, 0))

    def run(seed: int) -> dict[float, tuple[float, float]]:
        theta = [jnp.asarray(p.detach().numpy()) for p in network(seed).parameters()]
        reached = {}
        for target in TARGETS:
            start = time.process_time()
            end, _, steps = jax.block_until_ready(minimise(theta, target))
            spent = time.process_time() - start
            if jnp.mean(residuals(end, None)[0] ** 2) <= target:
                reached[target] = (int(steps), spent)
        return reached

    run(1000)  # compiles
    return run


PEERS: dict[str, Callable] = {
    "torch-levenberg-marquardt, qr": lambda: torch_lm("qr"),
    "torch-levenberg-marquardt, cholesky": lambda: torch_lm("cholesky"),
    "optimistix": optimistix_lm,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    jax.config.update("jax_enable_x64", True)
    rows = []
    for by, make in PEERS.items():
        peer = make()
        runs = [peer(seed) for seed in range(arguments.rounds)]
        print(by, runs, file=sys.stderr)
        for target, words in zip(TARGETS, ("1e-4", "1e-5", "1e-6")):
            for i, (what, scale) in enumerate((("steps", 1), (f"ms to {words}", 1000))):
                if what == "steps" and target != TARGETS[-1]:
                    continue
                values = [scale * run.get(target, (math.inf, math.inf))[i] for run in runs]
                rows.append({"problem": "1-20-1, sinc", "work": f"levenberg_marquardt, {what}", "by": by,
                             "median": statistics.median_high(values), "low": min(values), "high": max(values),
                             "rounds": len(values)})  # fmt: skip
    versions = {name: version(name) for name in ("torch", "torch-levenberg-marquardt", "optimistix", "jax")}
    record = {"benchmark": "least_squares", "versions": versions, "rows": rows}
    arguments.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
