"""Sessions to files and back, between the store and a client's stream.

Both ways go in small batches, so that a live session's frame waits for the store no longer than one of them takes:
checking and packing happen in other threads. A file that comes is spooled whole before any of it is believed; its
session arrives in the store unseen, and is there once all of it was found to be right.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import IO, Any, ParamSpec, TypeVar

from cutscene_model.manifest import Manifest
from cutscene_server.archive import Archive, placed_turns
from cutscene_server.errors import DiskFull, NoRoom, StorageFailed
from cutscene_server.registry import SessionRecord, digest_of, new_session_id, new_token
from cutscene_server.session_file.reading import SessionReader
from cutscene_server.session_file.writing import SessionWriter
from cutscene_server.store import NO_ROOM, StoredFrame, StoredSession, StoredTurn
from cutscene_server.terms import unpack_terms

log = logging.getLogger("cutscene_server")

P = ParamSpec("P")
T = TypeVar("T")

BATCH_FRAMES = 32  # of some 20 kB, and checked in some 10 ms
BATCH_TURNS = 64
MOST_IMPORTS = 2  # at once: each has its file on disk twice for a while
MOST_EXPORTS = 4
# Threads of their own: whoever hangs up leaves one busy for a batch, and turns of live sessions are read by the loop's.
THREADS = 3


@dataclass(frozen=True, slots=True)
class Imported:
    """A session that came in a file. It waits on disk."""

    session_id: str
    token: str = dataclasses.field(repr=False)
    next_frame: int
    differences: tuple[str, ...]  # why its next frames need not have the pixels they would have had


class Transfers:
    """See the module's docstring."""

    def __init__(
        self, archive: Archive, max_bytes: int, max_frames: int, spawn: Callable[[Coroutine[Any, Any, None]], None]
    ) -> None:
        """``max_bytes``: of a file that comes; ``max_frames``: of its session. ``spawn`` does what nobody waits for."""
        self._archive = archive
        self._max_bytes = max_bytes
        self._max_frames = max_frames
        self._spawn = spawn
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="files")
        self._imports = _Places("files are imported", MOST_IMPORTS)
        self._exports = _Places("sessions are exported", MOST_EXPORTS)

    def close(self) -> None:
        """Begins nothing more. What is under way in a thread is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def export(self, record: SessionRecord, model: Manifest) -> AsyncGenerator[bytes, None]:
        """A session's file, in chunks of at most 1 MiB: as it is now, whatever is drawn or rewound meanwhile.

        Raises ``NoRoom``, ``RecordingDamaged``, ``StorageFailed``.
        """
        with self._exports.taken():
            stored = await self._archive.stored(record)
            opened, turns = stored.opened, turns_to_move(stored)
            writing = SessionWriter(model.latent_shape, stored.next_frame, len(turns))
            with contextlib.closing(writing) as writer:
                writer.begin(unpack_terms(opened.packed_terms), opened.packed_stage)
                for turn in turns:
                    await self._apart(writer.add_turn, turn)
                    for chunk in writer.take():
                        yield chunk
                async for frames in self._batches(record, stored):
                    await self._apart(writer.add_frames, frames)
                    for chunk in writer.take():
                        yield chunk
                writer.begin_latents()
                async for frames in self._batches(record, stored):
                    await self._apart(writer.add_latents, frames)
                    for chunk in writer.take():
                        yield chunk
                writer.finish(opened.model, opened.model_digest, opened.environment)
                for chunk in writer.take():
                    yield chunk
        record.log.info("was exported at frame %d", stored.next_frame)

    async def receive(self, chunks: AsyncIterator[bytes], model: Manifest) -> Imported:
        """Takes a file in. Raises ``InvalidRequest``, ``OtherModel``, ``NoRoom``, ``StorageFailed``, and what
        ``chunks`` raises."""
        with self._imports.taken(), self._spool() as spool:
            await self._fill(spool, chunks)
            reader = await self._apart(SessionReader, spool, model, self._max_frames)
            imported = await self._store(reader)
        log.info("a session was imported at frame %d", imported.next_frame, extra={"session_id": imported.session_id})
        return imported

    # ---- inside -----------------------------------------------------------------------------------------------------

    async def _batches(self, record: SessionRecord, stored: StoredSession) -> AsyncIterator[Sequence[StoredFrame]]:
        """All frames of the timeline that was current when ``stored`` was read."""
        for start in range(0, stored.next_frame, BATCH_FRAMES):
            stop = min(stored.next_frame, start + BATCH_FRAMES)
            yield await self._archive.stored_frames(record, start, stop, stored.epoch)

    @contextlib.contextmanager
    def _spool(self) -> Iterator[IO[bytes]]:
        """A file without a name in the data directory."""
        try:
            with self._archive.spool() as spool:
                yield spool
        except OSError as error:
            log.error("a file could not be spooled: %s", error)
            if error.errno in NO_ROOM:
                raise DiskFull from error
            raise StorageFailed("the server could not keep the file; its log says why") from error

    async def _fill(self, spool: IO[bytes], chunks: AsyncIterator[bytes]) -> None:
        size = 0
        async for chunk in chunks:
            size += len(chunk)
            if size > self._max_bytes:
                raise NoRoom(f"this file is too large; this server takes files of up to {self._max_bytes} bytes", None)
            await self._apart(spool.write, chunk)
        await self._apart(spool.flush)

    async def _store(self, reader: SessionReader) -> Imported:
        session_id, token = new_session_id(), new_token()
        manifest, environment = reader.manifest, reader.manifest.environment
        try:
            await self._archive.begin_arrival(
                session_id, digest_of(token), reader.terms, reader.packed_stage, environment
            )
            turns, frames = reader.turns(), reader.frames()
            while turn_batch := await self._apart(_next_turns, turns):
                await self._archive.add_arrived_turns(session_id, turn_batch)
            while frame_batch := await self._apart(_next_frames, frames):
                await self._archive.add_arrived_frames(session_id, frame_batch)
            await self._archive.finish_arrival(session_id)
        except BaseException:
            self._spawn(self._archive.discard_arrival(session_id))  # nobody knows its token
            raise
        reasons = self._archive.differences_from(environment)
        return Imported(session_id, token, manifest.frame_count, reasons)

    async def _apart(self, work: Callable[P, T], *values: P.args, **named: P.kwargs) -> T:
        """Does it in another thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *values, **named))


class _Places:
    """How many of a kind may be under way at once."""

    def __init__(self, what: str, most: int) -> None:
        self._what = what
        self._left = self._most = most

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Raises ``NoRoom`` if all places are taken."""
        if not self._left:
            raise NoRoom(f"{self._most} {self._what} already, and no more at once")
        self._left -= 1
        try:
            yield
        finally:
            self._left += 1


def turns_to_move(stored: StoredSession) -> list[StoredTurn]:
    """The turns of the current timeline as they lie on it; of what is left to draw, with their runs."""
    rows = {turn.turn_number: turn for turn in (*stored.turns, *stored.unfinished)}
    return [
        dataclasses.replace(
            rows[placed.number],
            frame_count=placed.frame_count,
            packed_run=rows[placed.number].packed_run if placed.end_frame > stored.next_frame else None,
        )
        for placed in placed_turns(stored)
    ]


def _next_turns(turns: Iterator[StoredTurn]) -> list[StoredTurn]:
    """Some further turns, the last of which may be large; none: that was all."""
    batch: list[StoredTurn] = []
    for turn in turns:
        batch.append(turn)
        if len(batch) == BATCH_TURNS or turn.packed_run is not None:
            break
    return batch


def _next_frames(frames: Iterator[StoredFrame]) -> list[StoredFrame]:
    return list(itertools.islice(frames, BATCH_FRAMES))
