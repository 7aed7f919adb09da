"""Performing a recording again: as it was, or with another camera, tier or cast.

An exact replay is a fork of the session at its first frame, which is then given the very states that were stored: same
past, same states, same noise, same pixels. As soon as something is to be different, it is a new session that is given
those states. Where bit-exactness ends is known from the stamp that every recording carries: see ``environment_of``.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import itertools
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cutscene_model.scene import Camera, CastMember
from cutscene_server.config import ServerConfig
from cutscene_server.errors import OutOfRange
from cutscene_server.keyframes import LockstepStates
from cutscene_server.packed_scene import pack_stage, pack_state, unpack_stage, unpack_state
from cutscene_server.store import StoredFrame, StoredTurn
from cutscene_server.terms import Terms

MAX_REPLAY_FRAMES = 16_384
TURN_FRAMES = 256  # a replay's turns are no longer, so that none is large


@dataclass(frozen=True, slots=True)
class Replay:
    """What is to be performed again, and what is to be different. ``None``: as it was."""

    first_frame: int
    end_frame: int  # exclusive; 0: to the end
    tier: str | None = None
    camera: Camera | None = None
    cast: tuple[CastMember, ...] = ()  # in place of the members with these ids

    def changes(self, terms: Terms) -> list[str]:
        """What is asked to be different, one line each."""
        said = []
        if self.tier is not None and self.tier != terms.tier:
            said.append(f"tier: {terms.tier} then, {self.tier} now")
        if self.camera is not None:
            said.append("camera: another one was asked for")
        said += [f"cast: {member.id} was asked to look otherwise" for member in self.cast]
        return said

    def terms(self, recorded: Terms) -> Terms:
        """The replay's terms."""
        return dataclasses.replace(recorded, tier=self.tier or recorded.tier, background=True)

    def packed_stage(self, recorded: bytes) -> bytes:
        """The replay's stage."""
        if not self.cast:
            return recorded
        stage, other = unpack_stage(recorded), {member.id: member for member in self.cast}
        return pack_stage(dataclasses.replace(stage, cast=tuple(other.get(each.id, each) for each in stage.cast)))

    def packed_state(self, recorded: bytes) -> bytes:
        """A frame's state."""
        if self.camera is None:
            return recorded
        return pack_state(dataclasses.replace(unpack_state(recorded), camera=self.camera))


@dataclass(frozen=True, slots=True)
class Replayed:
    """The session that performs a replay."""

    session_id: str
    token: str = dataclasses.field(repr=False)
    first_frame: int
    frame_count: int
    differences: tuple[str, ...]  # why its pixels need not be those of the recording


def check_stretch(first: int, end: int, drawn: int) -> None:
    """Raises ``OutOfRange`` unless frames ``first`` to ``end`` (exclusive) are there and few enough to replay."""
    if not 0 <= first < end <= drawn:
        raise OutOfRange("end_frame", f"found frames {first} to {end}; the recording has those below {drawn}")
    if end - first > MAX_REPLAY_FRAMES:
        raise OutOfRange("end_frame", f"found {end - first} frames; at most {MAX_REPLAY_FRAMES} are replayed at once")


def replay_turns(
    frames: Sequence[StoredFrame], wanted: Replay, first_frame: int, first_number: int
) -> list[StoredTurn]:
    """Recorded frames as turns that begin at ``first_frame``: one for each stretch between cuts."""
    starts = [index for index, frame in enumerate(frames) if index == 0 or frame.cut_before]
    turns = []
    for number, (start, end) in enumerate(itertools.pairwise([*starts, len(frames)]), first_number):
        run = LockstepStates(tuple(wanted.packed_state(frame.packed_state) for frame in frames[start:end]))
        turns.append(
            StoredTurn(
                turn_number=number,
                turn_id=f"replay-{number}",
                first_frame=first_frame + start,
                frame_count=run.frame_count,
                cut_before=frames[start].cut_before,
                received_unix_us=time.time_ns() // 1000,
                packed_run=run.packed(),
            )
        )
    return turns


def environment_of(config: ServerConfig) -> dict[str, str]:
    """What decides, beside model and recording, about the last bits of a frame: they are the same where this is."""
    try:
        torch = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        torch = "none"
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "device": config.device,
        "threads": str(config.threads_each or "default"),
        "precision": config.precision,
        "torch": torch,
    }


def differences(recorded: Mapping[str, str], present: Mapping[str, str]) -> list[str]:
    """What of the environment is not as it was, one line each."""
    names = sorted(recorded.keys() | present.keys())
    pairs = [(name, recorded.get(name, "unknown"), present.get(name, "unknown")) for name in names]
    return [f"{name}: {then} then, {now} now" for name, then, now in pairs if then != now]


_VECTOR_UNITS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")  # by which torch chooses how it computes


def _processor() -> str:
    """The processor's name and vector units; a virtual machine's name alone may stand for several kinds."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    about = {key.strip(): value.split() for key, _, value in (line.partition(":") for line in lines)}
    units = [unit for unit in _VECTOR_UNITS if unit in about.get("flags", ())]
    return " ".join([*about.get("model name", [platform.processor() or platform.machine()]), *units])
