"""Fits a few boxes to every look whose mesh leaves much of its bounding box empty: swords, torches, windows in walls.

The greybox draws these boxes instead of the one that the engine sends, in that one's own frame; so they follow whatever
size, place and turn the engine gives it. The result is part of the model: ``cutscene_model/shapes.json``.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from cutscene_model.scene import ElementClass
from cutscene_model.training.assets import ALL, Look
from cutscene_model.training.set_mesh import SetMeshes

CELLS = 40  # along the longest side of a look's box
MOST_BOXES = 6
WORTH_IT = 0.80  # looks that fill more of their box than this stay whole
SEEDS = 40
EMPTY_COST = 1.5  # of a covered empty cell, against the gain of one that is filled
LEAST_GAIN = 0.02  # of the filled cells, that a further box must cover

Filled = npt.NDArray[np.bool_]


def filled_cells(look: Look, meshes: SetMeshes) -> Filled:
    """Which cells of the look's box its mesh fills: its surface, and what lies between two surfaces.

    The meshes are open where nobody looks (a wall has no bottom), so "between" is along the look's shortest side, or
    along all three.
    """
    mesh = meshes.look_mesh(look.name)[0]
    low, high = np.array(look.low), np.array(look.high)
    size = np.maximum(high - low, 1e-6)
    counts = np.maximum(np.round(size / size.max() * CELLS), 3).astype(int)
    corners = (mesh.positions[mesh.triangles] - low) / size * counts
    filled = np.zeros(counts, np.bool_)
    for triangle in corners:
        steps = int(np.ceil(max(np.abs(triangle - np.roll(triangle, 1, axis=0)).max(), 1) * 2)) + 1
        u, v = np.meshgrid(np.linspace(0, 1, steps), np.linspace(0, 1, steps))
        inside = u + v <= 1 + 1e-9
        a, b, c = triangle
        points = a + u[inside, None] * (b - a) + v[inside, None] * (c - a)
        cells = np.clip(points.astype(int), 0, counts - 1)
        filled[tuple(cells.T)] = True
    between = []
    for axis in range(3):
        before = np.maximum.accumulate(filled, axis=axis)
        after = np.flip(np.maximum.accumulate(np.flip(filled, axis), axis=axis), axis)
        between.append(before & after)
    return filled | between[int(size.argmin())] | (between[0] & between[1] & between[2])


def fit_boxes(filled: Filled, random: np.random.Generator) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Boxes (low, high) in cells that cover the filled ones, greedily, each grown from some seeds face by face."""
    boxes: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = []
    left = filled.copy()
    total = filled.sum()
    # What is covered already costs nothing and gains nothing.
    value = np.where(filled, 1.0, -EMPTY_COST)
    while len(boxes) < MOST_BOXES and left.any():
        best_gain, best = 0.0, None
        cells = np.argwhere(left)
        for seed in cells[random.integers(0, len(cells), SEEDS)]:
            gain, low, high = _grown(value, seed)
            if gain > best_gain:
                best_gain, best = gain, (low, high)
        if best is None or (boxes and best_gain < LEAST_GAIN * total):
            break
        boxes.append(best)
        region = tuple(slice(a, b) for a, b in zip(*best, strict=True))
        left[region] = False
        value[region] = 0.0
    return boxes


def _grown(
    value: npt.NDArray[np.float64], seed: npt.NDArray[np.int64]
) -> tuple[float, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    low, high = seed.copy(), seed + 1
    gain = float(value[tuple(seed)])
    grew = True
    while grew:
        grew = False
        for axis in range(3):
            for side in (0, 1):
                for reach in (1, 2, 4):  # further steps look past a gap
                    start, end = low.copy(), high.copy()
                    if side:
                        start[axis], end[axis] = high[axis], min(high[axis] + reach, value.shape[axis])
                    else:
                        start[axis], end[axis] = max(low[axis] - reach, 0), low[axis]
                    if start[axis] == end[axis]:
                        continue
                    added = float(value[tuple(slice(a, b) for a, b in zip(start, end, strict=True))].sum())
                    if added > 0:
                        gain += added
                        low, high = np.minimum(low, start), np.maximum(high, end)
                        grew = True
                        break
    return gain, low, high


def fit_all(assets: Path) -> dict[str, list[list[float]]]:
    """For each look that is worth it, its boxes as centre and half extent in the frame of the look's box, -1 to 1."""
    meshes = SetMeshes(assets)
    shapes = {}
    for look in tqdm(ALL, unit="look", desc="fitting"):
        if len(look.parts) > 1 or look.element_class is ElementClass.FLOOR:
            continue  # the rooms' own boxes tell parts apart already, and floors are seen from above
        filled = filled_cells(look, meshes)
        if filled.mean() > WORTH_IT:
            continue
        rows = []
        for low, high in fit_boxes(filled, np.random.default_rng(0)):
            begin, end = low / filled.shape * 2 - 1, high / filled.shape * 2 - 1
            rows.append([round(float(x), 3) for x in (*((begin + end) / 2), *((end - begin) / 2))])
        shapes[look.name] = rows
    return shapes


def write_shapes(assets: Path, path: Path) -> None:
    """Fits all looks and writes them, one look a line."""
    lines = (f"  {json.dumps(name)}: {json.dumps(boxes)}" for name, boxes in fit_all(assets).items())
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="cutscene-train shapes", description="Fits boxes to the looks' meshes.")
    parser.add_argument(
        "--assets",
        default=os.environ.get("CUTSCENE_ASSETS"),
        help="folder of the art packs, with adventurers/ and dungeon/",
    )
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    options = parser.parse_args(arguments)
    if not options.assets:
        parser.error("--assets or CUTSCENE_ASSETS must name the folder of the asset packs")
    write_shapes(Path(options.assets), options.out)
    return 0
