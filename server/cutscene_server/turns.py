"""What a session holds of its turns: as they were asked for, where they lie in its frames, how far they have come."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from cutscene_server.keyframes import Run

REMEMBERED_TURN_IDS = 4096  # uniqueness of turn ids is checked against so many: a session may have millions of turns


@dataclass(frozen=True, slots=True)
class Turn:
    """One request for a run of frames."""

    turn_id: str
    run: Run


@dataclass(frozen=True, slots=True)
class PlacedTurn:
    """A turn and the frames it takes."""

    turn: Turn
    number: int  # of the session's turns, from 0
    first_frame: int
    cut_before: bool
    skipped: int = 0  # states that will have no frame; always of those before what is left to draw

    @property
    def frame_count(self) -> int:
        return self.turn.run.frame_count - self.skipped

    @property
    def end_frame(self) -> int:
        """One past its last frame."""
        return self.first_frame + self.frame_count


@dataclass(frozen=True, slots=True)
class DrawOrder:
    """One frame that the model is to draw now, or, if it is ``stored``, to show again as it was."""

    frame_index: int
    generation: int  # of the session's orders: what comes back from an earlier one is void
    turn_number: int
    stored: bool
    packed_state: bytes  # empty for a stored frame, whose state is stored with it
    tier: str
    cut_before: bool
    paced: bool  # it has a time that it is due at
    turn_id: str
    pixel_digest: bytes = b""  # of a stored frame, once it is read: what it is to look like

    @property
    def log_fields(self) -> dict[str, object]:
        """Which frame of which turn a log line is about."""
        return {"turn_id": self.turn_id, "frame": self.frame_index}


@dataclass(slots=True)
class Usage:
    frames: int = 0
    turns: int = 0
    compute_us: int = 0
    bytes_sent: int = 0
    deadline_misses: int = 0
    states_skipped: int = 0


class Performed:
    """A turn under way: how far it is and what it has cost."""

    def __init__(self, placed: PlacedTurn, received_us: int, drawn: int = 0) -> None:
        """``drawn``: how many of its frames need not be given to the model any more."""
        states = placed.turn.run.frame_count
        self.number = placed.number
        self.turn = placed.turn
        self.received_us = received_us
        self.first_frame = placed.first_frame  # goes down with what turns before this one lose
        self.cut_before = placed.cut_before
        self.positions = deque(range(placed.skipped + drawn, states))  # of the states yet to be given to the model
        self.skipped = placed.skipped
        self.misses = 0
        self.first_frame_us = 0
        self.blocks_reused = 0
        self.blocks_computed = 0

    @property
    def frame_count(self) -> int:
        return self.turn.run.frame_count - self.skipped

    @property
    def end_frame(self) -> int:
        return self.first_frame + self.frame_count


@dataclass(slots=True)
class InFlight:
    frame_index: int
    performed: Performed
    position: int  # of its state in the turn's run
    wanted_us: int  # when nothing but the model kept this frame from being drawn
    due_us: int | None  # when it is to be ready; None: nothing was promised
    skipped: int  # states passed over before it


@dataclass(slots=True)
class TurnIds:
    """The ids of the turns that came last."""

    known: set[str] = field(default_factory=set)
    order: deque[str] = field(default_factory=deque)

    def add(self, turn_id: str) -> None:
        self.known.add(turn_id)
        self.order.append(turn_id)
        if len(self.order) > REMEMBERED_TURN_IDS:
            self.known.discard(self.order.popleft())
