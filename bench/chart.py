"""The first metric of each table, in SVG written by hand: no plotting library for some bars and lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from bench.figures import Figure, Line, Table, plain

WIDTH, LABELS, FIGURES, BAR, GAP = 820, 240, 130, 18, 8
HEIGHT = 220  # of the area that lines are drawn in
COLOURS = ("#d97706", "#0d9488", "#9333ea", "#64748b", "#be123c")  # of others than us
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #222 } .title { font-weight: 600 } .end { text-anchor: end }
rect { fill: #b8bec8 } .ours { fill: #1f6feb } .synced { fill-opacity: .55 } line { stroke: #222 }
polyline { fill: none; stroke-width: 2 } polyline.ours { fill: none; stroke: #1f6feb }
polyline.synced { stroke-dasharray: 6 4 } .grid { stroke-opacity: .25 }
@media (prefers-color-scheme: dark) {
  text { fill: #ddd } line { stroke: #ddd } rect { fill: #596273 } .ours { fill: #58a6ff }
  polyline.ours { fill: none; stroke: #58a6ff }
}
"""


def chart(tables: Sequence[Table]) -> str:
    """One block a workload: bars, or lines for one that grows."""
    parts: list[str] = []
    y = float(GAP)
    for table in tables:
        metric = table.metrics[0]
        unit = f", {metric.unit}" if metric.unit else ""
        parts.append(_text(GAP, y + BAR, f"{table.title}: {metric.name}{unit}", "title"))
        y += BAR + 2 * GAP
        drawn = [(line, line.figures[metric.name]) for line in table.lines if metric.name in line.figures]
        block, height = _lines(drawn, y, table.x_axis) if table.x_axis else _bars(drawn, y)
        parts += block
        y += height + 2 * GAP
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y:.0f}" '
        f'width="{WIDTH}" height="{y:.0f}">\n<style>{STYLE}</style>\n{body}\n</svg>\n'
    )


# Bars: the median, with a line from the lowest to the highest


def _bars(drawn: Sequence[tuple[Line, Figure]], top: float) -> tuple[list[str], float]:
    scale = (WIDTH - LABELS - FIGURES) / _most(figure.highest for _, figure in drawn)
    parts: list[str] = []
    for number, (line, figure) in enumerate(drawn):
        parts += _bar(line, figure, top + number * (BAR + GAP), scale)
    return parts, len(drawn) * (BAR + GAP)


def _bar(line: Line, figure: Figure, y: float, scale: float) -> Iterator[str]:
    middle = y + BAR / 2
    lowest, highest = LABELS + figure.lowest * scale, LABELS + figure.highest * scale
    yield _text(GAP, y + 14, line.label)
    yield (
        f'<rect class="{_kind(line)}" x="{LABELS}" y="{y:.1f}" '
        f'width="{figure.value * scale:.1f}" height="{BAR}"/>'
    )
    yield f'<line x1="{lowest:.1f}" x2="{highest:.1f}" y1="{middle:.1f}" y2="{middle:.1f}"/>'
    yield _text(highest + GAP, y + 14, plain(figure.value))


# Lines: one for each label, from zero on both axes, so that what is proportional looks it


def _lines(drawn: Sequence[tuple[Line, Figure]], top: float, x_axis: str) -> tuple[list[str], float]:
    most_x = _most(line.x or 0.0 for line, _ in drawn)
    most_y = _most(figure.highest for _, figure in drawn)
    across, up = (WIDTH - LABELS - FIGURES) / most_x, HEIGHT / most_y
    bottom = top + HEIGHT
    parts = list(_axes(drawn, top, across, x_axis, most_y))
    for number, label in enumerate(dict.fromkeys(line.label for line, _ in drawn)):
        points = sorted((line.x or 0.0, figure.value, line) for line, figure in drawn if line.label == label)
        places = [(LABELS + x * across, bottom - y * up) for x, y, _ in points]
        kind = _kind(points[-1][2])
        colour = "" if "ours" in kind else f' style="stroke: {COLOURS[number % len(COLOURS)]}"'
        drawn_points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline class="{kind}"{colour} points="{drawn_points}"/>')
        parts.append(_text(places[-1][0] + GAP, places[-1][1] + 4, label))
    return parts, HEIGHT + 2 * BAR


def _axes(
    drawn: Sequence[tuple[Line, Figure]], top: float, across: float, x_axis: str, most_y: float
) -> Iterator[str]:
    bottom, right = top + HEIGHT, WIDTH - FIGURES
    for part in (0.0, 0.5, 1.0):
        y = bottom - part * HEIGHT
        yield f'<line class="grid" x1="{LABELS}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield _text(LABELS - GAP, y + 4, plain(part * most_y), "end")
    last = 0.0
    for x in sorted({line.x or 0.0 for line, _ in drawn}):
        place = LABELS + x * across
        if place - last > 4 * GAP:  # where there is room for its number
            yield _text(place, bottom + BAR, f"{x:,g}", "end")
            last = place
    yield _text(LABELS, bottom + 2 * BAR, x_axis)


def _most(values: Iterator[float]) -> float:
    return max(values, default=1.0) or 1.0


def _kind(line: Line) -> str:
    return ("ours" if line.contestant.startswith("penstock") else "other") + (
        " synced" if line.synced else ""
    )


def _text(x: float, y: float, text: str, kind: str = "label") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'
