"""Sessions with reference pictures end to end: crash, resume, replay, fork, rewind, move and film have equal pixels.

The servers that take a session up never see its pictures.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import cutscene_client as cc
from cutscene_client import scene, shipped
from cutscene_client.local_server import local_server
from cutscene_client.replaying import replay
from cutscene_proto.v1 import cutscene_pb2 as pb
from messages import keyframed_turn, lockstep_turn, open_message
from pictures import jpeg, noise, png
from server_program import ServerProgram, frames_whatever_happens, serving

STEPS: list[pb.Turn | pb.Cut] = [keyframed_turn("one", 11 / 24), cc.CUT, lockstep_turn("two", 8)]
LATER: list[pb.Turn | pb.Cut] = [keyframed_turn("three", 0.25), cc.CUT, lockstep_turn("four", 4)]
PICTURES = (png(noise(seed=1)), jpeg(noise(300, 200, seed=2)))


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def opening(*pictures: bytes) -> pb.Open:
    message = open_message()
    message.references.extend(pb.ReferencePicture(data=picture) for picture in pictures)
    return message


async def played(session: cc.Session, steps: list[pb.Turn | pb.Cut]) -> list[bytes]:
    return [frame.digest async for frame in session.play([*steps])]


@contextlib.asynccontextmanager
async def one_server(directory: Path, *arguments: str) -> AsyncIterator[tuple[ServerProgram, cc.Client]]:
    await asyncio.to_thread(directory.mkdir)
    async with serving(directory, *arguments) as server, cc.connect(server.address) as client:
        yield server, client


async def test_resumed_forked_rewound_replayed_and_moved_sessions_have_the_same_pixels(tmp_path: Path) -> None:
    async with one_server(tmp_path / "here") as (_, here), one_server(tmp_path / "there") as (_, there):
        plain = await played(await here.open_request(opening()), STEPS)
        session = await here.open_request(opening(*PICTURES))
        before = await played(session, STEPS)
        assert not set(before) & set(plain)
        file = [chunk async for chunk in here.export_session(session.id, session.token)]
        fork_id, fork_token = await here.fork(session.id, session.token, 12)
        after = await played(session, LATER)

        moved = await there.import_session(file)
        assert moved.differences == ()
        there_again = await there.resume(moved.session_id, moved.token, moved.next_frame)
        assert await played(there_again, LATER) == after
        again = [chunk async for chunk in there.export_session(moved.session_id, moved.token)]
        third = await here.import_session(again)
        figures = await replay(here, third.session_id, third.token, cc.ReplayWish(), None, verify=True)
        assert (figures.compared, figures.first_difference) == (len(before) + len(after), None)

        take: list[pb.Turn | pb.Cut] = [lockstep_turn("take", 5)]
        fork = await here.resume(fork_id, fork_token, 12)
        expected = await played(fork, take)
        await there_again.rewind(12)
        assert await played(there_again, take) == expected

        wish = cc.ReplayWish(3, 9, camera=scene.camera((0, 2, 5), look_at=(0, 1, 0)))
        figures = await replay(here, session.id, session.token, wish, None, verify=True)
        assert figures.first_difference == 3  # another camera, the same references


async def test_a_server_that_is_killed_leaves_what_its_successor_needs(tmp_path: Path) -> None:
    turns = [lockstep_turn(f"t{number}", 10) for number in range(3)]
    async with one_server(tmp_path / "calm") as (calm, _):
        calm_frames = await frames_whatever_happens(calm, opening(*PICTURES), turns)
    async with one_server(tmp_path / "storm") as (server, client):
        session = await client.open_request(opening(*PICTURES))
        frames = [frame.digest async for frame in session.perform(turns[0])]
        session.detach()
        await server.kill()
        await server.start()
        async with cc.connect(server.address) as again:
            resumed = await again.resume(session.id, session.token, 10)
            frames += await played(resumed, [*turns[1:]])
    assert frames == [frame.pixel_digest for frame in calm_frames]


async def test_films_have_references_too(tmp_path: Path) -> None:
    output = f"--render-output={tmp_path / 'films'}"
    async with one_server(tmp_path / "films-server", output) as (_, client):
        digest = hashlib.blake2b(digest_size=16)
        for each in await played(await client.open_request(opening(*PICTURES)), STEPS):
            digest.update(each)
        job = await client.render([cc.RenderItem("film", opening(*PICTURES), STEPS)])
        (item,) = (await job.wait()).items
        assert item.pixel_digest == digest.digest()
        with pytest.raises(cc.InvalidRequest, match=r"items\[1\]\.open\.references\[0\]\.data: is neither"):
            await client.render(
                [cc.RenderItem("film", opening(), STEPS), cc.RenderItem("bad", opening(b"no picture"), STEPS)]
            )


@pytest.mark.slow
async def test_a_real_model_s_session_is_moved_and_goes_on_with_the_pixels_it_would_have_had(tmp_path: Path) -> None:
    expansion = shipped.load_expansion("tavern_dialogue")
    first, second = (
        scene.lockstep_turn(shot.states[:3], f"t{number}") for number, shot in enumerate(expansion.shots[:2])
    )
    request = pb.Open()
    request.CopyFrom(expansion.open_request)
    with local_server([]) as one, local_server([]) as other:
        async with cc.connect(one) as here, cc.connect(other) as there:
            (info,) = await here.models()
            assert info.references == 4
            without = await played(await here.open_request(request), [first])
            request.references.extend(pb.ReferencePicture(data=picture) for picture in PICTURES)
            session = await here.open_request(request)
            before = await played(session, [first])
            assert before != without
            file = [chunk async for chunk in here.export_session(session.id, session.token)]
            after = await played(session, [cc.CUT, second])
            moved = await there.import_session(file)
            again = await there.resume(moved.session_id, moved.token, 3)
            assert await played(again, [cc.CUT, second]) == after
            figures = await replay(there, moved.session_id, moved.token, cc.ReplayWish(), None, verify=True)
            assert (figures.compared, figures.first_difference) == (6, None)
            request.references.extend(pb.ReferencePicture(data=PICTURES[0]) for _ in range(3))
            with pytest.raises(cc.InvalidRequest, match="found 5 items; allowed are 0 to 4"):
                await here.open_request(request)
