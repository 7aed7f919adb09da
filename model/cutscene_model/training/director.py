"""Random but plausible cutscenes: a room, a cast, something that happens, and the shots it is seen in.

Everything follows from one seed. A performance answers with the scene state of any frame, in any order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cutscene_model.scene import (
    ActorState,
    Camera,
    FloatArray,
    Lights,
    PointLight,
    PropState,
    SceneState,
    Stage,
    StageHint,
)
from cutscene_model.training import plots
from cutscene_model.training.acting import Part
from cutscene_model.training.casting import Casting, choose_cast
from cutscene_model.training.costumes import held_state
from cutscene_model.training.framing import MOVES, CameraPath, Framer, NoFreeCamera
from cutscene_model.training.motion import Rig, load_rig
from cutscene_model.training.rooms import HELD_OUT_ROOMS, TRAINING_ROOMS, Room, build
from cutscene_model.training.space import Space
from cutscene_model.training.transforms import Array, vec3

FPS = 24
TRAINING_VARIANTS = 12
PRESET_WEIGHTS = {"day": 0.33, "sunset": 0.21, "night": 0.22, "torchlight": 0.24}
SHOT_WEIGHTS = {"wide": 0.13, "two_shot": 0.20, "over_shoulder": 0.23, "close_up": 0.25, "low": 0.11, "high": 0.08}


@dataclass(frozen=True, slots=True)
class Shot:
    """An uncut stretch of frames."""

    start: int  # first frame
    end: int  # one past the last
    kind: str


@dataclass(frozen=True)
class Performance:
    """A directed cutscene."""

    seed: int
    room: str
    variant: int
    plot: str
    preset: str
    stage: Stage
    shots: tuple[Shot, ...]
    states: Callable[[int], SceneState]
    fps: int = FPS

    @property
    def frames(self) -> int:
        """How many frames there are."""
        return self.shots[-1].end

    def shot_at(self, frame: int) -> Shot:
        """The shot that a frame belongs to."""
        return next(shot for shot in self.shots if shot.start <= frame < shot.end)


class _Staging:
    """Answers where everybody is at a time, from parts and cameras."""

    def __init__(self, assets_dir: Path, rig: Rig, parts: list[Part], casting: Casting) -> None:
        self._assets = assets_dir
        self._rig = rig
        self._parts = parts
        self._casting = casting
        self._joints: dict[tuple[int, int], FloatArray] = {}
        self.cameras: list[CameraPath] = []
        self.lights = Lights()
        self.spells: list[plots.Spell] = []
        self.flicker: Array = np.zeros((0, 3))

    def joints(self, actor: int, time: float) -> FloatArray:
        """World joints of an actor, remembered per millisecond because the camera search asks again and again."""
        key = (actor, round(time * 1000))
        if key not in self._joints:
            clip, clip_time, position, yaw = self._parts[actor].place(time)
            self._joints[key] = self._rig.joints_for(clip, clip_time, position, yaw)
        return self._joints[key]

    def state(self, frame: int) -> SceneState:
        time = frame / FPS
        actors: list[ActorState] = []
        props: list[PropState] = []
        for index, part in enumerate(self._parts):
            clip, clip_time, position, yaw = part.place(time)
            matrices = self._rig.world_pose(clip, clip_time, position, yaw)
            emotion, intensity = part.look(time)
            hint = StageHint(clip, clip_time, position, yaw)
            joints = self._rig.contract_joints(matrices)
            actors.append(ActorState(index, joints, emotion, intensity, part.mouth(time), hint))
            for look in self._casting.held[index]:
                props.append(held_state(self._assets, self._rig, len(props), look, matrices))
        return SceneState(self._camera(time), tuple(actors), tuple(props), self._lit(time))

    def _camera(self, time: float) -> Camera:
        for path in self.cameras:
            if time < path.end - 1e-6:
                return path.camera(time)
        return self.cameras[-1].camera(time)

    def _lit(self, time: float) -> Lights:
        points = []
        for point, (rate, phase, depth) in zip(self.lights.points, self.flicker, strict=True):
            level = 1.0 + depth * (0.6 * math.sin(rate * time + phase) + 0.4 * math.sin(2.7 * rate * time + 2 * phase))
            points.append(replace(point, color=vec3(np.array(point.color) * level)))
        for spell in self.spells:
            glow = spell.strength(time)
            if glow > 0.0:
                hands = self.joints(spell.caster, time)[[7, 10]]
                place = hands[1] + (0.0, 0.15, 0.0)
                light = PointLight(vec3(place), vec3(np.array(spell.color) * glow), 7.0)
                points = [*points[:3], light]
        return replace(self.lights, points=tuple(points))


def direct(
    assets_dir: Path, seed: int, room: Room | None = None, held_out: bool = False, seconds: float | None = None
) -> Performance:
    """The performance of that seed. ``held_out`` draws rooms and casts that training never sees.

    ``seconds`` sets how long it is, which is the seed's otherwise. The room, the plot and, where the first writing of
    the plot fits either way, the cast are the same then; light and shots are others.
    """
    rng = np.random.default_rng([20261122, int(held_out), seed])
    keeps_pair = False
    if room is None:
        if held_out and rng.random() < 0.6:
            room = build(str(rng.choice(HELD_OUT_ROOMS)), int(rng.integers(4)))
        else:
            keeps_pair = held_out
            variant = int(rng.integers(TRAINING_VARIANTS)) + (100 if held_out else 0)
            room = build(str(rng.choice(TRAINING_ROOMS)), variant)
    while True:
        try:
            return _attempt(assets_dir, seed, rng, room, keeps_pair, seconds)
        except NoFreeCamera:
            continue  # the generator has moved on: the next attempt is another performance of the same seed


def _attempt(
    assets_dir: Path, seed: int, rng: np.random.Generator, room: Room, keeps_pair: bool, seconds: float | None
) -> Performance:
    """One try at a performance. Raises ``NoFreeCamera``."""
    rig = load_rig(assets_dir)
    space = Space(room.elements, room.camera_area)
    drawn = float(rng.uniform(8.0, 20.0))  # from the generator in any case, so that what follows is the same
    duration = drawn if seconds is None else seconds
    while True:
        plot = plots.choose(rng, room)
        low = 2 if keeps_pair else 1
        count = max(low, plot.least, min(plot.most, int(rng.choice([1, 2, 3, 4], p=[0.14, 0.44, 0.26, 0.16]))))
        if count > plot.most:
            continue
        casting = choose_cast(rng, count, keeps_pair, plot.armed)
        parts = plot.write(plots.Brief(rig, rng, room, space, casting, duration))
        if parts is not None:
            break
    preset, lights = _choose_lights(rng, room)
    staging = _Staging(assets_dir, rig, parts, casting)
    staging.lights = lights
    staging.spells = plots.spells_of(parts, rng) if plot.name == "spell" else []
    staging.flicker = np.stack(
        [
            rng.uniform(4, 9, len(lights.points)),
            rng.uniform(0, 6, len(lights.points)),
            rng.uniform(0, 0.09, len(lights.points)),
        ],
        axis=1,
    )
    shots = _shoot(rng, staging, parts, casting, space, duration)
    stage = Stage(casting.members, room.elements, casting.props())
    return Performance(seed, room.name, room.variant, plot.name, preset, stage, shots, staging.state)


def _choose_lights(rng: np.random.Generator, room: Room) -> tuple[str, Lights]:
    """A preset with its sun turned, and its strengths and colours varied."""
    names = list(PRESET_WEIGHTS)
    preset = str(rng.choice(names, p=list(PRESET_WEIGHTS.values())))
    lights = room.lights[preset]
    turn = float(rng.uniform(-math.pi, math.pi))
    x, y, z = lights.sun_direction
    c, s = math.cos(turn), math.sin(turn)
    sun = np.array([c * x + s * z, y * float(rng.uniform(0.7, 1.4)), -s * x + c * z])
    color = rng.uniform(0.92, 1.08, 3)
    ambient = np.array(lights.ambient) * rng.uniform(0.9, 1.3) * rng.uniform(0.93, 1.07, 3)
    lamps = np.array([1.0, 1.0, 1.0]) if rng.random() < 0.8 else rng.uniform(0.5, 1.6, 3)
    strength = float(rng.uniform(0.75, 1.35))
    points = tuple(replace(p, color=vec3(np.array(p.color) * lamps * strength)) for p in lights.points)
    return preset, Lights(
        vec3(ambient),
        vec3(sun / np.linalg.norm(sun)),
        vec3(np.array(lights.sun_color) * color * rng.uniform(0.8, 1.1)),
        vec3((np.array(lights.background) * rng.uniform(0.85, 1.1)).clip(0.0, 1.0)),
        points,
    )


def _shoot(
    rng: np.random.Generator,
    staging: _Staging,
    parts: list[Part],
    casting: Casting,
    space: Space,
    duration: float,
) -> tuple[Shot, ...]:
    """Cuts the time into shots and finds a camera for each."""
    hats = [member.costume == "mage" and member.headgear for member in casting.members]
    framer = Framer(space, staging.joints, len(parts), hats, rng)
    kinds, weights = list(SHOT_WEIGHTS), np.array(list(SHOT_WEIGHTS.values()))
    total = round(duration * FPS)
    shots: list[Shot] = []
    frame = 0
    while frame < total:
        length = round(float(rng.uniform(1.6, 5.0)) * FPS)
        end = total if total - frame - length < FPS else frame + length
        start_time, end_time = frame / FPS, end / FPS
        path: CameraPath | None = None
        for attempt in range(6):
            kind = "wide" if not shots and attempt == 0 and rng.random() < 0.5 else str(rng.choice(kinds, p=weights))
            subjects = _subjects(rng, parts, kind, start_time, end_time)
            path = framer.find(kind, str(rng.choice(MOVES)), subjects, start_time, end_time)
            if path is not None:
                break
        if path is None:
            path = framer.fallback(_subjects(rng, parts, "two_shot", start_time, end_time), start_time, end_time)
        staging.cameras.append(path)
        shots.append(Shot(frame, end, path.kind))
        frame = end
    return tuple(shots)


def _subjects(rng: np.random.Generator, parts: list[Part], kind: str, start: float, end: float) -> list[int]:
    """Whom a shot is about: speakers first, the one nearest to the speaker second."""
    speaking = [
        index
        for index, part in enumerate(parts)
        if any(utterance.start < end and utterance.end > start for utterance in part.utterances)
    ]
    order = [int(index) for index in rng.permutation(len(parts))]
    if speaking and rng.random() < 0.75:
        lead = speaking[int(rng.integers(len(speaking)))]
        order = [lead] + [index for index in order if index != lead]
    if kind == "close_up" or (kind in ("low", "high") and rng.random() < 0.5):
        return order[:1]
    lead_place = np.array(parts[order[0]].place((start + end) / 2)[2])
    rest = sorted(
        order[1:], key=lambda i: float(np.linalg.norm(np.array(parts[i].place((start + end) / 2)[2]) - lead_place))
    )
    if kind == "wide":
        return [order[0], *rest]
    return [order[0], *rest[:1]]
