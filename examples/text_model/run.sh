#!/usr/bin/env bash
# run.sh OSCULANT: trains the transformer of RUN.toml on the text that every Debian has, with Adam and with SOAP, then
# evaluates each and looks at its curvature. Ends with 77 where the text is missing.
set -euo pipefail

osculant=$1
run_file=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)/RUN.toml
if [[ ! -e /usr/share/common-licenses/GPL-3 ]]; then
  echo "no /usr/share/common-licenses/GPL-3 here"
  exit 77
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for method in adam soap; do
  "$osculant" train "$run_file" --method "$method" --lr 3e-3 --target 'loss<=2.2' --out "$folder/$method" | tee "$folder/said"
  grep -q 'The target was reached' "$folder/said"
  weights="$folder/$method/parameters.safetensors"
  "$osculant" evaluate "$folder/$method/run.toml" --parameters "$weights"
  "$osculant" analyze "$folder/$method/run.toml" --set model.parameters="$weights" --set data.take=32 \
    --set data.test_take=32 --eigenvalues 2 --out "$folder/curvature_$method"
done
