"""Frames that a server holds back so that they come evenly: nothing is lost or overtaken, nor waits that need not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio

from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_server.running import RunningServer, run_server
from cutscene_server.scheduling import Evenness
from messages import lockstep_turn, open_message
from raw_client import RawStream
from synthetic_server import eventually, synthetic_config

pytestmark = pytest.mark.asyncio

HELD_S = 0.5  # after it is ready: long enough for the rest to show
LONG_S = 60.0


@pytest_asyncio.fixture
async def server() -> AsyncIterator[RunningServer]:
    async with run_server(synthetic_config()) as running:
        yield running


@pytest_asyncio.fixture
async def channel(server: RunningServer) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(server.address) as opened:
        yield opened


def hold(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(Evenness, "send_us", lambda self, time_us, ready_us: ready_us + round(seconds * 1e6))


async def opened(channel: grpc.aio.Channel, pacing: pb.Pacing) -> RawStream:
    stream, message = RawStream(channel), open_message()
    message.MergeFrom(pb.Open(pacing=pacing, fps=20.0))
    await stream.open(message)
    return stream


async def first_frame_ready(server: RunningServer) -> None:
    async def ready() -> bool:
        (record,) = server.runtime.sessions
        return record.session.ready_frame > 0

    await eventually(ready)


async def said_in(stream: RawStream, kind: str) -> float:
    """Seconds until a message of a kind comes."""
    begun = asyncio.get_running_loop().time()
    await stream.hear_until(kind)
    return asyncio.get_running_loop().time() - begun


async def test_a_frame_comes_no_earlier_than_it_is_to_be_sent_and_refusals_do_not_wait_for_it(
    channel: grpc.aio.Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(monkeypatch, HELD_S)
    stream = await opened(channel, pb.PACING_LOCKSTEP)
    await stream.say(turn=lockstep_turn("one", 3))
    await stream.say(turn=lockstep_turn("one", 1))  # its id is taken
    await stream.hear_until("rejected", never="frame")
    assert await said_in(stream, "frame") >= 0.9 * HELD_S - 0.1
    await stream.hear_until("turn_completed")
    kinds = [message.WhichOneof("response") for message in stream.heard]
    assert kinds == ["opened", "turn_started", "rejected", "frame", "frame", "frame", "turn_completed"]


async def test_a_session_that_is_closed_meanwhile_gives_its_frames_before_it_says_so(
    channel: grpc.aio.Channel, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(monkeypatch, HELD_S)
    stream = await opened(channel, pb.PACING_LOCKSTEP)
    await stream.say(turn=lockstep_turn("one", 1))
    await first_frame_ready(server)
    await stream.say(close=pb.Close())
    await stream.hear_until("closed")
    kinds = [message.WhichOneof("response") for message in stream.heard]
    assert kinds == ["opened", "turn_started", "frame", "turn_completed", "closed"]


async def test_a_server_that_stops_holds_nothing_back(
    channel: grpc.aio.Channel, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(monkeypatch, LONG_S)
    stream = await opened(channel, pb.PACING_LOCKSTEP)
    await stream.say(turn=lockstep_turn("one", 1))
    await stream.hear_until("turn_started")
    await first_frame_ready(server)
    server.runtime.begin_stopping()
    async with asyncio.timeout(LONG_S / 2):
        await stream.hear_until("notice")
        await stream.hear_until("frame")


@pytest.mark.parametrize("pacing", [pb.PACING_LIVE, pb.PACING_UNSPECIFIED])
async def test_where_the_latest_state_wins_or_nothing_is_paced_frames_are_sent_when_they_are_ready(
    channel: grpc.aio.Channel, monkeypatch: pytest.MonkeyPatch, pacing: pb.Pacing
) -> None:
    hold(monkeypatch, LONG_S)
    stream = await opened(channel, pacing)
    await stream.say(turn=lockstep_turn("one", 1))
    async with asyncio.timeout(LONG_S / 2):
        await stream.hear_until("frame")
        await stream.hear_until("turn_completed")
