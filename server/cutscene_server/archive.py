"""The store as the event loop sees it: values instead of rows, awaited instead of waited for, errors that clients get.

One thread does all the writing. Whatever is returned from here is durable.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TypeVar

from cutscene_server import worker_messages
from cutscene_server.errors import (
    ConfigError,
    DiskFull,
    OtherModel,
    OutOfRange,
    RecordingDamaged,
    ServerError,
    StorageFailed,
    UnknownSession,
)
from cutscene_server.keyframes import StoredStates, unpack_run
from cutscene_server.registry import SessionRecord, digest_of, new_session_id, new_token
from cutscene_server.replay import TURN_FRAMES, Replay, Replayed, check_stretch, differences, replay_turns
from cutscene_server.scheduling import Tenant
from cutscene_server.session import Session
from cutscene_server.session_log import DrawnFigures
from cutscene_server.session_states import CloseReason
from cutscene_server.store import (
    MOST_OPEN_LOGS,
    NewSession,
    Retention,
    SessionSummary,
    Store,
    StoreDamagedError,
    StoredFrame,
    StoredSession,
    StoredTurn,
    StoreError,
    StoreFullError,
    Swept,
    UnknownSessionError,
)
from cutscene_server.terms import Terms, unpack_terms
from cutscene_server.turns import DrawOrder, PlacedTurn, Turn, Usage

log = logging.getLogger("cutscene_server")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FrameToKeep:
    """A frame that came back from the model."""

    record: SessionRecord
    order: DrawOrder
    figures: DrawnFigures
    latent: bytes
    pixel_digest: bytes
    ends_turn: bool
    skips: Sequence[tuple[int, int]]  # turn numbers, and states of them that will have no frame

    def prepare(self, store: Store) -> StoredFrame | None:
        """Writes what comes before it. Returns what is to be stored of it; None if it is stored already."""
        for turn_number, states in self.skips:
            store.skip_states(self.record.session_id, turn_number, states)
        if self.order.stored:
            if self.pixel_digest != self.order.pixel_digest:
                self.record.log.warning("has a frame that has not the pixels it had", extra=self.order.log_fields)
            return None
        return StoredFrame(
            frame_index=self.order.frame_index,
            tier=self.figures.tier,
            cut_before=self.order.cut_before,
            turn_number=self.order.turn_number,
            packed_state=self.order.packed_state,
            latent=self.latent,
            pixel_digest=self.pixel_digest,
            figures=worker_messages.figures_to_plain(self.figures),
        )


class Archive:
    """See the module's docstring. ``open`` first, ``close`` last."""

    def __init__(self, directory: Path, environment: Mapping[str, str], sessions: int) -> None:
        """``environment``: what this server's frames are drawn with, stored with each session. ``sessions``: as many
        may be drawn at once.
        """
        self._directory = directory
        self._open_logs = max(MOST_OPEN_LOGS, min(sessions, open_files() // 4))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="archive")
        self._store: Store | None = None
        self._environment = dict(environment)

    @property
    def environment(self) -> Mapping[str, str]:
        """What this server's frames are drawn with."""
        return self._environment

    async def open(self) -> None:
        """Raises ``ConfigError`` if the directory cannot be used."""
        loop = asyncio.get_running_loop()
        try:
            opening = partial(Store.open, self._directory, most_open_logs=self._open_logs)
            self._store = await loop.run_in_executor(self._thread, opening)
        except StoreError as error:
            raise ConfigError(f"data: {error}") from error

    async def close(self) -> None:
        if self._store is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._store.close)
        self._thread.shutdown(wait=True)

    # ---- what happens to a session ----------------------------------------------------------------------------------

    async def create(self, record: SessionRecord) -> None:
        terms = record.session.terms
        new = self._new_session(
            record.session_id, record.token_digest, record.created_unix_us, terms, record.packed_stage
        )
        await self._run(lambda store: store.create_session(new))

    async def discard(self, session_id: str) -> None:
        """Deletes a session that was never told to anybody, if it came to be stored at all."""
        with contextlib.suppress(ServerError):
            await self._run(lambda store: store.delete_session(session_id))

    async def add_turn(
        self, record: SessionRecord, placed: PlacedTurn, skips: list[tuple[int, int]] | None = None
    ) -> None:
        """``skips``: as of ``FrameToKeep``, taken out of the list as they are stored. The turn's place is what it is
        after them. Raises why, once something of this session could not be stored: that place is not true then.
        """
        turn = StoredTurn(
            turn_number=placed.number,
            turn_id=placed.turn.turn_id,
            first_frame=placed.first_frame,
            frame_count=placed.turn.run.frame_count,
            cut_before=placed.cut_before,
            received_unix_us=time.time_ns() // 1000,
            packed_run=placed.turn.run.packed(),
        )

        def add(store: Store) -> None:
            _require_kept(record)
            while skips:
                store.skip_states(record.session_id, *skips[0])
                del skips[0]
            store.add_turn(record.session_id, turn)

        await self._run(add)

    async def keep_frames(self, frames: Sequence[FrameToKeep]) -> list[Exception | None]:
        """Stores those that are new, all of them in the time that one takes. Returns, for each, why it could not be.
        That is noted in its record, and what comes behind it is not stored either.

        At most one of a session, unless it is shown again. One that is and has not the pixels it had is logged: see
        ``replay`` for why that may be.
        """

        def keep(store: Store) -> list[Exception | None]:
            failed: dict[int, Exception] = {}
            numbers: dict[str, int] = {}  # by session: which of the frames
            added: dict[str, StoredFrame] = {}
            for number, frame in enumerate(frames):
                try:
                    if (stored := frame.prepare(store)) is not None:
                        session_id = frame.record.session_id
                        numbers[session_id], added[session_id] = number, stored
                except Exception as error:  # of one session, not of the others
                    failed[number] = error
            for session_id, reason in store.add_frames(added).items():
                failed[numbers[session_id]] = reason
            for number, frame in enumerate(frames):
                try:
                    if frame.ends_turn and not frame.order.stored and number not in failed:
                        store.finish_turn(frame.record.session_id, frame.order.turn_number)
                except Exception as error:
                    failed[number] = error
            answers = {number: _answer(reason) for number, reason in failed.items()}
            for number, answer in answers.items():
                frames[number].record.failure = answer
            return [answers.get(number) for number in range(len(frames))]

        return await self._run(keep)

    async def close_session(self, record: SessionRecord) -> None:
        session = record.session
        reason = session.close_reason.name if session.close_reason else ""
        now, usage = time.time_ns() // 1000, dataclasses.asdict(session.usage)
        await self._run(lambda store: store.close_session(record.session_id, reason, now, usage))

    async def rewind(self, record: SessionRecord, frame: int) -> None:
        """Raises as ``add_turn`` does."""

        def rewind(store: Store) -> None:
            _require_kept(record)
            store.rewind(record.session_id, frame)

        await self._run(rewind)

    async def fork(self, parent: SessionRecord, frame: int) -> tuple[str, str]:
        """The id and token of a session that has the parent's frames below ``frame``. Raises ``OutOfRange``."""
        session_id, token = new_session_id(), new_token()
        now, terms = time.time_ns() // 1000, parent.session.terms
        new = self._new_session(session_id, digest_of(token), now, terms, parent.packed_stage)
        epoch = parent.session.epoch
        if not 0 <= frame <= parent.session.durable_frame:
            raise OutOfRange("frame", f"found {frame}; allowed are 0 to {parent.session.durable_frame}")
        async with self._or_nothing(session_id):
            await self._run(lambda store: store.fork_session(new, parent.session_id, epoch, frame))
        return session_id, token

    async def replay(self, parent: SessionRecord, wanted: Replay) -> Replayed:
        """A session that performs part of the parent's recording again: see ``replay``. Raises ``OutOfRange``."""
        end = wanted.end_frame or parent.session.durable_frame
        check_stretch(wanted.first_frame, end, parent.session.durable_frame)
        epoch, changes = parent.session.epoch, wanted.changes(parent.session.terms)
        session_id, token = new_session_id(), new_token()
        terms, stage = wanted.terms(parent.session.terms), wanted.packed_stage(parent.packed_stage)
        new = self._new_session(session_id, digest_of(token), time.time_ns() // 1000, terms, stage)
        first = 0 if changes else wanted.first_frame
        recorded = (await self.stored(parent)).opened.environment
        async with self._or_nothing(session_id):
            if changes:
                await self._run(lambda store: store.create_session(new))
            else:
                await self._run(lambda store: store.fork_session(new, parent.session_id, epoch, first))
            # A turn at a time, and other states made elsewhere: live frames wait for this thread.
            number = 0
            for start in range(wanted.first_frame, end, TURN_FRAMES):
                frames = await self.stored_frames(parent, start, min(end, start + TURN_FRAMES))
                at = first + start - wanted.first_frame
                for turn in await asyncio.to_thread(replay_turns, frames, wanted, at, number):
                    await self._run(lambda store, turn=turn: store.add_turn(session_id, turn))  # type: ignore[misc]
                    number = turn.turn_number + 1
        reasons = (*changes, *self.differences_from(recorded))
        return Replayed(session_id, token, first, end - wanted.first_frame, reasons)

    # ---- sessions from elsewhere ------------------------------------------------------------------------------------

    def spool(self) -> IO[bytes]:
        """A file in the data directory that has no name, and goes when it is closed."""
        return tempfile.TemporaryFile(dir=self._directory / "incoming")

    async def begin_arrival(
        self, session_id: str, token_digest: bytes, terms: Terms, packed_stage: bytes, environment: Mapping[str, str]
    ) -> None:
        """A session that was drawn in that environment begins to arrive. Nobody sees it before it is finished."""
        new = self._new_session(session_id, token_digest, time.time_ns() // 1000, terms, packed_stage)
        new = dataclasses.replace(new, environment=dict(environment))
        await self._run(lambda store: store.begin_arrival(new))

    async def add_arrived_turns(self, session_id: str, turns: Sequence[StoredTurn]) -> None:
        await self._run(lambda store: store.add_arrived_turns(session_id, turns))

    async def add_arrived_frames(self, session_id: str, frames: Sequence[StoredFrame]) -> None:
        await self._run(lambda store: store.add_arrived_frames(session_id, frames))

    async def finish_arrival(self, session_id: str) -> None:
        await self._run(lambda store: store.finish_arrival(session_id))

    async def discard_arrival(self, session_id: str) -> None:
        """Deletes a session that was never told to anybody, however much of it had come."""
        with contextlib.suppress(ServerError):
            await self._run(lambda store: store.discard_arrival(session_id))

    # ---- what is known of a session ---------------------------------------------------------------------------------

    async def stored(self, record: SessionRecord) -> StoredSession:
        return await self._run(lambda store: store.read_session(record.session_id))

    async def stored_frames(
        self, record: SessionRecord, first: int, end: int, epoch: int | None = None
    ) -> Sequence[StoredFrame]:
        """Frames ``first`` to ``end`` (exclusive) as an epoch has them; None: the current one."""
        return await self._run(lambda store: list(store.read_frames(record.session_id, first, end, epoch)))

    def differences_from(self, environment: Mapping[str, str]) -> tuple[str, ...]:
        """Why what is drawn here need not have the pixels it would have had there."""
        return tuple(differences(environment, self._environment))

    async def restore(
        self, session_id: str, admits: Callable[[SessionRecord], bool], key: int, model_digest: str, tenant: Tenant
    ) -> SessionRecord:
        """A session that is not in memory. Raises ``UnknownSession``, ``OtherModel``, ``RecordingDamaged``."""
        try:
            stored = await self._run(lambda store: store.read_session(session_id))
        except ValueError:  # an id that no session can have
            raise UnknownSession from None
        opened = stored.opened
        session = restored(stored)
        record = SessionRecord(
            session, key, session_id, opened.token_digest, opened.packed_stage, opened.created_unix_us, tenant
        )
        if not admits(record):
            raise UnknownSession
        if opened.model_digest != model_digest:
            raise OtherModel(
                f"this session was drawn by {opened.model} {opened.model_digest[:16]}; "
                f"this server plays {model_digest[:16]}"
            )
        return record

    async def summaries(self, after: int, limit: int) -> list[tuple[SessionSummary, int]]:
        """Sessions in the order of their creation, each with its next frame (0 if its frames cannot be read)."""

        def next_frame(store: Store, session_id: str) -> int:
            with contextlib.suppress(StoreDamagedError, UnknownSessionError):
                return store.next_frame(session_id)
            return 0

        found = await self._run(lambda store: store.summaries(after, limit))
        # One at a time: to find where a long session ends takes a while, and live frames wait for this thread.
        return [
            (summary, await self._run(partial(next_frame, session_id=summary.opened.session_id))) for summary in found
        ]

    async def sweep(self, keep: Retention, in_use: Collection[str]) -> Swept:
        """Deletes sessions that are too old, or that there is no room for; none that are ``in_use``."""
        return await self._run(lambda store: store.sweep(time.time_ns() // 1000, keep, SWEPT_AT_ONCE, in_use))

    # ---- inside -----------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _or_nothing(self, session_id: str) -> AsyncIterator[None]:
        """A session that is made in the block is there whole, or not at all: whoever asked for it may hang up."""
        try:
            yield
        except BaseException:
            await self.discard(session_id)  # nobody knows its token
            raise

    def _new_session(
        self, session_id: str, token_digest: bytes, created_unix_us: int, terms: Terms, packed_stage: bytes
    ) -> NewSession:
        return NewSession(
            session_id=session_id,
            token_digest=token_digest,
            created_unix_us=created_unix_us,
            model=terms.model,
            model_digest=terms.model_digest,
            packed_terms=terms.packed(),
            packed_stage=packed_stage,
            environment=self._environment,
        )

    async def _run(self, work: Callable[[Store], T]) -> T:
        store = self._store
        if store is None:
            raise StorageFailed("the store is not open")
        # Shielded: what is being made durable is not half done because a client hung up.
        future = asyncio.get_running_loop().run_in_executor(self._thread, work, store)
        try:
            return await asyncio.shield(future)
        except UnknownSessionError:
            raise UnknownSession from None
        except StoreError as error:
            fields = {}
            if isinstance(error, StoreDamagedError):
                fields = {"session_id": error.session_id, "frame": error.frame_index}
            log.error("%s", error, extra=fields)
            raise _answer(error) from error


def _answer(error: Exception) -> Exception:
    """What a client is told of what the store fails at. A fault of this server stays what it is."""
    answer: ServerError
    match error:
        case UnknownSessionError():
            answer = UnknownSession()
        case StoreDamagedError():
            answer = RecordingDamaged("what was stored of this session is damaged; the server's log says where")
        case StoreFullError():
            answer = DiskFull()
        case StoreError():
            answer = StorageFailed("the server could not store or read what it must; its log says why")
        case _:
            return error
    answer.__cause__ = error
    return answer


def _require_kept(record: SessionRecord) -> None:
    """Called by the store's thread: whoever asked may not know yet that something could not be stored."""
    if record.failure is not None:
        raise record.failure


SWEPT_AT_ONCE = 16  # sessions, so that live ones do not wait for the store for long


def open_files() -> int:
    """How many files and connections this process may have open."""
    try:
        import resource
    except ImportError:  # Windows, which has another limit, and a high one
        return 8192
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft


def restored(stored: StoredSession) -> Session:
    """The session that a stored one goes on as."""
    terms = unpack_terms(stored.opened.packed_terms)
    usage, reason = Usage(frames=stored.next_frame), None
    if stored.end is not None:
        known = {field.name for field in dataclasses.fields(Usage)}
        usage = Usage(**{name: value for name, value in stored.end.usage.items() if name in known})
        reason = CloseReason[stored.end.reason] if stored.end.reason in CloseReason.__members__ else CloseReason.ERROR
    turns = tuple(placed_turns(stored))
    own_frames = stored.fork_of.frame if stored.fork_of is not None else 0
    session = Session.restored(
        terms,
        epoch=stored.epoch,
        first_frame=min(max(own_frames, turns[0].first_frame if turns else stored.next_frame), stored.next_frame),
        durable_frame=stored.next_frame,
        turns=turns,
        turn_count=1 + max((turn.turn_number for turn in stored.turns), default=-1),
        turn_ids=[turn.turn_id for turn in stored.turns],
        usage=usage,
        close_reason=reason,
    )
    if stored.end is None:
        session.usage.turns = len(stored.turns) - len(stored.unfinished)
    return session


def placed_turns(stored: StoredSession) -> Iterator[PlacedTurn]:
    """The turns that lie on the current timeline, each with as many frames as it has there.

    Going back cuts turns short or takes them off the timeline; their rows stay.
    """
    runs = {turn.turn_number: turn.packed_run for turn in stored.unfinished}
    # A crash may have left a turn unfinished whose frames are all there, and later turns may have been finished since.
    end = max([stored.next_frame, *(turn.first_frame + turn.frame_count for turn in stored.unfinished)])
    on_timeline = []
    for turn in reversed(stored.turns):
        if turn.first_frame < end:
            packed = runs.get(turn.turn_number)
            run = StoredStates(min(turn.frame_count, end - turn.first_frame)) if packed is None else unpack_run(packed)
            skipped = 0 if packed is None else run.frame_count - turn.frame_count
            on_timeline.append(
                PlacedTurn(Turn(turn.turn_id, run), turn.turn_number, turn.first_frame, turn.cut_before, skipped)
            )
            end = turn.first_frame
    yield from reversed(on_timeline)
