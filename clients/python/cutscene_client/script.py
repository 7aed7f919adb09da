"""The script format: a cutscene as people write it, checked so that a mistake is named by its place in the file.

This module knows the shape of a script. Whether its rooms, marks, clips and looks exist is checked by ``expand``,
which has the library. ``docs/scripts.md`` explains every field with examples.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from cutscene_client.errors import CutsceneError
from cutscene_client.references import MAX_REFERENCES
from cutscene_client.scene import ELEMENT_CLASSES, EMOTIONS

FPS = 24

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Number = Annotated[float, Field(allow_inf_nan=False, ge=-1000, le=1000)]
Vector = tuple[Number, Number, Number]
Ground = tuple[Number, Number]
"""A place on the floor: x and z, metres."""

TintPart = Annotated[float, Field(ge=0.2, le=1.5)]
Tint = tuple[TintPart, TintPart, TintPart]
Level = Annotated[float, Field(ge=0.0, le=5.0)]
Levels = tuple[Level, Level, Level]
UnitLevel = Annotated[float, Field(ge=0.0, le=1.0)]
UnitLevels = tuple[UnitLevel, UnitLevel, UnitLevel]
Flame = Annotated[float, Field(ge=0.0, le=50.0)]
Seconds = Annotated[float, Field(ge=0.0, le=600.0, allow_inf_nan=False)]
Degrees = Annotated[float, Field(ge=-360.0, le=360.0)]
FieldOfView = Annotated[float, Field(ge=6.0, le=140.0)]
Place = str | Ground
"""A mark of the room by name, or a place on the floor."""

Facing = str | Degrees
"""An actor or a mark to face, or a heading: 0 faces +Z, 90 faces +X."""

Framing = Literal["wide", "two_shot", "medium", "close_up", "over_the_shoulder", "low_angle", "high_angle"]
Move = Literal["static", "handheld", "dolly_in", "dolly_out", "slide", "orbit", "track"]
EmotionName = Literal["neutral", "joy", "anger", "sadness", "fear", "surprise"]
assert set(EMOTIONS) == set(EmotionName.__args__)  # type: ignore[attr-defined]  # noqa: S101 - one list, two spellings


class ScriptError(CutsceneError):
    """The script is not one. ``problems`` holds one line for each mistake, each naming its place in the file."""

    def __init__(self, source: str, problems: list[str]) -> None:
        super().__init__(f"{source} is not a valid script:" + "".join(f"\n  {problem}" for problem in problems))
        self.source = source
        self.problems = problems


class Strict(BaseModel):
    """Unknown keys are errors, and nothing changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def _exactly_one(model: BaseModel, names: tuple[str, ...]) -> None:
    given = [name for name in names if getattr(model, name) is not None]
    if len(given) != 1:
        said = " and ".join(given) if given else "none of them"
        raise ValueError(f"give exactly one of {', '.join(names)}; found {said}")


# ---- the set --------------------------------------------------------------------------------------------------------


class InlineElement(Strict):
    """A box of a room that the script itself describes."""

    element_class: str = Field(alias="class", description="floor, wall, table, ...")
    look: str = Field(description="a name from the model's vocabulary (`cutscene models`)")
    center: Vector
    half_extent: Vector
    yaw: Degrees = 0.0
    part: int = Field(default=0, ge=0, le=7)
    tint: Tint | None = None

    @field_validator("element_class")
    @classmethod
    def _known_class(cls, value: str) -> str:
        if value not in ELEMENT_CLASSES:
            raise ValueError(f"{value!r} is no element class; allowed are {', '.join(ELEMENT_CLASSES)}")
        return value


class InlineMark(Strict):
    """A named place in a room."""

    at: Ground
    facing: Degrees = 0.0
    height: Number = 0.0


class InlineRoom(Strict):
    """A room in the script itself, in place of a library room's name."""

    elements: list[InlineElement] = Field(min_length=1, max_length=320)
    marks: dict[Name, InlineMark] = {}


class Torch(Strict):
    """A small light without shadow."""

    position: Vector
    color: tuple[Flame, Flame, Flame]
    range: float = Field(ge=0.1, le=100.0)


class LightsSpec(Strict):
    """A preset of the room, and what is different here."""

    preset: str | None = None
    ambient: Levels | None = None
    sun_direction: Vector | None = Field(default=None, description="the way the light travels")
    sun_color: Levels | None = None
    background_srgb: UnitLevels | None = None
    points: list[Torch] | None = Field(default=None, max_length=4)


class PropSpec(Strict):
    """A thing that stands in the set and is not part of the room."""

    id: Name
    look: str
    position: Vector
    yaw: Degrees = 0.0
    tint: Tint | None = None


# ---- the cast -------------------------------------------------------------------------------------------------------


class CastSpec(Strict):
    """Who appears and how they look."""

    id: Name
    costume: str
    tint: Tint | None = None
    headgear: bool = Field(default=True, description="helmet, hat or hood on, where the costume has one")
    holds: list[str] = Field(
        default=[], max_length=2, description="looks under weapon/, each in the hand it is made for"
    )
    rest: str = Field(default="Idle", description="the clip played when nothing else is asked for")


# ---- what actors do -------------------------------------------------------------------------------------------------


class BodyAction(Strict):
    """One thing an actor's body does from ``at`` on: a clip, a walk, a turn or sitting down."""

    at: Seconds = 0.0
    clip: str | None = Field(default=None, description="a clip of the library (`cutscene library`)")
    walk_to: Place | None = None
    turn_to: Facing | None = None
    sit: str | None = Field(default=None, description="a seat mark of the room")
    speed: float = Field(
        default=1.0, ge=0.25, le=4.0, description="of a clip: how fast it plays; of a walk: times 1.1 m/s"
    )
    start: Seconds = Field(default=0.0, description="of a clip: where in the clip to begin")
    hold: bool = Field(default=False, description="of a clip that does not loop: stay in its last pose")
    over: float = Field(default=0.5, ge=0.05, le=10.0, description="of a turn: how long it takes")

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        _exactly_one(self, ("clip", "walk_to", "turn_to", "sit"))
        return self


class FaceChange(Strict):
    """The face's emotion goes to ``intensity`` in ``over`` seconds."""

    at: Seconds = 0.0
    emotion: EmotionName
    intensity: UnitLevel = 1.0
    over: float = Field(default=0.4, ge=0.0, le=30.0)


class Line(Strict):
    """Speech: the mouth moves in the rhythm of syllables."""

    at: Seconds = 0.0
    lasts: float = Field(alias="for", ge=0.2, le=60.0)
    text: str = Field(default="", description="what is said; for readers, nothing is synthesised")


class Performance(Strict):
    """What one actor does in one shot. Who is not named in a shot goes on resting where the last shot left them."""

    at: Place | None = Field(default=None, description="where the actor is when the shot begins")
    facing: Facing | None = None
    body: list[BodyAction] = []
    face: list[FaceChange] = []
    say: list[Line] = []
    absent: bool = Field(default=False, description="not in this shot at all")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for name in ("body", "face", "say"):
            times = [item.at for item in getattr(self, name)]
            if times != sorted(times):
                raise ValueError(f"{name}: `at` must not fall; found {', '.join(f'{time:g}' for time in times)}")
        return self


# ---- the camera -----------------------------------------------------------------------------------------------------


class CameraKeyframe(Strict):
    """The camera at one time of its shot."""

    at: Seconds
    position: Vector
    look_at: Vector
    fov: FieldOfView = 40.0


class CameraSpec(Strict):
    """Either a framing of named actors, or keyframes."""

    framing: Framing | None = None
    of: list[Name] = Field(default=[], description="the actors to frame; empty: everyone in the shot")
    over: Name | None = Field(default=None, description="over_the_shoulder: whose shoulder")
    side: Literal["left", "right"] = "right"
    angle: Degrees | None = Field(default=None, description="degrees round the actors, 0 from straight ahead of them")
    distance: float | None = Field(default=None, ge=0.5, le=30.0)
    height: float | None = Field(default=None, ge=0.1, le=10.0, description="metres above the floor")
    fov: FieldOfView | None = None
    move: Move = "static"
    amount: float = Field(default=1.0, ge=0.0, le=4.0, description="how much of the move")
    keyframes: list[CameraKeyframe] | None = Field(default=None, min_length=1, max_length=256)

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        _exactly_one(self, ("framing", "keyframes"))
        if self.framing == "over_the_shoulder" and (self.over is None or len(self.of) != 1):
            raise ValueError("over_the_shoulder needs `over` (whose shoulder) and one actor in `of`")
        if self.framing != "over_the_shoulder" and self.over is not None:
            raise ValueError("`over` belongs to the framing over_the_shoulder")
        if self.keyframes is not None:
            times = [keyframe.at for keyframe in self.keyframes]
            if any(later <= earlier for earlier, later in itertools.pairwise(times)):
                raise ValueError(f"keyframes: `at` must rise; found {', '.join(f'{time:g}' for time in times)}")
        return self


class Shot(Strict):
    """One run of the camera; a cut lies between two shots."""

    name: str = ""
    duration: float = Field(gt=0.0, le=60.0, description="seconds")
    camera: CameraSpec
    lights: LightsSpec | None = Field(default=None, description="where this shot's light differs")
    actors: dict[Name, Performance] = {}

    @property
    def frame_count(self) -> int:
        """Frames at 24 a second, at least one."""
        return max(1, round(self.duration * FPS))


# ---- the whole ------------------------------------------------------------------------------------------------------


class Script(Strict):
    """A cutscene: ``shots`` say what happens, or ``captured`` names a file of recorded states beside the script."""

    title: str = Field(min_length=1, max_length=200)
    about: str = ""
    room: str | InlineRoom | None = None
    lights: str | LightsSpec | None = Field(default=None, description="a preset of the room, or one with changes")
    seed: int = Field(default=0, ge=0, lt=2**64)
    cast_: list[CastSpec] = Field(default=[], alias="cast", max_length=4)
    props: list[PropSpec] = Field(default=[], max_length=8)
    shots: list[Shot] = Field(default=[], max_length=200)
    references: list[str] = Field(
        default=[],
        max_length=MAX_REFERENCES,
        description="pictures beside the script, JPEG or PNG, of what all is to look like",
    )
    captured: str | None = Field(default=None, description="a .npz beside the script, in place of room, cast and shots")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.captured is not None:
            if self.shots or self.cast_ or self.room is not None or self.props or self.lights is not None:
                raise ValueError("a captured script has its room, lights, cast, props and shots in the captured file")
            return self
        if self.room is None or not self.shots:
            raise ValueError("give `room` and at least one of `shots`, or `captured`")
        ids = [member.id for member in self.cast_] + [prop.id for prop in self.props]
        repeated = sorted({name for name in ids if ids.count(name) > 1})
        if repeated:
            raise ValueError(f"ids must differ among cast and props; repeated: {', '.join(repeated)}")
        return self

    @property
    def duration(self) -> float:
        """Seconds, of a script with shots."""
        return sum(shot.frame_count for shot in self.shots) / FPS


def read_script(text: str, source: str = "script") -> Script:
    """Parses YAML (or JSON, which is YAML). Raises ``ScriptError``."""
    try:
        plain = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ScriptError(source, [_no_yaml(error)]) from error
    if not isinstance(plain, dict):
        held = {type(None): "nothing", list: "a list"}.get(type(plain), "one value")
        raise ScriptError(source, [f"the file holds {held}, expected a mapping with title, room, ..."])
    try:
        return Script.model_validate(plain)
    except ValidationError as error:
        raise ScriptError(source, [_problem(detail) for detail in error.errors(include_url=False)]) from error


def load_script(path: Path) -> Script:
    """Reads and parses a file. Raises ``ScriptError``, also if the file cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScriptError(str(path), [str(error)]) from error
    return read_script(text, str(path))


def json_schema() -> dict[str, Any]:
    """The JSON schema of the format, for editors that complete and check while one types."""
    return Script.model_json_schema(by_alias=True)


_UNION_MEMBERS = {"str", "constrained-float", "constrained-str", "InlineRoom", "LightsSpec"}
"""What pydantic puts into the path of an error to tell which form of a value it tried."""


def _no_yaml(error: yaml.YAMLError) -> str:
    """A mistake of form as `line 3, column 7: ...`, counted from one."""
    mark: yaml.Mark | None = getattr(error, "problem_mark", None)
    said = ", ".join(part for part in (getattr(error, "context", None), getattr(error, "problem", None)) if part)
    if mark is None or not said:
        return str(error).replace("\n", " ")
    return f"line {mark.line + 1}, column {mark.column + 1}: {said}"


def _problem(detail: Any) -> str:
    """One pydantic error as `shots[2].camera.framing: ...`."""
    path = ""
    for part in detail["loc"]:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part not in _UNION_MEMBERS and "[" not in part:
            path += f".{part}" if path else part
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        message = "is not a field here"
    return f"{path or 'script'}: {message}"
