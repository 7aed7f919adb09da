"""Render jobs through the real client and a real server: films in order, whatever ends, and live ones first."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
from collections.abc import AsyncGenerator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import grpc
import pytest

import cutscene_client as cc
from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_proto.v1 import render_pb2 as rpb
from cutscene_proto.v1.render_pb2_grpc import RenderServiceStub
from cutscene_server.errors import NotServing
from cutscene_server.rendering.renders import MOST_UPLOADS, Renders
from cutscene_server.running import run_server
from cutscene_server.runtime import Runtime
from cutscene_server.worker_link import PIPELINE_SLOTS
from messages import keyframed_turn, lockstep_turn, open_message
from object_store import object_store
from raw_client import details
from server_program import ServerProgram, serving
from synthetic_server import child_processes, eventually, synthetic_config

STEPS: list[pb.Turn | pb.Cut] = [keyframed_turn("one", 11 / 24), cc.CUT, lockstep_turn("two", 20)]
SLOW, FAILING = ("actor-0", "slow"), ("actor-0", "fail_frame_3")


def item(
    name: str, seed: int = 7, cast: tuple[str, ...] = ("actor-0", "actor-1"), steps: Sequence[pb.Turn | pb.Cut] = STEPS
) -> cc.RenderItem:
    return cc.RenderItem(name, open_message(cast=cast, seed=seed), steps)


def rendering(directory: Path) -> str:
    return f"--render-output={directory / 'films'}"


async def played(client: cc.Client, seed: int, cast: tuple[str, ...] = ("actor-0", "actor-1")) -> bytes:
    """The digest over all frames' digests of the same performance, played live."""
    session = await client.open_request(open_message(cast=cast, seed=seed))
    digest = hashlib.blake2b(digest_size=16)
    async for frame in session.play(STEPS):
        digest.update(frame.digest)
    await session.close()
    return digest.digest()


def check_film(path: Path, frames: int) -> None:
    with av.open(str(path)) as container:
        (stream,) = container.streams.video
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height, stream.average_rate) == (64, 32, Fraction(24))
        assert sum(1 for _ in container.decode(stream)) == frames
        assert container.duration is not None
        assert abs(container.duration / 1e6 - frames / 24) < 0.001
    head = path.read_bytes()
    assert head.index(b"moov") < head.index(b"mdat"), "it can be shown while it is being loaded"


def left_in_workshop(directory: Path) -> list[Path]:
    return list((directory / "films" / ".unfinished").iterdir())


def everything_in(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())


async def drawing(render: cc.Render, frames: int = 3) -> None:
    """Waits until so many frames of the job are drawn."""
    async for progress in render.watch():
        if progress.frames_done >= frames:
            return


def encoders(server: ServerProgram) -> list[int]:
    assert server.program is not None
    children = child_processes(server.program.pid)
    return [child for child in children if b"rendering.encoder" in Path(f"/proc/{child}/cmdline").read_bytes()]


async def test_a_job_becomes_films_in_order_with_the_pixels_of_a_live_performance(tmp_path: Path) -> None:
    async with serving(tmp_path, rendering(tmp_path)) as server, cc.connect(server.address) as client:
        render = await client.render([item("one", 1), item("two", 2), item("one", 3)])
        seen = [progress async for progress in render.watch()]
        last = seen[-1]
        assert (last.state, last.items_done, last.items_failed, last.frames_done) == ("done", 3, 0, 96)
        assert [progress.frames_done for progress in seen] == sorted(progress.frames_done for progress in seen)
        for progress in seen:  # in order: whatever is done lies before whatever is not
            states = [each.state for each in progress.items]
            assert states == sorted(states, key=["done", "drawing", "queued"].index)
        assert [each.film for each in last.items] == [
            f"{render.id}/{number:03d}-{name}.mp4" for number, name in enumerate(["one", "two", "one"])
        ]
        for index, each in enumerate(last.items):
            path = tmp_path / "films" / each.film
            check_film(path, 32)
            assert path.stat().st_size == each.film_bytes
            assert hashlib.blake2b(path.read_bytes(), digest_size=16).digest() == each.film_digest
            fetched = tmp_path / "fetched" / f"{index}.mp4"
            assert await render.save(index, fetched, each.film_digest)
            assert fetched.read_bytes() == path.read_bytes()
            assert not await render.save(index, fetched, each.film_digest), "it is there already"
        assert [each.pixel_digest for each in last.items] == [await played(client, seed) for seed in (1, 2, 3)]
        assert left_in_workshop(tmp_path) == []
        (listed,) = await client.renders()
        assert (listed.job_id, listed.state, listed.items) == (render.id, "done", ())
        assert {session.status for session in await client.sessions()} == {"closed"}


async def test_starting_an_encoder_does_not_touch_grpc_s_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its handlers of forks grpc stops its threads, or says that it cannot just now: either is in the log."""
    monkeypatch.setenv("GRPC_VERBOSITY", "INFO")
    server = ServerProgram(tmp_path, rendering(tmp_path))
    await server.start()
    try:
        async with cc.connect(server.address) as client:
            ended = await (await client.render([item("one", 1), item("two", 2)])).wait()
            assert ended.items_done == 2
    finally:
        logged = await server.stop()
    assert "fork" not in logged


@pytest.mark.parametrize("victim", ["front end", "inference process"])
async def test_whatever_is_killed_the_job_goes_on_and_has_the_same_pixels(tmp_path: Path, victim: str) -> None:
    async with serving(tmp_path, rendering(tmp_path)) as server:
        async with cc.connect(server.address) as client:
            expected = [await played(client, seed, SLOW) for seed in (1, 2)]
            render = await client.render([item("one", 1, SLOW), item("two", 2, SLOW)])
        for frames in (10, 20, 45):
            async with cc.connect(server.address) as client:
                again = client.render_job(render.id, render.token)
                async for progress in again.watch():
                    if progress.frames_done >= frames:
                        break
                if victim == "front end":
                    await server.kill()
                    await server.start()
                else:
                    server.kill_inference()
        async with cc.connect(server.address) as client:
            again = client.render_job(render.id, render.token)
            taken_up = await again.progress()
            assert taken_up.state in ("queued", "drawing")
            last = await again.wait()
            assert (last.state, last.items_done) == ("done", 2)
            assert [each.pixel_digest for each in last.items] == expected
            for each in last.items:
                check_film(tmp_path / "films" / each.film, 32)
        assert left_in_workshop(tmp_path) == []


async def test_a_watcher_stays_while_the_server_is_replaced(tmp_path: Path) -> None:
    async with serving(tmp_path, rendering(tmp_path)) as server:
        port = int(server.address.rpartition(":")[2])
        async with cc.connect(server.address) as client:
            render = await client.render([item("one", 1, SLOW)])
            async for progress in render.watch():
                if progress.frames_done >= 5:
                    break
            waiting = asyncio.create_task(render.wait())
            await server.stop()
            async with serving(tmp_path, rendering(tmp_path), port=port):
                assert (await waiting).state == "done"


async def test_no_job_seems_to_be_gone_while_a_server_starts(tmp_path: Path) -> None:
    """Calls are answered before the jobs are read from disk."""
    config = synthetic_config(tmp_path)
    renders = Renders(config, Runtime(config, on_health=lambda healthy: None))
    with pytest.raises(NotServing, match="is starting"):
        renders.find("f" * 32, "any")
    with pytest.raises(NotServing, match="is starting"):
        renders.page(0, 10)


async def test_a_watcher_is_told_when_the_server_draws_no_more(tmp_path: Path) -> None:
    config = synthetic_config(tmp_path / "data", render_output=str(tmp_path / "films"))
    async with run_server(config) as server, cc.connect(server.address) as client:
        render = await client.render([item("one", cast=SLOW), item("two")])
        behind = await client.render([item("behind")])
        waiting = [asyncio.create_task(each.wait(patience=0)) for each in (render, behind)]
        await drawing(render)
        server.runtime.begin_stopping()
        for task in waiting:
            with pytest.raises(cc.ServerUnreachable, match="stopping"):
                await task
        states = [each.state for each in (await render.progress()).items]
        assert states == ["queued", "queued"], "the next server goes on"


async def test_a_slow_store_holds_up_no_drawing_until_too_many_films_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with object_store() as bucket:
        for name, value in bucket.environment().items():
            monkeypatch.setenv(name, value)
        config = synthetic_config(tmp_path, render_output="s3://bucket/films")
        async with run_server(config) as server, cc.connect(server.address) as client:
            bucket.open.clear()
            one_of = [item(f"film-{number}") for number in range(MOST_UPLOADS + 2)]
            render = await client.render(one_of)
            async for progress in render.watch():
                if progress.items[MOST_UPLOADS].frames_done == progress.items[MOST_UPLOADS].frame_count:
                    break
            await asyncio.sleep(0.3)
            states = [each.state for each in (await render.progress()).items]
            assert states == ["drawing"] * (MOST_UPLOADS + 1) + ["queued"], "one is drawn, and waits for the others"
            doomed = await client.render([item("behind")])
            assert (await doomed.cancel()).state == "cancelled"
            bucket.open.set()
            assert (await render.wait()).items_done == len(one_of)
            assert len(bucket.objects) == len(one_of)
            assert not list((tmp_path / "renders" / "unfinished").iterdir())


async def test_a_film_on_its_way_to_a_store_is_put_there_by_the_next_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with object_store() as bucket:
        for name, value in bucket.environment().items():
            monkeypatch.setenv(name, value)
        config = synthetic_config(tmp_path, render_output="s3://bucket/films")
        async with run_server(config) as server, cc.connect(server.address) as client:
            bucket.open.clear()
            render = await client.render([item("one")])
            await drawing(render, 32)
        bucket.open.set()
        bucket.objects.clear()
        async with run_server(config) as server, cc.connect(server.address) as client:
            ended = await client.render_job(render.id, render.token).wait()
            assert (ended.items[0].state, len(bucket.objects)) == ("done", 1)


async def test_a_cancelled_job_leaves_nothing_and_the_next_one_is_drawn(tmp_path: Path) -> None:
    async with serving(tmp_path, rendering(tmp_path)) as server, cc.connect(server.address) as client:
        doomed = await client.render([item("fast"), item("slow", cast=SLOW), item("never")])
        after = await client.render([item("after")])
        assert (await after.progress()).jobs_ahead == 1
        async for progress in doomed.watch():
            if progress.items[1].frames_done >= 3:
                break
        assert len(encoders(server)) == 1
        cancelled = await doomed.cancel()
        assert [each.state for each in cancelled.items] == ["done", "cancelled", "cancelled"]
        assert cancelled.state == "cancelled"
        assert (await doomed.cancel()).items == cancelled.items
        assert (await doomed.wait()).items == cancelled.items
        check_film(tmp_path / "films" / cancelled.items[0].film, 32)
        assert (await after.wait()).items_done == 1
        assert len(list((tmp_path / "films" / doomed.id).iterdir())) == 1
        assert left_in_workshop(tmp_path) == []
        assert encoders(server) == []
        # The one that was drawn is a closed recording; of the one that was not, nothing is left.
        assert sorted(session.next_frame for session in await client.sessions())[1:] == [32, 32]
        assert all(session.status == "closed" for session in await client.sessions())


async def test_an_item_that_fails_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    async with serving(tmp_path, rendering(tmp_path)) as server, cc.connect(server.address) as client:
        render = await client.render([item("bad", cast=FAILING), item("good"), item("slow", cast=SLOW)])
        async for progress in render.watch():
            if progress.items[2].frames_done >= 3:
                (encoder,) = encoders(server)
                os.kill(encoder, signal.SIGKILL)
                break
        last = await render.wait()
        assert [each.state for each in last.items] == ["failed", "done", "failed"]
        assert "could not draw" in last.items[0].failure
        assert "encoder ended with code -9" in last.items[2].failure
        with pytest.raises(cc.FailedPrecondition, match="the item is failed"):
            [piece async for piece in render.film(0)]
        with pytest.raises(cc.InvalidRequest, match="found 3; the job has 3 items"):
            [piece async for piece in render.film(3)]
        (tmp_path / "films" / last.items[1].film).unlink()
        with pytest.raises(cc.FailedPrecondition, match="any more"):
            [piece async for piece in render.film(1)]
        assert left_in_workshop(tmp_path) == []
        assert (await (await client.render([item("again")])).wait()).items_done == 1


async def test_what_stops_the_server_does_not_stop_a_film_s_encoder_by_itself(tmp_path: Path) -> None:
    async with serving(tmp_path, rendering(tmp_path)) as server, cc.connect(server.address) as client:
        render = await client.render([item("one", cast=SLOW)])
        async for progress in render.watch():
            if progress.frames_done >= 3:
                break
        (encoder,) = encoders(server)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(encoder, number)
        assert (await render.wait()).items_done == 1


async def test_a_render_job_waits_for_live_sessions_and_takes_none_of_their_places(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, rendering(tmp_path), "--max-sessions=1") as server,
        cc.connect(server.address) as client,
    ):
        render = await client.render([item("background", cast=SLOW, steps=[lockstep_turn("one", 30)])])
        async for progress in render.watch():
            if progress.frames_done >= 2:
                break
        live = await client.open_request(open_message(cast=SLOW))  # the only place there is
        drawn_before = [(await render.progress()).frames_done async for _ in live.perform(lockstep_turn("one", 10))]
        assert drawn_before[-1] <= drawn_before[0] + PIPELINE_SLOTS, "only what was under way came through"
        assert (await render.wait()).state == "done", "a live session that asks for nothing is in nobody's way"


async def test_what_is_not_taken_is_named_by_its_place_and_leaves_nothing(tmp_path: Path) -> None:
    opening, turn = open_message(), lockstep_turn("one", 2)
    wrong_fps = open_message()
    wrong_fps.fps = 1000
    budget = open_message()
    budget.frame_budget = 3
    late = keyframed_turn("two", 1)
    late.keyframed.keyframes[0].offset_us = 5
    wrong: list[tuple[list[cc.RenderItem], str]] = [
        ([], "items"),
        ([cc.RenderItem("../../etc/passwd", opening, [turn])], "items[0].name"),
        ([cc.RenderItem("a/b", opening, [turn])], "items[0].name"),
        ([cc.RenderItem("", opening, [turn])], "items[0].name"),
        ([cc.RenderItem("a", opening, [turn], rate_factor=41)], "items[0].rate_factor"),
        ([item("a"), cc.RenderItem("b", wrong_fps, [turn])], "items[1].open.fps"),
        ([item("a"), cc.RenderItem("b", opening, [])], "items[1].steps"),
        ([cc.RenderItem("a", opening, [])] * 2, "items[0].steps"),
        ([cc.RenderItem("a", opening, [turn, cc.CUT])], "items[0].steps[1].cut"),
        ([cc.RenderItem("a", opening, [turn, turn])], "items[0].steps[1].turn.turn_id"),
        ([cc.RenderItem("a", budget, [turn, cc.CUT, lockstep_turn("two", 2)])], "items[0].steps[2].turn"),
        ([cc.RenderItem("a", opening, [turn, late])], "items[0].steps[1].turn.keyframed.keyframes[0].offset_us"),
        ([cc.RenderItem("a", opening, [pb.Turn(turn_id="no")])], "items[0].steps[0].turn.run"),
        ([cc.RenderItem("a", opening, [lockstep_turn(f"t{n}", 1) for n in range(513)])], "items[0].steps[512].turn"),
        ([cc.RenderItem("a", opening, [turn])] * 257, "items[256]"),
        ([cc.RenderItem("a", opening, [*[cc.CUT] * 1024, turn])], "items[0].steps[1024].turn"),
    ]
    long = [pb.Turn(turn_id=f"t{n}", keyframed=keyframed_turn("", 200).keyframed) for n in range(4)]  # 4801 frames each
    wrong.append(([cc.RenderItem("a", opening, long)], "items[0].steps[3].turn"))
    async with serving(tmp_path, rendering(tmp_path)) as server, cc.connect(server.address) as client:
        for items, field in wrong:
            with pytest.raises(cc.InvalidRequest) as raised:
                await client.render(items)
            assert raised.value.violations[0].field == field
        assert await client.renders() == []

        async def nothing_left() -> bool:
            return not await client.sessions()

        await eventually(nothing_left)
        assert list((tmp_path / "data" / "renders").iterdir()) == []


async def test_more_that_is_wrong_than_a_status_can_carry_is_still_named(tmp_path: Path) -> None:
    """Each description lists what there is, over a kilobyte of it, and metadata may have eight."""
    opening, turn = open_message(), lockstep_turn("one", 40)
    for number in range(14):
        opening.set.props.add().CopyFrom(opening.set.props[0])
        opening.set.props[-1].id = f"{number:064d}"
    for state in turn.lockstep.states:
        state.props.add().CopyFrom(state.props[0])
        state.props[-1].prop_id = "nowhere"
    async with serving(tmp_path, rendering(tmp_path)) as server, cc.connect(server.address) as client:
        with pytest.raises(cc.InvalidRequest, match="nowhere") as raised:
            await client.render([cc.RenderItem("a", opening, [turn])])
        assert raised.value.violations[0].field == "items[0].steps[0].turn.lockstep.states[0].props[1].prop_id"
        assert 1 < len(raised.value.violations) < 32


async def test_a_job_that_is_too_long_is_refused(tmp_path: Path) -> None:
    turns = [pb.Turn(turn_id=f"t{n}", keyframed=keyframed_turn("", 200).keyframed) for n in range(3)]
    items = [item(f"item-{number}", steps=turns) for number in range(10)]  # 14,403 frames each
    async with serving(tmp_path, rendering(tmp_path)) as server, cc.connect(server.address) as client:
        with pytest.raises(cc.InvalidRequest, match=r"items\[9\]\.steps\[0\]\.turn: .* allowed are at most 131072"):
            await client.render(items)


async def test_raw_requests_in_the_wrong_order_are_refused(tmp_path: Path) -> None:
    wrong: list[tuple[list[rpb.SubmitRenderRequest], str]] = [
        ([rpb.SubmitRenderRequest()], "request"),
        ([rpb.SubmitRenderRequest(cut=pb.Cut())], "cut"),
        ([rpb.SubmitRenderRequest(turn=lockstep_turn("one", 1))], "turn"),
        ([rpb.SubmitRenderRequest(item=rpb.RenderItem(name="a"))], "items[0].open"),
    ]
    async with (
        serving(tmp_path, rendering(tmp_path)) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        stub = RenderServiceStub(channel)  # type: ignore[no-untyped-call]
        for requests, field in wrong:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await stub.SubmitRender(iter(requests))
            assert list(details(raised.value)[0]) == [field]
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.ListRenders(rpb.ListRendersRequest(page_size=1001))
        assert list(details(raised.value)[0]) == ["page_size"]


async def test_without_the_token_there_is_no_job_and_no_secret_is_stored(tmp_path: Path) -> None:
    async with serving(tmp_path, rendering(tmp_path)) as server, cc.connect(server.address) as client:
        render = await client.render([item("one")])
        await render.wait()
        for job_id, token in ((render.id, "guess"), ("../jobs", render.token), ("0" * 32, render.token)):
            stranger = client.render_job(job_id, token)
            with pytest.raises(cc.RenderNotFound):
                await stranger.progress()
            with pytest.raises(cc.RenderNotFound):
                await stranger.cancel()
            with pytest.raises(cc.RenderNotFound):
                await stranger.wait()
            with pytest.raises(cc.RenderNotFound):
                [piece async for piece in stranger.film(0)]
        assert render.token.encode() not in everything_in(tmp_path)


async def test_there_is_room_for_so_many_jobs_and_for_none_without_an_output(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, rendering(tmp_path), "--max-render-jobs=2") as server,
        cc.connect(server.address) as client,
    ):
        jobs = [await client.render([item("slow", cast=SLOW)]) for _ in range(2)]
        with pytest.raises(cc.ResourceExhausted, match="2 render jobs wait already") as raised:
            await client.render([item("one")])
        assert raised.value.retry_after
        await jobs[0].cancel()
        await client.render([item("one")])
    async with serving(tmp_path) as server, cc.connect(server.address) as client:
        with pytest.raises(cc.FailedPrecondition, match="without --render-output") as refused:
            await client.render([item("one")])
        assert str(refused.value).count("\n") == 0, "the field and what is wrong are said once"
        again = client.render_job(jobs[1].id, jobs[1].token)
        assert (await again.progress()).state in ("queued", "drawing")
        await again.cancel()


async def test_so_many_watch_a_job_and_no_more(tmp_path: Path) -> None:
    async with serving(tmp_path, rendering(tmp_path)) as server, cc.connect(server.address) as client:
        render = await client.render([item("slow", cast=SLOW, steps=[lockstep_turn("one", 2000)])])
        watching = [cast(AsyncGenerator[cc.RenderProgress, None], render.watch()) for _ in range(64)]
        for watcher in watching:
            assert (await anext(watcher)).job_id == render.id
        with pytest.raises(cc.ResourceExhausted, match="at most 64 watch one job"):
            await anext(render.watch())
        for watcher in watching:
            await watcher.aclose()


async def test_a_client_that_leaves_in_the_middle_of_handing_in_leaves_nothing(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, rendering(tmp_path), "--write-timeout=0.5") as server,
        grpc.aio.insecure_channel(server.address) as channel,
        cc.connect(server.address) as client,
    ):
        stub = RenderServiceStub(channel)  # type: ignore[no-untyped-call]
        call = stub.SubmitRender()
        await call.write(rpb.SubmitRenderRequest(item=rpb.RenderItem(name="a", open=open_message())))
        await call.write(rpb.SubmitRenderRequest(turn=lockstep_turn("one", 5)))
        call.cancel()
        slow = stub.SubmitRender()
        await slow.write(rpb.SubmitRenderRequest(item=rpb.RenderItem(name="a", open=open_message())))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await slow
        assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert await client.renders() == []
        assert await client.sessions() == []
        assert (await (await client.render([item("one")])).wait()).items_done == 1, "no place is held"


async def test_a_job_is_forgotten_in_its_time_and_its_films_with_it(tmp_path: Path) -> None:
    """Also on a server that nobody hands another job to."""
    films = tmp_path / "films"
    config = synthetic_config(tmp_path / "data", render_output=str(films), keep_closed=1.0, sweep_period=0.1)
    async with run_server(config) as server, cc.connect(server.address) as client:
        render = await client.render([item("one")])
        ended = await render.wait()
        assert (films / ended.items[0].film).exists()
        foreign = films / "0123456789abcdef0123456789abcdef" / "000-another-server-s.mp4"
        foreign.parent.mkdir()
        foreign.write_bytes(b"film")

        async def forgotten() -> bool:
            return not (films / ended.items[0].film).exists() and not await client.renders()

        await eventually(forgotten)
        with pytest.raises(cc.RenderNotFound):
            await render.progress()
        assert not (films / ended.items[0].film).parent.exists()
        assert foreign.exists(), "what it does not know is not its to delete"
        assert not list((tmp_path / "data" / "renders").glob("*.json"))


async def test_what_waits_to_be_drawn_is_not_swept_away_however_long_it_waits(tmp_path: Path) -> None:
    config = synthetic_config(
        tmp_path / "data", render_output=str(tmp_path / "films"), keep_open=0.2, sweep_period=0.05, idle_timeout=0.2
    )
    async with run_server(config) as server, cc.connect(server.address) as client:
        ended = await (await client.render([item("one", cast=SLOW), item("two")])).wait()
        assert [(film.state, film.failure) for film in ended.items] == [("done", ""), ("done", "")]


async def test_no_job_is_taken_while_films_take_what_they_may(tmp_path: Path) -> None:
    films = tmp_path / "films"
    config = synthetic_config(tmp_path / "data", render_output=str(films), max_films=1 << 20)
    async with run_server(config) as server, cc.connect(server.address) as client:
        full = films / "0123456789abcdef0123456789abcdef" / "000-full.mp4"
        full.parent.mkdir()
        full.write_bytes(bytes(1 << 20))
        with pytest.raises(cc.ResourceExhausted, match="max_films") as raised:
            await client.render([item("one")])
        assert raised.value.retry_after
        assert not await client.renders()

        async def taken(name: str) -> cc.RenderProgress:
            """Room that is made beside the server is seen once it looks again."""
            jobs = []

            async def handed_in() -> bool:
                with contextlib.suppress(cc.ResourceExhausted):
                    jobs.append(await client.render([item(name)]))
                return bool(jobs)

            await eventually(handed_in)
            return await jobs[0].wait()

        full.write_bytes(bytes((1 << 20) - 100))  # room for a job, and not for its film
        ended = await taken("one")
        assert (ended.items[0].state, ended.items[0].film) == ("failed", "")
        assert "max_films" in ended.items[0].failure
        assert not left_in_workshop(tmp_path)
        full.unlink()
        assert (await taken("two")).items_done == 1
