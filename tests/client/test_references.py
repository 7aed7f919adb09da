"""Reference pictures on the client's side: files, bytes and pixels, in calls and beside scripts."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cutscene_client as cc
from cutscene_client import shipped
from cutscene_client.cli import main
from cutscene_client.references import MAX_REFERENCE_BYTES, ReferenceSource, read_references
from cutscene_client.script import ScriptError
from pictures import jpeg, noise, png

SCRIPT = """\
title: Referring
room: tavern
cast: [{id: ada, costume: knight}]
shots: [{duration: 0.5, camera: {framing: wide}}]
"""


def test_files_and_bytes_go_as_they_are_and_pixels_as_a_jpeg(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(noise()))
    pixels = np.asarray(noise())[::-1]  # not contiguous
    sources: list[ReferenceSource] = [tmp_path / "a.png", str(tmp_path / "a.png"), jpeg(noise()), pixels]
    one, other, third, last = (picture.data for picture in read_references(sources))
    assert one == other == png(noise())
    assert third == jpeg(noise())
    with Image.open(io.BytesIO(last)) as image:
        assert image.format == "JPEG"
        assert np.abs(np.asarray(image).astype(int) - pixels).mean() < 4


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (b"", r"references\[1\]: found no bytes"),
        (bytes(MAX_REFERENCE_BYTES + 1), r"references\[1\]: found over 1048576 bytes; allowed are 1 to 1048576"),
        (np.zeros((64, 64), np.uint8), r"references\[1\]: found uint8 of shape \(64, 64\)"),
        (np.zeros((64, 64, 3), np.float32), r"references\[1\]: found float32"),
        (np.zeros((4097, 1, 3), np.uint8), r"sides up to 4096"),
        (np.zeros((0, 64, 3), np.uint8), r"without pixels"),
    ],
    ids=["nothing", "large", "flat", "floats", "wide", "empty"],
)
def test_what_cannot_be_a_reference_is_said_before_anything_is_sent(source: bytes, says: str) -> None:
    with pytest.raises(cc.ReferencePictureError, match=says):
        read_references([png(noise()), source])


def test_no_more_than_four_are_taken_and_none_is_made_up(tmp_path: Path) -> None:
    assert read_references([]) == []
    with pytest.raises(cc.ReferencePictureError, match="more than 4"):
        read_references([png(noise())] * 5)
    with pytest.raises(FileNotFoundError):
        read_references([tmp_path / "none.png"])


def write(folder: Path, references: str, script: str = SCRIPT) -> str:
    path = folder / "scene.yaml"
    path.write_text(f"{script}references: {references}\n", encoding="utf-8")
    return str(path)


def test_a_script_names_pictures_beside_it(tmp_path: Path) -> None:
    (tmp_path / "ada.png").write_bytes(png(noise()))
    (tmp_path / "hall.jpg").write_bytes(jpeg(noise(seed=1)))
    opening = shipped.load_expansion(write(tmp_path, "[ada.png, hall.jpg]")).open_request
    assert [picture.data for picture in opening.references] == [png(noise()), jpeg(noise(seed=1))]
    assert not shipped.load_expansion(write(tmp_path, "[]")).open_request.references
    captured = "title: Again\ncaptured: chapel_talk.npz\n"
    (tmp_path / "chapel_talk.npz").write_bytes((shipped.FOLDER / "chapel_talk.npz").read_bytes())
    assert len(shipped.load_expansion(write(tmp_path, "[ada.png]", captured)).open_request.references) == 1


@pytest.mark.parametrize(
    ("references", "says"),
    [
        ("[none.png]", "references: .*none.png"),
        ("[../ada.png]", r"references\[0\]: the file must lie beside the script"),
        ("[ada.png, '..\\ada.png']", r"references\[1\]: the file must lie beside the script"),
        ("[ada.png, large.png]", r"references\[1\]: found over 1048576 bytes"),
        ("[1, 2]", r"references\[0\]: "),
        ("[a, b, c, d, e]", "references: .*4"),
        ("ada.png", "references: "),
    ],
)
def test_what_is_wrong_with_a_script_s_references_is_said_by_its_place(
    tmp_path: Path, references: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ada.png").write_bytes(png(noise()))
    (tmp_path / "large.png").write_bytes(bytes(MAX_REFERENCE_BYTES + 1))
    script = write(tmp_path, references)
    with pytest.raises(ScriptError, match=says):
        shipped.load_expansion(script)
    assert main(["check", script]) == 1
    assert "references" in capsys.readouterr().err
