"""A recording performed again: as it was, from the middle, otherwise; and found again by the tool."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import cutscene_client as cc
from cutscene_client import cli, remembered, scene
from cutscene_client.replaying import read_camera, read_setting, replay
from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_proto.v1 import scene_pb2 as spb
from cutscene_server.worker_link import PIPELINE_SLOTS
from messages import keyframed_turn, lockstep_turn, open_message
from server_program import serving


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


async def recorded(client: cc.Client) -> tuple[cc.Session, list[bytes]]:
    """A closed session of 12 keyframed and, after a cut, 20 lockstep frames."""
    session = await client.open_request(open_message())
    steps: list[pb.Turn | pb.Cut] = [keyframed_turn("one", 11 / 24), cc.CUT, lockstep_turn("two", 20)]
    digests = [frame.digest async for frame in session.play(steps)]
    await session.close()
    return session, digests


async def test_a_replay_has_the_recordings_pixels_from_the_start_and_from_the_middle(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, cc.connect(server.address) as client:
        session, digests = await recorded(client)
        stored = [frame async for frame in client.recording(session.id, session.token)]
        assert [frame.pixel_digest for frame in stored] == digests
        assert [frame.frame_index for frame in stored if frame.cut_before] == [12]
        for wish, count in ((cc.ReplayWish(), 32), (cc.ReplayWish(5, 17), 12), (cc.ReplayWish(12), 20)):
            figures = await replay(client, session.id, session.token, wish, None, verify=True)
            assert (figures.frames, figures.compared, figures.first_difference) == (count, count, None)
            assert figures.differences == ()


async def test_another_camera_tier_or_cast_draws_other_pixels_and_says_why(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, cc.connect(server.address) as client:
        session, _ = await recorded(client)
        wishes = {
            "camera": cc.ReplayWish(3, 9, camera=scene.camera((0, 2, 5), look_at=(0, 1, 0))),
            "tier": cc.ReplayWish(3, 9, tier="draft"),
            "cast": cc.ReplayWish(3, 9, cast=(spb.CastMember(id="actor-0", costume="mage"),)),
        }
        for name, wish in wishes.items():
            figures = await replay(client, session.id, session.token, wish, None, verify=True)
            assert (figures.frames, figures.first_difference) == (6, 3), name
            assert [reason.split(":")[0] for reason in figures.differences] == [name]


async def test_what_cannot_be_replayed_is_refused_by_name(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, cc.connect(server.address) as client:
        session, _ = await recorded(client)
        for wish, complaint in (
            (cc.ReplayWish(0, 33), "frames 0 to 33; the recording has those below 32"),
            (cc.ReplayWish(9, 9), "frames 9 to 9"),
            (cc.ReplayWish(cast=(spb.CastMember(id="nobody", costume="mage"),)), "nobody"),
            (cc.ReplayWish(cast=(spb.CastMember(id="actor-0", costume="pirate"),)), "pirate"),
            (cc.ReplayWish(tier="high"), "this model has draft, standard"),
        ):
            with pytest.raises(cc.CutsceneError, match=complaint):
                await client.replay(session.id, session.token, wish)
        with pytest.raises(cc.SessionNotFound):
            await client.replay(session.id, "guess", cc.ReplayWish())
        with pytest.raises(cc.SessionNotFound):
            [frame async for frame in client.recording(session.id, "guess")]


async def test_a_replay_waits_for_live_sessions(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, cc.connect(server.address) as client:
        slow = await client.open_request(open_message(cast=("actor-0", "slow")))
        async for _ in slow.perform(lockstep_turn("one", 20)):
            pass
        begun = await client.replay(slow.id, slow.token, cc.ReplayWish())
        drawn_before = [  # of the replay, when each of the live session's frames had come
            (await client.session(begun.session_id, begun.token)).next_frame
            async for _ in slow.perform(lockstep_turn("two", 6))
        ]
        assert drawn_before[-1] <= drawn_before[0] + PIPELINE_SLOTS, "only what was under way came through"
        again = await client.resume(begun.session_id, begun.token, 0)
        assert [frame.index async for frame in again.remaining()] == list(range(20))


def test_the_tool_lists_what_it_played_and_performs_it_again(
    server_address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film, other = tmp_path / "a.mp4", tmp_path / "b.mp4"
    assert cli.main(["play", "chapel_talk", "-o", str(film), "--server", server_address]) == 0
    (entry,) = remembered.remembered()
    assert remembered.state_file().stat().st_mode & 0o077 == 0
    capsys.readouterr()
    assert cli.main(["recordings", "--server", server_address, "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["id"], listed["status"]) == (entry.session_id, "closed")
    assert cli.main(["replay", entry.session_id[:8], "--verify", "--to", "60", "--server", server_address]) == 0
    assert "60 compared: every one has the recording's pixels" in capsys.readouterr().out
    command = [
        "replay",
        entry.session_id[:8],
        "-o",
        str(other),
        "--from",
        "10",
        "--to",
        "30",
        "--server",
        server_address,
    ]
    assert cli.main([*command, "--camera", "0,2,6:0,1,0:50"]) == 0
    assert "because of\n  camera" in capsys.readouterr().out
    assert other.stat().st_size > 1000
    assert cli.main(["replay", "nothing", "--verify", "--server", server_address]) == 1
    assert "recordings" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2:3,4,5", "1,2,3:4,5,6:7:8", "a,b,c:1,2,3"])
def test_cameras_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_camera(text)


def test_settings_that_can_and_cannot_be_read() -> None:
    member = read_setting("cast.ada=mage/1.2,0.5,0.25")
    assert (member.id, member.costume, member.tint.g) == ("ada", "mage", 0.5)
    for text in ("", "ada=mage", "cast.ada", "cast.ada=mage/1,2"):
        with pytest.raises(ValueError, match=r"cast\.ID=COSTUME|three numbers"):
            read_setting(text)
