"""What ships with the client so that nobody types joints: clips, rooms, looks and weapons, read from this folder.

The files are written by ``cutscene-train library`` from the stage's own rig and rooms:

    motion.npz   for each clip ``<name>.joints`` (T, 19, 3) and ``<name>.hands`` (T, 2, 4: left, right), in the actor's
                 frame at 24 frames a second
    motion.json  {"fps": 24, "clips": {name: {"looping": bool, "duration": seconds}}}
    rooms.json   {name: {"camera_area", "elements", "marks", "lights"}}; an element is [look, part, center,
                 half_extent, rotation, tint], its class follows from its look
    looks.json   {"looks": {name: {"class", "parts"}}, "costumes": [...], "weapons": {look: {"hand", "offset",
                 "rotation", "half_extent"}}}
"""

from __future__ import annotations

import difflib
import functools
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from cutscene_client import scene
from cutscene_client.errors import CutsceneError
from cutscene_proto.v1 import scene_pb2 as spb

FPS = 24.0
FloatArray = npt.NDArray[np.float64]


class UnknownNameError(CutsceneError):
    """The library has nothing of that name. The message lists what it has."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        close = difflib.get_close_matches(name, names, n=3)
        hint = f"; did you mean {' or '.join(close)}?" if close else "."
        super().__init__(f"no {kind} is called {name!r}{hint} Known: {', '.join(names)}")
        self.kind = kind
        self.name = name


@dataclass(frozen=True)
class Clip:
    """One animation in the actor's frame: the root at the origin on the floor, facing +Z."""

    name: str
    joints: FloatArray  # (T, 19, 3) metres
    hands: FloatArray  # (T, 2, 4): rotations of what the left and the right hand hold
    looping: bool
    duration: float  # seconds
    stride_speed: float  # metres a second at which the planted foot does not slide; 0 where nobody walks

    def sample(self, time: float) -> tuple[FloatArray, dict[str, FloatArray]]:
        """Joints (19, 3) and hand rotations at ``time``; a looping clip wraps, any other holds its ends."""
        count = len(self.joints)
        if self.duration <= 0.0 or count == 1:
            place = 0.0
        elif self.looping:
            place = (time % self.duration) / self.duration * (count - 1)
        else:
            place = min(max(time / self.duration, 0.0), 1.0) * (count - 1)
        low = min(int(place), max(0, count - 2))
        high = min(low + 1, count - 1)
        part = place - low
        joints = self.joints[low] * (1 - part) + self.joints[high] * part
        first, second = self.hands[low], self.hands[high]
        sign = np.where((first * second).sum(axis=1, keepdims=True) < 0, -1.0, 1.0)
        hands = first * (1 - part) + second * sign * part
        hands /= np.linalg.norm(hands, axis=1, keepdims=True)
        return joints, {"l": hands[0], "r": hands[1]}


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a room. A sitter's mark is where the actor stands up to; the clip moves the hips back."""

    name: str
    kind: str  # "stand", "seat", "door" or "lie"
    position: tuple[float, float, float]
    yaw: float  # radians, 0 faces +Z


@dataclass(frozen=True)
class Room:
    """A set with its marks and light presets."""

    name: str
    elements: tuple[spb.SetElement, ...]
    marks: Mapping[str, Mark]
    lights: Mapping[str, spb.Lights]
    camera_area: tuple[float, float, float, float] | None  # x low, z low, x high, z high

    def mark(self, name: str) -> Mark:
        """The mark of that name. Raises ``UnknownNameError``."""
        if name not in self.marks:
            raise UnknownNameError(f"mark of room {self.name}", name, self.marks)
        return self.marks[name]

    def preset(self, name: str) -> spb.Lights:
        """The light preset of that name. Raises ``UnknownNameError``."""
        if name not in self.lights:
            raise UnknownNameError(f"light preset of room {self.name}", name, self.lights)
        return self.lights[name]


@dataclass(frozen=True, slots=True)
class Weapon:
    """A held thing: which hand it is made for, and where its box's centre sits in that hand."""

    look: str
    hand: str  # "l" or "r"
    offset: tuple[float, float, float]
    rotation: tuple[float, float, float, float]
    half_extent: tuple[float, float, float]


class Library:
    """Everything in this folder, by name."""

    def __init__(
        self,
        clips: Mapping[str, Clip],
        rooms: Mapping[str, Room],
        weapons: Mapping[str, Weapon],
        looks: Mapping[str, Any],
        costumes: tuple[str, ...],
    ) -> None:
        self.clips = clips
        self.rooms = rooms
        self.weapons = weapons
        self.looks = looks
        self.costumes = costumes

    def clip(self, name: str) -> Clip:
        """The clip of that name. Raises ``UnknownNameError``."""
        if name not in self.clips:
            raise UnknownNameError("clip", name, self.clips)
        return self.clips[name]

    def room(self, name: str) -> Room:
        """The room of that name. Raises ``UnknownNameError``."""
        if name not in self.rooms:
            raise UnknownNameError("room", name, self.rooms)
        return self.rooms[name]

    def weapon(self, look: str) -> Weapon:
        """The held thing of that look. Raises ``UnknownNameError``."""
        if look not in self.weapons:
            raise UnknownNameError("held thing", look, self.weapons)
        return self.weapons[look]


@functools.cache
def load_library() -> Library:
    """The library that ships with this package, read once."""
    folder = resources.files(__name__)
    looks = json.loads((folder / "looks.json").read_text(encoding="utf-8"))
    rooms = json.loads((folder / "rooms.json").read_text(encoding="utf-8"))
    facts = json.loads((folder / "motion.json").read_text(encoding="utf-8"))["clips"]
    clips = {}
    with np.load(io.BytesIO((folder / "motion.npz").read_bytes()), allow_pickle=False) as motion:
        for name, fact in facts.items():
            clips[name] = Clip(
                name,
                motion[f"{name}.joints"].astype(np.float64),
                motion[f"{name}.hands"].astype(np.float64),
                bool(fact["looping"]),
                float(fact["duration"]),
                float(fact.get("stride_speed", 0)),
            )
    return Library(
        clips,
        {name: _room(name, plain, looks["looks"]) for name, plain in rooms.items()},
        {look: _weapon(look, plain) for look, plain in looks["weapons"].items()},
        looks["looks"],
        tuple(looks["costumes"]),
    )


def _room(name: str, plain: Mapping[str, Any], looks: Mapping[str, Any]) -> Room:
    elements = tuple(
        scene.box(looks[look]["class"], look, center, half_extent, rotation=rotation, part=part, tint=tint)
        for look, part, center, half_extent, rotation, tint in plain["elements"]
    )
    marks = {m["name"]: Mark(m["name"], m["kind"], tuple(m["position"]), m["yaw"]) for m in plain["marks"]}
    area = plain.get("camera_area")
    lights = {preset: _lights(values) for preset, values in plain["lights"].items()}
    return Room(name, elements, marks, lights, tuple(area) if area else None)


def _lights(plain: Mapping[str, Any]) -> spb.Lights:
    return scene.lights(
        ambient=plain["ambient"],
        sun_direction=plain["sun_direction"],
        sun_color=plain["sun_color"],
        background_srgb=plain["background"],
        points=[scene.point_light(p["position"], p["color"], p["range"]) for p in plain["points"]],
    )


def _weapon(look: str, plain: Mapping[str, Any]) -> Weapon:
    return Weapon(look, plain["hand"], tuple(plain["offset"]), tuple(plain["rotation"]), tuple(plain["half_extent"]))
