"""Shape volumes fitted to meshes: exact for a box, whole where a mesh is open, and those that ship are these."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from cutscene_model.loading import SHIPPED_WEIGHTS, VOLUMES_FILE
from cutscene_model.skeleton import BONES
from cutscene_model.training.assets import BY_NAME
from cutscene_model.training.set_mesh import SetMeshes, texture_layers
from cutscene_model.training.volumes import Solid, fit, look_solid
from cutscene_model.vocabulary import COSTUMES, LOOKS, WITH_HEADGEAR
from cutscene_model.volumes import DISTANCE_STEPS, GLOWS, UNTINTED, Volumes, read_volumes

_FACES = [
    ((0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 0)),  # -x
    ((1, 0, 0), (1, 1, 0), (1, 1, 1), (1, 0, 1)),  # +x
    ((0, 0, 0), (1, 0, 0), (1, 0, 1), (0, 0, 1)),  # -y
    ((0, 1, 0), (0, 1, 1), (1, 1, 1), (1, 1, 0)),  # +y
    ((0, 0, 0), (0, 1, 0), (1, 1, 0), (1, 0, 0)),  # -z
    ((0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)),  # +z
]


def box_solid(faces: list[int], sheet: bool = False) -> Solid:
    """Some faces of the unit cube, wound outwards, in red."""
    quads = np.asarray([_FACES[face] for face in faces], np.float64)
    corners = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return Solid(
        "box",
        corners,
        np.repeat(normals[:, None], 3, axis=1),
        np.zeros((len(corners), 3, 2)),
        np.full((1, 1, 3), (200, 10, 10), np.uint8),
        np.full(len(corners), GLOWS, np.uint8),
        np.full(len(corners), sheet),
        0.05,
        (0.0,) * 6,
        (0.0,) * 6,
    )


def places(solid: Solid) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Where each sample lies (x, y, z, 3), and its distance in metres."""
    fitted = fit(solid)
    index = np.moveaxis(np.indices(fitted.distance.shape), 0, -1)
    return fitted.low + index * solid.spacing, fitted.distance / DISTANCE_STEPS * solid.spacing


def test_a_closed_boxs_distances_are_exact_near_it_and_negative_inside() -> None:
    place, distance = places(box_solid([0, 1, 2, 3, 4, 5]))
    outward = np.abs(place - 0.5) - 0.5
    truth = np.linalg.norm(np.maximum(outward, 0), axis=-1) + np.minimum(outward.max(axis=-1), 0)
    near = np.abs(truth) < 0.12
    np.testing.assert_allclose(distance[near], truth[near], atol=0.003)
    assert (np.sign(distance) == np.sign(truth))[np.abs(truth) > 0.004].all()
    assert (np.abs(distance) <= np.abs(truth) + 0.003).all(), "never further than the surface, or rays would pass it"


def test_a_box_without_a_bottom_is_still_solid() -> None:
    place, distance = places(box_solid([0, 1, 3, 4, 5]))
    middle = (np.abs(place - 0.5) < 0.2).all(axis=-1)
    assert (distance[middle] < 0).all()
    assert (distance[place[..., 1] > 1.01] > 0).all()


def test_a_sheet_is_a_shell_one_sample_thick() -> None:
    for solid in (box_solid([3]), box_solid([3], sheet=True)):
        place, distance = places(solid)
        inside = distance < 0
        assert inside.any()
        assert (np.abs(place[..., 1][inside] - 1) < 0.5 * 0.05 + 1e-6).all()


def test_samples_near_the_surface_carry_its_colour_normal_and_flags() -> None:
    solid = box_solid([0, 1, 2, 3, 4, 5])
    fitted = fit(solid)
    place, distance = places(solid)
    above = (
        (np.abs(place[..., 1] - 1.05) < 0.02)
        & (np.abs(place[..., 0] - 0.5) < 0.3)
        & (np.abs(place[..., 2] - 0.5) < 0.3)
    )
    assert (fitted.paint[above] == (200, 10, 10, GLOWS)).all()
    assert (fitted.normal[above] == (0, 126, 0)).all()
    assert not fitted.paint[np.abs(distance) > 0.2].any()


@pytest.fixture(scope="module")
def shipped() -> Volumes:
    return read_volumes(SHIPPED_WEIGHTS / VOLUMES_FILE)


def test_every_look_and_every_bone_of_every_costume_has_a_volume(shipped: Volumes) -> None:
    bones = {f"{costume}:{bone}" for costume in COSTUMES for bone in BONES}
    bare = {f"{costume}:headgear" for costume in set(COSTUMES) - set(WITH_HEADGEAR)}
    assert set(shipped.names) == set(LOOKS) | (bones - bare)


def test_skin_is_never_tinted_and_only_lamps_glow(shipped: Volumes) -> None:
    for name, place in shipped.index.items():
        first = int(shipped.first[place])
        flags = shipped.paint[first : first + int(shipped.sizes[place].prod()), 3]
        assert (flags & UNTINTED).any() == name.endswith(":head"), name
        if (flags & GLOWS).any():
            assert name.startswith("lamp/") or name == "shelf/candles", name


@pytest.mark.slow
@pytest.mark.parametrize("look", ["clutter/mug", "banner/blue", "weapon/sword_1h"])
def test_the_shipped_volumes_are_those_of_the_packs(assets: Path, shipped: Volumes, look: str) -> None:
    fitted = fit(look_solid(BY_NAME[look], SetMeshes(assets), texture_layers(assets)))
    place = shipped.index[look]
    first = int(shipped.first[place])
    assert tuple(shipped.sizes[place]) == fitted.distance.shape
    chosen = slice(first, first + fitted.distance.size)
    np.testing.assert_allclose(shipped.distance[chosen], fitted.distance.ravel(), atol=1)
    assert (shipped.paint[chosen] == fitted.paint.reshape(-1, 4)).all(axis=1).mean() > 0.999
