"""Rates as bars, in SVG written by hand: no plotting library for a handful of rectangles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from bench.figures import Figures, Table

WIDTH, LABELS, FIGURES, BAR, GAP = 760, 190, 120, 18, 8
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #222 } .title { font-weight: 600 }
rect { fill: #b8bec8 } .ours { fill: #1f6feb } .synced { fill-opacity: .55 } line { stroke: #222 }
@media (prefers-color-scheme: dark) {
  text { fill: #ddd } line { stroke: #ddd } rect { fill: #596273 } .ours { fill: #58a6ff }
}
"""


def chart(tables: Sequence[Table]) -> str:
    """One block of bars a workload: the median, with a line from the lowest to the highest."""
    parts: list[str] = []
    y = GAP
    for table in tables:
        parts.append(_text(GAP, y + BAR, f"{table.title}: {table.rate_unit}", "title"))
        y += BAR + 2 * GAP
        most = max((row.rate_highest for row in table.rows), default=1.0)
        for row in table.rows:
            parts += _bar(row, y, (WIDTH - LABELS - FIGURES) / most)
            y += BAR + GAP
        y += 2 * GAP
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}">\n'
        f"<style>{STYLE}</style>\n{body}\n</svg>\n"
    )


def _bar(row: Figures, y: float, scale: float) -> Iterator[str]:
    kind = ("ours" if row.label.startswith("penstock") else "other") + (" synced" if row.synced else "")
    middle = y + BAR / 2
    lowest, highest = LABELS + row.rate_lowest * scale, LABELS + row.rate_highest * scale
    yield _text(GAP, y + 14, row.label)
    yield f'<rect class="{kind}" x="{LABELS}" y="{y}" width="{row.rate * scale:.1f}" height="{BAR}"/>'
    yield f'<line x1="{lowest:.1f}" x2="{highest:.1f}" y1="{middle}" y2="{middle}"/>'
    yield _text(highest + GAP, y + 14, f"{row.rate:,.0f}")


def _text(x: float, y: float, text: str, kind: str = "label") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y}">{escape(text)}</text>'
