"""The Python client's pacing, its line to wait in, and its tenant."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import cutscene_client as cc
from cutscene_client.cli import main
from cutscene_proto.v1 import cutscene_pb2 as pb
from messages import lockstep_turn, open_message
from server_program import serving


async def test_a_client_that_waits_is_told_its_position_and_comes_in(tmp_path: Path) -> None:
    async with serving(tmp_path, "--max-sessions", "1") as server, cc.connect(server.address) as client:
        there = await client.open_request(open_message())
        with pytest.raises(cc.ResourceExhausted) as refused:
            await client.open_request(open_message())
        assert refused.value.retry_after == 5.0
        positions: list[int] = []
        heard = asyncio.Event()

        def on_position(position: int) -> None:
            positions.append(position)
            heard.set()

        message = open_message()
        message.wait = True
        gives_up = asyncio.create_task(client.open_request(message, on_position=on_position))
        await heard.wait()
        heard.clear()
        comes_in = asyncio.create_task(client.open_request(message, on_position=on_position))
        await heard.wait()
        gives_up.cancel()
        heard.clear()
        await heard.wait()
        assert positions == [1, 2, 1]
        await there.close()
        session = await comes_in
        assert [frame.index async for frame in session.perform(lockstep_turn("one", 2))] == [0, 1]
        await session.close()


async def test_a_live_session_tells_what_it_skipped(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, cc.connect(server.address, tenant="studio-a") as client:
        message = open_message(cast=("actor-0", "slow"))
        message.MergeFrom(pb.Open(pacing=pb.PACING_LIVE, fps=40.0, lowest_tier=pb.TIER_DRAFT))
        session = await client.open_request(message)
        assert (session.pacing, session.latency) == ("live", 0.3)
        frames = [frame async for frame in session.perform(lockstep_turn("one", 40))]
        assert session.turn_figures is not None
        assert session.turn_figures.states_skipped == session.states_skipped == 40 - len(frames) > 0
        assert sum(frame.states_skipped for frame in frames) == session.states_skipped
        usage = await session.close()
        assert usage.states_skipped == session.states_skipped


async def test_a_turn_for_which_there_is_no_room_may_be_sent_again(tmp_path: Path) -> None:
    async with serving(tmp_path, "--hold-place", "0.2") as server, cc.connect(server.address) as client:
        message = open_message(cast=("actor-0", "slow"))
        message.MergeFrom(pb.Open(pacing=pb.PACING_LOCKSTEP, fps=14.0))
        idle = await client.open_request(message)
        await asyncio.sleep(1.0)
        busy = await client.open_request(message)
        performing = busy.perform(lockstep_turn("long", 60))
        for _ in range(30):
            await anext(performing)
        with pytest.raises(cc.TurnRejected, match="cannot be held") as rejected:
            async for _ in idle.perform(lockstep_turn("one", 1)):
                pass
        assert rejected.value.retry_after == 5.0
        await client.close_session(busy.id, busy.token)
        assert [frame.index async for frame in idle.perform(lockstep_turn("two", 1))] == [0]


def test_the_tool_shows_what_was_late_and_what_was_skipped(
    server_address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "short.yaml"
    script.write_text(
        "title: Short\nroom: tavern\ncast: [{id: ada, costume: knight}]\n"
        "shots: [{name: first, duration: 0.5, camera: {framing: medium}}]\n",
        encoding="utf-8",
    )
    command = ["play", str(script), "-o", str(tmp_path / "short.mp4"), "--server", server_address]
    assert main([*command, "--pacing", "lockstep", "--wait", "--lowest-tier", "draft", "--tenant", "studio-a"]) == 0
    shown = capsys.readouterr().out
    assert "12 frames" in shown
    assert "0 states were skipped" in shown
