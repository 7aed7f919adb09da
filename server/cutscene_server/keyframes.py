"""Keyframed and lockstep runs, one frame's scene state at a time.

A run keeps its states packed (msgpack, some kB each) and unpacks at most two at once: ten minutes at 60 frames/s
never exist in memory. What is asked of a run is a packed state, since that is what travels to the inference process.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import msgpack
import numpy as np

from cutscene_model.scene import EMOTIONS, ActorState, Camera, Lights, PointLight, PropState, SceneState
from cutscene_server.packed_scene import pack_state, unpack_state

_LOCKSTEP, _KEYFRAMED = 0, 1
NEUTRAL = EMOTIONS.index("neutral")


class Easing(IntEnum):
    """How the way from one keyframe to the next is shaped. The values are those of the proto enum."""

    LINEAR = 1
    IN_OUT = 2
    HOLD = 3


class Run(Protocol):
    """A turn's frames, as scene states."""

    @property
    def frame_count(self) -> int:
        """How many frames the run has, at least 1."""

    @property
    def byte_size(self) -> int:
        """What the run holds in memory, near enough."""

    def packed_state(self, position: int) -> bytes:
        """The scene state of frame ``position`` of the run, as ``pack_state`` makes it."""

    def packed(self) -> bytes:
        """The run as it is stored: see ``unpack_run``."""


@dataclass(frozen=True, slots=True)
class LockstepStates:
    """One state a frame, in order."""

    states: tuple[bytes, ...]

    @property
    def frame_count(self) -> int:
        return len(self.states)

    @property
    def byte_size(self) -> int:
        return sum(map(len, self.states))

    def packed_state(self, position: int) -> bytes:
        return self.states[position]

    def packed(self) -> bytes:
        packed: bytes = msgpack.packb([_LOCKSTEP, self.states])
        return packed


@dataclass(frozen=True, slots=True)
class StoredStates:
    """A run of which every frame is stored with its state: nothing of it is left to draw."""

    frame_count: int

    @property
    def byte_size(self) -> int:
        return 0

    def packed_state(self, position: int) -> bytes:
        raise ValueError(f"frame {position} of this run is stored, and its state with it")

    def packed(self) -> bytes:
        raise ValueError("this run is stored frame by frame")


class KeyframedStates:
    """Keyframes at the session's fps, from the first to the last, both included.

    Frame ``k`` lies at ``k / fps``. The last keyframe need not fall on that grid: the last frame, the one nearest to
    it, takes its state, so that a run always ends exactly where its author put it.
    """

    def __init__(
        self, offsets_us: Sequence[int], states: Sequence[bytes], easings: Sequence[Easing], fps: float
    ) -> None:
        self._offsets_us = tuple(offsets_us)
        self._states = tuple(states)
        self._easings = bytes(easings)
        self._fps = fps
        self._frame_count = math.floor(self._offsets_us[-1] * fps / 1e6 + 0.5) + 1
        self._segment = -1  # the keyframe that the unpacked pair starts at
        self._pair: tuple[SceneState, SceneState] | None = None

    @property
    def keyframes(self) -> list[tuple[int, bytes, int]]:
        """Each keyframe's offset in microseconds, its packed state and its easing."""
        return list(zip(self._offsets_us, self._states, self._easings, strict=True))

    @property
    def frame_count(self) -> int:
        return self._frame_count

    @property
    def byte_size(self) -> int:
        return sum(map(len, self._states))

    def packed_state(self, position: int) -> bytes:
        if position == self._frame_count - 1 and position > 0:
            return self._states[-1]
        offset_us = position * 1e6 / self._fps
        segment = bisect_right(self._offsets_us, offset_us) - 1
        if segment == len(self._states) - 1:
            return self._states[-1]
        start_us, end_us = self._offsets_us[segment], self._offsets_us[segment + 1]
        amount = ease(Easing(self._easings[segment]), (offset_us - start_us) / (end_us - start_us))
        if amount == 0.0:
            return self._states[segment]
        earlier, later = self._unpacked(segment)
        if not alike(earlier, later):
            return self._states[segment]
        return pack_state(interpolate(earlier, later, amount))

    def packed(self) -> bytes:
        packed: bytes = msgpack.packb([_KEYFRAMED, self._offsets_us, self._states, self._easings, self._fps])
        return packed

    def _unpacked(self, segment: int) -> tuple[SceneState, SceneState]:
        if self._segment != segment or self._pair is None:
            self._pair = unpack_state(self._states[segment]), unpack_state(self._states[segment + 1])
            self._segment = segment
        return self._pair


def unpack_run(packed: bytes) -> Run:
    """The run that ``Run.packed`` packed."""
    kind, *values = msgpack.unpackb(packed)
    if kind == _LOCKSTEP:
        return LockstepStates(tuple(values[0]))
    offsets_us, states, easings, fps = values
    return KeyframedStates(offsets_us, states, [Easing(easing) for easing in easings], fps)


def ease(easing: Easing, fraction: float) -> float:
    """How much of the next keyframe there is, ``fraction`` (0 to 1) of the time after this one."""
    match easing:
        case Easing.LINEAR:
            return fraction
        case Easing.IN_OUT:
            return fraction * fraction * (3.0 - 2.0 * fraction)
        case Easing.HOLD:
            return 0.0


def alike(earlier: SceneState, later: SceneState) -> bool:
    """Whether two states have the same actors, props and number of point lights, so that one can become the other."""
    return (
        sorted(actor.cast_index for actor in earlier.actors) == sorted(actor.cast_index for actor in later.actors)
        and sorted(prop.prop_index for prop in earlier.props) == sorted(prop.prop_index for prop in later.props)
        and len(earlier.lights.points) == len(later.lights.points)
    )


def interpolate(earlier: SceneState, later: SceneState, amount: float) -> SceneState:
    """The state ``amount`` (0 to 1) of the way between two states that are ``alike``.

    Emotions do not blend into one another. From and to neutral the other one's intensity does the work; between two
    others the earlier one fades to nothing by halfway, then the later one comes up.
    """
    later_actors = {actor.cast_index: actor for actor in later.actors}
    later_props = {prop.prop_index: prop for prop in later.props}
    return SceneState(
        camera=Camera(
            position=_mix3(earlier.camera.position, later.camera.position, amount),
            rotation=slerp(earlier.camera.rotation, later.camera.rotation, amount),
            vertical_fov=_mix(earlier.camera.vertical_fov, later.camera.vertical_fov, amount),
        ),
        actors=tuple(_actor(actor, later_actors[actor.cast_index], amount) for actor in earlier.actors),
        props=tuple(
            PropState(
                prop_index=prop.prop_index,
                position=_mix3(prop.position, later_props[prop.prop_index].position, amount),
                rotation=slerp(prop.rotation, later_props[prop.prop_index].rotation, amount),
            )
            for prop in earlier.props
        ),
        lights=_lights(earlier.lights, later.lights, amount),
    )


def slerp(
    start: tuple[float, float, float, float], end: tuple[float, float, float, float], amount: float
) -> tuple[float, float, float, float]:
    """Between two unit quaternions along the shorter arc at constant speed (Shoemake, SIGGRAPH 1985)."""
    cosine = sum(a * b for a, b in zip(start, end, strict=True))
    sign = 1.0
    if cosine < 0.0:  # q and -q are one rotation: take the nearer of the two
        cosine, sign = -cosine, -1.0
    if cosine > 0.9995:  # so near that the sine of the angle loses its digits: the chord is the arc
        weights = 1.0 - amount, amount
    else:
        angle = math.acos(cosine)
        weights = math.sin((1.0 - amount) * angle) / math.sin(angle), math.sin(amount * angle) / math.sin(angle)
    x, y, z, w = (weights[0] * a + sign * weights[1] * b for a, b in zip(start, end, strict=True))
    norm = math.sqrt(x * x + y * y + z * z + w * w)
    return x / norm, y / norm, z / norm, w / norm


def _actor(earlier: ActorState, later: ActorState, amount: float) -> ActorState:
    joints = earlier.joints + (later.joints - earlier.joints) * np.float32(amount)
    if earlier.emotion == later.emotion:
        emotion, intensity = earlier.emotion, _mix(earlier.intensity, later.intensity, amount)
    elif earlier.emotion == NEUTRAL:
        emotion, intensity = later.emotion, later.intensity * amount
    elif later.emotion == NEUTRAL:
        emotion, intensity = earlier.emotion, earlier.intensity * (1.0 - amount)
    elif amount < 0.5:
        emotion, intensity = earlier.emotion, earlier.intensity * (1.0 - 2.0 * amount)
    else:
        emotion, intensity = later.emotion, later.intensity * (2.0 * amount - 1.0)
    return ActorState(
        cast_index=earlier.cast_index,
        joints=joints,
        emotion=emotion,
        intensity=intensity,
        mouth_open=_mix(earlier.mouth_open, later.mouth_open, amount),
    )


def _lights(earlier: Lights, later: Lights, amount: float) -> Lights:
    return Lights(
        ambient=_mix3(earlier.ambient, later.ambient, amount),
        sun_direction=_direction(earlier.sun_direction, later.sun_direction, amount),
        sun_color=_mix3(earlier.sun_color, later.sun_color, amount),
        background=_mix3(earlier.background, later.background, amount),
        points=tuple(
            PointLight(
                position=_mix3(a.position, b.position, amount),
                color=_mix3(a.color, b.color, amount),
                range=_mix(a.range, b.range, amount),
            )
            for a, b in zip(earlier.points, later.points, strict=True)
        ),
    )


def _direction(
    start: tuple[float, float, float], end: tuple[float, float, float], amount: float
) -> tuple[float, float, float]:
    x, y, z = _mix3(start, end, amount)
    norm = math.sqrt(x * x + y * y + z * z)
    if norm < 1e-6:  # opposite directions have no way between them
        return start if amount < 0.5 else end
    return x / norm, y / norm, z / norm


def _mix(start: float, end: float, amount: float) -> float:
    return start + (end - start) * amount


def _mix3(
    start: tuple[float, float, float], end: tuple[float, float, float], amount: float
) -> tuple[float, float, float]:
    return _mix(start[0], end[0], amount), _mix(start[1], end[1], amount), _mix(start[2], end[2], amount)
