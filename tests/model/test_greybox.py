"""The greybox raster against projections and intersections computed by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cutscene_model.greybox import ASPECT, FIELD_CHANNELS, HEIGHT, WIDTH, Greybox, GreyboxRaster
from cutscene_model.primitives import BOX_PART, HEAD_PART, set_slots
from cutscene_model.raycast import camera_view
from cutscene_model.scene import (
    Box,
    Camera,
    ElementClass,
    FloatArray,
    Lights,
    PointLight,
    SceneState,
    SetElement,
    Stage,
)
from cutscene_model.skeleton import BONES
from cutscene_model.surface import display
from cutscene_model.vectors import frame_along, rotation_matrix
from cutscene_model.volumes import DISTANCE_STEPS, Volumes, no_volumes
from small_scenes import CRATE, FLOOR, actor, ball_volume, stage, state

FRONT = Camera(
    (0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0), math.pi / 2
)  # half the picture's height is one metre at one metre


def box_stage(center: tuple[float, float, float], half: tuple[float, float, float]) -> Stage:
    return Stage((), (SetElement(ElementClass.WALL, "crate/large", Box(center, half)),))


def raster(stage: Stage, volumes: Volumes | None = None) -> GreyboxRaster:
    """Boxes and capsules, unless ``volumes`` say more."""
    return GreyboxRaster(stage, no_volumes() if volumes is None else volumes)


def world_of(greybox: Greybox, camera: Camera = FRONT) -> FloatArray:
    """(3, rows, columns) metres: where each cell lies, told from its depth."""
    inverse = np.maximum(greybox.field[channel("inverse_depth")], 1e-6)
    view = camera_view(camera, WIDTH, HEIGHT, ASPECT)
    v, u = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    across, up = (u / WIDTH * 2 - 1) * view.half_width, (1 - v / HEIGHT * 2) * view.half_height
    rays = np.einsum("ij,jyx->iyx", view.rotation, np.stack([across, up, -np.ones_like(u)]))
    world: FloatArray = (view.origin[:, None, None] + rays * (1 / inverse - 1)).astype(np.float32)
    return world


def channel(name: str) -> int:
    return FIELD_CHANNELS.index(name)


def test_a_box_covers_the_cells_that_its_projection_covers() -> None:
    # The front face, at depth 4, reaches 1 m to each side: 1/4 of the half height, 1/4 / aspect of the half width.
    greybox = raster(box_stage((0, 0, -5), (1, 1, 1))).draw(SceneState(FRONT))
    rows, columns = np.nonzero(greybox.slot)
    middle_x, middle_y = WIDTH / 2, HEIGHT / 2
    assert rows.min() == middle_y - HEIGHT / 2 / 4
    assert rows.max() + 1 == middle_y + HEIGHT / 2 / 4
    half_columns = WIDTH / 2 / 4 / ASPECT
    assert columns.min() == math.ceil(middle_x - half_columns - 0.5)
    assert columns.max() == math.floor(middle_x + half_columns - 0.5)


def test_depth_is_along_the_viewing_axis() -> None:
    greybox = raster(box_stage((0, 0, -5), (3, 3, 1))).draw(SceneState(FRONT))
    inverse = greybox.field[channel("inverse_depth")]
    seen = greybox.slot > 0
    np.testing.assert_allclose(inverse[seen], 1 / (1 + 4.0), rtol=1e-3)  # the same over a face that is square to it
    assert (inverse[~seen] == 0).all()


def test_local_positions_span_the_face_and_normals_point_at_the_camera() -> None:
    greybox = raster(box_stage((0, 0, -5), (1, 1, 1))).draw(SceneState(FRONT))
    seen = greybox.slot > 0
    local_x = greybox.field[channel("local_x")][seen]
    local_z = greybox.field[channel("local_z")][seen]
    assert local_x.min() < -0.9
    assert local_x.max() > 0.9
    np.testing.assert_allclose(local_z, 1.0, atol=2e-3)
    np.testing.assert_allclose(greybox.field[channel("normal_z")][seen], 1.0, atol=1e-3)


def test_world_positions_are_those_of_the_surface() -> None:
    greybox = raster(box_stage((2, 1, -7), (1.5, 1.5, 0.5))).draw(SceneState(FRONT))
    seen = greybox.slot > 0
    world = world_of(greybox)[:, seen]
    assert world[0].min() >= 0.5 - 0.01
    assert world[0].max() <= 3.5 + 0.01
    facing = greybox.field[channel("normal_z")][seen] > 0.5
    np.testing.assert_allclose(world[2][facing], -6.5, atol=0.01)


def test_a_head_is_a_ball_of_the_costumes_radius() -> None:
    scene = replace(state(actors=1), actors=(actor(0),), camera=Camera((0, 1.72, 4.0), (0, 0, 0, 1), 0.8))
    bare = Stage((replace(stage(1).cast[0], headgear=False),), ())
    greybox = raster(bare).draw(scene)
    head = greybox.part == HEAD_PART
    rows, columns = np.nonzero(head)
    # A ball of radius r at distance d spans asin(r / d) to each side.
    tangent = math.tan(math.asin(0.54 / 4.0))
    expected = tangent / (math.tan(0.4) * ASPECT) * WIDTH / 2
    assert abs((columns.max() - columns.min() + 1) / 2 - expected) <= 1
    assert abs((columns.max() + columns.min() + 1) / 2 - WIDTH / 2) <= 1
    forward = greybox.field[channel("local_z")][head]
    assert forward.max() == pytest.approx(0.54, abs=0.02)  # metres: the nose side of the head faces the camera
    assert rows.size > 100


def test_nearer_things_hide_farther_ones_whatever_the_order() -> None:
    near = SetElement(ElementClass.WALL, "wall/plain", Box((0, 0, -3), (0.5, 0.5, 0.1)))
    far = SetElement(ElementClass.FLOOR, "floor/tile", Box((0, 0, -6), (15, 5, 0.1)))
    for elements in ((near, far), (far, near)):
        set_ = Stage((), elements)
        slots = dict(zip((e.look for e in elements), set_slots(set_)[1], strict=True))
        greybox = raster(set_).draw(SceneState(FRONT))
        assert greybox.slot[HEIGHT // 2, WIDTH // 2] == slots["wall/plain"]
        assert greybox.slot[HEIGHT // 2, 5] == slots["floor/tile"]


def test_a_box_around_the_camera_is_not_drawn_and_one_behind_it_neither() -> None:
    behind = raster(box_stage((0, 0, 5), (1, 1, 1))).draw(SceneState(FRONT))
    assert not behind.slot.any()
    around = raster(box_stage((0, 0, 0), (1, 1, 1))).draw(SceneState(FRONT))
    assert not around.slot.any()


def test_a_box_that_reaches_behind_the_camera_keeps_its_visible_part() -> None:
    greybox = raster(box_stage((0, -1.5, 0), (2, 0.5, 20))).draw(SceneState(FRONT))
    assert greybox.slot[-1].all()  # the bottom row looks down at its top face
    assert not greybox.slot[0].any()


def test_a_look_with_a_volume_fills_its_box_with_it() -> None:
    # A ball of radius one in a box twice as wide as it is high: an ellipsoid.
    greybox = raster(box_stage((0, 0, -8), (2, 1, 1)), ball_volume("crate/large")).draw(SceneState(FRONT))
    seen = greybox.slot > 0
    rows, columns = np.nonzero(seen)
    # A ball of radius r at distance d spans tan(asin(r / d)); across, the map to the picture is stretched.
    half_rows = math.tan(math.asin(1 / 8)) * HEIGHT / 2
    assert abs((rows.max() - rows.min() + 1) / 2 - half_rows) <= 1
    half_columns = math.tan(math.asin(2 / 8)) / ASPECT * WIDTH / 2
    assert abs((columns.max() - columns.min() + 1) / 2 - half_columns) <= 2
    local = greybox.field[channel("local_x") : channel("local_z") + 1][:, seen]
    np.testing.assert_allclose(np.sqrt((local**2).sum(axis=0)), 1, atol=0.02)
    normal = greybox.field[channel("normal_x") : channel("normal_z") + 1][:, seen]
    expected = local / np.array([2, 1, 1])[:, None]
    expected /= np.sqrt((expected**2).sum(axis=0))
    assert np.quantile((normal * expected).sum(axis=0), 0.05) > 0.97
    assert (greybox.sample[seen] >= 0).all()
    assert (greybox.sample[~seen] == -1).all()


def test_a_thin_cloth_is_seen_from_however_low_the_camera_looks() -> None:
    # A slab whose samples are white where they lie over its top, and brown below.
    size = 21
    up = np.broadcast_to(np.arange(size)[None, :, None] - 10.3, (size, size, size))
    paint = np.zeros((size**3, 4), np.uint8)
    paint[up.ravel() > 0.4, :3] = 255
    normal = np.zeros((size**3, 3), np.int8)
    normal[:, 1] = 126
    slab = replace(
        ball_volume("crate/large", samples=size),
        distance=np.clip(np.round(up * DISTANCE_STEPS), -127, 127).astype(np.int8).ravel(),
        normal=normal,
        paint=paint,
    )
    low = Camera((0.0, 0.12, 4.0), (0.0, 0.0, 0.0, 1.0), 0.3)
    greybox = raster(box_stage((0, 0, 0), (1, 1, 1)), slab).draw(SceneState(low))
    top = (greybox.sample >= 0) & (greybox.field[channel("normal_y")] > 0.9)
    top &= greybox.field[channel("local_y")] > 0  # not its side
    assert top.sum() > 100
    assert (slab.paint[greybox.sample[top], 0] == 255).mean() > 0.99


def test_surfaces_inside_a_solid_are_not_seen() -> None:
    # Meshes run through one another: inside, the distance to the nearest triangle may be nothing at all. A ray's long
    # steps must not take such a place for the outside.
    ball = ball_volume("crate/large")
    x, _, z = np.meshgrid(*[np.linspace(-1.2, 1.2, 41)] * 3, indexing="ij")
    slab = (np.abs(z) - 0.15) / ball.spacing[0]
    crossed = np.minimum(np.abs(slab), np.abs(z - 0.1 * x) / ball.spacing[0])  # a slanting sheet runs through the slab

    def depths(distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        stored = np.clip(np.round(distance * DISTANCE_STEPS), -127, 127).astype(np.int8).ravel()
        greybox = raster(box_stage((0, 0, -3), (1, 1, 1)), replace(ball, distance=stored)).draw(SceneState(FRONT))
        found: npt.NDArray[np.float32] = greybox.field[channel("inverse_depth")]
        return found

    np.testing.assert_allclose(depths(np.where(slab < 0, -crossed, slab)), depths(slab), atol=3e-3)


def test_a_costumes_volume_rides_on_its_bone() -> None:
    # The head's volume is a ball about the neck's joint; the other bones remain capsules.
    scene = replace(state(actors=1), actors=(actor(0),), camera=Camera((0, 1.24, 4.0), (0, 0, 0, 1), 0.8))
    greybox = raster(Stage(stage(1).cast, ()), ball_volume("knight:head")).draw(scene)
    head = greybox.part == HEAD_PART
    rows = np.nonzero(head)[0]
    half = math.tan(math.asin(1 / 4)) / math.tan(0.4) * HEIGHT / 2
    assert abs((rows.max() - rows.min() + 1) / 2 - half) <= 2
    assert abs((rows.max() + rows.min() + 1) / 2 - HEIGHT / 2) <= 2
    assert (greybox.sample[head] >= 0).all()
    assert (greybox.sample[(greybox.slot > 0) & ~head] == -1).all()


def test_volumes_turn_with_their_boxes() -> None:
    turned = SetElement(ElementClass.WALL, "crate/large", Box((1, 0, -6), (2, 1, 1), (0.0, 0.0, 1.0, 0.0)))
    upright = replace(turned, box=Box((-1, 0, -6), (2, 1, 1)))
    volumes = ball_volume("crate/large", notch=True)
    first = raster(Stage((), (turned,)), volumes).draw(SceneState(FRONT))
    second = raster(Stage((), (upright,)), volumes).draw(SceneState(FRONT))
    differing = (first.slot != second.slot[::-1, ::-1]).sum()
    assert differing <= 0.01 * (first.slot > 0).sum()


def test_a_camera_inside_a_solid_volume_looks_out_of_it() -> None:
    around = raster(box_stage((0, 0, 0), (1, 1, 1)), ball_volume("crate/large")).draw(SceneState(FRONT))
    assert not around.slot.any()


def test_slots_are_shared_by_equal_looks_and_numbered_in_order_of_appearance() -> None:
    looks, elements, props = set_slots(Stage((), (FLOOR, CRATE, FLOOR)))
    assert [look for _, look, _ in looks] == ["floor/tile", "crate/large"]
    assert elements == [5, 6, 5]
    assert props == []


def test_parts_tell_bones_and_boxes_apart() -> None:
    greybox = raster(stage()).draw(state())
    parts = set(np.unique(greybox.part)) - {0}
    assert HEAD_PART in parts
    assert 1 + BONES.index("chest") in parts
    assert BOX_PART in parts
    assert set(np.unique(greybox.slot[greybox.part == HEAD_PART])) == {1, 2}


def test_the_sun_is_shadowed_under_a_roof_and_not_beside_it() -> None:
    roof = SetElement(ElementClass.WALL, "wall/plain", Box((-3.0, 3.0, 0.0), (2.5, 0.1, 5.0)))
    lights = Lights((0, 0, 0), (0.0, -1.0, 0.0), (1, 1, 1))
    camera = Camera((0.0, 1.5, 5.0), (-0.1305262, 0.0, 0.0, 0.9914449), 1.0)
    greybox = raster(Stage((), (FLOOR, roof))).draw(SceneState(camera, (), (), lights))
    floor = greybox.slot == 5
    x, _, z = world_of(greybox, camera)
    shadow = greybox.field[channel("shadow")]
    under = floor & (x < -1.5) & (x > -4.5) & (np.abs(z) < 4)
    assert under.any()
    assert shadow[under].max() == 0
    assert shadow[floor & (x > 0.5)].min() == 1


def test_irradiance_follows_the_stages_formula() -> None:
    light = PointLight((0.0, 0.0, -2.0), (2.0, 1.0, 0.5), 10.0)
    lights = Lights((0.2, 0.3, 0.4), (0.0, -1.0, 0.0), (0, 0, 0), (0, 0, 0), (light,))
    greybox = raster(box_stage((0, 0, -5), (4, 4, 1))).draw(SceneState(FRONT, (), (), lights))
    row, column = HEIGHT // 2, WIDTH // 2
    got = greybox.field[channel("irradiance_r") :, row, column] * 2
    # The wall faces the camera (normal.y = 0) at depth 4: two metres from the light, all but square to it.
    world = world_of(greybox)[:, row, column]
    toward = np.asarray(light.position) - world
    squared = float(toward @ toward)
    cosine = toward[2] / math.sqrt(squared)
    fade = (1 - math.sqrt(squared) / 10) ** 2 / (1 + squared)
    np.testing.assert_allclose(
        got, 0.7 * np.asarray(lights.ambient) + fade * cosine * np.asarray(light.color), rtol=0.01
    )


def test_faces_reach_the_actor_channels_by_cast_index() -> None:
    scene = replace(state(), actors=(actor(1, emotion=2, mouth=0.5),))
    faces = raster(stage()).draw(scene).actors
    assert faces[1, 2] == 1.0
    assert faces[1, -1] == 0.5
    assert not faces[0].any()


def test_an_empty_set_and_an_empty_state_draw_nothing() -> None:
    greybox = raster(Stage()).draw(SceneState(FRONT))
    assert not greybox.slot.any()
    assert not greybox.field.any()


def test_past_every_wall_the_light_is_the_backgrounds_own_colour() -> None:
    lights = Lights((0, 0, 0), (0.0, -1.0, 0.0), (0, 0, 0), (0.5, 0.02, 1.0))
    greybox = raster(box_stage((0, 0, -5), (1, 1, 1))).draw(SceneState(FRONT, (), (), lights))
    got = greybox.field[channel("irradiance_r") :, 0, 0] * 2
    np.testing.assert_allclose(got, [((0.5 + 0.055) / 1.055) ** 2.4, 0.02 / 12.92, 1.0], rtol=2e-3)
    np.testing.assert_allclose(display(torch.from_numpy(got)), lights.background, atol=2e-3)


unit_cube = st.tuples(*(st.floats(-1, 1, width=32) for _ in range(3)))


@given(unit_cube, unit_cube)
@example((0.0, 2.0**-14, 0.5), (0.0, 0.0, 1.0))  # nearly parallel
def test_every_frame_is_a_rotation_even_where_its_axes_are_parallel_or_zero(
    axis: tuple[float, ...], forward: tuple[float, ...]
) -> None:
    frame = frame_along(np.asarray(axis, np.float32), np.asarray(forward, np.float32))
    np.testing.assert_allclose(frame.T @ frame, np.eye(3), atol=1e-4)
    assert np.linalg.det(frame) == pytest.approx(1, abs=1e-3)


def test_quaternions_turn_the_way_gltf_says() -> None:
    quarter = math.sqrt(0.5)
    about_y = rotation_matrix(np.array([0, quarter, 0, quarter], np.float32))
    np.testing.assert_allclose(about_y @ np.array([0, 0, 1], np.float32), [1, 0, 0], atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(*(st.floats(-40, 40, width=32) for _ in range(3))), min_size=19, max_size=19))
def test_any_finite_joints_give_a_finite_greybox(points: list[tuple[float, float, float]]) -> None:
    odd = replace(actor(0), joints=np.asarray(points, np.float32))
    for volumes in (no_volumes(), ball_volume("knight:forearm_l")):
        greybox = raster(stage(), volumes).draw(replace(state(), actors=(odd,)))
        assert np.isfinite(greybox.field).all()


def test_collapsed_joints_give_a_finite_greybox() -> None:
    flat = replace(actor(0), joints=np.zeros((19, 3), np.float32))
    greybox = raster(stage(), ball_volume("knight:head")).draw(replace(state(), actors=(flat,)))
    assert np.isfinite(greybox.field).all()
