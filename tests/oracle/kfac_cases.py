"""K-FAC and EKFAC of curvlinops on small networks in float64: the oracle of tests/kfac_oracle_test.cpp. export_cases.py
calls write(), which writes nothing where curvlinops is not installed.

One file a network and loss, with theta (all parameters in order), the data, and for each kind of gradients and of weight
sharing KIND.SHARING the dense matrices kfac and ekfac and the factors of each layer, weight and bias together.
"""

from importlib.util import find_spec

import torch
from torch import nn

EXAMPLES, BATCH = 40, 15


class Positions(nn.Module):
    """A layer that three positions of an example share."""

    def __init__(self):
        super().__init__()
        self.shared, self.head = nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.head(torch.tanh(self.shared(x)).mean(1))


def networks():
    return {
        "mlp": (nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)), (4,)),
        "positions": (Positions(), (3, 4)),
        "cnn": (
            nn.Sequential(nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.Tanh(), nn.Conv2d(3, 2, 2), nn.Tanh(),
                          nn.Flatten(), nn.Linear(8, 3)),
            (2, 6, 6),  # at 5 x 5 two averaged patches are one, and eigenvectors are not unique
        ),
    }  # fmt: skip


def reference(model, loss, x, y):
    from curvlinops import EKFACLinearOperator, KFACLinearOperator

    parameters = list(model.parameters())
    n = sum(p.numel() for p in parameters)
    data = [(x[i : i + BATCH], y[i : i + BATCH]) for i in range(0, EXAMPLES, BATCH)]
    tensors = {"x": x, "y": y, "theta": torch.cat([p.detach().flatten() for p in parameters])}
    for kind, fisher_type in (("exact", "type-2"), ("empirical", "empirical")):
        for sharing in ("expand", "reduce"):
            options = {"fisher_type": fisher_type, "kfac_approx": sharing, "separate_weight_and_bias": False,
                       "check_deterministic": False}  # fmt: skip
            for name, operator in (("kfac", KFACLinearOperator), ("ekfac", EKFACLinearOperator)):
                matrix = operator(model, loss, parameters, data, **options)
                tensors[f"{kind}.{sharing}.{name}"] = matrix @ torch.eye(n, dtype=torch.float64)
                if name == "kfac":
                    for layer in matrix._mapping:
                        prefix = f"{kind}.{sharing}.{layer}.weight"
                        tensors[f"{prefix}.inputs"] = matrix._input_covariances[layer]
                        tensors[f"{prefix}.outputs"] = matrix._gradient_covariances[layer]
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def write(folder, save_safetensors):
    if not find_spec("curvlinops"):
        return
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(5)
    for name, (model, shape) in networks().items():
        model, x = model.double(), torch.randn(EXAMPLES, *shape, dtype=torch.float64)
        for loss_name, loss, y in (
            ("mse", nn.MSELoss(), torch.randn(EXAMPLES, 3, dtype=torch.float64)),
            ("cross_entropy", nn.CrossEntropyLoss(), torch.randint(0, 3, (EXAMPLES,))),
        ):
            save_safetensors(reference(model, loss, x, y), folder / f"{name}_{loss_name}.safetensors")
