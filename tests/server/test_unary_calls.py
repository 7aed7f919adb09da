"""The small calls beside Perform, and the limits on sessions. A server of its own: these tests count sessions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_proto.v1.cutscene_pb2_grpc import CutsceneServiceStub
from cutscene_server.running import run_server
from messages import lockstep_turn, open_message
from raw_client import RawStream, details
from synthetic_server import eventually, synthetic_config

pytestmark = pytest.mark.asyncio

WRONG = "wrong"


@pytest_asyncio.fixture
async def channel() -> AsyncIterator[grpc.aio.Channel]:
    config = synthetic_config(
        max_sessions=3, idle_timeout=0.4, closed_linger=0.4, first_request_timeout=0.3, write_timeout=0.5
    )
    async with run_server(config) as server, grpc.aio.insecure_channel(server.address) as opened:
        yield opened


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> Any:
    return CutsceneServiceStub(channel)  # type: ignore[no-untyped-call]


async def test_list_models_names_the_vocabulary(stub: Any) -> None:
    (model,) = (await stub.ListModels(pb.ListModelsRequest())).models
    assert (model.name, model.width, model.height, model.license) == ("synthetic", 64, 32, "MIT")
    assert [(tier.tier, tier.denoise_steps) for tier in model.tiers] == [(pb.TIER_DRAFT, 1), (pb.TIER_STANDARD, 2)]
    assert list(model.costumes) == ["knight", "mage"]
    assert "neutral" in model.emotions


async def test_get_and_close_need_the_token(channel: grpc.aio.Channel, stub: Any) -> None:
    stream = RawStream(channel)
    opened = await stream.open(open_message())
    for call, request in (
        (stub.GetSession, pb.GetSessionRequest(session_id=opened.session_id, token=WRONG)),
        (stub.CloseSession, pb.CloseSessionRequest(session_id=opened.session_id, token=WRONG)),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call(request)
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    request = pb.GetSessionRequest(session_id=opened.session_id, token=opened.token)
    assert (await stub.GetSession(request)).session.status == pb.SESSION_STATUS_IDLE
    closing = pb.CloseSessionRequest(session_id=opened.session_id, token=opened.token)
    await stub.CloseSession(closing)
    assert (await stream.hear_until("closed")).reason == pb.CLOSE_REASON_CLIENT
    assert (await stub.GetSession(request)).session.status == pb.SESSION_STATUS_CLOSED
    await stub.CloseSession(closing)  # safe to repeat


async def test_sessions_are_listed_oldest_first_in_pages_and_without_tokens(
    channel: grpc.aio.Channel, stub: Any
) -> None:
    streams = [RawStream(channel) for _ in range(3)]
    ids = [(await stream.open(open_message())).session_id for stream in streams]
    listed: list[str] = []
    page_token = ""
    for _ in range(3):
        page = await stub.ListSessions(pb.ListSessionsRequest(page_size=1, page_token=page_token))
        listed += [session.session_id for session in page.sessions]
        page_token = page.next_page_token
    assert listed == ids
    assert page_token == ""
    whole = await stub.ListSessions(pb.ListSessionsRequest())
    assert not any(stream.opened.token.encode() in whole.SerializeToString() for stream in streams)
    for request, field in (
        (pb.ListSessionsRequest(page_size=1001), "page_size"),
        (pb.ListSessionsRequest(page_token=WRONG), "page_token"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.ListSessions(request)
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert field in details(raised.value)[0]


async def test_a_list_of_sessions_holds_up_no_live_one(tmp_path: Path) -> None:
    """Where a session ends is read from its file, and a page may have a thousand sessions."""
    async with run_server(synthetic_config(tmp_path)) as server, grpc.aio.insecure_channel(server.address) as opened:
        streams = [RawStream(opened) for _ in range(12)]
        for stream in streams:
            await stream.open(open_message())
        archive, (record, *_) = server.runtime.archive, server.runtime.sessions
        listing = asyncio.create_task(archive.summaries(0, 100))
        await asyncio.sleep(0)  # it has begun
        await archive.stored(record)
        assert not listing.done()
        assert len(await listing) == 12


async def test_one_session_too_many_is_refused_with_a_time_to_try_again(channel: grpc.aio.Channel) -> None:
    streams = [RawStream(channel) for _ in range(3)]
    for stream in streams:
        await stream.open(open_message())
    with pytest.raises(grpc.aio.AioRpcError, match="at most 3 sessions") as raised:
        await RawStream(channel).open(open_message())
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details(raised.value)[1] == 5.0
    await streams[0].say(close=pb.Close())
    await streams[0].hear_until("closed")
    await RawStream(channel).open(open_message())


async def statuses(stub: Any) -> list[Any]:
    return [session.status for session in (await stub.ListSessions(pb.ListSessionsRequest())).sessions]


async def test_a_session_that_nobody_comes_back_to_leaves_memory_and_goes_on_when_somebody_does(
    channel: grpc.aio.Channel, stub: Any
) -> None:
    stream, stays = RawStream(channel), RawStream(channel)
    opened = await stream.open(open_message())
    await stays.open(open_message())
    await stream.say(turn=lockstep_turn("one", 3))
    await stream.frames(3)
    stream.leave()

    async def parked() -> bool:
        return await statuses(stub) == [pb.SESSION_STATUS_PARKED, pb.SESSION_STATUS_IDLE]

    await eventually(parked)
    again = RawStream(channel)
    assert list((await again.resume(opened, 3)).recent_turn_ids) == ["one"]
    await again.say(turn=lockstep_turn("two", 2))
    assert [frame.frame_index for frame in await again.frames(2)] == [3, 4]


async def test_sessions_without_a_client_make_place_for_others(channel: grpc.aio.Channel, stub: Any) -> None:
    streams = [RawStream(channel) for _ in range(3)]
    opened = [await stream.open(open_message()) for stream in streams]
    for stream in streams[:2]:
        stream.leave()

    async def left() -> bool:
        return (await statuses(stub)).count(pb.SESSION_STATUS_DETACHED) == 2

    await eventually(left)
    await RawStream(channel).open(open_message())
    assert pb.SESSION_STATUS_PARKED in await statuses(stub)
    await RawStream(channel).resume(opened[0], 0)


async def test_a_closed_sessions_frames_can_be_fetched_when_it_has_left_memory(
    channel: grpc.aio.Channel, stub: Any
) -> None:
    stream = RawStream(channel)
    opened = await stream.open(open_message())
    await stream.say(turn=lockstep_turn("one", 4))
    frames = await stream.frames(4, ack=False)
    await stream.say(close=pb.Close())
    await stream.hear_to_end()
    await asyncio.sleep(1.0)  # more than it lingers for
    again = RawStream(channel)
    await again.resume(opened, 1)
    await again.hear_to_end()
    shown = [item.frame for item in again.heard if item.WhichOneof("response") == "frame"]
    assert [frame.pixel_digest for frame in shown] == [frame.pixel_digest for frame in frames[1:]]
    assert again.heard[-1].closed.usage.frames == 4


async def test_a_stream_that_says_nothing_is_ended(channel: grpc.aio.Channel) -> None:
    stream = RawStream(channel)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stream.hear()
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_client_that_does_not_read_is_detached_and_blocks_nobody(channel: grpc.aio.Channel, stub: Any) -> None:
    """Refusals are not bounded by credit: a client that provokes them without reading fills its own window only."""
    stream, other = RawStream(channel), RawStream(channel)
    opened = await stream.open(open_message())
    await other.open(open_message())
    nonsense = pb.PerformRequest(turn=pb.Turn(turn_id="x" * 64, lockstep=pb.LockstepRun(states=[{}] * 60)))

    async def provoke() -> None:
        while True:
            await stream.call.write(nonsense)

    provoking = asyncio.create_task(provoke())
    request = pb.GetSessionRequest(session_id=opened.session_id, token=opened.token)

    async def detached() -> bool:
        return bool((await stub.GetSession(request)).session.status == pb.SESSION_STATUS_DETACHED)

    await eventually(detached)
    provoking.cancel()
    await asyncio.gather(provoking, return_exceptions=True)
    await other.say(turn=lockstep_turn("one", 2))
    await other.frames(2)
    stream.leave()
