"""Nothing that was told is lost: ``kill -9`` of either process or both, going back, forks, damage on disk."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest

from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_proto.v1.cutscene_pb2_grpc import CutsceneServiceStub
from cutscene_server.running import run_server
from cutscene_server.service.calls import FRAMES_READ_AT_ONCE, CutsceneService
from messages import lockstep_turn, open_message
from raw_client import RawStream
from server_program import frames_whatever_happens, serving
from synthetic_server import synthetic_config

pytestmark = pytest.mark.asyncio

TURNS = [lockstep_turn(f"turn-{number}", 25) for number in range(6)]


def digests(frames: list[pb.Frame]) -> list[bytes]:
    return [frame.pixel_digest for frame in frames]


def everything_in(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


async def undisturbed(seed: int) -> list[bytes]:
    async with run_server(synthetic_config()) as server, grpc.aio.insecure_channel(server.address) as channel:
        stream = RawStream(channel)
        await stream.open(open_message(seed=seed))
        for turn in TURNS:
            await stream.say(turn=turn)
        return digests(await stream.frames(150))


@pytest.mark.parametrize("victim", ["inference process", "front end"])
async def test_whichever_process_is_killed_every_frame_comes_once_in_order_with_its_pixels(
    tmp_path: Path, victim: str
) -> None:
    seeds = (1, 2)
    expected = [await undisturbed(seed) for seed in seeds]
    random.seed(victim)
    async with serving(tmp_path) as server:
        clients = [
            asyncio.create_task(frames_whatever_happens(server, open_message(seed=seed, cast=cast), TURNS))
            for seed in seeds
            for cast in (("actor-0", "actor-1"), ("actor-0", "slow"))
        ]
        for _ in range(3):
            await asyncio.sleep(0.3 + random.random() * 0.7)
            if victim == "front end":
                await server.kill()
                await server.start()
            else:
                server.kill_inference()
        got = [digests(await client) for client in clients]
        assert got[::2] == expected
        assert [len(set(each)) for each in got] == [150] * 4


async def test_going_back_goes_on_from_there_and_forks_keep_what_was(tmp_path: Path) -> None:
    async with run_server(synthetic_config(tmp_path)) as server, grpc.aio.insecure_channel(server.address) as channel:
        stub: Any = CutsceneServiceStub(channel)  # type: ignore[no-untyped-call]
        stream, straight = RawStream(channel), RawStream(channel)
        opened = await stream.open(open_message())
        await straight.open(open_message())
        await stream.say(turn=lockstep_turn("one", 10))
        first_take = digests(await stream.frames(10))
        fork = await stub.ForkSession(pb.ForkSessionRequest(session_id=opened.session_id, token=opened.token, frame=10))
        await stream.say(rewind=pb.Rewind(frame=6))
        rewound = await stream.hear_until("rewound")
        assert (rewound.epoch, rewound.next_frame) == (1, 6)
        await stream.say(turn=lockstep_turn("two", 4))
        second_take = await stream.frames(4)
        assert [frame.frame_index for frame in second_take] == [6, 7, 8, 9]

        # The same states from the same past, without ever having gone back.
        await straight.say(turn=lockstep_turn("one", 6))
        await straight.frames(6)
        await straight.say(turn=lockstep_turn("two", 4))
        assert digests(await straight.frames(4)) == digests(second_take)

        # The fork goes on from the take that was left, in a session of its own.
        other = RawStream(channel)
        again = await other.resume(pb.Opened(session_id=fork.session_id, token=fork.token), 10)
        assert (again.next_frame, again.epoch) == (10, 0)
        await other.say(turn=lockstep_turn("one", 3))
        forked = digests(await other.frames(3))
        whole = RawStream(channel)
        await whole.open(open_message())
        await whole.say(turn=lockstep_turn("one", 10))
        assert digests(await whole.frames(10)) == first_take
        await whole.say(turn=lockstep_turn("two", 3))
        assert digests(await whole.frames(3)) == forked


async def test_a_recording_that_is_being_read_is_read_to_its_end_though_the_session_goes_back(tmp_path: Path) -> None:
    async with run_server(synthetic_config(tmp_path)) as server, grpc.aio.insecure_channel(server.address) as channel:
        stream = RawStream(channel)
        opened = await stream.open(open_message())
        await stream.say(turn=lockstep_turn("one", 2 * FRAMES_READ_AT_ONCE))
        played = await stream.frames(2 * FRAMES_READ_AT_ONCE)
        wanted = pb.GetRecordingRequest(session_id=opened.session_id, token=opened.token)
        # Not over the network, which would read ahead.
        context = SimpleNamespace(invocation_metadata=tuple)
        reading = CutsceneService(server.runtime).GetRecording(wanted, cast("Any", context))
        recorded = [await anext(reading)]
        await stream.say(rewind=pb.Rewind(frame=3))
        await stream.hear_until("rewound")
        recorded += [frame async for frame in reading]
        assert [frame.pixel_digest for frame in recorded] == digests(played)


async def test_another_server_on_the_same_directory_goes_on_with_every_session(tmp_path: Path) -> None:
    expected = await undisturbed(5)
    config = synthetic_config(tmp_path)
    async with run_server(config) as server, grpc.aio.insecure_channel(server.address) as channel:
        stream = RawStream(channel)
        opened = await stream.open(open_message(seed=5))
        for turn in TURNS[:3]:
            await stream.say(turn=turn)
        frames = await stream.frames(30)
    async with run_server(config) as server, grpc.aio.insecure_channel(server.address) as channel:
        stub: Any = CutsceneServiceStub(channel)  # type: ignore[no-untyped-call]
        (listed,) = (await stub.ListSessions(pb.ListSessionsRequest())).sessions
        assert (listed.session_id, listed.status) == (opened.session_id, pb.SESSION_STATUS_PARKED)
        stream = RawStream(channel)
        again = await stream.resume(opened, 30)
        assert list(again.recent_turn_ids) == ["turn-0", "turn-1", "turn-2"]
        frames += await stream.frames(45)
        for turn in TURNS[3:]:
            await stream.say(turn=turn)
        frames += await stream.frames(75)
    assert digests(frames) == expected


async def test_a_damaged_recording_is_refused_and_its_neighbour_is_not(tmp_path: Path) -> None:
    config = synthetic_config(tmp_path)
    async with run_server(config) as server, grpc.aio.insecure_channel(server.address) as channel:
        streams = [RawStream(channel) for _ in range(2)]
        opened = [await stream.open(open_message()) for stream in streams]
        for stream in streams:
            await stream.say(turn=lockstep_turn("one", 5))
            await stream.frames(5)
    (path,) = (tmp_path / "sessions" / opened[0].session_id).iterdir()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    async with run_server(config) as server, grpc.aio.insecure_channel(server.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await RawStream(channel).resume(opened[0], 5)
        assert raised.value.code() is grpc.StatusCode.DATA_LOSS
        good = RawStream(channel)
        await good.resume(opened[1], 5)
        await good.say(turn=lockstep_turn("two", 1))
        assert (await good.frames(1))[0].frame_index == 5


async def test_a_token_is_needed_on_disk_as_in_memory(tmp_path: Path) -> None:
    config = synthetic_config(tmp_path)
    async with run_server(config) as server, grpc.aio.insecure_channel(server.address) as channel:
        opened = await RawStream(channel).open(open_message())
    assert opened.token.encode() not in everything_in(tmp_path)
    async with run_server(config) as server, grpc.aio.insecure_channel(server.address) as channel:
        for session_id, token in ((opened.session_id, "guess"), ("../../etc", opened.token), ("x" * 32, opened.token)):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await RawStream(channel).resume(pb.Opened(session_id=session_id, token=token), 0)
            assert raised.value.code() is grpc.StatusCode.NOT_FOUND
