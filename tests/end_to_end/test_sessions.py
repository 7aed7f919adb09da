"""A real client on a real server: open, perform, cut, drop, resume, close."""

from __future__ import annotations

import asyncio
import hashlib

import numpy as np
import pytest

import cutscene_client as cc
from cutscene_client import scene, shipped
from cutscene_client.expand import Expansion
from cutscene_proto.v1 import cutscene_pb2 as pb

Digests = dict[int, bytes]


@pytest.fixture(scope="module")
def expansion() -> Expansion:
    return shipped.load_expansion("tavern_dialogue")


def opening(expansion: Expansion, **changes: object) -> pb.Open:
    request = pb.Open()
    request.CopyFrom(expansion.open_request)
    for name, value in changes.items():
        setattr(request, name, value)
    return request


def turn(expansion: Expansion, shot: int = 0, frames: int = 24) -> pb.Turn:
    return scene.lockstep_turn(expansion.shots[shot].states[:frames])


async def test_open_perform_close(server_address: str, expansion: Expansion) -> None:
    async with cc.connect(server_address) as client:
        session = await client.open_request(opening(expansion))
        assert session.token
        frames = [frame async for frame in session.perform(turn(expansion))]
        assert [frame.index for frame in frames] == list(range(24))
        assert [frame.presentation_time_us for frame in frames[:3]] == [0, 41667, 83333]
        assert {frame.tier for frame in frames} == {"standard"}
        assert frames[0].rgb.shape == (72, 128, 3)
        assert frames[0].rgb.dtype == np.uint8
        figures = session.turn_figures
        assert figures is not None
        assert (figures.first_frame, figures.frame_count) == (0, 24)
        assert figures.blocks_reused == sum(frame.blocks_reused for frame in frames)
        usage = await session.close()
        assert (usage.frames, usage.turns) == (24, 1)
        with pytest.raises(cc.SessionClosed):
            await session.cut()


async def test_builders_open_a_session_too(server_address: str) -> None:
    joints = np.tile(np.array([[0.0, 1.0, 0.0]], np.float32), (len(scene.JOINTS), 1))
    state = scene.state(
        scene.camera((0, 1.5, 4), look_at=(0, 1, 0)), scene.lights(), [scene.actor("ada", joints, emotion="joy")]
    )
    async with cc.connect(server_address) as client:
        session = await client.open(
            cast=[scene.cast_member("ada", "knight")],
            set=[scene.plane("floor", "floor/wood", (0, 0, 0), 4, 4)],
            seed=3,
            tier="draft",
            codec="raw",
        )
        async with session:
            frames = [f async for f in session.perform(scene.keyframed_turn({0.0: state, 0.5: state}))]
        assert len(frames) == 13
        assert {frame.tier for frame in frames} == {"draft"}
        # Raw frames are the very pixels that the digest is of.
        assert hashlib.blake2b(frames[0].data, digest_size=16).digest() == frames[0].digest
        assert session.usage is not None


async def test_a_script_is_one_timeline(server_address: str, expansion: Expansion) -> None:
    async with cc.connect(server_address) as client, await client.open_request(opening(expansion)) as session:
        frames = [frame async for frame in session.play(expansion.steps(), ahead=3)]
    assert [frame.index for frame in frames] == list(range(expansion.frame_count))
    starts = np.cumsum([0] + [len(shot.states) for shot in expansion.shots[:-1]])
    assert all(frames[start].blocks_reused < frames[start + 10].blocks_reused for start in starts), (
        "a cut keeps anchors"
    )


async def test_resume_sees_every_frame_once(server_address: str, expansion: Expansion) -> None:
    async with cc.connect(server_address) as client:
        async with await client.open_request(opening(expansion)) as session:
            whole = {f.index: f.digest async for f in session.perform(turn(expansion, frames=60))}
        seen: Digests = {}
        dropped = await client.open_request(opening(expansion))

        async def perform_and_drop() -> None:
            async for frame in dropped.perform(turn(expansion, frames=60)):
                seen[frame.index] = frame.digest
                if frame.index == 20:
                    dropped.detach()  # as if the network had gone

        with pytest.raises(cc.ConnectionLost) as lost:
            await perform_and_drop()
        assert (lost.value.session_id, lost.value.token) == (dropped.id, dropped.token)
        assert lost.value.next_frame == len(seen)
        resumed = await client.resume(lost.value.session_id, lost.value.token, lost.value.next_frame)
        async for frame in resumed.remaining():
            assert frame.index not in seen
            seen[frame.index] = frame.digest
        assert seen == whole
        # The session goes on where it was.
        after = [frame.index async for frame in resumed.perform(turn(expansion, shot=1, frames=3))]
        assert after == [60, 61, 62]
        await resumed.close()


async def test_a_loop_left_early_does_not_disturb_the_next_turn(server_address: str, expansion: Expansion) -> None:
    async with cc.connect(server_address) as client, await client.open_request(opening(expansion)) as session:
        async for frame in session.perform(turn(expansion, frames=40)):
            if frame.index == 5:
                break
        later = [frame async for frame in session.perform(turn(expansion, shot=1, frames=4))]
        assert [frame.index for frame in later] == [40, 41, 42, 43]


async def test_a_slow_reader_is_waited_for(server_address: str, expansion: Expansion) -> None:
    request = opening(expansion, frame_credit=4)
    async with cc.connect(server_address) as client, await client.open_request(request) as session:
        count = 0
        async for frame in session.perform(turn(expansion, frames=20)):
            count += 1
            if frame.index in (3, 10):
                await asyncio.sleep(0.15)
                ahead = await client.session(session.id, session.token)
                assert ahead.next_frame <= frame.index + 1 + 4 + 1, "the server draws no further than its credit"
        assert count == 20


async def test_errors_are_typed_and_name_the_field(server_address: str, expansion: Expansion) -> None:
    async with cc.connect(server_address) as client:
        with pytest.raises(cc.InvalidRequest) as refused:
            await client.open(cast=[scene.cast_member("ada", "astronaut")], set=expansion.open_request.set)
        assert any("cast[0].costume" in violation.field for violation in refused.value.violations)
        assert "astronaut" in str(refused.value)
        with pytest.raises(cc.SessionNotFound):
            await client.resume("no-such-session", "token", 0)
        with pytest.raises(cc.SessionNotFound):
            await client.session("no-such-session", "token")
        with pytest.raises(cc.SessionNotFound):
            await client.close_session("no-such-session", "token")


async def test_a_rejected_turn_leaves_the_session_alive(server_address: str, expansion: Expansion) -> None:
    bad = turn(expansion, frames=2)
    bad.lockstep.states[1].camera.vertical_fov = float("nan")
    async with cc.connect(server_address) as client, await client.open_request(opening(expansion)) as session:
        with pytest.raises(cc.TurnRejected) as rejected:
            async for _ in session.perform(bad):
                pass
        assert "turn.lockstep.states[1].camera.vertical_fov" in str(rejected.value)
        assert len([frame async for frame in session.perform(turn(expansion, frames=3))]) == 3


async def test_the_later_stream_wins(server_address: str, expansion: Expansion) -> None:
    async with cc.connect(server_address) as client:
        first = await client.open_request(opening(expansion))
        second = await client.resume(first.id, first.token, 0)
        with pytest.raises(cc.SessionReplaced):
            async for _ in first.perform(turn(expansion, frames=2)):
                pass
        assert len([frame async for frame in second.perform(turn(expansion, frames=2))]) == 2
        await second.close()


async def test_lists(server_address: str, expansion: Expansion) -> None:
    async with cc.connect(server_address) as client:
        (model,) = await client.models()
        assert (model.name, model.width, model.height) == ("sketch", 128, 72)
        assert "tavern_dialogue" not in model.looks
        assert model.tiers == {"draft": 1, "standard": 2, "high": 4}
        session = await client.open_request(opening(expansion))
        assert session.id in {info.id for info in await client.sessions()}
        assert (await client.session(session.id, session.token)).status == "idle"
        await client.close_session(session.id, session.token)
        with pytest.raises(cc.CutsceneError):
            async for _ in session.perform(turn(expansion, frames=1)):
                pass


async def test_nobody_there() -> None:
    with pytest.raises(cc.ServerUnreachable, match=r"127\.0\.0\.1:9"):
        async with cc.connect("127.0.0.1:9", timeout=0.3):
            pass


def test_blocking_form(server_address: str, expansion: Expansion) -> None:
    from cutscene_client import blocking

    with blocking.connect(server_address) as client:
        assert client.models()[0].name == "sketch"
        with client.open_request(opening(expansion)) as session:
            indices = [frame.index for frame in session.perform(turn(expansion, frames=6))]
            session.cut()
            indices += [frame.index for frame in session.play([turn(expansion, shot=1, frames=3), cc.CUT])]
        assert indices == list(range(9))
        assert session.id not in {info.id for info in client.sessions() if info.status != "closed"}
