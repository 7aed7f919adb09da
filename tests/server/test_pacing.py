"""Sessions with a cadence over a real server: frames at their times, states that are skipped, tiers, places, a line."""

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
from cutscene_server.running import RunningServer, run_server
from messages import keyframed_turn, lockstep_turn, open_message
from raw_client import RawStream, details
from synthetic_server import eventually, synthetic_config

pytestmark = pytest.mark.asyncio(loop_scope="module")

SLOW = ("actor-0", "slow")  # a cast that makes the engine take 50 ms a frame


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[RunningServer]:
    async with run_server(synthetic_config(hold_place=0.5, max_waiting=2)) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def channel(server: RunningServer) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(server.address) as opened:
        yield opened


def paced(pacing: pb.Pacing, fps: float, cast: tuple[str, ...] = ("actor-0",), **fields: Any) -> pb.Open:
    message = open_message(cast=cast)
    message.MergeFrom(pb.Open(pacing=pacing, fps=fps, **fields))
    return message


async def closed(stream: RawStream) -> pb.Closed:
    await stream.say(close=pb.Close())
    answer: pb.Closed = await stream.hear_until("closed")
    return answer


async def test_a_paced_session_is_told_its_terms_and_a_frame_never_comes_before_its_time(
    channel: grpc.aio.Channel,
) -> None:
    stream = RawStream(channel)
    opened = await stream.open(paced(pb.PACING_LOCKSTEP, 20.0, lowest_tier=pb.TIER_DRAFT))
    assert (opened.pacing, opened.lowest_tier, opened.latency_us) == (pb.PACING_LOCKSTEP, pb.TIER_DRAFT, 300_000)
    started = asyncio.get_running_loop().time()
    await stream.say(turn=keyframed_turn("one", 0.5))
    frames = await stream.frames(11)
    assert asyncio.get_running_loop().time() - started >= 10 / 20.0  # the eleventh state's time; later is no failure
    assert [frame.states_skipped for frame in frames] == [0] * 11
    done = await stream.hear_until("turn_completed")
    assert (done.frame_count, done.states_skipped) == (11, 0)
    usage = (await closed(stream)).usage
    assert (usage.frames, usage.states_skipped, usage.deadline_misses) == (11, 0, done.deadline_misses)


async def test_without_pacing_frames_come_as_fast_as_they_are_drawn(channel: grpc.aio.Channel) -> None:
    stream = RawStream(channel)
    opened = await stream.open(paced(pb.PACING_UNSPECIFIED, 1.0))
    assert (opened.pacing, opened.latency_us) == (pb.PACING_UNSPECIFIED, 0)
    await stream.say(turn=lockstep_turn("one", 100))
    async with asyncio.timeout(60.0):  # at its rate it would take 100 s
        await stream.frames(100)
    await closed(stream)


async def test_live_draws_the_latest_state_and_counts_what_it_skips(channel: grpc.aio.Channel) -> None:
    """Twice as many states as the slow cast can have frames: each is drawn or skipped, and frames have no gaps."""
    stream = RawStream(channel)
    await stream.open(paced(pb.PACING_LIVE, 40.0, SLOW, lowest_tier=pb.TIER_DRAFT))
    await stream.say(turn=lockstep_turn("one", 60))
    frames, done = [], pb.TurnCompleted()
    while not done.turn_id:
        heard = await stream.hear()
        assert heard is not None
        if heard.WhichOneof("response") == "frame":
            frames.append(heard.frame)
            await stream.say(ack=pb.Ack(next_frame=heard.frame.frame_index + 1))
        done = heard.turn_completed
    assert [frame.frame_index for frame in frames] == list(range(len(frames)))
    assert done.states_skipped >= 10
    assert done.frame_count == len(frames) == 60 - done.states_skipped
    assert sum(frame.states_skipped for frame in frames) == done.states_skipped
    await stream.say(turn=lockstep_turn("two", 1))  # the last state of all is always drawn, and numbering goes on
    (frame,) = await stream.frames(1)
    assert (frame.frame_index, frame.turn_id) == (len(frames), "two")
    assert (await closed(stream)).usage.states_skipped == done.states_skipped


async def test_an_engine_that_sends_each_state_as_it_comes_gets_the_latest(channel: grpc.aio.Channel) -> None:
    stream = RawStream(channel)
    await stream.open(paced(pb.PACING_LIVE, 15.0))
    for number in range(40):  # twice the session's rate; what is refused meanwhile is as good as skipped
        await stream.say(turn=lockstep_turn(f"state-{number}", 1))
        await asyncio.sleep(1 / 30)
    await stream.say(close=pb.Close())
    await stream.hear_until("closed")
    frames = [item.frame for item in stream.heard if item.WhichOneof("response") == "frame"]
    done = {
        item.turn_completed.turn_id: item.turn_completed for item in stream.heard if item.HasField("turn_completed")
    }
    refused = {item.rejected.turn_id for item in stream.heard if item.HasField("rejected")}
    assert set(done) | refused == {f"state-{number}" for number in range(40)}
    assert [frame.frame_index for frame in frames] == list(range(len(frames)))
    assert sum(turn.states_skipped for turn in done.values()) == len(done) - len(frames)
    assert len(frames) < len(done)


async def test_a_live_session_that_skipped_states_comes_back_from_disk_with_its_frames(tmp_path: Path) -> None:
    config = synthetic_config(tmp_path)
    async with run_server(config) as server, grpc.aio.insecure_channel(server.address) as channel:
        stream = RawStream(channel)
        opened = await stream.open(paced(pb.PACING_LIVE, 40.0, SLOW, frame_credit=256))
        for number in range(3):
            await stream.say(turn=lockstep_turn(f"turn-{number}", 40))
        first = await stream.frames(15, ack=False)
        assert sum(frame.states_skipped for frame in first) > 0
    async with run_server(config) as server, grpc.aio.insecure_channel(server.address) as channel:
        stream = RawStream(channel)
        again = await stream.resume(opened, 0)
        assert again.pacing == pb.PACING_LIVE
        frames = await stream.frames(15)
        assert [frame.pixel_digest for frame in frames] == [frame.pixel_digest for frame in first]
        assert [frame.turn_id for frame in frames] == [frame.turn_id for frame in first]
        await stream.say(close=pb.Close())
        assert (await stream.hear_until("closed")).reason == pb.CLOSE_REASON_CLIENT
        frames += [item.frame for item in stream.heard[16:] if item.WhichOneof("response") == "frame"]
        done = [item.turn_completed for item in stream.heard if item.HasField("turn_completed")]
        assert [turn.turn_id for turn in done] == ["turn-0", "turn-1", "turn-2"]
        last = max(frame.frame_index for frame in frames)
        assert sum(turn.frame_count for turn in done) == last + 1


async def test_frames_are_late_by_one_rule_wherever_they_are_counted() -> None:
    """A frame of the slow cast takes twice the time that there is: late is what a cadence was promised for, only that,
    and in the usage and the server's own figures alike.
    """
    config = synthetic_config(frame_latency=0.001)
    async with run_server(config) as server, grpc.aio.insecure_channel(server.address) as channel:
        misses = 0
        for pacing in (pb.PACING_LOCKSTEP, pb.PACING_UNSPECIFIED):
            stream = RawStream(channel)
            await stream.open(paced(pacing, 40.0, SLOW))
            await stream.say(turn=lockstep_turn("one", 6))
            await stream.frames(6)
            usage = (await closed(stream)).usage
            misses += usage.deadline_misses
            assert (usage.deadline_misses > 0) == (pacing == pb.PACING_LOCKSTEP)
            assert server.runtime.observer.totals.late_frames == misses
        shown = [
            server.runtime.observer.recent.session(record.key, 0).late_frames for record in server.runtime.sessions
        ]
        assert sorted(shown) == [0, misses]


async def test_a_crowd_is_drawn_at_a_lower_tier_and_is_told(channel: grpc.aio.Channel) -> None:
    """The slow cast takes 50 ms at any tier: 16 frames/s are more than is kept free, so that tiers are lowered."""
    stream = RawStream(channel)
    await stream.open(paced(pb.PACING_LOCKSTEP, 19.0, SLOW, lowest_tier=pb.TIER_DRAFT))
    await stream.say(turn=lockstep_turn("one", 60))
    frame = pb.Frame()
    while frame.tier != pb.TIER_DRAFT:
        frame = await stream.hear_until("frame")
        await stream.say(ack=pb.Ack(next_frame=frame.frame_index + 1))
    (notice,) = [message.notice for message in stream.heard if message.WhichOneof("response") == "notice"]
    assert (notice.kind, notice.tier) == (pb.NOTICE_KIND_TIER_CHANGED, pb.TIER_DRAFT)
    stream.leave()
    await end(channel, stream)


async def end(channel: grpc.aio.Channel, stream: RawStream) -> None:
    stub = CutsceneServiceStub(channel)  # type: ignore[no-untyped-call]
    await stub.CloseSession(pb.CloseSessionRequest(session_id=stream.opened.session_id, token=stream.opened.token))


async def full(server: RunningServer, channel: grpc.aio.Channel) -> RawStream:
    """A session at work that leaves no room for another like it."""
    stream = RawStream(channel)
    await stream.open(paced(pb.PACING_LOCKSTEP, 12.0, SLOW))
    await stream.say(turn=lockstep_turn("long", 400))
    await stream.frames(12)

    async def learned() -> bool:
        await stream.frames(1)
        return server.runtime.crew.all[0].places.load > 0.5

    await eventually(learned)
    return stream


async def test_a_cadence_that_cannot_be_held_is_refused_and_one_who_waits_comes_in_when_there_is_room(
    server: RunningServer, channel: grpc.aio.Channel
) -> None:
    first = await full(server, channel)
    with pytest.raises(grpc.aio.AioRpcError, match="cannot be held") as raised:
        await RawStream(channel).open(paced(pb.PACING_LOCKSTEP, 12.0, SLOW))
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details(raised.value)[1] == 5.0
    without = RawStream(channel)  # whoever wants no cadence is welcome
    await without.open(open_message())
    await closed(without)

    waiting = [RawStream(channel) for _ in range(2)]
    for position, stream in enumerate(waiting, 1):
        await stream.say(open=paced(pb.PACING_LOCKSTEP, 12.0, SLOW, wait=True))
        notice = await stream.hear_until("notice")
        assert (notice.kind, notice.position) == (pb.NOTICE_KIND_QUEUED, position)
    with pytest.raises(grpc.aio.AioRpcError, match="2 wait for room already"):
        await RawStream(channel).open(paced(pb.PACING_LOCKSTEP, 12.0, SLOW, wait=True))
    with pytest.raises(grpc.aio.AioRpcError, match="wait for room already"):  # nobody is overtaken
        await RawStream(channel).open(open_message())
    waiting[0].leave()  # gives up
    notice = await waiting[1].hear_until("notice")
    assert notice.position == 1
    first.leave()
    await end(channel, first)
    opened = await waiting[1].hear_until("opened")
    assert opened.pacing == pb.PACING_LOCKSTEP
    await closed(waiting[1])


async def test_a_place_that_lapsed_is_asked_for_again_with_the_next_turn(
    server: RunningServer, channel: grpc.aio.Channel
) -> None:
    idle = RawStream(channel)
    await idle.open(paced(pb.PACING_LOCKSTEP, 12.0, SLOW))
    (inference,) = server.runtime.crew.all

    async def lapsed() -> bool:
        return len(inference.places) == 0

    await eventually(lapsed)
    busy = await full(server, channel)
    await idle.say(turn=lockstep_turn("one", 3))
    rejected = await idle.hear_until("rejected")
    assert (rejected.turn_id, rejected.retry_after_ms) == ("one", 5000)
    assert "cannot be held" in rejected.violations[0].description
    busy.leave()
    await end(channel, busy)
    await idle.say(turn=lockstep_turn("two", 3))
    assert [frame.frame_index for frame in await idle.frames(3)] == [0, 1, 2]
    await closed(idle)


async def test_a_reader_that_stalls_holds_up_nobody_and_keeps_no_more_than_its_credit(
    server: RunningServer, channel: grpc.aio.Channel
) -> None:
    stalled, live = RawStream(channel), RawStream(channel)
    await stalled.open(open_message(frame_credit=16))
    await stalled.say(turn=lockstep_turn("one", 400))
    await stalled.hear_until("frame")
    await live.open(paced(pb.PACING_LOCKSTEP, 15.0))
    await live.say(turn=lockstep_turn("one", 20))
    assert [frame.frame_index for frame in await live.frames(20)] == list(range(20))
    (record,) = [each for each in server.runtime.sessions if each.session_id == stalled.opened.session_id]
    assert record.session.ready_frame <= 16
    assert len(record.session.log) <= 18
    await closed(live)
    stalled.leave()
    await end(channel, stalled)


async def test_a_tenant_has_no_more_than_its_limits(tmp_path: Path) -> None:
    config = synthetic_config(tmp_path, tenant_sessions=2, tenant_frames=30.0)
    async with run_server(config) as server, grpc.aio.insecure_channel(server.address) as channel:
        stub = CutsceneServiceStub(channel)  # type: ignore[no-untyped-call]

        def as_tenant(name: str) -> RawStream:
            stream = RawStream(channel)
            stream.call = stub.Perform(metadata=(("cutscene-tenant", name),))
            return stream

        mine = as_tenant("studio-a")
        await mine.open(paced(pb.PACING_LOCKSTEP, 20.0))
        with pytest.raises(grpc.aio.AioRpcError, match="20 frames/s promised; it may have 30") as raised:
            await as_tenant("studio-a").open(paced(pb.PACING_LOCKSTEP, 20.0, wait=True))
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        unpaced = as_tenant("studio-a")
        await unpaced.open(open_message())
        with pytest.raises(grpc.aio.AioRpcError, match="2 sessions; it may have 2"):
            await as_tenant("studio-a").open(open_message())
        await as_tenant("studio-b").open(open_message())

        # Two seconds' worth at once, then no faster than the rate.
        started = asyncio.get_running_loop().time()
        await unpaced.say(turn=lockstep_turn("one", 90))
        await unpaced.frames(90)
        assert asyncio.get_running_loop().time() - started >= (90 - 60 - 2) / 30.0
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await as_tenant("a b").open(open_message())
        assert "metadata.cutscene-tenant" in details(raised.value)[0]


async def test_bytes_are_sent_no_faster_than_a_tenant_may_have_them(tmp_path: Path) -> None:
    config = synthetic_config(tmp_path, tenant_bytes=50_000.0)
    async with run_server(config) as server, grpc.aio.insecure_channel(server.address) as channel:
        stream = RawStream(channel)
        message = open_message()
        message.video.codec = pb.CODEC_RAW_RGB  # 6 kB a frame
        await stream.open(message)
        started = asyncio.get_running_loop().time()
        await stream.say(turn=lockstep_turn("one", 32))
        await stream.frames(32)
        assert asyncio.get_running_loop().time() - started >= (31 * 6144 - 100_000 - 6500) / 50_000
        stream.leave()


async def test_a_stream_that_waits_for_its_tenants_bytes_is_told_at_once_that_the_server_stops(tmp_path: Path) -> None:
    config = synthetic_config(tmp_path, tenant_bytes=100.0)  # a minute for each raw frame
    async with run_server(config) as server, grpc.aio.insecure_channel(server.address) as channel:
        stream = RawStream(channel)
        message = open_message()
        message.video.codec = pb.CODEC_RAW_RGB
        await stream.open(message)
        await stream.say(turn=lockstep_turn("one", 8))
        await stream.frames(1)
        server.runtime.begin_stopping()
        notice = await stream.hear_until("notice")
        assert notice.kind == pb.NOTICE_KIND_GOING_AWAY
        assert len([heard for heard in stream.heard if heard.HasField("frame")]) <= 2
