"""Reads the trained weights back into the Python model and checks its loss against the one the trainer printed."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "python"))
import osculant_export
from export_model import make_data, make_model

folder = Path(sys.argv[1])
expected = float(sys.argv[2])
model = make_model()
osculant_export.load_parameters(model, folder / "trained.safetensors")
inputs, targets = make_data()
loss = torch.nn.functional.mse_loss(model(inputs), targets).item()
print(f"loss in Python after training in C++: {loss:.6e}")
if abs(loss - expected) > 1e-5 * max(abs(expected), 1e-3):
    sys.exit(f"expected {expected:.6e}")
