"""Charts as inline SVG, drawn by hand: lines over frames, dots in rows, shares of a whole.

Colours are the page's own custom properties (``--s1`` and so on), so that charts follow its light or dark theme.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 760, 220
Scale = Callable[[float], float]  # from a value to a place in the drawing
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 24, 20, 34


@dataclass(frozen=True)
class Line:
    """One series; a NaN breaks it."""

    label: str
    points: Sequence[tuple[float, float]]
    color: int  # 1 to 6, of the page's series colours
    dashed: bool = False


def line_chart(
    lines: Sequence[Line],
    x_label: str,
    y_label: str,
    marks: Sequence[float] = (),
    bands: Sequence[tuple[float, float, str]] = (),
    from_zero: bool = False,
) -> str:
    """``marks`` are places on the x axis with a thin line (cuts); ``bands`` are stretches of it with a name."""
    places = [x for line in lines for x, _ in line.points]
    values = [y for line in lines for _, y in line.points if not math.isnan(y)]
    if not values:
        return "<p>Nothing to plot.</p>"
    x_low, x_high = min(places), max(places)
    y_low, y_high = (0.0 if from_zero else min(values)), max(values)
    x_high, y_high = max(x_high, x_low + 1e-9), max(y_high, y_low + 1e-9)
    margin = 0.06 * (y_high - y_low)
    y_low, y_high = (y_low if from_zero else y_low - margin), y_high + margin

    def at_x(x: float) -> float:
        return _LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - _LEFT - _RIGHT)

    def at_y(y: float) -> float:
        return HEIGHT - _BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - _TOP - _BOTTOM)

    floor = HEIGHT - _BOTTOM
    parts = []
    for start, end, name in bands:
        left, right = at_x(start), at_x(end)
        parts.append(
            f'<rect class="band" x="{left:.1f}" y="{_TOP}" width="{right - left:.1f}" height="{floor - _TOP}"/>'
        )
        parts.append(f'<text class="note" x="{(left + right) / 2:.1f}" y="{_TOP - 6}">{html.escape(name)}</text>')
    for tick in ticks(y_low, y_high):
        y = at_y(tick)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}"/>')
        parts.append(f'<text class="y" x="{_LEFT - 6}" y="{y + 4:.1f}">{_number(tick)}</text>')
    parts += [
        f'<text class="x" x="{at_x(tick):.1f}" y="{floor + 15}">{_number(tick)}</text>'
        for tick in ticks(x_low, x_high, 8)
    ]
    parts += [f'<path class="cut" d="M{at_x(x):.1f} {_TOP}V{floor}"/>' for x in marks if x_low < x < x_high]
    for line in lines:
        dash = ' stroke-dasharray="5 4"' if line.dashed else ""
        parts.append(
            f'<path class="line" style="stroke:var(--s{line.color})"{dash} d="{_path(line.points, at_x, at_y)}"/>'
        )
    parts.append(f'<text class="x" x="{(_LEFT + WIDTH - _RIGHT) / 2}" y="{HEIGHT - 4}">{html.escape(x_label)}</text>')
    return f'{legend(lines)}<p class="unit">{html.escape(y_label)}</p>{_svg(HEIGHT, x_label + ": " + y_label, parts)}'


def legend(lines: Sequence[Line]) -> str:
    """Names beside their colours."""
    items = [
        f'<span><i style="border-color:var(--s{line.color});border-top-style:{"dashed" if line.dashed else "solid"}">'
        f"</i>{html.escape(line.label)}</span>"
        for line in lines
    ]
    return f'<p class="legend">{"".join(items)}</p>'


def _path(points: Sequence[tuple[float, float]], at_x: Scale, at_y: Scale) -> str:
    steps, pen = [], "M"
    for x, y in points:
        if math.isnan(y):
            pen = "M"
            continue
        steps.append(f"{pen}{at_x(x):.1f} {at_y(y):.1f}")
        pen = "L"
    return "".join(steps)


@dataclass(frozen=True)
class Dot:
    """One figure of a row."""

    label: str
    value: float
    color: int
    hollow: bool = False


def dot_chart(rows: Sequence[tuple[str, Sequence[Dot]]], unit: str) -> str:
    """A row of dots for each name: where figures of different kinds lie on one axis."""
    values = [dot.value for _, dots in rows for dot in dots]
    low, high = min(values), max(values)
    low, high = low - 0.04 * (high - low) - 0.2, high + 0.04 * (high - low) + 0.2
    left, height = 120, 28 * len(rows) + 44

    def at(value: float) -> float:
        return left + (value - low) / (high - low) * (WIDTH - left - 16)

    parts = []
    for tick in ticks(low, high, 8):
        parts.append(f'<path class="grid" d="M{at(tick):.1f} 6V{height - 34}"/>')
        parts.append(f'<text class="x" x="{at(tick):.1f}" y="{height - 20}">{_number(tick)}</text>')
    for index, (name, dots) in enumerate(rows):
        y = 24 + 28 * index
        span = [at(dot.value) for dot in dots]
        parts.append(f'<text class="y" x="{left - 12}" y="{y + 4}">{html.escape(name)}</text>')
        parts.append(f'<path class="grid strong" d="M{min(span):.1f} {y}H{max(span):.1f}"/>')
        for dot in dots:
            fill = "var(--page)" if dot.hollow else f"var(--s{dot.color})"
            parts.append(
                f'<circle cx="{at(dot.value):.1f}" cy="{y}" r="5.5" style="fill:{fill};stroke:var(--s{dot.color})">'
                f"<title>{html.escape(f'{name}, {dot.label}: {dot.value:.2f} {unit}')}</title></circle>"
            )
    parts.append(f'<text class="x" x="{(left + WIDTH) / 2}" y="{height - 4}">{html.escape(unit)}</text>')
    names = {dot.label: dot for _, dots in rows for dot in dots}
    key = "".join(
        f'<span><b style="border-color:var(--s{dot.color});background:'
        f'{"var(--page)" if dot.hollow else f"var(--s{dot.color})"}"></b>{html.escape(name)}</span>'
        for name, dot in names.items()
    )
    return f'<p class="legend">{key}</p>{_svg(height, unit, parts)}'


def share_chart(rows: Sequence[tuple[str, dict[str, float]]], colors: dict[str, int]) -> str:
    """For each row a bar of shares, which sum to one. ``colors`` has every part that there may be."""
    left, height = 120, 34 * len(rows) + 8
    parts = []
    for index, (name, shares) in enumerate(rows):
        y, x = 4 + 34 * index, float(left)
        parts.append(f'<text class="y" x="{left - 12}" y="{y + 17}">{html.escape(name)}</text>')
        for part, share in shares.items():
            width = share * (WIDTH - left - 4)
            drawn = f'x="{x:.1f}" y="{y}" width="{max(width - 1.5, 0):.1f}" height="26"'
            parts.append(
                f'<rect {drawn} style="fill:var(--s{colors[part]})">'
                f"<title>{html.escape(f'{part}: {share:.1%}')}</title></rect>"
            )
            if width > 34:
                parts.append(f'<text class="inside" x="{x + width / 2:.1f}" y="{y + 17}">{share:.0%}</text>')
            x += width
    key = "".join(
        f'<span><b style="border-color:var(--s{color});background:var(--s{color})"></b>{html.escape(part)}</span>'
        for part, color in colors.items()
    )
    return f'<p class="legend">{key}</p>{_svg(height, "shares", parts)}'


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers between ``low`` and ``high``, about as many as wanted."""
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _number(value: float) -> str:
    return f"{value:,.6g}"


def _svg(height: float, title: str, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{html.escape(title)}">{"".join(parts)}</svg>'
