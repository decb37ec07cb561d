#!/usr/bin/env python3
"""Doxygen's view of a file. In headers comments before a declaration and at its end become documentation, their text
verbatim (it holds formulas, not commands); other files are as they are."""

import re
import sys


def quoted(text):
    return re.sub(r'([\\@<>&#%$"|])', r"\\\1", text)


def before_a_declaration(lines):
    """Which of the lines that are comments alone stand right above something."""
    belongs, below = [False] * len(lines), False
    for i in range(len(lines) - 1, -1, -1):
        comment = re.match(r"\s*//( |$)", lines[i])
        belongs[i] = bool(comment) and below
        if not comment:
            below = bool(lines[i].strip())
    return belongs


def shown(line, documents):
    if documents:
        indent, text = re.match(r"(\s*)// ?(.*)$", line).groups()
        return f"{indent}/// {quoted(text)}"
    behind = re.match(r"(.*\S)\s+// (.*)$", line)
    if behind and '"' not in behind.group(2) and behind.group(1).rstrip().endswith((";", ",", "}")):
        return f"{behind.group(1)}  ///< {quoted(behind.group(2))}"
    return line


if __name__ == "__main__":
    path = sys.argv[1]
    with open(path) as source:
        text = source.read()
    if path.endswith(".h"):
        lines = text.split("\n")
        text = "\n".join(map(shown, lines, before_a_declaration(lines)))
    sys.stdout.write(text)
