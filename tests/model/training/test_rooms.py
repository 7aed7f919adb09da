"""Rooms and looks, which need no asset packs: placements invert, limits hold, marks are free."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cutscene_model.scene import MAX_POINT_LIGHTS, ElementClass
from cutscene_model.training.assets import ALL, BY_NAME, asset_frame, place
from cutscene_model.training.rooms import HELD_OUT_ROOMS, ROOMS, TRAINING_ROOMS, build
from cutscene_model.training.space import Space
from cutscene_model.training.transforms import look_rotation, matrix_quaternion, quaternion_matrix
from cutscene_model.vocabulary import LOOKS


def test_the_table_names_the_vocabulary() -> None:
    assert tuple(look.name for look in ALL) == LOOKS
    assert len(set(LOOKS)) == len(LOOKS)
    assert all(1 <= len(look.parts) <= 5 for look in ALL)


@pytest.mark.parametrize("look", ["table/long", "seat/chair", "wall/plain", "stairs/stone", "barrel/small"])
def test_asset_frame_inverts_place(look: str) -> None:
    elements = place(look, (1.5, 0.25, -2.0), 0.7, scale=0.8)
    origin, rotation, scale = asset_frame(elements[0])
    np.testing.assert_allclose(origin, (1.5, 0.25 - BY_NAME[look].sink, -2.0), atol=1e-6)
    np.testing.assert_allclose(rotation, (0.0, math.sin(0.35), 0.0, math.cos(0.35)), atol=1e-6)
    np.testing.assert_allclose(scale, (0.8, 0.8, 0.8), atol=1e-6)
    assert [element.part for element in elements] == list(range(len(elements)))


@pytest.mark.parametrize("name", ROOMS)
@pytest.mark.parametrize("variant", [0, 3])
def test_a_room_keeps_the_limits(name: str, variant: int) -> None:
    room = build(name, variant)
    assert len(room.elements) < 200
    assert len({(e.element_class, e.look, e.tint) for e in room.elements}) <= 50
    assert any(e.element_class is ElementClass.FLOOR for e in room.elements)
    assert set(room.lights) == {"day", "sunset", "night", "torchlight"}
    for lights in room.lights.values():
        assert len(lights.points) <= MAX_POINT_LIGHTS
        assert np.linalg.norm(lights.sun_direction) == pytest.approx(1.0)
    assert len({mark.name for mark in room.marks}) == len(room.marks)


@pytest.mark.parametrize("name", ROOMS)
def test_marks_to_stand_on_are_free(name: str) -> None:
    for variant in range(12):
        room = build(name, variant)
        space = Space(room.elements, room.camera_area)
        for mark in room.marks_of("stand", "door"):
            assert space.standable(mark.position[0], mark.position[2], 0.25), (name, variant, mark.name)


def test_equal_variants_are_equal_and_others_differ() -> None:
    fresh = build.__wrapped__("tavern", 2)
    assert fresh == build("tavern", 2)
    assert fresh.elements != build("tavern", 3).elements


def test_held_out_rooms_are_not_for_training() -> None:
    assert len(TRAINING_ROOMS) >= 10
    assert not set(HELD_OUT_ROOMS) & set(TRAINING_ROOMS)


def test_look_rotation_looks_at_its_target() -> None:
    rng = np.random.default_rng(0)
    for eye, target in rng.normal(size=(40, 2, 3)):
        matrix = quaternion_matrix(look_rotation(eye, target))
        np.testing.assert_allclose(-matrix[:, 2], (target - eye) / np.linalg.norm(target - eye), atol=1e-9)
        assert abs(matrix[1, 0]) < 1e-9, "the camera is not level"
        np.testing.assert_allclose(quaternion_matrix(matrix_quaternion(matrix)), matrix, atol=1e-9)


def test_segments_and_boxes() -> None:
    crate = place("crate/large", (0.0, 0.0, 0.0), 0.4)
    space = Space(crate, (-5, -5, 5, 5))
    assert space.blocked((-3, 0.5, 0), (3, 0.5, 0))
    assert not space.blocked((-3, 0.5, 0), (-1.5, 0.5, 0)), "the segment ends before the crate"
    assert not space.blocked((-3, 2.5, 0), (3, 2.5, 0))
    assert space.touches((0, 0.5, 0), 0.0)
    assert not space.standable(0.2, 0.2)
    assert space.standable(3.0, 3.0)
