"""Short ways to build the contract's scene messages from plain numbers and numpy arrays.

Every function returns a message of ``cutscene_proto.v1``, so what is not covered here can be set on the result.
Conventions are the contract's: right-handed metres, Y up, radians, quaternions ``(x, y, z, w)``, linear-light colours.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import numpy as np
import numpy.typing as npt

from cutscene_client.rotations import look_rotation
from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_proto.v1 import scene_pb2 as spb

JOINTS: tuple[str, ...] = (
    "hips", "chest", "neck", "head_top", "face",
    "shoulder_l", "elbow_l", "hand_l", "shoulder_r", "elbow_r", "hand_r",
    "hip_l", "knee_l", "ankle_l", "toe_l", "hip_r", "knee_r", "ankle_r", "toe_r",
)  # fmt: skip
"""The order of an actor's joints on the wire (``scene.proto``, ``ActorState.joints``)."""

JOINT_INDEX: dict[str, int] = {name: index for index, name in enumerate(JOINTS)}

EMOTIONS: dict[str, spb.Emotion] = {
    "neutral": spb.EMOTION_NEUTRAL,
    "joy": spb.EMOTION_JOY,
    "anger": spb.EMOTION_ANGER,
    "sadness": spb.EMOTION_SADNESS,
    "fear": spb.EMOTION_FEAR,
    "surprise": spb.EMOTION_SURPRISE,
}

ELEMENT_CLASSES: dict[str, spb.ElementClass] = {
    name.removeprefix("ELEMENT_CLASS_").lower(): cast(spb.ElementClass, number)
    for name, number in spb.ElementClass.items()
    if number
}

EASINGS: dict[str, pb.Easing] = {
    "linear": pb.EASING_LINEAR,
    "in_out": pb.EASING_IN_OUT,
    "hold": pb.EASING_HOLD,
}

Triple = Sequence[float] | npt.NDArray[np.floating]
"""Three numbers: a place in metres, or a colour."""

Quad = Sequence[float] | npt.NDArray[np.floating]
"""A unit quaternion, x y z w."""


def vec3(value: Triple) -> spb.Vec3:
    """Three numbers as a ``Vec3``."""
    x, y, z = value
    return spb.Vec3(x=x, y=y, z=z)


def color(value: Triple) -> spb.Color:
    """Three numbers as a ``Color``."""
    r, g, b = value
    return spb.Color(r=r, g=g, b=b)


def quaternion(value: Quad) -> spb.Quaternion:
    """Four numbers, x y z w, as a ``Quaternion``."""
    x, y, z, w = value
    return spb.Quaternion(x=x, y=y, z=z, w=w)


# ---- said once, at open ---------------------------------------------------------------------------------------------


def cast_member(cast_id: str, costume: str, *, tint: Triple | None = None, bare_headed: bool = False) -> spb.CastMember:
    """Who appears and how they look."""
    member = spb.CastMember(id=cast_id, costume=costume, bare_headed=bare_headed)
    if tint is not None:
        member.tint.CopyFrom(color(tint))
    return member


def box(
    element_class: str,
    look: str,
    center: Triple,
    half_extent: Triple,
    *,
    rotation: Quad | None = None,
    part: int = 0,
    tint: Triple | None = None,
) -> spb.SetElement:
    """A static box of the set."""
    shape = spb.Box(center=vec3(center), half_extent=vec3(half_extent))
    if rotation is not None:
        shape.rotation.CopyFrom(quaternion(rotation))
    element = spb.SetElement(element_class=ELEMENT_CLASSES[element_class], look=look, box=shape, part=part)
    if tint is not None:
        element.tint.CopyFrom(color(tint))
    return element


def plane(
    element_class: str,
    look: str,
    center: Triple,
    half_width: float,
    half_depth: float,
    *,
    rotation: Quad | None = None,
    tint: Triple | None = None,
) -> spb.SetElement:
    """A static rectangle that faces its local +Y."""
    shape = spb.Plane(center=vec3(center), half_width=half_width, half_depth=half_depth)
    if rotation is not None:
        shape.rotation.CopyFrom(quaternion(rotation))
    element = spb.SetElement(element_class=ELEMENT_CLASSES[element_class], look=look, plane=shape)
    if tint is not None:
        element.tint.CopyFrom(color(tint))
    return element


def prop(prop_id: str, element_class: str, look: str, half_extent: Triple, *, tint: Triple | None = None) -> spb.Prop:
    """A thing that may move; each state says where it is."""
    message = spb.Prop(
        id=prop_id, element_class=ELEMENT_CLASSES[element_class], look=look, half_extent=vec3(half_extent)
    )
    if tint is not None:
        message.tint.CopyFrom(color(tint))
    return message


def stage_set(elements: Iterable[spb.SetElement], props: Iterable[spb.Prop] = ()) -> spb.Set:
    """The set: what stands still, and what may move."""
    return spb.Set(elements=elements, props=props)


# ---- said of every instant ------------------------------------------------------------------------------------------


def camera(
    position: Triple, *, look_at: Triple | None = None, rotation: Quad | None = None, fov_degrees: float = 40.0
) -> spb.Camera:
    """A camera at ``position``, aimed by exactly one of ``look_at`` and ``rotation``; vertical field of view."""
    if (look_at is None) == (rotation is None):
        raise ValueError("a camera needs exactly one of look_at and rotation")
    aim = rotation if rotation is not None else look_rotation(np.asarray(position), np.asarray(look_at))
    return spb.Camera(position=vec3(position), rotation=quaternion(aim), vertical_fov=math.radians(fov_degrees))


def actor(
    cast_id: str,
    joints: npt.NDArray[np.floating],
    *,
    emotion: str = "neutral",
    intensity: float = 0.0,
    mouth_open: float = 0.0,
) -> spb.ActorState:
    """One actor at one instant; ``joints`` is (19, 3) metres, world space, in the order of ``JOINTS``."""
    flat = np.asarray(joints, np.float32)
    if flat.shape != (len(JOINTS), 3):
        raise ValueError(f"joints of {cast_id}: shape {flat.shape}, expected ({len(JOINTS)}, 3)")
    return spb.ActorState(
        cast_id=cast_id,
        joints=flat.ravel().tolist(),
        emotion=EMOTIONS[emotion],
        intensity=intensity,
        mouth_open=mouth_open,
    )


def prop_state(prop_id: str, position: Triple, rotation: Quad | None = None) -> spb.PropState:
    """Where one prop is."""
    message = spb.PropState(prop_id=prop_id, position=vec3(position))
    if rotation is not None:
        message.rotation.CopyFrom(quaternion(rotation))
    return message


def point_light(position: Triple, light_color: Triple, light_range: float) -> spb.PointLight:
    """A small light without shadow, such as a torch."""
    return spb.PointLight(position=vec3(position), color=color(light_color), range=light_range)


def lights(
    *,
    ambient: Triple = (0.4, 0.4, 0.4),
    sun_direction: Triple = (0.0, -1.0, 0.0),
    sun_color: Triple = (0.8, 0.8, 0.8),
    background_srgb: Triple = (0.0, 0.0, 0.0),
    points: Iterable[spb.PointLight] = (),
) -> spb.Lights:
    """The light of one instant. ``sun_direction`` is the way the light travels and need not be of unit length."""
    direction = np.asarray(sun_direction, np.float64)
    length = float(np.linalg.norm(direction))
    if length < 1e-9:
        raise ValueError("sun_direction has no length")
    return spb.Lights(
        ambient=color(ambient),
        sun_direction=vec3(direction / length),
        sun_color=color(sun_color),
        background_srgb=color(background_srgb),
        points=points,
    )


def state(
    scene_camera: spb.Camera,
    scene_lights: spb.Lights,
    actors: Iterable[spb.ActorState] = (),
    props: Iterable[spb.PropState] = (),
) -> spb.SceneState:
    """Everything the engine says of one instant."""
    return spb.SceneState(camera=scene_camera, actors=actors, props=props, lights=scene_lights)


# ---- turns ----------------------------------------------------------------------------------------------------------


def lockstep_turn(states: Iterable[spb.SceneState], turn_id: str = "") -> pb.Turn:
    """One scene state a frame. Without a ``turn_id`` the session gives one."""
    return pb.Turn(turn_id=turn_id, lockstep=pb.LockstepRun(states=states))


def keyframed_turn(keyframes: Mapping[float, spb.SceneState], turn_id: str = "", *, easing: str = "linear") -> pb.Turn:
    """States at seconds from the turn's first frame; the server draws every frame between them."""
    run = pb.KeyframedRun(
        keyframes=[
            pb.Keyframe(offset_us=round(seconds * 1e6), state=moment, easing=EASINGS[easing])
            for seconds, moment in sorted(keyframes.items())
        ]
    )
    return pb.Turn(turn_id=turn_id, keyframed=run)
