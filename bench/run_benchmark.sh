#!/usr/bin/env bash
# run_benchmark.sh PROGRAM NAME [ARGS]: runs a benchmark, then its peers where there are any, and joins both records
# into bench/results/NAME.json and a table, bench/results/NAME.md. `./run bench NAME` calls it.
set -euo pipefail

bench=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
program=$1 name=$2
shift 2
results=$bench/results
mkdir -p "$results"

"$program" --out "$results/$name.ours.json" "$@"
records=("$results/$name.ours.json")
if [[ -e $bench/peers/$name.py ]]; then
  "$bench/peers/.venv/bin/python" "$bench/peers/$name.py" --out "$results/$name.peers.json"
  records+=("$results/$name.peers.json")
fi
python3 "$bench/report.py" "$results/$name" "${records[@]}"
