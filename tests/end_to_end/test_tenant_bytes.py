"""Whichever way bytes are sent, they count against the tenant of the call that asked for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

import cutscene_client as cc
from cutscene_client.cli import main
from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_server import clock
from cutscene_server.config import ServerConfig
from cutscene_server.running import run_server
from cutscene_server.scheduling.tenants import BURST_S
from cutscene_server.service.sending import PIECE_BYTES
from messages import lockstep_turn, open_message
from synthetic_server import eventually, synthetic_config

FRAMES = 24


class Made:
    """What an unlimited server has made: a session, and a job with a film."""

    session_id = token = watch_token = job_id = job_token = ""


def config_of(directory: Path, tenant_bytes: float = 0.0) -> ServerConfig:
    films = str(directory / "films")
    return synthetic_config(directory / "data", render_output=films, tenant_bytes=tenant_bytes)


@pytest.fixture
async def made(tmp_path: Path) -> Made:
    made = Made()
    async with run_server(config_of(tmp_path)) as server, cc.connect(server.address) as client:
        session = await client.open_request(open_message())
        assert len([frame async for frame in session.perform(lockstep_turn("one", FRAMES))]) == FRAMES
        made.session_id, made.token, made.watch_token = session.id, session.token, session.watch_token
        render = await client.render([cc.RenderItem("one", open_message(), [lockstep_turn("one", FRAMES)])])
        assert (await render.wait()).items_done == 1
        made.job_id, made.job_token = render.id, render.token
        session.detach()
    return made


async def recording(client: cc.Client, made: Made) -> AsyncIterator[int]:
    async for frame in client.recording(made.session_id, made.token):
        yield frame.ByteSize()


async def export(client: cc.Client, made: Made) -> AsyncIterator[int]:
    async for piece in client.export_session(made.session_id, made.token):
        yield len(piece)


async def film(client: cc.Client, made: Made) -> AsyncIterator[int]:
    async for piece in client.render_job(made.job_id, made.job_token).film(0):
        yield len(piece)


Way = Callable[[cc.Client, Made], AsyncIterator[int]]


@pytest.mark.parametrize(("way", "rate"), [(recording, 500.0), (export, 10_000.0), (film, 30_000.0)])
async def test_what_is_fetched_comes_no_faster_than_its_tenant_may_have_it(
    tmp_path: Path, made: Made, way: Way, rate: float
) -> None:
    loop = asyncio.get_running_loop()
    async with run_server(config_of(tmp_path, rate)) as server, cc.connect(server.address, tenant="viewer") as client:
        started, sizes = loop.time(), list[int]()
        while sum(sizes) - max([0, *sizes]) < 4 * rate:  # hanging up and calling again does not help
            sizes += [size async for size in way(client, made)]
        # What is taken is taken whole, so the last piece may be more than there was.
        last = min(PIECE_BYTES, max(sizes) + 16)
        assert loop.time() - started >= (sum(sizes) - last) / rate - BURST_S


@pytest.mark.parametrize("command", ["export", "replay", "render"])
async def test_the_tool_asks_in_the_name_that_it_is_told(tmp_path: Path, made: Made, command: str) -> None:
    asked = {
        "export": ["export", made.session_id, "--token", made.token, "-o", str(tmp_path / "one.cutscene")],
        "replay": ["replay", made.session_id, "--token", made.token, "--verify"],
        "render": ["render", "--resume", made.job_id, "--token", made.job_token, "-o", str(tmp_path / "films here")],
    }[command]
    async with run_server(config_of(tmp_path)) as server:
        assert await asyncio.to_thread(main, [*asked, "--tenant", "studio-a", "--server", server.address]) == 0
        assert "studio-a" in server.runtime.admission._lately


async def test_watchers_of_one_tenant_share_what_it_may_be_sent_and_the_player_pays_nothing(tmp_path: Path) -> None:
    rate, loop = 50_000.0, asyncio.get_running_loop()
    async with (
        run_server(config_of(tmp_path, rate)) as server,
        cc.connect(server.address, tenant="player") as player,
        cc.connect(server.address, tenant="viewer") as viewer,
    ):
        message = open_message()
        message.video.codec = pb.CODEC_RAW_RGB  # 6 kB a frame
        session = await player.open_request(message)
        started, sizes = loop.time(), list[int]()

        async def watch() -> None:
            async for frame in viewer.watch(session.id, session.watch_token):
                sizes.append(frame.rgb.nbytes)

        watchers = [asyncio.create_task(watch()) for _ in range(3)]

        async def all_watch() -> bool:
            (record,) = server.runtime.sessions
            return len(record.watchers) == 3

        await eventually(all_watch)
        async for _ in session.perform(lockstep_turn("one", 40)):
            pass
        assert sum(sizes) <= rate * (loop.time() - started + BURST_S) + 3 * 6500
        for watcher in watchers:
            watcher.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)


async def watch(client: cc.Client, made: Made) -> AsyncIterator[int]:
    async for frame in client.watch(made.session_id, made.watch_token):
        yield frame.rgb.nbytes


@pytest.mark.parametrize("way", [recording, export, film, watch])
async def test_a_server_that_stops_holds_back_nothing(tmp_path: Path, made: Made, way: Way) -> None:
    config = config_of(tmp_path, 1.0)  # minutes for whatever comes after the first message
    async with run_server(config) as server, cc.connect(server.address, tenant="viewer") as client:
        server.runtime.admission.tenant("viewer").bytes.take(600.0, clock.now_us())

        async def fetch() -> None:
            async for _ in way(client, made):
                pass

        fetching = asyncio.create_task(fetch())
        done, _ = await asyncio.wait([fetching], timeout=0.3)
        assert not done
        server.runtime.begin_stopping()
        async with asyncio.timeout(20.0):
            if way is watch:  # which has no end of its own
                with pytest.raises(cc.CutsceneError):
                    await fetching
            else:
                await fetching
