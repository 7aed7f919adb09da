"""Faces over time: emotions that ramp, and a mouth that moves in the rhythm of speech."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from cutscene_client.script import FaceChange, Line

SYLLABLES_PER_SECOND = 4.6  # of unhurried speech; between 4 and 5 in most languages
PAUSE_EVERY = 7  # syllables between breaths
ATTACK_S = 0.06


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
    """How far the mouth is open, 0 to 1: zero outside every line, a seeded rhythm of syllables within one."""
    widest = 0.0
    for number, line in enumerate(lines):
        since = time - line.at
        if not 0.0 < since < line.lasts:
            continue
        beat = since * SYLLABLES_PER_SECOND
        syllable = int(beat)
        if syllable % PAUSE_EVERY == PAUSE_EVERY - 1:
            continue  # a breath
        size = 0.45 + 0.55 * _chance(seed, who, number, syllable)
        edge = min(1.0, since / ATTACK_S, (line.lasts - since) / ATTACK_S)
        widest = max(widest, size * edge * math.sin(math.pi * (beat - syllable)))
    return widest


def _chance(*key: object) -> float:
    """A number from 0 to 1 that depends on ``key`` alone, on every machine."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little") / 0xFFFFFFFF
