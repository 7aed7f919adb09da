"""Reading what a game recorded: the same values as a server would read, and every mistake by its place."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cutscene_model.loading import SHIPPED_WEIGHTS
from cutscene_model.manifest import read_manifest
from cutscene_model.scene_codec import stage_to_plain, state_to_plain
from cutscene_model.training.own_game.capture_folder import census, read_capture
from cutscene_model.training.own_game.contract_json import Fields, read_stage, read_state
from cutscene_model.training.own_game.errors import CaptureError
from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_server.wire.scene import names_of
from cutscene_server.wire.scene import read_stage as wire_stage
from cutscene_server.wire.scene import read_state as wire_state
from cutscene_server.wire.violations import Violations
from toy_game import CAST, ROOM, instant, record

HERE = Path("frames.jsonl")


def test_a_recorded_game_reads_back(tmp_path: Path) -> None:
    runs = read_capture(record(tmp_path))
    assert [run.name for run in runs] == ["run-0", "run-1", "run-2"]
    first = runs[0].frames
    assert [(frame.number, frame.shot) for frame in first] == [(0, 0), (1, 0), (2, 1), (3, 1)]
    assert first[0].rgb().shape == (288, 512, 3)
    ids, metres = first[0].object_ids(), first[0].metres()
    assert ids is not None
    assert metres is not None
    assert set(np.unique(ids)) == {1, 6}
    np.testing.assert_allclose(metres, 3.0, atol=1e-3)
    assert runs[1].frames[0].object_ids() is None
    counted = census(runs)
    assert (counted.runs, counted.frames, counted.with_ids, counted.with_depth) == (3, 12, 4, 4)
    assert counted.costumes == {"knight": 12, "toy/corsair": 12}
    assert "look toy/planks: 12 frames" in str(counted)


@pytest.mark.parametrize("snake", [True, False])
def test_values_are_those_that_a_server_reads(snake: bool) -> None:
    manifest = read_manifest(SHIPPED_WEIGHTS)
    message = pb.Open(cast=CAST, set=ROOM)
    for member in message.cast:
        member.costume = "knight"
    for element in message.set.elements:
        element.look = "crate/large"
    for prop in message.set.props:
        prop.look = "crate/large"
    violations = Violations()
    wanted = wire_stage(violations, message, manifest)
    plain = json_format.MessageToDict(message, preserving_proto_field_name=snake)
    stage = read_stage(Fields(HERE, "", {"cast": plain["cast"], "set": plain["set"]}))
    assert stage_to_plain(stage) == stage_to_plain(wanted)

    said = instant(0.3)
    state = wire_state(violations, "", said, names_of(wanted, manifest))
    violations.raise_if_any()
    plain = json_format.MessageToDict(said, preserving_proto_field_name=snake)
    assert state_to_plain(read_state(Fields(HERE, "", plain), stage)) == state_to_plain(state)


def change(path: Path, edit: Callable[[Any], None]) -> None:
    """Rewrites a JSON file, or the second line of a file of lines."""
    if path.suffix == ".json":
        plain = json.loads(path.read_text())
        edit(plain)
        path.write_text(json.dumps(plain))
        return
    lines = path.read_text().splitlines()
    plain = json.loads(lines[1])
    edit(plain)
    lines[1] = json.dumps(plain)
    path.write_text("\n".join(lines) + "\n")


def _set(*keys: str | int, value: Any) -> Callable[[Any], None]:
    def edit(plain: Any) -> None:
        for key in keys[:-1]:
            plain = plain[key]
        plain[keys[-1]] = value

    return edit


@pytest.mark.parametrize(
    ("name", "edit", "place"),
    [
        ("capture.json", _set("version", value=9), "version"),
        ("capture.json", _set("more", value=9), "more"),
        ("runs/run-0/open.json", _set("fps", value=0), "fps"),
        ("runs/run-0/open.json", _set("cast", 0, "costume", value="../x"), "cast[0].costume"),
        ("runs/run-0/open.json", _set("cast", 1, "id", value="ada"), "cast"),
        (
            "runs/run-0/open.json",
            _set("set", "elements", 0, "element_class", value="SOFA"),
            "elements[0].element_class",
        ),
        ("runs/run-0/open.json", _set("set", "elements", 1, "part", value=8), "elements[1].part"),
        ("runs/run-0/open.json", _set("set", "elements", 0, "box", "center", "x", value=1e9), "box.center.x"),
        ("runs/run-0/open.json", _set("set", "props", value=[{}] * 17), "set.props"),
        ("runs/run-0/frames.jsonl", _set("frame", value=0), "line 2.frame"),
        ("runs/run-0/frames.jsonl", _set("picture", value="../../x.jpg"), "line 2.picture"),
        ("runs/run-0/frames.jsonl", _set("ids", value="none.png"), "line 2.ids"),
        ("runs/run-0/frames.jsonl", _set("state", "camera", "rotation", "w", value=3.0), "camera.rotation"),
        ("runs/run-0/frames.jsonl", _set("state", "camera", "vertical_fov", value=True), "camera.vertical_fov"),
        ("runs/run-0/frames.jsonl", _set("state", "actors", 0, "joints", 4, value="x"), "actors[0].joints[4]"),
        ("runs/run-0/frames.jsonl", _set("state", "actors", 0, "joints", value=[0.0]), "actors[0].joints"),
        ("runs/run-0/frames.jsonl", _set("state", "actors", 0, "cast_id", value="eve"), "actors[0].cast_id"),
        ("runs/run-0/frames.jsonl", _set("state", "actors", 0, "cast_id", value=["ada"]), "actors[0].cast_id"),
        ("runs/run-0/frames.jsonl", _set("state", "actors", 0, "emotion", value=True), "actors[0].emotion"),
        ("runs/run-0/frames.jsonl", _set("state", "actors", 0, "emotion", value=99), "actors[0].emotion"),
        ("runs/run-0/frames.jsonl", _set("state", "actors", 1, "cast_id", value="ada"), "state.actors"),
        ("runs/run-0/frames.jsonl", _set("state", "actors", 0, "mouth", value=1), "actors[0].mouth"),
        ("runs/run-0/frames.jsonl", _set("state", "props", 0, "prop_id", value="cup"), "props[0].prop_id"),
        ("runs/run-0/frames.jsonl", _set("state", "lights", "ambient", "r", value=6), "lights.ambient.r"),
        ("runs/run-0/frames.jsonl", _set("state", "lights", "points", 0, "range", value=0), "points[0].range"),
        ("runs/run-0/frames.jsonl", _set("state", "lights", "sun_direction", "y", value=0.0), "lights.sun_direction"),
        ("runs/run-0/frames.jsonl", _set("state", value=None), "line 2.state"),
    ],
)
def test_a_mistake_is_named_by_file_and_field(
    tmp_path: Path, name: str, edit: Callable[[Any], None], place: str
) -> None:
    change(record(tmp_path, runs=1) / name, edit)
    with pytest.raises(CaptureError) as caught:
        read_capture(tmp_path)
    assert caught.value.path == tmp_path / name
    assert place in caught.value.field


def test_not_a_number_is_none_of_json(tmp_path: Path) -> None:
    path = record(tmp_path, runs=1) / "runs/run-0/frames.jsonl"
    path.write_text(path.read_text().replace('"intensity":0.7', '"intensity":NaN'))
    with pytest.raises(CaptureError, match="NaN"):
        read_capture(tmp_path)


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    path = record(tmp_path, runs=1) / "runs/run-0/frames.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    assert len(read_capture(tmp_path)[0].frames) == 3


def test_a_line_without_an_end_is_not_read_to_it(tmp_path: Path) -> None:
    path = record(tmp_path, runs=1) / "runs/run-0/frames.jsonl"
    with path.open("ab") as file:
        file.truncate(path.stat().st_size + (1 << 34))  # of a disk's bad sectors, say: nothing but zeros
    with pytest.raises(CaptureError, match="bytes are read"):
        read_capture(tmp_path)


def test_pictures_of_another_size_and_what_is_no_picture_are_refused(tmp_path: Path) -> None:
    folder = record(tmp_path, runs=1) / "runs/run-0"
    (first, second, third, fourth) = read_capture(tmp_path)[0].frames
    Image.new("RGB", (64, 36)).save(first.picture)
    second.picture.write_bytes(b"no picture")
    Image.new("L", (512, 288), 9).save(folder / "000002.ids.png")
    Image.new("L", (512, 288)).save(fourth.picture, "PNG")
    for ask, said in (
        (first.rgb, "64 x 36"),
        (second.rgb, "PNG or JPEG"),
        (third.object_ids, "id 9"),
        (fourth.rgb, "L"),
    ):
        with pytest.raises(CaptureError, match=said):
            ask()


def test_what_is_no_capture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"capture\.json"):
        read_capture(tmp_path)


_JUNK = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["camera", "actors", "lights", "x", "joints", "rotation"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(_JUNK)
def test_junk_is_refused_and_nothing_else(junk: Any) -> None:
    stage = read_stage(Fields(HERE, "", {"set": {}}))
    with pytest.raises(CaptureError):
        read_state(Fields(HERE, "line 1", junk), stage)


@given(_JUNK, st.sampled_from(["camera", "actors", "props", "lights"]))
def test_junk_in_a_good_state_is_refused_or_harmless(junk: Any, where: str) -> None:
    plain: dict[str, Any] = json_format.MessageToDict(instant(), preserving_proto_field_name=True)
    plain[where] = junk
    stage = read_stage(
        Fields(HERE, "", json_format.MessageToDict(pb.Open(cast=CAST, set=ROOM), preserving_proto_field_name=True))
    )
    with contextlib.suppress(CaptureError):  # and nothing else
        read_state(Fields(HERE, "line 1", plain), stage)
