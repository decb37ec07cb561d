#!/usr/bin/env python3
"""Draws a program's output as a terminal window: ./run demo | python3 tools/text_to_svg.py > docs/demo.svg"""

import sys
from html import escape

CHARACTER, LINE, MARGIN = 7.3, 17, 18


def draw(lines):
    width = max(len(line) for line in lines) * CHARACTER + 2 * MARGIN
    height = len(lines) * LINE + 2 * MARGIN
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}">',
        '<rect width="100%" height="100%" rx="8" fill="#16181d"/>',
        '<g font-family="ui-monospace, DejaVu Sans Mono, Menlo, monospace" font-size="12" fill="#d8dee9">',
    ]
    for i, line in enumerate(lines):
        heading = line[:2] in ("1.", "2.", "3.", "4.", "5.")
        style = ' fill="#8fd3c1" font-weight="bold"' if heading else ""
        y = MARGIN + (i + 0.75) * LINE
        out.append(f'<text x="{MARGIN}" y="{y:.1f}" xml:space="preserve"{style}>{escape(line)}</text>')
    return "\n".join(out + ["</g>", "</svg>", ""])


if __name__ == "__main__":
    sys.stdout.write(draw(sys.stdin.read().rstrip().split("\n")))
