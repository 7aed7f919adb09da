"""A server that stores as much as it may: what it still does, and what it refuses until there is room again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_proto.v1.cutscene_pb2_grpc import CutsceneServiceStub
from cutscene_server.archive import SWEPT_AT_ONCE
from cutscene_server.errors import NoRoom
from cutscene_server.running import run_server
from messages import lockstep_turn, open_message
from raw_client import RawStream
from synthetic_server import eventually, synthetic_config

from .session_file.samples import sample, written

LIMIT = 1 << 20


async def file() -> AsyncIterator[bytes]:
    yield written(sample())


async def refusal(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value


async def test_what_is_open_goes_on_and_nothing_new_is_taken_until_there_is_room(tmp_path: Path) -> None:
    async with run_server(synthetic_config(tmp_path, max_disk=LIMIT, sweep_period=0.05)) as server:
        runtime = server.runtime

        async def full() -> bool:
            return runtime.tidying.disk_full

        async def roomy() -> bool:
            return not runtime.tidying.disk_full

        # As if sessions of an earlier run had left it: found by the sweep, whoever it belonged to.
        heap = tmp_path / "sessions" / "0123456789abcdef" / "frames-0.log"
        async with grpc.aio.insecure_channel(server.address) as channel:
            stub = CutsceneServiceStub(channel)  # type: ignore[no-untyped-call]
            stream = RawStream(channel)
            opened = await stream.open(open_message())
            heap.parent.mkdir()
            heap.write_bytes(bytes(LIMIT + 1))
            await eventually(full)

            await stream.say(turn=lockstep_turn("one", 2))
            assert (await stream.hear_until("turn_completed")).frame_count == 2
            error = await refusal(RawStream(channel).open(open_message()))
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "max_disk" in str(error.details())
            again = pb.ReplaySessionRequest(session_id=opened.session_id, token=opened.token)
            assert (await refusal(stub.ReplaySession(again))).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            fork = pb.ForkSessionRequest(session_id=opened.session_id, token=opened.token, frame=1)
            assert (await refusal(stub.ForkSession(fork))).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            with pytest.raises(NoRoom):
                await runtime.import_session(file())

            heap.unlink()
            await eventually(roomy)
            await RawStream(channel).open(open_message())


async def test_a_look_at_the_disk_that_fails_is_not_the_servers_end(tmp_path: Path) -> None:
    config = synthetic_config(tmp_path, max_disk=LIMIT, sweep_period=0.05, closed_linger=0.2)
    async with run_server(config) as server:
        sessions, aside = tmp_path / "sessions", tmp_path / "aside"
        sessions.rename(aside)
        await asyncio.sleep(0.3)  # some looks
        aside.rename(sessions)
        assert not server.runtime.lost
        heap = sessions / "0123456789abcdef" / "frames-0.log"
        heap.parent.mkdir()
        heap.write_bytes(bytes(LIMIT + 1))

        async def full() -> bool:
            return server.runtime.tidying.disk_full

        await eventually(full)  # it looks again


async def test_however_many_sessions_are_too_old_they_are_deleted_without_waiting_for_the_next_look(
    tmp_path: Path,
) -> None:
    many = 2 * SWEPT_AT_ONCE + 3
    async with run_server(synthetic_config(tmp_path)) as server, grpc.aio.insecure_channel(server.address) as channel:
        for _ in range(many):
            stream = RawStream(channel)
            await stream.open(open_message())
            await stream.say(close=pb.Close())
            await stream.hear_until("closed")
    config = synthetic_config(tmp_path, keep_closed=0.001, sweep_period=3600.0)
    async with run_server(config) as server, grpc.aio.insecure_channel(server.address) as channel:
        stub = CutsceneServiceStub(channel)  # type: ignore[no-untyped-call]

        async def gone() -> bool:
            return not (await stub.ListSessions(pb.ListSessionsRequest())).sessions

        await eventually(gone)
