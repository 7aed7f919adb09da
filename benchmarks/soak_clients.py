"""Clients that behave, and clients that leave: each does one thing to a server, and checks the answer."""

from __future__ import annotations

import asyncio
import contextlib
import random

import grpc
from soak_churn import Churn, Kind, Unexpected, close, pieces

import cutscene_client as cc
from cutscene_client.frames import TIERS
from raw_client import RawStream

# ---- those that behave ----------------------------------------------------------------------------------------------


async def perform(churn: Churn, chance: random.Random) -> None:
    async with churn.client() as client, await client.open_request(churn.play.opening(chance)) as session:
        for _ in range(chance.randrange(1, 4)):
            if chance.random() < 0.3:
                await session.cut()
            async for frame in session.perform(churn.play.turn(chance, churn.some(chance))):
                if not frame.digest:
                    raise Unexpected("a frame without a digest")


async def rewind(churn: Churn, chance: random.Random) -> None:
    opening = churn.play.opening(chance, paced=False)
    async with churn.client() as client, await client.open_request(opening) as session:
        await churn.drawn(session, chance, 3)
        await session.rewind(chance.randrange(4))
        await churn.drawn(session, chance, 2)


async def fork(churn: Churn, chance: random.Random) -> None:
    opening = churn.play.opening(chance, paced=False)
    async with churn.client() as client, await client.open_request(opening) as session:
        await churn.drawn(session, chance, 3)
        fork_id, token = await client.fork(session.id, session.token, 2)
        if chance.random() < 0.3:
            churn.left_sessions.append((fork_id, token))
            return
        async with await client.resume(fork_id, token, 2) as fork:
            await churn.drawn(fork, chance, 2)


async def replay(churn: Churn, chance: random.Random) -> None:
    async with churn.client() as client:
        async with await client.open_request(churn.play.opening(chance, paced=False)) as session:
            await churn.drawn(session, chance, 4)
            replay = await client.replay(session.id, session.token, cc.ReplayWish(first_frame=chance.randrange(3)))
        async with await client.resume(replay.session_id, replay.token, replay.first_frame) as again:
            drawn = [frame.index async for frame in again.remaining()]
        if len(drawn) != replay.frame_count:
            raise Unexpected(f"a replay of {replay.frame_count} frames has {len(drawn)}")


async def watch(churn: Churn, chance: random.Random) -> None:
    async with churn.client() as client:
        async with await client.open_request(churn.play.opening(chance, paced=False)) as session:
            frames = client.watch(session.id, session.watch_token)

            async def look() -> int:
                seen = 0
                async with contextlib.aclosing(frames) as watched:  # type: ignore[type-var]
                    async for _ in watched:
                        seen += 1
                        if leaves and seen == 1:
                            break
                return seen

            leaves = chance.random() < 0.5
            watcher = asyncio.create_task(look())
            await churn.drawn(session, chance, 3)
        await watcher


async def move(churn: Churn, chance: random.Random) -> None:
    async with churn.client() as client:
        async with await client.open_request(churn.play.opening(chance, paced=False)) as session:
            await churn.drawn(session, chance, 3)
            exported = client.export_session(session.id, session.token)
            if chance.random() < 0.3:  # leaves before the end
                async for _ in exported:
                    break
                return
            file = b"".join([piece async for piece in exported])
        brought = await client.import_session(pieces(file))
        async with await client.resume(brought.session_id, brought.token, brought.next_frame) as again:
            await churn.drawn(again, chance, 1)


async def render(churn: Churn, chance: random.Random) -> None:
    async with churn.client() as client:
        items = [
            cc.RenderItem(f"film-{number}", churn.play.opening(chance, paced=False, tier=TIERS["draft"]),
                          [churn.play.turn(chance, churn.some(chance))])
            for number in range(chance.randrange(1, 3))
        ]  # fmt: skip
        job = await client.render(items)
        if chance.random() < 0.4:  # nobody watches: it is followed when the churn is over
            churn.left_jobs.append((job.id, job.token))
            return
        if chance.random() < 0.4:
            await asyncio.sleep(chance.random() * 3)
            await job.cancel()
            churn.counts["render jobs cancelled"] += 1
            return
        churn.left_jobs.append((job.id, job.token))  # should this client be ended before it
        ended = await job.wait()
        for number, item in enumerate(ended.items):
            if item.state == "failed":
                raise Unexpected(f"a film failed: {item.failure}")
            if item.state == "done":
                film = b"".join([piece async for piece in job.film(number)])
                if len(film) != item.film_bytes:
                    raise Unexpected(f"a film of {item.film_bytes} bytes has {len(film)}")


async def ask(churn: Churn, chance: random.Random) -> None:
    async with churn.client() as client:
        await client.stats(), await client.sessions(), await client.models(), await client.renders()


# ---- those that leave -----------------------------------------------------------------------------------------------


async def drop_and_resume(churn: Churn, chance: random.Random) -> None:
    """Drops without closing, with frames under way, and comes back until it has every frame, in order."""
    total = 2 * churn.frames
    async with churn.channel() as channel:
        stream = RawStream(channel)
        opened = await stream.open(churn.play.opening(chance, paced=False, frame_credit=chance.randrange(1, 9)))
        await stream.say(turn=churn.play.turn(chance, total, "one"))
        await stream.hear_until("turn_started")
        have = 0
        while have < total:
            frames = await stream.frames(min(chance.randrange(1, 4), total - have, opened.frame_credit))
            if [frame.frame_index for frame in frames] != list(range(have, have + len(frames))):
                raise Unexpected("frames came twice, or not at all")
            have += len(frames)
            if have < total:
                stream.leave()
                await asyncio.sleep(chance.random() * 0.5)
                stream = RawStream(channel)
                await stream.resume(opened, have)
                churn.counts["resumed"] += 1
        await close(stream)


async def replaced(churn: Churn, chance: random.Random) -> None:
    """Comes a second time while it is still there."""
    async with churn.channel() as channel:
        first = RawStream(channel)
        opened = await first.open(churn.play.opening(chance, paced=False))
        await first.say(turn=churn.play.turn(chance, 3, "one"))
        await first.hear_until("turn_started")
        second = RawStream(channel)
        await second.resume(opened, 0)
        await second.frames(3)
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await first.hear_to_end()
            raise Unexpected("a stream that was replaced ended as if all were well")
        await close(second)


async def abandon(churn: Churn, chance: random.Random) -> None:
    async with churn.channel() as channel:
        stream = RawStream(channel)
        opened = await stream.open(churn.play.opening(chance))
        await stream.say(turn=churn.play.turn(chance, churn.some(chance), "one"))
        if chance.random() < 0.7:
            await _answered(stream)
        stream.leave()
        churn.left_sessions.append((opened.session_id, opened.token))


async def vanish(churn: Churn, chance: random.Random) -> None:
    """Is gone before it is told its token, and its connection with it."""
    async with churn.channel() as channel:
        for _ in range(3):
            stream = RawStream(channel)
            await stream.say(open=churn.play.opening(chance))
            await asyncio.sleep(chance.random() * 0.05)
            stream.leave()


async def come_back_late(churn: Churn, chance: random.Random) -> None:
    """Takes up a session that somebody has left behind, from memory or from disk."""
    if not churn.left_sessions:
        return
    session_id, token = churn.left_sessions.popleft()
    async with churn.client() as client:
        try:
            known = await client.session(session_id, token)
            session = await client.resume(session_id, token, known.next_frame)
        except (cc.SessionNotFound, cc.RequestRefused):  # kept for too short a time; its last frames not drawn yet
            return
        with contextlib.suppress(cc.SessionClosed):
            async with session:
                _ = [frame async for frame in session.remaining()]


async def _answered(stream: RawStream) -> None:
    """Waits until a turn is taken, or refused: a session that keeps a cadence may have lost its place meanwhile."""
    while (message := await stream.hear()) is not None:
        if message.HasField("turn_started") or message.HasField("rejected"):
            return


BEHAVING: dict[str, tuple[int, Kind]] = {
    "perform": (6, perform), "rewind": (2, rewind), "fork": (3, fork), "replay": (2, replay), "watch": (2, watch),
    "move": (2, move), "render": (3, render), "ask": (3, ask),
}  # fmt: skip
"""By name: how often it is done, and what it is."""

LEAVING: dict[str, tuple[int, Kind]] = {
    "drop_and_resume": (4, drop_and_resume), "replaced": (2, replaced), "abandon": (3, abandon), "vanish": (3, vanish),
    "come_back_late": (2, come_back_late),
}  # fmt: skip
