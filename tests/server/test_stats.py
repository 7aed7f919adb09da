"""What the server says of itself over gRPC: figures of sessions, no secrets, and to this machine only."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio

from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_proto.v1.cutscene_pb2_grpc import CutsceneServiceStub
from cutscene_server.observer import Observer
from cutscene_server.recent import STAGES
from cutscene_server.running import RunningServer, run_server
from cutscene_server.service.calls import is_local
from cutscene_server.wire.stats import server_stats
from messages import lockstep_turn, open_message
from raw_client import RawStream, details
from synthetic_server import eventually, synthetic_config


@pytest_asyncio.fixture
async def server() -> AsyncIterator[RunningServer]:
    async with run_server(synthetic_config(max_disk=1 << 30)) as running:
        yield running


@pytest_asyncio.fixture
async def channel(server: RunningServer) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(server.address) as opened:
        yield opened


async def stats_of(channel: grpc.aio.Channel, max_sessions: int = 0) -> pb.ServerStats:
    stub = CutsceneServiceStub(channel)  # type: ignore[no-untyped-call]
    answer: pb.GetServerStatsResponse = await stub.GetServerStats(pb.GetServerStatsRequest(max_sessions=max_sessions))
    return answer.stats


async def test_an_idle_server_has_figures_of_nothing(channel: grpc.aio.Channel) -> None:
    stats = await stats_of(channel)
    assert (stats.model, stats.serving, stats.frames, list(stats.sessions)) == ("synthetic", True, 0, [])
    assert [stage.stage for stage in stats.stages] == list(STAGES)
    assert stats.uptime_us > 0
    assert stats.max_disk_bytes == 1 << 30


def test_a_server_whose_model_is_still_being_loaded_is_not_up_yet() -> None:
    answer = server_stats(Observer(), [], 10**12, model="", serving=False, max_disk=1, most_sessions=1)
    assert answer.stats.uptime_us == 0


async def test_a_session_at_work_is_shown_without_what_is_secret_or_was_named_by_a_client(
    channel: grpc.aio.Channel,
) -> None:
    stream = RawStream(channel)
    opened = await stream.open(open_message(frame_credit=8))
    await stream.say(turn=lockstep_turn("a-turn-of-mine", 12))
    await stream.frames(3)
    await stream.hear_until("notice")  # throttled, at 3 + 8 frames
    stats = await stats_of(channel)
    assert (stats.frames, stats.turns, stats.attached_sessions, stats.sessions_in_memory) == (11, 1, 1, 1)
    assert {tier.tier: tier.frames for tier in stats.tiers} == {pb.TIER_STANDARD: 11}
    assert stats.frames_per_second > 0
    assert stats.frame_latency.p99_us >= stats.frame_latency.p50_us > 0
    (session,) = stats.sessions
    assert session.session_id == opened.session_id
    assert (session.status, session.tier, session.fps) == (pb.SESSION_STATUS_PERFORMING, pb.TIER_STANDARD, 24.0)
    assert (session.next_frame, session.unacked_frames, session.frame_credit, session.throttled) == (11, 8, 8, True)
    assert session.frames_per_second > 0
    assert session.sent_bytes > 0
    told = stats.SerializeToString()
    for secret in (opened.token, opened.watch_token, "a-turn-of-mine", "actor-0"):
        assert secret.encode() not in told


async def test_refusals_are_counted(channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        await RawStream(channel).resume(pb.Opened(session_id="0" * 32, token="wrong"), 0)  # noqa: S106
    assert (await stats_of(channel)).refusals == 1


async def test_so_many_sessions_as_are_asked_for_those_drawn_for_last(channel: grpc.aio.Channel) -> None:
    streams = [RawStream(channel) for _ in range(3)]
    ids = [(await stream.open(open_message())).session_id for stream in streams]
    for index in (2, 0):
        await streams[index].say(turn=lockstep_turn("one", 2))
        await streams[index].frames(2)
    assert [session.session_id for session in (await stats_of(channel, 2)).sessions] == [ids[0], ids[2]]
    assert (await stats_of(channel, 2)).sessions_in_memory == 3
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stats_of(channel, 257)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "max_sessions" in details(raised.value)[0]


async def test_the_loops_lag_is_sampled(channel: grpc.aio.Channel) -> None:
    async def lag_known() -> bool:
        return (await stats_of(channel)).loop_lag.p99_us > 0

    await eventually(lag_known)


def address_beyond_loopback() -> str | None:
    """An address of this machine that other machines could reach; None if it has none."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # for documentation (RFC 5737); a datagram socket sends nothing yet
        except OSError:
            return None
        return str(probe.getsockname()[0])


async def test_who_comes_from_elsewhere_is_not_told() -> None:
    host = address_beyond_loopback()
    if host is None:
        pytest.skip("this machine has no address but loopback")
    config = dataclasses.replace(synthetic_config(allow_insecure_remote=True), listen=f"{host}:0")
    async with run_server(config) as server, grpc.aio.insecure_channel(server.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stats_of(channel)
    assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize(
    ("peer", "local"),
    [
        ("ipv4:127.0.0.1:40962", True),
        ("ipv4:127.8.0.1:1", True),
        ("ipv6:%5B::1%5D:40962", True),
        ("ipv6:[::1]:40962", True),
        ("unix:/run/cutscene", True),
        ("ipv4:192.168.1.7:40962", False),
        ("ipv6:%5B2001:db8::1%5D:40962", False),
        ("ipv6:%5B::ffff:10.0.0.1%5D:40962", False),
        ("", False),
        ("127.0.0.1", False),
    ],
)
def test_who_is_on_this_machine(peer: str, local: bool) -> None:
    assert is_local(peer) is local
