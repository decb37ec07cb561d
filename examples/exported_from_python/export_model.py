"""Defines and exports a small network and its data: m.pt2 and train.safetensors in the folder given."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "python"))
import osculant_export


def make_model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))


def make_data():
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(256, 4, generator=generator)
    targets = torch.stack([inputs[:, 0] * inputs[:, 1], inputs[:, 2].sin()], dim=1)
    return inputs, targets


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    inputs, targets = make_data()
    osculant_export.export(
        make_model(),
        (inputs[:8],),
        {"inputs": inputs, "targets": targets},
        path_model=folder / "m.pt2",
        path_data=folder / "train.safetensors",
    )
    print(f"wrote {folder / 'm.pt2'} and {folder / 'train.safetensors'}")
