"""The camera of a shot: from the words of film (wide, close-up, over the shoulder, dolly, orbit) to places and lenses.

A framing gives a target, a direction to stand in, a distance and a lens; a move changes them over the shot. The camera
is then drawn in until it is inside the room and nothing solid stands between it and what it looks at, by one factor for
the whole shot, so that it does not jump.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cutscene_client.obstacles import Obstacles
from cutscene_client.script import FPS, CameraSpec

FloatArray = npt.NDArray[np.float64]

ASPECT = 16 / 9
NEAREST_M = 0.9  # of a camera to its target
CLEARANCE_M = 0.25  # of a camera to walls and furniture


@dataclass(frozen=True, slots=True)
class Subject:
    """One actor as the camera sees it, over the frames of a shot."""

    heads: FloatArray  # (F, 3) between chin and crown
    roots: FloatArray  # (F, 3) on the floor
    yaws: FloatArray  # (F,) radians


@dataclass(frozen=True, slots=True)
class View:
    """A camera at one frame."""

    position: FloatArray  # (3,)
    look_at: FloatArray  # (3,)
    fov_degrees: float


@dataclass(frozen=True, slots=True)
class Lens:
    """What a framing is when the script does not say otherwise. Within what the model was trained on (director)."""

    fov: float  # degrees, vertical
    covers: float  # metres of height at the target that fill the picture
    aim: float  # the target's height as a part of the head's
    height: float  # of the camera, metres above the floor
    angle: float  # degrees round the subject from straight ahead


LENSES: dict[str, Lens] = {
    "wide": Lens(fov=42.0, covers=3.6, aim=0.62, height=2.2, angle=20.0),
    "two_shot": Lens(fov=36.0, covers=2.3, aim=0.82, height=1.8, angle=0.0),
    "medium": Lens(fov=34.0, covers=1.75, aim=0.86, height=1.75, angle=25.0),
    "close_up": Lens(fov=30.0, covers=1.15, aim=0.98, height=1.75, angle=22.0),
    "over_the_shoulder": Lens(fov=36.0, covers=1.6, aim=0.95, height=2.05, angle=0.0),
    "low_angle": Lens(fov=38.0, covers=2.3, aim=0.80, height=0.6, angle=25.0),
}


def frame_shot(
    spec: CameraSpec, subjects: Sequence[Subject], over: Subject | None, obstacles: Obstacles, frames: int, seed: int
) -> list[View]:
    """One view a frame."""
    if spec.keyframes is not None:
        return [_between_keyframes(spec, index / FPS) for index in range(frames)]
    framing = spec.framing or "wide"
    lens = LENSES[framing]
    fov = spec.fov if spec.fov is not None else lens.fov
    if framing == "over_the_shoulder" and over is not None:
        targets, away, distance = _over_the_shoulder(spec, subjects[0], over, lens)
    else:
        targets, away, distance = _around(spec, subjects, lens, fov, obstacles)
    if spec.move != "track":  # a camera on legs looks at the middle of what happens, and does not follow
        targets = np.tile(targets.mean(axis=0), (frames, 1))
    offsets = np.stack([_moved(spec, away * distance, index / max(1, frames - 1)) for index in range(frames)])
    part = obstacles.clear_part(targets, offsets, CLEARANCE_M)
    shortest = NEAREST_M / max(distance, 1e-6)
    offsets *= max(part, min(1.0, shortest))
    positions = targets + offsets
    if spec.move == "handheld":
        sway = np.stack([_sway(index / FPS, seed) for index in range(frames)]) * spec.amount
        positions = positions + sway
        targets = targets + 0.6 * np.roll(sway, 1, axis=1)
    return [View(position, target, fov) for position, target in zip(positions, targets, strict=True)]


def _around(
    spec: CameraSpec, subjects: Sequence[Subject], lens: Lens, fov: float, obstacles: Obstacles
) -> tuple[FloatArray, FloatArray, float]:
    """Targets (F, 3), the unit way from the target to the camera, and the distance."""
    heads = np.stack([subject.heads for subject in subjects])  # (N, F, 3)
    targets = heads.mean(axis=0)
    targets[:, 1] *= lens.aim
    if len(subjects) == 1:
        ahead = float(subjects[0].yaws[0])
        angle = lens.angle if spec.angle is None else spec.angle
        azimuths = [ahead + math.radians(angle if spec.side == "right" else -angle)]
    else:
        # Across the line of action: the 180 degree rule is kept by naming a side, not by which way actors turn.
        line = heads[-1].mean(axis=0) - heads[0].mean(axis=0)
        across = math.atan2(line[0], line[2]) + (math.pi / 2 if spec.side == "right" else -math.pi / 2)
        azimuths = [across + math.radians(lens.angle if spec.angle is None else spec.angle)]
    spread = _spread(heads, azimuths[0])
    half_height = lens.covers / 2
    half_width = spread / 2 + 0.55
    reach = max(half_height / math.tan(math.radians(fov) / 2), half_width / (math.tan(math.radians(fov) / 2) * ASPECT))
    distance = spec.distance if spec.distance is not None else max(reach, NEAREST_M)
    floor = float(np.mean([subject.roots[:, 1].mean() for subject in subjects]))
    rise = (floor + (lens.height if spec.height is None else spec.height)) - float(targets[:, 1].mean())
    rise = max(-0.9 * distance, min(0.9 * distance, rise))
    flat = math.sqrt(distance**2 - rise**2)
    azimuth = azimuths[0]
    away = np.array([math.sin(azimuth) * flat, rise, math.cos(azimuth) * flat]) / distance
    return targets, away, distance


def _spread(heads: FloatArray, azimuth: float) -> float:
    """How far the subjects lie apart across the picture of a camera that looks along ``azimuth``, metres."""
    across = np.array([math.cos(azimuth), 0.0, -math.sin(azimuth)])
    places = heads @ across
    return float(places.max() - places.min())


def _over_the_shoulder(
    spec: CameraSpec, subject: Subject, over: Subject, lens: Lens
) -> tuple[FloatArray, FloatArray, float]:
    """Behind one actor and to the side, looking at the other."""
    targets = subject.heads.copy()
    targets[:, 1] *= lens.aim
    shoulder = over.heads.mean(axis=0)
    way = subject.heads.mean(axis=0) - shoulder
    way[1] = 0.0
    way /= max(1e-6, float(np.linalg.norm(way)))
    # To the camera's right when it looks along ``way``.
    right = np.array([-way[2], 0.0, way[0]])
    back = 1.25 if spec.distance is None else spec.distance
    place = shoulder - way * back + right * (0.62 if spec.side == "right" else -0.62)
    place[1] = float(over.roots[:, 1].mean()) + (lens.height if spec.height is None else spec.height)
    offset = place - targets.mean(axis=0)
    distance = float(np.linalg.norm(offset))
    return targets, offset / distance, distance


def _moved(spec: CameraSpec, offset: FloatArray, part: float) -> FloatArray:
    """The camera's offset from its target at ``part`` (0 to 1) of the shot."""
    eased = part * part * (3.0 - 2.0 * part)
    if spec.move == "dolly_in":
        return offset * (1.0 + spec.amount * (0.16 - 0.32 * eased))
    if spec.move == "dolly_out":
        return offset * (1.0 - spec.amount * (0.16 - 0.32 * eased))
    if spec.move == "orbit":
        angle = math.radians(15.0 * spec.amount) * (2.0 * part - 1.0)
        c, s = math.cos(angle), math.sin(angle)
        return np.array([c * offset[0] + s * offset[2], offset[1], -s * offset[0] + c * offset[2]])
    return offset


def _sway(time: float, seed: int) -> FloatArray:
    """A hand's unrest, metres: slow sines that do not repeat within a shot."""
    phase = (seed % 97) * 0.37
    return np.array(
        [
            0.018 * math.sin(1.7 * time + phase) + 0.008 * math.sin(4.3 * time + 2 * phase),
            0.012 * math.sin(2.3 * time + 1.3 * phase) + 0.006 * math.sin(5.1 * time + phase),
            0.010 * math.sin(1.3 * time + 0.7 * phase),
        ]
    )


def _between_keyframes(spec: CameraSpec, time: float) -> View:
    keyframes = spec.keyframes or []
    times = [keyframe.at for keyframe in keyframes]
    index = int(np.searchsorted(times, time, side="right")) - 1
    first = keyframes[max(0, index)]
    second = keyframes[min(len(keyframes) - 1, max(0, index) + (1 if index >= 0 else 0))]
    part = 0.0 if second.at <= first.at else min(1.0, max(0.0, (time - first.at) / (second.at - first.at)))
    part = part * part * (3.0 - 2.0 * part)
    return View(
        np.array(first.position) * (1 - part) + np.array(second.position) * part,
        np.array(first.look_at) * (1 - part) + np.array(second.look_at) * part,
        first.fov * (1 - part) + second.fov * part,
    )
