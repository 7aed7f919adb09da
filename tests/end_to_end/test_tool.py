"""The ``cutscene`` tool and the demo, as a person starts them."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path

import av
import pytest
from PIL import Image

from cutscene_client import remembered, shipped
from cutscene_client.cli import main
from pictures import jpeg, noise, png

DOUBLES = Path(__file__).resolve().parents[1] / "doubles"

SHORT = """\
title: Two shots
room: tavern
cast: [{id: ada, costume: knight, headgear: false, holds: [weapon/sword_1h]}]
shots:
  - name: first
    duration: 0.5
    camera: {framing: medium}
    actors: {ada: {at: middle, say: [{for: 0.4}], face: [{emotion: joy}]}}
  - name: second
    duration: 0.4
    camera: {framing: close_up, move: dolly_in}
"""


def test_play_writes_a_film_and_a_sheet(
    server_address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script, film, sheet = tmp_path / "short.yaml", tmp_path / "out" / "short.mp4", tmp_path / "short.png"
    script.write_text(SHORT, encoding="utf-8")
    command = ["play", str(script), "-o", str(film), "--sheet", str(sheet), "--server", server_address, "--json"]
    assert main(command) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["frames"] == 22
    assert figures["blocks_computed"] > 0
    assert figures["film"] == str(film)
    with av.open(str(film)) as container:
        (stream,) = container.streams.video
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == (128, 72)
        assert stream.average_rate == Fraction(24)
        assert sum(1 for _ in container.decode(stream)) == 22
    with Image.open(sheet) as picture:
        assert picture.size[0] == 4 * 320
    assert main([*command[:-1], "--seed", "0", "--tier", "draft"]) == 0
    shown = capsys.readouterr().out
    assert "draft tier" in shown
    assert "cache blocks:" in shown


def test_equal_runs_have_equal_pixels(server_address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "short.yaml"
    script.write_text(SHORT, encoding="utf-8")
    digests = set()
    for run in ("one", "two"):
        assert (
            main(["play", str(script), "-o", str(tmp_path / f"{run}.mp4"), "--server", server_address, "--json"]) == 0
        )
        digests.add(json.loads(capsys.readouterr().out.splitlines()[-1])["digest"])
    assert len(digests) == 1


@pytest.mark.parametrize("name", shipped.names())
def test_every_shipped_script_plays(
    name: str, server_address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["play", name, "-o", str(tmp_path / "film.mp4"), "--server", server_address, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert 10.0 <= figures["frames"] / 24 <= 20.0


def test_lists(server_address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--server", server_address]) == 0
    assert "128x72" in capsys.readouterr().out
    assert main(["models", "--server", server_address, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["name"] == "sketch"
    assert main(["sessions", "--server", server_address]) == 0


@pytest.mark.parametrize(
    ("film", "sheet", "says"),
    [
        ("taken/film.mp4", "sheet.png", "taken/film.mp4: cannot be written"),
        ("folder.mp4", "sheet.png", "folder.mp4: cannot be written: Is a directory"),
        ("film", "sheet.png", "film: is no film's name; one ends in .mp4"),
        ("film.mp4", "taken/sheet.png", "taken/sheet.png: cannot be written"),
        ("film.mp4", "sheet.mp4", "sheet.mp4: is no picture's name; one ends in .png"),
    ],
)
def test_what_cannot_be_written_is_found_before_a_session_is_opened(
    film: str, sheet: str, says: str, server_address: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "taken").write_text("a file where a folder should be")
    (tmp_path / "folder.mp4").mkdir()
    where = ["-o", str(tmp_path / film), "--sheet", str(tmp_path / sheet), "--server", server_address]
    assert main(["play", shipped.names()[0], *where]) == 1
    assert says in capsys.readouterr().err
    assert remembered.remembered() == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.mp4", "taken"]


def test_a_film_of_another_time_stays_until_there_is_one_in_its_place(
    server_address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "film.mp4").write_bytes(b"of another time")
    command = ["play", shipped.names()[0], "-o", str(tmp_path / "film.mp4"), "--server", server_address]
    assert main([*command, "--model", "none-of-this-name"]) == 1
    assert "none-of-this-name" in capsys.readouterr().err
    assert (tmp_path / "film.mp4").read_bytes() == b"of another time"


def test_without_a_server_the_tool_says_how_to_start_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--server", "127.0.0.1:9"]) == 1
    assert "cutscene-server --listen 127.0.0.1:9" in capsys.readouterr().err


def test_where_no_server_can_be_started_the_tool_says_why_nobody_answers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--server", "no-such-machine.invalid:50400"]) == 1
    told = capsys.readouterr().err
    assert "there is no machine of that name" in told
    assert "cutscene-server" not in told

    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = other.accept()
                    with connection:
                        connection.recv(1024)
                        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

        answering = threading.Thread(target=answer, daemon=True)
        answering.start()
        assert main(["models", "--server", f"127.0.0.1:{other.getsockname()[1]}"]) == 1
        told = capsys.readouterr().err
        other.shutdown(socket.SHUT_RDWR)
    answering.join(timeout=10)
    assert "what listens there does not speak gRPC" in told
    assert "cutscene-server" not in told


def test_the_demo(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cutscene_client.demo", "--out", str(tmp_path), "--", "--engine", "sketch_engine:load"],
        env={**os.environ, "PYTHONPATH": str(DOUBLES)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "frames/s" in done.stdout
    assert (tmp_path / "demo.mp4").stat().st_size > 0
    assert (tmp_path / "demo.png").stat().st_size > 0


def test_the_demo_says_why_a_server_did_not_start(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cutscene_client.demo", "--out", str(tmp_path), "--", "--engine", "no_such_module:load"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "no_such_module" in done.stderr


def test_play_takes_reference_pictures_with_a_script_and_beside_it(
    server_address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ada.png").write_bytes(png(noise()))
    (tmp_path / "hall.jpg").write_bytes(jpeg(noise(seed=1)))
    (tmp_path / "plain.yaml").write_text(SHORT, encoding="utf-8")
    (tmp_path / "own.yaml").write_text(SHORT + "references: [ada.png]\n", encoding="utf-8")

    def played(script: str, *pictures: str) -> str:
        more = [part for picture in pictures for part in ("--reference", str(tmp_path / picture))]
        film = ["-o", str(tmp_path / "out.mp4"), "--server", server_address, "--json"]
        assert main(["play", str(tmp_path / script), *film, *more]) == 0
        digest: str = json.loads(capsys.readouterr().out.splitlines()[-1])["digest"]
        return digest

    plain, own = played("plain.yaml"), played("own.yaml")
    assert plain != own
    assert played("plain.yaml", "ada.png") == own
    assert played("plain.yaml", "ada.png", "hall.jpg") == played("own.yaml", "hall.jpg") != own
    command = ["play", str(tmp_path / "plain.yaml"), "-o", str(tmp_path / "out.mp4"), "--server", server_address]
    assert main([*command, "--reference", str(tmp_path / "none.png")]) == 1
    assert "none.png" in capsys.readouterr().err
    assert main([*command, "--reference", str(tmp_path / "plain.yaml")]) == 1
    assert "open.references[0].data: is neither a JPEG nor a PNG" in capsys.readouterr().err
    assert main(["models", "--server", server_address]) == 0
    assert "reference pictures up to 3" in capsys.readouterr().out
