"""What an engine knows of one instant, and what it says once at open: the values every other module speaks in.

Conventions are glTF's: right-handed metres, Y up, radians, quaternions ``(x, y, z, w)``, cameras look along their
local -Z. Colours are linear-light RGB unless a name says ``srgb``. Values are checked where they enter the process
(``cutscene_server.wire`` for clients, the capture reader for data sets); here they are plain frozen records.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

JOINTS: tuple[str, ...] = (
    "hips",
    "chest",
    "neck",  # where the head pivots
    "head_top",  # crown of the bare skull
    "face",  # the tip of the nose: with neck and head_top it fixes where the head looks
    "shoulder_l",
    "elbow_l",
    "hand_l",
    "shoulder_r",
    "elbow_r",
    "hand_r",
    "hip_l",
    "knee_l",
    "ankle_l",
    "toe_l",
    "hip_r",
    "knee_r",
    "ankle_r",
    "toe_r",
)
"""The contract's skeleton: 19 world-space points that any humanoid rig can give. ``_l`` is the actor's own left."""

JOINT_INDEX: dict[str, int] = {name: index for index, name in enumerate(JOINTS)}

EMOTIONS: tuple[str, ...] = ("neutral", "joy", "anger", "sadness", "fear", "surprise")

MAX_CAST = 4
MAX_ELEMENTS = 320
MAX_LOOKS = 60  # distinct (class, look, tint) over set and props; with the cast they fill 64 slots
MAX_PROPS = 16
MAX_POINT_LIGHTS = 4
MAX_REFERENCES = 4  # reference pictures of a stage; a model may take fewer, or none


class ElementClass(enum.IntEnum):
    """What a box of the set, or a prop, is. The values are those of the proto enum."""

    FLOOR = 1
    WALL = 2
    PILLAR = 3
    STAIRS = 4
    TABLE = 5
    SEAT = 6
    BED = 7
    SHELF = 8
    CONTAINER = 9
    BANNER = 10
    LAMP = 11
    CLUTTER = 12
    WEAPON = 13


@dataclass(frozen=True, slots=True)
class CastMember:
    """Who appears and how they look: said once at open, known later only from the session's anchors."""

    id: str
    costume: str  # a name from the model's vocabulary, for example "knight"
    headgear: bool = True  # helmet, hat or hood on, where the costume has one
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)  # multiplies the costume's colours, each 0.2 to 1.5
    radii: tuple[float, float, float, float] | None = None  # head, torso, arms, legs in metres; None: the costume's


@dataclass(frozen=True, slots=True)
class Box:
    """An oriented box; a plane is a box whose half extent along local Y is zero."""

    center: tuple[float, float, float]
    half_extent: tuple[float, float, float]
    rotation: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class SetElement:
    """A static piece of the set. Furniture may be several boxes of one look, told apart by ``part`` (0 to 7)."""

    element_class: ElementClass
    look: str  # a name from the model's vocabulary, for example "wall" or "table_long"
    box: Box
    part: int = 0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Prop:
    """A thing that may move: declared once, its place said in each state."""

    id: str
    element_class: ElementClass
    look: str
    half_extent: tuple[float, float, float]
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything said once at open: the cast and the set. The anchors are made from it."""

    cast: tuple[CastMember, ...] = ()
    elements: tuple[SetElement, ...] = ()
    props: tuple[Prop, ...] = ()
    # What the model sees in reference pictures: of each ``Manifest.reference_shape`` numbers, raw little-endian float16
    # in C order. The pictures themselves are not kept.
    references: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole camera; the picture's aspect gives the horizontal field of view."""

    position: tuple[float, float, float]
    rotation: tuple[float, float, float, float]
    vertical_fov: float  # radians


@dataclass(frozen=True, slots=True)
class StageHint:
    """How the training stage is to pose an actor: a clip and where the actor stands. The model never sees it."""

    clip: str
    clip_time: float  # seconds
    position: tuple[float, float, float]
    yaw: float  # radians about +Y; 0 faces +Z


@dataclass(frozen=True, slots=True)
class ActorState:
    """One actor at one instant."""

    cast_index: int
    joints: FloatArray  # (19, 3) float32, metres, world space, in the order of JOINTS
    emotion: int = 0  # index into EMOTIONS
    intensity: float = 0.0  # 0 to 1
    mouth_open: float = 0.0  # 0 closed to 1 wide
    hint: StageHint | None = None


@dataclass(frozen=True, slots=True)
class PropState:
    """Where one prop is at one instant."""

    prop_index: int
    position: tuple[float, float, float]
    rotation: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class PointLight:
    position: tuple[float, float, float]
    color: tuple[float, float, float]  # linear radiant intensity, 0 to 50
    range: float  # metres at which it has faded to nothing


@dataclass(frozen=True, slots=True)
class Lights:
    """One directional light that casts shadows, an ambient term, and small point lights that cast none."""

    ambient: tuple[float, float, float] = (0.4, 0.4, 0.4)
    sun_direction: tuple[float, float, float] = (0.0, -1.0, 0.0)  # the way the light travels, unit length
    sun_color: tuple[float, float, float] = (0.8, 0.8, 0.8)
    background: tuple[float, float, float] = (0.0, 0.0, 0.0)  # srgb, what is seen past every wall
    points: tuple[PointLight, ...] = ()


@dataclass(frozen=True, slots=True)
class SceneState:
    """Everything the engine says of one instant."""

    camera: Camera
    actors: tuple[ActorState, ...] = ()
    props: tuple[PropState, ...] = ()
    lights: Lights = field(default_factory=Lights)
