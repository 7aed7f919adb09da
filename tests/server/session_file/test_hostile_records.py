"""Files that are whole, and say what no session has: each is refused by its place, in little memory."""

from __future__ import annotations

import io
import re
import tracemalloc
from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np
import pytest

from cutscene_model import scene_codec
from cutscene_server.errors import InvalidRequest
from cutscene_server.packed_scene import unpack_stage, unpack_state
from cutscene_server.session_file.reading import SessionReader

from .samples import MAX_FRAMES, MODEL, Parts, complaint, sample, written

SAMPLE = sample()
FILE = written(SAMPLE)
PARTS = Parts.of(FILE)
Bend = Callable[[Parts], object]


# ---- records --------------------------------------------------------------------------------------------------------


def set_opened(**changes: Any) -> Bend:
    return lambda parts: parts.opened.update(changes)


def set_turn(index: int, field: int, value: Any) -> Bend:
    return lambda parts: parts.turn(index).__setitem__(field, value)


def set_frame(index: int, field: int, value: Any) -> Bend:
    return lambda parts: parts.frame(index).__setitem__(field, value)


def one_turn(left_out: slice, first_frame: int = 0, frame_count: int = 7) -> Bend:
    """Leaves records out, so that one turn is left, and places that."""

    def bend(parts: Parts) -> None:
        del parts.records[left_out]
        parts.records[1][2:4] = [first_frame, frame_count]
        parts.manifest["turns"] = 1

    return bend


def bent_stage(bend: Callable[[list[Any]], object]) -> Bend:
    plain = scene_codec.stage_to_plain(unpack_stage(SAMPLE.packed_stage))
    bend(plain)
    return set_opened(stage=msgpack.packb(plain))


def bent_state(bend: Callable[[list[Any]], object]) -> bytes:
    plain = scene_codec.state_to_plain(unpack_state(SAMPLE.frames[3].packed_state))
    bend(plain)
    packed: bytes = msgpack.packb(plain)
    return packed


def referring(*seen: bytes | str) -> Bend:
    """A stage with reference pictures, which are these."""
    return bent_stage(lambda stage: stage.__setitem__(slice(None), [2, *stage[1:], list(seen)]))


RECORDS: dict[str, tuple[Bend, str]] = {
    "opened is a list": (lambda p: p.records.__setitem__(0, []), r"session\.open: is not a map"),
    "opened with a name more": (set_opened(token="x"), r"session\.open: is not a map"),  # noqa: S106
    "opened with a name less": (lambda p: p.opened.pop("seed"), r"session\.open: is not a map"),
    "an unknown codec": (set_opened(codec=7), r"open\.codec: found 7; allowed are 1 to 2"),
    "an unknown digest": (set_opened(pixel_digest=3), r"open\.pixel_digest: found 3; allowed are 1 to 2"),
    "a digest of text": (set_opened(pixel_digest="blake3"), r"open\.pixel_digest: found 'blake3'"),
    "an unknown tier": (set_opened(tier="ultra"), r"open\.tier: found 'ultra'; this model has draft, standard"),
    "a tier of another model": (set_opened(tier="high"), r"open\.tier: found 'high'"),
    "61 frames a second": (set_opened(fps=61.0), r"open\.fps: found 61; allowed are 1 to 60"),
    "no number of frames a second": (set_opened(fps=float("nan")), r"open\.fps: found nan"),
    "whole frames a second": (set_opened(fps=24), r"open\.fps: found 24; expected a float"),
    "quality 101": (set_opened(jpeg_quality=101), r"open\.jpeg_quality: found 101"),
    "quality 0": (set_opened(jpeg_quality=0), r"open\.jpeg_quality: found '0'; as a client's .* '90'"),
    "credit 257": (set_opened(frame_credit=257), r"open\.frame_credit: found 257"),
    "credit 0": (set_opened(frame_credit=0), r"open\.frame_credit: found '0'"),
    "budget 0": (set_opened(frame_budget=0), r"open\.frame_budget: found '0'"),
    "a negative seed": (set_opened(seed=-1), r"open\.seed: found -1"),
    "background is 1": (set_opened(background=1), r"open\.background: found 1; expected true or false"),
    "the stage is text": (set_opened(stage="floor"), r"open\.stage: found 'floor'"),
    "the stage is large": (set_opened(stage=bytes(300_000)), r"session\.open: is no record|open\.stage"),
    "the stage is noise": (set_opened(stage=b"\xc1\x00"), r"open\.stage: is not what a scene is stored as"),
    "a set of a later codec": (bent_stage(lambda s: s.__setitem__(0, 9)), r"open\.stage: .*version"),
    "five in the cast": (bent_stage(lambda s: s[1].extend(s[1] * 2)), r"open\.cast: found 6 items; allowed are 0 to 4"),
    "an id with a slash": (bent_stage(lambda s: s[1][0].__setitem__(0, "../x")), r"open\.cast\[0\]\.id"),
    "an unknown costume": (
        bent_stage(lambda s: s[1][0].__setitem__(1, "pirate")),
        r"cast\[0\]\.costume: found 'pirate'",
    ),
    "a tint of 9": (
        bent_stage(lambda s: s[1][0].__setitem__(3, [9.0, 1.0, 1.0])),
        r"open\.cast\[0\]\.tint\.r: found 9",
    ),
    "321 elements": (bent_stage(lambda s: s[2].extend(s[2] * 160)), r"open\.set\.elements: found 322 items"),
    "very many elements": (bent_stage(lambda s: s[2].extend([0] * 1000)), r"open\.stage: .*max_array_len"),
    "an unknown class": (bent_stage(lambda s: s[2][0].__setitem__(0, 99)), r"open\.stage: .*99"),
    "part 2^40": (bent_stage(lambda s: s[2][1].__setitem__(3, 1 << 40)), r"open\.set\.elements\[1\]\.part"),
    "a box without length": (
        bent_stage(lambda s: s[2][1][2].__setitem__(2, [0.0, 0.0, 0.0, 0.9995])),
        r"open\.elements\[1\]\.box\.rotation\[3\]: found '0\.9995'; as a client's it would have become '1\.0'",
    ),
    "a box at infinity": (
        bent_stage(lambda s: s[2][1][2].__setitem__(0, [1e300, 0.0, 0.0])),
        r"elements\[1\]\.box\.center\.x: found inf",
    ),
    "two props of one id": (bent_stage(lambda s: s[3][1].__setitem__(0, "prop-0")), r"props\[1\]\.id: .*twice"),
    "four references": (referring(*[bytes(16)] * 4), r"open\.references: found 4; this model takes 3"),
    "five references": (referring(*[bytes(16)] * 5), r"open\.stage: .*expected 1 to 4 items, got 5"),
    "no references, said so": (referring(), r"open\.stage: .*expected 1 to 4 items, got 0"),
    "a short reference": (
        referring(bytes(24), bytes(16)),
        r"open\.references\[1\]: found 16 bytes; this model keeps 24",
    ),
    "a large reference": (referring(bytes(5000)), r"open\.stage: .*max_bin_len"),
    "a reference of NaN": (referring(b"\xff" * 24), r"open\.references\[0\]: has numbers that are not finite"),
    "a reference of text": (referring("x" * 16), r"open\.stage: .*expected bytes"),
    # turns
    "a turn is a map": (lambda p: p.records.__setitem__(1, {}), r"turns\[0\]: is not a list of 8"),
    "turn numbers fall": (set_turn(1, 0, 3), r"turns\[1\]\.turn_number: found 3 after 3"),
    "a turn number that leaves none": (set_turn(2, 0, 1 << 53), r"turns\[2\]\.turn_number"),
    "a turn number of 2^64 - 1": (set_turn(2, 0, (1 << 64) - 1), r"turns\[2\]\.turn_number"),
    "a turn id with a space": (set_turn(0, 1, "a b"), r"turns\[0\]\.turn_id"),
    "a turn id twice": (set_turn(1, 1, "one"), r"turns\[1\]\.turn_id: found 'one' twice"),
    "a gap between turns": (set_turn(1, 2, 8), r"turns\[1\]\.first_frame: found 8, but the turn before it ends at 7"),
    "no frames": (set_turn(0, 3, 0), r"turns\[0\]\.frame_count: found 0"),
    "more frames than its states": (set_turn(1, 3, 6), r"turns\[1\]\.frame_count: found 6; its states are 5 frames"),
    "a cut of 2": (set_turn(0, 4, 2), r"turns\[0\]\.cut_before"),
    "a time of -1": (set_turn(0, 5, -1), r"turns\[0\]\.received_unix_us"),
    "an unknown kind": (set_turn(0, 6, "improvised"), r"found 'improvised'"),
    "states of what is drawn": (set_turn(0, 7, 1), r"turns\[0\]: found 'drawn' of 1 states"),
    "4097 states": (set_turn(1, 7, 4097), r"turns\[1\]\.states: found 4097"),
    "fewer states than said": (set_turn(1, 7, 6), r"turns\[1\]\.states\[5\]: is not a list of 1"),
    "a state of what is missing": (
        lambda p: p.records.__setitem__(3, [bent_state(lambda s: s[2][0].__setitem__(0, 7))]),
        r"turns\[1\]\.lockstep\.states\[0\]\.actors\[0\]\.cast_id: found 'number 7', which is not a member",
    ),
    "keyframes that fall": (
        lambda p: p.records[10].__setitem__(1, 0),
        r"turns\[2\]\.keyframed\.keyframes\[1\]\.offset_us: found 0 after 0",
    ),
    "keyframes beyond ten minutes": (lambda p: p.records[10].__setitem__(1, 1 << 40), r"offset_us: .*10 minutes"),
    "an unknown easing": (lambda p: p.records[9].__setitem__(2, 4), r"keyframes\[0\]\.easing: found 4"),
    "a turn that is not all drawn": (
        one_turn(slice(2, 11), frame_count=11),
        r"turns\[0\]: lies at frames 0 to 11 of a session with 10; those that are not drawn have their states",
    ),
    "turns that end before the frames": (
        one_turn(slice(2, 11)),
        r"turns: end at frame 7, but there are 10 frames",
    ),
    "a first turn beyond the frames": (
        one_turn(slice(1, 8), first_frame=20, frame_count=25),
        r"turns\[0\]\.first_frame: found 20, but there are 10 frames",
    ),
    # frames
    "a frame is text": (lambda p: p.records.__setitem__(11, "frame"), r"frames\[0\]: is not a list of 7"),
    "a frame twice": (
        set_frame(4, 0, 3),
        r"frames\[4\]\.frame_index: found 3; frames are numbered from 0 without gaps",
    ),
    "a frame of an unknown tier": (set_frame(4, 1, "high"), r"frames\[4\]\.tier: found 'high'"),
    "a cut as text": (set_frame(4, 2, "no"), r"frames\[4\]\.cut_before"),
    "a frame of turn -1": (set_frame(4, 3, -1), r"frames\[4\]\.turn_number: found -1"),
    "a state of 5 kB": (
        set_frame(4, 4, bytes(5000)),
        r"frames\[4\]\.state: found 5000 bytes; allowed are at most 4096",
    ),
    "a state of nothing": (set_frame(4, 4, b""), r"frames\[4\]\.state: is not what a scene is stored as"),
    "a state and more": (set_frame(4, 4, SAMPLE.frames[4].packed_state + b"\0"), r"frames\[4\]\.state: is not what"),
    "a short digest": (set_frame(4, 5, bytes(15)), r"frames\[4\]\.pixel_digest: found 15 bytes"),
    "no figures": (set_frame(4, 6, []), r"frames\[4\]\.figures: is not a list of frame_index"),
    "another frame's figures": (
        set_frame(4, 6, list(SAMPLE.frames[3].figures)),
        r"frames\[4\]\.figures: are of frame 3",
    ),
    "figures of text": (
        lambda p: p.frame(4)[6].__setitem__(3, "1"),
        r"frames\[4\]\.figures\.blocks_computed: found '1'",
    ),
    "a frame missing": (lambda p: p.records.pop(), r"frames\[9\]: is missing"),
    "a record too many": (lambda p: p.records.append(None), r"file\.session: goes on after its last frame"),
}


@pytest.mark.parametrize("name", RECORDS)
def test_what_no_client_s_session_has(name: str) -> None:
    bend, says = RECORDS[name]
    parts = PARTS.copy()
    bend(parts)
    found = complaint(parts.packed())
    assert re.search(says, found)
    assert found.startswith("file.session")


STATES: dict[str, tuple[Callable[[list[Any]], object], str]] = {
    "a wide view": (lambda s: s[1].__setitem__(2, 3.0), r"camera\.vertical_fov: found 3; .* 0\.1 to 2\.5 radians"),
    "no number": (lambda s: s[1].__setitem__(2, float("nan")), r"camera\.vertical_fov: found nan"),
    "a truth": (lambda s: s[1].__setitem__(2, True), r"state: is not what a scene is stored as: .*expected a number"),
    "a short rotation": (lambda s: s[1].__setitem__(1, [0.0, 0.0, 0.0, 0.5]), r"camera\.rotation: .*unit length"),
    "nearly a rotation": (lambda s: s[1].__setitem__(1, [0.0, 0.0, 0.0, 0.9995]), r"camera\.rotation\[3\]: found"),
    "far away": (lambda s: s[1].__setitem__(0, [1e5, 0.0, 0.0]), r"camera\.position\.x"),
    "an actor twice": (lambda s: s[2].append(s[2][0]), r"actors\[1\]\.cast_id: found 'actor-0' twice"),
    "an actor who is nobody": (lambda s: s[2][0].__setitem__(0, -1), r"actors\[0\]\.cast_id: found 'number -1'"),
    "an actor of number 2^63": (lambda s: s[2][0].__setitem__(0, 1 << 63), r"actors\[0\]\.cast_id"),
    "few joints": (lambda s: s[2][0].__setitem__(1, bytes(227)), r"state: .*joints"),
    "a joint that is none": (
        lambda s: s[2][0].__setitem__(1, np.full(57, np.nan, "<f4").tobytes()), r"actors\[0\]\.joints\[0\]: found nan"
    ),
    "an emotion of another model": (lambda s: s[2][0].__setitem__(2, 5), r"actors\[0\]\.emotion: found surprise"),
    "an unknown emotion": (lambda s: s[2][0].__setitem__(2, 1 << 62), r"actors\[0\]\.emotion"),
    "a negative emotion": (lambda s: s[2][0].__setitem__(2, -5), r"actors\[0\]\.emotion"),
    "an intensity of 2": (lambda s: s[2][0].__setitem__(3, 2.0), r"actors\[0\]\.intensity: found 2"),
    "a hint for training": (
        lambda s: s[2][0].__setitem__(5, ["walk", 0.0, [0.0, 0.0, 0.0], 0.0]), r"actors\[0\]\.hint: found .*StageHint"
    ),
    "a prop that is nothing": (lambda s: s[3][0].__setitem__(0, 9), r"props\[0\]\.prop_id: found 'number 9'"),
    "five point lights": (
        lambda s: s[4].__setitem__(4, [[[0.0] * 3, [0.0] * 3, 1.0]] * 5), r"lights\.points: found 5 items"
    ),
    "very bright": (lambda s: s[4].__setitem__(0, [6.0, 0.0, 0.0]), r"lights\.ambient\.r: found 6"),
    "the sun from nowhere": (lambda s: s[4].__setitem__(1, [0.0, 0.0, 0.0]), r"lights\.sun_direction"),
    "another codec version": (lambda s: s.__setitem__(0, 2), r"state: .*codec version"),
    "a list of lists of lists": (
        lambda s: s.__setitem__(2, [[[[[[[[[[]]]]]]]]]]), r"state: is not what a scene is stored as"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STATES)
def test_states_that_could_not_have_come_over_the_wire(name: str) -> None:
    bend, says = STATES[name]
    parts = PARTS.copy()
    parts.frame(6)[4] = bent_state(bend)
    assert re.search(r"file\.session\.frames\[6\]\." + (says if says.startswith("state") else r"state\." + says),
                     complaint(parts.packed()))  # fmt: skip


# ---- bombs ----------------------------------------------------------------------------------------------------------


BOMBS = {
    "a list of 2^32 items": b"\xdd\xff\xff\xff\xff",
    "a map of 2^32 items": b"\xdf\xff\xff\xff\xff",
    "4 GiB of bytes": b"\xc6\xff\xff\xff\xff",
    "4 GiB of text": b"\xdb\xff\xff\xff\xff",
    "a large extension": b"\xc9\xff\xff\xff\xff\x01",
    "lists in lists": b"\x91" * 400_000,
    "long lists in lists": b"\xdc\x00\x20" * 100_000,
    "longer lists in lists": b"\xdd\x00\x01\x00\x00" * 100_000,
    "a list of very many lists": b"\xdc\x00\x20" + b"\x9f" * 500_000,
    "a time": b"\xd6\xff\x00\x00\x00\x00",
    "text that is none": b"\xa2\xff\xff",
    "a key that is a list": b"\x81\x90\x90",
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("place", ["record", "stage", "state"])
def test_records_that_ask_for_much_get_little(name: str, place: str) -> None:
    bomb = BOMBS[name]
    parts = PARTS.copy()
    if place == "record":
        file = parts.packed(session=bomb)
    else:
        bomb = bomb[: 4000 if place == "state" else 200_000]
        (set_opened(stage=bomb) if place == "stage" else set_frame(0, 4, bomb))(parts)
        file = parts.packed()
    tracemalloc.start()
    try:
        assert "file.session." in complaint(file)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 << 20


def test_turns_that_would_wait_with_too_many_bytes() -> None:
    most = sum(len(turn.packed_run or b"") for turn in SAMPLE.turns)
    assert len(list(SessionReader(io.BytesIO(FILE), MODEL, MAX_FRAMES, most).turns())) == 3
    with pytest.raises(InvalidRequest, match=rf"turns\[2\]: what is left to draw up to here has over {most - 1} bytes"):
        list(SessionReader(io.BytesIO(FILE), MODEL, MAX_FRAMES, most - 1).turns())
