#!/usr/bin/env bash
# run_benchmark.sh PROGRAM NAME [ARGS]: runs a benchmark, then its peers where there are any, and joins the records
# into bench/results/NAME.json and a table, bench/results/NAME.md. `./run bench NAME` calls it. Where a round is a seed,
# ours and the peers' take turns, seed by seed.
set -euo pipefail

bench=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
program=$1 name=$2
shift 2
results=$bench/results
mkdir -p "$results"
records=()

# measure SUFFIX ARGS: one record of each.
measure() {
  local suffix=$1
  shift
  "$program" --out "$results/$name.ours$suffix.json" "$@"
  records+=("$results/$name.ours$suffix.json")
  [[ -e $bench/peers/$name.py ]] || return 0
  "$bench/peers/.venv/bin/python" "$bench/peers/$name.py" --out "$results/$name.peers$suffix.json" "$@"
  records+=("$results/$name.peers$suffix.json")
}

if [[ $name == training ]]; then
  rounds=3
  [[ ${1:-} == --rounds ]] && rounds=$2 && shift 2
  for ((seed = 0; seed < rounds; seed++)); do
    measure ".$seed" --rounds 1 --first "$seed" "$@"
  done
elif [[ $name == scaling ]]; then
  [[ $(id -u) != 0 ]] || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  for processes in 1 2; do
    mpirun --oversubscribe --bind-to core -n "$processes" "$program" --out "$results/$name.$processes.json" "$@"
    records+=("$results/$name.$processes.json")
  done
else
  measure "" "$@"
fi
python3 "$bench/report.py" "$results/$name" "${records[@]}"
[[ $name != scaling ]] || python3 "$bench/scaling.py" "$results/$name.json" "$results/$name.model.md"
