"""Two audiences on one session: whoever watches sees what the player sees, and slows nobody."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import cutscene_client as cc
from cutscene_proto.v1 import cutscene_pb2 as pb
from messages import lockstep_turn, open_message
from server_program import serving
from synthetic_server import eventually


async def test_a_watcher_sees_the_latest_frame_and_then_every_one_until_the_session_closes(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, cc.connect(server.address) as client:
        session = await client.open_request(open_message(cast=("actor-0", "slow")))
        played = [frame async for frame in session.perform(lockstep_turn("one", 3))]
        seen: list[cc.Frame] = []
        begun = asyncio.Event()

        async def watch() -> None:
            async for frame in client.watch(session.id, session.watch_token):
                seen.append(frame)
                begun.set()

        watching = asyncio.create_task(watch())
        await begun.wait()
        played += [frame async for frame in session.perform(lockstep_turn("two", 6))]
        await session.close()
        await watching
        assert [frame.index for frame in seen] == list(range(2, 9))
        assert [frame.digest for frame in seen] == [frame.digest for frame in played[2:]]


async def test_a_watcher_that_does_not_read_slows_nobody_and_misses_the_middle(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, cc.connect(server.address) as client:
        message = open_message()
        message.video.codec = pb.CODEC_RAW_RGB  # raw, so that what travels is more than a window holds
        session = await client.open_request(message)
        async for _ in session.perform(lockstep_turn("one", 1)):
            pass
        watcher = client.watch(session.id, session.watch_token)
        assert (await anext(watcher)).index == 0
        for number in range(10):
            turn = lockstep_turn(f"turn-{number}", 100)
            assert len([frame async for frame in session.perform(turn)]) == 100
        await session.close()
        late = [frame.index async for frame in watcher]
        assert late == sorted(set(late))
        assert late[-1] == 1000, "the latest wins"
        assert len(late) < 1000


async def test_a_watch_token_admits_to_nothing_else_and_the_sessions_own_is_not_guessed_from_it(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, cc.connect(server.address) as client:
        session = await client.open_request(open_message())
        assert session.watch_token not in ("", session.token)
        with pytest.raises(cc.SessionNotFound):
            await client.resume(session.id, session.watch_token, 0)
        with pytest.raises(cc.SessionNotFound):
            await client.close_session(session.id, session.watch_token)
        for wrong in (session.token, "", "guess"):
            with pytest.raises(cc.SessionNotFound):
                await anext(client.watch(session.id, wrong))


async def test_one_watcher_too_many_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, cc.connect(server.address) as client:
        session = await client.open_request(open_message())
        async for _ in session.perform(lockstep_turn("one", 1)):
            pass
        watchers = [client.watch(session.id, session.watch_token) for _ in range(64)]
        for watcher in watchers:
            await anext(watcher)
        with pytest.raises(cc.ResourceExhausted, match="at most 64"):
            await anext(client.watch(session.id, session.watch_token))
        await watchers.pop().aclose()  # type: ignore[attr-defined]

        async def one_more() -> bool:
            try:
                await anext(client.watch(session.id, session.watch_token))
            except cc.ResourceExhausted:
                return False
            return True

        await eventually(one_more)
