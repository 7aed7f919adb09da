"""A disk that is full, or fails, while frames are drawn: it costs time, and no session and no frame."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_proto.v1.cutscene_pb2_grpc import CutsceneServiceStub
from cutscene_server.archive import FrameToKeep
from cutscene_server.errors import DiskFull, StorageFailed
from cutscene_server.keyframes import LockstepStates
from cutscene_server.running import run_server
from cutscene_server.session_log import DrawnFigures
from cutscene_server.store import Store, StoredTurn, StoreError, StoreFullError
from cutscene_server.turns import DrawOrder, PlacedTurn, Turn
from failing_disk import failing_disk, full_disk
from messages import lockstep_turn, open_message
from raw_client import RawStream, details
from synthetic_server import eventually, synthetic_config

from .session_file.samples import sample, written

pytestmark = pytest.mark.asyncio

CREDIT = 8
FRAMES = 20


async def why_it_ends(stream: RawStream) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stream.hear_to_end()
    return raised.value


async def played_to_the_credits_end(channel: grpc.aio.Channel) -> tuple[RawStream, list[pb.Frame]]:
    """A session that has drawn ``CREDIT`` of its turn's frames, and waits for its client."""
    stream = RawStream(channel)
    await stream.open(open_message(frame_credit=CREDIT))
    await stream.say(turn=lockstep_turn("one", FRAMES))
    return stream, await stream.frames(CREDIT, ack=False)


async def undisturbed(channel: grpc.aio.Channel) -> list[bytes]:
    stream = RawStream(channel)
    await stream.open(open_message(frame_credit=CREDIT))
    await stream.say(turn=lockstep_turn("one", FRAMES))
    return [frame.pixel_digest for frame in await stream.frames(FRAMES)]


def frames_heard(stream: RawStream) -> list[int]:
    return [message.frame.frame_index for message in stream.heard if message.HasField("frame")]


def recorded(directory: Path, session_id: str) -> tuple[int, list[tuple[str, int, int]]]:
    """After the server has ended: the next frame, and each turn's id, first frame and frames."""
    with Store.open(directory) as store:
        session = store.read_session(session_id)
    return session.next_frame, [(turn.turn_id, turn.first_frame, turn.frame_count) for turn in session.turns]


async def test_a_full_disk_ends_the_stream_and_the_session_goes_on_with_the_same_frames_once_there_is_room(
    tmp_path: Path,
) -> None:
    async with run_server(synthetic_config(tmp_path)) as server, grpc.aio.insecure_channel(server.address) as channel:
        expected = await undisturbed(channel)
        stream, got = await played_to_the_credits_end(channel)
        with full_disk():
            await stream.say(ack=pb.Ack(next_frame=CREDIT))
            error = await why_it_ends(stream)
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert details(error)[1] == 5.0
            assert "disk is full" in str(error.details())
            assert server.runtime.sessions.get(stream.opened.session_id) is None

            # Whoever comes back meanwhile is shown what is stored, and told the same again.
            for _ in range(3):
                again = RawStream(channel)
                opened = await again.resume(stream.opened, CREDIT - 3)
                assert list(opened.recent_turn_ids) == ["one"]
                assert (await why_it_ends(again)).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                assert frames_heard(again) == [CREDIT - 3, CREDIT - 2, CREDIT - 1]
        last = RawStream(channel)
        await last.resume(stream.opened, CREDIT)
        got += await last.frames(FRAMES - CREDIT)
        assert (await last.hear_until("turn_completed")).frame_count == FRAMES
        assert [frame.pixel_digest for frame in got] == expected
        await last.say(turn=lockstep_turn("two", 2))
        assert [frame.frame_index for frame in await last.frames(2)] == [FRAMES, FRAMES + 1]
    assert recorded(tmp_path, stream.opened.session_id) == (FRAMES + 2, [("one", 0, FRAMES), ("two", FRAMES, 2)])


async def test_a_disk_that_fails_one_session_makes_it_unavailable_and_leaves_the_others_alone(tmp_path: Path) -> None:
    async with run_server(synthetic_config(tmp_path)) as server, grpc.aio.insecure_channel(server.address) as channel:
        expected = await undisturbed(channel)
        stream, other = RawStream(channel), RawStream(channel)
        opened = await stream.open(open_message(frame_credit=CREDIT))
        await other.open(open_message(frame_credit=CREDIT))
        with failing_disk(tmp_path, opened.session_id):
            await stream.say(turn=lockstep_turn("one", FRAMES))
            await other.say(turn=lockstep_turn("one", FRAMES))
            error = await why_it_ends(stream)
            assert (error.code(), details(error)[1]) == (grpc.StatusCode.UNAVAILABLE, None)
            again = RawStream(channel)
            await again.resume(opened, 0)
            assert (await why_it_ends(again)).code() is grpc.StatusCode.UNAVAILABLE
            assert [frame.pixel_digest for frame in await other.frames(FRAMES)] == expected
        last = RawStream(channel)
        await last.resume(opened, 0)
        assert [frame.pixel_digest for frame in await last.frames(FRAMES)] == expected


async def test_a_client_that_is_away_finds_its_session_as_it_was_stored(tmp_path: Path) -> None:
    async with run_server(synthetic_config(tmp_path)) as server, grpc.aio.insecure_channel(server.address) as channel:
        stream = RawStream(channel)
        opened = await stream.open(open_message())
        with failing_disk(tmp_path, opened.session_id):
            (record,) = server.runtime.sessions
            await stream.say(turn=lockstep_turn("one", 4))
            await stream.hear_until("turn_started")
            stream.leave()

            async def has_left() -> bool:
                return record.session.left and not len(record.session.log)

            await eventually(has_left)
        again = RawStream(channel)
        await again.resume(opened, 0)
        assert [frame.frame_index for frame in await again.frames(4)] == [0, 1, 2, 3]


async def test_a_turn_that_a_full_disk_does_not_take_ends_the_stream_and_can_be_said_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused and left behind, it would be overtaken by the turn after it."""

    def add_turn(_store: Store, _session_id: str, turn: StoredTurn) -> None:
        raise StoreFullError(f"turn {turn.turn_number}: the disk is full")

    async with run_server(synthetic_config(tmp_path)) as server, grpc.aio.insecure_channel(server.address) as channel:
        stream = RawStream(channel)
        opened = await stream.open(open_message())
        with monkeypatch.context() as full:
            full.setattr(Store, "add_turn", add_turn)
            await stream.say(turn=lockstep_turn("one", 2))
            await stream.say(turn=lockstep_turn("two", 2))
            error = await why_it_ends(stream)
            assert (error.code(), details(error)[1]) == (grpc.StatusCode.RESOURCE_EXHAUSTED, 5.0)
        assert not any(message.HasField("rejected") for message in stream.heard)
        again = RawStream(channel)
        assert not (await again.resume(opened, 0)).recent_turn_ids
        await again.say(turn=lockstep_turn("one", 2))
        await again.frames(2)


async def test_a_file_that_there_is_no_room_for_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    async def file() -> AsyncIterator[bytes]:
        yield written(sample())

    async with run_server(synthetic_config(tmp_path)) as server:
        with full_disk(), pytest.raises(DiskFull):
            await server.runtime.import_session(file())
        assert (await server.runtime.page(0, 1)) == ([], False)
        assert list((tmp_path / "incoming").iterdir()) == []
        await server.runtime.import_session(file())


async def test_a_session_that_was_asked_to_close_is_open_and_can_be_asked_again(tmp_path: Path) -> None:
    async with run_server(synthetic_config(tmp_path)) as server, grpc.aio.insecure_channel(server.address) as channel:
        stream, _ = await played_to_the_credits_end(channel)
        with full_disk():
            await stream.say(close=pb.Close())
            await stream.say(ack=pb.Ack(next_frame=CREDIT))
            await why_it_ends(stream)
        again = RawStream(channel)
        await again.resume(stream.opened, CREDIT)
        await again.say(close=pb.Close())
        assert len(await again.frames(FRAMES - CREDIT)) == FRAMES - CREDIT
        closed = await again.hear_until("closed")
        assert (closed.reason, closed.usage.frames) == (pb.CLOSE_REASON_CLIENT, FRAMES)


async def test_watchers_are_told_why_nothing_more_comes_and_may_come_again(tmp_path: Path) -> None:
    async with run_server(synthetic_config(tmp_path)) as server, grpc.aio.insecure_channel(server.address) as channel:
        stub: Any = CutsceneServiceStub(channel)  # type: ignore[no-untyped-call]
        stream, _ = await played_to_the_credits_end(channel)
        watch = pb.WatchSessionRequest(session_id=stream.opened.session_id, watch_token=stream.opened.watch_token)
        watching = stub.WatchSession(watch)
        assert (await watching.read()).HasField("watching")
        with full_disk():
            await stream.say(ack=pb.Ack(next_frame=CREDIT))
            with contextlib.suppress(grpc.aio.AioRpcError):
                async with asyncio.timeout(20.0):
                    while await watching.read() is not grpc.aio.EOF:
                        pass
            assert await watching.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await stub.WatchSession(watch).read()).HasField("watching")


async def test_states_passed_over_with_a_frame_that_could_not_be_stored_are_neither_lost_nor_counted_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The turn has them all on disk, and so when it comes back."""
    refused: list[int] = []

    def skip_states(store: Store, session_id: str, turn_number: int, states: int) -> None:
        if not refused:
            refused.append(states)
            raise StoreError("refused")
        skip(store, session_id, turn_number, states)

    skip = Store.skip_states
    monkeypatch.setattr(Store, "skip_states", skip_states)
    async with run_server(synthetic_config(tmp_path)) as server, grpc.aio.insecure_channel(server.address) as channel:
        stream = RawStream(channel)
        message = open_message(cast=("actor-0", "slow"), frame_credit=128)
        message.pacing, message.fps = pb.PACING_LIVE, 25.0
        opened = await stream.open(message)
        await stream.say(turn=lockstep_turn("one", 3 * FRAMES))
        error = await why_it_ends(stream)
        assert (error.code(), len(refused)) == (grpc.StatusCode.UNAVAILABLE, 1)
        again = RawStream(channel)
        await again.resume(opened, len(frames_heard(stream)))
        completed = await again.hear_until("turn_completed")
        assert completed.states_skipped > 0
        assert completed.frame_count + completed.states_skipped == 3 * FRAMES
    frames = completed.frame_count
    assert recorded(tmp_path, opened.session_id) == (frames, [("one", 0, frames)])


async def test_what_comes_to_the_store_behind_a_frame_that_could_not_be_stored_is_not_stored(
    tmp_path: Path,
) -> None:
    """Whoever asked could not know yet. A turn's place among the frames would be one that the session never has."""
    async with run_server(synthetic_config(tmp_path)) as server, grpc.aio.insecure_channel(server.address) as channel:
        stream = RawStream(channel)
        opened = await stream.open(open_message())
        record = server.runtime.sessions.get(opened.session_id)
        assert record is not None
        archive = server.runtime.archive
        order = DrawOrder(0, 0, 0, False, b"state", "draft", False, False, "one")
        figures = DrawnFigures(0, "draft", 1, 1, 1, 1, 1, 1, 0, 0)
        turn = PlacedTurn(Turn("two", LockstepStates((b"state",))), 1, 3, False)
        with failing_disk(tmp_path, opened.session_id):
            kept, *behind = await asyncio.gather(
                archive.keep_frames([FrameToKeep(record, order, figures, b"latent", bytes(16), False, ())]),
                archive.add_turn(record, turn),
                archive.rewind(record, 0),
                return_exceptions=True,
            )
        assert isinstance(kept, list)
        (failure,) = kept
        assert isinstance(failure, StorageFailed)
        assert behind == [failure, failure]
        stored = await archive.stored(record)
        assert (stored.epoch, stored.turns, stored.next_frame) == (0, (), 0)
