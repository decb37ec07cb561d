#!/usr/bin/env python3
"""docs_test.py ROOT links | tutorial NAME: what the documentation says is there, and what it says to do works.

links            every relative link and every #heading in README, CONTRIBUTING and docs/ leads somewhere;
                 docs/exported-programs.md lists the operators that exported programs may call, all and no others
tutorial NAME    runs docs/NAME.md in a folder of its own: ```python blocks that begin with "# FILE" are written to FILE,
                 ```bash blocks are run in their order, with OSCULANT_TOOL as `osculant`; ```cpp blocks that begin with
                 "// FILE" must be examples/FILE, which the tests build and run
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


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
    pages = [root / "README.md", root / "CONTRIBUTING.md", root / "CHANGELOG.md", *sorted((root / "docs").glob("*.md"))]
    broken = [line for page in pages for line in broken_links(page)]
    unreached = [page.name for page in pages[3:] if not any(page.name in other.read_text() for other in pages if other != page)]
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


if __name__ == "__main__":
    root = Path(sys.argv[1]).resolve()
    if sys.argv[2] == "tutorial" and sys.argv[3] == "tutorial-python":
        try:
            import torch
        except ImportError:
            sys.exit(77)
    trouble = check_links(root) + operators_not_documented(root) if sys.argv[2] == "links" else run_tutorial(root, sys.argv[3])
    print("\n".join(trouble))
    sys.exit(1 if trouble else 0)
