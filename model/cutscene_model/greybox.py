"""The greybox: a scene state rasterised to a coarse control map that the denoiser is conditioned on.

It carries slots, parts, places and light, never looks: how slot 3 looks is known from the anchors only. At 128 x 72
each cell is a point sample of 4 x 4 pixels of the picture. Everything here is a pure function of (stage, state).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cutscene_model.primitives import BOX_PART, Primitives, joined, moving_primitives, set_primitives, set_slots
from cutscene_model.raycast import Hits, View, camera_view, cast_rays, gathered, light_view, mapped, ray_grid
from cutscene_model.scene import EMOTIONS, MAX_CAST, FloatArray, Lights, SceneState, Stage
from cutscene_model.vectors import rotation_matrix

WIDTH, HEIGHT = 128, 72
ASPECT = 16 / 9

FIELD_CHANNELS: tuple[str, ...] = (
    "inverse_depth",  # 1 / (1 + metres); 0 where there is nothing
    "local_x", "local_y", "local_z",  # where on the box (-1 to 1) or around the bone (radii)
    "normal_x", "normal_y", "normal_z",  # world
    "world_x", "world_y", "world_z",  # tens of metres
    "ray_x", "ray_y", "ray_z",  # the viewing direction in the primitive's own axes, unit
    "sun",  # cosine to the sun where it is not shadowed
    "shadow",  # 1 where the sun reaches
    "irradiance_r", "irradiance_g", "irradiance_b",  # all lights together, linear, halved; the background's own colour
)  # fmt: skip
ACTOR_CHANNELS = len(EMOTIONS) + 1  # emotion one-hot times intensity, mouth opening
GLOBAL_CHANNELS = 17

SHADOW_SIZE = 112
SHADOW_BIAS = 0.12  # metres, about one cell of the shadow map
AMBIENT_UP, AMBIENT_SIDE = 0.3, 0.7  # how much of the ambient light depends on facing up


@dataclass(frozen=True, slots=True)
class Greybox:
    """The control map of one scene state."""

    slot: npt.NDArray[np.uint8]  # (72, 128): 0 nothing, 1 to 4 the cast, 5 to 64 looks
    part: npt.NDArray[np.uint8]  # (72, 128): which bone, or which face of a box; 0 nothing
    field: npt.NDArray[np.float16]  # (len(FIELD_CHANNELS), 72, 128)
    actors: FloatArray  # (4, ACTOR_CHANNELS): faces by cast index, zero for those absent
    globals: FloatArray  # (GLOBAL_CHANNELS,): lights and lens
    camera: FloatArray  # (12,): position in tens of metres and rotation matrix, row by row


class GreyboxRaster:
    """Rasterises the states of one stage. The set's primitives and its sun shadows are kept between states."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._static = set_primitives(stage)
        self._prop_slots = set_slots(stage)[2]
        casters = self._static.casts_shadow
        self._static_casters = _subset(self._static, casters)
        low, high = _extent(self._static)
        self._center = ((low + high) / 2).astype(np.float32)
        self._radius = max(float(np.linalg.norm(high - low)) / 2, 1.0)
        self._shadow_key: tuple[float, float, float] | None = None
        self._static_shadow = np.empty(0, np.float32)

    def draw(self, state: SceneState) -> Greybox:
        """The control map of ``state``: a few milliseconds on one core."""
        moving = moving_primitives(self._stage, state, self._prop_slots)
        primitives = joined(self._static, moving)
        view = camera_view(state.camera, WIDTH, HEIGHT, ASPECT)
        hits = cast_rays(primitives, view)
        field, seen, normal, world, part_seen = self._surface(primitives, view, hits)
        lights = state.lights
        sx, sy, sz = lights.sun_direction
        facing = np.maximum(-(normal[0] * sx + normal[1] * sy + normal[2] * sz), 0).astype(np.float32)
        lit = np.zeros(len(facing), np.float32)
        if max(lights.sun_color) > 0:
            # Only what faces the sun can be in its light.
            toward = facing > 0
            lit[toward] = self._sunlit(moving, lights, world[:, toward] + SHADOW_BIAS * normal[:, toward])
        field[13, seen] = facing * lit
        field[14, seen] = lit
        field[15:18] = linear_from_srgb(np.asarray(lights.background, np.float32))[:, None] / 2
        field[15:18, seen] = _irradiance(lights, normal, world, facing * lit) / 2
        slot = np.zeros(WIDTH * HEIGHT, np.uint8)
        part = np.zeros(WIDTH * HEIGHT, np.uint8)
        slot[seen] = primitives.slot[hits.primitive[seen]]
        part[seen] = part_seen
        return Greybox(
            slot.reshape(HEIGHT, WIDTH),
            part.reshape(HEIGHT, WIDTH),
            np.clip(field, -30, 30).astype(np.float16).reshape(-1, HEIGHT, WIDTH),
            _faces(state),
            _globals(state),
            np.concatenate([view.origin / 10, view.rotation.reshape(-1)]).astype(np.float32),
        )

    def _surface(
        self, primitives: Primitives, view: View, hits: Hits
    ) -> tuple[FloatArray, npt.NDArray[np.bool_], FloatArray, FloatArray, npt.NDArray[np.uint8]]:
        """The field without light, the mask of rays that meet something, their normals and places (3, n), and parts."""
        field = np.zeros((len(FIELD_CHANNELS), WIDTH * HEIGHT), np.float32)
        seen = hits.primitive >= 0
        who, depth = hits.primitive[seen], hits.depth[seen]
        origins, directions = ray_grid(view)
        rays = directions[:, seen]
        world = origins + rays * depth
        rows = gathered(primitives.to_local, who)
        local = mapped(rows, world - np.take(primitives.center.T, who, axis=1))
        # A cube's normal is its dominant axis; a capsule's points away from the nearest point of its axis.
        size = np.abs(local)
        flat = np.where(size >= size.max(axis=0), np.sign(local), np.float32(0))
        part = primitives.part[who]
        face = 2 * size.argmax(axis=0) + (np.take_along_axis(local, size.argmax(axis=0)[None], axis=0)[0] > 0)
        part = np.where(part == BOX_PART, part + face, part).astype(np.uint8)
        half = primitives.half_length[who]
        outward = np.where(primitives.is_capsule[who], local, flat)
        outward[1] -= np.where(primitives.is_capsule[who], np.clip(local[1], -half, half), np.float32(0))
        # Normals map by the transpose of the inverse, which is here the transpose of the map to local.
        normal = _unit_columns(mapped(rows.reshape(3, 3, -1).swapaxes(0, 1).reshape(9, -1), outward))
        scale = np.sqrt((primitives.to_world**2).sum(axis=1)).T
        field[0, seen] = 1 / (1 + depth)
        field[1:4, seen] = primitives.shape_center[who].T + primitives.shape_half[who].T * local
        field[4:7, seen] = normal
        field[7:10, seen] = world / 10
        field[10:13, seen] = _unit_columns(mapped(rows, rays) * np.take(scale, who, axis=1))
        return field, seen, normal, world, part

    def _sunlit(self, moving: Primitives, lights: Lights, points: FloatArray) -> FloatArray:
        """How much of the sun reaches each point (3, n): 0 to 1, from a shadow map of the set and one of the rest."""
        view = light_view(np.asarray(lights.sun_direction, np.float32), self._center, self._radius, SHADOW_SIZE)
        if self._shadow_key != lights.sun_direction:
            self._static_shadow = cast_rays(self._static_casters, view).depth
            self._shadow_key = lights.sun_direction
        depth = np.minimum(self._static_shadow, cast_rays(moving, view).depth)
        local = view.rotation.T @ (points - view.origin[:, None])
        x = (local[0] / view.half_width + 1) / 2 * SHADOW_SIZE - 0.5
        y = (1 - local[1] / view.half_height) / 2 * SHADOW_SIZE - 0.5
        x, y = np.clip(x, 0, SHADOW_SIZE - 1.001), np.clip(y, 0, SHADOW_SIZE - 1.001)
        column, row = x.astype(np.int32), y.astype(np.int32)
        fx, fy = x - column, y - row
        first = row * SHADOW_SIZE + column
        near = -local[2] - SHADOW_BIAS

        def reached(offset: int) -> npt.NDArray[np.bool_]:
            lit: npt.NDArray[np.bool_] = near <= depth[first + offset]
            return lit

        top = reached(0) * (1 - fx) + reached(1) * fx
        bottom = reached(SHADOW_SIZE) * (1 - fx) + reached(SHADOW_SIZE + 1) * fx
        result: FloatArray = (top * (1 - fy) + bottom * fy).astype(np.float32)
        return result


def _subset(primitives: Primitives, mask: npt.NDArray[np.bool_]) -> Primitives:
    return Primitives(*(getattr(primitives, name)[mask] for name in Primitives.__slots__))


def _extent(primitives: Primitives) -> tuple[FloatArray, FloatArray]:
    """The lowest and highest corner of the set; a metre around the origin where there is none."""
    if not len(primitives):
        return np.full(3, -1, np.float32), np.full(3, 1, np.float32)
    reach = np.abs(primitives.to_world).sum(axis=-1)
    return (primitives.center - reach).min(axis=0), (primitives.center + reach).max(axis=0)


def _unit_columns(vectors: FloatArray) -> FloatArray:
    """Vectors (3, n) scaled to unit length."""
    x, y, z = vectors
    return (vectors / np.maximum(np.sqrt(x * x + y * y + z * z), 1e-9)).astype(np.float32)


def _irradiance(lights: Lights, normal: FloatArray, world: FloatArray, sun: FloatArray) -> FloatArray:
    """Linear RGB (3, n) that reaches each point (3, n): ambient, sun and point lights, by the stage's own formula."""
    ambient = (AMBIENT_SIDE + AMBIENT_UP * normal[1]) * np.asarray(lights.ambient, np.float32)[:, None]
    total = ambient + sun * np.asarray(lights.sun_color, np.float32)[:, None]
    for point in lights.points:
        x, y, z = np.asarray(point.position, np.float32)[:, None] - world
        squared = x * x + y * y + z * z
        distance = np.sqrt(np.maximum(squared, 1e-8))
        fade = np.maximum(1 - distance / point.range, 0) ** 2 / (1 + squared)
        cosine = np.maximum(normal[0] * x + normal[1] * y + normal[2] * z, 0) / distance
        total = total + fade * cosine * np.asarray(point.color, np.float32)[:, None]
    return total.astype(np.float32)


def linear_from_srgb(color: FloatArray) -> FloatArray:
    """Display values, 0 to 1, to linear light (IEC 61966-2-1)."""
    curve: FloatArray = np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4).astype(np.float32)
    return curve


def _faces(state: SceneState) -> FloatArray:
    faces = np.zeros((MAX_CAST, ACTOR_CHANNELS), np.float32)
    for actor in state.actors:
        faces[actor.cast_index, actor.emotion] = actor.intensity
        faces[actor.cast_index, -1] = actor.mouth_open
    return faces


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
