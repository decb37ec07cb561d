#!/usr/bin/env bash
# run.sh TRAIN_EXPORTED: from Python to C++ and back. Exports a network and its data, trains it with the program
# given, reads the weights into the Python network again and compares the losses. OSCULANT_PYTHON has torch.
set -euo pipefail

train_exported=$1
example=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
python=${OSCULANT_PYTHON:-python3}
if ! "$python" -c 'import torch' 2>/dev/null; then
  echo "$python has no torch"
  exit 77
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" "$example/export_model.py" "$folder"
"$train_exported" "$folder" | tee "$folder/said"
loss=$(sed -n 's/^final loss //p' "$folder/said")
"$python" "$example/read_back.py" "$folder" "$loss"
