"""Where on heads marks may be seen, and laying them there, compiled: what ``faces`` says in tensors, for one frame.

Of the cells that show a head's front a tenth are marked; only those are worth asking the painter about.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cutscene_model.bands import in_bands, kernel
from cutscene_model.faces import (
    BRIGHTER,
    CENTER,
    FRONT,
    IRRADIANCE,
    LIFTS,
    LONGEST,
    MARK_CELLS,
    REACH,
    SECANTS,
    SKULL_CELLS,
    SKULL_HIGH,
    SKULL_LOW,
    SKULL_STEP,
    UNKNOWN_SKULL,
    FaceEncoder,
)
from cutscene_model.greybox import Greybox, Shown
from cutscene_model.primitives import HEAD_PART
from cutscene_model.scene import FloatArray
from cutscene_model.surface import GreyboxBatch

_ZERO, _ONE = np.float32(0), np.float32(1)
_CENTER, _REACH, _LOW = (tuple(np.float32(v) for v in pair) for pair in (CENTER, REACH, SKULL_LOW))
_PER_METRE = tuple(
    np.float32((SKULL_CELLS - 1) / (high - low)) for low, high in zip(SKULL_LOW, SKULL_HIGH, strict=True)
)
_MARKS_PER_METRE = tuple(np.float32(MARK_CELLS / 2 / reach) for reach in REACH)
_LAST_CELL, _STEP = np.float32(SKULL_CELLS - 1.001), np.float32(SKULL_STEP)
_MOUTH, _EYE = (np.float32(height) for height, _ in LIFTS[:2])
_MOUTH_LIFT, _EYE_LIFT, _BROW_LIFT = (np.float32(lift) for _, lift in LIFTS)
_FRONT, _LONGEST, _BRIGHTER = np.float32(FRONT), np.float32(LONGEST), np.float32(BRIGHTER)
_FLATTEST, _SHORTEST, _DARKEST, _GENTLEST = np.float32(0.3), np.float32(1e-5), np.float32(1e-3), np.float32(-0.1)
_LEAST, _MOST = 64, 512  # cells that the painter is asked about at a time, in multiples of the first


def shown(greybox: Greybox | GreyboxBatch) -> Shown:
    """What a greybox, or a batch of one, shows, row by row."""
    whole = (
        value[0].numpy() if isinstance(value, Tensor) else value
        for value in (getattr(greybox, field.name) for field in fields(Shown))
    )
    return Shown(*(value.reshape(*value.shape[:-2], -1) for value in whole))


@dataclass(frozen=True, slots=True)
class Cast:
    """Who has the heads that are shown."""

    actors: FloatArray  # as both are in ``Greybox``
    viewpoints: FloatArray
    costume: Tensor  # (65,) by slot


def cast_of(greybox: GreyboxBatch, costume: Tensor) -> Cast:
    """The cast of a batch of one; ``costume`` (1, 65)."""
    return Cast(greybox.actors[0].numpy(), greybox.viewpoints[0].numpy(), costume[0])


@dataclass(frozen=True, slots=True)
class Marked:
    """The n of what is shown that may show marks."""

    at: npt.NDArray[np.int64]  # (n,) which
    place: FloatArray  # (n, 2) seen from the front, metres in the head's frame
    person: npt.NDArray[np.int64]  # (n,) cast index


def find_marked(faces: FaceEncoder, seen: Shown, cast: Cast) -> Marked:
    """Where marks may be seen on the heads of a cast."""
    count = len(seen.slot)
    places, found = np.empty((count, 2), np.float32), np.zeros(count, np.bool_)
    given = (
        seen.slot, seen.part, seen.field, cast.costume.numpy(), cast.viewpoints,
        faces.skulls.numpy(), faces.marked.numpy(), cast.actors[:, :-1].argmax(axis=-1),
    )  # fmt: skip
    in_bands(count, lambda first, last: _find(first, last, *given, places, found), count)
    at = np.flatnonzero(found)
    return Marked(at, places[at], seen.slot[at].astype(np.int64) - 1)


def lay_marks(faces: FaceEncoder, albedo: FloatArray, seen: Shown, cast: Cast) -> None:
    """Paints faces over the ``albedo`` (n, 3) of what is seen, as ``faces`` does."""
    marked = find_marked(faces, seen, cast)
    if not len(marked.at):
        return
    actors = torch.tensor(cast.actors)
    state = faces.mood(actors.to(faces.mood.weight.dtype)) + faces.wearer(cast.costume[1 : 1 + len(actors)])
    # They come in pieces of few lengths, the last filled up: oneDNN makes a kernel for each length, which takes longer
    # than painting, and keeps few.
    count = len(marked.at)
    rows = np.minimum(np.arange(-(-count // _LEAST) * _LEAST), count - 1)
    # In torch's own memory: see ``tensors``.
    place, person = torch.tensor(marked.place[rows]), torch.tensor(marked.person[rows])
    pieces = zip(place.split(_MOST), person.split(_MOST), strict=True)
    paint = torch.cat([faces.painted(near - near.new_tensor(CENTER), state[who]) for near, who in pieces])
    _lay(marked.at, paint.numpy(), seen.field, seen.sheet, albedo)


@kernel
def _find(  # type: ignore[no-untyped-def]
    first, last, slot, part, field, costume, eyes, skulls, marked, moods, places, found
):
    for at in range(first, last):
        if part[at] != HEAD_PART:
            continue
        x, y, z = field[1, at], field[2, at], field[3, at]
        if z <= _FRONT:
            continue
        if abs(x - _CENTER[0]) >= _REACH[0] or abs(y - _CENTER[1]) >= _REACH[1]:
            continue
        who = slot[at]
        wearer, eye = costume[who], eyes[who - 1]
        bx, by, bz = eye[0] - x, eye[1] - y, eye[2] - z
        scale = _ONE / max(np.sqrt(bx * bx + by * by + bz * bz), np.float32(1e-12))
        bx, by, bz = bx * scale, by * scale, bz * scale
        z -= _MOUTH_LIFT if y < _MOUTH else _EYE_LIFT if y < _EYE else _BROW_LIFT
        way = _ZERO
        before = _skull(x, y, wearer, skulls) - z
        if not np.isnan(before):
            if before < _ZERO:  # hidden
                continue
            following = before / max(bz, _FLATTEST)
            for _ in range(SECANTS):
                following = min(max(following, _ZERO), _LONGEST)
                after = _skull(x + following * bx, y + following * by, wearer, skulls) - (z + following * bz)
                slope = (after - before) / max(following - way, _SHORTEST)
                way, before = following, after
                following = _ZERO if np.isnan(slope) else way - after / min(slope, _GENTLEST)
            way = min(max(following, _ZERO), _LONGEST)
        px, py = x + way * bx, y + way * by
        i = min(max(np.int32((py - _CENTER[1] + _REACH[1]) * _MARKS_PER_METRE[1]), 0), MARK_CELLS - 1)
        j = min(max(np.int32((px - _CENTER[0] + _REACH[0]) * _MARKS_PER_METRE[0]), 0), MARK_CELLS - 1)
        if marked[wearer, moods[who - 1], i, j]:
            places[at, 0], places[at, 1] = px, py
            found[at] = True


@kernel
def _skull(x, y, wearer, skulls):  # type: ignore[no-untyped-def]
    """How far forward a skull lies, metres; not a number where that is not known."""
    x = min(max((x - _LOW[0]) * _PER_METRE[0], _ZERO), _LAST_CELL)
    y = min(max((y - _LOW[1]) * _PER_METRE[1], _ZERO), _LAST_CELL)
    i, j = np.int32(y), np.int32(x)
    x, y = x - np.float32(j), y - np.float32(i)
    a, b, c, d = skulls[wearer, i, j], skulls[wearer, i, j + 1], skulls[wearer, i + 1, j], skulls[wearer, i + 1, j + 1]
    if min(a, b, c, d) == UNKNOWN_SKULL:
        return np.float32(np.nan)
    low = np.float32(a) + (np.float32(b) - np.float32(a)) * x
    high = np.float32(c) + (np.float32(d) - np.float32(c)) * x
    return (low + (high - low) * y) * _STEP


@kernel
def _lay(marked, paint, field, sheet, albedo):  # type: ignore[no-untyped-def]
    for n in range(len(marked)):
        at, cover = marked[n], paint[n, 3]
        for color in range(3):
            skull = max(field[IRRADIANCE[color], at], _DARKEST)
            brighter = min(sheet[color, at] / skull, _BRIGHTER)
            under = albedo[at, color]
            albedo[at, color] = under + cover * (paint[n, color] * paint[n, color] * brighter - under)
