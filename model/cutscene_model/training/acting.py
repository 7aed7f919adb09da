"""What one actor does over a performance: clips on a timeline, where the actor walks, what the face shows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from cutscene_model.scene import EMOTIONS
from cutscene_model.training.motion import Rig
from cutscene_model.training.transforms import Vec3, vec3

EMOTION_RAMP = 0.4  # seconds from calm to full
TURN_TIME = 0.45  # seconds for turning on the spot


@dataclass(frozen=True, slots=True)
class Segment:
    """One clip for a while, perhaps while walking."""

    start: float  # seconds
    end: float
    clip: str
    rate: float  # clip seconds per second
    offset: float  # clip time at the start
    origin: Vec3
    goal: Vec3
    yaw_from: float
    yaw_to: float

    def place(self, time: float) -> tuple[str, float, Vec3, float]:
        """Clip, clip time, position and yaw at a time."""
        span = max(self.end - self.start, 1e-6)
        u = min(max((time - self.start) / span, 0.0), 1.0)
        turned = min(max((time - self.start) / min(TURN_TIME, span), 0.0), 1.0)
        turned = turned * turned * (3 - 2 * turned)
        turn = math.remainder(self.yaw_to - self.yaw_from, math.tau)
        position = tuple(a + (b - a) * u for a, b in zip(self.origin, self.goal, strict=True))
        clip_time = self.offset + (time - self.start) * self.rate
        return self.clip, clip_time, vec3(position), self.yaw_from + turn * turned


@dataclass(frozen=True, slots=True)
class Feeling:
    """An emotion that swells and fades within its span."""

    start: float
    end: float
    emotion: int
    peak: float


@dataclass(frozen=True, slots=True)
class Utterance:
    """A spoken stretch, with the rhythm of its syllables."""

    start: float
    end: float
    rate: float  # syllables a second
    phases: tuple[float, float, float]
    loudness: float

    def mouth(self, time: float) -> float:
        """0 closed to 1 wide."""
        if not self.start < time < self.end:
            return 0.0
        edge = min(1.0, (time - self.start) / 0.12, (self.end - time) / 0.12)
        a, b, c = self.phases
        syllable = 0.5 + 0.5 * math.sin(math.tau * self.rate * time + a)
        stress = 0.62 + 0.38 * math.sin(math.tau * 0.9 * time + b)
        pause = 1.0 if math.sin(math.tau * 0.45 * time + c) > -0.8 else 0.1
        return max(0.0, min(1.0, edge * pause * self.loudness * stress * (0.12 + 0.95 * syllable)))


@dataclass
class Part:
    """The track of one actor, written from its beginning to its end."""

    rig: Rig
    rng: np.random.Generator
    position: Vec3
    yaw: float
    idle: str = "Idle"
    held: tuple[str, ...] = ()
    time: float = 0.0
    segments: list[Segment] = field(default_factory=list)
    feelings: list[Feeling] = field(default_factory=list)
    utterances: list[Utterance] = field(default_factory=list)

    def play(self, clip: str, duration: float | None = None, rate: float = 1.0, offset: float = 0.0) -> Part:
        """A clip on the spot: once through, or for ``duration`` seconds."""
        length = self.rig.clips[clip].duration / rate if duration is None else duration
        return self._append(clip, length, rate, offset, self.position, self.yaw)

    def rest(self, until: float) -> Part:
        """The idle clip until a time."""
        if until > self.time + 1e-6:
            # Idles stay in phase across interruptions, because gesture clips begin and end at the idle's first frame.
            self._append(self.idle, until - self.time, 1.0, 0.0, self.position, self.yaw)
        return self

    def turn(self, yaw: float) -> Part:
        """Turn on the spot, shuffling the feet."""
        angle = abs(math.remainder(yaw - self.yaw, math.tau))
        if angle > 0.15:
            clip = "Walking_A" if angle > 0.6 else self.idle
            self._append(clip, TURN_TIME, 1.0, 0.0, self.position, yaw)
        return self

    def walk_to(self, goal: Vec3, speed: float = 1.1, clip: str = "Walking_A") -> Part:
        """Walk straight to a place, the clip's pace matched to the speed."""
        dx, dz = goal[0] - self.position[0], goal[2] - self.position[2]
        distance = math.hypot(dx, dz)
        if distance < 0.1:
            return self
        rate = speed / self.rig.stride_speed(clip)
        return self._append(clip, distance / speed, rate, 0.0, goal, math.atan2(dx, dz))

    def face(self, target: Vec3) -> Part:
        """Turn towards a place."""
        return self.turn(math.atan2(target[0] - self.position[0], target[2] - self.position[2]))

    def _append(self, clip: str, length: float, rate: float, offset: float, goal: Vec3, yaw: float) -> Part:
        end = self.time + length
        self.segments.append(Segment(self.time, end, clip, rate, offset, self.position, goal, self.yaw, yaw))
        self.time, self.position, self.yaw = end, goal, yaw
        return self

    def feel(self, start: float, end: float, emotion: str, peak: float) -> None:
        """Show an emotion for a while; spans of one actor do not overlap."""
        self.feelings.append(Feeling(start, end, EMOTIONS.index(emotion), peak))

    def say(self, start: float, end: float) -> None:
        """Speak for a while."""
        a, b, c = (float(value) for value in self.rng.uniform(0.0, math.tau, 3))
        rate, loudness = float(self.rng.uniform(2.6, 4.6)), float(self.rng.uniform(0.75, 1.1))
        self.utterances.append(Utterance(start, end, rate, (a, b, c), loudness))

    def place(self, time: float) -> tuple[str, float, Vec3, float]:
        """Clip, clip time, position and yaw; the last segment holds after its end."""
        for segment in self.segments:
            if time < segment.end:
                return segment.place(time)
        return self.segments[-1].place(time)

    def look(self, time: float) -> tuple[int, float]:
        """Emotion index and intensity."""
        for feeling in self.feelings:
            if feeling.start <= time < feeling.end:
                swell = min(1.0, (time - feeling.start) / EMOTION_RAMP, (feeling.end - time) / EMOTION_RAMP)
                return feeling.emotion, feeling.peak * swell * swell * (3 - 2 * swell)
        return 0, 0.0

    def mouth(self, time: float) -> float:
        """How far the mouth is open."""
        return max((utterance.mouth(time) for utterance in self.utterances), default=0.0)
