#!/usr/bin/env python3
"""report.py OUT RECORD...: joins records of one benchmark into OUT.json and a Markdown table, OUT.md, printed too.

A record: {"benchmark", "unit", "versions": {...}, "machine": {...}, "rows": [{"problem", "work", "by", "median",
"low", "high", "rounds", "bar"?}]}. Rows of one (problem, work) come together; `bar` stands in the row of osculant.
"""

import json
import sys
from pathlib import Path


def verdict(row: dict) -> str:
    if row.get("bar") is None or row.get("median") is None:
        return ""
    return "met" if row["median"] <= row["bar"] else "missed"


def number(x: float) -> str:
    return f"{x:.2f}" if x == 0 or abs(x) >= 0.1 else f"{x:.1e}"


def cell(row: dict) -> str:
    if row.get("median") is None:
        return row.get("note", "failed")
    return f"{number(row['median'])} ({number(row['low'])} to {number(row['high'])})"


def table(rows: list[dict], unit: str) -> str:
    keys = list(dict.fromkeys((row["problem"], row["work"]) for row in rows))
    peers = [by for by in dict.fromkeys(row["by"] for row in rows) if by != "osculant"]
    lines = [["problem", "work", "osculant", "bar", "", *peers]]
    for key in keys:
        here = {row["by"]: row for row in rows if (row["problem"], row["work"]) == key}
        ours = here.get("osculant", {})
        bar = number(ours['bar']) if ours.get("bar") is not None else ""
        lines.append([*key, cell(ours) if ours else "", bar, verdict(ours),
                      *(cell(here[by]) if by in here else "" for by in peers)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    written = ["| " + " | ".join(text.ljust(width) for text, width in zip(line, widths)) + " |" for line in lines]
    written.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join([f"Medians in units of {unit} (smallest to largest round).", "", *written])


def main() -> None:
    out, records = Path(sys.argv[1]), [json.loads(Path(name).read_text()) for name in sys.argv[2:]]
    joined = {"benchmark": records[0]["benchmark"], "unit": records[0]["unit"], "machine": records[0]["machine"],
              "versions": {key: value for record in records for key, value in record["versions"].items()},
              "rows": [row for record in records for row in record["rows"]]}
    out.with_suffix(".json").write_text(json.dumps(joined, indent=1) + "\n")
    machine = ", ".join(f"{key} {value}" for key, value in {**joined["machine"], **joined["versions"]}.items())
    text = f"{table(joined['rows'], joined['unit'])}\n\n{machine}\n"
    out.with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
