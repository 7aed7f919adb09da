"""What a session has said and its client has not yet acknowledged, in the order it was said.

Entries are numbered; a stream keeps the number of the next one it will send. Each entry also has a place in the frames:
it is forgotten once a frame past that place is acknowledged. So a client that comes back gets every frame exactly once
and every receipt at least once (the one that lies just at the frame it asked for may come a second time).
"""

from __future__ import annotations

from dataclasses import dataclass

from cutscene_server.terms import Codec


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """A turn was taken: the frames it takes effect at."""

    turn_id: str
    first_frame: int
    frame_count: int


@dataclass(frozen=True, slots=True)
class DrawnFigures:
    """What the model says of one frame. Times are microseconds of the machine's monotonic clock."""

    frame_index: int
    tier: str
    blocks_reused: int
    blocks_computed: int
    greybox_us: int
    denoise_us: int
    decode_us: int
    compute_us: int  # all the model's time since the frame before, the making of its block included
    started_us: int
    finished_us: int


@dataclass(frozen=True, slots=True)
class FrameReady:
    """A frame, encoded."""

    turn_id: str
    presentation_time_us: int  # from session start
    codec: Codec
    data: bytes
    pixel_digest: bytes  # BLAKE2b, 16 bytes, of the raw pixels
    queued_us: int
    encode_us: int
    ready_us: int  # when it could be sent, on the machine's monotonic clock
    send_us: int  # and when it is, no earlier: see ``scheduling.Evenness``
    figures: DrawnFigures
    states_skipped: int = 0  # between the frame before and this one
    late: bool = False  # ready after it was due, as ``scheduling.Cadence`` has it


@dataclass(frozen=True, slots=True)
class TurnCompleted:
    """A turn's last frame is ready: what the turn cost."""

    turn_id: str
    first_frame: int
    frame_count: int
    first_frame_us: int
    total_us: int
    blocks_reused: int
    blocks_computed: int
    states_skipped: int = 0
    deadline_misses: int = 0


@dataclass(frozen=True, slots=True)
class Rewound:
    """The timeline went back: the next frame is ``next_frame``, in a new epoch."""

    epoch: int
    next_frame: int


Entry = TurnStarted | FrameReady | TurnCompleted | Rewound


class SessionLog:
    """Entries by number. Bounded by the session's credit and its turn queue, since frames beyond it are not drawn."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[int, Entry]] = {}  # number -> (place in the frames, entry)
        self.next_number = 0
        self.held_bytes = 0  # of the pictures that are kept

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, frame_place: int, entry: Entry) -> None:
        self._entries[self.next_number] = frame_place, entry
        self.next_number += 1
        self.held_bytes += _picture_bytes(entry)

    def forget_below(self, frame: int) -> None:
        """Forgets what lies before ``frame``. A receipt given early stays in place between frames that go."""
        self._forget([number for number, (place, _) in self._entries.items() if place < frame])

    def forget_from(self, frame: int) -> None:
        """Forgets what lies at ``frame`` or after it: it never happened."""
        self._forget([number for number, (place, _) in self._entries.items() if place >= frame])

    def clear(self) -> None:
        """Forgets everything: nobody will ask any more."""
        self._forget(list(self._entries))

    @property
    def first_number(self) -> int:
        """Where a stream that has everything acknowledged, and nothing else, goes on."""
        return next(iter(self._entries), self.next_number)

    def get(self, number: int) -> Entry | None:
        """The entry of that number; None if it was forgotten."""
        kept = self._entries.get(number)
        return kept[1] if kept else None

    def _forget(self, numbers: list[int]) -> None:
        for number in numbers:
            _, entry = self._entries.pop(number)
            self.held_bytes -= _picture_bytes(entry)


def _picture_bytes(entry: Entry) -> int:
    return len(entry.data) if isinstance(entry, FrameReady) else 0
