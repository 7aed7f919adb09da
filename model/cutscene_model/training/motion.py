"""Clips to poses: samples the pack's animations in numpy and gives the contract's 19 joints from the drawn pose.

All five characters share one skeleton and one set of clips (a test compares the files), so one rig serves everybody.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cutscene_model.scene import JOINTS, FloatArray
from cutscene_model.training.gltf import Glb
from cutscene_model.training.transforms import Array, quaternion_matrix

HEAD_TOP_OFFSET = (0.0, 0.92, 0.0)  # crown of the bare skull in the head bone's frame
FACE_OFFSET = (0.0, 0.40, 0.53)  # tip of the nose

RIG_JOINTS: dict[str, str] = {
    "hips": "hips",
    "chest": "chest",
    "neck": "head",
    "shoulder_l": "upperarm.l",
    "elbow_l": "lowerarm.l",
    "hand_l": "handslot.l",
    "shoulder_r": "upperarm.r",
    "elbow_r": "lowerarm.r",
    "hand_r": "handslot.r",
    "hip_l": "upperleg.l",
    "knee_l": "lowerleg.l",
    "ankle_l": "foot.l",
    "toe_l": "toes.l",
    "hip_r": "upperleg.r",
    "knee_r": "lowerleg.r",
    "ankle_r": "foot.r",
    "toe_r": "toes.r",
}
_ON_HEAD = {"head_top": HEAD_TOP_OFFSET, "face": FACE_OFFSET}

SAMPLE_RATE = 30.0  # the pack's clips are keyed at 30 Hz

LOOPING: frozenset[str] = frozenset(
    {
        "1H_Ranged_Aiming",
        "2H_Melee_Idle",
        "2H_Melee_Attack_Spinning",
        "2H_Ranged_Aiming",
        "Blocking",
        "Cheer",
        "Idle",
        "Jump_Idle",
        "Lie_Idle",
        "Running_A",
        "Running_B",
        "Running_Strafe_Left",
        "Running_Strafe_Right",
        "Sit_Chair_Idle",
        "Sit_Floor_Idle",
        "Spellcasting",
        "Unarmed_Idle",
        "Walking_A",
        "Walking_B",
        "Walking_Backwards",
        "Walking_C",
    }
)


@dataclass(frozen=True, slots=True)
class Clip:
    """One animation, resampled to a uniform grid."""

    name: str
    duration: float  # seconds
    looping: bool
    translations: Array  # (S, J, 3)
    rotations: Array  # (S, J, 4)
    scales: Array  # (S, J, 3)


class Rig:
    """The shared skeleton with its clips."""

    def __init__(self, characters_dir: Path) -> None:
        glb = Glb(characters_dir / "Knight.glb")
        skin = glb.document["skins"][0]
        nodes: list[int] = skin["joints"]
        self.names: list[str] = [glb.nodes[node]["name"] for node in nodes]
        self.index = {name: index for index, name in enumerate(self.names)}
        slot = {node: index for index, node in enumerate(nodes)}
        self.parents = [slot.get(glb.parents[node], -1) for node in nodes]
        if any(parent >= index for index, parent in enumerate(self.parents)):
            raise ValueError("the skeleton's joints are not listed parents first")
        inverse_binds = glb.accessor(skin["inverseBindMatrices"]).reshape(-1, 4, 4)
        self.inverse_binds: Array = inverse_binds.transpose(0, 2, 1).astype(np.float64)  # glTF stores columns
        rest = [glb.nodes[node] for node in nodes]
        self._rest_translations = np.array([node.get("translation", (0, 0, 0)) for node in rest], np.float64)
        self._rest_rotations = np.array([node.get("rotation", (0, 0, 0, 1)) for node in rest], np.float64)
        self._rest_scales = np.array([node.get("scale", (1, 1, 1)) for node in rest], np.float64)
        # Children of one depth are multiplied together: 41 joints are 9 levels.
        depths = [0] * len(nodes)
        for index, parent in enumerate(self.parents):
            depths[index] = 0 if parent < 0 else depths[parent] + 1
        self._levels = [
            np.array([index for index, depth in enumerate(depths) if depth == level])
            for level in range(1, max(depths) + 1)
        ]
        self._parent_array = np.array(self.parents)
        self.clips: dict[str, Clip] = {}
        for animation in glb.document["animations"]:
            self.clips[animation["name"]] = self._read_clip(glb, animation, slot)
        self._joint_rows = np.array([self.index[RIG_JOINTS.get(name, "head")] for name in JOINTS])
        self._joint_offsets = np.array([_ON_HEAD.get(name, (0.0, 0.0, 0.0)) for name in JOINTS])

    def _read_clip(self, glb: Glb, animation: dict[str, object], slot: dict[int, int]) -> Clip:
        samplers: list[dict[str, int]] = animation["samplers"]  # type: ignore[assignment]
        channels: list[dict[str, object]] = animation["channels"]  # type: ignore[assignment]
        duration = max(float(glb.accessor(sampler["input"]).max()) for sampler in samplers)
        count = max(2, round(duration * SAMPLE_RATE) + 1)
        times = np.linspace(0.0, duration, count)
        paths = {
            "translation": np.tile(self._rest_translations, (count, 1, 1)),
            "rotation": np.tile(self._rest_rotations, (count, 1, 1)),
            "scale": np.tile(self._rest_scales, (count, 1, 1)),
        }
        for channel in channels:
            target: dict[str, object] = channel["target"]  # type: ignore[assignment]
            joint = slot.get(int(target["node"]))  # type: ignore[call-overload]
            if joint is None:
                continue
            sampler = samplers[int(channel["sampler"])]  # type: ignore[call-overload]
            keys = glb.accessor(sampler["input"])[:, 0].astype(np.float64)
            values = glb.accessor(sampler["output"]).astype(np.float64)
            if target["path"] == "rotation":
                values = _one_hemisphere(values)
            columns = [np.interp(times, keys, values[:, column]) for column in range(values.shape[1])]
            paths[str(target["path"])][:, joint] = np.stack(columns, axis=1)
        rotations = paths["rotation"]
        rotations /= np.linalg.norm(rotations, axis=-1, keepdims=True)
        name = str(animation["name"])
        return Clip(name, duration, name in LOOPING, paths["translation"], rotations, paths["scale"])

    def pose(self, clip: str, time: float) -> Array:
        """(J, 4, 4) joint matrices in the actor's frame; a looping clip wraps, any other holds its ends."""
        data = self.clips[clip]
        samples = len(data.translations)
        if data.duration <= 0.0:
            place = 0.0
        elif data.looping:
            place = (time % data.duration) / data.duration * (samples - 1)
        else:
            place = min(max(time / data.duration, 0.0), 1.0) * (samples - 1)
        low = min(int(place), samples - 2)
        blend = place - low
        translations = data.translations[low] * (1 - blend) + data.translations[low + 1] * blend
        scales = data.scales[low] * (1 - blend) + data.scales[low + 1] * blend
        first, second = data.rotations[low], data.rotations[low + 1]
        sign = np.where((first * second).sum(axis=1, keepdims=True) < 0, -1.0, 1.0)
        rotations = first * (1 - blend) + second * sign * blend
        matrices = np.zeros((len(self.names), 4, 4))
        matrices[:, :3, :3] = quaternion_matrix(rotations) * scales[:, None, :]
        matrices[:, :3, 3] = translations
        matrices[:, 3, 3] = 1.0
        for level in self._levels:
            matrices[level] = matrices[self._parent_array[level]] @ matrices[level]
        return matrices

    def world_pose(self, clip: str, time: float, position: npt.ArrayLike, yaw: float) -> Array:
        """(J, 4, 4) joint matrices in the world."""
        c, s = np.cos(yaw), np.sin(yaw)
        root = np.array([[c, 0, s, 0], [0, 1, 0, 0], [-s, 0, c, 0], [0, 0, 0, 1]], np.float64)
        root[:3, 3] = position
        return root @ self.pose(clip, time)

    def contract_joints(self, matrices: Array) -> FloatArray:
        """(19, 3) float32: the points of ``scene.JOINTS`` in the frame of ``matrices``."""
        chosen = matrices[self._joint_rows]
        points = np.einsum("jab,jb->ja", chosen[:, :3, :3], self._joint_offsets) + chosen[:, :3, 3]
        joints: FloatArray = points.astype(np.float32)
        return joints

    def joints_for(self, clip: str, time: float, position: npt.ArrayLike, yaw: float) -> FloatArray:
        """(19, 3) float32 world joints of an actor in a clip."""
        return self.contract_joints(self.world_pose(clip, time, position, yaw))

    def stride_speed(self, clip: str) -> float:
        """Metres a second at which a walker must move for the standing foot not to slide."""
        times = np.arange(0.0, self.clips[clip].duration, 1 / 60)
        toes = np.array(
            [self.contract_joints(self.pose(clip, t))[[JOINTS.index("toe_l"), JOINTS.index("toe_r")]] for t in times]
        )
        speeds = np.linalg.norm(np.diff(toes[:, :, ::2], axis=0), axis=2) * 60
        standing = toes[:-1, :, 1].argmin(axis=1)
        return float(np.median(speeds[np.arange(len(speeds)), standing]))


def _one_hemisphere(quaternions: Array) -> Array:
    """Flips signs along the time axis so that neighbours lie on one hemisphere and interpolate the short way."""
    result = quaternions.copy()
    for index in range(1, len(result)):
        if result[index] @ result[index - 1] < 0:
            result[index] *= -1
    return result


@functools.cache
def load_rig(assets_dir: Path) -> Rig:
    """The rig of the packs under ``assets_dir``, read once per process."""
    return Rig(assets_dir / "adventurers")


def joints_for(
    assets_dir: Path, clip: str, time: float, position: npt.ArrayLike = (0.0, 0.0, 0.0), yaw: float = 0.0
) -> FloatArray:
    """(19, 3) float32 world joints of any costume in a clip: all costumes share the skeleton."""
    return load_rig(assets_dir).joints_for(clip, time, position, yaw)
