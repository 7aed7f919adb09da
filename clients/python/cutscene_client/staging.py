"""Where each actor is and what the body does at every instant of a shot.

An actor's actions become segments that follow one another without gaps; a pose is sampled from the segment that holds
the time, and fades from the one before it, so that no joint jumps within a shot.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cutscene_client import rotations
from cutscene_client.library import Clip, Library, Mark
from cutscene_client.script import BodyAction

FADE_S = 0.25  # from one clip to the next
TURN_S = 0.45  # to face the way of a walk
SIT_CLIPS = ("Sit_Chair_Down", "Sit_Chair_Idle", "Sit_Chair_StandUp")
WALK_CLIP, RUN_CLIP = "Walking_A", "Running_A"
WALK_M_PER_S = 1.1
RUN_FROM = 2.2  # times the pace of a walk, from which the legs run

FloatArray = npt.NDArray[np.float64]
Resolve = Callable[[object, float], FloatArray]
"""A place, or whom to face, at a time of the shot: as a point in the world."""


@dataclass(frozen=True, slots=True)
class Pose:
    """A body at one instant, in the world."""

    joints: FloatArray  # (19, 3) metres
    hands: dict[str, FloatArray]  # "l" and "r": the rotation of what the hand holds


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an actor is between two shots, and how it rests there."""

    position: FloatArray  # (3,) metres
    yaw: float  # radians, 0 faces +Z
    clip: str
    seated: bool = False


@dataclass(frozen=True, slots=True)
class Segment:
    """One stretch of one clip, with the root going from one place to another."""

    begin: float
    end: float
    clip: str
    start: float  # seconds into the clip at ``begin``
    rate: float  # seconds of clip a second
    origin: FloatArray
    target: FloatArray
    yaw_from: float
    yaw_to: float
    turn_s: float

    def root(self, time: float) -> tuple[FloatArray, float]:
        """Position and yaw at ``time``, which may lie past the end: the root then stays where it arrived."""
        since = time - self.begin
        part = 1.0 if self.end <= self.begin else min(1.0, max(0.0, since / (self.end - self.begin)))
        turned = 1.0 if self.turn_s <= 0.0 else min(1.0, max(0.0, since / self.turn_s))
        turned = turned * turned * (3.0 - 2.0 * turned)
        yaw = self.yaw_from + _shortest(self.yaw_from, self.yaw_to) * turned
        return self.origin + (self.target - self.origin) * part, yaw

    def pose(self, time: float, library: Library) -> Pose:
        """The body at ``time``, were this segment alone."""
        clip = library.clip(self.clip)
        position, yaw = self.root(time)
        return place(clip, self.start + (time - self.begin) * self.rate, position, yaw)


def place(clip: Clip, clip_time: float, position: FloatArray, yaw: float) -> Pose:
    """A clip's body with its root at ``position``, turned by ``yaw``."""
    joints, hands = clip.sample(clip_time)
    turn = rotations.yaw(yaw)
    return Pose(
        rotations.rotate(turn, joints) + position,
        {side: rotations.multiply(turn, rotation) for side, rotation in hands.items()},
    )


class Track:
    """One actor's body through one shot."""

    def __init__(self, segments: Sequence[Segment], library: Library) -> None:
        self.segments = tuple(segments)
        self._library = library

    def root(self, time: float) -> tuple[FloatArray, float]:
        """Position and yaw of the root."""
        return self.segments[self._at(time)].root(time)

    def pose(self, time: float) -> Pose:
        """The body at ``time``."""
        index = self._at(time)
        segment = self.segments[index]
        pose = segment.pose(time, self._library)
        since = time - segment.begin
        if index == 0 or since >= FADE_S:
            return pose
        before = self.segments[index - 1].pose(time, self._library)
        part = since / FADE_S
        return _mix(before, pose, part * part * (3.0 - 2.0 * part))

    def last(self, seated: bool) -> Standing:
        """How the shot leaves the actor."""
        end = self.segments[-1]
        position, yaw = end.root(end.end)
        return Standing(position, yaw, end.clip, seated)

    def _at(self, time: float) -> int:
        for index in range(len(self.segments) - 1, 0, -1):
            if time >= self.segments[index].begin:
                return index
        return 0


@dataclass
class _Cursor:
    """Where an actor has got to while its actions are laid out."""

    time: float
    position: FloatArray
    yaw: float
    seated: bool


def plan(
    start: Standing,
    actions: Sequence[BodyAction],
    duration: float,
    rest: str,
    library: Library,
    point_of: Resolve,
    seat_of: Callable[[str], Mark],
    phase: float = 0.0,
) -> tuple[Track, bool]:
    """Lays an actor's actions out over a shot. Returns the track, and whether the actor is seated at its end.

    ``phase`` shifts resting clips, so that two actors at rest do not breathe in step.
    """
    segments: list[Segment] = []
    cursor = _Cursor(0.0, start.position, start.yaw, start.seated)

    def resting() -> str:
        return SIT_CLIPS[1] if cursor.seated else rest

    def add(
        clip: str, until: float, *, clip_start: float = 0.0, rate: float = 1.0, target: FloatArray | None = None,
        yaw: float | None = None, turn_s: float = 0.0, natural_end: float | None = None,
    ) -> None:  # fmt: skip
        """A segment up to ``until``; if it would by itself end later (a walk cut short), its path is cut there."""
        end = until if natural_end is None else natural_end
        whole = Segment(
            cursor.time, end, clip, clip_start, rate, cursor.position,
            cursor.position if target is None else target, cursor.yaw, cursor.yaw if yaw is None else yaw, turn_s,
        )  # fmt: skip
        position, facing = whole.root(until)
        if until < end:
            whole = Segment(
                cursor.time, until, clip, clip_start, rate, cursor.position, position,
                whole.yaw_from, whole.yaw_to, turn_s,
            )  # fmt: skip
        segments.append(whole)
        cursor.time, cursor.position, cursor.yaw = until, position, facing

    def rest_until(until: float) -> None:
        if until > cursor.time + 1e-6:
            add(resting(), until, clip_start=phase + cursor.time)

    for number, action in enumerate(actions):
        limit = actions[number + 1].at if number + 1 < len(actions) else duration
        limit = min(limit, duration)
        if action.at >= duration or limit <= action.at:
            continue
        rest_until(action.at)
        if action.clip is not None:
            clip = library.clip(action.clip)
            cursor.seated = action.clip in SIT_CLIPS[:2] or (cursor.seated and action.clip not in SIT_CLIPS)
            if clip.looping or action.hold:
                add(clip.name, limit, clip_start=action.start, rate=action.speed)
            else:
                # The last part of a clip fades into rest, or the body would freeze for the length of the fade.
                length = max(FADE_S, (clip.duration - action.start) / action.speed - FADE_S / 2)
                add(clip.name, min(limit, cursor.time + length), clip_start=action.start, rate=action.speed)
        elif action.walk_to is not None:
            cursor.seated = False
            target = point_of(action.walk_to, action.at)
            way = target - cursor.position
            distance = float(np.linalg.norm(way))
            if distance > 0.05:
                gait = library.clip(RUN_CLIP if action.speed >= RUN_FROM else WALK_CLIP)
                speed = WALK_M_PER_S * action.speed
                arrival = cursor.time + distance / speed
                add(
                    gait.name, min(limit, arrival), rate=speed / gait.stride_speed, target=target,
                    yaw=math.atan2(way[0], way[2]), turn_s=TURN_S, natural_end=arrival,
                )  # fmt: skip
        elif action.turn_to is not None:
            yaw = heading(action.turn_to, cursor.position, action.at, point_of)
            add(
                resting(), min(limit, cursor.time + action.over), yaw=yaw, turn_s=action.over,
                clip_start=phase + cursor.time,
            )  # fmt: skip
        elif action.sit is not None:
            mark = seat_of(action.sit)
            cursor.seated = True
            down = library.clip(SIT_CLIPS[0])
            end = cursor.time + down.duration
            add(
                down.name, min(limit, end), target=np.asarray(mark.position), yaw=mark.yaw,
                turn_s=down.duration / 2, natural_end=end,
            )  # fmt: skip
        rest_until(limit)
    rest_until(duration)
    return Track(segments, library), cursor.seated


def heading(facing: object, position: FloatArray, time: float, point_of: Resolve) -> float:
    """The yaw, radians, that faces an actor, a mark or a heading in degrees."""
    if isinstance(facing, (int, float)):
        return math.radians(facing)
    way = point_of(facing, time) - position
    return math.atan2(float(way[0]), float(way[2]))


def _shortest(begin: float, end: float) -> float:
    """The turn from one yaw to another, within half a circle."""
    return (end - begin + math.pi) % (2 * math.pi) - math.pi


def _mix(a: Pose, b: Pose, part: float) -> Pose:
    hands = {}
    for side, second in b.hands.items():
        first = a.hands[side]
        blended = first * (1 - part) + (second if float(first @ second) >= 0 else -second) * part
        hands[side] = blended / np.linalg.norm(blended)
    return Pose(a.joints * (1 - part) + b.joints * part, hands)
