"""Scene messages to scene values, every field checked. See ``requests`` for what a request as a whole must be.

The rule for what is left out: a message-typed field is required, unless its comment in the proto says what its absence
means. Numbers left out are zero, as proto3 has it, and zero is then checked like any other number.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from functools import lru_cache

import numpy as np

from cutscene_model.manifest import Manifest
from cutscene_model.scene import (
    EMOTIONS,
    JOINTS,
    MAX_CAST,
    MAX_ELEMENTS,
    MAX_LOOKS,
    MAX_POINT_LIGHTS,
    MAX_PROPS,
    ActorState,
    Box,
    Camera,
    CastMember,
    ElementClass,
    Lights,
    PointLight,
    Prop,
    PropState,
    SceneState,
    SetElement,
    Stage,
)
from cutscene_proto.v1 import cutscene_pb2, scene_pb2
from cutscene_server.terms import Names
from cutscene_server.wire.violations import (
    Full,
    Range,
    Violations,
    check_count,
    check_name,
    check_vocabulary,
    require,
    shown,
    unit_length,
)

Three = tuple[float, float, float]
Four = tuple[float, float, float, float]

POSITION = Range(-1000, 1000, "metres")
HALF_EXTENT = Range(0.001, 200, "metres")
PROP_HALF_EXTENT = Range(0.001, 20, "metres")
RADIUS = Range(0.02, 2, "metres")
TINT = Range(0.2, 1.5)
FIELD_OF_VIEW = Range(0.1, 2.5, "radians")
UNIT = Range(0, 1)
LIGHT_LEVEL = Range(0, 5)
POINT_LEVEL = Range(0, 50)
POINT_RANGE = Range(0.1, 100, "metres")
MAX_PART = 7
MOST_LIGHTS_BYTES = 256  # of lights that are remembered; all that are allowed take 232

LEVEL: Four = (0.0, 0.0, 0.0, 1.0)
WHITE: Three = (1.0, 1.0, 1.0)
STRAIGHT_DOWN: Three = (0.0, -1.0, 0.0)
ORIGIN: Three = (0.0, 0.0, 0.0)  # stands in for what was refused, so that the rest can still be checked

_JOINT_NUMBERS = len(JOINTS) * 3


def names_of(stage: Stage, manifest: Manifest) -> Names:
    """What states on this stage may refer to."""
    return Names(
        cast={member.id: index for index, member in enumerate(stage.cast)},
        props={prop.id: index for index, prop in enumerate(stage.props)},
        emotions=frozenset(manifest.emotions),
    )


# ---- said once, at open ---------------------------------------------------------------------------------------------


def read_stage(violations: Violations, message: cutscene_pb2.Open, manifest: Manifest) -> Stage:
    """The cast and the set of an ``open``."""
    cast: list[CastMember] = []
    if check_count(violations, "open.cast", message.cast, 0, MAX_CAST):
        taken: set[str] = set()
        for index, member in enumerate(message.cast):
            cast.append(_cast_member(violations, f"open.cast[{index}]", member, manifest, taken))
    elements: list[SetElement] = []
    looks = frozenset(manifest.looks)
    if check_count(violations, "open.set.elements", message.set.elements, 0, MAX_ELEMENTS):
        for index, element in enumerate(message.set.elements):
            elements.append(_set_element(violations, f"open.set.elements[{index}]", element, looks))
    props: list[Prop] = []
    if check_count(violations, "open.set.props", message.set.props, 0, MAX_PROPS):
        taken = set()
        for index, prop in enumerate(message.set.props):
            props.append(_prop(violations, f"open.set.props[{index}]", prop, looks, taken))
    dressed: list[SetElement | Prop] = [*elements, *props]
    distinct = {(item.element_class, item.look, item.tint) for item in dressed}
    if len(distinct) > MAX_LOOKS:
        violations.add("open.set", f"found {len(distinct)} distinct looks (class, look, tint); at most {MAX_LOOKS}")
    return Stage(tuple(cast), tuple(elements), tuple(props))


def read_replacements(
    violations: Violations, path: str, messages: Collection[scene_pb2.CastMember], names: Names, manifest: Manifest
) -> tuple[CastMember, ...]:
    """Members that take the place of those with their ids."""
    members: list[CastMember] = []
    if check_count(violations, path, messages, 0, MAX_CAST):
        taken: set[str] = set()
        for index, message in enumerate(messages):
            if message.id not in names.cast:
                among = ", ".join(sorted(names.cast)) or "none"
                violations.add(f"{path}[{index}].id", f"found {shown(message.id)}; the cast is {among}")
            members.append(_cast_member(violations, f"{path}[{index}]", message, manifest, taken))
    return tuple(members)


def _cast_member(
    violations: Violations, path: str, message: scene_pb2.CastMember, manifest: Manifest, taken: set[str]
) -> CastMember:
    _unique(violations, f"{path}.id", check_name(violations, f"{path}.id", message.id), taken)
    check_vocabulary(violations, f"{path}.costume", message.costume, manifest.costumes, "costume")
    radii = None
    if message.HasField("build"):
        build = message.build
        radii = (
            RADIUS.check(violations, f"{path}.build.head", build.head),
            RADIUS.check(violations, f"{path}.build.torso", build.torso),
            RADIUS.check(violations, f"{path}.build.arms", build.arms),
            RADIUS.check(violations, f"{path}.build.legs", build.legs),
        )
    tint = _color(violations, f"{path}.tint", message.tint, TINT) if message.HasField("tint") else WHITE
    return CastMember(message.id, message.costume, headgear=not message.bare_headed, tint=tint, radii=radii)


def _set_element(
    violations: Violations, path: str, message: scene_pb2.SetElement, looks: Collection[str]
) -> SetElement:
    if message.part > MAX_PART:
        violations.add(f"{path}.part", f"found {message.part}; allowed are 0 to {MAX_PART}")
    match message.WhichOneof("shape"):
        case "box":
            box = _box(violations, f"{path}.box", message.box)
        case "plane":
            box = _plane(violations, f"{path}.plane", message.plane)
        case _:
            violations.add(f"{path}.shape", "is missing; box or plane is required")
            box = Box(ORIGIN, ORIGIN)
    return SetElement(
        element_class=_element_class(violations, f"{path}.element_class", message.element_class),
        look=check_vocabulary(violations, f"{path}.look", message.look, looks, "look"),
        box=box,
        part=message.part,
        tint=_color(violations, f"{path}.tint", message.tint, TINT) if message.HasField("tint") else WHITE,
    )


def _box(violations: Violations, path: str, message: scene_pb2.Box) -> Box:
    return Box(
        center=_position(violations, f"{path}.center", message.center, message.HasField("center")),
        half_extent=_vector(
            violations, f"{path}.half_extent", message.half_extent, message.HasField("half_extent"), HALF_EXTENT
        ),
        rotation=_rotation(violations, f"{path}.rotation", message.rotation) if message.HasField("rotation") else LEVEL,
    )


def _plane(violations: Violations, path: str, message: scene_pb2.Plane) -> Box:
    """A plane is a box without height."""
    return Box(
        center=_position(violations, f"{path}.center", message.center, message.HasField("center")),
        half_extent=(
            HALF_EXTENT.check(violations, f"{path}.half_width", message.half_width),
            0.0,
            HALF_EXTENT.check(violations, f"{path}.half_depth", message.half_depth),
        ),
        rotation=_rotation(violations, f"{path}.rotation", message.rotation) if message.HasField("rotation") else LEVEL,
    )


def _prop(violations: Violations, path: str, message: scene_pb2.Prop, looks: Collection[str], taken: set[str]) -> Prop:
    _unique(violations, f"{path}.id", check_name(violations, f"{path}.id", message.id), taken)
    return Prop(
        id=message.id,
        element_class=_element_class(violations, f"{path}.element_class", message.element_class),
        look=check_vocabulary(violations, f"{path}.look", message.look, looks, "look"),
        half_extent=_vector(
            violations, f"{path}.half_extent", message.half_extent, message.HasField("half_extent"), PROP_HALF_EXTENT
        ),
        tint=_color(violations, f"{path}.tint", message.tint, TINT) if message.HasField("tint") else WHITE,
    )


# ---- said of every instant ------------------------------------------------------------------------------------------


def read_state(violations: Violations, path: str, message: scene_pb2.SceneState, names: Names) -> SceneState:
    """One scene state."""
    camera = Camera(ORIGIN, LEVEL, 1.0)
    if require(violations, f"{path}.camera", message.HasField("camera")):
        camera = read_camera(violations, f"{path}.camera", message.camera)
    actors: list[ActorState] = []
    if check_count(violations, f"{path}.actors", message.actors, 0, MAX_CAST):
        taken: set[str] = set()
        for index, actor in enumerate(message.actors):
            actors.append(_actor(violations, f"{path}.actors[{index}]", actor, names, taken))
    props: list[PropState] = []
    if check_count(violations, f"{path}.props", message.props, 0, MAX_PROPS):
        taken = set()
        for index, prop in enumerate(message.props):
            props.append(_prop_state(violations, f"{path}.props[{index}]", prop, names, taken))
    lights = Lights()
    if require(violations, f"{path}.lights", message.HasField("lights")):
        lights = _lights(violations, f"{path}.lights", message.lights)
    return SceneState(camera, tuple(actors), tuple(props), lights)


def read_camera(violations: Violations, path: str, message: scene_pb2.Camera) -> Camera:
    rotation = LEVEL
    if require(violations, f"{path}.rotation", message.HasField("rotation")):
        rotation = _rotation(violations, f"{path}.rotation", message.rotation)
    return Camera(
        position=_position(violations, f"{path}.position", message.position, message.HasField("position")),
        rotation=rotation,
        vertical_fov=FIELD_OF_VIEW.check(violations, f"{path}.vertical_fov", message.vertical_fov),
    )


def _actor(
    violations: Violations, path: str, message: scene_pb2.ActorState, names: Names, taken: set[str]
) -> ActorState:
    cast_index = _reference(violations, f"{path}.cast_id", message.cast_id, names.cast, taken, "member of the cast")
    joints = np.zeros((len(JOINTS), 3), np.float32)
    if check_count(violations, f"{path}.joints", message.joints, _JOINT_NUMBERS, _JOINT_NUMBERS):
        joints = np.array(message.joints, np.float32).reshape(len(JOINTS), 3)
        if not np.abs(joints).max() <= POSITION.high:  # NaN is not
            first = int(np.argmin(np.abs(joints) <= POSITION.high))
            joint, axis = JOINTS[first // 3], "xyz"[first % 3]
            violations.add(
                f"{path}.joints[{first}]",
                f"found {joints.flat[first]:g} for {joint} {axis}; allowed are {POSITION.text()}",
            )
    emotion = max(0, message.emotion - 1)  # unspecified is read as neutral
    if not 0 <= message.emotion <= len(EMOTIONS):
        violations.add(f"{path}.emotion", f"found {message.emotion}; allowed are 0 to {len(EMOTIONS)}")
    elif EMOTIONS[emotion] not in names.emotions:
        violations.add(f"{path}.emotion", f"found {EMOTIONS[emotion]}, which is not an emotion of this model")
    return ActorState(
        cast_index=cast_index,
        joints=joints,
        emotion=emotion,
        intensity=UNIT.check(violations, f"{path}.intensity", message.intensity),
        mouth_open=UNIT.check(violations, f"{path}.mouth_open", message.mouth_open),
    )


def _prop_state(
    violations: Violations, path: str, message: scene_pb2.PropState, names: Names, taken: set[str]
) -> PropState:
    return PropState(
        prop_index=_reference(violations, f"{path}.prop_id", message.prop_id, names.props, taken, "declared prop"),
        position=_position(violations, f"{path}.position", message.position, message.HasField("position")),
        rotation=_rotation(violations, f"{path}.rotation", message.rotation) if message.HasField("rotation") else LEVEL,
    )


def _lights(violations: Violations, path: str, message: scene_pb2.Lights) -> Lights:
    """Lights hardly ever change from state to state, and take as long to read as all else of one: those that were found
    as they should be are remembered.
    """
    known = _known_lights(message.SerializeToString()) if message.ByteSize() <= MOST_LIGHTS_BYTES else None
    return known or _read_lights(violations, path, message)


@lru_cache(maxsize=64)
def _known_lights(packed: bytes) -> Lights | None:
    """None if something is wrong with them, which is found once more for the sake of the fields' names."""
    violations = Violations()
    with contextlib.suppress(Full):
        lights = _read_lights(violations, "", scene_pb2.Lights.FromString(packed))
        return None if violations.found else lights
    return None


def _read_lights(violations: Violations, path: str, message: scene_pb2.Lights) -> Lights:
    direction = STRAIGHT_DOWN
    if message.HasField("sun_direction"):
        sun = message.sun_direction
        x, y, z = unit_length(violations, f"{path}.sun_direction", (sun.x, sun.y, sun.z))
        direction = x, y, z
    points: list[PointLight] = []
    if check_count(violations, f"{path}.points", message.points, 0, MAX_POINT_LIGHTS):
        for index, point in enumerate(message.points):
            points.append(_point_light(violations, f"{path}.points[{index}]", point))
    return Lights(
        ambient=_required_color(violations, f"{path}.ambient", message, "ambient", LIGHT_LEVEL),
        sun_direction=direction,
        sun_color=_required_color(violations, f"{path}.sun_color", message, "sun_color", LIGHT_LEVEL),
        background=_required_color(violations, f"{path}.background_srgb", message, "background_srgb", UNIT),
        points=tuple(points),
    )


def _point_light(violations: Violations, path: str, message: scene_pb2.PointLight) -> PointLight:
    return PointLight(
        position=_position(violations, f"{path}.position", message.position, message.HasField("position")),
        color=_required_color(violations, f"{path}.color", message, "color", POINT_LEVEL),
        range=POINT_RANGE.check(violations, f"{path}.range", message.range),
    )


# ---- single values --------------------------------------------------------------------------------------------------


def _position(violations: Violations, path: str, message: scene_pb2.Vec3, present: bool) -> Three:
    return _vector(violations, path, message, present, POSITION)


def _vector(violations: Violations, path: str, message: scene_pb2.Vec3, present: bool, allowed: Range) -> Three:
    if not require(violations, path, present):
        return ORIGIN
    low, high = allowed.low, allowed.high
    x, y, z = message.x, message.y, message.z
    if low <= x <= high and low <= y <= high and low <= z <= high:
        return x, y, z  # so nearly always: nobody needs the fields' names
    return (
        allowed.check(violations, f"{path}.x", x),
        allowed.check(violations, f"{path}.y", y),
        allowed.check(violations, f"{path}.z", z),
    )


def _color(violations: Violations, path: str, message: scene_pb2.Color, allowed: Range) -> Three:
    low, high = allowed.low, allowed.high
    r, g, b = message.r, message.g, message.b
    if low <= r <= high and low <= g <= high and low <= b <= high:
        return r, g, b
    return (
        allowed.check(violations, f"{path}.r", r),
        allowed.check(violations, f"{path}.g", g),
        allowed.check(violations, f"{path}.b", b),
    )


def _required_color(
    violations: Violations, path: str, owner: scene_pb2.Lights | scene_pb2.PointLight, name: str, allowed: Range
) -> Three:
    if not require(violations, path, owner.HasField(name)):
        return ORIGIN
    return _color(violations, path, getattr(owner, name), allowed)


def _rotation(violations: Violations, path: str, message: scene_pb2.Quaternion) -> Four:
    x, y, z, w = unit_length(violations, path, (message.x, message.y, message.z, message.w))
    return x, y, z, w


def _element_class(violations: Violations, path: str, value: int) -> ElementClass:
    try:
        return ElementClass(value)
    except ValueError:
        low, high = min(ElementClass), max(ElementClass)
        violations.add(path, f"found {value}; allowed are {int(low)} to {int(high)}")
        return ElementClass.FLOOR


def _unique(violations: Violations, path: str, name: str, taken: set[str]) -> None:
    if name in taken:
        violations.add(path, f"found {name!r} twice; ids are unique")
    taken.add(name)


def _reference(violations: Violations, path: str, name: str, known: dict[str, int], taken: set[str], kind: str) -> int:
    index = known.get(name)
    if index is None:
        among = ", ".join(sorted(known)) or "none"
        violations.add(path, f"found {shown(name)}, which is not a {kind} ({among})")
        return 0
    _unique(violations, path, name, taken)
    return index
