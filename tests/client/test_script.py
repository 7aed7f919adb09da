"""Reading scripts: what is wrong is named by its place in the file, with what is allowed."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cutscene_client import shipped
from cutscene_client.cli import main
from cutscene_client.expand import expand
from cutscene_client.script import Script, ScriptError, json_schema, read_script

SOUND: dict[str, Any] = {
    "title": "A test",
    "room": "tavern",
    "cast": [{"id": "ada", "costume": "knight"}, {"id": "bram", "costume": "rogue"}],
    "shots": [{"duration": 1.0, "camera": {"framing": "wide"}}],
}


def changed(path: str, value: object) -> str:
    """``SOUND`` as YAML with one place changed: "shots.0.camera.framing"."""
    plain = json.loads(json.dumps(SOUND))
    place: Any = plain
    *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in way:
        place = place[part]
    place[last] = value
    return yaml.safe_dump(plain)


def problems(path: str, value: object) -> str:
    with pytest.raises(ScriptError) as error:
        expand(read_script(changed(path, value), "test"))
    return str(error.value)


def test_a_sound_script_is_read() -> None:
    assert read_script(yaml.safe_dump(SOUND)).title == "A test"
    assert read_script(json.dumps(SOUND)) == read_script(yaml.safe_dump(SOUND)), "JSON is YAML"


@pytest.mark.parametrize(
    ("path", "value", "place", "says"),
    [
        ("titel", "x", "titel", "is not a field here"),
        ("room", None, "script", "give `room`"),
        ("room", "tavrn", "room", "tavern"),
        ("seed", -1, "seed", "greater than or equal to 0"),
        ("cast.0.costume", "astronaut", "cast[0]", "barbarian"),
        ("cast.0.tint", [3, 1, 1], "cast[0].tint[0]", "1.5"),
        ("cast.1.id", "ada", "script", "repeated: ada"),
        ("cast.0.id", "a b", "cast[0].id", "pattern"),
        ("cast.0.holds", ["weapon/spoon"], "cast[0]", "weapon/knife"),
        ("cast.0.rest", "Idel", "cast[0]", "did you mean Idle"),
        ("lights", "noon", "lights", "torchlight"),
        ("shots.0.duration", 0, "shots[0].duration", "greater than 0"),
        ("shots.0.duration", float("nan"), "shots[0].duration", ""),
        ("shots.0.camera.framing", "closeup", "shots[0].camera.framing", "'close_up'"),
        ("shots.0.camera", {"framing": "wide", "keyframes": []}, "shots[0].camera", ""),
        ("shots.0.camera", {"framing": "over_the_shoulder"}, "shots[0].camera", "whose shoulder"),
        ("shots.0.camera.of", ["zoe"], "shots[0].camera", "Known: ada, bram"),
        ("shots.0.actors", {"zoe": {}}, "shots[0].actors.zoe", "Known: ada, bram"),
        ("shots.0.actors", {"ada": {"at": "moon"}}, "shots[0].actors.ada.at", "bar_keeper"),
        ("shots.0.actors", {"ada": {"facing": "moon"}}, "shots[0].actors.ada.facing", "bram"),
        ("shots.0.actors", {"ada": {"body": [{"clip": "Fly"}]}}, "shots[0].actors.ada.body", "Idle"),
        ("shots.0.actors", {"ada": {"body": [{"sit": "middle"}]}}, "shots[0].actors.ada.body", "seat_west_l"),
        ("shots.0.actors", {"ada": {"body": [{"at": 1}]}}, "shots[0].actors.ada.body[0]", "exactly one of clip"),
        ("shots.0.actors", {"ada": {"face": [{"emotion": "bored"}]}}, "shots[0].actors.ada.face[0].emotion", "'fear'"),
        ("shots.0.actors", {"ada": {"say": [{"at": 1, "for": 1}, {"for": 1}]}}, "actors.ada", "must not fall"),
    ],
)
def test_a_mistake_is_named_by_its_place(path: str, value: object, place: str, says: str) -> None:
    message = problems(path, value)
    assert place in message
    assert says in message


def test_what_is_no_mapping_is_refused() -> None:
    for text, says in (
        ("", "the file holds nothing, expected a mapping"),
        ("- a", "the file holds a list, expected a mapping"),
        ("7", "the file holds one value, expected a mapping"),
        ("title: X\nroom: [", "line 2, column 8: while parsing a flow node, expected the node content"),
        ("\x00", "special characters are not allowed"),
    ):
        with pytest.raises(ScriptError, match=re.escape(says)):
            read_script(text)


nested = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(
    key=st.sampled_from(["title", "room", "lights", "seed", "cast", "shots", "props", "captured", "other"]),
    value=nested,
)
def test_nothing_but_a_script_error_comes_of_nonsense(key: str, value: object) -> None:
    with contextlib.suppress(ScriptError):
        read_script(json.dumps({**SOUND, key: value}, default=str))


def test_the_schema_knows_every_shipped_script_s_fields() -> None:
    schema = json_schema()
    assert set(schema["properties"]) >= {"title", "room", "cast", "shots", "captured"}
    assert schema["additionalProperties"] is False
    assert "for" in schema["$defs"]["Line"]["properties"]


def test_shipped_scripts_round_trip() -> None:
    for name in shipped.names():
        script = shipped.load(name)
        assert Script.model_validate(script.model_dump(by_alias=True)) == script


def test_check_names_every_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(changed("shots.0.camera.framing", "closeup"), encoding="utf-8")
    assert main(["check", str(bad)]) == 1
    assert "shots[0].camera.framing" in capsys.readouterr().err
    assert main(["check", "no_such_script"]) == 1
    assert "tavern_dialogue" in capsys.readouterr().err
    assert main(["check", "tavern_dialogue"]) == 0
    assert "valid" in capsys.readouterr().out


def test_lists_without_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scripts"]) == 0
    assert len(capsys.readouterr().out.splitlines()) >= 4
    assert main(["scripts", "--json"]) == 0
    assert {script["name"] for script in json.loads(capsys.readouterr().out)} == set(shipped.names())
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "Script"
    assert main(["library", "tavern"]) == 0
    assert "bar_keeper" in capsys.readouterr().out
    assert main(["library", "--json"]) == 0
    assert "Idle" in json.loads(capsys.readouterr().out)["clips"]


def test_wrong_arguments_exit_with_two() -> None:
    for arguments in ([], ["play"], ["play", "x"], ["nonsense"]):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["play", "x", "-o", "y.mp4", "--seed", "-1"], f"found '-1', allowed are 0 to {2**64 - 1}"),
        (["play", "x", "-o", "y.mp4", "--seed", str(2**64)], "allowed are 0 to"),
        (["play", "x", "-o", "y.mp4", "--tenant", "caf\u00e9"], "1 to 64 characters of [A-Za-z0-9_-]"),
        (["render", "x", "--seed", "1.5"], "found '1.5'"),
        (["render", "x", "--rate-factor", "41"], "allowed are 1 to 40"),
        (["replay", "3f", "--verify", "--from", "-2"], "found '-2'"),
        (["replay", "3f", "--verify", "--camera", "1,2,3:a,b,c"], "a place has three numbers, X,Y,Z"),
        (["replay", "3f", "--verify", "--camera", "1,2,3:4,5,6:wide"], "'wide' is no number of degrees"),
        (["replay", "3f", "--verify", "--set", "cast.ada=mage/1,x,1"], "a tint has three numbers"),
        (["models", "--server", "nonsense"], "is not of the form host:port"),
        (["models", "--server", ""], "is not of the form host:port"),
        (["models", "--server", "http://127.0.0.1:50400"], "is not of the form host:port"),
        (["models", "--server", "127.0.0.1:99999"], "allowed are ports 1 to 65535"),
        (["models", "--server", "[::1]:0"], "allowed are ports 1 to 65535"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_allowed(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert says in capsys.readouterr().err


def test_a_lowest_tier_without_a_cadence_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["play", "tavern_dialogue", "-o", "y.mp4", "--lowest-tier", "draft"]) == 2
    assert "say --pacing too" in capsys.readouterr().err
