#!/usr/bin/env python3
"""Writes the part of docs/methods.md that repeats the table of methods, as `osculant methods --json` tells it, with what
people wrote of each (docs/methods/NAME.md) and what was measured (docs/methods/measured.json).

    tools/methods_doc.py build/release/bin/osculant            writes it
    tools/methods_doc.py build/release/bin/osculant --check    fails where it is out of date
    tools/methods_doc.py --measured DIR...                     takes the verdicts of comparisons in DIR into measured.json
"""

import json
import pathlib
import subprocess
import sys

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"
DOCUMENT = DOCS / "methods.md"
MARK = "<!-- From here on written by tools/methods_doc.py from the table in osculant/optim/methods.cpp. -->\n"


def cell(text):
    return text.replace("|", "\\|").replace("<", "&lt;")


def number(value):
    return "no number" if value is None else f"{value:.3g}"


def measured(name):
    """What comparisons of the run files beside docs/methods/ found, a line each."""
    for problem, found in json.loads((DOCS / "methods" / "measured.json").read_text()).items():
        row = found["methods"].get(name)
        if row is None:
            continue
        value = row["value"]
        spread = "" if found["seeds"] == 1 else f" ({number(value['low'])} to {number(value['high'])})"
        yield f"- measured, {problem}.toml, {found['budget']}: loss {number(value['median'])}{spread}, {row['place']} of {len(found['methods'])}; {row['tuned']}"


def section(method):
    lines = [f"## {method['name']}", "", method["summary"][0].upper() + method["summary"][1:] + ".", ""]
    lines += ["    " + method["formula"], ""]
    lines += [(DOCS / "methods" / f"{method['name']}.md").read_text()]
    tuned = f"`{method['tuned']}`" if method["tuned"] else "nothing"
    lines += [
        f"- source: {cell(method['citation'])}",
        f"- memory: {cell(method['memory'])}",
        f"- cost of a step: {cell(method['cost'])} ge",
        f"- `osculant compare` tunes {tuned}",
        *measured(method["name"]),
        "",
        "| option | default | must be | what it does |",
        "|---|---|---|---|",
    ]
    for option in method["options"]:
        lines.append(f"| `{option['name']}` | {cell(option['default'])} | {cell(option['constraint'])} | {cell(option['words'])} |")
    return "\n".join(lines) + "\n"


def take_measured(folders):
    """measured.json: by problem, what the verdict says of each method."""
    found = {}
    for folder in map(pathlib.Path, folders):
        result = json.loads((folder / "result.json").read_text())
        methods = {}
        for place, row in enumerate(result["verdict"]["methods"], 1):
            methods[row["method"].split(":")[0]] = {"place": place, "tuned": row["tuned"], "value": row["value"]}
        race = result["race"]
        found[folder.name] = {"budget": race["budget"], "seeds": race["seeds"], "methods": methods}
    (DOCS / "methods" / "measured.json").write_text(json.dumps(found, indent=1) + "\n")


def main():
    if sys.argv[1] == "--measured":
        return take_measured(sys.argv[2:])
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
