"""What happens: each plot writes the parts of its cast, from where they stand to what they say and feel."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cutscene_model.training.acting import Part
from cutscene_model.training.casting import Casting
from cutscene_model.training.motion import Rig
from cutscene_model.training.room_builder import Room
from cutscene_model.training.space import Space
from cutscene_model.training.transforms import Vec3

GESTURES: tuple[str, ...] = ("Interact", "Use_Item", "Cheer", "Spellcast_Raise", "Interact", "PickUp", "Throw")
TALK_FEELINGS: tuple[str, ...] = ("joy", "anger", "sadness", "fear", "surprise")
TWO_HANDED: frozenset[str] = frozenset({"weapon/sword_2h", "weapon/axe_2h"})
SPELL_COLORS: tuple[Vec3, ...] = ((2.0, 5.0, 14.0), (9.0, 2.5, 12.0), (2.0, 12.0, 5.0), (14.0, 6.0, 2.0))


@dataclass(frozen=True, slots=True)
class Brief:
    """What a plot is given."""

    rig: Rig
    rng: np.random.Generator
    room: Room
    space: Space
    casting: Casting
    duration: float  # seconds

    @property
    def count(self) -> int:
        """The size of the cast."""
        return len(self.casting.members)

    def uniform(self, low: float, high: float) -> float:
        """A random number as a plain float."""
        return float(self.rng.uniform(low, high))

    def chance(self, probability: float) -> bool:
        """True with that probability."""
        return bool(self.rng.random() < probability)

    def pick(self, options: tuple[str, ...]) -> str:
        """One of some names."""
        return options[int(self.rng.integers(len(options)))]

    def part(self, index: int, position: Vec3, yaw: float) -> Part:
        """A fresh part for a cast member."""
        held = self.casting.held[index]
        idle = "Idle"
        if TWO_HANDED & set(held):
            idle = "2H_Melee_Idle"
        elif not held and self.chance(0.35):
            idle = "Unarmed_Idle"
        return Part(self.rig, self.rng, position, yaw, idle, held)


@dataclass(frozen=True, slots=True)
class Spell:
    """A glow in a caster's hand."""

    caster: int
    start: float
    end: float
    color: Vec3

    def strength(self, time: float) -> float:
        """0 to 1."""
        return max(0.0, min(1.0, (time - self.start) / 0.5, (self.end - time) / 0.3))


@dataclass(frozen=True, slots=True)
class Plot:
    """A kind of scene."""

    name: str
    weight: float
    least: int
    most: int
    armed: float  # how likely a member carries something
    write: Callable[[Brief], list[Part] | None]  # None: the room has no space for it


def _circle(b: Brief, count: int, low: float = 0.85, high: float = 1.5) -> list[tuple[Vec3, float]] | None:
    """Places around a free spot, everybody facing its middle: a group in conversation."""
    x0, z0, x1, z1 = b.room.camera_area
    for _ in range(200):
        cx, cz = b.uniform(x0 + 1.0, x1 - 1.0), b.uniform(z0 + 1.0, z1 - 1.0)
        radius = b.uniform(low, high) + 0.15 * max(0, count - 2)
        first = b.uniform(-math.pi, math.pi)
        places = []
        for k in range(count):
            # Three or four leave one side of the circle open, as actors do for the audience.
            angle = first + k * (math.pi if count <= 2 else math.tau * 0.72 / (count - 1)) + b.uniform(-0.15, 0.15)
            x, z = cx + radius * math.sin(angle), cz + radius * math.cos(angle)
            places.append(((x, 0.0, z), math.atan2(cx - x, cz - z) + b.uniform(-0.2, 0.2)))
        if all(b.space.standable(place[0], place[2]) for place, _ in places):
            return places
    return None


def _converse(b: Brief, parts: list[Part], begin: float, gestures: bool = True) -> None:
    """Turns of speech with feelings; gestures only of those who stand free from ``begin`` on."""
    time = begin + b.uniform(0.2, 0.8)
    last = -1
    while time < b.duration - 1.0:
        speakers = [index for index in range(len(parts)) if index != last] or [0]
        who = speakers[int(b.rng.integers(len(speakers)))]
        length = min(b.uniform(1.2, 3.6), b.duration - time)
        parts[who].say(time, time + length)
        if gestures and b.chance(0.45) and parts[who].time <= time:
            parts[who].rest(time).play(b.pick(GESTURES))
        last = who
        time += length + b.uniform(0.15, 0.7)
    for part in parts:
        part.rest(b.duration + 1.0)


def _feel(b: Brief, part: Part, names: tuple[str, ...] = TALK_FEELINGS, begin: float = 0.0) -> None:
    """Feelings one after another, with calm between some of them."""
    time = begin + b.uniform(0.0, 0.8)
    while time < b.duration:
        length = b.uniform(1.6, 4.5)
        if b.chance(0.82):
            part.feel(time, time + length, b.pick(names), b.uniform(0.65, 1.0))
        time += length


def _talk(b: Brief) -> list[Part] | None:
    places = _circle(b, b.count)
    if places is None:
        return None
    parts = [b.part(index, place, yaw) for index, (place, yaw) in enumerate(places)]
    _converse(b, parts, 0.0)
    for part in parts:
        _feel(b, part)
    return parts


def _seated(b: Brief) -> list[Part] | None:
    seats = list(b.room.marks_of("seat"))
    if not seats:
        return None
    b.rng.shuffle(seats)
    anchor = np.array(seats[0].position)
    seats.sort(key=lambda mark: float(np.linalg.norm(np.array(mark.position) - anchor)))
    parts: list[Part] = []
    for index in range(b.count):
        if (
            index < len(seats)
            and math.dist(seats[index].position, seats[0].position) < 5.0
            and (index < 1 or b.chance(0.8))
        ):
            mark = seats[index]
            part = b.part(index, mark.position, mark.yaw)
            if b.chance(0.25):
                part.rest(b.uniform(0.3, 2.0)).play("Sit_Chair_Down")
            part.idle = "Sit_Chair_Idle"
            if b.chance(0.3):
                part.rest(b.uniform(4.0, b.duration - 1.0))
                part.play("Sit_Chair_StandUp")
                part.idle = "Idle"
            parts.append(part)
            continue
        place = _beside(b, seats[0].position, 1.5, 2.6)
        if place is None:
            return None
        x, z = seats[0].position[0] - place[0], seats[0].position[2] - place[2]
        parts.append(b.part(index, place, math.atan2(x, z)))
    _converse(b, parts, 0.0, gestures=False)
    for part in parts:
        _feel(b, part)
    return parts


def _beside(b: Brief, center: Vec3, low: float, high: float, apart: tuple[Vec3, ...] = ()) -> Vec3 | None:
    """A free place at some distance from a point."""
    for _ in range(60):
        angle, distance = b.uniform(-math.pi, math.pi), b.uniform(low, high)
        x, z = center[0] + distance * math.sin(angle), center[2] + distance * math.cos(angle)
        if b.space.standable(x, z) and all(math.dist((x, 0.0, z), other) > 1.0 for other in apart):
            return (x, 0.0, z)
    return None


def _arrival(b: Brief) -> list[Part] | None:
    """Somebody walks up to the others, or across the room alone."""
    places = _circle(b, b.count)
    if places is None:
        return None
    goal, yaw = places[0]
    starts = [mark.position for mark in b.room.marks_of("door", "stand")]
    b.rng.shuffle(starts)
    others = [place for place, _ in places[1:]]
    for start in starts:
        far = 2.5 < math.dist(start, goal) < 9.0
        clear = all(_distance_to_line(other, start, goal) > 0.85 for other in others)
        if far and clear and b.space.walkable(start, goal, 0.3):
            break
    else:
        return None
    walker = b.part(0, start, math.atan2(goal[0] - start[0], goal[2] - start[2]))
    if b.chance(0.5):
        walker.rest(b.uniform(0.3, 1.5))
    hurry = b.chance(0.2)
    speed = b.uniform(1.9, 2.5) if hurry else b.uniform(0.9, 1.35)
    clip = "Running_B" if hurry else b.pick(("Walking_A", "Walking_B", "Walking_A"))
    walker.walk_to(goal, speed, clip).turn(yaw)
    begin = walker.time
    parts = [walker] + [b.part(index + 1, place, facing) for index, (place, facing) in enumerate(places[1:])]
    _converse(b, parts, min(begin, b.duration - 1.5))
    for part in parts:
        _feel(b, part)
    return parts


def _distance_to_line(point: Vec3, start: Vec3, end: Vec3) -> float:
    a, d = np.array(start), np.array(end) - np.array(start)
    t = float(np.clip((np.array(point) - a) @ d / max(float(d @ d), 1e-6), 0.0, 1.0))
    return float(np.linalg.norm(np.array(point) - a - d * t))


def _attacks(held: tuple[str, ...]) -> tuple[str, ...]:
    if TWO_HANDED & set(held) or "weapon/staff" in held:
        return ("2H_Melee_Attack_Chop", "2H_Melee_Attack_Slice", "2H_Melee_Attack_Stab", "2H_Melee_Attack_Spin")
    if "weapon/crossbow" in held:
        return ("1H_Ranged_Shoot", "1H_Ranged_Reload")
    if held and held[0] in ("weapon/sword_1h", "weapon/axe_1h", "weapon/knife", "weapon/wand"):
        return (
            "1H_Melee_Attack_Chop",
            "1H_Melee_Attack_Slice_Diagonal",
            "1H_Melee_Attack_Slice_Horizontal",
            "1H_Melee_Attack_Stab",
        )
    return ("Unarmed_Melee_Attack_Punch_A", "Unarmed_Melee_Attack_Punch_B", "Unarmed_Melee_Attack_Kick")


def _duel(b: Brief) -> list[Part] | None:
    places = _circle(b, 2, 0.75, 0.95)
    if places is None:
        return None
    parts = [b.part(index, place, yaw) for index, (place, yaw) in enumerate(places)]
    for index in range(2, b.count):
        place = _beside(b, parts[0].position, 1.8, 3.2, tuple(part.position for part in parts))
        if place is None:
            return None
        dx, dz = parts[0].position[0] - place[0], parts[0].position[2] - place[2]
        onlooker = b.part(index, place, math.atan2(dx, dz))
        parts.append(onlooker)
    time = b.uniform(0.4, 1.6)
    ends_badly = b.chance(0.4)
    while time < b.duration - 3.0:
        attacker = int(b.rng.integers(2))
        first, second = parts[attacker], parts[1 - attacker]
        first.rest(time)
        second.rest(time)
        first.play(b.pick(_attacks(first.held)))
        answer = b.pick(("Block_Hit", "Hit_A", "Hit_B", "Hit_A", "Dodge"))
        second.rest(time + b.uniform(0.25, 0.4))
        if answer == "Dodge":
            second.play("Dodge_Backward", rate=0.8).play("Dodge_Backward", 0.4, rate=-1.0, offset=0.4)
        else:
            second.play(answer)
        time = max(first.time, second.time) + b.uniform(0.1, 0.8)
    if ends_badly:
        parts[0].rest(time).play(b.pick(_attacks(parts[0].held)))
        fall = b.pick(("Death_A", "Death_B"))
        parts[1].rest(time + 0.45).play(fall)
        parts[1].idle = f"{fall}_Pose"
        parts[0].rest(parts[0].time + 0.5).play("Cheer")
    for part in parts[2:]:
        while part.time < b.duration:
            part.rest(part.time + b.uniform(0.6, 2.5)).play(b.pick(("Cheer", "Interact", "Use_Item")))
    for index, part in enumerate(parts):
        part.rest(b.duration + 1.0)
        _feel(b, part, ("anger", "anger", "fear", "surprise", "joy") if index < 2 else TALK_FEELINGS)
        for start in np.arange(b.uniform(0.3, 1.5), b.duration - 1.0, b.uniform(2.0, 4.0)):
            part.say(float(start), float(start) + b.uniform(0.4, 1.0))
    return parts


def _spell(b: Brief) -> list[Part] | None:
    places = _circle(b, b.count, 1.2, 1.9)
    if places is None:
        return None
    parts = [b.part(index, place, yaw) for index, (place, yaw) in enumerate(places)]
    caster = parts[0]
    caster.rest(b.uniform(0.4, 1.4))
    while caster.time < b.duration - 2.8:
        if b.chance(0.3):
            caster.play("Spellcasting", b.uniform(1.3, 2.7))
        hit = caster.time
        spell = b.pick(("Spellcast_Shoot", "Spellcast_Raise", "Spellcast_Long"))
        caster.play(spell)
        caster.say(hit, min(caster.time, hit + 1.4))
        for part in parts[1:]:
            if part.time < hit + 0.5 and b.chance(0.7):
                part.rest(hit + b.uniform(0.45, 0.8)).play(b.pick(("Hit_A", "Hit_B", "Block_Hit", "Cheer", "Interact")))
        caster.rest(max([part.time for part in parts]) + b.uniform(0.3, 1.2))
    if len(parts) > 1 and b.chance(0.35):
        parts[1].rest(b.duration - 2.2).play("Death_B")
        parts[1].idle = "Death_B_Pose"
    for index, part in enumerate(parts):
        part.rest(b.duration + 1.0)
        _feel(b, part, ("anger", "joy", "surprise") if index == 0 else ("fear", "surprise", "sadness", "joy"))
        if index:
            for start in np.arange(b.uniform(0.5, 2.0), b.duration - 1.0, b.uniform(2.5, 4.0)):
                part.say(float(start), float(start) + b.uniform(0.4, 1.1))
    return parts


def spells_of(parts: list[Part], rng: np.random.Generator) -> list[Spell]:
    """The glow that goes with each spell clip."""
    color = SPELL_COLORS[int(rng.integers(len(SPELL_COLORS)))]
    return [
        Spell(index, segment.start, segment.end, color)
        for index, part in enumerate(parts)
        for segment in part.segments
        if segment.clip.startswith("Spell")
    ]


def _celebration(b: Brief) -> list[Part] | None:
    places = _circle(b, b.count, 0.9, 1.4)
    if places is None:
        return None
    parts = [b.part(index, place, yaw) for index, (place, yaw) in enumerate(places)]
    clips = ("Cheer", "Cheer", "Jump_Full_Short", "Use_Item", "Interact", "Jump_Full_Long")
    for part in parts:
        while part.time < b.duration:
            part.rest(part.time + b.uniform(0.1, 1.2))
            clip = b.pick(clips)
            part.play(clip, b.uniform(1.6, 3.4) if clip == "Cheer" else None)
        part.rest(b.duration + 1.0)
        _feel(b, part, ("joy", "joy", "surprise"))
        for start in np.arange(b.uniform(0.1, 1.0), b.duration - 1.0, b.uniform(1.4, 2.6)):
            part.say(float(start), float(start) + b.uniform(0.5, 1.3))
    return parts


def _solo(b: Brief) -> list[Part] | None:
    """One or two keep to themselves: sit on the floor, lie down, search, mourn, practise."""
    parts: list[Part] = []
    for index in range(b.count):
        places = _circle(b, 1, 0.1, 0.4)
        if places is None or any(math.dist(places[0][0], part.position) < 1.3 for part in parts):
            return None
        part = b.part(index, places[0][0], b.uniform(-math.pi, math.pi))
        action = b.pick(("sit", "lie", "search", "practise", "pace", "lie_up", "strafe"))
        part.rest(b.uniform(0.3, 1.8))
        if action == "sit":
            part.play("Sit_Floor_Down")
            part.idle = "Sit_Floor_Idle"
            part.rest(b.duration - 1.5)
            if b.chance(0.5):
                part.play("Sit_Floor_StandUp")
                part.idle = "Idle"
        elif action == "lie":
            part.play("Lie_Down")
            part.idle = "Lie_Idle"
        elif action == "lie_up":
            part.segments.clear()
            part.time = 0.0
            part.idle = "Lie_Idle"
            part.rest(b.uniform(1.0, 3.0)).play("Lie_StandUp")
            part.idle = "Idle"
        elif action == "pace":
            home = part.position
            for _ in range(4):
                goal = _beside(b, home, 1.2, 3.2)
                if goal is not None and b.space.walkable(part.position, goal, 0.3):
                    part.walk_to(goal, b.uniform(0.8, 1.3)).rest(part.time + b.uniform(0.4, 1.6))
        else:
            clips = ("PickUp", "Interact", "Use_Item") if action == "search" else _attacks(part.held)
            if action == "strafe":
                clips = ("Running_Strafe_Left", "Running_Strafe_Right", "Blocking", "Block_Attack", "Jump_Full_Short")
            while part.time < b.duration:
                part.play(b.pick(clips)).rest(part.time + b.uniform(0.2, 1.4))
        part.rest(b.duration + 1.0)
        _feel(b, part)
        if b.chance(0.6):
            for start in np.arange(b.uniform(0.3, 2.0), b.duration - 1.5, b.uniform(2.5, 4.5)):
                part.say(float(start), float(start) + b.uniform(0.8, 2.0))
        parts.append(part)
    return parts


PLOTS: tuple[Plot, ...] = (
    Plot("talk", 0.27, 2, 4, 0.35, _talk),
    Plot("seated", 0.16, 1, 4, 0.15, _seated),
    Plot("arrival", 0.19, 1, 4, 0.4, _arrival),
    Plot("duel", 0.13, 2, 4, 0.9, _duel),
    Plot("spell", 0.08, 2, 3, 0.5, _spell),
    Plot("celebration", 0.07, 2, 4, 0.5, _celebration),
    Plot("solo", 0.10, 1, 2, 0.4, _solo),
)


def choose(rng: np.random.Generator, room: Room) -> Plot:
    """A plot that the room allows."""
    fitting = [plot for plot in PLOTS if plot.name != "seated" or room.marks_of("seat")]
    weights = np.array([plot.weight for plot in fitting])
    return fitting[int(rng.choice(len(fitting), p=weights / weights.sum()))]
