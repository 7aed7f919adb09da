"""Whatever the scene values hold comes back from msgpack unchanged; anything else is refused."""

from __future__ import annotations

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cutscene_model.scene import (
    EMOTIONS,
    JOINTS,
    ActorState,
    Box,
    Camera,
    CastMember,
    ElementClass,
    Lights,
    PointLight,
    Prop,
    PropState,
    SceneState,
    SetElement,
    Stage,
    StageHint,
)
from cutscene_model.scene_codec import stage_from_plain, stage_to_plain, state_from_plain, state_to_plain

number = st.floats(-1e6, 1e6, allow_nan=False)
three = st.tuples(number, number, number)
four = st.tuples(number, number, number, number)
text = st.text(max_size=12)
classes = st.sampled_from(ElementClass)
joints = hnp.arrays(np.float32, (len(JOINTS), 3), elements=st.floats(-100, 100, width=32))

stages = st.builds(
    Stage,
    st.lists(st.builds(CastMember, text, text, st.booleans(), three, st.none() | four), max_size=2).map(tuple),
    st.lists(
        st.builds(SetElement, classes, text, st.builds(Box, three, three, four), st.integers(0, 7), three), max_size=3
    ).map(tuple),
    st.lists(st.builds(Prop, text, classes, text, three, three), max_size=2).map(tuple),
    st.lists(st.binary(max_size=8), max_size=4).map(tuple),
)
hints = st.builds(StageHint, text, number, three, number)
actors = st.builds(
    ActorState, st.integers(0, 3), joints, st.integers(0, len(EMOTIONS) - 1), number, number, st.none() | hints
)
states = st.builds(
    SceneState,
    st.builds(Camera, three, four, number),
    st.lists(actors, max_size=2).map(tuple),
    st.lists(st.builds(PropState, st.integers(0, 15), three, four), max_size=2).map(tuple),
    st.builds(
        Lights,
        three,
        three,
        three,
        three,
        st.lists(st.builds(PointLight, three, three, number), max_size=4).map(tuple),
    ),
)


def through_msgpack(plain: object) -> object:
    return msgpack.unpackb(msgpack.packb(plain))


@settings(max_examples=60, deadline=None)
@given(stages)
def test_a_stage_comes_back(stage: Stage) -> None:
    assert stage_from_plain(through_msgpack(stage_to_plain(stage))) == stage


@settings(max_examples=60, deadline=None)
@given(states)
def test_a_state_comes_back(state: SceneState) -> None:
    back = state_from_plain(through_msgpack(state_to_plain(state)))
    assert (back.camera, back.props, back.lights) == (state.camera, state.props, state.lights)
    for actor, original in zip(back.actors, state.actors, strict=True):
        np.testing.assert_array_equal(actor.joints, original.joints)
        assert (actor.cast_index, actor.emotion, actor.intensity) == (
            original.cast_index,
            original.emotion,
            original.intensity,
        )
        assert (actor.mouth_open, actor.hint) == (original.mouth_open, original.hint)


@pytest.mark.parametrize(
    "plain",
    [
        None,
        [],
        [99, [], [], []],
        [1, [["id", "knight", "yes", [1, 1, 1], None]], [], []],
        [1, [], [[1, "floor/tile", [[0, 0], [1, 1, 1], [0, 0, 0, 1]], 0, [1, 1, 1]]], []],
        [1, [], [[77, "floor/tile", [[0, 0, 0], [1, 1, 1], [0, 0, 0, 1]], 0, [1, 1, 1]]], []],
        [1, [], [], [["id", 13, 5, [1, 1, 1], [1, 1, 1]]]],
    ],
)
def test_what_is_no_stage_is_refused(plain: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - which message is not the point
        stage_from_plain(plain)


def test_joints_of_another_skeleton_are_refused() -> None:
    plain = state_to_plain(
        SceneState(Camera((0, 0, 0), (0, 0, 0, 1), 0.7), (ActorState(0, np.zeros((19, 3), np.float32)),))
    )
    plain[2][0][1] = plain[2][0][1][:-4]
    with pytest.raises(ValueError, match="joints"):
        state_from_plain(plain)
