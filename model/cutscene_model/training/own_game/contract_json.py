"""The contract's scene messages in protobuf's JSON form to scene values, every field checked.

Limits are the proto's. Names of fields may be the proto's own or lowerCamelCase, enums names or numbers, as protobuf's
JSON mapping has it; what is left out is zero, and zero is checked like any other number. Unknown fields are errors.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

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
from cutscene_model.training.own_game.errors import CaptureError
from cutscene_model.vocabulary import NAME

Three = tuple[float, float, float]
Four = tuple[float, float, float, float]

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")
_CLASSES = {f"ELEMENT_CLASS_{one.name}": int(one) for one in ElementClass}
_EMOTIONS = {"EMOTION_UNSPECIFIED": 0} | {f"EMOTION_{name.upper()}": 1 + k for k, name in enumerate(EMOTIONS)}
_WHITE, _LEVEL = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0, 1.0)
_JOINT_NUMBERS = 3 * len(JOINTS)
_FARTHEST = 1000.0  # metres from the origin


class Fields:
    """One JSON object of a file, whose fields are taken out by name; ``done`` refuses what is left."""

    def __init__(self, path: Path, field: str, value: object) -> None:
        self.path, self.field = path, field
        if not isinstance(value, dict):
            raise CaptureError(path, field, f"found {type(value).__name__}; an object is wanted")
        self._left: dict[str, Any] = {_HUMP.sub(r"_\1", key).lower(): one for key, one in value.items()}

    def fail(self, name: str, description: str) -> CaptureError:
        """The error of one field."""
        return CaptureError(self.path, self._place(name), description)

    def _place(self, name: str) -> str:
        return f"{self.field}.{name}".lstrip(".")

    def done(self) -> None:
        """Nothing else may be there."""
        if self._left:
            raise self.fail(next(iter(self._left)), "is not a field of this message")

    def has(self, name: str) -> bool:
        """Whether a field is said."""
        return self._left.get(name) is not None

    def take(self, name: str, default: Any = None) -> Any:
        """The raw value."""
        value = self._left.pop(name, None)
        return default if value is None else value

    def number(self, name: str, low: float, high: float) -> float:
        """A number within ends that count as allowed."""
        return _number(self, name, self.take(name, 0.0), low, high)

    def whole(self, name: str, low: int, high: int) -> int:
        """A whole number."""
        value = self.take(name, 0)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.fail(name, f"found {value!r}; allowed are whole numbers from {low} to {high}")
        return value

    def flag(self, name: str) -> bool:
        """A boolean."""
        value = self.take(name, False)
        if not isinstance(value, bool):
            raise self.fail(name, f"found {value!r}; allowed are true and false")
        return value

    def text(self, name: str, pattern: re.Pattern[str]) -> str:
        """A text of a form."""
        value = self.take(name, "")
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise self.fail(name, f"found {value!r}; wanted is text like {pattern.pattern}")
        return value

    def choice(self, name: str, names: dict[str, int], low: int) -> int:
        """An enum's number."""
        value = self.take(name, 0)
        number = names.get(value) if isinstance(value, str) else value
        if isinstance(number, bool) or number not in [one for one in names.values() if one >= low]:
            raise self.fail(name, f"found {value!r}; allowed are {', '.join(names)}")
        return int(number)

    def child(self, name: str) -> Fields:
        """A message that must be there."""
        if not self.has(name):
            raise self.fail(name, "is missing; it is required")
        return Fields(self.path, self._place(name), self.take(name))

    def children(self, name: str, most: int) -> list[Fields]:
        """Repeated messages."""
        items = self.take(name, [])
        if not isinstance(items, list) or len(items) > most:
            raise self.fail(name, f"a list of at most {most} is wanted")
        return [Fields(self.path, f"{self._place(name)}[{k}]", item) for k, item in enumerate(items)]

    def numbers(self, name: str, parts: str, low: float, high: float) -> tuple[float, ...]:
        """A message of numbers, ``xyz`` or ``rgb`` or ``xyzw``."""
        message = self.child(name)
        result = tuple(message.number(part, low, high) for part in parts)
        message.done()
        return result

    def three(self, name: str, parts: str, low: float, high: float, default: Three | None = None) -> Three:
        """Three numbers."""
        if default is not None and not self.has(name):
            return default
        x, y, z = self.numbers(name, parts, low, high)
        return x, y, z

    def rotation(self, name: str, default: Four | None = _LEVEL) -> Four:
        """A unit quaternion."""
        if default is not None and not self.has(name):
            return default
        x, y, z, w = self.unit(name, self.numbers(name, "xyzw", -2, 2))
        return x, y, z, w

    def unit(self, name: str, parts: tuple[float, ...]) -> tuple[float, ...]:
        """``parts`` brought to exact unit length, if they have it within 1e-3."""
        length = math.sqrt(sum(part * part for part in parts))
        if not abs(length - 1) <= 1e-3:
            raise self.fail(name, f"found length {length:g}; allowed is 1 within 0.001")
        return tuple(part / length for part in parts)


def _number(fields: Fields, name: str, value: object, low: float, high: float) -> float:
    """The number as it comes to a server, which is a float32: so a look trains and plays alike to the last bit."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low - 1 <= value <= high + 1:
        raise fields.fail(name, f"found {value!r}; allowed are {low:g} to {high:g}")
    rounded = float(np.float32(value))
    if not float(np.float32(low)) <= rounded <= float(np.float32(high)):
        raise fields.fail(name, f"found {value!r}; allowed are {low:g} to {high:g}")
    return rounded


# ---- said once ------------------------------------------------------------------------------------------------------


def read_stage(fields: Fields) -> Stage:
    """The cast and the set, as an ``Open`` has them."""
    cast = tuple(_member(one) for one in fields.children("cast", MAX_CAST))
    room = fields.child("set")
    elements = tuple(_element(one) for one in room.children("elements", MAX_ELEMENTS))
    props = tuple(_prop(one) for one in room.children("props", MAX_PROPS))
    room.done()
    for name, ids in (("cast", [one.id for one in cast]), ("set.props", [one.id for one in props])):
        if len(set(ids)) < len(ids):
            raise fields.fail(name, "an id occurs twice")
    dressed: list[SetElement | Prop] = [*elements, *props]
    distinct = {(one.element_class, one.look, one.tint) for one in dressed}
    if len(distinct) > MAX_LOOKS:
        raise fields.fail("set", f"found {len(distinct)} distinct looks (class, look, tint); at most {MAX_LOOKS}")
    return Stage(cast, elements, props)


def _member(fields: Fields) -> CastMember:
    radii: Four | None = None
    if fields.has("build"):
        build = fields.child("build")
        head, torso, arms, legs = (build.number(part, 0.02, 2) for part in ("head", "torso", "arms", "legs"))
        build.done()
        radii = head, torso, arms, legs
    bare = fields.flag("bare_headed")
    tint = fields.three("tint", "rgb", 0.2, 1.5, _WHITE)
    member = CastMember(fields.text("id", _ID), fields.text("costume", NAME), not bare, tint, radii)
    fields.done()
    return member


def _element(fields: Fields) -> SetElement:
    if fields.has("box"):
        shape = fields.child("box")
        half = shape.three("half_extent", "xyz", 0.001, 200)
    elif fields.has("plane"):
        shape = fields.child("plane")
        half = shape.number("half_width", 0.001, 200), 0.0, shape.number("half_depth", 0.001, 200)
    else:
        raise fields.fail("shape", "is missing; box or plane is required")
    box = Box(shape.three("center", "xyz", -_FARTHEST, _FARTHEST), half, shape.rotation("rotation"))
    shape.done()
    element = SetElement(
        ElementClass(fields.choice("element_class", _CLASSES, 1)),
        fields.text("look", NAME),
        box,
        fields.whole("part", 0, 7),
        fields.three("tint", "rgb", 0.2, 1.5, _WHITE),
    )
    fields.done()
    return element


def _prop(fields: Fields) -> Prop:
    prop = Prop(
        fields.text("id", _ID),
        ElementClass(fields.choice("element_class", _CLASSES, 1)),
        fields.text("look", NAME),
        fields.three("half_extent", "xyz", 0.001, 20),
        fields.three("tint", "rgb", 0.2, 1.5, _WHITE),
    )
    fields.done()
    return prop


# ---- said of every instant ------------------------------------------------------------------------------------------


def read_state(fields: Fields, stage: Stage) -> SceneState:
    """One scene state on ``stage``."""
    cast = {member.id: index for index, member in enumerate(stage.cast)}
    props = {prop.id: index for index, prop in enumerate(stage.props)}
    camera = _camera(fields.child("camera"))
    actors = tuple(_actor(one, cast) for one in fields.children("actors", MAX_CAST))
    placed = tuple(_prop_state(one, props) for one in fields.children("props", MAX_PROPS))
    state = SceneState(camera, actors, placed, _lights(fields.child("lights")))
    fields.done()
    for name, indices in (
        ("actors", [one.cast_index for one in actors]),
        ("props", [one.prop_index for one in placed]),
    ):
        if len(set(indices)) < len(indices):
            raise fields.fail(name, "somebody or something occurs twice")
    return state


def _camera(fields: Fields) -> Camera:
    camera = Camera(
        fields.three("position", "xyz", -_FARTHEST, _FARTHEST),
        fields.rotation("rotation", None),
        fields.number("vertical_fov", 0.1, 2.5),
    )
    fields.done()
    return camera


def _actor(fields: Fields, cast: dict[str, int]) -> ActorState:
    who = _known(fields, "cast_id", cast, "member of the cast")
    values = fields.take("joints", [])
    if not isinstance(values, list) or len(values) != _JOINT_NUMBERS:
        raise fields.fail("joints", f"{_JOINT_NUMBERS} numbers are wanted: x y z of {', '.join(JOINTS)}")
    numbers = [_number(fields, f"joints[{k}]", one, -_FARTHEST, _FARTHEST) for k, one in enumerate(values)]
    emotion = max(0, fields.choice("emotion", _EMOTIONS, 0) - 1)
    actor = ActorState(
        who,
        np.array(numbers, np.float32).reshape(len(JOINTS), 3),
        emotion,
        fields.number("intensity", 0, 1),
        fields.number("mouth_open", 0, 1),
    )
    fields.done()
    return actor


def _prop_state(fields: Fields, props: dict[str, int]) -> PropState:
    which = _known(fields, "prop_id", props, "declared prop")
    state = PropState(which, fields.three("position", "xyz", -_FARTHEST, _FARTHEST), fields.rotation("rotation"))
    fields.done()
    return state


def _known(fields: Fields, name: str, known: dict[str, int], kind: str) -> int:
    value = fields.take(name, "")
    if not isinstance(value, str) or value not in known:
        raise fields.fail(name, f"found {value!r}, which is no {kind}: {', '.join(known) or 'there is none'}")
    return known[value]


def _lights(fields: Fields) -> Lights:
    direction = 0.0, -1.0, 0.0
    if fields.has("sun_direction"):
        x, y, z = fields.unit("sun_direction", fields.numbers("sun_direction", "xyz", -2, 2))
        direction = x, y, z
    points = []
    for point in fields.children("points", MAX_POINT_LIGHTS):
        place = point.three("position", "xyz", -_FARTHEST, _FARTHEST)
        points.append(PointLight(place, point.three("color", "rgb", 0, 50), point.number("range", 0.1, 100)))
        point.done()
    lights = Lights(
        fields.three("ambient", "rgb", 0, 5),
        direction,
        fields.three("sun_color", "rgb", 0, 5),
        fields.three("background_srgb", "rgb", 0, 1),
        tuple(points),
    )
    fields.done()
    return lights
