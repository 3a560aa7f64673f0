"""A picture of cost against size: panels side by side, both axes logarithmic.

Curves go in, the text of an SVG comes out. Nothing but the standard library is needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from table import Curve, shown

_COLOURS = ("#1f6fb4", "#c8501e", "#2b8a3e", "#8a3fa0", "#a67c00", "#0b8f8f")
_WIDTH, _PLOT_HEIGHT = 400, 250
_LEFT, _RIGHT, _TOP = 66, 16, 66
_LEGEND_LINE = 17


def drawn(curves: Sequence[Curve], caption: str) -> str:
    """The SVG; one panel for each ``panel`` of the curves, in their order. Upstream's lines are dashed."""
    titles = list(dict.fromkeys(curve.panel for curve in curves))
    by_panel = [[curve for curve in curves if curve.panel == title] for title in titles]
    colours = [list(dict.fromkeys(curve.name for curve in panel)) for panel in by_panel]
    height = _TOP + _PLOT_HEIGHT + 58 + _LEGEND_LINE * max(map(len, colours)) + 12
    width = _WIDTH * len(titles)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        '<g font-family="sans-serif" font-size="12" fill="#222">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="14" y="22" font-size="14" font-weight="bold">{escape(caption)}</text>',
    ]
    for number, (title, panel) in enumerate(zip(titles, by_panel, strict=True)):
        parts += _panel(number * _WIDTH, title, panel, colours[number])
    return "\n".join([*parts, "</g></svg>"]) + "\n"


def _panel(left: float, title: str, curves: Sequence[Curve], names: Sequence[str]) -> list[str]:
    x = _Axis([size for curve in curves for size, _ in curve.points], left + _LEFT, left + _WIDTH - _RIGHT)
    costs = [math.log10(cost) for curve in curves for _, cost in curve.points]
    lowest = math.floor(min(costs))
    y = _Axis([10.0**lowest, 10.0 ** max(math.ceil(max(costs)), lowest + 1)], _TOP + _PLOT_HEIGHT, _TOP)
    middle = (x.start + x.end) / 2
    parts = [
        f'<text x="{middle}" y="{_TOP - 14}" text-anchor="middle" font-weight="bold">{escape(title.partition(": ")[0])}</text>'
    ]
    for size in x.ticks():
        parts += [
            f'<path d="M{x.at(size):.1f} {y.start}V{y.end}" stroke="#e4e4e4"/>',
            f'<text x="{x.at(size):.1f}" y="{y.start + 17}" text-anchor="middle">{_amount(size)}</text>',
        ]
    for cost in y.ticks():
        parts += [
            f'<path d="M{x.start} {y.at(cost):.1f}H{x.end}" stroke="#e4e4e4"/>',
            f'<text x="{x.start - 6}" y="{y.at(cost) + 4:.1f}" text-anchor="end">{shown(cost, "s")}</text>',
        ]
    parts += [
        f'<path d="M{x.start} {y.end}V{y.start}H{x.end}" fill="none" stroke="#222"/>',
        f'<text x="{middle}" y="{y.start + 36}" text-anchor="middle">{escape(title.partition(": ")[2])}</text>',
        f'<text transform="translate({left + 14} {(y.start + y.end) / 2}) rotate(-90)" text-anchor="middle">time</text>',
    ]
    for curve in curves:
        colour = _COLOURS[names.index(curve.name) % len(_COLOURS)]
        line = " ".join(f"{x.at(size):.1f},{y.at(cost):.1f}" for size, cost in curve.points)
        dashes = ' stroke-dasharray="5 4" opacity="0.75"' if curve.upstream else ""
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
        if not curve.upstream:
            parts += [f'<circle cx="{x.at(s):.1f}" cy="{y.at(c):.1f}" r="3" fill="{colour}"/>' for s, c in curve.points]
    for number, name in enumerate(names):
        line_y = y.start + 58 + number * _LEGEND_LINE
        colour = _COLOURS[number % len(_COLOURS)]
        parts += [
            f'<path d="M{x.start} {line_y - 4}h22" stroke="{colour}" stroke-width="2"/>',
            f'<text x="{x.start + 29}" y="{line_y}">{escape(name)}</text>',
        ]
    return parts


class _Axis:
    """A logarithmic axis between two places on the page, with a line at every power of ten."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self.start, self.end = start, end
        self.low = math.log10(min(values))
        self.high = math.log10(max(values))

    def at(self, value: float) -> float:
        return self.start + (math.log10(value) - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        return [10.0**power for power in range(math.ceil(self.low), math.floor(self.high) + 1)]


def _amount(size: float) -> str:
    for scale, name in ((10**6, "M"), (10**3, "k")):
        if size >= scale:
            return f"{size / scale:g} {name}"
    return f"{size:g}"
