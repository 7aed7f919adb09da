"""Clients that send noise, vanish at any moment or come in crowds: the server goes on and keeps nothing of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio

from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_proto.v1.cutscene_pb2_grpc import CutsceneServiceStub
from cutscene_server.running import RunningServer, run_server
from messages import keyframed_turn, lockstep_turn, open_message
from raw_client import RawStream
from spoiling import spoiled
from synthetic_server import eventually, synthetic_config

pytestmark = pytest.mark.asyncio(loop_scope="module")

PERFORM = "/cutscene_proto.v1.CutsceneService/Perform"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def channel() -> AsyncIterator[grpc.aio.Channel]:
    """A server with room: what noise opens by chance is kept for its client, who will not come back."""
    config = synthetic_config(max_sessions=1000)
    async with run_server(config) as server, grpc.aio.insecure_channel(server.address) as opened:
        yield opened


async def check_serves(channel: grpc.aio.Channel) -> None:
    stream = RawStream(channel)
    await stream.open(open_message())
    await stream.say(turn=lockstep_turn("one", 2))
    assert [frame.frame_index for frame in await stream.frames(2)] == [0, 1]
    await stream.say(close=pb.Close())
    await stream.hear_until("closed")


@pytest.mark.parametrize("seed", range(4))
async def test_noise_is_survived(channel: grpc.aio.Channel, seed: int) -> None:
    """Requests with bytes flipped, cut off or put in: what still parses is refused, what does not ends the call."""
    chance = random.Random(seed)
    whole = [
        pb.PerformRequest(open=open_message()),
        pb.PerformRequest(turn=keyframed_turn("one", 0.1)),
        pb.PerformRequest(turn=lockstep_turn("two", 2)),
        pb.PerformRequest(ack=pb.Ack(next_frame=1)),
        pb.PerformRequest(cut=pb.Cut()),
    ]
    for _ in range(40):
        call: Any = channel.stream_stream(PERFORM)()
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            if chance.random() < 0.5:
                await call.write(whole[0].SerializeToString())
            for _ in range(3):
                await call.write(spoiled(chance, chance.choice(whole).SerializeToString()))
            async with asyncio.timeout(5):
                await call.read()
        call.cancel()
    await check_serves(channel)


async def test_bytes_that_are_no_request_are_refused_by_name(channel: grpc.aio.Channel) -> None:
    call: Any = channel.stream_stream(PERFORM)()
    await call.write(b"\xff\xff\xff")
    with pytest.raises(grpc.aio.AioRpcError, match="not a PerformRequest") as raised:
        await call.read()
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    call = channel.stream_stream(PERFORM)()
    await call.write(pb.PerformRequest(open=open_message()).SerializeToString())
    await call.write(b"\xff\xff\xff")
    await call.write(pb.PerformRequest(turn=lockstep_turn("one", 1)).SerializeToString())
    heard = [pb.PerformResponse.FromString(await call.read()).WhichOneof("response") for _ in range(5)]
    assert sorted(heard) == ["frame", "opened", "rejected", "turn_completed", "turn_started"]
    call.cancel()


async def test_clients_that_vanish_before_they_are_told_their_token_leave_no_session() -> None:
    config = synthetic_config(max_sessions=100)
    async with run_server(config) as server, grpc.aio.insecure_channel(server.address) as channel:
        for _ in range(40):
            stream = RawStream(channel)
            await stream.say(open=open_message())
            await asyncio.sleep(random.random() * 0.002)
            stream.leave()
        # Those that had been told are detached and may come back; the others are gone at once.
        await eventually(lambda: settled(server))


async def settled(server: RunningServer) -> bool:
    sessions = [record.session for record in server.runtime.sessions]
    return all(session.attachment is None and (session.begun or session.closed) for session in sessions)


async def test_a_crowd_that_comes_and_goes_gets_just_its_frames(channel: grpc.aio.Channel) -> None:
    """Eight clients drop and resume at random moments, some by a second stream; each ends with the frames it would have
    got undisturbed.
    """

    async def undisturbed(seed: int) -> list[bytes]:
        stream = RawStream(channel)
        await stream.open(open_message(seed=seed))
        await stream.say(turn=lockstep_turn("one", 40))
        return [frame.pixel_digest for frame in await stream.frames(40)]

    async def disturbed(seed: int) -> list[bytes]:
        chance = random.Random(seed)
        stream = RawStream(channel)
        opened = await stream.open(open_message(seed=seed, frame_credit=chance.randrange(1, 9)))
        await stream.say(turn=lockstep_turn("one", 40))
        await stream.hear_until("turn_started")
        digests: list[bytes] = []
        while len(digests) < 40:
            wanted = min(chance.randrange(1, 1 + opened.frame_credit), 40 - len(digests))
            digests += [frame.pixel_digest for frame in await stream.frames(wanted, ack=chance.random() < 0.7)]
            if chance.random() < 0.5:
                stream.leave()
            left, stream = stream, RawStream(channel)
            await stream.resume(opened, len(digests))
            left.leave()
        await stream.say(close=pb.Close())
        await stream.hear_until("closed")
        return digests

    crowd = await asyncio.gather(*[disturbed(seed) for seed in range(8)])
    assert crowd == await asyncio.gather(*[undisturbed(seed) for seed in range(8)])


@pytest.mark.parametrize("stays", [True, False], ids=["stays", "leaves"])
async def test_a_client_that_leaves_its_frames_unread_is_detached_and_keeps_them(stays: bool) -> None:
    """Frames that fill the client's window stop in the write; after the write timeout the session waits for resume."""
    config = synthetic_config(write_timeout=0.5)
    async with run_server(config) as server, grpc.aio.insecure_channel(server.address) as channel:
        message = open_message(frame_credit=256)
        message.video.codec = pb.CODEC_RAW_RGB
        # A small window: the client's transport takes some 64 KiB, then nothing until it is read.
        options = [("grpc.http2.lookahead_bytes", 1 << 14), ("grpc.http2.bdp_probe", 0)]
        async with grpc.aio.insecure_channel(server.address, options=options) as narrow:
            lazy = RawStream(narrow)
            opened = await lazy.open(message)
            await lazy.say(turn=lockstep_turn("one", 250))
            (record,) = server.runtime.sessions

            async def detached() -> bool:
                return record.session.attachment is None

            await eventually(detached)
            if stays:  # it is told why, when at last it reads
                with pytest.raises(grpc.aio.AioRpcError, match="read nothing") as raised:
                    await lazy.hear_to_end()
                assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            lazy.leave()
        await check_serves(channel)
        again = RawStream(channel)
        await again.resume(opened, 0)
        assert [frame.frame_index for frame in await again.frames(250)] == list(range(250))
        again.leave()


async def test_sessions_that_are_ended_while_a_frame_of_theirs_is_stored_end_nothing_else(
    channel: grpc.aio.Channel, caplog: pytest.LogCaptureFixture
) -> None:
    stub: Any = CutsceneServiceStub(channel)  # type: ignore[no-untyped-call]
    for number in range(60):
        stream = RawStream(channel)
        opened = await stream.open(open_message(seed=number))
        await stream.say(turn=lockstep_turn("one", 40))
        await stream.frames(1 + number % 7)
        await stub.CloseSession(pb.CloseSessionRequest(session_id=opened.session_id, token=opened.token))
        stream.leave()
    after = RawStream(channel)
    await after.open(open_message())
    await after.say(turn=lockstep_turn("one", 2))
    assert len(await after.frames(2)) == 2
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
