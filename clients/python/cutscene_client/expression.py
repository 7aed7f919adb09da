"""Faces over time: emotions that ramp, and a mouth that moves in the rhythm of speech."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from cutscene_client.script import FaceChange, Line

SLOWEST_SYLLABLES, FASTEST_SYLLABLES = 2.6, 4.6  # a second, of unhurried speech
EDGE_S = 0.12  # the mouth opens and shuts softly at the ends of a line


@dataclass(frozen=True, slots=True)
class Face:
    """What a face shows at one instant."""

    emotion: str = "neutral"
    intensity: float = 0.0


def face_at(time: float, changes: Sequence[FaceChange], before: Face) -> Face:
    """The face at ``time`` of a shot that began with the face ``before``."""
    face = before
    for change in changes:
        if change.at > time:
            break
        part = 1.0 if change.over <= 0.0 else min(1.0, (time - change.at) / change.over)
        if change.emotion == face.emotion:
            face = Face(face.emotion, face.intensity + (change.intensity - face.intensity) * part)
        elif part < 0.5 and face.intensity > 0.0:  # the old emotion leaves before the new one comes
            face = Face(face.emotion, face.intensity * (1.0 - 2.0 * part))
        else:
            rising = part if face.intensity <= 0.0 else 2.0 * part - 1.0
            face = Face(change.emotion, change.intensity * rising)
    return face


def mouth_open_at(time: float, lines: Sequence[Line], seed: int, who: str) -> float:
    """How far the mouth is open, 0 to 1: zero outside every line, a seeded rhythm of syllables within one.

    The rhythm is that of the model's training data: syllables, stress over several of them, pauses for breath.
    """
    widest = 0.0
    for number, line in enumerate(lines):
        since, left = time - line.at, line.at + line.lasts - time
        if since <= 0.0 or left <= 0.0:
            continue
        a, b, c, pace, strength = (_chance(seed, who, number, key) for key in "abcps")
        rate = SLOWEST_SYLLABLES + (FASTEST_SYLLABLES - SLOWEST_SYLLABLES) * pace
        syllable = 0.5 + 0.5 * math.sin(math.tau * (rate * since + a))
        stress = 0.62 + 0.38 * math.sin(math.tau * (0.9 * since + b))
        pause = 1.0 if math.sin(math.tau * (0.45 * since + c)) > -0.8 else 0.1
        edge = min(1.0, since / EDGE_S, left / EDGE_S)
        widest = max(widest, edge * pause * (0.85 + 0.25 * strength) * stress * (0.12 + 0.95 * syllable))
    return min(1.0, widest)


def _chance(*key: object) -> float:
    """A number from 0 to 1 that depends on ``key`` alone, on every machine."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little") / 0xFFFFFFFF
