# What `./run` needs before and while it builds: packages, libtorch, configuration, the build itself. Sourced by
# ../run with `root` set to the project's folder.

build_dir=$root/build
venv=$root/.venv
allow_install=yes

packages=(
  g++ cmake ninja-build ccache mold python3 python3-venv                        # tools
  libcli11-dev libtomlplusplus-dev nlohmann-json3-dev zlib1g-dev                # the library and the tool
  libjs-chart.js                                                                # charts of the report
  libopenmpi-dev openmpi-bin                                                    # runs on several processes
  libgtest-dev libgmock-dev libeigen3-dev libspectra-dev                        # tests and their oracles
  dataset-fashion-mnist                                                         # real data
)
test_packages=(chromium)  # looks at the report
fuzz_packages=(clang libclang-rt-dev)  # libFuzzer and the sanitizers
lint_packages=(clang-format clang-tidy)
docs_packages=(doxygen python3)
torch_version=2.13.0
numpy_version=2
# Oracles, with what the second imports; its own list has a torchvision that breaks other imports.
reference_packages=(
  pytorch_optimizer==4.1.0
  curvlinops-for-pytorch==3.0.1 einconv==0.1.0 einops==0.8.2 linear_operator==0.6.1 opt-einsum==3.4.0 scipy==1.17.1 tqdm==4.70.1
)

say() { echo "run: $*" >&2; }
die() {
  say "$*"
  exit 1
}

# --- one at a time -------------------------------------------------------------------------------------------

lock() {
  [[ -z ${lock_held-} ]] || return 0
  command -v flock >/dev/null || die "flock is missing (Debian package util-linux)"
  mkdir -p "$build_dir"
  exec 9>"$build_dir/.lock"
  if ! flock -n 9; then
    say "waiting for another ./run"
    flock 9
  fi
  lock_held=yes
}

unlock() {
  exec 9>&-
  unset lock_held
}

# A stamp file says for which key a piece of work was done.
stamped() { [[ -e $build_dir/.stamp-$1 && $(<"$build_dir/.stamp-$1") == "$2" ]]; }
stamp() { printf '%s' "$2" >"$build_dir/.stamp-$1"; }

# --- Debian packages -----------------------------------------------------------------------------------------

missing_packages() {
  local package
  for package in "$@"; do
    [[ $(dpkg-query -W -f='${Status}' "$package" 2>/dev/null) == "install ok installed" ]] || echo "$package"
  done
}

# Sets `as_root` to the words to put before a command that needs root; fails where there is no way to be root.
find_root() {
  as_root=()
  ((EUID == 0)) && return
  command -v sudo >/dev/null || return 1
  sudo -n true 2>/dev/null || [[ -t 0 ]] || return 1
  as_root=(sudo)
}

install_packages() {
  find_root || die "these Debian packages are missing, and installing them needs root: $*
run: as root: apt-get install $*"
  say "installing Debian packages: $*"
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q >&2 ||
    say "apt-get update failed; trying with the package lists there are"
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >&2 ||
    die "apt-get could not install: $*"
}

# NAME PACKAGE...: nothing is asked twice while dpkg's records stay as they are.
need_packages() {
  local name=$1 key missing
  shift
  if ! command -v dpkg-query >/dev/null; then
    stamped "$name" "no dpkg: $*" || say "this is not Debian; make sure that there is: $*"
    stamp "$name" "no dpkg: $*"
    return
  fi
  key="$* $(stat -c %y /var/lib/dpkg/status 2>/dev/null || true)"
  stamped "$name" "$key" && return
  mapfile -t missing < <(missing_packages "$@")
  if ((${#missing[@]})); then
    if [[ $allow_install == no ]]; then
      lacking+=("Debian packages: ${missing[*]}")
      return
    fi
    install_packages "${missing[@]}"
    key="$* $(stat -c %y /var/lib/dpkg/status 2>/dev/null || true)"
  fi
  stamp "$name" "$key"
}

# --- libtorch ------------------------------------------------------------------------------------------------

# Debian's own Python before others on the PATH: it is the one that python3-venv belongs to.
system_python() {
  local python
  for python in /usr/bin/python3 python3; do
    if "$python" -c 'import venv, ensurepip' 2>/dev/null; then
      echo "$python"
      return
    fi
  done
  die "no Python 3 that can make a virtual environment (Debian package python3-venv)"
}

venv_complete() {
  "$venv/bin/python" -c "
import sys, numpy, torch
sys.exit(torch.__version__.split('+')[0] != '$torch_version')" 2>/dev/null
}

# PyPI's own wheel for Linux wants a whole CUDA toolkit before CMake will link to it, so the processor-only build
# is preferred where pip is set up to find it (docs/design.md, "Dependencies").
install_torch() {
  local pip=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check "numpy>=$numpy_version")
  "${pip[@]}" "torch==$torch_version+cpu" 2>/dev/null && return
  "${pip[@]}" "torch==$torch_version" >&2 || die "pip could not install torch==$torch_version into $venv"
}

# Tests that need them are skipped without. False where they might be installed later.
install_references() {
  "$venv/bin/python" -c 'import pytorch_optimizer, curvlinops' 2>/dev/null && return
  [[ $allow_install == no ]] && return 1
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "${reference_packages[@]}" 2>/dev/null ||
    say "cannot be installed, and the tests against them are skipped: ${reference_packages[*]}"
}

refuse_cuda_without_toolkit() {
  "$venv/bin/python" -c 'import sys, torch; sys.exit(torch.version.cuda is None)' || return 0
  command -v nvcc >/dev/null || [[ -x ${CUDA_HOME:-/usr/local/cuda}/bin/nvcc ]] || die \
    "pip gave the CUDA build of torch, and linking to it needs the CUDA toolkit (nvcc), which is not here
run: let pip find the processor-only build (PIP_EXTRA_INDEX_URL set to PyTorch's index of CPU wheels), or give a
run: libtorch with OSCULANT_TORCH=DIR, and call ./run again after removing .venv"
}

need_venv() {
  local packages="torch $torch_version numpy $numpy_version ${reference_packages[*]}"
  local key="$venv $packages $(readlink -f "$venv/bin/python" || true)"
  stamped venv "$key" && return
  if ! venv_complete; then
    if [[ $allow_install == no ]]; then
      lacking+=("Python packages in .venv: torch==$torch_version numpy")
      return
    fi
    say "installing libtorch (torch==$torch_version) into .venv; this takes a minute or two"
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$(system_python)" -m venv --clear "$venv"
    install_torch
    venv_complete || die "torch==$torch_version is installed in .venv but cannot be imported"
    refuse_cuda_without_toolkit
    key="$venv $packages $(readlink -f "$venv/bin/python")"
  fi
  install_references || return 0
  stamp venv "$key"
}

# Sets `torch` (the folder whose share/cmake/Torch CMake reads) and `python` (one that can import torch, or "").
given_torch() {
  torch=$(readlink -f -- "$OSCULANT_TORCH" || true)
  [[ -e $torch/share/cmake/Torch/TorchConfig.cmake ]] ||
    die "OSCULANT_TORCH=$OSCULANT_TORCH: no share/cmake/Torch/TorchConfig.cmake there
run: give the folder of an unpacked libtorch, or of the torch package in a Python's site-packages"
  local version
  version=$(cat "$torch/build-version" 2>/dev/null ||
    sed -n "s/^__version__ = '\(.*\)'/\1/p" "$torch/version.py" 2>/dev/null || true)
  [[ $(printf '%s\n' "$torch_version" "${version%%+*}" | sort -V | head -n 1) == "$torch_version" ]] ||
    die "OSCULANT_TORCH=$OSCULANT_TORCH: libtorch ${version:-of an unknown version}; $torch_version or newer is needed"
  python=$torch/../../../../bin/python
  "$python" -c 'import torch, numpy' 2>/dev/null || python=
}

need_torch() {
  if [[ -n ${OSCULANT_TORCH-} ]]; then
    given_torch
    return
  fi
  need_venv
  local found=("$venv"/lib/python3*/site-packages/torch)
  torch=${found[0]}
  python=$venv/bin/python
}

# --- configure and build -------------------------------------------------------------------------------------

use_ccache() {
  export CCACHE_DIR=${CCACHE_DIR:-$root/.cache/ccache}
  export CCACHE_BASEDIR=${CCACHE_BASEDIR:-$root}
  # Without these two, ccache cannot work with a precompiled header.
  export CCACHE_SLOPPINESS=${CCACHE_SLOPPINESS:-pch_defines,time_macros}
  # The precompiled header has half a gigabyte: its hash is kept, not computed for each file again.
  export CCACHE_INODECACHE=${CCACHE_INODECACHE:-1}
}

configure() {
  local preset=$1 key
  key="$torch $python $(cksum <"$root/CMakePresets.json")"
  [[ -e $build_dir/$preset/build.ninja ]] && stamped "configure-$preset" "$key" && return
  say "configuring ($preset)"
  local log=$build_dir/configure-$preset.log
  if ! (cd "$root" && cmake --fresh --preset "$preset" "-DCMAKE_PREFIX_PATH=$torch" "-DOSCULANT_PYTHON=$python") \
    >"$log" 2>&1; then
    cat "$log" >&2
    die "CMake could not configure the build (its log: $log)"
  fi
  stamp "configure-$preset" "$key"
}

# PRESET [tests]: makes sure of everything that a build needs, and holds the lock from here on.
prepare() {
  lacking=()
  lock
  need_packages packages "${packages[@]}"
  [[ ${2-} != tests ]] || need_packages test-packages "${test_packages[@]}"
  [[ $1 != fuzz ]] || need_packages fuzz-packages "${fuzz_packages[@]}"
  need_torch
  if ((${#lacking[@]})); then
    say "missing, and --no-install was given:"
    printf '  %s\n' "${lacking[@]}" >&2
    exit 1
  fi
  use_ccache
  configure "$1"
}

# PRESET [TARGET...]
build() {
  local preset=$1
  shift
  ninja -C "$build_dir/$preset" "$@"
}

# NAME: the virtual environment of the projects that benchmark NAME is compared with, if there are any.
prepare_peers() {
  local requirements=$root/bench/peers/requirements.txt environment=$root/bench/peers/.venv key
  [[ -e $root/bench/peers/$1.py ]] || return 0
  key=$(cksum <"$requirements")
  [[ -x $environment/bin/python ]] && stamped peers "$key" && return
  if [[ $allow_install == no ]]; then
    say "missing, and --no-install was given: bench/peers/requirements.txt in bench/peers/.venv"
    exit 1
  fi
  say "installing the peers (bench/peers/requirements.txt) into bench/peers/.venv"
  [[ -x $environment/bin/python ]] || "$(system_python)" -m venv --clear "$environment"
  local venv=$environment  # where install_torch looks
  install_torch
  "$environment/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements" >&2 ||
    die "pip could not install bench/peers/requirements.txt"
  stamp peers "$key"
}

# [FILE...], all sources by default
lint() {
  local sources=("$@") commands=$build_dir/lint
  ((${#sources[@]})) ||
    mapfile -t sources < <(cd "$root" && find "$PWD"/{osculant,tests,examples,bench} -name '*.h' -o -name '*.cpp' | sort)
  clang-format --dry-run --Werror "${sources[@]}"
  # clang cannot read the precompiled header that GCC made: it gets the header itself.
  mkdir -p "$commands"
  sed -E 's#-include (\\"[^"]*cmake_pch.hxx\\"|[^ ]*cmake_pch.hxx)#-include osculant/pch.h#' \
    "$build_dir/release/compile_commands.json" >"$commands/compile_commands.json"
  printf '%s\n' "${sources[@]}" | grep '\.cpp$' | xargs -d '\n' -P 2 -n 1 clang-tidy --quiet -p "$commands"
}

clean() {
  lock
  find "$build_dir" -mindepth 1 -maxdepth 1 ! -name .lock -exec rm -rf {} +
  say "removed build/ (kept: .venv and the compiler cache)"
}

# --- documentation -------------------------------------------------------------------------------------------

# The links are checked first; Doxygen's own complaints end it too.
build_docs() {
  python3 -B "$root/tests/docs_test.py" "$root" links || die "links lead nowhere"
  mkdir -p "$build_dir/docs"
  (cd "$root" && { cat docs/Doxyfile; echo "OUTPUT_DIRECTORY = \"$build_dir/docs\""; } | doxygen -) || die "doxygen failed"
  say "the documentation: $build_dir/docs/html/index.html"
}
