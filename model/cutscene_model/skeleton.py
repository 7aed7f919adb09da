"""Bones from joints: the rigid frame of each body part, told from nineteen points alone.

A frame is the rotation that has carried a part from the rest pose to where it is now. Hips, chest and head have three
points each, which fix it; a limb has its direction only, so it swings from its parent the shortest way. How it is then
turned about itself, and how hands and spine bend, a ``PosePrior`` guesses where there is one.
"""

from __future__ import annotations

import numpy as np

from cutscene_model.pose_prior import PosePrior, pose_features
from cutscene_model.scene import JOINT_INDEX, FloatArray
from cutscene_model.vectors import cross, frame_along, shortest_turn, unit

_J = JOINT_INDEX
BONE_JOINTS: dict[str, tuple[int, int]] = {
    "head": (_J["neck"], _J["head_top"]),
    "headgear": (_J["neck"], _J["head_top"]),
    "hips": (_J["hips"], _J["chest"]),
    "chest": (_J["chest"], _J["neck"]),
    **{
        f"{bone}_{side}": (_J[f"{start}_{side}"], _J[f"{end}_{side}"])
        for side in "lr"
        for bone, start, end in (
            ("upper_arm", "shoulder", "elbow"),
            ("forearm", "elbow", "hand"),
            ("thigh", "hip", "knee"),
            ("shin", "knee", "ankle"),
            ("foot", "ankle", "toe"),
        )
    },
    "spine": (_J["chest"], _J["hips"]),
    "hand_l": (_J["hand_l"], _J["elbow_l"]),
    "hand_r": (_J["hand_r"], _J["elbow_r"]),
}
"""Each bone's first joint, about which its frame turns, and its last. Without a prior, a hand goes with its forearm and
the spine with the hips."""
BONES: tuple[str, ...] = tuple(BONE_JOINTS)
BONE_ENDS = np.asarray(list(BONE_JOINTS.values()))  # (len(BONES), 2)
_HEADS = [BONES.index("head"), BONES.index("headgear")]
_HIPS, _CHEST = BONES.index("hips"), BONES.index("chest")
_CARRIED = {BONES.index(bone): BONES.index(by) for bone, by in (
    ("spine", "hips"), ("hand_l", "forearm_l"), ("hand_r", "forearm_r"),
)}  # fmt: skip


def _both(*names: str) -> list[int]:
    return [BONES.index(f"{name}_{side}") for name in names for side in "lr"]


_LIMBS = (  # and what they hang on, parents first
    (_both("upper_arm", "thigh"), [_CHEST, _CHEST, _HIPS, _HIPS]),
    (_both("forearm", "shin"), _both("upper_arm", "thigh")),
    (_both("foot"), _both("shin")),
)


def bone_rotations(
    joints: FloatArray, rest: FloatArray, prior: PosePrior | None = None, rest_frames: FloatArray | None = None
) -> FloatArray:
    """(len(BONES), 3, 3): how each bone has turned since the rest pose. ``joints`` and ``rest`` are (19, 3) metres.

    ``rest_frames`` are the ``body_frames`` of ``rest``, if they are known already.
    """
    frames = body_frames(joints)
    hips, chest, head = frames @ np.swapaxes(body_frames(rest) if rest_frames is None else rest_frames, -1, -2)
    turned = np.empty((len(BONES), 3, 3), np.float32)
    turned[_HEADS], turned[_HIPS], turned[_CHEST] = head, hips, chest
    for limbs, parents in _LIMBS:
        start, end = BONE_ENDS[limbs].T
        above = turned[parents]
        carried = (above @ (rest[end] - rest[start])[..., None])[..., 0]
        turned[limbs] = shortest_turn(carried, joints[end] - joints[start]) @ above
    for bone, by in _CARRIED.items():
        turned[bone] = turned[by]
    if prior is None:
        return turned
    guessed = turned @ prior.turns(pose_features(joints, frames[1], rest))
    guessed[_HEADS] = head  # three joints that a head carries fix it
    return guessed


def bone_lengths(joints: FloatArray) -> FloatArray:
    """(len(BONES),) metres between each bone's joints."""
    start, end = BONE_ENDS.T
    lengths: FloatArray = np.sqrt(((joints[end] - joints[start]) ** 2).sum(axis=-1)).astype(np.float32)
    return lengths


def body_frames(joints: FloatArray) -> FloatArray:
    """(3, 3, 3): frames of hips, chest and head, columns x y z."""
    hips, chest, neck, top = (joints[_J[name]] for name in ("hips", "chest", "neck", "head_top"))
    along = np.stack([chest - hips, neck - chest, top - neck])
    across_hips = joints[_J["hip_l"]] - joints[_J["hip_r"]]
    across_chest = joints[_J["shoulder_l"]] - joints[_J["shoulder_r"]]
    hips_forward, chest_forward = cross(unit(np.stack([across_hips, across_chest])), along[:2])
    forward = np.stack([hips_forward, chest_forward, joints[_J["face"]] - neck])
    return frame_along(along.astype(np.float32), forward.astype(np.float32))
