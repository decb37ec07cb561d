#!/usr/bin/env python3
"""report.py OUT RECORD...: joins records of one benchmark into OUT.json and a Markdown table, OUT.md, printed too.

A record: {"benchmark", "unit", "versions": {...}, "machine": {...}, "rows": [{"problem", "work", "by", "median",
"low", "high", "rounds", "values"?, "bar"?}], "wide"?}. Rows of one (problem, work) come together; `bar` stands in the row
of osculant. Rows of several records that differ in their `values` alone become one; a value of null is a miss, infinity.
A wide record has a line a problem and a column a work.
"""

import json
import math
import statistics
import sys
from pathlib import Path


def verdict(row: dict) -> str:
    if row.get("bar") is None or row.get("median") is None:
        return ""
    return "met" if row["median"] <= row["bar"] else "missed"


def number(x: float) -> str:
    if math.isinf(x):
        return "never"
    return f"{x:.2f}" if x == 0 or abs(x) >= 0.1 else f"{x:.1e}"


def cell(row: dict) -> str:
    if row.get("median") is None:
        return row.get("note", "failed")
    return f"{number(row['median'])} ({number(row['low'])} to {number(row['high'])})"


def written(lines: list[list[str]]) -> list[str]:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = ["| " + " | ".join(text.ljust(width) for text, width in zip(line, widths)) + " |" for line in lines]
    text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return text


def wide_table(rows: list[dict]) -> str:
    """Medians to three digits, with the extremes over rounds."""
    works = list(dict.fromkeys(row["work"] for row in rows))
    lines = [["", *works]]
    for problem in dict.fromkeys(row["problem"] for row in rows):
        here = {row["work"]: row for row in rows if row["problem"] == problem}
        spread = lambda row: f"{row['median']:.3g} ({row['low']:.3g} to {row['high']:.3g})"
        exact = lambda row: row["low"] == row["high"]
        lines.append([problem, *(f"{here[w]['median']:.3g}" if exact(here[w]) else spread(here[w]) for w in works)])
    return "\n".join(written(lines))


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
    return "\n".join([f"Medians in units of {unit} (smallest to largest round).", "", *written(lines)])


def merged(rows: list[dict]) -> list[dict]:
    """One row of all those about the same work."""
    together: dict[tuple, list[dict]] = {}
    for row in rows:
        together.setdefault((row["problem"], row["work"], row["by"]), []).append(row)
    result = []
    for same in together.values():
        values = [math.inf if x is None else x for row in same for x in row.get("values", [])]
        if values:
            same[0] |= {"values": values, "median": statistics.median_high(values), "low": min(values),
                        "high": max(values), "rounds": len(values)}
        result.append(same[0])
    return result


def main() -> None:
    out, records = Path(sys.argv[1]), [json.loads(Path(name).read_text()) for name in sys.argv[2:]]
    joined = {"benchmark": records[0]["benchmark"], "unit": records[0]["unit"], "machine": records[0]["machine"],
              "versions": {key: value for record in records for key, value in record["versions"].items()},
              "rows": merged([row for record in records for row in record["rows"]])}
    out.with_suffix(".json").write_text(json.dumps(joined, indent=1) + "\n")
    machine = ", ".join(f"{key} {value}" for key, value in {**joined["machine"], **joined["versions"]}.items())
    rows = joined["rows"]
    text = f"{wide_table(rows) if records[0].get('wide') else table(rows, joined['unit'])}\n\n{machine}\n"
    out.with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
