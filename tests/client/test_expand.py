"""Expansion: people stand on their marks, nobody jumps, mouths move only in speech, cameras see what they should."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cutscene_client import rotations, scene, shipped
from cutscene_client.captured import load_captured
from cutscene_client.expand import Expansion, expand
from cutscene_client.library import load_library
from cutscene_client.obstacles import Obstacles
from cutscene_client.script import Script, ScriptError, read_script
from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_proto.v1 import scene_pb2 as spb

Expansions = dict[str, Expansion]
WRITTEN = [name for name in shipped.names() if shipped.load(name).captured is None]
HEAD_RADIUS_M = 0.5


def joints_of(state: spb.SceneState, who: str) -> npt.NDArray[np.float64]:
    (actor,) = [actor for actor in state.actors if actor.cast_id == who]
    return np.array(actor.joints).reshape(-1, 3)


def scripted(body: str, duration: float = 3.0, room: str = "tavern") -> tuple[spb.SceneState, ...]:
    """One shot in which ada does ``body`` (an indented list, as YAML)."""
    text = (
        f"{{title: t, room: {room}, cast: [{{id: ada, costume: knight}}], shots: [{{duration: {duration}, "
        f"camera: {{framing: wide}}, actors: {{ada: {body}}}}}]}}"
    )
    return expand(read_script(text)).shots[0].states


def test_there_are_enough_scripts_of_the_right_length(expansions: Expansions) -> None:
    assert len(expansions) >= 4
    assert len(WRITTEN) < len(expansions), "one of them is captured"
    for name, expansion in expansions.items():
        assert 10.0 <= expansion.frame_count / 24 <= 20.0, name


@pytest.mark.parametrize("name", shipped.names())
def test_the_contract_s_limits_are_kept(name: str, expansions: Expansions) -> None:
    expansion = expansions[name]
    request = expansion.open_request
    assert len(request.cast) <= 4
    assert len(request.set.elements) <= 320
    assert len(request.set.props) <= 16
    looks = {(e.element_class, e.look, e.tint.SerializeToString()) for e in request.set.elements}
    assert len(looks) + len(request.set.props) <= 60
    for shot in expansion.shots:
        for state in shot.states:
            assert 0.1 <= state.camera.vertical_fov <= 2.5
            for actor in state.actors:
                assert len(actor.joints) == 57
                assert np.isfinite(actor.joints).all()
                assert 0.0 <= actor.mouth_open <= 1.0
                assert 0.0 <= actor.intensity <= 1.0
            for prop in state.props:
                q = prop.rotation
                assert math.isclose(math.hypot(q.x, q.y, q.z, q.w), 1.0, abs_tol=1e-3)


@pytest.mark.parametrize("name", shipped.names())
def test_nobody_jumps_within_a_shot(name: str, expansions: Expansions) -> None:
    for shot in expansions[name].shots:
        for who in {actor.cast_id for actor in shot.states[0].actors}:
            hips = np.array([joints_of(state, who)[0] for state in shot.states])
            heads = np.array([joints_of(state, who)[2] for state in shot.states])
            # A run is 4 m/s; a lunge or a fall moves the body at up to three times that for a few frames.
            assert np.linalg.norm(np.diff(hips, axis=0), axis=1).max(initial=0) < 0.4, (shot.name, who)
            assert np.linalg.norm(np.diff(heads, axis=0), axis=1).max(initial=0) < 0.6, (shot.name, who)


@pytest.mark.parametrize("name", WRITTEN)
def test_the_camera_is_in_the_room_and_in_nothing_else(name: str, expansions: Expansions) -> None:
    expansion = expansions[name]
    room = shipped.load(name).room
    assert isinstance(room, str)
    area = load_library().room(room).camera_area
    obstacles = Obstacles(expansion.open_request.set.elements, area)
    assert not expansion.warnings
    for shot in expansion.shots:
        for state in shot.states[:: max(1, len(shot.states) // 8)]:
            eye = np.array([state.camera.position.x, state.camera.position.y, state.camera.position.z])
            assert not obstacles.contains(eye, 0.2), shot.name
            for actor in state.actors:
                joints = joints_of(state, actor.cast_id)
                assert np.linalg.norm((joints[2] + joints[3]) / 2 - eye) > HEAD_RADIUS_M + 0.2, (
                    shot.name,
                    actor.cast_id,
                )


@pytest.mark.parametrize("name", WRITTEN)
def test_who_is_framed_is_in_the_picture_and_not_behind_furniture(name: str, expansions: Expansions) -> None:
    expansion, script = expansions[name], shipped.load(name)
    obstacles = Obstacles(expansion.open_request.set.elements)
    for shot, told in zip(expansion.shots, script.shots, strict=True):
        for who in told.camera.of or [member.id for member in script.cast_]:
            for frame in (0, len(shot.states) // 2, len(shot.states) - 1):
                state = shot.states[frame]
                joints = joints_of(state, who)
                head = (joints[2] + joints[3]) / 2
                across, up = picture_place(state.camera, head)
                assert abs(across) < 1.0, (shot.name, who, frame, across)
                assert abs(up) < 1.05, (shot.name, who, frame, up)
                camera = state.camera.position
                assert obstacles.blocked_at(head, (camera.x, camera.y, camera.z)) == 1.0, (shot.name, who, frame)


def picture_place(camera: spb.Camera, point: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Where a point is in a 16:9 picture: both from -1 to 1 within it."""
    undone = (-camera.rotation.x, -camera.rotation.y, -camera.rotation.z, camera.rotation.w)
    local = rotations.rotate(undone, point - np.array([camera.position.x, camera.position.y, camera.position.z]))
    assert local[2] < 0, "behind the camera"
    half = math.tan(camera.vertical_fov / 2)
    return float(local[0] / -local[2] / half / (16 / 9)), float(local[1] / -local[2] / half)


@pytest.mark.parametrize("name", WRITTEN)
def test_mouths_move_in_speech_and_only_then(name: str, expansions: Expansions) -> None:
    for shot, told in zip(expansions[name].shots, shipped.load(name).shots, strict=True):
        for index, state in enumerate(shot.states):
            for actor in state.actors:
                lines = told.actors[actor.cast_id].say if actor.cast_id in told.actors else []
                if not any(line.at < index / 24 < line.at + line.lasts for line in lines):
                    assert actor.mouth_open == 0.0, (shot.name, actor.cast_id, index)
        for who, performance in told.actors.items():
            for line in performance.say:
                frames = range(math.ceil(line.at * 24), int((line.at + line.lasts) * 24))
                opened = [a.mouth_open for i in frames for a in shot.states[i].actors if a.cast_id == who]
                assert max(opened) > 0.3, (shot.name, who)
                assert np.ptp(opened) > 0.25, "a mouth that speaks does not stay open"


def test_an_actor_stands_on_the_mark_and_faces_as_told() -> None:
    mark = load_library().room("tavern").mark("bar_keeper")
    state = scripted("{at: bar_keeper, facing: 90}")[0]
    joints = joints_of(state, "ada")
    assert np.allclose(joints[0, [0, 2]], [mark.position[0], mark.position[2]], atol=0.15)
    nose = joints[scene.JOINT_INDEX["face"]] - joints[scene.JOINT_INDEX["neck"]]
    assert nose[0] > 0.3, "90 degrees faces +X"
    assert abs(nose[2]) < 0.25


def test_a_walk_arrives_and_then_rests() -> None:
    states = scripted("{at: [-2, 1.5], body: [{at: 0.5, walk_to: [1, 2]}]}", duration=5.0)
    hips = np.array([joints_of(state, "ada")[0] for state in states])
    assert np.allclose(hips[0, [0, 2]], [-2, 1.5], atol=0.15)
    assert np.allclose(hips[-1, [0, 2]], [1, 2], atol=0.15)
    still = np.linalg.norm(np.diff(hips[-24:], axis=0), axis=1)
    assert still.max() < 0.02, "arrived"
    speeds = np.linalg.norm(np.diff(hips[:, [0, 2]], axis=0), axis=1) * 24
    assert 0.8 < np.median(speeds[18:60]) < 1.5


@pytest.mark.parametrize("pace", [0.7, 1.0, 1.5])
def test_the_planted_foot_does_not_slide(pace: float) -> None:
    states = scripted(f"{{at: [-3, 1.5], body: [{{walk_to: [3, 1.5], speed: {pace}}}]}}")
    toes = np.array([joints_of(s, "ada")[[scene.JOINT_INDEX["toe_l"], scene.JOINT_INDEX["toe_r"]]] for s in states])
    walking = toes[12 : int(24 * 6 / (1.1 * pace)) - 12]
    speeds = np.linalg.norm(np.diff(walking[:, :, [0, 2]], axis=0), axis=2) * 24
    planted = speeds[np.arange(len(speeds)), walking[:-1, :, 1].argmin(axis=1)]
    assert np.median(planted) < 0.3 * pace, "metres a second, at 1.1 times the pace"


def test_a_walk_cut_short_stops_where_it_is() -> None:
    states = scripted("{at: [-2, 1.5], body: [{walk_to: [1, 1.5]}, {at: 1.0, clip: Cheer}]}")
    hips = np.array([joints_of(state, "ada")[0] for state in states])
    assert -1.3 < hips[-1, 0] < -0.5


def test_sitting_down_ends_in_the_seat() -> None:
    states = scripted("{at: [-2.8, 2.3], facing: 90, body: [{at: 0.3, sit: seat_west_r}]}")
    seated = joints_of(states[-1], "ada")
    mark = load_library().room("tavern").mark("seat_west_r")
    back = np.array([-math.sin(mark.yaw), -math.cos(mark.yaw)])
    assert (seated[0, [0, 2]] - [mark.position[0], mark.position[2]]) @ back > 0.2, "hips go back into the seat"
    assert scripted("{at: seat_west_r}")[0].actors[0].joints == pytest.approx(
        scripted("{at: seat_west_r}")[0].actors[0].joints
    )


def test_emotions_ramp() -> None:
    states = scripted("{face: [{at: 0.5, emotion: joy, over: 0.5}, {at: 1.5, emotion: anger, over: 0.5}]}")
    shown = [(scene_name(state.actors[0].emotion), round(state.actors[0].intensity, 3)) for state in states]
    assert shown[0] == ("neutral", 0.0)
    assert shown[30] == ("joy", 1.0)
    assert shown[-1] == ("anger", 1.0)
    intensities = [intensity for _, intensity in shown]
    assert max(abs(b - a) for a, b in itertools.pairwise(intensities)) < 0.35


def scene_name(number: int) -> str:
    return next(name for name, value in scene.EMOTIONS.items() if value == number)


def test_a_held_weapon_moves_with_the_hand(expansions: Expansions) -> None:
    shot = expansions["throne_duel"].shots[2]
    for state in shot.states:
        (axe,) = [prop for prop in state.props if prop.prop_id == "ulf-axe_2h"]
        hand = joints_of(state, "ulf")[scene.JOINT_INDEX["hand_r"]]
        distance = np.linalg.norm(hand - [axe.position.x, axe.position.y, axe.position.z])
        assert distance < 1.2
    assert len({state.props[0].position.SerializeToString() for state in shot.states}) > 10


def test_keyframes_are_the_same_run_with_fewer_states(expansions: Expansions) -> None:
    expansion = expansions["tavern_dialogue"]
    turns = [step for step in expansion.steps(keyframe_every=4) if isinstance(step, pb.Turn)]
    cuts = [step for step in expansion.steps() if isinstance(step, pb.Cut)]
    assert len(turns) == len(expansion.shots) == len(cuts) + 1
    for turn, shot in zip(turns, expansion.shots, strict=True):
        offsets = [keyframe.offset_us for keyframe in turn.keyframed.keyframes]
        assert offsets[0] == 0
        assert offsets[-1] == round((len(shot.states) - 1) / 24 * 1e6)
        assert offsets == sorted(set(offsets))


def test_an_inline_room_and_camera_keyframes() -> None:
    text = """
title: a box
room:
  elements:
    - {class: floor, look: floor/tile, center: [0, -0.05, 0], half_extent: [4, 0.05, 4]}
  marks: {here: {at: [1, 2], facing: 180}}
cast: [{id: ada, costume: mage, tint: [1, 0.5, 0.5]}]
props: [{id: chest, look: chest/gold, position: [0, 0.6, 0]}]
lights: {ambient: [0.1, 0.1, 0.1], points: [{position: [0, 2, 0], color: [9, 5, 2], range: 6}]}
shots:
  - duration: 1
    camera:
      keyframes:
        - {at: 0, position: [0, 2, 6], look_at: [1, 1, 2]}
        - {at: 1, position: [1, 2, 6], look_at: [1, 1, 2]}
    actors: {ada: {at: here}}
"""
    expansion = expand(read_script(text))
    states = expansion.shots[0].states
    assert states[0].camera.position.x == pytest.approx(0)
    assert states[-1].camera.position.x > 0.9
    assert len(states[0].lights.points) == 1
    assert states[0].props[0].prop_id == "chest"
    assert expansion.open_request.set.props[0].element_class == spb.ELEMENT_CLASS_CONTAINER


clips = st.sampled_from(["Idle", "Cheer", "Walking_A", "Death_A", "Sit_Chair_Down", "1H_Melee_Attack_Chop", "T-Pose"])
action = st.one_of(
    st.builds(lambda at, clip, hold: {"at": at, "clip": clip, "hold": hold}, st.floats(0, 3), clips, st.booleans()),
    st.builds(lambda at, x, z: {"at": at, "walk_to": [x, z]}, st.floats(0, 3), st.floats(-3, 3), st.floats(-3, 3)),
    st.builds(lambda at, way: {"at": at, "turn_to": way}, st.floats(0, 3), st.floats(-360, 360)),
    st.builds(lambda at: {"at": at, "sit": "seat_west_l"}, st.floats(0, 3)),
)


@settings(max_examples=25, deadline=None)
@example(body=[{"at": 1.0, "sit": "seat_west_l"}, {"at": 0.0, "turn_to": 68.0}], framing="wide")
@given(body=st.lists(action, max_size=5), framing=st.sampled_from(["wide", "close_up", "low_angle", "medium"]))
def test_whatever_an_actor_is_told_every_state_is_sound(body: list[dict[str, object]], framing: str) -> None:
    plain = {
        "title": "t",
        "room": "tavern",
        "cast": [{"id": "ada", "costume": "knight", "holds": ["weapon/staff"]}],
        "shots": [
            {
                "duration": 2.0,
                "camera": {"framing": framing, "move": "orbit"},
                "actors": {"ada": {"body": sorted(body, key=lambda item: float(str(item["at"])))}},
            }
        ],
    }
    expansion = expand(Script.model_validate(plain))
    assert expansion.frame_count == 48
    for state in expansion.shots[0].states:
        joints = joints_of(state, "ada")
        assert np.isfinite(joints).all()
        assert np.abs(joints).max() < 20
        q = state.camera.rotation
        assert math.isclose(math.hypot(q.x, q.y, q.z, q.w), 1.0, abs_tol=1e-3)


def test_a_camera_with_nowhere_to_stand_keeps_off_what_it_looks_at_and_says_so() -> None:
    """The walk to the seat takes what is framed out of where cameras may be: no part of the way to it is clear."""
    text = (
        "{title: t, room: tavern, cast: [{id: ada, costume: knight, holds: [weapon/staff]}], shots: [{duration: 2.0, "
        "camera: {framing: wide, move: orbit}, actors: {ada: {body: [{turn_to: 68.0}, {at: 1.0, sit: seat_west_l}]}}}]}"
    )
    expansion = expand(read_script(text))
    assert any("something is in the way" in warning for warning in expansion.warnings)
    for state in expansion.shots[0].states:
        eye = np.array([state.camera.position.x, state.camera.position.y, state.camera.position.z])
        assert np.linalg.norm(eye - joints_of(state, "ada")[0]) > 0.5


def test_a_damaged_captured_file_is_refused() -> None:
    script = shipped.load("chapel_talk")
    data = (shipped.FOLDER / str(script.captured)).read_bytes()
    assert len(data) < 600_000
    for damaged in (b"", b"PK\x03\x04", data[: len(data) // 2], data[:-40], b"\x80\x04N."):
        with pytest.raises(ScriptError):
            load_captured(script, damaged, "damaged")
