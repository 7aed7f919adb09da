"""Lights that come again with every state are read once; what is remembered of them is bounded, and always right."""

from __future__ import annotations

import pytest

from cutscene_model.scene import MAX_POINT_LIGHTS
from cutscene_proto.v1 import scene_pb2
from cutscene_server.terms import Names
from cutscene_server.wire import scene
from cutscene_server.wire.violations import Violations
from messages import scene_state

NAMES = Names({}, {}, frozenset())


def lit(points: int = 1) -> scene_pb2.SceneState:
    state = scene_state(actors=0, props=0)
    state.lights.ClearField("points")
    for number in range(points):
        point = state.lights.points.add(range=2.5)
        point.position.x, point.position.y, point.position.z = 0.5 + number, 2.0, -1.5
        point.color.r, point.color.g, point.color.b = 3.0, 2.0, 1.0
    return state


def found(state: scene_pb2.SceneState, path: str = "state") -> tuple[object, list[str]]:
    violations = Violations()
    read = scene.read_state(violations, path, state, NAMES)
    return read.lights, [violation.field for violation in violations.found]


def test_the_same_lights_are_read_once_and_others_are_not_taken_for_them() -> None:
    first, _ = found(lit())
    again, _ = found(lit())
    assert again is first
    brighter = lit()
    brighter.lights.points[0].color.r = 3.5
    assert found(brighter)[0] != first


def test_what_is_wrong_is_named_where_it_stands_however_often_it_comes() -> None:
    wrong = lit(2)
    wrong.lights.points[1].range = 1000.0
    for path in ("state", "turn.lockstep.states[7]", "state"):
        assert found(wrong, path)[1] == [f"{path}.lights.points[1].range"]
    assert found(lit(MAX_POINT_LIGHTS + 1))[1] == ["state.lights.points"]


def test_as_many_lights_as_are_allowed_are_remembered_and_what_is_larger_is_not() -> None:
    assert found(lit(MAX_POINT_LIGHTS))[0] is found(lit(MAX_POINT_LIGHTS))[0]
    padded = lit()
    # A field that this version does not know: it is kept with the message, and would be kept with what is remembered.
    padded.lights.MergeFromString(bytes([15 << 3 | 2, 0x80, 0x08]) + bytes(1024))
    assert padded.lights.ByteSize() > scene.MOST_LIGHTS_BYTES
    expected, asked = found(lit()), scene._known_lights.cache_info()
    assert found(padded) == expected
    assert scene._known_lights.cache_info() == asked


@pytest.fixture(autouse=True)
def nothing_is_remembered() -> None:
    scene._known_lights.cache_clear()
