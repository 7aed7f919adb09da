from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ElementClass(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ELEMENT_CLASS_UNSPECIFIED: _ClassVar[ElementClass]
    ELEMENT_CLASS_FLOOR: _ClassVar[ElementClass]
    ELEMENT_CLASS_WALL: _ClassVar[ElementClass]
    ELEMENT_CLASS_PILLAR: _ClassVar[ElementClass]
    ELEMENT_CLASS_STAIRS: _ClassVar[ElementClass]
    ELEMENT_CLASS_TABLE: _ClassVar[ElementClass]
    ELEMENT_CLASS_SEAT: _ClassVar[ElementClass]
    ELEMENT_CLASS_BED: _ClassVar[ElementClass]
    ELEMENT_CLASS_SHELF: _ClassVar[ElementClass]
    ELEMENT_CLASS_CONTAINER: _ClassVar[ElementClass]
    ELEMENT_CLASS_BANNER: _ClassVar[ElementClass]
    ELEMENT_CLASS_LAMP: _ClassVar[ElementClass]
    ELEMENT_CLASS_CLUTTER: _ClassVar[ElementClass]
    ELEMENT_CLASS_WEAPON: _ClassVar[ElementClass]

class Emotion(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EMOTION_UNSPECIFIED: _ClassVar[Emotion]
    EMOTION_NEUTRAL: _ClassVar[Emotion]
    EMOTION_JOY: _ClassVar[Emotion]
    EMOTION_ANGER: _ClassVar[Emotion]
    EMOTION_SADNESS: _ClassVar[Emotion]
    EMOTION_FEAR: _ClassVar[Emotion]
    EMOTION_SURPRISE: _ClassVar[Emotion]
ELEMENT_CLASS_UNSPECIFIED: ElementClass
ELEMENT_CLASS_FLOOR: ElementClass
ELEMENT_CLASS_WALL: ElementClass
ELEMENT_CLASS_PILLAR: ElementClass
ELEMENT_CLASS_STAIRS: ElementClass
ELEMENT_CLASS_TABLE: ElementClass
ELEMENT_CLASS_SEAT: ElementClass
ELEMENT_CLASS_BED: ElementClass
ELEMENT_CLASS_SHELF: ElementClass
ELEMENT_CLASS_CONTAINER: ElementClass
ELEMENT_CLASS_BANNER: ElementClass
ELEMENT_CLASS_LAMP: ElementClass
ELEMENT_CLASS_CLUTTER: ElementClass
ELEMENT_CLASS_WEAPON: ElementClass
EMOTION_UNSPECIFIED: Emotion
EMOTION_NEUTRAL: Emotion
EMOTION_JOY: Emotion
EMOTION_ANGER: Emotion
EMOTION_SADNESS: Emotion
EMOTION_FEAR: Emotion
EMOTION_SURPRISE: Emotion

class Vec3(_message.Message):
    __slots__ = ("x", "y", "z")
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    Z_FIELD_NUMBER: _ClassVar[int]
    x: float
    y: float
    z: float
    def __init__(self, x: _Optional[float] = ..., y: _Optional[float] = ..., z: _Optional[float] = ...) -> None: ...

class Quaternion(_message.Message):
    __slots__ = ("x", "y", "z", "w")
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    Z_FIELD_NUMBER: _ClassVar[int]
    W_FIELD_NUMBER: _ClassVar[int]
    x: float
    y: float
    z: float
    w: float
    def __init__(self, x: _Optional[float] = ..., y: _Optional[float] = ..., z: _Optional[float] = ..., w: _Optional[float] = ...) -> None: ...

class Color(_message.Message):
    __slots__ = ("r", "g", "b")
    R_FIELD_NUMBER: _ClassVar[int]
    G_FIELD_NUMBER: _ClassVar[int]
    B_FIELD_NUMBER: _ClassVar[int]
    r: float
    g: float
    b: float
    def __init__(self, r: _Optional[float] = ..., g: _Optional[float] = ..., b: _Optional[float] = ...) -> None: ...

class Build(_message.Message):
    __slots__ = ("head", "torso", "arms", "legs")
    HEAD_FIELD_NUMBER: _ClassVar[int]
    TORSO_FIELD_NUMBER: _ClassVar[int]
    ARMS_FIELD_NUMBER: _ClassVar[int]
    LEGS_FIELD_NUMBER: _ClassVar[int]
    head: float
    torso: float
    arms: float
    legs: float
    def __init__(self, head: _Optional[float] = ..., torso: _Optional[float] = ..., arms: _Optional[float] = ..., legs: _Optional[float] = ...) -> None: ...

class CastMember(_message.Message):
    __slots__ = ("id", "costume", "bare_headed", "tint", "build")
    ID_FIELD_NUMBER: _ClassVar[int]
    COSTUME_FIELD_NUMBER: _ClassVar[int]
    BARE_HEADED_FIELD_NUMBER: _ClassVar[int]
    TINT_FIELD_NUMBER: _ClassVar[int]
    BUILD_FIELD_NUMBER: _ClassVar[int]
    id: str
    costume: str
    bare_headed: bool
    tint: Color
    build: Build
    def __init__(self, id: _Optional[str] = ..., costume: _Optional[str] = ..., bare_headed: _Optional[bool] = ..., tint: _Optional[_Union[Color, _Mapping]] = ..., build: _Optional[_Union[Build, _Mapping]] = ...) -> None: ...

class Box(_message.Message):
    __slots__ = ("center", "half_extent", "rotation")
    CENTER_FIELD_NUMBER: _ClassVar[int]
    HALF_EXTENT_FIELD_NUMBER: _ClassVar[int]
    ROTATION_FIELD_NUMBER: _ClassVar[int]
    center: Vec3
    half_extent: Vec3
    rotation: Quaternion
    def __init__(self, center: _Optional[_Union[Vec3, _Mapping]] = ..., half_extent: _Optional[_Union[Vec3, _Mapping]] = ..., rotation: _Optional[_Union[Quaternion, _Mapping]] = ...) -> None: ...

class Plane(_message.Message):
    __slots__ = ("center", "half_width", "half_depth", "rotation")
    CENTER_FIELD_NUMBER: _ClassVar[int]
    HALF_WIDTH_FIELD_NUMBER: _ClassVar[int]
    HALF_DEPTH_FIELD_NUMBER: _ClassVar[int]
    ROTATION_FIELD_NUMBER: _ClassVar[int]
    center: Vec3
    half_width: float
    half_depth: float
    rotation: Quaternion
    def __init__(self, center: _Optional[_Union[Vec3, _Mapping]] = ..., half_width: _Optional[float] = ..., half_depth: _Optional[float] = ..., rotation: _Optional[_Union[Quaternion, _Mapping]] = ...) -> None: ...

class SetElement(_message.Message):
    __slots__ = ("element_class", "look", "box", "plane", "part", "tint")
    ELEMENT_CLASS_FIELD_NUMBER: _ClassVar[int]
    LOOK_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    PLANE_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    TINT_FIELD_NUMBER: _ClassVar[int]
    element_class: ElementClass
    look: str
    box: Box
    plane: Plane
    part: int
    tint: Color
    def __init__(self, element_class: _Optional[_Union[ElementClass, str]] = ..., look: _Optional[str] = ..., box: _Optional[_Union[Box, _Mapping]] = ..., plane: _Optional[_Union[Plane, _Mapping]] = ..., part: _Optional[int] = ..., tint: _Optional[_Union[Color, _Mapping]] = ...) -> None: ...

class Prop(_message.Message):
    __slots__ = ("id", "element_class", "look", "half_extent", "tint")
    ID_FIELD_NUMBER: _ClassVar[int]
    ELEMENT_CLASS_FIELD_NUMBER: _ClassVar[int]
    LOOK_FIELD_NUMBER: _ClassVar[int]
    HALF_EXTENT_FIELD_NUMBER: _ClassVar[int]
    TINT_FIELD_NUMBER: _ClassVar[int]
    id: str
    element_class: ElementClass
    look: str
    half_extent: Vec3
    tint: Color
    def __init__(self, id: _Optional[str] = ..., element_class: _Optional[_Union[ElementClass, str]] = ..., look: _Optional[str] = ..., half_extent: _Optional[_Union[Vec3, _Mapping]] = ..., tint: _Optional[_Union[Color, _Mapping]] = ...) -> None: ...

class Set(_message.Message):
    __slots__ = ("elements", "props")
    ELEMENTS_FIELD_NUMBER: _ClassVar[int]
    PROPS_FIELD_NUMBER: _ClassVar[int]
    elements: _containers.RepeatedCompositeFieldContainer[SetElement]
    props: _containers.RepeatedCompositeFieldContainer[Prop]
    def __init__(self, elements: _Optional[_Iterable[_Union[SetElement, _Mapping]]] = ..., props: _Optional[_Iterable[_Union[Prop, _Mapping]]] = ...) -> None: ...

class Camera(_message.Message):
    __slots__ = ("position", "rotation", "vertical_fov")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    ROTATION_FIELD_NUMBER: _ClassVar[int]
    VERTICAL_FOV_FIELD_NUMBER: _ClassVar[int]
    position: Vec3
    rotation: Quaternion
    vertical_fov: float
    def __init__(self, position: _Optional[_Union[Vec3, _Mapping]] = ..., rotation: _Optional[_Union[Quaternion, _Mapping]] = ..., vertical_fov: _Optional[float] = ...) -> None: ...

class ActorState(_message.Message):
    __slots__ = ("cast_id", "joints", "emotion", "intensity", "mouth_open")
    CAST_ID_FIELD_NUMBER: _ClassVar[int]
    JOINTS_FIELD_NUMBER: _ClassVar[int]
    EMOTION_FIELD_NUMBER: _ClassVar[int]
    INTENSITY_FIELD_NUMBER: _ClassVar[int]
    MOUTH_OPEN_FIELD_NUMBER: _ClassVar[int]
    cast_id: str
    joints: _containers.RepeatedScalarFieldContainer[float]
    emotion: Emotion
    intensity: float
    mouth_open: float
    def __init__(self, cast_id: _Optional[str] = ..., joints: _Optional[_Iterable[float]] = ..., emotion: _Optional[_Union[Emotion, str]] = ..., intensity: _Optional[float] = ..., mouth_open: _Optional[float] = ...) -> None: ...

class PropState(_message.Message):
    __slots__ = ("prop_id", "position", "rotation")
    PROP_ID_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    ROTATION_FIELD_NUMBER: _ClassVar[int]
    prop_id: str
    position: Vec3
    rotation: Quaternion
    def __init__(self, prop_id: _Optional[str] = ..., position: _Optional[_Union[Vec3, _Mapping]] = ..., rotation: _Optional[_Union[Quaternion, _Mapping]] = ...) -> None: ...

class PointLight(_message.Message):
    __slots__ = ("position", "color", "range")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    COLOR_FIELD_NUMBER: _ClassVar[int]
    RANGE_FIELD_NUMBER: _ClassVar[int]
    position: Vec3
    color: Color
    range: float
    def __init__(self, position: _Optional[_Union[Vec3, _Mapping]] = ..., color: _Optional[_Union[Color, _Mapping]] = ..., range: _Optional[float] = ...) -> None: ...

class Lights(_message.Message):
    __slots__ = ("ambient", "sun_direction", "sun_color", "background_srgb", "points")
    AMBIENT_FIELD_NUMBER: _ClassVar[int]
    SUN_DIRECTION_FIELD_NUMBER: _ClassVar[int]
    SUN_COLOR_FIELD_NUMBER: _ClassVar[int]
    BACKGROUND_SRGB_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    ambient: Color
    sun_direction: Vec3
    sun_color: Color
    background_srgb: Color
    points: _containers.RepeatedCompositeFieldContainer[PointLight]
    def __init__(self, ambient: _Optional[_Union[Color, _Mapping]] = ..., sun_direction: _Optional[_Union[Vec3, _Mapping]] = ..., sun_color: _Optional[_Union[Color, _Mapping]] = ..., background_srgb: _Optional[_Union[Color, _Mapping]] = ..., points: _Optional[_Iterable[_Union[PointLight, _Mapping]]] = ...) -> None: ...

class SceneState(_message.Message):
    __slots__ = ("camera", "actors", "props", "lights")
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    ACTORS_FIELD_NUMBER: _ClassVar[int]
    PROPS_FIELD_NUMBER: _ClassVar[int]
    LIGHTS_FIELD_NUMBER: _ClassVar[int]
    camera: Camera
    actors: _containers.RepeatedCompositeFieldContainer[ActorState]
    props: _containers.RepeatedCompositeFieldContainer[PropState]
    lights: Lights
    def __init__(self, camera: _Optional[_Union[Camera, _Mapping]] = ..., actors: _Optional[_Iterable[_Union[ActorState, _Mapping]]] = ..., props: _Optional[_Iterable[_Union[PropState, _Mapping]]] = ..., lights: _Optional[_Union[Lights, _Mapping]] = ...) -> None: ...
