"""What optimizers of Python packages do to small problems in float64, step by step: the oracle of
tests/optimizer_oracle_test.cpp. export_cases.py calls write().

torch.optim.Muon, and where pytorch_optimizer is installed its SOAP, SophiaH, AdaHessian and Shampoo. Where a package
rounds inside a step (Muon's iteration to bfloat16, SOAP's QR to float32) that conversion is taken out, so that what is
compared is the method; how far rounding takes it is no question of conventions.
"""

from importlib.util import find_spec
from unittest import mock

import torch

STEPS = 12


def normal(*shape, seed):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def matrices(bias=True):
    """z = W2 tanh(W1 x + b), mean squared error on nine examples: square matrices, whose first gradients are far from
    singular, so that eigenbases are unique up to signs."""
    x, y = normal(9, 3, seed=1), normal(9, 3, seed=2)
    theta = [normal(3, 3, seed=15), *([normal(3, seed=4)] if bias else []), normal(3, 3, seed=5)]

    def loss(p):
        hidden = x @ p[0].T + (p[1] if bias else 0)
        return ((torch.tanh(hidden) @ p[-1].T - y) ** 2).mean()

    return theta, loss, {"x": x, "y": y}


def separable():
    """z = c sin(theta), entry by entry, mean squared error: the Hessian is diagonal, so that v * Hv is its diagonal
    whatever the signs v that are drawn."""
    c, y = normal(6, seed=1), normal(6, seed=2)

    def loss(p):
        return ((c * torch.sin(p[0]).flatten() - y) ** 2).mean()

    return [normal(2, 3, seed=3)], loss, {"c": c, "y": y}


def trajectory(problem, make, *, steps=STEPS, second=False):
    theta, loss, data = problem
    p = [t.clone().requires_grad_() for t in theta]
    flat = lambda: torch.cat([t.detach().flatten() for t in p])
    optimizers, rows = make(p), [flat()]
    for _ in range(steps):
        value = loss(p)
        for t, g in zip(p, torch.autograd.grad(value, p, create_graph=second)):
            t.grad = g
        for optimizer in optimizers:
            optimizer.step()
        rows.append(flat())
    return {**data, "theta": torch.stack(rows)}


def write_torch(save):
    exact = mock.patch.object(torch.Tensor, "bfloat16", lambda self: self.clone())
    for name, scale in (("muon", "original"), ("muon_match_rms", "match_rms_adamw")):
        make = lambda p: [torch.optim.Muon([p[0], p[2]], lr=0.02, weight_decay=0.1, adjust_lr_fn=scale),
                          torch.optim.AdamW([p[1]], lr=1e-3)]  # fmt: skip
        with exact:
            save(name, trajectory(matrices(), make))


def write_packages(save):
    from pytorch_optimizer import SOAP, AdaHessian, Shampoo, SophiaH

    with mock.patch.object(torch, "float32", torch.float64):
        make = lambda p: [SOAP(p, lr=3e-3, betas=(0.9, 0.95), weight_decay=0.1, precondition_frequency=3)]
        save("soap", trajectory(matrices(), make))
    make = lambda p: [SophiaH(p, lr=1.0, betas=(0.9, 0.95), p=0.02, weight_decay=0.002, update_period=3,
                              hessian_distribution="rademacher", eps=1e-12)]  # fmt: skip
    save("sophia", trajectory(separable(), make, second=True))
    make = lambda p: [AdaHessian(p, lr=0.05, betas=(0.9, 0.95), eps=1e-4)]
    save("adahessian", trajectory(separable(), make, second=True))
    save("shampoo", trajectory(matrices(bias=False), lambda p: [Shampoo(p, lr=0.1, matrix_eps=0)], steps=1))


def write(folder, save_safetensors):
    folder.mkdir(parents=True, exist_ok=True)
    save = lambda name, tensors: save_safetensors(tensors, folder / f"{name}.safetensors")
    write_torch(save)
    if find_spec("pytorch_optimizer"):
        write_packages(save)
