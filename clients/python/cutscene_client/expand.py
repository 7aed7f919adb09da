"""A script becomes an open request and one turn a shot: what people do, as scene states at 24 frames a second.

Everything is resolved here: marks to places, clips to joints, framings to cameras, words to mouths. What the library
does not know is reported like a mistake in the file, by its place in the script.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from cutscene_client import rotations, scene
from cutscene_client.expression import Face, face_at, mouth_open_at
from cutscene_client.framing import NEAREST_HEAD_M, Filming, Subject, frame_shot
from cutscene_client.library import Library, Mark, Room, UnknownNameError, load_library
from cutscene_client.obstacles import Obstacles
from cutscene_client.script import FPS, CastSpec, LightsSpec, Performance, Script, ScriptError, Shot
from cutscene_client.session import CUT, Step
from cutscene_client.staging import Pose, Standing, Track, heading, plan
from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_proto.v1 import scene_pb2 as spb

FloatArray = npt.NDArray[np.float64]
DEFAULT_PRESET = "day"
DRAWN_IN_TOO_FAR = 0.75


@dataclass(frozen=True)
class ExpandedShot:
    """One shot as the server will be told it."""

    name: str
    states: tuple[spb.SceneState, ...]


@dataclass(frozen=True)
class Expansion:
    """A script ready to be played."""

    title: str
    open_request: pb.Open
    shots: tuple[ExpandedShot, ...]
    warnings: tuple[str, ...] = ()  # what will look wrong, each by its place in the script

    @property
    def frame_count(self) -> int:
        """Of all shots."""
        return sum(len(shot.states) for shot in self.shots)

    def shot_at(self, frame_index: int) -> ExpandedShot:
        """The shot that a frame belongs to."""
        for shot in self.shots:
            if frame_index < len(shot.states):
                return shot
            frame_index -= len(shot.states)
        raise IndexError("the script has fewer frames")

    def steps(self, *, keyframe_every: int | None = None) -> Iterator[Step]:
        """A turn for each shot with a cut between two; lockstep states, or keyframes of every n-th state."""
        for number, shot in enumerate(self.shots):
            if number:
                yield CUT
            turn_id = f"shot-{number + 1:03d}"
            if keyframe_every is None:
                yield scene.lockstep_turn(shot.states, turn_id)
            else:
                last = len(shot.states) - 1
                kept = sorted({*range(0, last + 1, keyframe_every), last})
                yield scene.keyframed_turn({index / FPS: shot.states[index] for index in kept}, turn_id)


def expand(script: Script, library: Library | None = None) -> Expansion:
    """Turns a script into requests. Raises ``ScriptError`` for names that the library does not have."""
    return _Expander(script, library or load_library()).run()


@dataclass
class _Actor:
    """One member of the cast while the shots are laid out."""

    spec: CastSpec
    standing: Standing
    face: Face
    phase: float  # seconds into the resting clip at the start of a shot


class _Expander:
    def __init__(self, script: Script, library: Library) -> None:
        self.script = script
        self.library = library
        self.path = "script"
        self.warnings: list[str] = []
        try:
            self.room = self._room()
            self.path = "lights"
            self.lights = self._lights(script.lights, None)
            self.cast = [self._cast_member(index, member) for index, member in enumerate(script.cast_)]
            self.props = [self._prop_declaration(index) for index in range(len(script.props))]
        except UnknownNameError as error:
            raise self._error(str(error)) from error
        self.obstacles = Obstacles(self.room.elements, self.room.camera_area)

    def run(self) -> Expansion:
        self._place_everyone()
        shots = []
        for number, shot in enumerate(self.script.shots):
            self.path = f"shots[{number}]"
            try:
                shots.append(self._shot(shot, number))
            except UnknownNameError as error:
                raise self._error(str(error)) from error
        held = [
            scene.prop(
                _held_id(actor.spec.id, look), self.library.looks[look]["class"], look,
                self.library.weapon(look).half_extent,
            )
            for actor in self.cast
            for look in actor.spec.holds
        ]  # fmt: skip
        request = pb.Open(
            fps=FPS,
            cast=[
                scene.cast_member(a.spec.id, a.spec.costume, tint=a.spec.tint, bare_headed=not a.spec.headgear)
                for a in self.cast
            ],
            set=scene.stage_set(self.room.elements, [*self.props, *held]),
            seed=self.script.seed,
        )
        return Expansion(self.script.title, request, tuple(shots), tuple(self.warnings))

    # ---- said once --------------------------------------------------------------------------------------------------

    def _room(self) -> Room:
        said = self.script.room
        self.path = "room"
        if said is None:
            raise self._error("a captured script has no room to expand")
        if isinstance(said, str):
            return self.library.room(said)
        elements = []
        for index, element in enumerate(said.elements):
            self.path = f"room.elements[{index}].look"
            self._known_look(element.look)
            elements.append(
                scene.box(
                    element.element_class, element.look, element.center, element.half_extent,
                    rotation=rotations.yaw(math.radians(element.yaw)), part=element.part, tint=element.tint,
                )
            )  # fmt: skip
        marks = {
            name: Mark(name, "stand", (mark.at[0], mark.height, mark.at[1]), math.radians(mark.facing))
            for name, mark in said.marks.items()
        }
        presets = {DEFAULT_PRESET: scene.lights(sun_direction=(0.4, -1.0, -0.3))}
        return Room("(inline)", tuple(elements), marks, presets, None)

    def _lights(self, said: str | LightsSpec | None, base: spb.Lights | None) -> spb.Lights:
        spec = LightsSpec(preset=said) if isinstance(said, str) else said or LightsSpec()
        result = spb.Lights()
        if spec.preset is not None or base is None:
            result.CopyFrom(self.room.preset(spec.preset or DEFAULT_PRESET))
        else:
            result.CopyFrom(base)
        changed = scene.lights(
            ambient=spec.ambient or (0, 0, 0),
            sun_direction=spec.sun_direction or (0, -1, 0),
            sun_color=spec.sun_color or (0, 0, 0),
            background_srgb=spec.background_srgb or (0, 0, 0),
        )
        for name in ("ambient", "sun_direction", "sun_color", "background_srgb"):
            if getattr(spec, name) is not None:
                getattr(result, name).CopyFrom(getattr(changed, name))
        if spec.points is not None:
            del result.points[:]
            result.points.extend(scene.point_light(p.position, p.color, p.range) for p in spec.points)
        return result

    def _cast_member(self, index: int, member: CastSpec) -> _Actor:
        self.path = f"cast[{index}]"
        if member.costume not in self.library.costumes:
            raise UnknownNameError("costume", member.costume, self.library.costumes)
        for look in member.holds:
            self.library.weapon(look)
        rest = self.library.clip(member.rest)
        phase = rest.duration * 0.37 * index
        return _Actor(member, Standing(np.zeros(3), 0.0, member.rest), Face(), phase)

    def _prop_declaration(self, index: int) -> spb.Prop:
        said = self.script.props[index]
        self.path = f"props[{index}].look"
        self._known_look(said.look)
        look = self.library.looks[said.look]
        # The prop is the box round all the parts of its look.
        low = np.min([np.subtract(center, half) for center, half in look["parts"]], axis=0)
        high = np.max([np.add(center, half) for center, half in look["parts"]], axis=0)
        return scene.prop(said.id, look["class"], said.look, (high - low) / 2, tint=said.tint)

    def _known_look(self, look: str) -> None:
        if look not in self.library.looks:
            raise UnknownNameError("look", look, self.library.looks)

    def _place_everyone(self) -> None:
        """Where a script does not say where somebody first stands: the room's standing marks, in order."""
        free = [mark for mark in self.room.marks.values() if mark.kind == "stand"] or list(self.room.marks.values())
        for index, actor in enumerate(self.cast):
            mark = free[index % len(free)] if free else Mark("origin", "stand", (1.2 * index, 0.0, 0.0), 0.0)
            actor.standing = Standing(np.asarray(mark.position), mark.yaw, actor.spec.rest)

    # ---- one shot ---------------------------------------------------------------------------------------------------

    def _shot(self, shot: Shot, number: int) -> ExpandedShot:
        base = self.path
        present = self._present(shot, base)
        self._starts(shot, present, base)
        tracks, seated = self._tracks(shot, present, base)
        times = [index / FPS for index in range(shot.frame_count)]
        poses = {actor.spec.id: [tracks[actor.spec.id].pose(time) for time in times] for actor in present}
        self.path = f"{base}.camera"
        filming = self._filming(shot, number, present, tracks, poses, times)
        self._warn(filming, poses)
        self.path = f"{base}.lights"
        lights = self._lights(shot.lights, self.lights)
        standing_props = [self._standing_prop(index) for index in range(len(self.script.props))]
        states = []
        for index, time in enumerate(times):
            view = filming.views[index]
            actors, held = [], []
            for actor in present:
                performance = shot.actors.get(actor.spec.id, Performance())
                pose = poses[actor.spec.id][index]
                face = face_at(time, performance.face, actor.face)
                mouth = mouth_open_at(time, performance.say, self.script.seed + number, actor.spec.id)
                actors.append(
                    scene.actor(
                        actor.spec.id, pose.joints, emotion=face.emotion, intensity=face.intensity, mouth_open=mouth
                    )
                )
                held += self._held(actor.spec, pose)
            camera = scene.camera(view.position, look_at=view.look_at, fov_degrees=view.fov_degrees)
            states.append(scene.state(camera, lights, actors, [*standing_props, *held]))
        for actor in present:
            performance = shot.actors.get(actor.spec.id, Performance())
            actor.standing = tracks[actor.spec.id].last(seated[actor.spec.id])
            actor.face = face_at(shot.duration, performance.face, actor.face)
            actor.phase += shot.duration
        return ExpandedShot(shot.name or f"shot {number + 1}", tuple(states))

    def _present(self, shot: Shot, base: str) -> list[_Actor]:
        known = [actor.spec.id for actor in self.cast]
        for name in shot.actors:
            if name not in known:
                self.path = f"{base}.actors.{name}"
                raise UnknownNameError("member of the cast", name, known)
        return [a for a in self.cast if not (a.spec.id in shot.actors and shot.actors[a.spec.id].absent)]

    def _starts(self, shot: Shot, present: Sequence[_Actor], base: str) -> None:
        """Puts actors where the shot says it begins: everybody's place first, then whom they face."""
        for actor in present:
            performance = shot.actors.get(actor.spec.id)
            if performance is None or performance.at is None:
                continue
            self.path = f"{base}.actors.{actor.spec.id}.at"
            mark = self.room.mark(performance.at) if isinstance(performance.at, str) else None
            position = np.asarray(mark.position) if mark else self._point(performance.at)
            seated = mark is not None and mark.kind == "seat"
            yaw = mark.yaw if mark else actor.standing.yaw
            actor.standing = Standing(position, yaw, actor.spec.rest, seated)
        for actor in present:
            performance = shot.actors.get(actor.spec.id)
            if performance is None or performance.facing is None:
                continue
            self.path = f"{base}.actors.{actor.spec.id}.facing"
            here = actor.standing

            def point_of(facing: object, _time: float) -> FloatArray:
                return self._point(facing)

            yaw = heading(performance.facing, here.position, 0.0, point_of)
            actor.standing = Standing(here.position, yaw, here.clip, here.seated)

    def _tracks(self, shot: Shot, present: Sequence[_Actor], base: str) -> tuple[dict[str, Track], dict[str, bool]]:
        """Lays out everybody. Twice: an actor may turn to one who is laid out later."""
        tracks: dict[str, Track] = {}
        seated: dict[str, bool] = {}
        for _ in range(2):
            done = dict(tracks)
            for actor in present:
                self.path = f"{base}.actors.{actor.spec.id}.body"

                def point_of(place: object, time: float, done: dict[str, Track] = done) -> FloatArray:
                    if isinstance(place, str) and place in done:
                        return done[place].root(time)[0]
                    return self._point(place)

                tracks[actor.spec.id], seated[actor.spec.id] = plan(
                    actor.standing,
                    shot.actors.get(actor.spec.id, Performance()).body,
                    shot.frame_count / FPS,
                    actor.spec.rest,
                    self.library,
                    point_of,
                    self._seat,
                    actor.phase,
                )
        return tracks, seated

    def _point(self, place: object) -> FloatArray:
        """A place, or where an actor is when the shot begins."""
        if isinstance(place, str):
            for actor in self.cast:
                if actor.spec.id == place:
                    return actor.standing.position
            if place not in self.room.marks:
                known = [*self.room.marks, *(actor.spec.id for actor in self.cast)]
                raise UnknownNameError(f"mark of room {self.room.name} or member of the cast", place, known)
            return np.asarray(self.room.marks[place].position)
        x, z = cast(tuple[float, float], place)
        return np.array([x, 0.0, z])

    def _seat(self, name: str) -> Mark:
        mark = self.room.mark(name)
        if mark.kind != "seat":
            seats = [seat.name for seat in self.room.marks.values() if seat.kind == "seat"]
            raise UnknownNameError(f"seat of room {self.room.name}", name, seats)
        return mark

    def _filming(
        self,
        shot: Shot,
        number: int,
        present: Sequence[_Actor],
        tracks: dict[str, Track],
        poses: dict[str, list[Pose]],
        times: Sequence[float],
    ) -> Filming:
        ids = [actor.spec.id for actor in present]
        spec = shot.camera
        for name in [*spec.of, *([spec.over] if spec.over else [])]:
            if name not in ids:
                raise UnknownNameError("actor in this shot", name, ids)
        subjects = {name: _subject(tracks[name], poses[name], times) for name in ids}
        framed = [subjects[name] for name in spec.of or ids]
        if not framed and spec.keyframes is None:
            raise self._error("a framing needs somebody to frame; give camera keyframes for an empty set")
        over = subjects[spec.over] if spec.over else None
        return frame_shot(
            spec, framed, over, list(subjects.values()), self.obstacles, len(times), self.script.seed + number
        )

    def _warn(self, filming: Filming, poses: dict[str, list[Pose]]) -> None:
        """Notes a camera that had to leave its framing, stands in something, or in somebody's face."""
        if filming.drawn_in < DRAWN_IN_TOO_FAR:
            part = round(100 * filming.drawn_in)
            self.warnings.append(f"{self.path}: something is in the way; the camera stands at {part} % of its distance")
        if any(self.obstacles.contains(view.position) for view in filming.views):
            self.warnings.append(
                f"{self.path}: the camera stands in a wall or a piece of furniture, or outside the room"
            )
        for name, body in poses.items():
            distances = [
                np.linalg.norm(view.position - _head(pose)) for view, pose in zip(filming.views, body, strict=True)
            ]
            if min(distances) < NEAREST_HEAD_M:
                self.warnings.append(f"{self.path}: the camera comes within {min(distances):.2f} m of {name}'s head")

    def _standing_prop(self, index: int) -> spb.PropState:
        said = self.script.props[index]
        rotation = rotations.yaw(math.radians(said.yaw))
        return scene.prop_state(said.id, said.position, rotation)

    def _held(self, spec: CastSpec, pose: Pose) -> list[spb.PropState]:
        states = []
        for look in spec.holds:
            weapon = self.library.weapon(look)
            hand = pose.joints[scene.JOINT_INDEX[f"hand_{weapon.hand}"]]
            turn = pose.hands[weapon.hand]
            position = hand + rotations.rotate(turn, np.asarray(weapon.offset))
            rotation = rotations.multiply(turn, weapon.rotation)
            states.append(scene.prop_state(_held_id(spec.id, look), position, rotation / np.linalg.norm(rotation)))
        return states

    def _error(self, message: str) -> ScriptError:
        return ScriptError(self.script.title, [f"{self.path}: {message}"])


def _held_id(actor: str, look: str) -> str:
    return f"{actor}-{look.split('/')[-1]}"[:64]


def _subject(track: Track, poses: Sequence[Pose], times: Sequence[float]) -> Subject:
    hips = np.stack([pose.joints[scene.JOINT_INDEX["hips"]] for pose in poses])
    yaws = np.array([track.root(time)[1] for time in times])
    return Subject(np.stack([_head(pose) for pose in poses]), hips, yaws)


def _head(pose: Pose) -> FloatArray:
    """The middle of the head."""
    middle: FloatArray = (pose.joints[scene.JOINT_INDEX["neck"]] + pose.joints[scene.JOINT_INDEX["head_top"]]) / 2
    return middle
