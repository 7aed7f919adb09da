"""The client comes back by itself: whatever dies, its loop goes on with the next frame."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import pytest

import cutscene_client as cc
from breaking_line import breaking_line
from cutscene_server.errors import DiskFull
from cutscene_server.running import run_server
from failing_disk import full_disk
from messages import lockstep_turn, open_message
from server_program import ServerProgram, serving
from synthetic_server import eventually, synthetic_config

TURNS = [lockstep_turn(f"turn-{number}", 25) for number in range(4)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def performed(server: ServerProgram) -> list[bytes]:
    async with cc.connect(server.address) as client, await client.open_request(open_message()) as session:
        return [frame.digest async for frame in session.play(TURNS)]


@pytest.mark.parametrize("victim", ["front end", "inference process", "stopped in order"])
async def test_a_loop_over_frames_goes_on_when_the_server_comes_back(tmp_path: Path, victim: str) -> None:
    async with serving(tmp_path, port=free_port()) as server:
        expected = await performed(server)
        got: list[bytes] = []
        async with cc.connect(server.address) as client, await client.open_request(open_message()) as session:
            async for frame in session.play(TURNS):
                assert frame.index == len(got)
                got.append(frame.digest)
                if len(got) in (20, 60):
                    if victim == "inference process":
                        server.kill_inference()
                    else:
                        await (server.kill() if victim == "front end" else server.stop())
                        restart = asyncio.create_task(server.start())
            # A server that is about to stop may still take one back for a moment: that counts too.
            assert session.resumed == 0 if victim == "inference process" else session.resumed >= 2
        if victim != "inference process":
            await restart
        assert got == expected


async def test_a_loop_over_frames_waits_for_room_on_a_full_disk_for_as_long_as_its_patience_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DiskFull, "retry_after_s", 0.2)
    async with run_server(synthetic_config(tmp_path)) as server, cc.connect(server.address) as client:
        slow = open_message(cast=("actor-0", "slow"))
        undisturbed = await client.open_request(slow)
        expected = [frame.digest async for frame in undisturbed.perform(TURNS[0])]

        session, got = await client.open_request(slow), list[bytes]()

        async def resumed_twice() -> bool:
            return session.resumed >= 2

        async def full_for_a_while() -> None:
            with full_disk():
                await eventually(resumed_twice)

        async for frame in session.perform(TURNS[0]):
            got.append(frame.digest)
            if frame.index == 3:
                room = asyncio.create_task(full_for_a_while())
        await room
        assert got == expected

        impatient, got = await client.open_request(slow, patience=0.5), []

        async def play() -> None:
            async for frame in impatient.perform(TURNS[0]):
                got.append(frame.digest)
                if frame.index == 3:
                    disk.enter_context(full_disk())

        with contextlib.ExitStack() as disk, pytest.raises(cc.ResourceExhausted) as raised:
            await play()
        assert raised.value.retry_after == 0.2
        again = await client.resume(impatient.id, impatient.token, impatient.next_frame)
        got += [frame.digest async for frame in again.remaining()]
        assert got == expected


async def test_without_patience_the_loss_is_the_callers_to_handle(tmp_path: Path) -> None:
    async with serving(tmp_path, port=free_port()) as server, cc.connect(server.address) as client:
        session = await client.open_request(open_message(), patience=0.0)

        async def play() -> None:
            async for frame in session.play(TURNS):
                if frame.index == 10:
                    await server.kill()

        with pytest.raises(cc.ConnectionLost) as lost:
            await play()
        assert lost.value.next_frame >= 11


async def test_going_back_and_a_fork_from_the_client(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, cc.connect(server.address) as client:
        session = await client.open_request(open_message())
        first = [frame.digest async for frame in session.perform(lockstep_turn("one", 12))]
        fork_id, fork_token = await client.fork(session.id, session.token, 12)
        await session.rewind(4)
        assert (session.epoch, session.next_frame) == (1, 4)
        again = [frame async for frame in session.perform(lockstep_turn("two", 3))]
        assert [frame.index for frame in again] == [4, 5, 6]
        with pytest.raises(cc.TurnRejected, match="only frames below 7"):
            await session.rewind(8)
        assert [frame.index async for frame in session.perform(lockstep_turn("three", 1))] == [7]

        fork = await client.resume(fork_id, fork_token, 12)
        after = [frame.index async for frame in fork.perform(lockstep_turn("two", 2))]
        assert after == [12, 13]
        assert len(set(first)) == 12
        await fork.close()
        await session.close()


async def test_going_back_goes_on_when_the_line_breaks_before_the_server_has_heard_of_it(tmp_path: Path) -> None:
    """The frames from there on are acknowledged, and the server does not have them any more."""
    async with (
        serving(tmp_path) as server,
        breaking_line(server.address) as line,
        cc.connect(line.address) as client,
        await client.open_request(open_message()) as session,
    ):
        async for _ in session.perform(lockstep_turn("one", 10)):
            pass
        line.cut()
        await session.rewind(4)
        assert (session.epoch, session.next_frame, session.resumed) == (1, 4, 1)
        assert [frame.index async for frame in session.perform(lockstep_turn("two", 2))] == [4, 5]
