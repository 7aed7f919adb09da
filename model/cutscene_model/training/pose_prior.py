"""Learns a ``PosePrior`` from a rig's clips: what bones do that nineteen joints do not tell.

Seconds of training on one core; part of ``cutscene-train shapes``. How well it carries over to movements it has not
seen is told by a first fit that leaves every fifth clip out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import trange

from cutscene_model.pose_prior import FEATURES, PosePrior, pose_features
from cutscene_model.scene import FloatArray
from cutscene_model.skeleton import BONES, body_frames, bone_rotations
from cutscene_model.training.motion import Rig
from cutscene_model.training.transforms import Array

WIDTH = 96
STEPS = 2000
BATCH = 512
RATE_HZ = 30.0
NOISE = 0.06  # deviations, added to what is seen, so that the network does not learn the clips by heart
LEFT_OUT = 5  # every so many clips, for the first fit
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True, slots=True)
class Poses:
    """Poses of a rig."""

    features: FloatArray  # (n, 57)
    turns: FloatArray  # (n, bones, 3, 3) from where the joints alone have each bone to where it is, in its own frame
    clip: npt.NDArray[np.int64]  # (n,) which clip it is of


def read_poses(rig: Rig, rest: FloatArray, members: Mapping[str, tuple[str, ...]]) -> Poses:
    """All clips of ``rig``, sampled. ``members``: the rig's bones that move with each bone here; the first leads."""
    leaders = [rig.index[members["head" if bone == "headgear" else bone][0]] for bone in BONES]
    features, turns, clips = [], [], []
    for number, clip in enumerate(rig.clips.values()):
        for time in np.linspace(0.0, clip.duration, max(2, int(clip.duration * RATE_HZ))):
            matrices = rig.pose(clip.name, float(time))
            joints = rig.contract_joints(matrices)
            bones = (matrices[leaders] @ rig.inverse_binds[leaders])[:, :3, :3]
            told = bone_rotations(joints, rest)
            features.append(pose_features(joints, body_frames(joints)[1], rest))
            turns.append(np.swapaxes(told, -1, -2) @ _without_scale(bones))
            clips.append(number)
    return Poses(np.stack(features), np.stack(turns).astype(np.float32), np.asarray(clips))


def fit_prior(rig: Rig, rest: FloatArray, members: Mapping[str, tuple[str, ...]]) -> PosePrior:
    """The prior of ``rig``; prints what it gains on clips that it was not fitted to."""
    poses = read_poses(rig, rest, members)
    unseen = poses.clip % LEFT_OUT == LEFT_OUT - 1
    before, after = mean_errors(_fit(poses, ~unseen), poses, unseen)
    print(f"pose prior: bones are {before:.1f} degrees off as joints tell them, {after:.1f} with it, on unseen clips")
    return _fit(poses, np.ones_like(unseen))


def mean_errors(prior: PosePrior, poses: Poses, chosen: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """How far the bones are off on average without and with ``prior``, in degrees, over the poses that are chosen."""
    true = poses.turns[chosen]
    found = np.stack([prior.turns(features) for features in poses.features[chosen]])
    still = np.broadcast_to(np.eye(3, dtype=np.float32), true.shape)
    return _degrees(still, true), _degrees(found, true)


def _degrees(a: FloatArray, b: FloatArray) -> float:
    cosine = ((a * b).sum(axis=(-1, -2)) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean())


def _fit(poses: Poses, chosen: npt.NDArray[np.bool_]) -> PosePrior:
    torch.manual_seed(0)
    seen, true = torch.from_numpy(poses.features[chosen]), torch.from_numpy(poses.turns[chosen])
    # What hardly moves must not be magnified: two centimetres are noise.
    mean, deviation = seen.mean(dim=0), seen.std(dim=0) + 0.02
    last = nn.Linear(WIDTH, 6 * len(BONES))
    nn.init.zeros_(last.weight)
    last.bias = nn.Parameter(torch.tensor(IDENTITY * len(BONES)))
    model = nn.Sequential(nn.Linear(FEATURES, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU(), last)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=1e-2)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in trange(STEPS, unit="step", desc="pose prior", mininterval=2.0, leave=False):
        batch = torch.randint(len(seen), (BATCH,))
        noisy = (seen[batch] - mean) / deviation + NOISE * torch.randn(BATCH, FEATURES)
        loss = (_rotations(model(noisy)) - true[batch]).square().sum(dim=(-1, -2)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        falling.step()
    weights = [(p.mT if p.ndim == 2 else p).detach().contiguous().numpy() for p in model.parameters()]
    return PosePrior(mean.numpy(), deviation.numpy(), *weights)


def _rotations(six: Tensor) -> Tensor:
    """(n, 6 * bones) to (n, bones, 3, 3), as ``pose_prior.rotations_of`` does."""
    a, b = six.unflatten(-1, (len(BONES), 2, 3)).unbind(dim=-2)
    a = F.normalize(a, dim=-1)
    b = F.normalize(b - (a * b).sum(dim=-1, keepdim=True) * a, dim=-1)
    return torch.stack([a, b, torch.cross(a, b, dim=-1)], dim=-1)


def _without_scale(matrices: Array) -> Array:
    """The nearest rotations to (n, 3, 3) matrices: clips stretch bones a little."""
    u, _, vt = np.linalg.svd(matrices)
    result: Array = u @ vt
    return result
