"""The greybox: a scene state rasterised to a coarse control map that the model draws from.

It carries slots, parts, places and light, never looks: how slot 3 looks is known from the anchors only. At 256 x 144
each cell is a point sample of 2 x 2 pixels of the picture. Everything here is a pure function of (stage, shape
volumes, state).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cutscene_model.bands import in_bands, kernel
from cutscene_model.lighting import LIGHT_CHANNELS, ShadowMap, Sunlight, shade
from cutscene_model.primitives import HEAD_PART, Primitives, SceneShapes, joined
from cutscene_model.raycast import Hits, Rays, Sight, all_rays, camera_view, cast_rays, sight
from cutscene_model.scene import EMOTIONS, MAX_CAST, FloatArray, SceneState, Stage
from cutscene_model.vectors import rotation_matrix
from cutscene_model.volumes import Volumes

WIDTH, HEIGHT = 256, 144
ASPECT = 16 / 9

FIELD_CHANNELS: tuple[str, ...] = (
    "inverse_depth",  # 1 / (1 + metres); 0 where there is nothing
    "local_x", "local_y", "local_z",  # where on the box (-1 to 1), or from the bone's joint in its rest axes (metres)
    "normal_x", "normal_y", "normal_z",  # world
    *LIGHT_CHANNELS,
)  # fmt: skip
ACTOR_CHANNELS = len(EMOTIONS) + 1  # emotion one-hot times intensity, mouth opening
GLOBAL_CHANNELS = 17
_NEARER, _FARTHER = np.float32(0.94), np.float32(1.08)  # of what a cell's surroundings show, where pixels are refined
_FARTHEST = 30.0  # from a bone's joint, metres, that is still told apart


@dataclass(frozen=True, slots=True)
class Scene:
    """What a greybox was drawn from."""

    state: SceneState
    seen: Sight  # of the camera
    sun: Sunlight | None


@dataclass(frozen=True, slots=True)
class Shown:
    """What n rays show, each as in ``Greybox``."""

    slot: npt.NDArray[np.uint8]  # (n,)
    part: npt.NDArray[np.uint8]  # (n,)
    sample: npt.NDArray[np.int32]  # (n,)
    field: FloatArray  # (len(FIELD_CHANNELS), n)
    sheet: FloatArray  # (3, n)


@dataclass(frozen=True, slots=True)
class Greybox:
    """The control map of one scene state."""

    slot: npt.NDArray[np.uint8]  # (144, 256): 0 nothing, 1 to 4 the cast, 5 to 64 looks
    part: npt.NDArray[np.uint8]  # (144, 256): which bone; 0 nothing
    sample: npt.NDArray[np.int32]  # (144, 256): which sample of the shape volumes is seen; -1 where there is none
    field: FloatArray  # (len(FIELD_CHANNELS), 144, 256)
    sheet: FloatArray  # (3, 144, 256): the light on heads' marks, which are lit as one flat sheet; linear, halved
    actors: FloatArray  # (4, ACTOR_CHANNELS): faces by cast index, zero for those absent
    globals: FloatArray  # (GLOBAL_CHANNELS,): lights and lens
    viewpoints: FloatArray  # (4, 3): the camera's position in the frames of the cast's heads, metres
    camera: FloatArray  # (12,): position in tens of metres and rotation matrix, row by row
    scene: Scene


@dataclass(frozen=True, slots=True)
class Refined:
    """The pixels of some cells of a greybox, four of each, in the order of ``rays``."""

    cells: npt.NDArray[np.bool_]  # (144, 256): those that were refined
    rays: Rays  # of a raster of (288, 512)
    shown: Shown  # by these rays

    def spread(self, greybox: Greybox) -> Greybox:
        """``greybox`` as a raster of all pixels (288, 512), with nothing elsewhere."""
        shape = len(self.rays.starts) - 1, 2 * self.cells.shape[1]
        chosen = np.repeat(np.arange(shape[0]), np.diff(self.rays.starts)), self.rays.columns

        def raster(values: npt.NDArray[Any], nothing: int = 0) -> npt.NDArray[Any]:
            spread = np.full((*values.shape[:-1], *shape), nothing, values.dtype)
            spread[..., *chosen] = values
            return spread

        shown = self.shown
        return replace(
            greybox,
            slot=raster(shown.slot),
            part=raster(shown.part),
            sample=raster(shown.sample, -1),
            field=raster(shown.field),
            sheet=raster(shown.sheet),
        )


class GreyboxRaster:
    """Rasterises the states of one stage. The set's primitives and its sun shadows are kept between states."""

    def __init__(self, stage: Stage, volumes: Volumes) -> None:
        self._volumes = volumes
        self._shapes = SceneShapes(stage, volumes)
        self._still = self._shapes.still()
        self._shadows = ShadowMap(self._still, volumes)

    def draw(self, state: SceneState) -> Greybox:
        """The control map of ``state``: some ten milliseconds on two cores."""
        moving = self._shapes.moving(state)
        sun = self._shadows.cast(moving, state.lights) if max(state.lights.sun_color) > 0 else None
        view = camera_view(state.camera, WIDTH, HEIGHT, ASPECT)
        scene = Scene(state, sight(joined(self._still, moving), view), sun)
        rays = all_rays(WIDTH, HEIGHT)
        shown = _shown(scene, scene.seen, rays, cast_rays(scene.seen, self._volumes, rays))
        return Greybox(
            shown.slot.reshape(HEIGHT, WIDTH),
            shown.part.reshape(HEIGHT, WIDTH),
            shown.sample.reshape(HEIGHT, WIDTH),
            shown.field.reshape(-1, HEIGHT, WIDTH),
            shown.sheet.reshape(-1, HEIGHT, WIDTH),
            _faces(state),
            _globals(state),
            _viewpoints(scene.seen.primitives, view.origin),
            np.concatenate([view.origin / 10, view.rotation.reshape(-1)]).astype(np.float32),
            scene,
        )

    def refine(self, greybox: Greybox, cells: npt.NDArray[np.bool_]) -> Refined:
        """The same scene once more, twice as fine, in those of its ``cells`` (144, 256) that are true.

        What lies much nearer or farther than all that the cells around show is not looked for, which saves most of
        the work. All costs as much as there are such cells.
        """
        scene, seen = greybox.scene, greybox.scene.seen.twice_as_fine()
        counts = 2 * np.count_nonzero(cells, axis=1)
        starts = np.concatenate([[0], counts.repeat(2).cumsum()]).astype(np.int64)
        rays = Rays(np.empty(starts[-1], np.int32), starts)
        within = np.empty((2, len(rays)), np.float32)
        _pick(cells, greybox.field[0], rays.columns, rays.starts, within)
        return Refined(cells, rays, _shown(scene, seen, rays, cast_rays(seen, self._volumes, rays, within)))


def _shown(scene: Scene, seen: Sight, rays: Rays, hits: Hits) -> Shown:
    """What ``hits`` of ``rays`` show of ``scene``, as it is ``seen``."""
    primitives, count = seen.primitives, len(rays)
    slot, part = np.zeros(count, np.uint8), np.zeros(count, np.uint8)
    field, sheet = np.empty((len(FIELD_CHANNELS), count), np.float32), np.zeros((3, count), np.float32)
    hit = (hits.primitive, hits.depth, hits.grid, hits.normal)
    what = (primitives.slot, primitives.part, primitives.local_low, primitives.local_step)
    in_bands(count, lambda first, last: _describe(first, last, *hit, *what, slot, part, field), count)
    shade(field[7:], sheet, hits, rays, _sheets(primitives), seen.view, scene.state.lights, scene.sun)
    return Shown(slot, part, hits.sample, field, sheet)


@kernel
def _pick(cells, inverse_depth, columns, starts, within):  # type: ignore[no-untyped-def]
    """The columns of the four pixels of every cell, and between which depths the surroundings of the cell lie."""
    height, width = cells.shape
    for row in range(height):
        top, bottom = max(row - 1, 0), min(row + 1, height - 1)
        upper, lower = starts[2 * row], starts[2 * row + 1]
        for column in range(width):
            if not cells[row, column]:
                continue
            nearest, farthest = np.float32(0), np.float32(1)
            for i in range(top, bottom + 1):
                for j in range(max(column - 1, 0), min(column + 1, width - 1) + 1):
                    nearest, farthest = max(nearest, inverse_depth[i, j]), min(farthest, inverse_depth[i, j])
            first, last = np.float32(0), np.float32(0)
            if nearest > 0:  # else there is nothing around
                first = _NEARER * (1 / nearest - 1)
                last = _FARTHER * (1 / farthest - 1) if farthest > 0 else np.float32(1e9)
            for ray in (upper, upper + 1, lower, lower + 1):
                within[0, ray], within[1, ray] = first, last
            columns[upper] = columns[lower] = 2 * column
            columns[upper + 1] = columns[lower + 1] = 2 * column + 1
            upper, lower = upper + 2, lower + 2


@kernel
def _describe(  # type: ignore[no-untyped-def]
    first_ray, last_ray, primitive, depth, grid, normal, slots, parts, local_low, local_step, slot, part, field
):
    """Fills ``slot`` and ``part``, which are zero before, and all of ``field`` but the light, for some rays."""
    for ray in range(first_ray, last_ray):
        who = primitive[ray]
        if who < 0:
            for channel in range(7):
                field[channel, ray] = 0
            continue
        slot[ray], part[ray] = slots[who], parts[who]
        field[0, ray] = 1 / (1 + depth[ray])
        for axis in range(3):
            local = local_low[who, axis] + local_step[who, axis] * grid[ray, axis]
            field[1 + axis, ray] = min(max(local, -_FARTHEST), _FARTHEST)
            field[4 + axis, ray] = normal[ray, axis]


def _faces(state: SceneState) -> FloatArray:
    faces = np.zeros((MAX_CAST, ACTOR_CHANNELS), np.float32)
    for actor in state.actors:
        faces[actor.cast_index, actor.emotion] = actor.intensity
        faces[actor.cast_index, -1] = actor.mouth_open
    return faces


def _viewpoints(primitives: Primitives, eye: FloatArray) -> FloatArray:
    viewpoints = np.zeros((MAX_CAST, 3), np.float32)
    for head in np.flatnonzero(_heads(primitives)):
        grid = primitives.to_grid[head] @ (eye - primitives.origin[head])
        place = primitives.local_low[head] + primitives.local_step[head] * grid
        viewpoints[primitives.slot[head] - 1] = np.clip(place, -_FARTHEST, _FARTHEST)
    return viewpoints


def _sheets(primitives: Primitives) -> FloatArray:
    """(n, 3) where the heads among primitives look, world, unit; nil for others."""
    forward = primitives.to_world[:, :, 2]
    length = np.maximum(np.linalg.norm(forward, axis=1, keepdims=True), 1e-12)
    sheets: FloatArray = np.where(_heads(primitives)[:, None], forward / length, 0).astype(np.float32)
    return sheets


def _heads(primitives: Primitives) -> npt.NDArray[np.bool_]:
    heads: npt.NDArray[np.bool_] = (primitives.part == HEAD_PART) & (primitives.slot <= MAX_CAST)
    return heads


def _globals(state: SceneState) -> FloatArray:
    lights = state.lights
    rotation = rotation_matrix(np.asarray(state.camera.rotation, np.float32))
    points = np.zeros(3, np.float32)
    for point in lights.points:
        points += np.asarray(point.color, np.float32)
    return np.concatenate(
        [
            lights.ambient,
            lights.sun_color,
            lights.sun_direction,
            np.asarray(lights.sun_direction, np.float32) @ rotation,
            lights.background,
            [np.tan(state.camera.vertical_fov / 2)],
            [points.mean() / 10],
        ]
    ).astype(np.float32)
