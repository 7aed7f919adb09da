"""Bone frames from joints: they follow whatever carries the skeleton, and swing the shortest way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutscene_model.scene import JOINT_INDEX
from cutscene_model.skeleton import BONE_JOINTS, BONES, bone_lengths, bone_rotations
from cutscene_model.vectors import rotation_matrix, shortest_turn
from small_scenes import actor

REST = actor().joints
quaternions = st.tuples(*(st.floats(-1, 1, width=32) for _ in range(4))).filter(lambda q: np.linalg.norm(q) > 0.1)
directions = st.tuples(*(st.floats(-1, 1, width=32) for _ in range(3))).filter(lambda v: np.linalg.norm(v) > 0.05)


def test_at_rest_no_bone_has_turned() -> None:
    np.testing.assert_allclose(bone_rotations(REST, REST), np.broadcast_to(np.eye(3), (len(BONES), 3, 3)), atol=1e-5)


@given(quaternions)
def test_a_body_that_turns_as_a_whole_turns_every_bone_alike(quaternion: tuple[float, ...]) -> None:
    q = np.asarray(quaternion, np.float32)
    turn = rotation_matrix(q / np.linalg.norm(q))
    turned = bone_rotations(REST @ turn.T + np.float32(3), REST)
    np.testing.assert_allclose(turned, np.broadcast_to(turn, turned.shape), atol=2e-3)


def test_a_raised_forearm_turns_alone_but_for_its_hand() -> None:
    raised = REST.copy()
    elbow = raised[JOINT_INDEX["elbow_l"]]
    raised[JOINT_INDEX["hand_l"]] = elbow + np.array([0, 0, 0.26], np.float32)
    turned = bone_rotations(raised, REST)
    start, end = BONE_JOINTS["forearm_l"]
    forward = turned[BONES.index("forearm_l")] @ (REST[end] - REST[start])
    np.testing.assert_allclose(forward / np.linalg.norm(forward), (0, 0, 1), atol=1e-4)
    others = [number for number, bone in enumerate(BONES) if bone not in ("forearm_l", "hand_l")]
    np.testing.assert_allclose(turned[others], np.broadcast_to(np.eye(3), (len(others), 3, 3)), atol=1e-5)


def test_lengths_are_those_between_a_bones_joints() -> None:
    lengths = dict(zip(BONES, bone_lengths(REST), strict=True))
    assert lengths["head"] == pytest.approx(0.96, abs=1e-5)
    assert lengths["hips"] == pytest.approx(0.56, abs=1e-5)


@given(directions, directions)
def test_the_shortest_turn_carries_one_direction_to_the_other(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    start, end = np.asarray(a, np.float32), np.asarray(b, np.float32)
    turn = shortest_turn(start, end)
    np.testing.assert_allclose(turn.T @ turn, np.eye(3), atol=3e-2)
    carried = turn @ (start / np.linalg.norm(start))
    np.testing.assert_allclose(carried, end / np.linalg.norm(end), atol=3e-2)
    assert np.linalg.det(turn) == pytest.approx(1, abs=3e-2)


def test_opposite_directions_are_half_a_turn_apart_and_nothing_turns_nothing() -> None:
    up = np.array([0, 1, 0], np.float32)
    np.testing.assert_allclose(shortest_turn(up, -up) @ up, -up, atol=1e-5)
    np.testing.assert_array_equal(shortest_turn(up, np.zeros(3, np.float32)), np.eye(3))
