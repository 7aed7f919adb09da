"""Interpolation against values worked out by hand."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutscene_model.scene import ActorState, Camera, Lights, PointLight, PropState, SceneState
from cutscene_server.keyframes import Easing, KeyframedStates, LockstepStates, interpolate, slerp
from cutscene_server.packed_scene import pack_state, unpack_state

IDENTITY = (0.0, 0.0, 0.0, 1.0)
QUARTER_TURN_Y = (0.0, math.sin(math.pi / 4), 0.0, math.cos(math.pi / 4))
EIGHTH_TURN_Y = (0.0, math.sin(math.pi / 8), 0.0, math.cos(math.pi / 8))


def state(
    x: float = 0.0,
    *,
    rotation: tuple[float, float, float, float] = IDENTITY,
    actors: tuple[ActorState, ...] = (),
    props: tuple[PropState, ...] = (),
    points: int = 0,
) -> SceneState:
    light = PointLight((x, 0.0, 0.0), (x, x, x), 1.0 + x)
    return SceneState(Camera((x, 0.0, 0.0), rotation, 1.0 + x), actors, props, Lights(points=(light,) * points))


def actor(cast_index: int, level: float, *, emotion: int = 1, intensity: float = 0.5) -> ActorState:
    return ActorState(cast_index, np.full((19, 3), level, np.float32), emotion, intensity, mouth_open=level / 10)


def run(first: SceneState, second: SceneState, *, easing: Easing = Easing.LINEAR, fps: float = 4.0) -> list[SceneState]:
    states = KeyframedStates([0, 1_000_000], [pack_state(first), pack_state(second)], [easing, easing], fps)
    return [unpack_state(states.packed_state(position)) for position in range(states.frame_count)]


def camera_xs(states: list[SceneState]) -> list[float]:
    return [item.camera.position[0] for item in states]


def test_linear_frames_lie_evenly_and_both_ends_are_included() -> None:
    assert camera_xs(run(state(0.0), state(1.0))) == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_in_out_is_smoothstep() -> None:
    assert camera_xs(run(state(0.0), state(1.0), easing=Easing.IN_OUT)) == [0.0, 0.15625, 0.5, 0.84375, 1.0]


def test_hold_keeps_the_keyframe_until_the_next_one() -> None:
    assert camera_xs(run(state(0.0), state(1.0), easing=Easing.HOLD)) == [0.0, 0.0, 0.0, 0.0, 1.0]


def test_each_keyframes_easing_shapes_the_way_to_the_next() -> None:
    packed = [pack_state(state(x)) for x in (0.0, 1.0, 3.0)]
    states = KeyframedStates([0, 500_000, 1_000_000], packed, [Easing.HOLD, Easing.LINEAR, Easing.HOLD], 4.0)
    xs = camera_xs([unpack_state(states.packed_state(position)) for position in range(states.frame_count)])
    assert xs == [0.0, 0.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("last_us", "fps", "frames"),
    [
        (0, 24.0, 1),
        (1_000_000, 24.0, 25),
        (41_667, 24.0, 2),  # one frame's time, rounded up to microseconds
        (41_666, 24.0, 2),  # and rounded down
        (20_000, 24.0, 1),  # under half a frame
        (600_000_000, 60.0, 36_001),
        (1_000_000, 29.97, 31),
    ],
)
def test_frame_counts(last_us: int, fps: float, frames: int) -> None:
    offsets = [0, last_us] if last_us else [0]
    packed = [pack_state(state(float(index))) for index in range(len(offsets))]
    states = KeyframedStates(offsets, packed, [Easing.LINEAR] * len(offsets), fps)
    assert states.frame_count == frames
    last = unpack_state(states.packed_state(frames - 1))
    assert last.camera.position[0] == (1.0 if frames > 1 else 0.0)


def test_slerp_goes_half_of_the_angle_in_half_of_the_time() -> None:
    assert slerp(IDENTITY, QUARTER_TURN_Y, 0.5) == pytest.approx(EIGHTH_TURN_Y)


def test_slerp_takes_the_shorter_arc() -> None:
    opposite = tuple(-part for part in QUARTER_TURN_Y)
    assert slerp(IDENTITY, opposite, 0.5) == pytest.approx(EIGHTH_TURN_Y)  # type: ignore[arg-type]


UNIT_QUATERNIONS = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: math.hypot(*q) > 0.1).map(
    lambda q: tuple(part / math.hypot(*q) for part in q)
)  # fmt: skip


@given(start=UNIT_QUATERNIONS, end=UNIT_QUATERNIONS, amount=st.floats(0, 1))
def test_slerp_stays_unit_and_divides_the_angle(
    start: tuple[float, float, float, float], end: tuple[float, float, float, float], amount: float
) -> None:
    middle = slerp(start, end, amount)
    assert math.hypot(*middle) == pytest.approx(1.0)
    whole, part = angle(start, end), angle(start, middle)
    assert part == pytest.approx(amount * whole, abs=2e-4)


def angle(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Between two rotations taken as points of the sphere, by the chord: exact where the arc cosine is not."""
    near = min(math.dist(a, b), math.dist(a, tuple(-part for part in b)))
    return 2.0 * math.asin(min(1.0, near / 2.0))


def test_everything_of_a_state_is_interpolated() -> None:
    first = state(0.0, actors=(actor(0, 0.0),), props=(PropState(1, (0.0, 0.0, 0.0)),), points=2)
    second = state(
        1.0,
        rotation=QUARTER_TURN_Y,
        actors=(actor(0, 1.0, intensity=1.0),),
        props=(PropState(1, (2.0, 0.0, 0.0), QUARTER_TURN_Y),),
        points=2,
    )
    middle = interpolate(first, second, 0.5)
    assert middle.camera.rotation == pytest.approx(EIGHTH_TURN_Y)
    assert middle.camera.vertical_fov == 1.5
    assert middle.actors[0].joints.tolist() == [[0.5] * 3] * 19
    assert (middle.actors[0].intensity, middle.actors[0].mouth_open) == (0.75, 0.05)
    assert middle.props[0].position == (1.0, 0.0, 0.0)
    assert middle.props[0].rotation == pytest.approx(EIGHTH_TURN_Y)
    assert middle.lights.points[1] == PointLight((0.5, 0.0, 0.0), (0.5, 0.5, 0.5), 1.5)


def test_actors_are_matched_by_who_they_are_not_by_their_order() -> None:
    first = state(actors=(actor(0, 0.0), actor(1, 10.0)))
    second = state(actors=(actor(1, 20.0), actor(0, 1.0)))
    middle = interpolate(first, second, 0.5)
    assert [(item.cast_index, item.joints[0, 0]) for item in middle.actors] == [(0, 0.5), (1, 15.0)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (state(0.0, actors=(actor(0, 0.0),)), state(1.0)),
        (state(0.0), state(1.0, actors=(actor(0, 0.0),))),
        (state(0.0, actors=(actor(0, 0.0),)), state(1.0, actors=(actor(1, 0.0),))),
        (state(0.0, props=(PropState(0, (0.0, 0.0, 0.0)),)), state(1.0)),
        (state(0.0, points=1), state(1.0, points=2)),
    ],
)
def test_states_that_do_not_match_are_held(first: SceneState, second: SceneState) -> None:
    assert camera_xs(run(first, second)) == [0.0, 0.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("first", "second", "shown"),
    [
        ((0, 0.0), (1, 0.8), [(1, 0.2), (1, 0.4), (1, 0.6)]),  # from neutral it grows
        ((1, 0.8), (0, 0.0), [(1, 0.6), (1, 0.4), (1, 0.2)]),  # to neutral it fades
        ((1, 0.8), (2, 0.8), [(1, 0.4), (2, 0.0), (2, 0.4)]),  # between two others it passes through nothing
        ((1, 0.0), (1, 0.8), [(1, 0.2), (1, 0.4), (1, 0.6)]),
    ],
)
def test_emotions_fade(first: tuple[int, float], second: tuple[int, float], shown: list[tuple[int, float]]) -> None:
    states = run(
        state(actors=(actor(0, 0.0, emotion=first[0], intensity=first[1]),)),
        state(actors=(actor(0, 0.0, emotion=second[0], intensity=second[1]),)),
    )
    got = [(item.actors[0].emotion, item.actors[0].intensity) for item in states[1:-1]]
    assert [emotion for emotion, _ in got] == [emotion for emotion, _ in shown]
    assert [level for _, level in got] == pytest.approx([level for _, level in shown])


def test_opposite_sun_directions_have_no_way_between_them() -> None:
    up, down = Lights(sun_direction=(0.0, 1.0, 0.0)), Lights(sun_direction=(0.0, -1.0, 0.0))
    camera = state().camera
    middle = interpolate(SceneState(camera, lights=up), SceneState(camera, lights=down), 0.5)
    assert middle.lights.sun_direction == (0.0, -1.0, 0.0)


def test_ten_minutes_are_never_expanded() -> None:
    packed = pack_state(state(0.0, actors=(actor(0, 0.0),))), pack_state(state(1.0, actors=(actor(0, 1.0),)))
    tracemalloc.start()
    states = KeyframedStates([0, 600_000_000], packed, [Easing.LINEAR] * 2, 60.0)
    for position in range(0, states.frame_count, 100):
        states.packed_state(position)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000  # 36,001 states would take some 30 MB


def test_lockstep_states_are_passed_on_as_they_are() -> None:
    packed = tuple(pack_state(state(float(index))) for index in range(3))
    states = LockstepStates(packed)
    assert [states.packed_state(position) for position in range(states.frame_count)] == list(packed)
    assert states.byte_size == sum(map(len, packed))
