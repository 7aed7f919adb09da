"""What goes into a store and comes out of it. What the store does not look into is opaque bytes or plain values."""

from __future__ import annotations

import re
from dataclasses import dataclass

SESSION_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
MAX_RUN_BYTES = 32 << 20
MAX_FRAME_BYTES = 8 << 20  # state and latent of one frame; a shipped model's are some 20 kB
LARGEST_INT = (1 << 63) - 1  # SQLite's


def _require_range(name: str, found: int, lowest: int, highest: int = LARGEST_INT) -> None:
    if not lowest <= found <= highest:
        raise ValueError(f"{name} is {found}, which is not {lowest} to {highest}")


@dataclass(frozen=True, slots=True)
class NewSession:
    """All of a session that is fixed when it is opened."""

    session_id: str  # 8 to 64 of A-Z a-z 0-9 _ -; names a directory
    token_digest: bytes  # 16 to 64 bytes: a hash of the token, never the token
    created_unix_us: int
    model: str
    model_digest: str
    packed_terms: bytes
    packed_stage: bytes
    environment: dict[str, str]  # what the frames were drawn with: a stamp, not looked into

    def __post_init__(self) -> None:
        if SESSION_ID.fullmatch(self.session_id) is None:
            raise ValueError(f"session_id is {self.session_id!r}, which is not 8 to 64 of A-Z a-z 0-9 _ -")
        _require_range("token_digest's length", len(self.token_digest), 16, 64)
        _require_range("created_unix_us", self.created_unix_us, 0)


@dataclass(frozen=True, slots=True)
class StoredTurn:
    """A turn as it was accepted."""

    turn_number: int  # rises along the session, whatever is rewound
    turn_id: str
    first_frame: int  # of the epoch that was current when it came
    frame_count: int  # 0 only if every state of it was skipped
    cut_before: bool
    received_unix_us: int
    packed_run: bytes | None  # up to 32 MiB; None once nothing of it is left to draw

    def __post_init__(self) -> None:
        _require_range("turn_number", self.turn_number, 0)
        _require_range("first_frame", self.first_frame, 0)
        _require_range("frame_count", self.frame_count, 0, LARGEST_INT - self.first_frame)
        _require_range("received_unix_us", self.received_unix_us, 0)
        _require_range("packed_run's length", len(self.packed_run or b""), 0, MAX_RUN_BYTES)


@dataclass(frozen=True, slots=True)
class StoredFrame:
    """A frame: what it was drawn from, its history for later frames, and the proof of its pixels."""

    frame_index: int
    tier: str
    cut_before: bool
    turn_number: int  # in the session that drew it: a fork's early frames have their turns in its parent
    packed_state: bytes
    latent: bytes  # raw float16, C order; with packed_state up to 8 MiB
    pixel_digest: bytes  # BLAKE2b, 16 bytes, of the raw pixels
    figures: tuple[int | float | str, ...]

    def __post_init__(self) -> None:
        _require_range("frame_index", self.frame_index, 0)
        _require_range("turn_number", self.turn_number, 0)
        _require_range("state and latent's length", len(self.packed_state) + len(self.latent), 0, MAX_FRAME_BYTES)
        _require_range("pixel_digest's length", len(self.pixel_digest), 16, 16)


@dataclass(frozen=True, slots=True)
class ForkPoint:
    """Where a fork left its parent, which may have been deleted since."""

    session_id: str
    epoch: int
    frame: int  # the fork has the parent's frames below it


@dataclass(frozen=True, slots=True)
class SessionEnd:
    """How and when a session was closed, and what it had used."""

    reason: str
    closed_unix_us: int
    usage: dict[str, int]


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept, and for how long."""

    keep_closed_s: float  # since they were closed
    keep_open_s: float  # since their last turn
    max_bytes: int  # of frames on disk, above which closed sessions go, the oldest first


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did."""

    deleted: tuple[str, ...]  # session ids
    bytes_left: int  # that all frames take


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """A session without its turns and frames. It can be had of a damaged session too."""

    number: int  # 1 or more, in order of creation
    opened: NewSession
    fork_of: ForkPoint | None
    epoch: int  # the current timeline's
    end: SessionEnd | None  # None: open


@dataclass(frozen=True, slots=True)
class StoredSession(SessionSummary):
    """All that is durable of a session but its frames."""

    next_frame: int  # one past the last durable frame of the current timeline
    unfinished: tuple[StoredTurn, ...]  # in order; frames of the first ones may be there, even all of them
    turns: tuple[StoredTurn, ...]  # the last 4096, in order, without their runs
