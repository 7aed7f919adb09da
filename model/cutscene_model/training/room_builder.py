"""What a room is made with: floors, walls, furniture, marks to stand and sit on, light presets for the times of day.

A room is centred on the origin with its floor at height zero. Walls are 4 m segments whose inner face lies 0.5 m inside
the room's outline. There are no ceilings, so that a sun or moon can reach in. Layouts vary with a seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from cutscene_model.scene import Lights, PointLight, SetElement
from cutscene_model.training.assets import BY_NAME, WHITE, place
from cutscene_model.training.transforms import Vec3, vec3

WALL_MARGIN = 0.5  # from the outline to a wall's inner face


@dataclass(frozen=True, slots=True)
class Mark:
    """A place an actor may take. A sitter's mark is where the actor stands up to; the clip moves the hips back."""

    name: str
    kind: str  # "stand", "seat", "door" or "lie"
    position: Vec3
    yaw: float


@dataclass(frozen=True, slots=True)
class Room:
    """One layout, ready to be a stage's set."""

    name: str
    variant: int
    elements: tuple[SetElement, ...]
    marks: tuple[Mark, ...]
    camera_area: tuple[float, float, float, float]  # x low, z low, x high, z high that a camera may use
    lights: dict[str, Lights]  # by time of day

    def marks_of(self, *kinds: str) -> tuple[Mark, ...]:
        """The marks of some kinds, in order."""
        return tuple(mark for mark in self.marks if mark.kind in kinds)


@dataclass
class RoomBuilder:
    """Collects the pieces of a room."""

    name: str
    width: float  # along X
    depth: float  # along Z
    rng: np.random.Generator
    open_air: bool = False
    elements: list[SetElement] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    lamps: list[Vec3] = field(default_factory=list)

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def pick(self, *options: Any) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def put(
        self, look: str, x: float, z: float, yaw: float = 0.0, y: float = 0.0, tint: Vec3 = WHITE, scale: float = 1.0
    ) -> None:
        self.elements += place(look, (x, y, z), yaw, tint, scale)

    def near(self, look: str, x: float, z: float, yaw: float = 0.0, spread: float = 0.12, tint: Vec3 = WHITE) -> None:
        """Furniture a little off its place, so that no two variants line up."""
        dx, dz, turn = self.rng.uniform(-spread, spread, 3)
        self.put(look, x + float(dx), z + float(dz), yaw + float(turn), tint=tint)

    def floor(self, look: str, accents: Sequence[str] = (), accent_chance: float = 0.12, tint: Vec3 = WHITE) -> None:
        for x in np.arange(-self.width / 2 + 2, self.width / 2, 4.0):
            for z in np.arange(-self.depth / 2 + 2, self.depth / 2, 4.0):
                chosen = self.pick(*accents) if accents and self.chance(accent_chance) else look
                yaw = float(self.rng.integers(4)) * math.pi / 2
                self.put(chosen, float(x), float(z), yaw if "wood" not in chosen else 0.0, tint=tint)

    def side(self, side: str, along: float, inward: float = 0.0) -> tuple[float, float, float]:
        """x, z and yaw of a point on a wall: north is -Z, east +X; ``along`` runs from the middle of that wall."""
        if side == "n":
            return along, -self.depth / 2 + inward, 0.0
        if side == "s":
            return along, self.depth / 2 - inward, math.pi
        if side == "w":
            return -self.width / 2 + inward, along, math.pi / 2
        return self.width / 2 - inward, along, -math.pi / 2

    def walls(self, plain: Sequence[str], special: dict[tuple[str, int], str], tint: Vec3 = WHITE) -> None:
        """Four walls of ``plain`` looks; ``special`` names the look of segment k (from the low end) of a side."""
        for side in "nswe":
            length = self.width if side in "ns" else self.depth
            for k in range(round(length / 4)):
                x, z, yaw = self.side(side, -length / 2 + 2 + 4 * k)
                self.put(special.get((side, k), self.pick(*plain)), x, z, yaw, tint=tint)

    def hang(self, side: str, along: float, look: str, y: float = 0.0, tint: Vec3 = WHITE) -> None:
        """A banner: its own frame already stands off the middle of a wall."""
        x, z, yaw = self.side(side, along)
        self.put(look, x, z, yaw, y=y, tint=tint)

    def wall_lamp(self, side: str, along: float, y: float = 2.1) -> None:
        x, z, yaw = self.side(side, along, WALL_MARGIN)
        self.put("lamp/torch_mounted", x, z, yaw, y=y)
        self.lamps.append((x + 0.55 * math.sin(yaw), y + 0.55, z + 0.55 * math.cos(yaw)))

    def against(self, side: str, along: float, look: str, gap: float = 0.05, tint: Vec3 = WHITE) -> None:
        """Furniture with its back to a wall."""
        spec = BY_NAME[look]
        x, z, yaw = self.side(side, along, WALL_MARGIN + gap - spec.low[2])
        self.put(look, x, z, yaw, tint=tint)

    def shelf(self, side: str, along: float, look: str = "shelf/double", y: float = 0.0) -> None:
        x, z, yaw = self.side(side, along, WALL_MARGIN if look == "shelf/candles" else WALL_MARGIN - 0.25)
        self.put(look, x, z, yaw, y=y)
        if look == "shelf/candles":
            self.lamps.append((x + 0.4 * math.sin(yaw), y + 0.9, z + 0.4 * math.cos(yaw)))

    def candle(self, x: float, y: float, z: float, look: str = "lamp/candle") -> None:
        self.put(look, x, z, y=y, scale=0.6)
        self.lamps.append((x, y + 0.85, z))

    def seat(self, name: str, x: float, z: float, yaw: float, look: str = "seat/chair") -> None:
        """A seat that faces ``yaw``, and the mark in front of it from which the sitting clips sit down."""
        self.put(look, x, z, yaw + math.pi / 2)
        forward = 0.34
        self.marks.append(Mark(name, "seat", vec3((x + forward * math.sin(yaw), 0, z + forward * math.cos(yaw))), yaw))

    def stand(self, name: str, x: float, z: float, yaw: float = 0.0, kind: str = "stand") -> None:
        self.marks.append(Mark(name, kind, (x, 0.0, z), yaw))

    def door(self, side: str, along: float, inward: float = 1.25) -> None:
        x, z, yaw = self.side(side, along, inward)
        self.marks.append(Mark(f"door_{side}", "door", vec3((x, 0.0, z)), yaw))

    def finish(self, variant: int) -> Room:
        inset = WALL_MARGIN + 0.35
        x, z = self.width / 2 - inset, self.depth / 2 - inset
        elements = tuple(_rounded(element) for element in self.elements)
        lights = light_presets(self.lamps, self.open_air, self.rng)
        return Room(self.name, variant, elements, tuple(self.marks), (-x, -z, x, z), lights)


def _rounded(element: SetElement) -> SetElement:
    """Millimetres are enough, and keep the room files small."""
    box = element.box
    return replace(
        element,
        box=replace(
            box,
            center=vec3(np.round(box.center, 3)),
            half_extent=vec3(np.round(box.half_extent, 3)),
        ),
    )


def _unit(x: float, y: float, z: float) -> Vec3:
    return vec3(np.array([x, y, z]) / math.sqrt(x * x + y * y + z * z))


def light_presets(lamps: Sequence[Vec3], open_air: bool, rng: np.random.Generator) -> dict[str, Lights]:
    """Day, sunset, night and torchlight. Lamps burn at all times but day, the four farthest apart of them."""
    chosen = _spread(lamps, 4)
    side = float(rng.choice([-1.0, 1.0]))

    def burning(strength: float, color: Vec3 = (1.0, 0.56, 0.24)) -> tuple[PointLight, ...]:
        return tuple(PointLight(lamp, vec3(np.array(color) * strength), 9.0) for lamp in chosen)

    open_factor = 1.15 if open_air else 1.0
    return {
        "day": Lights(
            vec3(np.array((0.44, 0.46, 0.51)) * open_factor),
            _unit(0.45 * side, -1.0, -0.35),
            (0.92, 0.86, 0.74),
            (0.62, 0.78, 0.92),
            burning(1.5),
        ),
        "sunset": Lights(
            (0.37, 0.31, 0.34), _unit(0.85 * side, -0.75, 0.30), (1.05, 0.55, 0.27), (0.93, 0.58, 0.38), burning(4.0)
        ),
        "night": Lights(
            (0.21, 0.245, 0.365), _unit(-0.4 * side, -1.0, 0.45), (0.24, 0.31, 0.48), (0.05, 0.07, 0.15), burning(8.0)
        ),
        "torchlight": Lights(
            (0.36, 0.29, 0.245),
            _unit(0.2 * side, -1.0, 0.15),
            (0.20, 0.15, 0.11),
            (0.06, 0.04, 0.04),
            burning(13.0),
        ),
    }


def _spread(points: Sequence[Vec3], count: int) -> list[Vec3]:
    """Up to ``count`` points, each the farthest from those already taken."""
    if not points:
        return []
    chosen = [points[0]]
    while len(chosen) < min(count, len(points)):
        rest = [point for point in points if point not in chosen]
        if not rest:
            break
        chosen.append(max(rest, key=lambda point: min(math.dist(point, taken) for taken in chosen)))
    return chosen
