#!/usr/bin/env python3
"""docs_test.py ROOT links | tutorial NAME | commands | excerpts FILE: what the documentation says is there, and what it says
to do works.

links            every relative link and every #heading in README, CONTRIBUTING and docs/ leads somewhere;
                 docs/exported-programs.md lists the operators that exported programs may call, all and no others
tutorial NAME    runs docs/NAME.md in a folder of its own: ```python blocks that begin with "# FILE" are written to FILE,
                 ```bash blocks are run in their order, with OSCULANT_TOOL as `osculant`; ```cpp blocks that begin with
                 "// FILE" must be examples/FILE, which the tests build and run
commands         runs every other line that begins with `osculant`, on a network and a run file of its own, with budgets of a
                 second
excerpts FILE    writes a program into FILE that runs every other piece of C++, with what docs_excerpts.h has ready
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


INDENTED = re.compile(r"(?:^    .*\n(?:\n(?=    ))?)+", re.MULTILINE)
RUN_FILE = """
[model]
kind = "mlp"
widths = [784, 16, 10]
[data]
kind = "fashion_mnist"
test = "split"
scale = 255.0
take = 2000
test_take = 500
[loss]
kind = "cross_entropy"
[metrics]
names = ["accuracy"]
[train]
method = "adam"
budget = "1s"
"""
RUN_BY_TUTORIALS = {"believing", "faq", "inverse-rank", "tutorial-command-line", "tutorial-cpp", "tutorial-python", "watching"}


def pages(root):
    return [root / "README.md", *sorted((root / "docs").glob("*.md"))]


def blocks(page):
    """(language, text) of what is fenced, and of what is indented by four, with "" for the language."""
    text = page.read_text()
    indented = [('', re.sub("^    ", "", block, flags=re.MULTILINE)) for block in INDENTED.findall(FENCED.sub("", text))]
    return FENCED.findall(text) + indented


def anchor(heading):
    """As GitHub makes it of a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


def anchors_of(page):
    prose = FENCED.sub("", page.read_text())
    return {anchor(line.lstrip("#")) for line in prose.splitlines() if line.startswith("#")}


def broken_links(page):
    prose = FENCED.sub("", page.read_text())
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, name = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        if not place.exists():
            yield f"{page}: {target}: there is no {place}"
        elif name and place.suffix == ".md" and name not in anchors_of(place):
            yield f"{page}: {target}: {place.name} has no heading of that name"


def check_links(root):
    documents = [root / "README.md", root / "CONTRIBUTING.md", root / "CHANGELOG.md", *sorted((root / "docs").glob("*.md"))]
    broken = [line for page in documents for line in broken_links(page)]
    unreached = [page.name for page in documents[3:] if not any(page.name in other.read_text() for other in documents if other != page)]
    return broken + [f"docs/{name}: no page links to it" for name in unreached]


def operators_not_documented(root):
    source = (root / "osculant/model/exported_operators.cpp").read_text()
    allowed = set(re.search(r'allowed_names = R"\((.*?)\)"', source, re.DOTALL)[1].split())
    page = (root / "docs/exported-programs.md").read_text()
    listed = set(re.search(r"<!-- operators -->\n```\n(.*?)```", page, re.DOTALL)[1].split())
    return [f"docs/exported-programs.md: {name} is {'not listed' if name in allowed else 'no operator of the table'}" for name in sorted(allowed ^ listed)]


def run_tutorial(root, name):
    tools = Path(tempfile.mkdtemp(prefix="osculant-tutorial-"))
    (tools / "bin").mkdir()
    (tools / "bin/osculant").symlink_to(os.environ["OSCULANT_TOOL"])
    python = tools / "bin/python3"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -B "$@"\n')
    python.chmod(0o755)
    environment = dict(os.environ, PATH=f"{tools / 'bin'}:{os.environ['PATH']}", PYTHONPATH=str(root / "python"))
    for language, block in FENCED.findall((root / f"docs/{name}.md").read_text()):
        first = block.split("\n", 1)[0]
        if language == "cpp" and first.startswith("// "):
            if (root / "examples" / first[3:]).read_text() != block:
                return [f"docs/{name}.md: its {first[3:]} is not examples/{first[3:]}"]
        elif language == "python" and first.startswith("# "):
            (tools / first[2:]).write_text(block)
        elif language == "bash":
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", block], cwd=tools, env=environment, capture_output=True, text=True)
            if done.returncode != 0:
                return [f"docs/{name}.md: ended with {done.returncode}:", block, done.stdout[-3000:], done.stderr[-3000:]]
    return []


def excerpts(root):
    """(page, C++) of what stands in no file of its own."""
    for page in pages(root):
        for language, block in blocks(page):
            whole = block.startswith("// ") and block.split("\n", 1)[0].endswith(".cpp")
            indented = language == "" and re.match(r"#include|auto |Objective |osculant::|std::", block)
            if (language == "cpp" and not whole) or indented:
                yield page.stem, block.split("\n[", 1)[0]


def write_excerpts(root, file):
    program, calls = ['#include "tests/docs_excerpts.h"\n'], []
    for i, (page, block) in enumerate(excerpts(root)):
        lines = block.splitlines()
        program += [line for line in lines if line.startswith("#include")]
        name = f"{re.sub('[^a-z]', '_', page.lower())}_{i}"
        body = "\n".join(line for line in lines if not line.startswith("#include"))
        body = re.sub(r"seconds\(\d+\)", "seconds(0.5)", body)
        program.append(f"\nstatic void {name}() {{\n  OSCULANT_EXCERPT\n  {{\n{body}\n  }}\n}}\n")
        calls.append(f'  std::cout << "--- {page}\\n";\n  {name}();')
    program.append("int main() {\n" + "\n".join(calls) + "\n}\n")
    Path(file).write_text("\n".join(program))
    return []


def commands(root):
    for page in pages(root):
        if page.stem in RUN_BY_TUTORIALS:
            continue
        for _, block in blocks(page):
            for line in re.sub(r"\\\n\s*", "", block).splitlines():
                found = re.match(r"(?:mpirun -n \d+ )?(?:\./run )?(osculant .*)", line)
                if found and not re.search(r"\[(?!')|LIST|DIR|FILE|   ", found[1]):
                    yield page.name, found[1]


def run_commands(root):
    work = Path(tempfile.mkdtemp(prefix="osculant-commands-"))
    (work / "osculant").symlink_to(os.environ["OSCULANT_TOOL"])
    environment = dict(os.environ, PATH=f"{work}:{os.environ['PATH']}", PYTHONPATH=str(root / "python"))
    export = next(block for language, block in FENCED.findall((root / "docs/tutorial-python.md").read_text()) if language == "python")
    subprocess.run([sys.executable, "-B", "-c", export], cwd=work, env=environment, check=True)
    for name in ("RUN.toml", "run.toml"):
        (work / name).write_text(RUN_FILE)
    broken = []
    for page, command in commands(root):
        short = re.sub(r"--budget \d+s", "--budget 1s", command)
        short = re.sub(r"--budget \d+ge", "--budget 3ge", re.sub(r"--(seeds|tune) \d+", r"--\1 1", short))
        short = re.sub(r'"\$\(.*\)"', "adam,lbfgs", short)  # not all methods of the table
        short = short.replace("docs/", f"{root}/docs/")
        done = subprocess.run(["bash", "-c", short], cwd=work, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            broken += [f"{page}: {short}: ended with {done.returncode}:", done.stdout[-2000:], done.stderr[-2000:]]
    return broken


if __name__ == "__main__":
    root = Path(sys.argv[1]).resolve()
    if sys.argv[2] == "commands" or sys.argv[2:] == ["tutorial", "tutorial-python"]:
        try:
            import torch
        except ImportError:
            sys.exit(77)
    work = {
        "links": lambda: check_links(root) + operators_not_documented(root),
        "tutorial": lambda: run_tutorial(root, sys.argv[3]),
        "commands": lambda: run_commands(root),
        "excerpts": lambda: write_excerpts(root, sys.argv[3]),
    }
    trouble = work[sys.argv[2]]()
    print("\n".join(trouble))
    sys.exit(1 if trouble else 0)
