"""Curves of a soak as one PNG, drawn with Pillow, which the client has for its own pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw
from soak_samples import Row

WIDTH, PANEL, LEFT, RIGHT, TOP, BOTTOM = 1100, 150, 90, 20, 26, 22
COLORS = ("#1f6fb2", "#c1482b", "#3a8a3f", "#8a5ab5")
INK, GRID, WARM = "#333333", "#dddddd", "#f3efe4"


def plot(rows: Sequence[Row], panels: Sequence[tuple[str, Sequence[str]]], spans: Sequence[tuple[str, float, float]],
         file: Path) -> None:  # fmt: skip
    """Each panel is a title and its series. ``spans``: named stretches of the time, shaded in turns."""
    image = Image.new("RGB", (WIDTH, PANEL * len(panels) + 24), "white")
    draw = ImageDraw.Draw(image)
    end = max(rows[-1]["at"], 1.0)

    def at_x(seconds: float) -> float:
        return LEFT + seconds / end * (WIDTH - LEFT - RIGHT)

    for number, (title, series) in enumerate(panels):
        top, floor = number * PANEL + TOP, (number + 1) * PANEL - BOTTOM
        values = [row[name] for row in rows for name in series]
        low, high = min(values), max(values)
        low, high = (0.0, high) if low < 0.5 * high or high == 0 else (low - 0.1 * (high - low), high)
        high = max(high, low + 1.0)
        for place, (name, begun, ended) in enumerate(spans):
            if place % 2 == 0:
                draw.rectangle((at_x(begun), top, at_x(ended), floor), fill=WARM)
            if number == 0:
                draw.text((at_x(begun) + 3, top + 2), name, fill="#999999")
        for part in range(5):
            value = low + (high - low) * part / 4
            y = floor - (floor - top) * part / 4
            draw.line((LEFT, y, WIDTH - RIGHT, y), fill=GRID)
            draw.text((LEFT - 8, y), f"{value:,.6g}" if high < 1e4 else f"{value:,.0f}", fill=INK, anchor="rm")
        draw.text((LEFT, top - 18), title, fill=INK)
        for place, name in enumerate(series):
            color = COLORS[place % len(COLORS)]
            points = [(at_x(row["at"]), floor - (row[name] - low) / (high - low) * (floor - top)) for row in rows]
            draw.line(points, fill=color, width=2)
            draw.text((WIDTH - RIGHT - 150 * (len(series) - place), top - 18), name, fill=color)
    for part in range(11):
        seconds = end * part / 10
        draw.text((at_x(seconds), PANEL * len(panels) + 4), f"{seconds / 60:.1f} min", fill=INK, anchor="mt")
    image.save(file)
