#!/usr/bin/env bash
# race.sh OSCULANT FOLDER OUT [BUDGET]: for every run file in FOLDER what `osculant advise` puts first, and who wins a
# race of methods on equal time with three tuning trials each. Results in OUT, a line each on stdout.
set -euo pipefail
osculant=$1 folder=$2 out=$3 budget=${4:-3s}
mkdir -p "$out"
for file in "$folder"/*.toml; do
  name=$(basename "$file" .toml)
  methods=adam,momentum,muon,soap,shampoo,sophia,adahessian,lbfgs:batch_size=full
  case $name in
    sine | regression | sinc | parity) methods+=,levenberg_marquardt:batch_size=full ;;&
    sine | regression | logistic | sinc | parity | mixture) methods+=,bfgs:batch_size=full,ssbroyden:batch_size=full,newton:batch_size=full ;;&
    sine | regression | logistic | softmax | huber | sinc | parity | mixture)
      methods+=,hessian_free:batch_size=full,newton_cg:batch_size=full,trust_region:batch_size=full ;;
  esac
  "$osculant" advise "$file" --threads 1 --out "$out/$name-advice" --overwrite >"$out/$name.txt" 2>&1
  "$osculant" compare "$file" --methods "$methods" --budget "$budget" --seeds 1 --tune 3 --threads 1 --batch-size 256 \
    --out "$out/$name-race" --overwrite >>"$out/$name.txt" 2>&1
  python3 - "$name" "$out/$name-advice/result.json" "$out/$name-race/result.json" <<'END'
import json
import sys

name, advice, race = sys.argv[1], *(json.load(open(path)) for path in sys.argv[2:])
first = advice["advice"]["ranking"][0]["method"]
order = [row["method"].split(":")[0] for row in race["verdict"]["methods"]]
place = order.index(first) + 1 if first in order else "not in the race"
print(f"{name:12} advised {first:20} place {place}: {', '.join(order[:4])}", flush=True)
END
done
