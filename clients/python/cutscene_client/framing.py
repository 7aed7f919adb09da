"""The camera of a shot: from the words of film (wide, close-up, over the shoulder, dolly, orbit) to places and lenses.

A framing gives a target, a side to stand on, a distance and a lens; a move changes them over the shot. The camera is
then drawn in until it is inside the room and nothing solid stands between it and what it looks at, by one factor for
the whole shot, so that it does not jump. The lenses lie within what the model was trained on (``training/framing.py``).
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
CLEARANCE_M = 0.3  # of a camera to walls and furniture
LOWEST_M, HIGHEST_M = 0.4, 3.4  # where a camera may be above the floor
NEAREST_AIM_M = 0.5  # of a camera that is drawn in to what it looks at: nearer than that there is no picture
NEAREST_HEAD_M = 0.86  # of a camera to a head, which is half a metre wide either way
ANGLES_TRIED = (0.0, 12.0, -12.0, 24.0, -24.0, 36.0, -36.0, 50.0, -50.0)  # degrees
WALKS_M = 0.35  # a subject that comes farther than this in a shot is followed


@dataclass(frozen=True, slots=True)
class Subject:
    """One actor as the camera sees it, over the frames of a shot."""

    heads: FloatArray  # (F, 3) between neck and crown
    hips: FloatArray  # (F, 3)
    yaws: FloatArray  # (F,) radians


@dataclass(frozen=True, slots=True)
class View:
    """A camera at one frame."""

    position: FloatArray  # (3,)
    look_at: FloatArray  # (3,)
    fov_degrees: float


@dataclass(frozen=True, slots=True)
class Filming:
    """The views of a shot, and how far the camera had to be drawn in to see anything (1: not at all)."""

    views: tuple[View, ...]
    drawn_in: float


@dataclass(frozen=True, slots=True)
class Lens:
    """What a framing is when the script does not say otherwise."""

    fov: float  # degrees, vertical
    covers: float  # metres of the world that the picture's height shows at the target
    beside: float  # metres that the picture's width shows beyond the subjects' spread
    aim: float  # the target's height, as a part of the way from the hips to the head
    lift: float  # the camera's height above the target, metres
    angle: float  # degrees round the subject from straight ahead of it


LENSES: dict[str, Lens] = {
    "wide": Lens(fov=44.0, covers=4.4, beside=2.2, aim=0.5, lift=0.9, angle=30.0),
    "two_shot": Lens(fov=38.0, covers=2.5, beside=1.4, aim=0.66, lift=0.4, angle=0.0),
    "medium": Lens(fov=38.0, covers=2.4, beside=1.4, aim=0.66, lift=0.4, angle=28.0),
    "close_up": Lens(fov=32.0, covers=1.55, beside=0.9, aim=0.91, lift=0.1, angle=30.0),
    "over_the_shoulder": Lens(fov=0.0, covers=2.2, beside=0.0, aim=0.85, lift=0.3, angle=0.0),
    "low_angle": Lens(fov=40.0, covers=2.5, beside=1.4, aim=0.69, lift=-0.9, angle=28.0),
    "high_angle": Lens(fov=40.0, covers=3.4, beside=1.8, aim=0.5, lift=1.75, angle=35.0),
}


def frame_shot(
    spec: CameraSpec,
    subjects: Sequence[Subject],
    over: Subject | None,
    everyone: Sequence[Subject],
    obstacles: Obstacles,
    frames: int,
    seed: int,
) -> Filming:
    """One view a frame. Without an ``angle`` in the script, the clearest of some angles near the usual one is taken."""
    if spec.keyframes is not None:
        return Filming(tuple(_between_keyframes(spec, index / FPS) for index in range(frames)), 1.0)
    tries = (0.0,) if spec.angle is not None else ANGLES_TRIED
    filmings = [_film(spec, subjects, over, obstacles, frames, seed, math.radians(turn)) for turn in tries]
    scores = [
        filming.drawn_in - 0.5 * _hidden(filming, subjects, over, everyone) - abs(turn) / 150
        for filming, turn in zip(filmings, tries, strict=True)
    ]
    return filmings[scores.index(max(scores))]


def _hidden(filming: Filming, subjects: Sequence[Subject], over: Subject | None, everyone: Sequence[Subject]) -> float:
    """How much of what is framed other actors hide, or how many of them the camera all but touches, as a count."""
    count = 0.0
    frames = sorted({0, len(filming.views) // 2, len(filming.views) - 1})
    for frame in frames:
        eye = filming.views[frame].position
        for other in everyone:
            if float(np.linalg.norm(eye - other.heads[frame])) < NEAREST_HEAD_M:
                count += 1.0
            for subject in subjects:
                if subject is other:
                    continue
                way = subject.heads[frame] - eye
                for point, radius in ((other.heads[frame], 0.68), (other.hips[frame], 0.45)):
                    part = min(1.0, max(0.0, float((point - eye) @ way / (way @ way))))
                    if part < 0.95 and float(np.linalg.norm(eye + way * part - point)) < radius:
                        count += 0.5
                if len(subjects) == 1 and other is not over:
                    count += 0.3 * _looms(filming.views[frame], other.heads[frame], float(np.linalg.norm(way)))
    return count / len(frames)


def _looms(view: View, head: FloatArray, subject_distance: float) -> bool:
    """Whether somebody else's head is in the picture, before what the picture is of."""
    ahead = (view.look_at - view.position) / max(1e-6, float(np.linalg.norm(view.look_at - view.position)))
    way = head - view.position
    distance = float(np.linalg.norm(way))
    if distance > subject_distance or distance < 1e-6:
        return False
    angle = math.acos(min(1.0, max(-1.0, float(way @ ahead) / distance)))
    half_width = math.atan(math.tan(math.radians(view.fov_degrees) / 2) * ASPECT)
    return angle < half_width + math.asin(min(1.0, 0.45 / distance))


def _film(
    spec: CameraSpec,
    subjects: Sequence[Subject],
    over: Subject | None,
    obstacles: Obstacles,
    frames: int,
    seed: int,
    turn: float,
) -> Filming:
    """The views of one way to film a shot: ``turn`` radians round from the framing's own side."""
    framing = spec.framing or "wide"
    lens = LENSES[framing]
    if framing == "over_the_shoulder" and over is not None:
        target, offset, fov = _over_the_shoulder(spec, subjects[0], over, lens, turn)
    else:
        target, offset, fov = _around(spec, subjects, lens, turn)
    parts = [index / max(1, frames - 1) for index in range(frames)]
    walk = _walk(subjects)
    targets = np.stack([target + walk * (part - 0.5) for part in parts])
    offsets = np.stack([_moved(spec, offset, part) for part in parts])
    if spec.move != "track":  # the eye stays behind while the target goes on
        offsets = offsets - np.stack([walk * (part - 0.5) for part in parts])
    drawn_in = _drawn_in(offsets, obstacles.clear_part(targets, offsets, CLEARANCE_M))
    offsets *= drawn_in[:, None]
    positions = targets + offsets
    if spec.move == "handheld":
        sways = [_sway(index / FPS, seed) for index in range(frames)]
        positions = positions + spec.amount * np.stack([eye for eye, _ in sways])
        targets = targets + spec.amount * np.stack([aim for _, aim in sways])
    views = tuple(View(position, aim, fov) for position, aim in zip(positions, targets, strict=True))
    return Filming(views, float(drawn_in.min()))


def _drawn_in(offsets: FloatArray, clear_part: float) -> FloatArray:
    """By what each offset is taken: all by the same, but none so that the camera would stand in what it looks at. Where
    nothing is clear (somebody sits down beyond the room's edge), the camera is in the way of something, which is told.
    """
    lengths = np.maximum(1e-6, np.linalg.norm(offsets, axis=1))
    nearest: FloatArray = np.minimum(1.0, NEAREST_AIM_M / lengths)
    return np.maximum(nearest, clear_part)


def _walk(subjects: Sequence[Subject]) -> FloatArray:
    """How far the subjects come over the shot, along the floor; nothing if they stay about where they are."""
    way: FloatArray = np.mean([subject.hips[-1] - subject.hips[0] for subject in subjects], axis=0)
    way[1] = 0.0
    return way if float(np.linalg.norm(way)) > WALKS_M else way * 0.0


def _around(
    spec: CameraSpec, subjects: Sequence[Subject], lens: Lens, turn: float
) -> tuple[FloatArray, FloatArray, float]:
    """The target in the middle of the shot, the camera's offset from it, and the field of view in degrees."""
    middle = len(subjects[0].heads) // 2
    heads = np.stack([subject.heads[middle] for subject in subjects])
    hips = np.stack([subject.hips[middle] for subject in subjects])
    target: FloatArray = hips.mean(axis=0) * (1 - lens.aim) + heads.mean(axis=0) * lens.aim
    if len(subjects) == 1:
        turn += math.radians(lens.angle if spec.angle is None else spec.angle)
        azimuth = float(subjects[0].yaws[middle]) + (turn if spec.side == "right" else -turn)
    else:
        # Across the line of action: the 180 degree rule is kept by naming a side, not by which way actors turn.
        line = heads[-1] - heads[0]
        across = math.atan2(line[0], line[2]) + (math.pi / 2 if spec.side == "right" else -math.pi / 2)
        azimuth = across + turn + math.radians(spec.angle or 0.0)
    fov = lens.fov if spec.fov is None else spec.fov
    spread = float(np.ptp(heads @ np.array([math.cos(azimuth), 0.0, -math.sin(azimuth)])))
    covers = max(lens.covers, (spread + lens.beside) / ASPECT)
    distance = covers / (2 * math.tan(math.radians(fov) / 2)) if spec.distance is None else spec.distance
    eye_height = min(HIGHEST_M, max(LOWEST_M, target[1] + lens.lift)) if spec.height is None else spec.height
    return target, np.array([math.sin(azimuth) * distance, eye_height - target[1], math.cos(azimuth) * distance]), fov


def _over_the_shoulder(
    spec: CameraSpec, subject: Subject, over: Subject, lens: Lens, turn: float
) -> tuple[FloatArray, FloatArray, float]:
    """Behind one actor and to the side, looking at the other."""
    middle = len(subject.heads) // 2
    face, shoulder = subject.heads[middle], over.heads[middle]
    back = (shoulder - face) * (1.0, 0.0, 1.0)
    between = max(1e-6, float(np.linalg.norm(back)))
    back /= between
    right = np.array([back[2], 0.0, -back[0]])  # to the right in the picture
    behind = 1.1 if spec.distance is None else spec.distance
    # Far enough to the side for the way past the nearer head to be free.
    beside = min(1.5, max(0.9, 0.76 * (between + behind) / between)) + 0.2 * turn
    eye = shoulder + back * behind + right * (beside if spec.side == "right" else -beside)
    eye[1] = shoulder[1] + lens.lift if spec.height is None else spec.height
    target = face - (0.0, 0.2, 0.0) + 0.18 * (shoulder - face)
    fov = spec.fov
    if fov is None:
        fov = min(48.0, math.degrees(2 * math.atan(lens.covers / (2 * float(np.linalg.norm(eye - face))))))
    return target, eye - target, fov


def _moved(spec: CameraSpec, offset: FloatArray, part: float) -> FloatArray:
    """The camera's offset from its target at ``part`` (0 to 1) of the shot."""
    part = 0.5 * part + 0.5 * part * part * (3.0 - 2.0 * part)  # nearly even, softly started
    if spec.move == "dolly_in":
        return offset * (1.0 + spec.amount * (0.12 - 0.24 * part))
    if spec.move == "dolly_out":
        return offset * (1.0 - spec.amount * (0.12 - 0.24 * part))
    if spec.move == "slide":
        across = np.array([offset[2], 0.0, -offset[0]]) / max(1e-6, math.hypot(offset[0], offset[2]))
        return offset + across * spec.amount * (0.8 * part - 0.4)
    if spec.move == "orbit":
        angle = math.radians(12.0 * spec.amount) * (2.0 * part - 1.0)
        c, s = math.cos(angle), math.sin(angle)
        return np.array([c * offset[0] + s * offset[2], offset[1], -s * offset[0] + c * offset[2]])
    return offset


def _sway(time: float, seed: int) -> tuple[FloatArray, FloatArray]:
    """A hand's unrest, metres, of the eye and of where it looks: slow sines that do not repeat within a shot."""
    a = time + (seed % 97) * 0.37
    eye = [math.sin(2.1 * a) + 0.5 * math.sin(5.3 * a), math.sin(2.9 * a + 1.0), math.sin(2.4 * a + 2.0)]
    aim = [math.sin(3.1 * a), math.sin(2.2 * a + 0.5), math.cos(2.7 * a)]
    return 0.012 * np.array(eye), 0.007 * np.array(aim)


def _between_keyframes(spec: CameraSpec, time: float) -> View:
    keyframes = spec.keyframes or []
    later = next((index for index, keyframe in enumerate(keyframes) if keyframe.at > time), len(keyframes) - 1)
    first, second = keyframes[max(0, later - 1)], keyframes[later]
    part = 1.0 if second.at <= first.at else min(1.0, max(0.0, (time - first.at) / (second.at - first.at)))
    part = part * part * (3.0 - 2.0 * part)
    return View(
        np.array(first.position) * (1 - part) + np.array(second.position) * part,
        np.array(first.look_at) * (1 - part) + np.array(second.look_at) * part,
        first.fov * (1 - part) + second.fov * part,
    )
