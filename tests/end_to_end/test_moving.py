"""A session moved from one real server to another by the real client, and played on there."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import cutscene_client as cc
from cutscene_client import blocking, cli, remembered
from cutscene_client.local_server import local_server
from cutscene_client.replaying import replay
from cutscene_proto.v1 import cutscene_pb2 as pb
from messages import keyframed_turn, lockstep_turn, open_message
from server_program import serving

STEPS: list[pb.Turn | pb.Cut] = [keyframed_turn("one", 11 / 24), cc.CUT, lockstep_turn("two", 20)]
LATER: list[pb.Turn | pb.Cut] = [keyframed_turn("three", 0.5), cc.CUT, lockstep_turn("four", 9)]


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@contextlib.asynccontextmanager
async def two_servers(tmp_path: Path, *arguments: str) -> AsyncIterator[tuple[cc.Client, cc.Client]]:
    """Clients of two servers with nothing in common; ``arguments`` are the second one's."""
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    async with (
        serving(tmp_path / "here") as here,
        serving(tmp_path / "there", *arguments) as there,
        cc.connect(here.address) as one,
        cc.connect(there.address) as other,
    ):
        yield one, other


async def exported(client: cc.Client, session: cc.Session) -> list[bytes]:
    return [chunk async for chunk in client.export_session(session.id, session.token)]


async def played(session: cc.Session, steps: list[pb.Turn | pb.Cut]) -> list[tuple[int, bytes]]:
    return [(frame.index, frame.digest) async for frame in session.play(steps)]


async def rest_of(session: cc.Session) -> list[tuple[int, bytes]]:
    return [(frame.index, frame.digest) async for frame in session.remaining()]


async def test_a_moved_session_goes_on_with_the_pixels_it_would_have_had(tmp_path: Path) -> None:
    async with two_servers(tmp_path) as (here, there):
        session = await here.open_request(open_message())
        before = await played(session, STEPS)
        file = await exported(here, session)
        undisturbed = await played(session, LATER)

        imported = await there.import_session(file)
        assert (imported.next_frame, imported.differences) == (32, ())
        assert imported.session_id != session.id
        assert imported.token != session.token
        (listed,) = await there.sessions()
        assert (listed.id, listed.status, listed.next_frame) == (imported.session_id, "parked", 32)
        moved = await there.resume(imported.session_id, imported.token, 32)
        assert await played(moved, LATER) == undisturbed

        with pytest.raises(cc.SessionNotFound):  # nothing of the old token came along
            await there.session(imported.session_id, session.token)
        again = await there.import_session(await exported(there, moved))  # and on to a third place
        shown = await there.resume(again.session_id, again.token, 12)  # from a turn's beginning: shown again
        assert await rest_of(shown) == before[12:] + undisturbed


async def test_a_turn_that_is_under_way_goes_on_where_the_file_was_made(tmp_path: Path) -> None:
    """A client that leaves at frame 1, with a credit of four, leaves a turn begun and another one waiting."""
    turns: list[pb.Turn | pb.Cut] = [lockstep_turn("long", 20), keyframed_turn("next", 0.5)]
    async with two_servers(tmp_path) as (here, there):
        whole = await played(await here.open_request(open_message()), turns)
        session = await here.open_request(open_message(frame_credit=4))
        async for frame in session.play(turns):
            if frame.index == 1:
                break
        session.detach()
        imported = await there.import_session(await exported(here, session))
        assert 0 < imported.next_frame < 20
        moved = await there.resume(imported.session_id, imported.token, imported.next_frame)
        assert await rest_of(moved) == whole[imported.next_frame :]
        assert (await there.session(imported.session_id, imported.token)).next_frame == 33


async def test_a_moved_session_is_forked_rewound_and_replayed_like_any_other(tmp_path: Path) -> None:
    async with two_servers(tmp_path) as (here, there):
        session = await here.open_request(open_message())
        before = await played(session, STEPS)
        await session.close()
        imported = await there.import_session(await exported(here, session))  # a closed one: its recording is moved
        figures = await replay(there, imported.session_id, imported.token, cc.ReplayWish(), None, verify=True)
        assert (figures.frames, figures.compared, figures.first_difference) == (32, 32, None)
        assert figures.differences == ()

        fork_id, fork_token = await there.fork(imported.session_id, imported.token, 20)
        fork = await there.resume(fork_id, fork_token, 20)
        moved = await there.resume(imported.session_id, imported.token, 32)
        await moved.rewind(20)
        take = [lockstep_turn("take", 6)]
        assert await played(moved, [*take]) == await played(fork, [*take])
        stored = [frame async for frame in there.recording(imported.session_id, imported.token, 0, 20)]
        assert [(frame.frame_index, frame.pixel_digest) for frame in stored] == before[:20]


async def test_of_forks_and_of_rewound_sessions_the_current_timeline_is_moved(tmp_path: Path) -> None:
    async with two_servers(tmp_path) as (here, there):
        session = await here.open_request(open_message())
        await played(session, STEPS)
        fork_id, fork_token = await here.fork(session.id, session.token, 15)
        untouched = await there.import_session([chunk async for chunk in here.export_session(fork_id, fork_token)])
        assert untouched.next_frame == 15
        await session.rewind(10)
        second = await played(session, [lockstep_turn("take-two", 5)])
        moved = await there.import_session(await exported(here, session))
        assert moved.next_frame == 15
        on = [lockstep_turn("on", 4)]
        expected = await played(session, [*on])
        assert await played(await there.resume(moved.session_id, moved.token, 15), [*on]) == expected
        recorded = [frame async for frame in there.recording(moved.session_id, moved.token)]
        assert [(frame.frame_index, frame.pixel_digest) for frame in recorded[10:15]] == second
        fork = await here.resume(fork_id, fork_token, 15)
        other = await there.resume(untouched.session_id, untouched.token, 15)
        assert await played(other, [*on]) == await played(fork, [*on])


async def test_another_machine_s_frames_come_with_the_reasons_why_they_may_differ(tmp_path: Path) -> None:
    async with two_servers(tmp_path, "--threads", "1") as (here, there):
        session = await here.open_request(open_message())
        await played(session, STEPS)
        imported = await there.import_session(await exported(here, session))
        assert imported.differences == ("threads: default then, 1 now",)
        back = await here.import_session(
            [chunk async for chunk in there.export_session(imported.session_id, imported.token)]
        )
        assert back.differences == ()  # the stamp is of what the frames were drawn with


async def test_what_is_refused_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    async with two_servers(tmp_path, "--max-import", "20000", "--max-frames", "30") as (here, there):
        session = await here.open_request(open_message())
        await played(session, STEPS)
        file = b"".join(await exported(here, session))
        with pytest.raises(cc.SessionNotFound):
            [chunk async for chunk in here.export_session(session.id, "guess")]
        with pytest.raises(cc.InvalidRequest, match="file: is not a whole session file"):
            await here.import_session(file[:-1])
        with pytest.raises(cc.InvalidRequest, match="file: is not a whole session file"):
            await here.import_session([])
        with pytest.raises(FileNotFoundError):
            await here.import_session(tmp_path / "nothing.cutscene")
        with pytest.raises(cc.ResourceExhausted, match="too large; this server takes files of up to 20000 bytes"):
            await there.import_session(file)
        assert len(await here.sessions()) == 1
        assert await there.sessions() == []


def test_the_blocking_client_moves_sessions_too(server_address: str, tmp_path: Path) -> None:
    path = tmp_path / "moved.cutscene"
    with blocking.connect(server_address) as client:
        session = client.open_request(open_message())
        digests = [frame.digest for frame in session.perform(lockstep_turn("one", 3))]
        path.write_bytes(b"".join(client.export_session(session.id, session.token)))
        imported = client.import_session(path)
        moved = client.resume(imported.session_id, imported.token, 0)
        assert [frame.digest for frame in moved.remaining()] == digests


def test_the_tool_exports_imports_and_replays(
    server_address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film, file = tmp_path / "film.mp4", tmp_path / "sessions" / "chapel.cutscene"
    assert cli.main(["play", "chapel_talk", "-o", str(film), "--server", server_address]) == 0
    (entry,) = remembered.remembered()
    capsys.readouterr()
    assert cli.main(["export", entry.session_id[:8], "-o", str(file), "--server", server_address]) == 0
    assert f"wrote {file}" in capsys.readouterr().out
    assert [path.name for path in file.parent.iterdir()] == ["chapel.cutscene"]

    with local_server(
        ["--engine", "sketch_engine:load"], {"PYTHONPATH": str(Path(__file__).parents[1] / "doubles")}
    ) as other:
        assert cli.main(["import", str(file), "--server", other]) == 0
        said = capsys.readouterr().out
        imported = remembered.remembered()[-1]
        assert said.startswith(f"{imported.session_id}  next frame ")
        assert (imported.server, imported.title) == (other, "chapel")
        assert imported.token not in said
        command = ["replay", imported.session_id[:8], "--verify", "--to", "40", "--server", other]
        assert cli.main(command) == 0
        assert "40 compared: every one has the recording's pixels" in capsys.readouterr().out
        assert cli.main(["import", str(film), "--server", other]) == 1
        assert "is not a whole session file" in capsys.readouterr().err
        assert cli.main(["import", str(file), "--server", other, "--json"]) == 0
        plain = json.loads(capsys.readouterr().out)
        assert plain["token"] == remembered.find(plain["session_id"]).token
    assert cli.main(["export", "nothing", "-o", str(file), "--server", server_address]) == 1
    assert "recordings" in capsys.readouterr().err
    assert cli.main(["import", str(tmp_path / "none"), "--server", server_address]) == 1
    assert "none" in capsys.readouterr().err


def test_an_export_that_fails_leaves_the_file_that_was_there(
    server_address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "kept.cutscene"
    file.write_text("kept")
    command = ["export", "0" * 32, "--token", "guess", "-o", str(file), "--server", server_address]
    assert cli.main(command) == 1
    assert "no session with this id and token" in capsys.readouterr().err
    assert [path.read_text() for path in tmp_path.glob("kept*")] == ["kept"]
