"""The pose prior: what it turns, what it does not depend on, and which files are refused."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutscene_model.pose_prior import FEATURES, PosePrior, rotations_of
from cutscene_model.skeleton import BONES, bone_rotations
from cutscene_model.vectors import rotation_matrix
from cutscene_model.volumes import VolumesError, read_volumes, write_volumes
from small_scenes import actor, ball_volume

REST = actor().joints
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
QUARTER = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float32)  # a quarter turn about x
quaternions = st.tuples(*(st.floats(-1, 1, width=32) for _ in range(4))).filter(lambda q: np.linalg.norm(q) > 0.1)


def prior(bone: str = "", width: int = 8, seed: int | None = None) -> PosePrior:
    """One that turns ``bone`` a quarter about its own x; with ``seed`` all that it says depends on the pose too."""
    random = np.random.default_rng(seed)
    strength = 0.0 if seed is None else 0.3
    last_bias = np.array(IDENTITY * len(BONES), np.float32)
    if bone:
        at = 6 * BONES.index(bone)
        last_bias[at : at + 6] = QUARTER[:, :2].T.ravel()

    def drawn(*shape: int) -> np.ndarray:
        return (strength * random.standard_normal(shape)).astype(np.float32)

    zeros = np.zeros(width, np.float32)
    return PosePrior(
        np.zeros(FEATURES, np.float32), np.ones(FEATURES, np.float32), drawn(FEATURES, width), zeros,
        drawn(width, width), zeros, drawn(width, 6 * len(BONES)), last_bias,
    )  # fmt: skip


def test_a_prior_turns_a_bone_in_its_own_frame_and_leaves_the_others() -> None:
    turned = bone_rotations(REST, REST, prior("hand_l"))
    for number, bone in enumerate(BONES):
        expected = QUARTER if bone == "hand_l" else np.eye(3)
        np.testing.assert_allclose(turned[number], expected, atol=1e-5)


@given(quaternions, st.floats(0.5, 2, width=32))
def test_what_is_guessed_depends_neither_on_place_and_heading_nor_on_size(q: tuple[float, ...], size: float) -> None:
    turn = rotation_matrix(np.asarray(q, np.float32) / np.linalg.norm(np.asarray(q, np.float32)))
    guess = prior(seed=1)
    here = bone_rotations(REST, REST, guess)
    moved = (size * REST @ turn.T + 3).astype(np.float32)
    there = bone_rotations(moved, REST, guess)
    np.testing.assert_allclose(there, turn @ here, atol=2e-2)


@given(st.lists(st.floats(-10, 10, width=32), min_size=6, max_size=6))
def test_six_numbers_make_a_rotation_or_nothing_worse_than_a_flat_one(six: list[float]) -> None:
    found = rotations_of(np.asarray([six], np.float32))[0]
    assert np.isfinite(found).all()
    assert (np.linalg.norm(found, axis=0) <= 1 + 1e-3).all()


def test_shapes_that_do_not_fit_are_refused() -> None:
    good = prior()
    with pytest.raises(ValueError, match="second_bias"):
        replace(good, second_bias=good.second_bias[1:])
    with pytest.raises(ValueError, match="not finite"):
        replace(good, last_bias=np.full_like(good.last_bias, np.nan))
    with pytest.raises(ValueError, match="deviation"):
        replace(good, deviation=np.zeros_like(good.deviation))


def test_it_travels_with_the_volumes(tmp_path: Path) -> None:
    path = tmp_path / "shapes.npz"
    volumes = replace(ball_volume("crate/large", samples=5), pose_prior=prior(seed=2))
    write_volumes(path, volumes)
    found = read_volumes(path).pose_prior
    assert found is not None
    for field in fields(PosePrior):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(volumes.pose_prior, field.name))
    fewer = replace(prior(), last=np.zeros((8, 6), np.float32), last_bias=np.zeros(6, np.float32))
    with pytest.raises(VolumesError, match=f"1 bones, not {len(BONES)}"):
        replace(volumes, pose_prior=fewer)
