"""The capture writer: what it leaves on disk, how it goes on after a stop, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cutscene_client as cc
from cutscene_client import scene
from cutscene_client.capturing import CaptureError
from cutscene_proto.v1 import scene_pb2 as spb

RGB = np.full((288, 512, 3), 90, np.uint8)
CAST = [scene.cast_member("ada", "corsair", tint=(1.0, 0.9, 0.8))]
ROOM = scene.stage_set(
    [scene.box("floor", "harbour/planks", (0, -0.1, 0), (4, 0.1, 4))],
    [scene.prop("lamp", "lamp", "harbour/lamp", (0.1, 0.3, 0.1))],
)


def said(x: float = 0.0, cast_id: str = "ada") -> spb.SceneState:
    camera = scene.camera((x, 1.5, 4.0), look_at=(0, 1, 0))
    actor = scene.actor(cast_id, np.zeros((19, 3)), emotion="joy", intensity=0.5)
    return scene.state(camera, scene.lights(), [actor], [scene.prop_state("lamp", (0, 1, 0))])


def frames(folder: Path, run: str = "0000") -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "runs" / run / "frames.jsonl").read_text().splitlines()]


def test_a_run_is_json_and_pictures(tmp_path: Path) -> None:
    with cc.capture(tmp_path, cast=CAST, set=ROOM, fps=30) as capture:
        capture.add(said(0.0), RGB)
        capture.cut()
        depth, ids = np.full((288, 512), 2.5), np.full((288, 512), 6)
        depth[0, 0] = np.inf
        progress = capture.add(said(1.0), RGB, depth=depth, ids=ids)
    assert (progress.run, progress.frames) == ("0000", 2)
    assert progress.seconds == pytest.approx(2 / 30)
    folder = tmp_path / "runs" / "0000"
    assert progress.bytes == sum(path.stat().st_size for path in folder.iterdir())
    assert "2 frames" in str(progress)
    assert json.loads((tmp_path / "capture.json").read_text())["format"] == "cutscene-capture"
    opened = json.loads((folder / "open.json").read_text())
    assert opened["cast"][0]["costume"] == "corsair"
    assert opened["set"]["props"][0]["element_class"] == "ELEMENT_CLASS_LAMP"
    first, second = frames(tmp_path)
    assert (first["shot"], second["shot"]) == (0, 1)
    assert set(first) == {"frame", "shot", "picture", "state"}
    assert np.asarray(Image.open(folder / str(second["picture"]))).shape == (288, 512, 3)
    stored = np.asarray(Image.open(folder / str(second["depth"])))
    assert (stored[0, 0], stored[5, 5]) == (0, 2500)
    assert np.asarray(Image.open(folder / str(second["ids"]))).max() == 6


def test_a_state_that_would_spoil_the_recording_is_refused_at_once(tmp_path: Path) -> None:
    """A server, and training, take nobody twice."""
    with cc.capture(tmp_path, cast=CAST, set=ROOM) as capture:
        for field, message in (("actors", said().actors[0]), ("props", said().props[0])):
            state = said()
            getattr(state, field).append(message)
            with pytest.raises(CaptureError, match="occurs twice") as caught:
                capture.add(state, RGB)
            assert caught.value.field == f"state.{field}"
        assert capture.frames == 0


def test_larger_pictures_are_averaged_down(tmp_path: Path) -> None:
    large = np.zeros((576, 1024, 3), np.uint8)
    large[:, ::2] = 100
    with cc.capture(tmp_path, cast=CAST, set=ROOM, png=True) as capture:
        capture.add(said(), large)
    picture = np.asarray(Image.open(tmp_path / "runs" / "0000" / "000000.png"))
    assert (picture == 50).all()


def test_a_run_goes_on_after_its_last_whole_frame(tmp_path: Path) -> None:
    with cc.capture(tmp_path, cast=CAST, set=ROOM, run="harbour") as capture:
        for x in (0.0, 1.0):
            capture.add(said(x), RGB)
    lines = tmp_path / "runs" / "harbour" / "frames.jsonl"
    lines.write_bytes(lines.read_bytes()[:-20])  # as a power cut leaves it
    with cc.capture(tmp_path, cast=CAST, set=ROOM, run="harbour") as capture:
        assert capture.frames == 1
        capture.add(said(5.0), RGB)
    states = [line["state"]["camera"]["position"].get("x", 0.0) for line in frames(tmp_path, "harbour")]  # type: ignore[index]
    assert states == [0.0, 5.0]
    with cc.capture(tmp_path, cast=CAST, set=ROOM) as capture:  # without a name: another run
        assert (capture.run, capture.frames) == ("0000", 0)


def test_another_cast_under_the_same_name_is_refused(tmp_path: Path) -> None:
    cc.capture(tmp_path, cast=CAST, set=ROOM, run="harbour").close()
    with pytest.raises(cc.CaptureError, match="cast"):
        cc.capture(tmp_path, cast=[], set=ROOM, run="harbour")


def broken_camera() -> spb.SceneState:
    state = said()
    state.camera.rotation.w = 3
    return state


def few_joints() -> spb.SceneState:
    state = said()
    del state.actors[0].joints[5:]
    return state


def endless_joint() -> spb.SceneState:
    state = said()
    state.actors[0].joints[4] = float("inf")
    return state


def strange_prop() -> spb.SceneState:
    state = said()
    state.props[0].prop_id = "chest"
    return state


@pytest.mark.parametrize(
    ("state", "field"),
    [
        (spb.SceneState(), "state.camera"),
        (spb.SceneState(camera=said().camera), "state.lights"),
        (broken_camera(), "state.camera.rotation"),
        (said(cast_id="bram"), "state.actors[0].cast_id"),
        (few_joints(), "state.actors[0].joints"),
        (endless_joint(), "state.actors[0].joints"),
        (strange_prop(), "state.props[0].prop_id"),
    ],
)
def test_what_a_server_would_refuse_is_not_recorded(tmp_path: Path, state: spb.SceneState, field: str) -> None:
    with cc.capture(tmp_path, cast=CAST, set=ROOM) as capture:
        with pytest.raises(cc.CaptureError) as caught:
            capture.add(state, RGB)
        assert caught.value.field == field
        assert capture.frames == 0
    assert frames(tmp_path) == []


def test_pictures_of_another_size_or_kind_are_refused(tmp_path: Path) -> None:
    with cc.capture(tmp_path, cast=CAST, set=ROOM) as capture:
        for rgb in (RGB[:200], RGB[..., :2], RGB.astype(np.float32)):
            with pytest.raises(cc.CaptureError, match="rgb"):
                capture.add(said(), rgb)  # type: ignore[arg-type]
        with pytest.raises(cc.CaptureError, match="depth"):
            capture.add(said(), RGB, depth=np.full((288, 512), np.nan))
        with pytest.raises(cc.CaptureError, match="ids"):
            capture.add(said(), RGB, ids=np.full((288, 512), 7))
    with pytest.raises(cc.CaptureError, match="closed"):
        capture.add(said(), RGB)


@pytest.mark.parametrize(("fps", "run"), [(0, ""), (24, "../elsewhere")])
def test_settings_out_of_range_are_refused(tmp_path: Path, fps: float, run: str) -> None:
    with pytest.raises(cc.CaptureError):
        cc.capture(tmp_path, cast=CAST, set=ROOM, fps=fps, run=run)
    assert not (tmp_path / "capture.json").exists()
