"""Scene values to plain lists and back: what recordings and data sets store (as msgpack; never pickle).

A record is a flat list in the order of the dataclass's fields, so that a state of one actor costs some 400 bytes and
not a kilobyte of key names. Joints travel as little-endian float32 bytes, everything else as numbers. Decoding checks
lengths and types and raises ``ValueError``: files are not trusted more than clients.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from cutscene_model.scene import (
    JOINTS,
    MAX_REFERENCES,
    ActorState,
    Box,
    Camera,
    CastMember,
    ElementClass,
    FloatArray,
    Lights,
    PointLight,
    Prop,
    PropState,
    SceneState,
    SetElement,
    Stage,
    StageHint,
)

CODEC_VERSION = 1
REFERENCES_VERSION = 2  # of a stage with reference pictures: who does not know of them must not leave them out

Plain = list[Any]


def stage_to_plain(stage: Stage) -> Plain:
    """A stage as msgpack-able lists."""
    cast_ = [
        [m.id, m.costume, m.headgear, list(m.tint), None if m.radii is None else list(m.radii)] for m in stage.cast
    ]
    elements = [[int(e.element_class), e.look, _box_to_plain(e.box), e.part, list(e.tint)] for e in stage.elements]
    props = [[p.id, int(p.element_class), p.look, list(p.half_extent), list(p.tint)] for p in stage.props]
    if stage.references:
        return [REFERENCES_VERSION, cast_, elements, props, list(stage.references)]
    return [CODEC_VERSION, cast_, elements, props]


def stage_from_plain(plain: object) -> Stage:
    """The inverse of ``stage_to_plain``."""
    items = _sequence(plain, "stage")
    version = items[0] if items else None
    if version not in (CODEC_VERSION, REFERENCES_VERSION):
        raise ValueError(f"stage: codec version {version!r} is not {CODEC_VERSION} or {REFERENCES_VERSION}")
    references: tuple[bytes, ...] = ()
    if version == REFERENCES_VERSION:
        *items, seen = _record(items, 5, "stage")
        references = _references(seen)
    _, cast_, elements, props = _record(items, 4, "stage")
    return Stage(
        cast=tuple(_cast_member(item) for item in _sequence(cast_, "cast")),
        elements=tuple(_element(item) for item in _sequence(elements, "elements")),
        props=tuple(_prop(item) for item in _sequence(props, "props")),
        references=references,
    )


def state_to_plain(state: SceneState) -> Plain:
    """A scene state as msgpack-able lists."""
    camera = state.camera
    actors = [
        [a.cast_index, joints_to_bytes(a.joints), a.emotion, a.intensity, a.mouth_open, _hint_to_plain(a.hint)]
        for a in state.actors
    ]
    props = [[p.prop_index, list(p.position), list(p.rotation)] for p in state.props]
    lights = state.lights
    points = [[list(p.position), list(p.color), p.range] for p in lights.points]
    return [
        CODEC_VERSION,
        [list(camera.position), list(camera.rotation), camera.vertical_fov],
        actors,
        props,
        [
            list(lights.ambient),
            list(lights.sun_direction),
            list(lights.sun_color),
            list(lights.background),
            points,
        ],
    ]


def state_from_plain(plain: object) -> SceneState:
    """The inverse of ``state_to_plain``."""
    version, camera, actors, props, lights = _record(plain, 5, "state")
    if version != CODEC_VERSION:
        raise ValueError(f"state: codec version {version!r} is not {CODEC_VERSION}")
    position, rotation, fov = _record(camera, 3, "camera")
    ambient, sun_direction, sun_color, background, points = _record(lights, 5, "lights")
    return SceneState(
        camera=Camera(_three(position), _four(rotation), _number(fov)),
        actors=tuple(_actor(item) for item in _sequence(actors, "actors")),
        props=tuple(_prop_state(item) for item in _sequence(props, "props")),
        lights=Lights(
            _three(ambient),
            _three(sun_direction),
            _three(sun_color),
            _three(background),
            tuple(_point(item) for item in _sequence(points, "points")),
        ),
    )


def joints_to_bytes(joints: FloatArray) -> bytes:
    """(19, 3) float32 to 228 little-endian bytes."""
    return np.ascontiguousarray(joints, "<f4").tobytes()


def joints_from_bytes(data: object) -> FloatArray:
    """The inverse of ``joints_to_bytes``."""
    if not isinstance(data, bytes) or len(data) != len(JOINTS) * 12:
        raise ValueError(f"joints: expected {len(JOINTS) * 12} bytes")
    return np.frombuffer(data, "<f4").reshape(len(JOINTS), 3).astype(np.float32)


def _box_to_plain(box: Box) -> Plain:
    return [list(box.center), list(box.half_extent), list(box.rotation)]


def _hint_to_plain(hint: StageHint | None) -> Plain | None:
    return None if hint is None else [hint.clip, hint.clip_time, list(hint.position), hint.yaw]


def _cast_member(plain: object) -> CastMember:
    id_, costume, headgear, tint, radii = _record(plain, 5, "cast member")
    if not isinstance(headgear, bool):
        raise ValueError("cast member: headgear is not a boolean")
    return CastMember(_text(id_), _text(costume), headgear, _three(tint), None if radii is None else _four(radii))


def _element(plain: object) -> SetElement:
    class_, look, box, part, tint = _record(plain, 5, "element")
    center, half_extent, rotation = _record(box, 3, "box")
    place = Box(_three(center), _three(half_extent), _four(rotation))
    return SetElement(ElementClass(_integer(class_)), _text(look), place, _integer(part), _three(tint))


def _prop(plain: object) -> Prop:
    id_, class_, look, half_extent, tint = _record(plain, 5, "prop")
    return Prop(_text(id_), ElementClass(_integer(class_)), _text(look), _three(half_extent), _three(tint))


def _actor(plain: object) -> ActorState:
    cast_index, joints, emotion, intensity, mouth_open, hint = _record(plain, 6, "actor")
    pose = None
    if hint is not None:
        clip, clip_time, position, yaw = _record(hint, 4, "hint")
        pose = StageHint(_text(clip), _number(clip_time), _three(position), _number(yaw))
    return ActorState(
        _integer(cast_index),
        joints_from_bytes(joints),
        _integer(emotion),
        _number(intensity),
        _number(mouth_open),
        pose,
    )


def _prop_state(plain: object) -> PropState:
    prop_index, position, rotation = _record(plain, 3, "prop state")
    return PropState(_integer(prop_index), _three(position), _four(rotation))


def _references(plain: object) -> tuple[bytes, ...]:
    pictures = _sequence(plain, "references")
    if not 1 <= len(pictures) <= MAX_REFERENCES:
        raise ValueError(f"references: expected 1 to {MAX_REFERENCES} items, got {len(pictures)}")
    if not all(isinstance(picture, bytes) for picture in pictures):
        raise ValueError("references: expected bytes")
    return tuple(cast("list[bytes]", pictures))


def _point(plain: object) -> PointLight:
    position, color, range_ = _record(plain, 3, "point light")
    return PointLight(_three(position), _three(color), _number(range_))


# A state is decoded for every frame, and holds a hundred numbers: what each of these finds nearly always comes first.


def _sequence(plain: object, name: str) -> list[Any]:
    """Not to be changed: it may be the caller's own."""
    if type(plain) is list:
        return plain
    if not isinstance(plain, (list, tuple)):
        raise ValueError(f"{name}: expected a list")
    return list(plain)


def _record(plain: object, length: int, name: str) -> list[Any]:
    items = _sequence(plain, name)
    if len(items) != length:
        raise ValueError(f"{name}: expected {length} items, got {len(items)}")
    return items


def _number(value: object) -> float:
    if type(value) is float:
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"expected a number, got {type(value).__name__}")
    return float(value)


def _integer(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"expected an integer, got {type(value).__name__}")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected text, got {type(value).__name__}")
    return value


def _numbers(values: object, length: int) -> tuple[float, ...]:
    return tuple(_number(value) for value in _record(values, length, "numbers"))


def _three(values: object) -> tuple[float, float, float]:
    if type(values) is list and len(values) == 3:
        x, y, z = values
        if type(x) is type(y) is type(z) is float:
            return x, y, z
    return cast("tuple[float, float, float]", _numbers(values, 3))


def _four(values: object) -> tuple[float, float, float, float]:
    if type(values) is list and len(values) == 4:
        x, y, z, w = values
        if type(x) is type(y) is type(z) is type(w) is float:
            return x, y, z, w
    return cast("tuple[float, float, float, float]", _numbers(values, 4))
