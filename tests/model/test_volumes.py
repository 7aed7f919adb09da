"""The file of shape volumes: what is written reads back, and anything else is refused."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutscene_model.volumes import Volumes, VolumesError, no_volumes, read_volumes, write_volumes
from small_scenes import ball_volume


def test_volumes_read_back_as_they_were_written(tmp_path: Path) -> None:
    for volumes in (ball_volume("crate/large"), no_volumes()):
        write_volumes(tmp_path / "shapes.npz", volumes)
        back = read_volumes(tmp_path / "shapes.npz")
        for field in fields(Volumes):
            np.testing.assert_array_equal(getattr(back, field.name), getattr(volumes, field.name))


def test_volumes_follow_one_another_in_the_atlas() -> None:
    ball = ball_volume("crate/large", samples=5)
    twice: dict[str, Any] = {
        name: np.concatenate([getattr(ball, name)] * 2)
        for name in ("sizes", "low", "spacing", "element_box", "prop_box", "distance", "normal", "paint")
    }
    two = replace(ball, names=("a", "b"), **twice)
    assert two.first.tolist() == [0, 125]
    assert two.index == {"a": 0, "b": 1}


def test_arrays_that_do_not_fit_one_another_are_refused() -> None:
    ball = ball_volume("crate/large", samples=5)
    with pytest.raises(VolumesError, match="distance"):
        replace(ball, distance=ball.distance[:-1])
    with pytest.raises(VolumesError, match="rest_joints"):
        replace(ball, rest_joints=ball.rest_joints[:-1])


def test_a_volume_without_room_between_its_samples_is_refused(tmp_path: Path) -> None:
    ball = ball_volume("crate/large", samples=5)
    write_volumes(tmp_path / "flat.npz", replace(ball, spacing=np.zeros(1, np.float32)))
    with pytest.raises(VolumesError, match="spacing"):
        read_volumes(tmp_path / "flat.npz")


def test_pickles_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "evil.npz"
    with path.open("wb") as file:
        np.savez(file, names=np.array([{"a": 1}], dtype=object))
    with pytest.raises(VolumesError):
        read_volumes(path)


@given(st.binary(max_size=300))
def test_any_other_file_is_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("volumes") / "shapes.npz"
    path.write_bytes(content)
    with pytest.raises(VolumesError):
        read_volumes(path)
