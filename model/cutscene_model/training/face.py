"""Brows, eyes and mouth on an actor's head: the pack has no face morphs, so emotion and speech are drawn shapes.

Brows, eyes and a mouth lie on the skull's own surface (a height field measured from the head mesh) and are reshaped for
each frame. They are larger than life, so that they survive a 32x autoencoder in medium shots.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cutscene_model.faces import LIFTS, SKULL_CELLS, SKULL_HIGH, SKULL_LOW
from cutscene_model.scene import EMOTIONS
from cutscene_model.training.costumes import costume_glb, head_origin, islands
from cutscene_model.training.motion import load_rig
from cutscene_model.training.set_mesh import PLAIN, SurfaceMesh

Floats = npt.NDArray[np.float64]

_BROW_STEPS = 5  # segments along a brow
_EYE_STEPS = 16  # corners of an eye
_MOUTH_STEPS = 16  # segments along the lips
_GRID = SKULL_CELLS  # resolution of the height field over the face
(_X_LOW, _Y_LOW), (_X_HIGH, _Y_HIGH) = SKULL_LOW, SKULL_HIGH
(_, _MOUTH_LIFT), (_, _EYE_LIFT), (_, _BROW_LIFT) = LIFTS  # the model looks for marks where they are drawn
_GLINT_LIFT, _TEETH_LIFT = 0.028, 0.032  # before eyes and mouth


@dataclass(frozen=True, slots=True)
class Expression:
    """The numbers that make a face, in metres on the head."""

    brow_raise: float = 0.0
    brow_inner: float = 0.0  # how far the inner end lies above the rest
    brow_outer: float = 0.0
    brow_arch: float = 0.015
    mouth_width: float = 0.135  # half width
    mouth_curve: float = 0.012  # how far the corners lie above the middle
    mouth_open: float = 0.0  # gap between the lips at the middle
    mouth_square: float = 0.0  # 0: almond, 1: the gap stays open to the corners
    eye_open: float = 1.0  # height of the eyes, of its usual

    def blend(self, other: Expression, weight: float) -> Expression:
        """Part of the way to another expression."""
        names = self.__dataclass_fields__
        mixed = {name: getattr(self, name) * (1 - weight) + getattr(other, name) * weight for name in names}
        return Expression(**mixed)


EXPRESSIONS: dict[str, Expression] = {
    "neutral": Expression(),
    "joy": Expression(0.035, 0.0, -0.02, 0.035, 0.18, 0.080, 0.065, 0.1, 0.8),
    "anger": Expression(-0.030, -0.060, 0.065, 0.0, 0.155, -0.045, 0.045, 0.9, 0.72),
    "sadness": Expression(0.010, 0.075, -0.050, -0.005, 0.120, -0.065, 0.0, 0.0, 0.75),
    "fear": Expression(0.055, 0.070, -0.03, 0.0, 0.145, -0.035, 0.065, 0.7, 1.25),
    "surprise": Expression(0.090, 0.0, -0.01, 0.040, 0.080, -0.01, 0.14, 0.35, 1.3),
}

MOUTH_COLOR = (0.075, 0.008, 0.010)
TEETH_COLOR = (0.80, 0.76, 0.68)
TONGUE_COLOR = (0.50, 0.10, 0.10)
EYE_COLOR = (0.008, 0.010, 0.020)
GLINT_COLOR = (0.85, 0.85, 0.85)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a costume's face carries brows, eyes and mouth, in the head's frame, and the colour of its brows."""

    brow_color: tuple[float, float, float]  # linear
    brow_height: float = 0.525
    brow_range: float = 1.0  # how freely the brows move: less under a low hairline
    brow_inner_x: float = 0.075
    brow_outer_x: float = 0.315
    brow_thickness: float = 0.065
    mouth_height: float = 0.175
    mouth_scale: float = 1.15


LAYOUTS: dict[str, Layout] = {
    "knight": Layout((0.20, 0.085, 0.025)),
    "mage": Layout((0.012, 0.010, 0.012), brow_range=0.8),
    "rogue": Layout((0.085, 0.020, 0.010), brow_range=0.8),
    "rogue_hooded": Layout((0.050, 0.016, 0.010), brow_height=0.475, brow_range=0.4, brow_thickness=0.052),
    "barbarian": Layout((0.16, 0.14, 0.12), brow_thickness=0.085),
}


class FaceMesh:
    """The face of one costume: fixed triangles whose corners move with the expression.

    ``heights`` (rows up, columns across) says how far forward the skull lies between ``SKULL_LOW`` and ``SKULL_HIGH``.
    """

    def __init__(self, heights: Floats, layout: Layout) -> None:
        self.heights = heights
        self._layout = layout
        per_brow, per_lip = 2 * (_BROW_STEPS + 1), 2 * (_MOUTH_STEPS + 1)
        pieces: list[npt.NDArray[np.int32]] = []
        colors: list[tuple[float, float, float]] = []
        for _ in range(2):
            pieces.append(_strip(_BROW_STEPS + 1, len(colors)))
            colors += [layout.brow_color] * per_brow
        for color in (EYE_COLOR, EYE_COLOR, GLINT_COLOR, GLINT_COLOR):
            pieces.append(_fan(_EYE_STEPS, len(colors)))
            colors += [color] * _EYE_STEPS
        for color in (MOUTH_COLOR, TEETH_COLOR, TONGUE_COLOR):
            pieces.append(_strip(_MOUTH_STEPS + 1, len(colors)))
            colors += [color] * per_lip
        self._triangles = np.concatenate(pieces)
        self._colors = np.array(colors, np.float32)

    @staticmethod
    @functools.cache
    def for_costume(assets_dir: Path, costume: str) -> FaceMesh:
        """The face that fits a costume's skull."""
        return FaceMesh(_height_field(assets_dir, costume), LAYOUTS[costume])

    def surface(self) -> SurfaceMesh:
        """Triangles and colours; places are filled in for each frame."""
        count = len(self._colors)
        paints = np.concatenate([self._colors, np.full((count, 1), PLAIN, np.float32)], axis=1)
        zeros = np.zeros((count, 3), np.float32)
        return SurfaceMesh(zeros, zeros, zeros, paints, self._triangles)

    def shaped(self, emotion: int, intensity: float, mouth_open: float) -> tuple[Floats, Floats]:
        """(F, 3) positions and (F, 3) normals in the head bone's frame."""
        face = EXPRESSIONS["neutral"].blend(EXPRESSIONS[EMOTIONS[emotion]], intensity)
        positions = np.concatenate([*self._brows(face), *self._eyes(face), *self._mouth(face, mouth_open)])
        normals = np.zeros_like(positions)
        normals[:, 2] = 1.0  # lit as one flat sheet: a legible mark rather than a shaded body
        return positions, normals

    def _brows(self, face: Expression) -> list[Floats]:
        layout = self._layout
        along = np.linspace(0.0, 1.0, _BROW_STEPS + 1)
        x = layout.brow_inner_x + (layout.brow_outer_x - layout.brow_inner_x) * along
        moved = face.brow_raise + face.brow_inner * (1 - along) + face.brow_outer * along
        middle = layout.brow_height + layout.brow_range * (moved + face.brow_arch * 4 * along * (1 - along))
        half = layout.brow_thickness / 2 * (1.0 - 0.45 * along**3)
        rows = []
        for side in (1.0, -1.0):
            # From left to right on both sides, or one brow would turn its back to the camera.
            order = slice(None) if side > 0 else slice(None, None, -1)
            rows.append(self._on_skull((side * x)[order], (middle + half)[order], _BROW_LIFT))
            rows.append(self._on_skull((side * x)[order], (middle - half)[order], _BROW_LIFT))
        return rows

    def _eyes(self, face: Expression) -> list[Floats]:
        angle = np.linspace(0.0, 2 * np.pi, _EYE_STEPS, endpoint=False)
        rows = []
        for side in (1.0, -1.0):
            x, y = side * 0.2 + 0.058 * np.cos(angle), 0.365 + 0.072 * face.eye_open * np.sin(angle)
            rows.append(self._on_skull(x, y, _EYE_LIFT))
        for side in (1.0, -1.0):
            x = side * 0.2 + 0.022 + 0.014 * np.cos(angle)
            rows.append(self._on_skull(x, 0.365 + 0.034 * face.eye_open + 0.015 * np.sin(angle), _GLINT_LIFT))
        return rows

    def _mouth(self, face: Expression, mouth_open: float) -> list[Floats]:
        layout = self._layout
        scale = layout.mouth_scale
        gap = (face.mouth_open + 0.17 * mouth_open) * scale
        # Speech pulls the corners in a little, as an O does.
        width = face.mouth_width * (1.0 - 0.22 * mouth_open) * scale
        s = np.linspace(-1.0, 1.0, _MOUTH_STEPS + 1)
        almond = np.sqrt(np.maximum(1.0 - s * s, 0.0))
        profile = almond * (1 - face.mouth_square) + np.minimum(almond * 1.6, 1.0) * face.mouth_square
        line = layout.mouth_height + face.mouth_curve * scale * (s * s - 0.35)
        lip = 0.017 * (0.5 + 0.5 * almond)
        upper = line + 0.35 * gap * profile + lip
        lower = line - 0.65 * gap * profile - lip
        x = s * width
        inside = 0.9 * x
        teeth_low = np.maximum(upper - lip * 0.9 - 0.42 * np.minimum(gap, 0.12) * profile, lower)
        tongue_high = np.minimum(lower + lip * 0.9 + 0.34 * np.maximum(gap - 0.05, 0.0) * profile, upper)
        return [
            self._on_skull(x, upper, _MOUTH_LIFT),
            self._on_skull(x, lower, _MOUTH_LIFT),
            self._on_skull(inside, upper - lip * 0.9, _TEETH_LIFT),
            self._on_skull(inside, np.minimum(teeth_low, upper - lip * 0.9), _TEETH_LIFT),
            self._on_skull(0.7 * x, np.maximum(tongue_high, lower + lip * 0.9), _TEETH_LIFT),
            self._on_skull(0.7 * x, lower + lip * 0.9, _TEETH_LIFT),
        ]

    def _on_skull(self, x: Floats, y: Floats, lift: float) -> Floats:
        column = (x - _X_LOW) / (_X_HIGH - _X_LOW) * (_GRID - 1)
        row = (y - _Y_LOW) / (_Y_HIGH - _Y_LOW) * (_GRID - 1)
        column, row = np.clip(column, 0, _GRID - 1.001), np.clip(row, 0, _GRID - 1.001)
        c, r = column.astype(int), row.astype(int)
        fc, fr = column - c, row - r
        h = self.heights
        top = h[r + 1, c] * (1 - fc) + h[r + 1, c + 1] * fc
        bottom = h[r, c] * (1 - fc) + h[r, c + 1] * fc
        return np.stack([x, y, bottom * (1 - fr) + top * fr + lift], axis=1)


def _strip(columns: int, first: int) -> npt.NDArray[np.int32]:
    """Triangles between an upper row of vertices and the lower row that follows it."""
    upper = np.arange(columns - 1) + first
    lower = upper + columns
    quads = np.stack([upper, lower, lower + 1, upper, lower + 1, upper + 1], axis=1)
    return quads.reshape(-1, 3).astype(np.int32)


def _fan(corners: int, first: int) -> npt.NDArray[np.int32]:
    """Triangles of a convex outline."""
    rest = np.arange(1, corners - 1) + first
    return np.stack([np.full_like(rest, first), rest, rest + 1], axis=1).astype(np.int32)


def _height_field(assets_dir: Path, costume: str) -> Floats:
    """(rows up, columns across) how far forward the head's surface lies, seen from the front."""
    glb = costume_glb(assets_dir, costume)
    node = next(index for index, spec in enumerate(glb.nodes) if "mesh" in spec and "_Head" in spec["name"])
    rig = load_rig(assets_dir)
    head = head_origin(rig)
    mesh = glb.mesh(node)
    # The skull alone, the largest piece: nose, ears and brows would dent what lies on it.
    labels = islands(mesh)
    skull = mesh.triangles[labels == np.bincount(labels).argmax()]
    corners = (mesh.positions.astype(np.float64) - head)[skull]  # (T, 3, 3)
    xs, ys = np.linspace(_X_LOW, _X_HIGH, _GRID), np.linspace(_Y_LOW, _Y_HIGH, _GRID)
    field = np.full((_GRID, _GRID), -1.0)
    for a, b, c in corners:
        area = (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])
        if abs(area) < 1e-9:
            continue
        columns = np.flatnonzero((xs >= min(a[0], b[0], c[0])) & (xs <= max(a[0], b[0], c[0])))
        rows = np.flatnonzero((ys >= min(a[1], b[1], c[1])) & (ys <= max(a[1], b[1], c[1])))
        if not len(columns) or not len(rows):
            continue
        x, y = np.meshgrid(xs[columns], ys[rows])
        u = ((b[0] - x) * (c[1] - y) - (c[0] - x) * (b[1] - y)) / area
        v = ((c[0] - x) * (a[1] - y) - (a[0] - x) * (c[1] - y)) / area
        z = u * a[2] + v * b[2] + (1 - u - v) * c[2]
        inside = (u >= -1e-6) & (v >= -1e-6) & (u + v <= 1 + 1e-6)
        block = field[np.ix_(rows, columns)]
        field[np.ix_(rows, columns)] = np.where(inside, np.maximum(block, z), block)
    smooth: Floats = ndimage.gaussian_filter(np.where(field < 0.0, 0.3, field), 2.0)
    return smooth
