"""Render jobs and their queue as a table of states, with no I/O in it.

Jobs are drawn in the order they came, items in the order they lie in their job. An item that is being drawn when the
server stops is queued again: its session knows how far it is.
"""

from __future__ import annotations

import hmac
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from cutscene_server.errors import NoRoom
from cutscene_server.registry import digest_of

JOBS_RETRY_AFTER_S = 30.0  # a film takes longer than a frame
PACE_WEIGHT = 0.05  # of the newest frame in the pace: some twenty frames decide


class RenderState(Enum):
    """Of a job or an item. The values are those of the proto enum."""

    QUEUED = 1
    DRAWING = 2
    DONE = 3
    FAILED = 4
    CANCELLED = 5


EDGES: dict[RenderState, frozenset[RenderState]] = {
    RenderState.QUEUED: frozenset({RenderState.DRAWING, RenderState.CANCELLED}),
    RenderState.DRAWING: frozenset({RenderState.QUEUED, RenderState.DONE, RenderState.FAILED, RenderState.CANCELLED}),
    RenderState.DONE: frozenset(),
    RenderState.FAILED: frozenset(),
    RenderState.CANCELLED: frozenset(),
}
"""What an item's state may be followed by."""


@dataclass(frozen=True, slots=True)
class FinishedFilm:
    """What is known of a film once it is made."""

    byte_size: int
    digest: bytes  # BLAKE2b, 16 bytes, of the file
    pixel_digest: bytes  # BLAKE2b, 16 bytes, of all frames' pixel digests in order


@dataclass(frozen=True, slots=True)
class Item:
    """One performance of a job."""

    name: str
    session_id: str
    frame_count: int
    rate_factor: int
    state: RenderState = RenderState.QUEUED
    frames_done: int = 0
    failure: str = ""
    film: FinishedFilm | None = None

    @property
    def ended(self) -> bool:
        return not EDGES[self.state]


@dataclass(slots=True, eq=False)
class Job:
    """Items in order, and who may ask for them. Changed by its verbs alone."""

    job_id: str
    number: int  # in the order of jobs, from 1
    token_digest: bytes = field(repr=False)
    created_unix_us: int
    items: list[Item]
    ended_unix_us: int | None = None

    def holds_token(self, token: str) -> bool:
        return hmac.compare_digest(self.token_digest, digest_of(token))

    @property
    def state(self) -> RenderState:
        if self.ended:
            cancelled = any(item.state is RenderState.CANCELLED for item in self.items)
            return RenderState.CANCELLED if cancelled else RenderState.DONE
        untouched = all(item.state is RenderState.QUEUED for item in self.items)
        return RenderState.QUEUED if untouched else RenderState.DRAWING

    @property
    def ended(self) -> bool:
        """Whether every item has."""
        return self.ended_unix_us is not None

    @property
    def frame_count(self) -> int:
        return sum(item.frame_count for item in self.items)

    @property
    def frames_done(self) -> int:
        return sum(item.frames_done for item in self.items)

    @property
    def frames_left(self) -> int:
        """Frames that will still be drawn."""
        return sum(item.frame_count - item.frames_done for item in self.items if not item.ended)

    def count(self, state: RenderState) -> int:
        """Items in a state."""
        return sum(item.state is state for item in self.items)

    def film_name(self, index: int) -> str:
        """Where an item's film is below the server's output: made of nothing that could lead out of it."""
        return f"{self.job_id}/{index:03d}-{self.items[index].name}.mp4"

    @property
    def films(self) -> list[str]:
        """The names of all films that may be there, also of one that was being put away when its job was cancelled."""
        return [self.film_name(index) for index in range(len(self.items))]

    # ---- what happens to items --------------------------------------------------------------------------------------

    def begin(self, index: int) -> None:
        self._step(index, RenderState.DRAWING)

    def progress(self, index: int, frames_done: int) -> None:
        """So many of its frames are drawn and stored."""
        if self.items[index].state is RenderState.DRAWING:
            self.items[index] = replace(self.items[index], frames_done=frames_done)

    def give_back(self, index: int) -> None:
        """It is not drawn now after all."""
        self._step(index, RenderState.QUEUED)

    def finish(self, index: int, film: FinishedFilm, now_unix_us: int) -> None:
        self._step(index, RenderState.DONE, now_unix_us)
        self.items[index] = replace(self.items[index], film=film, frames_done=self.items[index].frame_count)

    def fail(self, index: int, why: str, now_unix_us: int) -> None:
        self._step(index, RenderState.FAILED, now_unix_us)
        self.items[index] = replace(self.items[index], failure=why)

    def cancel(self, now_unix_us: int) -> list[Item]:
        """Cancels what has not ended. Returns those items, as they were."""
        open_items = [(index, item) for index, item in enumerate(self.items) if not item.ended]
        for index, _ in open_items:
            self._step(index, RenderState.CANCELLED, now_unix_us)
        return [item for _, item in open_items]

    def _step(self, index: int, state: RenderState, now_unix_us: int = 0) -> None:
        item = self.items[index]
        if state not in EDGES[item.state]:
            raise ValueError(f"item {index} of job {self.job_id} is {item.state.name}; it cannot be {state.name} next")
        self.items[index] = replace(item, state=state)
        if all(item.ended for item in self.items):
            self.ended_unix_us = now_unix_us


class Queue:
    """Every job that is known, in order."""

    def __init__(self, most_waiting: int) -> None:
        self._most_waiting = most_waiting
        self._jobs: dict[str, Job] = {}
        self._next_number = 1

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._jobs.values()))

    def take_number(self) -> int:
        """A number above that of every job so far."""
        self._next_number += 1
        return self._next_number - 1

    def check_room(self) -> None:
        """Raises ``NoRoom`` if no job can be added now."""
        if sum(not job.ended for job in self._jobs.values()) >= self._most_waiting:
            raise NoRoom(f"{self._most_waiting} render jobs wait already, and no more may", JOBS_RETRY_AFTER_S)

    def add(self, job: Job) -> None:
        """Adds a job behind all others."""
        self._jobs[job.job_id] = job
        self._next_number = max(self._next_number, job.number + 1)

    def get(self, job_id: str) -> Job | None:
        return self._jobs.get(job_id)

    def forget(self, job: Job) -> None:
        self._jobs.pop(job.job_id, None)

    def next_item(self) -> tuple[Job, int] | None:
        """The item to be drawn next; None if none waits."""
        for job in [job for job in self._jobs.values() if not job.ended]:
            for index, item in enumerate(job.items):
                if item.state is RenderState.QUEUED:
                    return job, index
        return None

    def ahead_of(self, job: Job) -> list[Job]:
        """The jobs that have not ended and come before this one."""
        return [other for other in self._jobs.values() if other.number < job.number and not other.ended]

    def awaited_sessions(self) -> set[str]:
        """The sessions of items that will still be drawn, however long they wait for it."""
        return {item.session_id for job in self._jobs.values() for item in job.items if not item.ended}

    def outdated(self, ended_before_unix_us: int, most_ended: int) -> list[Job]:
        """Jobs that ended before a time, and the oldest of those that are more than ``most_ended``."""
        ended = sorted(
            (job for job in self._jobs.values() if job.ended), key=lambda job: (job.ended_unix_us or 0, job.number)
        )
        too_many = len(ended) - most_ended
        return [job for at, job in enumerate(ended) if at < too_many or (job.ended_unix_us or 0) < ended_before_unix_us]


class Pace:
    """How long a frame takes, waiting for live sessions included: the frames drawn last count most."""

    def __init__(self) -> None:
        self.seconds_per_frame: float | None = None  # None: not known yet
        self._last_s: float | None = None

    def pause(self) -> None:
        """What lies between the frame before and the next one is no measure."""
        self._last_s = None

    def note_frame(self, now_s: float) -> None:
        """A frame was drawn. ``now_s``: seconds of any steady clock."""
        if self._last_s is not None:
            took = now_s - self._last_s
            before = took if self.seconds_per_frame is None else self.seconds_per_frame
            self.seconds_per_frame = before + PACE_WEIGHT * (took - before)
        self._last_s = now_s

    def remaining_s(self, frames: int) -> int:
        """How long so many frames will take, at least 1; 0 if that is not known, or there are none."""
        if self.seconds_per_frame is None or frames == 0:
            return 0
        return max(1, math.ceil(frames * self.seconds_per_frame))


def jobs_in_order(jobs: Sequence[Job], after: int, limit: int) -> tuple[list[Job], bool]:
    """Up to ``limit`` jobs whose number is above ``after``; and whether more follow."""
    found = sorted((job for job in jobs if job.number > after), key=lambda job: job.number)
    return found[:limit], len(found) > limit
