"""``cutscene render`` as a person uses it: films into a directory, left and taken up again, cancelled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import av
import pytest

from cutscene_client import remembered
from cutscene_client.cli import main
from cutscene_client.commands.render import film_name
from cutscene_client.errors import CutsceneError
from cutscene_client.local_server import local_server
from object_store import SECRET, object_store

DOUBLES = Path(__file__).resolve().parents[1] / "doubles"

SHORT = """\
title: One shot
room: tavern
cast: [{id: ada, costume: knight}]
shots:
  - {name: only, duration: 0.5, camera: {framing: medium}}
  - {name: other, duration: 0.25, camera: {framing: close_up}}
"""


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def script(tmp_path: Path) -> str:
    path = tmp_path / "my scene.yaml"
    path.write_text(SHORT, encoding="utf-8")
    return str(path)


def frames_of(film: Path) -> int:
    with av.open(str(film)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_scripts_become_films_with_the_pixels_that_playing_them_has(
    server_address: str, script: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    films = tmp_path / "films"
    command = ["render", script, "chapel_talk", script, "-o", str(films), "--server", server_address, "--seed", "3"]
    assert main([*command, "--json"]) == 0
    job = json.loads(capsys.readouterr().out)
    names = ["my_scene-000.mp4", "chapel_talk.mp4", "my_scene-002.mp4"]
    assert job["films"] == [str(films / name) for name in names]
    assert (job["state"], job["items_done"]) == ("done", 3)
    for item, name in zip(job["items"], names, strict=True):
        assert frames_of(films / name) == item["frame_count"]
    digests = [item["pixel_digest"] for item in job["items"]]
    assert digests[0] == digests[2]
    for wanted, digest in ((script, digests[0]), ("chapel_talk", digests[1])):
        play = ["play", wanted, "-o", str(tmp_path / "played.mp4"), "--server", server_address, "--seed", "3", "--json"]
        assert main(play) == 0
        assert json.loads(capsys.readouterr().out)["digest"] == digest
    assert main(["renders", "--server", server_address]) == 0
    assert f"{job['job_id']}  " in (listed := capsys.readouterr().out)
    assert "3 of 3 films" in listed
    assert remembered.state_file(remembered.RENDERS).stat().st_mode & 0o077 == 0


def test_a_job_is_left_and_taken_up_again(
    server_address: str, script: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    films = tmp_path / "films"
    scripts = ["night_watch", "throne_duel", "tavern_dialogue", "chapel_talk"] * 4
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "cutscene_client.cli", "render", *scripts, "-o", str(films),
         "--server", server_address],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    job_id = process.stdout.readline().split()[2].rstrip(":")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"cutscene render --resume {job_id[:8]} -o {films}" in said
    assert main(["render", "--resume", job_id[:8], "-o", str(films), "--server", server_address, "--json"]) == 0
    job = json.loads(capsys.readouterr().out)
    assert (job["job_id"], job["items_done"]) == (job_id, 16)
    assert len(list(films.iterdir())) == 16
    assert frames_of(films / "night_watch-000.mp4") == job["items"][0]["frame_count"]


def test_a_job_is_handed_in_and_cancelled(server_address: str, script: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", *["night_watch"] * 8, "--server", server_address]) == 0
    shown = capsys.readouterr().out
    job_id = shown.split()[2].rstrip(":")
    assert f"cutscene render --resume {job_id[:8]} -o DIR" in shown
    assert main(["render", "--cancel", job_id[:8], "--server", server_address]) == 0
    assert "cancelled" in capsys.readouterr().out
    assert main(["render", "--resume", job_id[:8], "--watch", "--server", server_address, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["state"] == "cancelled"
    entry = remembered.find(job_id, remembered.RENDERS)
    known = ["--token", entry.token, "--server", server_address]
    assert main(["render", "--cancel", job_id, *known]) == 0
    assert main(["render", "--cancel", "0" * 32, *known]) == 1
    assert "no render job with this id and token" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["tavern_dialogue", "--resume", "3f"],
        ["--resume", "3f"],
        ["--resume", "3f", "--cancel", "3f"],
        ["--resume", "3f", "--watch", "--seed", "0"],
    ],
)
def test_what_is_not_clear_is_asked_back(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", *arguments]) == 2
    assert "render:" in capsys.readouterr().err


def test_a_job_that_is_not_known_says_where_to_look(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", "--resume", "3f", "--watch"]) == 1
    assert "`cutscene renders` lists them" in capsys.readouterr().err


def test_a_name_from_the_server_leads_nowhere_else() -> None:
    assert film_name(1, ["a", "b", "a"]) == "b.mp4"
    assert film_name(2, ["a", "b", "a"]) == "a-002.mp4"
    for name in ("", "..", "a/b", "a\\b", "a.b", "a" * 65):
        with pytest.raises(CutsceneError, match="cannot be a file's name"):
            film_name(0, [name])


def test_films_go_into_an_s3_style_store_and_come_from_there(
    script: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with object_store() as bucket:
        path = os.pathsep.join([str(DOUBLES), *filter(None, [os.environ.get("PYTHONPATH")])])
        arguments = ["--engine", "sketch_engine:load", "--render-output", "s3://bucket/films"]
        data = tmp_path / "data"
        with local_server([*arguments, "--data", str(data)], {"PYTHONPATH": path, **bucket.environment()}) as address:
            assert main(["render", script, "-o", str(tmp_path / "films"), "--server", address, "--json"]) == 0
    job = json.loads(capsys.readouterr().out)
    stored = bucket.objects[f"/bucket/films/{job['items'][0]['film']}"]
    assert (tmp_path / "films" / "my_scene.mp4").read_bytes() == stored
    assert frames_of(tmp_path / "films" / "my_scene.mp4") == 18
    assert list((data / "renders" / "unfinished").iterdir()) == []
    assert not any(SECRET.encode() in path.read_bytes() for path in data.rglob("*") if path.is_file())
