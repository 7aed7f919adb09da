"""Camera work: shot kinds, camera moves, and the tests that keep a camera out of walls and its subjects in sight."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cutscene_model.scene import JOINT_INDEX, Camera, FloatArray
from cutscene_model.training.space import Space
from cutscene_model.training.transforms import Array, look_rotation, quaternion_matrix, vec3

ASPECT = 16 / 9
MOVES: tuple[str, ...] = ("static", "dolly", "orbit", "handheld", "push")

Joints = Callable[[int, float], FloatArray]  # (actor, time) -> (19, 3)


class NoFreeCamera(Exception):
    """A performance leaves no place from which it can be seen; another one is directed instead."""


@dataclass(frozen=True, slots=True)
class CameraPath:
    """One shot's camera: a start and end eye, a target that may follow, a sway."""

    kind: str
    start: float
    end: float
    eye_from: Array
    eye_to: Array
    orbit: float  # radians the eye turns about the target over the shot
    follow: Callable[[float], Array]  # where the camera looks at a time
    fov: float
    sway: float  # metres
    phase: float

    def camera(self, time: float) -> Camera:
        """The camera at a time within the shot."""
        u = (time - self.start) / max(self.end - self.start, 1e-6)
        u = u * u * (3 - 2 * u) * 0.5 + u * 0.5  # nearly even, softly started
        target = self.follow(time)
        eye = self.eye_from + (self.eye_to - self.eye_from) * u
        if self.orbit:
            c, s = math.cos(self.orbit * (u - 0.5)), math.sin(self.orbit * (u - 0.5))
            x, z = eye[0] - target[0], eye[2] - target[2]
            eye = np.array([target[0] + c * x + s * z, eye[1], target[2] - s * x + c * z])
        if self.sway:
            a = self.phase + time
            wobble = [math.sin(2.1 * a) + 0.5 * math.sin(5.3 * a), math.sin(2.9 * a + 1.0), math.sin(2.4 * a + 2.0)]
            eye = eye + self.sway * np.array(wobble)
            target = target + 0.6 * self.sway * np.array(
                [math.sin(3.1 * a), math.sin(2.2 * a + 0.5), math.cos(2.7 * a)]
            )
        return Camera(vec3(eye), look_rotation(eye, target), self.fov)


class Framer:
    """Finds cameras for shots of one performance."""

    def __init__(self, space: Space, joints: Joints, actors: int, wide_hats: Sequence[bool], rng: np.random.Generator):
        self._space = space
        self._joints = joints
        self._actors = actors
        self._wide_hats = wide_hats
        self._rng = rng

    def find(self, kind: str, move: str, subjects: Sequence[int], start: float, end: float) -> CameraPath | None:
        """A camera path that passes all tests, or None after a fair number of tries."""
        for _ in range(90 if kind == "over_shoulder" else 50):
            path = self._candidate(kind, move, subjects, start, end)
            if path is not None and self._acceptable(path, kind, subjects):
                return path
        return None

    def fallback(self, subjects: Sequence[int], start: float, end: float) -> CameraPath:
        """The best of many loose candidates: in the room, with as many faces in sight as can be."""
        best: tuple[float, CameraPath] | None = None
        for index in range(160):
            kind = ("wide", "two_shot", "high")[index % 3]
            path = self._candidate(kind, "static", subjects, start, end)
            if path is None or not self._free(path, start) or not self._free(path, end):
                continue
            score = sum(
                self._sees(path, time, who, occluders=index < 100, limit=0.95)
                for time in (start, (start + end) / 2, end)
                for who in subjects
            )
            if best is None or score > best[0]:
                best = (score, path)
        if best is None:
            raise NoFreeCamera("no camera position in the whole room is free")
        return best[1]

    # Candidates ----------------------------------------------------------------------------------------------------

    def _uniform(self, low: float, high: float) -> float:
        return float(self._rng.uniform(low, high))

    def _point(self, actor: int, time: float, joint: str) -> Array:
        joints: Array = self._joints(actor, time).astype(np.float64)
        if joint == "head":
            return _middle(joints[JOINT_INDEX["neck"]], joints[JOINT_INDEX["head_top"]])
        point: Array = joints[JOINT_INDEX[joint]]
        return point

    def _facing(self, actor: int, time: float) -> Array:
        """Unit vector along the floor towards which the head looks."""
        joints = self._joints(actor, time).astype(np.float64)
        head = (joints[JOINT_INDEX["neck"]] + joints[JOINT_INDEX["head_top"]]) / 2
        ahead: Array = (joints[JOINT_INDEX["face"]] - head) * (1.0, 0.0, 1.0)
        length = float(np.linalg.norm(ahead))
        return ahead / length if length > 0.05 else np.array([0.0, 0.0, 1.0])

    def _candidate(self, kind: str, move: str, subjects: Sequence[int], start: float, end: float) -> CameraPath | None:
        middle = (start + end) / 2
        main = subjects[0]
        heads = np.array([self._point(who, middle, "head") for who in subjects])
        hips = np.array([self._point(who, middle, "hips") for who in subjects])
        center = (heads.mean(axis=0) + hips.mean(axis=0)) / 2
        spread = float(np.ptp(heads[:, [0, 2]], axis=0).max()) if len(subjects) > 1 else 0.0
        fov = self._uniform(0.55, 0.80)
        anchor = center
        if kind == "close_up":
            fov = self._uniform(0.42, 0.58)
            anchor = heads[0] - (0.0, self._uniform(0.05, 0.2), 0.0)
            height = self._uniform(1.35, 2.2)  # metres of the world that the picture's height shows
            angle = self._turned(main, middle, self._uniform(-0.75, 0.75))
            lift = self._uniform(-0.15, 0.3)
        elif kind == "over_shoulder":
            if len(subjects) < 2:
                return None
            return self._over_shoulder(move, subjects, start, end)
        elif kind == "two_shot":
            anchor = center + np.array([0.0, self._uniform(0.05, 0.35), 0.0])
            height = max(self._uniform(2.0, 2.7), (spread + 1.3) / ASPECT)
            angle = self._side_on(subjects, middle)
            lift = self._uniform(0.0, 0.7)
        elif kind == "low":
            anchor = center + np.array([0.0, self._uniform(0.1, 0.4), 0.0])
            height = max(self._uniform(2.0, 3.0), (spread + 1.4) / ASPECT)
            angle = self._turned(main, middle, self._uniform(-0.9, 0.9))
            lift = -0.9
        elif kind == "high":
            height = max(self._uniform(2.9, 4.0), (spread + 1.8) / ASPECT)
            angle = self._turned(main, middle, self._uniform(-1.2, 1.2))
            lift = self._uniform(1.5, 2.0)
        else:  # wide
            height = max(self._uniform(3.4, 6.0), (spread + 2.2) / ASPECT)
            angle = self._turned(main, middle, self._uniform(-1.4, 1.4))
            lift = self._uniform(0.2, 1.4)
            fov = self._uniform(0.65, 0.95)
        distance = height / (2 * math.tan(fov / 2))
        eye = anchor + distance * np.array([math.sin(angle), 0.0, math.cos(angle)])
        eye[1] = float(np.clip(anchor[1] + lift, 0.4, 3.4))
        return self._moved(kind, move, eye, anchor, subjects, fov, start, end)

    def _turned(self, actor: int, time: float, by: float) -> float:
        facing = self._facing(actor, time)
        return math.atan2(facing[0], facing[2]) + by

    def _side_on(self, subjects: Sequence[int], time: float) -> float:
        if len(subjects) < 2:
            return self._turned(subjects[0], time, self._uniform(-0.9, 0.9))
        a, b = self._point(subjects[0], time, "head"), self._point(subjects[1], time, "head")
        across = math.atan2(b[2] - a[2], -(b[0] - a[0]))  # the direction at right angles to the line between them
        side = 0.0 if self._rng.random() < 0.5 else math.pi
        return across + side + self._uniform(-0.6, 0.6)

    def _over_shoulder(self, move: str, subjects: Sequence[int], start: float, end: float) -> CameraPath | None:
        middle = (start + end) / 2
        speaker, listener = subjects[0], subjects[1]
        face, shoulder = self._point(speaker, middle, "head"), self._point(listener, middle, "head")
        line = (shoulder - face) * (1.0, 0.0, 1.0)
        length = float(np.linalg.norm(line))
        if not 0.8 < length < 4.5:
            return None
        line /= length
        side = np.array([line[2], 0.0, -line[0]]) * (1.0 if self._rng.random() < 0.5 else -1.0)
        eye = shoulder + line * self._uniform(1.0, 1.9) + side * self._uniform(0.75, 1.15)
        eye[1] = shoulder[1] + self._uniform(0.05, 0.55)
        distance = float(np.linalg.norm(eye - face))
        fov = min(0.85, 2 * math.atan(self._uniform(1.9, 2.6) / (2 * distance)))
        anchor = face - (0.0, 0.2, 0.0) + 0.18 * (shoulder - face)
        return self._moved("over_shoulder", move, eye, anchor, subjects[:1], fov, start, end)

    def _moved(
        self,
        kind: str,
        move: str,
        eye: Array,
        anchor: Array,
        subjects: Sequence[int],
        fov: float,
        start: float,
        end: float,
    ) -> CameraPath:
        """Adds the camera's move and lets the target follow subjects that walk."""
        middle = (start + end) / 2
        base = np.mean([self._point(who, middle, "hips") for who in subjects], axis=0)

        def drift(time: float) -> Array:
            """How far the subjects have come since the middle of the shot, along the floor: heads may bob freely."""
            moved = np.mean([self._point(who, time, "hips") for who in subjects], axis=0) - base
            moved[1] = 0.0
            return np.array(moved if float(np.linalg.norm(moved)) > 0.25 else np.zeros(3), np.float64)

        walking = max(float(np.linalg.norm(drift(start))), float(np.linalg.norm(drift(end)))) > 0.35
        shift = (drift(end) - drift(start)) if walking else np.zeros(3)

        def follow(time: float) -> Array:
            u = (time - start) / max(end - start, 1e-6) - 0.5
            return anchor + shift * u

        eye_from, eye_to, orbit, sway = eye.copy(), eye.copy(), 0.0, 0.0
        back = eye - anchor
        if walking and self._rng.random() < 0.6:  # travel with them
            eye_from, eye_to = eye - shift * 0.5, eye + shift * 0.5
        elif move == "dolly":
            across = np.array([back[2], 0.0, -back[0]]) / max(float(np.hypot(back[0], back[2])), 1e-6)
            step = across * self._uniform(-0.5, 0.5) + np.array([0.0, self._uniform(-0.2, 0.2), 0.0])
            eye_from, eye_to = eye - step, eye + step
        elif move == "push":
            step = back * self._uniform(0.06, 0.16) * (1.0 if self._rng.random() < 0.7 else -1.0)
            eye_from, eye_to = eye + step, eye - step
        elif move == "orbit":
            orbit = self._uniform(0.2, 0.6) * (1.0 if self._rng.random() < 0.5 else -1.0)
        if move == "handheld" or self._rng.random() < 0.15:
            sway = self._uniform(0.006, 0.018)
        return CameraPath(kind, start, end, eye_from, eye_to, orbit, follow, fov, sway, self._uniform(0.0, 9.0))

    # Tests ---------------------------------------------------------------------------------------------------------

    def _acceptable(self, path: CameraPath, kind: str, subjects: Sequence[int]) -> bool:
        seen = subjects[:1] if kind in ("close_up", "over_shoulder") else subjects
        limit = 1.15 if kind == "close_up" else 0.92
        count = 3 + 2 * round((path.end - path.start) / 0.8)
        steps = np.linspace(path.start, path.end, count)
        rough = [0, count // 2, count - 1]  # most candidates fail already here
        order = rough + [index for index in range(count) if index not in rough]
        for time in (float(steps[index]) for index in order):
            if not self._free(path, time) or self._crowded(path, time, seen):
                return False
            if not all(self._sees(path, time, who, True, limit) for who in seen):
                return False
        middle = (path.start + path.end) / 2
        if kind in ("close_up", "over_shoulder", "low"):
            return self._turned_to_camera(path, subjects[0], middle) > math.cos(1.25)
        best = max(self._turned_to_camera(path, who, middle) for who in seen)
        return best > math.cos(1.75)

    def _turned_to_camera(self, path: CameraPath, actor: int, time: float) -> float:
        to_camera = (np.array(path.camera(time).position) - self._point(actor, time, "head")) * (1.0, 0.0, 1.0)
        return float(self._facing(actor, time) @ to_camera / max(float(np.linalg.norm(to_camera)), 1e-6))

    def _free(self, path: CameraPath, time: float) -> bool:
        eye = np.array(path.camera(time).position)
        if not self._space.contains_camera(eye):
            return False
        for actor in range(self._actors):
            for center, radius in self._body(actor, time):
                if float(np.linalg.norm(eye - center)) < radius + 0.30:
                    return False
        return True

    def _crowded(self, path: CameraPath, time: float, seen: Sequence[int]) -> bool:
        """Whether somebody whom the shot is not about fills the middle of the picture."""
        camera = path.camera(time)
        inverse = quaternion_matrix(camera.rotation).T
        half = math.tan(camera.vertical_fov / 2)
        for actor in range(self._actors):
            if actor in seen:
                continue
            local = inverse @ (self._point(actor, time, "head") - np.array(camera.position))
            depth = -float(local[2])
            if not 0.0 < depth < 3.0:
                continue
            radius = (0.9 if self._wide_hats[actor] else 0.58) / depth / half / ASPECT
            x = abs(float(local[0])) / depth / half / ASPECT
            if x - radius < (0.0 if path.kind == "over_shoulder" else 0.12) and radius > 0.22 and x < 1.2 + radius:
                return True
        return False

    def _body(self, actor: int, time: float) -> list[tuple[Array, float]]:
        """Spheres that stand for an actor when something may be hidden."""
        head = self._point(actor, time, "head")
        body = [(head, 0.56), (self._point(actor, time, "chest"), 0.42), (self._point(actor, time, "hips"), 0.36)]
        if self._wide_hats[actor]:
            body.append((self._point(actor, time, "head_top"), 0.95))
        return body

    def _sees(self, path: CameraPath, time: float, actor: int, occluders: bool, limit: float) -> bool:
        """Whether an actor's head is in the picture and nothing stands before it."""
        camera = path.camera(time)
        eye = np.array(camera.position)
        head = self._point(actor, time, "head")
        local = quaternion_matrix(camera.rotation).T @ (head - eye)
        if local[2] > -0.3:
            return False
        half = math.tan(camera.vertical_fov / 2)
        x, y = local[0] / -local[2] / half / ASPECT, local[1] / -local[2] / half
        top = y + 0.5 / -local[2] / half
        if abs(x) > limit * 0.92 or abs(y) > 0.85 or top > max(limit, 0.97) + 0.12:
            return False
        if not occluders:
            return True
        face = self._point(actor, time, "face")
        chest = self._point(actor, time, "chest")
        if any(self._space.blocked(eye, point, 0.04) for point in (face, head, chest)):
            return False
        for other in range(self._actors):
            if other == actor:
                continue
            for center, radius in self._body(other, time):
                along = head - eye
                t = float(np.clip((center - eye) @ along / (along @ along), 0.0, 1.0))
                if t < 0.98 and float(np.linalg.norm(eye + along * t - center)) < radius + 0.12:
                    return False
        return True


def _middle(first: Array, second: Array) -> Array:
    """Half-way between two points."""
    middle: Array = (first + second) / 2
    return middle
