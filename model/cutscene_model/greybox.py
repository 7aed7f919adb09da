"""The greybox: a scene state rasterised to a coarse control map that the model draws from.

It carries slots, parts, places and light, never looks: how slot 3 looks is known from the anchors only. At 256 x 144
each cell is a point sample of 2 x 2 pixels of the picture. Everything here is a pure function of (stage, shape
volumes, state).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cutscene_model.bands import in_bands, kernel
from cutscene_model.lighting import LIGHT_CHANNELS, ShadowMap, Sunlight, shade
from cutscene_model.primitives import HEAD_PART, Primitives, SceneShapes, joined
from cutscene_model.raycast import Hits, View, camera_view, cast_rays
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
    primitives: Primitives
    sun: Sunlight | None


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
        primitives, view = joined(self._still, moving), camera_view(state.camera, WIDTH, HEIGHT, ASPECT)
        scene, hits = Scene(state, primitives, sun), cast_rays(primitives, view, self._volumes)
        return Greybox(
            *_described(scene, hits, view, whole=True),
            _faces(state),
            _globals(state),
            _viewpoints(primitives, view.origin),
            np.concatenate([view.origin / 10, view.rotation.reshape(-1)]).astype(np.float32),
            scene,
        )

    def refine(self, greybox: Greybox, cells: npt.NDArray[np.bool_]) -> Greybox:
        """The same scene once more, twice as fine (288, 512), in those of its ``cells`` (144, 256) that are true.

        What lies much nearer or farther than all that the cells around show is not looked for, which saves most of
        the work. Elsewhere it shows nothing.
        """
        scene = greybox.scene
        within = np.empty((2, HEIGHT, WIDTH), np.float32)
        in_bands(HEIGHT, lambda first, last: _reach(first, last, cells, greybox.field[0], within))
        view = camera_view(scene.state.camera, 2 * WIDTH, 2 * HEIGHT, ASPECT)
        wanted = cells.repeat(2, axis=0).repeat(2, axis=1)
        hits = cast_rays(scene.primitives, view, self._volumes, wanted, within)
        slot, part, sample, field, sheet = _described(scene, hits, view, whole=False)
        return replace(greybox, slot=slot, part=part, sample=sample, field=field, sheet=sheet)


def _described(
    scene: Scene, hits: Hits, view: View, *, whole: bool
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.int32], FloatArray, FloatArray]:
    """What ``hits``, of the rays of ``view``, show of ``scene``: slot, part, sample, field and sheet of a ``Greybox``.

    Unless ``whole``, field and sheet are not filled where there is nothing, which costs more than the rest.
    """
    primitives = scene.primitives
    shape = view.height, view.width
    field = np.empty((len(FIELD_CHANNELS), *shape), np.float32)
    slot, part = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    seen = (hits.primitive, hits.depth, hits.grid, hits.normal)
    what = (primitives.slot, primitives.part, primitives.local_low, primitives.local_step)
    in_bands(view.height, lambda first, last: _describe(first, last, *seen, *what, whole, slot, part, field))
    sheet = (np.zeros if whole else np.empty)((3, *shape), np.float32)
    shade(field[7:], sheet, hits, _sheets(primitives), view, scene.state.lights, scene.sun, whole=whole)
    return slot, part, hits.sample, field, sheet


@kernel
def _reach(first_row, last_row, cells, inverse_depth, within):  # type: ignore[no-untyped-def]
    """Between which depths the surroundings of each cell lie; nowhere where it is not wanted."""
    height, width = cells.shape
    for row in range(first_row, last_row):
        top, bottom = max(row - 1, 0), min(row + 1, height - 1)
        for column in range(width):
            within[0, row, column], within[1, row, column] = 0, 0
            if not cells[row, column]:
                continue
            nearest, farthest = np.float32(0), np.float32(1)
            for i in range(top, bottom + 1):
                for j in range(max(column - 1, 0), min(column + 1, width - 1) + 1):
                    nearest, farthest = max(nearest, inverse_depth[i, j]), min(farthest, inverse_depth[i, j])
            if nearest > 0:  # else there is nothing around
                within[0, row, column] = _NEARER * (1 / nearest - 1)
                within[1, row, column] = _FARTHER * (1 / farthest - 1) if farthest > 0 else np.float32(1e9)


@kernel
def _describe(  # type: ignore[no-untyped-def]
    first_row, last_row, primitive, depth, grid, normal, slots, parts, local_low, local_step, whole, slot, part, field
):
    """Fills ``slot`` and ``part``, which are zero before, and all of ``field`` but the light, for some rows."""
    for row in range(first_row, last_row):
        for column in range(primitive.shape[1]):
            who = primitive[row, column]
            if who < 0:
                for channel in range(7 if whole else 0):
                    field[channel, row, column] = 0
                continue
            slot[row, column], part[row, column] = slots[who], parts[who]
            field[0, row, column] = 1 / (1 + depth[row, column])
            for axis in range(3):
                local = local_low[who, axis] + local_step[who, axis] * grid[row, column, axis]
                field[1 + axis, row, column] = min(max(local, -_FARTHEST), _FARTHEST)
                field[4 + axis, row, column] = normal[row, column, axis]


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
