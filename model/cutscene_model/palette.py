"""Which colours a stage's surfaces have under white light: what a reference picture's colours are compared with."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cutscene_model.primitives import set_slots
from cutscene_model.scene import FloatArray, Stage
from cutscene_model.volumes import Volumes

# Mean colour, its deviation, how much of it there is, whether an actor wears it, whether it is a prop.
PALETTE_CHANNELS = 9
_UNKNOWN: FloatArray = np.array([0.5, 0.5, 0.5, 0.0, 0.0, 0.0], np.float32)
_ACTORS_AREA = 6.0  # square metres: about that of a crate of their size
_SAMPLES = 4096  # of a volume: colours are few and repeat


def paint_colors(volumes: Volumes) -> dict[str, FloatArray]:
    """Of every look and costume that has shape volumes the mean and the deviation of its paint: (6,) sRGB, 0 to 1."""
    found: dict[str, list[FloatArray]] = {}
    counts = volumes.sizes.astype(np.int64).prod(axis=-1)
    for name, first, count in zip(volumes.names, volumes.first, counts, strict=True):
        paint = volumes.paint[first : first + count, :3]
        painted = np.flatnonzero(paint[:, 0] | paint[:, 1] | paint[:, 2])
        chosen = paint[painted[:: max(1, len(painted) // _SAMPLES)]]
        found.setdefault(name.partition(":")[0], []).append((chosen / 255).astype(np.float32))
    joined = {name: np.concatenate(parts) for name, parts in found.items()}
    return {name: np.concatenate([x.mean(axis=0), x.std(axis=0)]) for name, x in joined.items() if len(x)}


def palette(stage: Stage, colors: Mapping[str, FloatArray]) -> FloatArray:
    """A row for each member of the cast and each distinct look of set and props, (n, PALETTE_CHANNELS) float32.

    ``colors`` as of ``paint_colors``; what is not there counts as grey.
    """
    looks, elements, props = set_slots(stage)
    first = min((*elements, *props), default=0)
    area, moves = np.zeros(len(looks)), np.zeros(len(looks))
    sizes = [*(e.box.half_extent for e in stage.elements), *(p.half_extent for p in stage.props)]
    for slot, (x, y, z) in zip((*elements, *props), sizes, strict=True):
        area[slot - first] += 8 * (x * y + y * z + z * x)
    moves[[slot - first for slot in props]] = 1
    rows = [_row(colors, one.costume, one.tint, _ACTORS_AREA, 1, 0) for one in stage.cast]
    rows += [
        _row(colors, look, tint, float(area[place]), 0, float(moves[place]))
        for place, (_, look, tint) in enumerate(looks)
    ]
    return np.stack(rows) if rows else np.zeros((0, PALETTE_CHANNELS), np.float32)


def _row(
    colors: Mapping[str, FloatArray],
    name: str,
    tint: tuple[float, float, float],
    area: float,
    actor: float,
    prop: float,
) -> FloatArray:
    shown = colors.get(name, _UNKNOWN) * np.array((*tint, *tint))
    row: FloatArray = np.array([*shown, np.log(area + 0.1) / 3, actor, prop], np.float32)
    return row
