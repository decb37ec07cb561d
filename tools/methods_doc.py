#!/usr/bin/env python3
"""Writes the part of docs/methods.md that repeats the table of methods, as `osculant methods --json` tells it.

    tools/methods_doc.py build/release/bin/osculant            writes it
    tools/methods_doc.py build/release/bin/osculant --check    fails where it is out of date
"""

import json
import pathlib
import subprocess
import sys

DOCUMENT = pathlib.Path(__file__).resolve().parent.parent / "docs" / "methods.md"
MARK = "<!-- From here on written by tools/methods_doc.py from the table in osculant/optim/methods.cpp. -->\n"


def cell(text):
    return text.replace("|", "\\|").replace("<", "&lt;")


def section(method):
    lines = [f"## {method['name']}", "", method["summary"][0].upper() + method["summary"][1:] + ".", ""]
    lines += ["    " + method["formula"], ""]
    tuned = f"`{method['tuned']}`" if method["tuned"] else "nothing"
    lines += [
        f"- source: {cell(method['citation'])}",
        f"- memory: {cell(method['memory'])}",
        f"- cost of a step: {cell(method['cost'])} ge",
        f"- `osculant compare` tunes {tuned}",
        "",
        "| option | default | must be | what it does |",
        "|---|---|---|---|",
    ]
    for option in method["options"]:
        lines.append(f"| `{option['name']}` | {cell(option['default'])} | {cell(option['constraint'])} | {cell(option['words'])} |")
    return "\n".join(lines) + "\n"


def main():
    tool, check = sys.argv[1], sys.argv[2:] == ["--check"]
    methods = json.loads(subprocess.run([tool, "methods", "--json"], check=True, capture_output=True, text=True).stdout)
    document = DOCUMENT.read_text()
    prose = document[: document.index(MARK) + len(MARK)]
    written = prose + "\n" + "\n".join(section(method) for method in methods)
    if not check:
        DOCUMENT.write_text(written)
    elif written != document:
        sys.exit("docs/methods.md does not say what the table of methods says: run tools/methods_doc.py TOOL")


if __name__ == "__main__":
    main()
