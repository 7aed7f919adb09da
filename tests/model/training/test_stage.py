"""The stage draws what the state says: joints lie on the drawn actor, light follows the formula, bytes repeat."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from cutscene_model.greybox import GreyboxRaster
from cutscene_model.loading import load_engine
from cutscene_model.scene import (
    JOINT_INDEX,
    ActorState,
    Camera,
    CastMember,
    Lights,
    PointLight,
    SceneState,
    Stage,
    StageHint,
)
from cutscene_model.training.assets import place
from cutscene_model.training.director import direct
from cutscene_model.training.motion import joints_for
from cutscene_model.training.transforms import look_rotation, perspective, quaternion_matrix

pytest.importorskip("panda3d")

from cutscene_model.training.stage import StageRenderer

WIDTH, HEIGHT = 512, 288
FLAT = Lights((0.5, 0.5, 0.5), (0.0, -1.0, 0.0), (0.0, 0.0, 0.0))


@pytest.fixture(scope="module")
def renderer(assets: Path) -> Iterator[StageRenderer]:
    with StageRenderer(assets) as renderer:
        yield renderer


def camera(eye: tuple[float, float, float], target: tuple[float, float, float], fov: float = 0.7) -> Camera:
    return Camera(eye, look_rotation(eye, target), fov)


def actor(assets: Path, clip: str, time: float, x: float = 0.0, yaw: float = 0.0, index: int = 0) -> ActorState:
    place_ = (x, 0.0, 0.0)
    joints = joints_for(assets, clip, time, place_, yaw)
    return ActorState(index, joints, hint=StageHint(clip, time, place_, yaw))


def pixels_of(points: npt.NDArray[np.float32], view: Camera) -> npt.NDArray[np.int64]:
    """(N, 2) column and row of world points in the picture."""
    local = (points - np.array(view.position)) @ quaternion_matrix(view.rotation)
    clip = (
        np.concatenate([local, np.ones((len(local), 1))], axis=1)
        @ perspective(view.vertical_fov, WIDTH / HEIGHT, 0.05, 60.0).T
    )
    x, y = clip[:, 0] / clip[:, 3], clip[:, 1] / clip[:, 3]
    return np.stack([(x + 1) / 2 * WIDTH, (1 - y) / 2 * HEIGHT], axis=1).astype(np.int64)


def linear(srgb: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


FLOOR = tuple(place("floor/tile", (0.0, 0.0, 0.0)))


@pytest.mark.parametrize(
    ("clip", "time"), [("Walking_A", 0.2), ("Cheer", 0.8), ("Sit_Floor_Idle", 0.5), ("Lie_Idle", 0.1)]
)
def test_joints_lie_on_the_drawn_actor(assets: Path, renderer: StageRenderer, clip: str, time: float) -> None:
    renderer.open(Stage((CastMember("a", "rogue"), CastMember("b", "knight", headgear=False)), FLOOR))
    view = camera((1.5, 1.8, 5.0), (0.0, 0.9, 0.0))
    actors = (actor(assets, clip, time, -1.1, 0.4), actor(assets, clip, time, 1.1, -0.5, 1))
    ids = renderer.render_ids(SceneState(view, actors, (), FLAT))
    for index, one in enumerate(actors):
        # Everything but what may lie in the air beside a limb: hand slots lie in the palm, head_top under the crown.
        found = pixels_of(one.joints, view)
        on_actor = [ids[row, column] == index + 1 for column, row in found]
        assert np.mean(on_actor) > 0.8, (clip, index, on_actor)
        assert on_actor[JOINT_INDEX["neck"]]
        assert on_actor[JOINT_INDEX["chest"]]


def test_the_greybox_sees_the_light_that_the_stage_draws(renderer: StageRenderer) -> None:
    stage = Stage((), tuple(place("wall/plain", (0.0, 0.0, 0.0))))
    view = camera((0.0, 2.0, 6.0), (0.0, 2.0, 0.0))
    lamp = PointLight((-1.0, 2.5, 1.5), (5.0, 3.0, 1.5), 6.0)
    lit = Lights((0.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, 0.0), points=(lamp,))
    renderer.open(stage)
    raster = GreyboxRaster(stage, load_engine().volumes)
    drawn, light = [], []
    for lights in (lit, FLAT):
        picture = linear(renderer.render(SceneState(view, (), (), lights)) / 255.0)
        # The mean over a greybox cell's pixels, and the cell's own light.
        drawn.append(picture.reshape(144, 2, 256, 2, 3).mean(axis=(1, 3)))
        light.append(raster.draw(SceneState(view, (), (), lights)).field[-3:].astype(np.float64).transpose(1, 2, 0))
    # Two lights on one wall: their ratio is free of what the wall is painted with.
    steady = (drawn[1].min(axis=-1) > 0.02) & (drawn[0].max(axis=-1) < 0.95) & (drawn[0].min(axis=-1) > 0.01)
    steady &= light[0].min(axis=-1) > 0.001
    ratio = (drawn[0] / np.maximum(drawn[1], 1e-9))[steady] / (light[0] / np.maximum(light[1], 1e-9))[steady]
    assert steady.sum() > 1000
    # Edges of bricks are rounder to the greybox than to the stage: single cells differ, the whole does not.
    assert abs(np.median(ratio) - 1) < 0.05
    assert np.quantile(ratio, 0.1) > 0.8
    assert np.quantile(ratio, 0.9) < 1.25


def test_who_is_not_in_the_state_is_not_drawn(assets: Path, renderer: StageRenderer) -> None:
    renderer.open(Stage((CastMember("a", "rogue"), CastMember("b", "mage")), FLOOR))
    ids = renderer.render_ids(
        SceneState(camera((0.0, 1.5, 5.0), (0.0, 1.0, 0.0)), (actor(assets, "Idle", 0.0, index=1),), (), FLAT)
    )
    assert set(np.unique(ids)) == {0, 2, 6}


def test_ambient_sun_and_point_light_follow_the_formula(renderer: StageRenderer) -> None:
    renderer.open(Stage((), FLOOR))
    view = camera((0.0, 6.0, 0.01), (0.0, 0.0, 0.0), 0.3)

    def light_at_middle(lights: Lights) -> npt.NDArray[np.float64]:
        patch = renderer.render(SceneState(view, (), (), lights))[140:148, 252:260].astype(np.float64) / 255
        mean: npt.NDArray[np.float64] = linear(patch).mean(axis=(0, 1))
        return mean

    dark = (0.0, 0.0, 0.0)
    down = (0.0, -1.0, 0.0)
    albedo = light_at_middle(Lights((0.5, 0.5, 0.5), down, dark)) / 0.5  # the floor's normal is +Y: 0.7 + 0.3 = 1
    slant = (0.6, -0.8, 0.0)
    sun = light_at_middle(Lights(dark, slant, (0.5, 0.6, 0.7)))
    np.testing.assert_allclose(sun, albedo * 0.8 * np.array([0.5, 0.6, 0.7]), rtol=0.03)
    lamp = PointLight((0.0, 1.5, 0.0), (2.0, 1.0, 1.5), 6.0)
    point = light_at_middle(Lights(dark, down, dark, points=(lamp,)))
    weight = (1 - 1.5 / 6) ** 2 / (1 + 1.5**2)
    np.testing.assert_allclose(point, albedo * np.array(lamp.color) * weight, rtol=0.05)


def test_the_sun_casts_shadows(renderer: StageRenderer) -> None:
    renderer.open(Stage((), (*FLOOR, *place("crate/large", (0.0, 0.0, 0.0)))))
    lights = Lights((0.1, 0.1, 0.1), (0.7071, -0.7071, 0.0), (0.8, 0.8, 0.8))
    view = camera((0.0, 8.0, 0.01), (0.0, 0.0, 0.0), 0.6)
    picture = renderer.render(SceneState(view, (), (), lights)).astype(np.float64)
    (shade, lit) = pixels_of(np.array([[1.4, 0.0, 1e-3], [-1.4, 0.0, 1e-3]], np.float32), view)
    assert picture[shade[1], shade[0]].mean() < 0.5 * picture[lit[1], lit[0]].mean()


def test_the_background_shows_where_nothing_is(renderer: StageRenderer) -> None:
    renderer.open(Stage((), FLOOR))
    sky = Lights(background=(0.2, 0.4, 0.6))
    picture = renderer.render(SceneState(camera((0.0, 1.0, 4.0), (0.0, 5.0, -4.0)), (), (), sky))
    np.testing.assert_array_equal(picture[0, 0], [51, 102, 153])


def test_emotion_and_speech_change_the_face(assets: Path, renderer: StageRenderer) -> None:
    renderer.open(Stage((CastMember("a", "mage", headgear=False),), FLOOR))
    view = camera((0.0, 1.7, 2.2), (0.0, 1.6, 0.0), 0.5)
    calm = actor(assets, "Idle", 0.0)
    hint = calm.hint

    def drawn(emotion: int, mouth: float) -> npt.NDArray[np.float64]:
        state = ActorState(0, calm.joints, emotion, 1.0, mouth, hint)
        return renderer.render(SceneState(view, (state,), (), FLAT)).astype(np.float64)

    pictures = [drawn(emotion, 0.0) for emotion in range(6)] + [drawn(0, 1.0)]
    for index, one in enumerate(pictures):
        for other in pictures[index + 1 :]:
            changed = np.abs(one - other).max(axis=2) > 40
            assert changed.sum() > 150, "two expressions look alike"


def test_a_state_without_hints_is_refused(assets: Path, renderer: StageRenderer) -> None:
    renderer.open(Stage((CastMember("a", "rogue"),), FLOOR))
    bare = ActorState(0, joints_for(assets, "Idle", 0.0))
    with pytest.raises(ValueError, match="hint"):
        renderer.render(SceneState(camera((0, 1, 4), (0, 1, 0)), (bare,), (), FLAT))


PROGRAM = """
import hashlib, sys
from pathlib import Path
from cutscene_model.training.director import direct
from cutscene_model.training.stage import StageRenderer
performance = direct(Path(sys.argv[1]), 7)
with StageRenderer(Path(sys.argv[1])) as renderer:
    renderer.open(performance.stage)
    for frame in (3, 60):
        print(hashlib.sha256(renderer.render(performance.states(frame)).tobytes()).hexdigest())
"""


def test_another_process_draws_the_same_bytes(assets: Path, renderer: StageRenderer) -> None:
    performance = direct(assets, 7)
    renderer.open(performance.stage)
    here = [hashlib.sha256(renderer.render(performance.states(frame)).tobytes()).hexdigest() for frame in (60, 3)]
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(assets)],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin"},
    )
    assert run.stdout.split() == here[::-1]
