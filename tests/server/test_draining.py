"""A server that is told to stop: nothing new, what is being drawn still comes, everybody is told, in bounded time."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from pathlib import Path
from typing import Any

import grpc
import pytest

import cutscene_client as cc
from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_proto.v1.cutscene_pb2_grpc import CutsceneServiceStub
from cutscene_server.running import run_server
from messages import lockstep_turn, open_message
from raw_client import RawStream
from server_program import ServerProgram, serving
from synthetic_server import eventually, synthetic_config

pytestmark = pytest.mark.asyncio

SLOW = ("actor-0", "slow")  # a cast that makes the engine take 50 ms a frame


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def stop_and_start(server: ServerProgram) -> None:
    """Waits for the program's end and starts another on the same data."""
    await server.stop()
    await server.start()


async def heard_to_the_end(stream: RawStream) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stream.hear_to_end()
    return raised.value.code()


def frame_indices(stream: RawStream) -> list[int]:
    return [item.frame.frame_index for item in stream.heard if item.WhichOneof("response") == "frame"]


async def test_what_is_being_drawn_still_comes_and_the_next_server_goes_on_after_it(tmp_path: Path) -> None:
    async with run_server(synthetic_config()) as server, grpc.aio.insecure_channel(server.address) as channel:
        stream = RawStream(channel)
        await stream.open(open_message(cast=SLOW))
        await stream.say(turn=lockstep_turn("one", 30))
        expected = [frame.pixel_digest for frame in await stream.frames(30)]

    config = synthetic_config(tmp_path)
    async with run_server(config) as server, grpc.aio.insecure_channel(server.address) as channel:
        stream = RawStream(channel)
        opened = await stream.open(open_message(cast=SLOW))
        await stream.say(turn=lockstep_turn("one", 30))
        first = await stream.frames(4)
        (record,) = server.runtime.sessions
        (inference,) = server.runtime.crew.all
        ordered = max(order.frame_index for _, order in inference.orders.values())
        server.runtime.begin_stopping()
        notice = await stream.hear_until("notice")
        assert notice.kind == pb.NOTICE_KIND_GOING_AWAY
        assert "resume this session with its token" in notice.text
        await stream.say(turn=lockstep_turn("two", 5))  # too late: it has no receipt
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await RawStream(channel).open(open_message())
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        assert await heard_to_the_end(stream) is grpc.StatusCode.UNAVAILABLE
        indices = frame_indices(stream)
        assert indices == list(range(len(indices)))
        assert ordered < len(indices) <= ordered + 2  # what was ordered has come; nothing was ordered after that
        assert not any(item.turn_started.turn_id == "two" for item in stream.heard)
        assert record.session.ready_frame == len(indices)

    received = len(first)
    async with run_server(config) as server, grpc.aio.insecure_channel(server.address) as channel:
        stream = RawStream(channel)
        again = await stream.resume(opened, received)
        assert list(again.recent_turn_ids) == ["one"]
        rest = await stream.frames(30 - received)
        assert [frame.pixel_digest for frame in (*first, *rest)] == expected


async def test_a_client_that_reads_nothing_does_not_keep_a_server_from_stopping() -> None:
    config = synthetic_config(stop_grace=1.0)
    options = [("grpc.http2.lookahead_bytes", 1 << 14), ("grpc.http2.bdp_probe", 0)]
    async with run_server(config) as server:
        narrow = grpc.aio.insecure_channel(server.address, options=options)
        lazy = RawStream(narrow)
        message = open_message(frame_credit=256)
        message.video.codec = pb.CODEC_RAW_RGB
        await lazy.open(message)
        await lazy.say(turn=lockstep_turn("one", 250))
        (record,) = server.runtime.sessions

        async def drawn() -> bool:
            return record.session.ready_frame == 250

        await eventually(drawn)
        started = time.monotonic()
    assert time.monotonic() - started < 10.0
    await narrow.close()


async def test_a_session_that_was_closed_is_closed_for_the_next_server_too(tmp_path: Path) -> None:
    """Even if something else of it is being stored when the server stops."""
    async with run_server(synthetic_config(tmp_path)) as server, grpc.aio.insecure_channel(server.address) as channel:
        stub: Any = CutsceneServiceStub(channel)  # type: ignore[no-untyped-call]
        opened = await RawStream(channel).open(open_message())
        (record,) = server.runtime.sessions

        async def store_slowly() -> None:
            async with record.changing:
                await asyncio.sleep(1.0)

        server.runtime.spawn(store_slowly())
        await asyncio.sleep(0)
        await stub.CloseSession(pb.CloseSessionRequest(session_id=opened.session_id, token=opened.token))
    async with run_server(synthetic_config(tmp_path)) as server, grpc.aio.insecure_channel(server.address) as channel:
        stub = CutsceneServiceStub(channel)  # type: ignore[no-untyped-call]
        (listed,) = (await stub.ListSessions(pb.ListSessionsRequest())).sessions
        assert listed.status == pb.SESSION_STATUS_CLOSED


async def test_who_waits_in_line_is_told_that_the_server_stops() -> None:
    async with run_server(synthetic_config(max_sessions=1)) as server:
        channel = grpc.aio.insecure_channel(server.address)
        there, waiting = RawStream(channel), RawStream(channel)
        await there.open(open_message())
        message = open_message()
        message.wait = True
        await waiting.say(open=message)
        assert (await waiting.hear_until("notice")).position == 1
    assert await heard_to_the_end(waiting) is grpc.StatusCode.UNAVAILABLE
    await channel.close()


async def test_sigterm_ends_the_program_and_the_client_goes_on_at_the_next_one_by_itself(tmp_path: Path) -> None:
    turns = [lockstep_turn(f"turn-{number}", 15) for number in range(4)]
    async with serving(tmp_path / "undisturbed") as server, cc.connect(server.address) as client:
        session = await client.open_request(open_message(cast=SLOW))
        expected = [frame.digest async for frame in session.play(turns)]
        await session.close()
    got: list[bytes] = []
    restart: asyncio.Task[None] | None = None
    async with serving(tmp_path / "stopped", port=free_port()) as server:
        async with cc.connect(server.address) as client, await client.open_request(open_message(cast=SLOW)) as session:
            async for frame in session.play(turns):
                assert frame.index == len(got)
                got.append(frame.digest)
                if len(got) == 20:
                    assert server.program is not None
                    program = server.program
                    program.send_signal(signal.SIGTERM)
                    restart = asyncio.create_task(stop_and_start(server))
            assert session.resumed >= 1
            assert any("resume this session" in notice for notice in session.notices)
        assert restart is not None
        await restart
        assert program.returncode == 0
    assert got == expected
