#!/usr/bin/env bash
# run_test.sh ROOT: what ./run says and refuses, on a copy of it in a folder of its own with a space in its name.
# Installs and builds nothing.
set -euo pipefail

root=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
copy="$work/a copy"
mkdir -p "$copy" "$work/bin"
cp -r "$root/run" "$root/tools" "$root/CMakePresets.json" "$copy"
export PATH="$work/bin:$PATH"
unset OSCULANT_TORCH

# STATUS PATTERN COMMAND...: COMMAND ends with STATUS, and what it says matches PATTERN.
expect() {
  local status=$1 pattern=$2 said code=0
  shift 2
  said=$("$@" 2>&1 </dev/null) || code=$?
  if [[ $code != "$status" || ! $said =~ $pattern ]]; then
    echo "$*: ended with $code (wanted $status), and said (wanted '$pattern'):"
    echo "$said"
    exit 1
  fi
}

command_named() {
  printf '#!/bin/sh\n%s\n' "$2" >"$work/bin/$1"
  chmod +x "$work/bin/$1"
}

cd /
expect 0 'usage: ./run' "$copy/run"
expect 0 'usage: ./run' "$copy/run" help
expect 2 "no command 'biuld'" "$copy/run" biuld
expect 1 "must be a whole number" "$copy/run" fuzz csv
expect 1 "no benchmark 'nothing'" "$copy/run" bench nothing

# Nothing is installed where that is forbidden, and all that lacks is named.
command_named dpkg-query 'test "$3" = cmake && exit 1; echo install ok installed'
expect 1 'Debian packages: cmake.*Python packages in .venv: torch==' "$copy/run" --no-install build
expect 1 'Debian packages: cmake.*Python packages in .venv: torch==' "$copy/run" test --no-install
[[ ! -e $copy/.venv ]]

# What was found once is not asked again while dpkg's records are as they were.
command_named dpkg-query 'echo asked >>"'"$work"'/asked"; echo install ok installed'
expect 1 'missing' "$copy/run" --no-install build
asked=$(wc -l <"$work/asked")
expect 1 'missing' "$copy/run" --no-install build
[[ $asked -gt 5 && $(wc -l <"$work/asked") == "$asked" ]]

# A libtorch of one's own is looked at before anything is built with it.
mkdir -p "$work/torch/share/cmake/Torch"
expect 1 'no share/cmake/Torch/TorchConfig.cmake' env OSCULANT_TORCH="$work" "$copy/run" build
touch "$work/torch/share/cmake/Torch/TorchConfig.cmake"
echo 2.12.1+cpu >"$work/torch/build-version"
expect 1 'libtorch 2.12.1\+cpu; 2.13.0 or newer' env OSCULANT_TORCH="$work/torch" "$copy/run" build

# One waits for the other.
exec 8>"$copy/build/.lock"
flock 8
"$copy/run" --no-install build >"$work/said" 2>&1 8>&- &
waiting=$!
for _ in $(seq 100); do
  grep -q 'waiting for another ./run' "$work/said" && break
  sleep 0.1
done
expect 0 'waiting for another ./run' cat "$work/said"
exec 8>&-
wait "$waiting" && exit 1
expect 0 'missing' cat "$work/said"

# Cleaning leaves what was installed.
mkdir -p "$copy/.venv" "$copy/build/release"
expect 0 'removed build/' "$copy/run" clean
[[ -d $copy/.venv && ! -e $copy/build/release ]]
echo "./run says what it should"
