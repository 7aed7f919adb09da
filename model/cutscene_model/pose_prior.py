"""What joints do not tell of a pose: how a bone is turned about itself, and how a hand hangs on its wrist.

Two joints give a limb's direction and nothing else. But bodies move in habits, so the rest can be guessed from where
all the other joints are: a small network of the nineteen points says how far each bone is turned from where the joints
alone would have it. It is learnt from the clips of the rig that the shape volumes were fitted to
(``training.pose_prior``), and belongs to them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cutscene_model.scene import JOINT_INDEX, JOINTS, FloatArray
from cutscene_model.vectors import cross

FEATURES = 3 * len(JOINTS)
_HIPS, _CHEST, _NECK = (JOINT_INDEX[name] for name in ("hips", "chest", "neck"))


@dataclass(frozen=True, slots=True)
class PosePrior:
    """Three layers with SiLU in between, over standardised places of the joints."""

    mean: FloatArray  # (57,) of the features
    deviation: FloatArray  # (57,)
    first: FloatArray  # (57, width)
    first_bias: FloatArray  # (width,)
    second: FloatArray  # (width, width)
    second_bias: FloatArray  # (width,)
    last: FloatArray  # (width, 6 * bones)
    last_bias: FloatArray  # (6 * bones,)

    def __post_init__(self) -> None:
        width, out = self.second.shape[-1], self.last.shape[-1]
        shapes = {
            "mean": (FEATURES,), "deviation": (FEATURES,), "first": (FEATURES, width), "first_bias": (width,),
            "second": (width, width), "second_bias": (width,), "last": (width, out), "last_bias": (out,),
        }  # fmt: skip
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value.shape != shape or not np.isfinite(value).all():
                raise ValueError(f"pose prior: {name} is {value.shape}, not {shape}, or not finite")
        if out % 6 or (self.deviation <= 0).any():
            raise ValueError("pose prior: not six numbers a bone, or a deviation that is not positive")

    def turns(self, features: FloatArray) -> FloatArray:
        """(bones, 3, 3) rotations to be made in each bone's own frame; ``features`` are those of ``pose_features``."""
        seen: FloatArray = (features - self.mean) / self.deviation
        x = _silu(seen @ self.first + self.first_bias)
        x = _silu(x @ self.second + self.second_bias)
        return rotations_of((x @ self.last + self.last_bias).reshape(-1, 6))


def pose_features(joints: FloatArray, chest_frame: FloatArray, rest: FloatArray) -> FloatArray:
    """(57,) the joints as the chest sees them, in the rest pose's size: ``joints`` and ``rest`` are (19, 3) metres."""
    height, usual = (float(np.linalg.norm(points[_NECK] - points[_HIPS])) for points in (joints, rest))
    scale = usual / max(height, 1e-3)
    result: FloatArray = (((joints - joints[_CHEST]) @ chest_frame).reshape(-1) * scale).astype(np.float32)
    return result


def rotations_of(six: FloatArray) -> FloatArray:
    """(n, 6) the first two columns of rotations, not yet orthonormal, to (n, 3, 3) (arXiv 1812.07035)."""
    a, b = six[:, :3], six[:, 3:]
    a = a / np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1e-6)
    b = b - (a * b).sum(axis=1, keepdims=True) * a
    b = b / np.maximum(np.linalg.norm(b, axis=1, keepdims=True), 1e-6)
    return np.stack([a, b, cross(a, b)], axis=-1).astype(np.float32)


def _silu(x: FloatArray) -> FloatArray:
    return x / (1 + np.exp(-np.clip(x, -60, 60)))
