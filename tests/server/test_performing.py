"""Sessions over a real server: frames, resume, replacement, credit, closing. The engine is the synthetic one."""

from __future__ import annotations

import asyncio
import hashlib

import grpc
import numpy as np
import pytest
import simplejpeg
from blake3 import blake3

from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_proto.v1.cutscene_pb2_grpc import CutsceneServiceStub
from cutscene_server.running import RunningServer
from messages import keyframed_turn, lockstep_turn, open_message
from raw_client import RawStream

pytestmark = pytest.mark.asyncio(loop_scope="module")

SLOW = ("actor-0", "slow")  # a cast that makes the engine take 50 ms a frame


async def digests_of(channel: grpc.aio.Channel, message: pb.Open, turns: list[pb.Turn]) -> list[bytes]:
    """What an undisturbed session draws."""
    stream = RawStream(channel)
    await stream.open(message)
    for turn in turns:
        await stream.say(turn=turn)
    await stream.say(close=pb.Close())
    await stream.hear_to_end()
    return [item.frame.pixel_digest for item in stream.heard if item.WhichOneof("response") == "frame"]


async def test_a_performance_from_open_to_closed(channel: grpc.aio.Channel) -> None:
    stream = RawStream(channel)
    opened = await stream.open(open_message(seed=5))
    assert (opened.model, opened.fps, opened.seed, opened.tier) == ("synthetic", 24.0, 5, pb.TIER_STANDARD)
    assert (opened.video.width, opened.video.height, opened.video.codec) == (64, 32, pb.CODEC_JPEG)
    assert (opened.video.jpeg_quality, opened.frame_credit, opened.next_frame) == (90, 48, 0)
    await stream.say(turn=keyframed_turn("one", 0.25))
    await stream.say(cut=pb.Cut())
    await stream.say(turn=lockstep_turn("two", 3))
    await stream.say(close=pb.Close())
    await stream.hear_to_end()
    kinds = [item.WhichOneof("response") for item in stream.heard]
    assert sorted(kinds[1:3]) in (["turn_started", "turn_started"], ["frame", "turn_started"])
    frames = [item.frame for item in stream.heard if item.WhichOneof("response") == "frame"]
    assert [frame.frame_index for frame in frames] == list(range(10))
    assert [frame.turn_id for frame in frames] == ["one"] * 7 + ["two"] * 3
    assert [frame.presentation_time_us for frame in frames[:3]] == [0, 41_667, 83_333]
    assert all(frame.tier == pb.TIER_STANDARD for frame in frames)
    # The synthetic engine keeps an anchor and a window of four blocks; the cut empties the window.
    assert [frame.cache.blocks_reused for frame in frames] == [0, 2, 3, 4, 5, 5, 5, 1, 2, 3]
    completed = [item.turn_completed for item in stream.heard if item.WhichOneof("response") == "turn_completed"]
    assert [(done.turn_id, done.first_frame, done.frame_count) for done in completed] == [("one", 0, 7), ("two", 7, 3)]
    assert all(0 < done.first_frame_us <= done.total_us for done in completed)
    closed = stream.heard[-1].closed
    assert closed.reason == pb.CLOSE_REASON_CLIENT
    assert (closed.usage.frames, closed.usage.turns) == (10, 2)
    assert closed.usage.compute_us > 0
    assert closed.usage.bytes_sent > sum(len(frame.data) for frame in frames)


async def test_the_digest_is_of_the_pixels_and_jpeg_shows_them(channel: grpc.aio.Channel) -> None:
    message = open_message()
    message.video.codec = pb.CODEC_RAW_RGB
    raw = RawStream(channel)
    await raw.open(message)
    await raw.say(turn=lockstep_turn("one", 1))
    (raw_frame,) = await raw.frames(1)
    raw.leave()
    assert len(raw_frame.data) == 64 * 32 * 3
    assert raw_frame.pixel_digest == hashlib.blake2b(raw_frame.data, digest_size=16).digest()
    message.video.codec = pb.CODEC_JPEG
    message.video.jpeg_quality = 100
    compressed = RawStream(channel)
    await compressed.open(message)
    await compressed.say(turn=lockstep_turn("one", 1))
    (jpeg_frame,) = await compressed.frames(1)
    compressed.leave()
    assert jpeg_frame.pixel_digest == raw_frame.pixel_digest
    message.video.pixel_digest = pb.PIXEL_DIGEST_BLAKE3
    otherwise = RawStream(channel)
    assert (await otherwise.open(message)).video.pixel_digest == pb.PIXEL_DIGEST_BLAKE3
    await otherwise.say(turn=lockstep_turn("one", 1))
    (proven_otherwise,) = await otherwise.frames(1)
    otherwise.leave()
    assert proven_otherwise.pixel_digest == blake3(raw_frame.data).digest(length=16)
    assert proven_otherwise.data == jpeg_frame.data
    pixels = np.frombuffer(raw_frame.data, np.uint8).reshape(32, 64, 3)
    luma = np.array([0.299, 0.587, 0.114])
    shown = simplejpeg.decode_jpeg(jpeg_frame.data)
    assert np.abs(shown @ luma - pixels @ luma).mean() < 8  # noise is the worst a codec can get


async def test_the_same_session_has_the_same_frames_whatever_runs_beside_it(channel: grpc.aio.Channel) -> None:
    turns = [keyframed_turn("one", 0.5), lockstep_turn("two", 5)]
    alone = await digests_of(channel, open_message(seed=1), turns)
    beside = await asyncio.gather(*[digests_of(channel, open_message(seed=seed), turns) for seed in (1, 2, 1)])
    assert beside[0] == alone
    assert beside[2] == alone
    assert not set(beside[1]) & set(alone)


@pytest.mark.parametrize("acked", [True, False], ids=["acked", "not acked"])
@pytest.mark.parametrize("received", [0, 1, 7])
async def test_a_dropped_client_resumes_and_gets_every_frame_once(
    channel: grpc.aio.Channel, received: int, acked: bool
) -> None:
    turns = [keyframed_turn("one", 0.25), lockstep_turn("two", 6)]
    undisturbed = await digests_of(channel, open_message(), turns)
    first = RawStream(channel)
    opened = await first.open(open_message())
    for turn in turns:
        await first.say(turn=turn)
    frames = await first.frames(received, ack=acked)
    first.leave()
    second = RawStream(channel)
    again = await second.resume(opened, received)
    assert (again.session_id, again.token, again.next_frame) == (opened.session_id, "", received)
    for turn in turns:  # what was not taken before the stream broke is sent again
        if turn.turn_id not in again.recent_turn_ids:
            await second.say(turn=turn)
    await second.say(close=pb.Close())
    await second.hear_to_end()
    frames += [item.frame for item in second.heard if item.WhichOneof("response") == "frame"]
    assert [frame.frame_index for frame in frames] == list(range(len(undisturbed)))
    assert [frame.pixel_digest for frame in frames] == undisturbed
    completed = {item.turn_completed.turn_id for item in first.heard + second.heard} - {""}
    assert completed == {"one", "two"}


async def test_a_client_may_come_and_go_many_times(channel: grpc.aio.Channel) -> None:
    undisturbed = await digests_of(channel, open_message(), [lockstep_turn("one", 30)])
    stream = RawStream(channel)
    opened = await stream.open(open_message(frame_credit=3))
    await stream.say(turn=lockstep_turn("one", 30))
    digests: list[bytes] = []
    while len(digests) < 30:
        digests += [frame.pixel_digest for frame in await stream.frames(2, ack=len(digests) % 4 == 0)]
        stream.leave()
        stream = RawStream(channel)
        await stream.resume(opened, len(digests))
    stream.leave()
    assert digests == undisturbed


async def test_a_session_goes_on_drawing_for_a_client_that_is_away(
    channel: grpc.aio.Channel, server: RunningServer
) -> None:
    stream = RawStream(channel)
    opened = await stream.open(open_message())
    await stream.say(turn=lockstep_turn("one", 20))
    await stream.hear_until("turn_started")
    stream.leave()
    await drawn(channel, opened, 20)
    second = RawStream(channel)
    await second.resume(opened, 0)
    assert [frame.frame_index for frame in await second.frames(20)] == list(range(20))
    second.leave()


async def drawn(channel: grpc.aio.Channel, opened: pb.Opened, frames: int) -> pb.Session:
    """Waits until so many frames are drawn, and returns the session's figures."""
    stub = CutsceneServiceStub(channel)  # type: ignore[no-untyped-call]
    async with asyncio.timeout(20):
        while True:
            request = pb.GetSessionRequest(session_id=opened.session_id, token=opened.token)
            session: pb.Session = (await stub.GetSession(request)).session
            if session.next_frame >= frames:
                return session
            await asyncio.sleep(0.01)


async def test_resume_outside_of_what_is_kept_is_out_of_range(channel: grpc.aio.Channel) -> None:
    stream = RawStream(channel)
    opened = await stream.open(open_message())
    await stream.say(turn=lockstep_turn("one", 4))
    await stream.frames(4)
    await stream.say(turn=lockstep_turn("two", 1))  # when its receipt is here, the acks before it have been taken
    await stream.frames(1, ack=False)
    for next_frame, says in ((3, "frames below 4 were acknowledged"), (6, "only frames below 5 have been drawn")):
        other = RawStream(channel)
        with pytest.raises(grpc.aio.AioRpcError, match=says) as raised:
            await other.resume(opened, next_frame)
        assert raised.value.code() is grpc.StatusCode.OUT_OF_RANGE
    await stream.say(turn=lockstep_turn("three", 1))  # the stream that was there was not disturbed
    await stream.frames(1)
    stream.leave()


async def test_a_wrong_token_and_an_unknown_session_look_the_same(channel: grpc.aio.Channel) -> None:
    stream = RawStream(channel)
    opened = await stream.open(open_message())
    said = set()
    for session_id, token in (
        (opened.session_id, "wrong"),
        (opened.session_id, ""),
        (opened.session_id, "é"),
        ("0" * 32, opened.token),
        ("", ""),
    ):
        other = RawStream(channel)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await other.resume(pb.Opened(session_id=session_id, token=token), 0)
        said.add((raised.value.code(), raised.value.details()))
    assert len(said) == 1
    assert said.pop()[0] is grpc.StatusCode.NOT_FOUND
    stream.leave()


async def test_a_second_stream_replaces_the_first(channel: grpc.aio.Channel) -> None:
    first = RawStream(channel)
    opened = await first.open(open_message(cast=SLOW))
    await first.say(turn=lockstep_turn("one", 10))
    received = await first.frames(3)
    second = RawStream(channel)
    # The first stream may have been sent more than this client has read: the second one gets those again.
    await second.resume(opened, 3)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await first.hear_to_end()
    assert raised.value.code() is grpc.StatusCode.ABORTED
    assert first.heard[-1].notice.kind == pb.NOTICE_KIND_REPLACED
    received += await second.frames(7)
    assert [frame.frame_index for frame in received] == list(range(10))
    second.leave()


async def test_credit_stops_drawing_and_says_so_once(channel: grpc.aio.Channel) -> None:
    stream = RawStream(channel)
    opened = await stream.open(open_message(frame_credit=4))
    assert opened.frame_credit == 4
    await stream.say(turn=lockstep_turn("one", 12))
    frames = await stream.frames(4, ack=False)
    notice = await stream.hear_until("notice")
    assert notice.kind == pb.NOTICE_KIND_THROTTLED
    session = await drawn(channel, opened, 4)
    await asyncio.sleep(0.2)
    assert (await drawn(channel, opened, 4)).next_frame == 4
    assert (session.status, session.acked_frame) == (pb.SESSION_STATUS_PERFORMING, 0)
    await stream.say(ack=pb.Ack(next_frame=4))
    frames += await stream.frames(8)
    assert [frame.frame_index for frame in frames] == list(range(12))
    await stream.hear_until("turn_completed")
    stream.leave()


async def test_raw_frames_lower_the_credit_to_what_may_be_kept() -> None:
    from cutscene_server.wire import requests
    from synthetic_engine import MANIFEST

    message = pb.Open(frame_credit=256, video=pb.VideoFormat(codec=pb.CODEC_RAW_RGB))
    large = type(MANIFEST)(
        **{**{name: getattr(MANIFEST, name) for name in MANIFEST.__slots__}, "width": 1920, "height": 1080}
    )
    terms, _ = requests.read_open(message, large, 1000)
    assert terms.frame_credit == 8
    assert terms.frame_credit * 1920 * 1080 * 3 <= requests.MAX_UNACKED_RAW_BYTES


async def test_sessions_are_drawn_in_turns(channel: grpc.aio.Channel) -> None:
    """A long turn of one session does not hold up another one's first frame."""
    long, short = RawStream(channel), RawStream(channel)
    await long.open(open_message(cast=SLOW))
    await short.open(open_message())
    await long.say(turn=lockstep_turn("long", 40))
    await long.frames(1)
    await short.say(turn=lockstep_turn("short", 4))
    await short.frames(4)
    # Four, and what was drawn until somebody looked: far from all of them.
    assert (await drawn(channel, long.opened, 1)).next_frame < 20
    long.leave()
    short.leave()


async def test_a_client_that_stops_talking_but_listens_gets_all_it_may(channel: grpc.aio.Channel) -> None:
    stream = RawStream(channel)
    await stream.open(open_message(frame_credit=5))
    await stream.say(turn=lockstep_turn("one", 3))
    await stream.call.done_writing()
    await stream.hear_to_end()
    kinds = [item.WhichOneof("response") for item in stream.heard]
    assert kinds == ["opened", "turn_started", "frame", "frame", "frame", "turn_completed"]


async def test_the_frame_budget_ends_the_session(channel: grpc.aio.Channel) -> None:
    message = open_message()
    message.frame_budget = 3
    stream = RawStream(channel)
    await stream.open(message)
    await stream.say(turn=lockstep_turn("one", 5))
    closed = await stream.hear_until("closed")
    assert (closed.reason, closed.usage.frames) == (pb.CLOSE_REASON_FRAME_BUDGET, 3)
    await stream.hear_to_end()


async def test_a_closed_sessions_last_frames_can_still_be_fetched(channel: grpc.aio.Channel) -> None:
    stream = RawStream(channel)
    opened = await stream.open(open_message(cast=SLOW))
    await stream.say(turn=lockstep_turn("one", 4))
    await stream.say(close=pb.Close())
    await stream.frames(1)
    stream.leave()
    session = await drawn(channel, opened, 4)
    assert session.status == pb.SESSION_STATUS_CLOSED
    second = RawStream(channel)
    await second.resume(opened, 1)
    assert [frame.frame_index for frame in await second.frames(3)] == [1, 2, 3]
    assert (await second.hear_until("closed")).reason == pb.CLOSE_REASON_CLIENT


@pytest.mark.parametrize(
    ("mischief", "frames"),
    [("fail_frame_3", 3), ("fail_commit_3", 4), ("fail_decode", 0)],
    ids=["draw", "commit", "decode"],
)
async def test_a_session_whose_model_fails_is_closed_and_the_others_go_on(
    channel: grpc.aio.Channel, mischief: str, frames: int
) -> None:
    bad, good = RawStream(channel), RawStream(channel)
    await good.open(open_message())
    await bad.open(open_message(cast=("actor-0", mischief)))
    await bad.say(turn=lockstep_turn("one", 6))
    assert len(await bad.frames(frames)) == frames
    assert (await bad.hear_until("closed")).reason == pb.CLOSE_REASON_ERROR
    await good.say(turn=lockstep_turn("one", 6))
    await good.frames(6)
    good.leave()


async def test_a_stage_that_cannot_be_begun_is_an_internal_error(channel: grpc.aio.Channel) -> None:
    stream = RawStream(channel)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stream.open(open_message(cast=("fail_begin",)))
    assert raised.value.code() is grpc.StatusCode.INTERNAL
