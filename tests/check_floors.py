#!/usr/bin/env python3
"""Checks how the house is laid out: `check_floors.py ROOT` exits 1 and lists what is out of place.

- A file under osculant/ includes only its own folder and folders before it in FLOORS.
- A header has `#pragma once`; a public header brings in nothing that an installed library's user may lack.
- No file names a path of somebody's machine.

`check_floors.py --self-test` plants one violation of each kind and sees it found.
"""

import fnmatch
import re
import subprocess
import sys
import tempfile
from pathlib import Path

# Lowest first, with the floor each is on. Folders of one floor are ordered too, so that an include between them
# has one direction: io may use tensor, and never the other way round.
FLOORS = {
    "base": 0,
    "tensor": 1, "io": 1, "comm": 1,
    "linop": 2,
    "solve": 3, "spectrum": 3, "model": 3, "data": 3,
    "objective": 4,
    "curvature": 5,
    "optim": 6, "diagnose": 6,
    "study": 7,
    "report": 8,
    "cli": 9,
}
ORDER = list(FLOORS)
# Within floor 1 the order above holds; elsewhere folders of one floor do not know each other.
ORDERED_FLOORS = {1}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
# torch/torch.h costs a user's file 20 s; the rest are dependencies of the sources alone.
NOT_IN_PUBLIC_HEADERS = ("torch/torch.h", "torch/all.h", "torch/extension.h", "fmt/", "nlohmann/", "toml++/",
                         "CLI/", "gtest/", "gmock/", "Eigen/")
NOT_INSTALLED = ("pch.h", "exported_json.h", "run_key.h", "record.h", "assets.h", "analysis_part.h", "*_fields.h",
                 "*_page.h")  # as in cmake/OsculantInstall.cmake
MACHINE_PATH = re.compile(r"(?<![\w.}])/(?:home|root|work|Users|mnt)/\w")
TEXT_SUFFIXES = {".h", ".cpp", ".py", ".cmake", ".txt", ".md", ".toml", ".json", ".in", ".sh", ""}


def may_include(folder: str, other: str) -> bool:
    if folder == other:
        return True
    if FLOORS[folder] == FLOORS[other] and FLOORS[folder] not in ORDERED_FLOORS:
        return False
    return ORDER.index(other) < ORDER.index(folder)


def not_installed(name: str) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in NOT_INSTALLED)


def is_public_header(relative: Path) -> bool:
    return (relative.suffix == ".h" and relative.parts[0] != "cli" and not not_installed(relative.name)
            and "test" not in relative.stem.split("_") and "testing" not in relative.stem.split("_"))


def check_includes(relative: Path, text: str) -> list[str]:
    """Of a file under osculant/, `relative` to it."""
    where = f"osculant/{relative}"
    problems = []
    folder = relative.parts[0] if len(relative.parts) > 1 else None
    if folder is not None and folder not in FLOORS:
        return [f"{where}: folder '{folder}' is on no floor; add it to FLOORS"]
    for mark, name in INCLUDE.findall(text):
        if name.startswith("osculant/"):
            parts = name.split("/")
            other = parts[1] if len(parts) > 2 else None
            if folder is None:
                continue  # osculant/osculant.h gathers all floors
            if other is None:
                problems.append(f"{where}: includes {name}, which gathers all floors")
            elif other not in FLOORS:
                problems.append(f"{where}: includes {name}, of no known floor")
            elif not may_include(folder, other):
                problems.append(f"{where}: {folder} (floor {FLOORS[folder]}) includes {name} (floor {FLOORS[other]})")
        elif mark == '"':
            problems.append(f'{where}: includes "{name}"; write it "osculant/FOLDER/FILE.h"')
        if is_public_header(relative) and name.startswith("osculant/") and not_installed(name.split("/")[-1]):
            problems.append(f"{where}: a public header includes {name}, which is not installed")
        if is_public_header(relative) and name.startswith(NOT_IN_PUBLIC_HEADERS):
            problems.append(f"{where}: a public header includes {name}")
    if relative.suffix == ".h" and "#pragma once" not in text:
        problems.append(f"{where}: no #pragma once")
    return problems


def project_files(root: Path) -> list[Path]:
    """Files under version control; of a tree without git, all that are not built or installed there."""
    listed = subprocess.run(["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            capture_output=True, text=True)
    if listed.returncode == 0 and listed.stdout:
        return sorted(path for name in set(listed.stdout.split("\0")) - {""} if (path := root / name).is_file())
    skipped = {"build", ".venv", ".cache", ".git", "runs"}
    return sorted(path for path in root.rglob("*") if path.is_file() and not skipped & set(path.relative_to(root).parts))


def check_machine_paths(relative: Path, text: str) -> list[str]:
    return [f"{relative}:{text.count(chr(10), 0, found.start()) + 1}: a path of one machine: {found.group()}..."
            for found in MACHINE_PATH.finditer(text)]


def check(root: Path) -> tuple[list[str], int]:
    problems, seen = [], 0
    for path in project_files(root):
        relative = path.relative_to(root)
        if path.suffix not in TEXT_SUFFIXES or relative == Path("tests/check_floors.py"):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        problems += check_machine_paths(relative, text)
        if relative.parts[0] == "osculant" and path.suffix in {".h", ".cpp"}:
            seen += 1
            problems += check_includes(Path(*relative.parts[1:]), text)
    return problems, seen


def self_test() -> None:
    header = "#pragma once\n"
    clean = {
        "osculant/base/error.h": header,
        "osculant/io/archive.h": header + '#include "osculant/tensor/batch.h"\n',
        "osculant/solve/cg.cpp": '#include <torch/torch.h>\n#include "osculant/linop/linear_operator.h"\n',
        "osculant/osculant.h": header + '#include "osculant/optim/minimizer.h"\n',
        "docs/a.md": "see ../work/notes, https://example.org/home/x and $HOME/work/x\n",
    }
    planted = [
        ("osculant/base/error.cpp", '#include "osculant/tensor/batch.h"\n', "base (floor 0) includes"),
        ("osculant/tensor/batch.h", header + '#include "osculant/io/archive.h"\n', "tensor (floor 1) includes"),
        ("osculant/solve/cg_test.cpp", '#include "osculant/spectrum/lanczos.h"\n', "solve (floor 3) includes"),
        ("osculant/linop/a.h", header + '#  include  "osculant/attic/x.h"\n', "of no known floor"),
        ("osculant/linop/a.cpp", '#include "osculant/osculant.h"\n', "which gathers all floors"),
        ("osculant/linop/a.cpp", '#include "vector_space.h"\n', "write it"),
        ("osculant/attic/x.cpp", "int x;\n", "is on no floor"),
        ("osculant/base/random.h", "int x;\n", "no #pragma once"),
        ("osculant/model/model.h", header + "#include <torch/torch.h>\n", "a public header includes torch/torch.h"),
        ("osculant/io/json.h", header + "#include <nlohmann/json.hpp>\n", "a public header includes nlohmann"),
        ("osculant/report/b.h", header + '#include "osculant/report/record.h"\n', "which is not installed"),
        ("bench/run.sh", "cd /home/somebody/osculant\n", "bench/run.sh:1: a path of one machine"),
    ]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)

        def write(name: str, text: str) -> None:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")

        for name, text in clean.items():
            write(name, text)
        problems, seen = check(root)
        assert problems == [] and seen == 4, (problems, seen)
        for name, text, expected in planted:
            before = clean.get(name)
            write(name, text)
            problems, _ = check(root)
            assert len(problems) == 1 and expected in problems[0], (name, expected, problems)
            (root / name).unlink()
            if before is not None:
                write(name, before)
    print(f"{len(planted)} planted violations found, and none where there is none")


def main() -> int:
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        return 0
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    problems, seen = check(Path(sys.argv[1]).resolve())
    for problem in problems:
        print(problem)
    if seen == 0:
        print(f"{sys.argv[1]}: no sources under osculant/ there")
    return 1 if problems or seen == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
