"""Sessions that leave memory to make room: never one that somebody is just coming to, and nothing is left of them."""

from __future__ import annotations

import asyncio
from collections import Counter

import grpc
import pytest

from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_server.registry import SessionRecord
from cutscene_server.running import RunningServer, run_server
from messages import lockstep_turn, open_message
from raw_client import RawStream
from synthetic_server import eventually, synthetic_config

pytestmark = pytest.mark.asyncio


async def detached(server: RunningServer, channel: grpc.aio.Channel) -> tuple[RawStream, SessionRecord]:
    """A session that its client has left."""
    stream = RawStream(channel)
    await stream.open(open_message())
    stream.leave()
    (record,) = server.runtime.sessions

    async def left() -> bool:
        return record.session.attachment is None

    await eventually(left)
    return stream, record


async def test_a_session_that_is_being_opened_is_not_parked_for_another_one() -> None:
    async with run_server(synthetic_config(max_sessions=1)) as server, grpc.aio.insecure_channel(server.address) as ch:

        async def comes() -> str:
            stream = RawStream(ch)
            try:
                await stream.open(open_message())
            except grpc.aio.AioRpcError as error:
                return str(error.code().name)
            await stream.say(turn=lockstep_turn("one", 1))
            await stream.frames(1)
            return "opened"

        told = Counter(await asyncio.gather(*[comes() for _ in range(6)]))
        assert told == {"opened": 1, "RESOURCE_EXHAUSTED": 5}


async def test_who_finds_a_session_that_is_parked_the_next_moment_gets_it_from_disk() -> None:
    async with run_server(synthetic_config()) as server, grpc.aio.insecure_channel(server.address) as channel:
        stream, record = await detached(server, channel)
        again = RawStream(channel)
        async with record.changing:  # as while the stream before has a turn stored
            await again.say(
                resume=pb.Resume(session_id=stream.opened.session_id, token=stream.opened.token, next_frame=0)
            )
            await asyncio.sleep(0.2)  # it has found the session, and waits
        server.runtime.tidying.park_idlest()  # somebody else needs a place, and is first
        assert server.runtime.sessions.by_key(record.key) is None
        await again.hear_until("opened")
        await again.say(turn=lockstep_turn("one", 2))
        assert [frame.frame_index for frame in await again.frames(2)] == [0, 1]


async def test_a_session_that_leaves_memory_before_it_is_begun_counts_no_longer_as_being_begun() -> None:
    """Of these there may be as many as of sessions: those that were counted for ever kept all others out."""
    async with run_server(synthetic_config(max_sessions=2)) as server, grpc.aio.insecure_channel(server.address) as ch:
        stream, record = await detached(server, ch)
        runtime = server.runtime
        (inference,) = runtime.crew.all
        for _ in range(3):
            runtime.tidying.park_idlest()
            record = await runtime.find(stream.opened.session_id, stream.opened.token)
            runtime.detach(record, runtime.attach(record, 0, record.tenant, lambda: None))
        runtime.tidying.park_idlest()

        async def none_is_begun() -> bool:
            return not inference.beginning

        await eventually(none_is_begun, seconds=5.0)
        await RawStream(ch).open(open_message())
