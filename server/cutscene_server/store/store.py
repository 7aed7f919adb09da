"""The store: sessions, turns and frames that survive ``kill -9`` at any instant.

Every method blocks until what it says is durable, but for those that say otherwise. A store belongs to one thread at a
time: an asyncio program calls it through an executor of a single thread, and consumes its iterators there.

Two owners are kept apart twice: by a lock on the directory and, where locks are not honoured, by a fence. Each opening
raises a number in the catalogue, and whoever finds another number there than its own stops.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from cutscene_server.store.catalogue import ARRIVING, Catalogue, Timeline
from cutscene_server.store.data_directory import check_format, empty_directory, lock, sync_directory
from cutscene_server.store.errors import StoreError, StoreFailedError, UnknownSessionError, refused
from cutscene_server.store.frame_log import FrameLog, FrameLogs
from cutscene_server.store.records import (
    NewSession,
    Retention,
    SessionEnd,
    SessionSummary,
    StoredFrame,
    StoredSession,
    StoredTurn,
    Swept,
)

log = logging.getLogger("cutscene_server.store")

MOST_OPEN_LOGS = 256
SYNCED_AT_ONCE = 8  # files: a disk makes several durable in hardly more time than one
MOST_UNSYNCED_BYTES = 4 << 20  # of a session that arrives: what a live session's next frame may have to wait for
REMEMBERED_TURNS = 4096


class Store:
    """See the module's docstring. ``Store.open`` makes one."""

    def __init__(self, catalogue: Catalogue, logs: FrameLogs, held: ExitStack) -> None:
        self._catalogue = catalogue
        self._logs = logs
        self._held = held
        self._syncing = ThreadPoolExecutor(SYNCED_AT_ONCE - 1, thread_name_prefix="sync")
        held.callback(self._syncing.shutdown)

    @classmethod
    def open(cls, directory: Path, *, sync: bool = True, most_open_logs: int = MOST_OPEN_LOGS) -> Store:
        """Opens the store in ``directory``, which is made if there is none. Without ``sync``, what was written survives
        the death of the process, but not that of the machine, after which sessions may be found damaged."""
        try:
            with ExitStack() as held:
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                held.callback(os.close, lock(directory))
                check_format(directory)
                (directory / "sessions").mkdir(mode=0o700, exist_ok=True)
                empty_directory(directory / "incoming")
                catalogue = Catalogue(directory / "catalogue.sqlite", sync=sync)
                held.callback(catalogue.close)
                catalogue.take_over()
                sync_directory(directory)
                logs = FrameLogs(directory / "sessions", sync=sync, most_open=most_open_logs)
                held.callback(logs.close)
                store = cls(catalogue, logs, held.pop_all())
        except OSError as error:
            raise refused(directory, error) from error
        catalogue.doom_arrivals()
        store._remove_doomed()  # what a crash kept the last owner from removing
        return store

    def close(self) -> None:
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- sessions and their timelines -------------------------------------------------------------------------------

    def create_session(self, new: NewSession) -> None:
        self._catalogue.add_session(new)

    def fork_session(self, new: NewSession, parent_id: str, parent_epoch: int, first_frame: int) -> None:
        """A session that has the parent's frames below ``first_frame``. The parent may be open, closed, deleted later,
        or damaged from ``first_frame`` on."""
        parent = self._catalogue.timeline(parent_id, parent_epoch)
        self._require_frames(parent, 0, first_frame)
        self._catalogue.add_session(new, parent, first_frame)

    def rewind(self, session_id: str, frame: int) -> int:
        """Starts a new epoch, whose frames below ``frame`` are the current epoch's, and drops the turns that wait.
        Returns the new epoch's number. The epoch that is left can still be read, and forked."""
        current = self._playing(session_id)
        self._require_frames(current, 0, frame)
        return self._catalogue.add_epoch(current, frame)

    def close_session(self, session_id: str, reason: str, closed_unix_us: int, usage: dict[str, int]) -> None:
        """Nothing is added any more, and nothing of the turns that wait will be drawn. Damage does not keep a session
        from being closed."""
        current = self._playing(session_id)
        end_frame = self._log(current).intact_end
        self._catalogue.close_session(current, end_frame, SessionEnd(reason, closed_unix_us, usage))

    def delete_session(self, session_id: str) -> None:
        """Deletes a session, open or closed. Frames that forks of it have too stay until the last such fork goes."""
        self._catalogue.delete_session(self._catalogue.timeline(session_id).session)
        self._remove_doomed()

    def session_ids(self) -> list[str]:
        """In order of creation."""
        return self._catalogue.session_ids()

    def summaries(self, after: int = 0, limit: int = 100) -> list[SessionSummary]:
        """Up to ``limit`` sessions whose number is above ``after``, in order of creation."""
        return self._catalogue.summaries(after, limit)

    def read_session(self, session_id: str) -> StoredSession:
        current = self._catalogue.timeline(session_id)
        (summary,) = self._catalogue.summaries(current.session - 1, 1)
        return StoredSession(
            summary.number,
            summary.opened,
            summary.fork_of,
            summary.epoch,
            summary.end,
            next_frame=self._log(current).end_frame,
            unfinished=tuple(self._catalogue.unfinished(current.session)),
            turns=tuple(self._catalogue.turns(current.session, REMEMBERED_TURNS)),
        )

    def next_frame(self, session_id: str) -> int:
        """One past the last durable frame of the current timeline. For a closed one no file is looked into."""
        current = self._catalogue.timeline(session_id)
        return current.sure_end if current.closed else self._log(current).end_frame

    # ---- turns and frames -------------------------------------------------------------------------------------------

    def add_turn(self, session_id: str, turn: StoredTurn) -> None:
        if turn.packed_run is None:
            raise ValueError(f"turn {turn.turn_number} has no run")
        self._catalogue.add_turns(self._playing(session_id).session, [turn])

    def finish_turn(self, session_id: str, turn_number: int) -> None:
        """Drops a turn's run, now that all its frames are there. The one call that a power failure may undo: then the
        turn is unfinished again, and its frames are there."""
        current = self._playing(session_id)
        self._catalogue.finish_turn(current, turn_number, self._log(current).end_frame)

    def skip_states(self, session_id: str, turn_number: int, states: int) -> None:
        """So many of a turn's states will have no frame: it is that much shorter, and those after it begin earlier."""
        current = self._playing(session_id)
        self._catalogue.skip_states(current.session, turn_number, states, self._log(current).end_frame)

    def add_frame(self, session_id: str, frame: StoredFrame) -> None:
        """Adds the current epoch's next frame: ``StoredSession.next_frame``, then one after the other."""
        for error in self.add_frames({session_id: frame}).values():
            raise error

    def add_frames(self, frames: Mapping[str, StoredFrame]) -> dict[str, Exception]:
        """Adds a frame to each of these sessions, as ``add_frame`` does to one, and makes them durable side by side.
        Returns the sessions whose frames are not there, with why.

        One frame of each, for a machine's failure may tear one frame of a file, and is told from damage by that. That
        nobody else owns the store is made sure of once, before the first of them.
        """
        try:
            self._catalogue.check_fence()
        except StoreError as error:
            return dict.fromkeys(frames, error)
        failed: dict[str, Exception] = {}
        items = iter(frames.items())
        while some := dict(itertools.islice(items, self._logs.most_open)):  # none is closed before it is durable
            failed |= self._add_open(some)
        return failed

    def _add_open(self, frames: Mapping[str, StoredFrame]) -> dict[str, Exception]:
        """``add_frames`` of as many sessions as can have their files open."""
        failed: dict[str, Exception] = {}
        written: dict[str, FrameLog] = {}
        for session_id, frame in frames.items():
            try:
                log_of_it = self._log(self._playing(session_id))
                end = log_of_it.end_frame
                if frame.frame_index != end:
                    raise ValueError(f"session {session_id} goes on with frame {end}, not {frame.frame_index}")
                log_of_it.append(frame, durable=False)
            except Exception as error:  # of one session, not of the others
                failed[session_id] = error
            else:
                written[session_id] = log_of_it
        return failed | self._settle(written)

    def _settle(self, logs: Mapping[str, FrameLog]) -> dict[str, Exception]:
        """Makes what was written to these logs durable. Returns those for which that failed, with why."""

        def settle(some: Sequence[str]) -> dict[str, Exception]:
            failed: dict[str, Exception] = {}
            for session_id in some:
                try:
                    logs[session_id].settle()
                except StoreError as error:
                    failed[session_id] = error
            return failed

        names = list(logs)
        first, *others = [names[start::SYNCED_AT_ONCE] for start in range(min(SYNCED_AT_ONCE, len(names)))] or [[]]
        settling = [self._syncing.submit(settle, some) for some in others]
        failed = settle(first)  # by this thread, which would only wait
        for each in settling:
            failed |= each.result()
        return failed

    def read_frames(self, session_id: str, first: int, end: int, epoch: int | None = None) -> Iterator[StoredFrame]:
        """Frames ``first`` to ``end`` (exclusive) as one epoch has them (None: the current one), each read when the
        iterator comes to it. The session must not be deleted before."""
        timeline = self._catalogue.timeline(session_id, epoch)
        self._require_frames(timeline, first, end)
        segments: list[tuple[Timeline, range]] = []
        for each in self._catalogue.lineage(timeline):
            segments.append((each, range(max(first, each.first_frame), end)))
            end = min(end, each.first_frame)
            if end <= first:
                break
        return (self._log(each).read(index) for each, indexes in reversed(segments) for index in indexes)

    # ---- sessions from elsewhere ------------------------------------------------------------------------------------

    def begin_arrival(self, new: NewSession) -> None:
        """A session whose turns and frames are already known begins to arrive. Nobody sees it before it is finished,
        and it is gone if the store is opened again before."""
        self._catalogue.add_session(new, state=ARRIVING)

    def add_arrived_turns(self, session_id: str, turns: Sequence[StoredTurn]) -> None:
        """Turns, in order; those of which nothing is left to draw have no run. Not durable of its own."""
        self._catalogue.add_turns(self._catalogue.arriving(session_id).session, turns, durable=False)

    def add_arrived_frames(self, session_id: str, arrived: Sequence[StoredFrame]) -> None:
        """The next frames, from frame 0 on. Not durable of its own, but the disk is never far behind: whoever syncs
        next would wait for all of it."""
        frames = self._log(self._catalogue.arriving(session_id))
        self._catalogue.check_fence()
        for frame in arrived:
            if frame.frame_index != frames.end_frame:
                raise ValueError(f"session {session_id} goes on with frame {frames.end_frame}, not {frame.frame_index}")
            before = frames.byte_size
            frames.append(frame, durable=False)
            if before // MOST_UNSYNCED_BYTES != frames.byte_size // MOST_UNSYNCED_BYTES:
                frames.settle()

    def finish_arrival(self, session_id: str) -> None:
        """All of it is there: from here on it is a session like any other."""
        arrived = self._catalogue.arriving(session_id)
        frames = self._log(arrived)
        frames.settle()
        self._catalogue.finish_arrival(arrived, frames.end_frame)

    def discard_arrival(self, session_id: str) -> None:
        """Removes a session that was arriving, even if it has arrived."""
        try:
            arrived = self._catalogue.arriving(session_id)
        except UnknownSessionError:
            arrived = self._catalogue.timeline(session_id)
        self._catalogue.delete_session(arrived.session)
        self._remove_doomed()

    # ---- room -------------------------------------------------------------------------------------------------------

    def frame_bytes(self, session_id: str) -> int:
        """What the session's own frames take on disk, over all its epochs; not those that it has of a parent."""
        return self._logs.session_bytes(self._catalogue.timeline(session_id).session_id)

    def total_bytes(self) -> int:
        """What all frames take on disk, those included that only forks of deleted sessions need."""
        try:
            return self._logs.total_bytes()
        except OSError as error:
            raise StoreFailedError(f"what is stored cannot be counted: {error}") from error

    def sweep(self, now_unix_us: int, keep: Retention, limit: int | None = None, in_use: Collection[str] = ()) -> Swept:
        """Deletes closed sessions that are too old, open ones that nobody came back to, and, if there is still too much
        on disk, closed ones, the oldest first. At most ``limit``, and none whose id is ``in_use``."""
        total = self.total_bytes()
        deleted: list[str] = []

        def delete(session_id: str) -> None:
            nonlocal total
            self._catalogue.delete_session(self._catalogue.timeline(session_id).session)
            total -= self._remove_doomed()
            deleted.append(session_id)

        closed = [each for each in self._catalogue.closed_sessions() if each[0] not in in_use]
        for session_id, closed_unix_us in closed[:limit]:
            if closed_unix_us > now_unix_us - keep.keep_closed_s * 1e6 and total <= keep.max_bytes:
                break
            delete(session_id)
        abandoned = self._catalogue.abandoned_sessions(int(now_unix_us - keep.keep_open_s * 1e6))
        left = None if limit is None else limit - len(deleted)
        for session_id in [each for each in abandoned if each not in in_use][:left]:
            delete(session_id)
        return Swept(tuple(deleted), total)

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _playing(self, session_id: str) -> Timeline:
        """The current timeline of a session that can go on."""
        current = self._catalogue.timeline(session_id)
        if current.closed:
            raise ValueError(f"session {session_id} is closed")
        return current

    def _log(self, timeline: Timeline) -> FrameLog:
        return self._logs.get(timeline.session_id, timeline.epoch, timeline.first_frame, timeline.sure_end)

    def _require_frames(self, timeline: Timeline, first: int, end: int) -> None:
        frames = self._log(timeline)
        if not 0 <= first <= end or (end > frames.intact_end and end > frames.end_frame):
            raise ValueError(f"frames {first} to {end} of session {timeline.session_id} are not there to be had")

    def _remove_doomed(self) -> int:
        """Removes the files that nobody needs; returns their bytes. What cannot be removed now is left to later."""
        doomed = self._catalogue.doomed()
        freed = 0
        try:
            for timeline in doomed:
                freed += self._logs.bytes_of(*timeline)
                self._logs.remove(*timeline)
            for session_id in {session_id for session_id, _ in doomed}:
                self._logs.settle_removal(session_id)
        except OSError as error:
            log.warning("frames of deleted sessions stay on disk for now: %s", error)
            return freed
        if doomed:
            self._catalogue.forget_doomed()
        return freed
