"""Shape volumes: what fills the box of a look, and what surrounds a bone of a costume, as the model knows it.

A volume is a grid of signed distances with a colour at every sample near the surface. The greybox raster meets them
where the engine said no more than "a box that looks like a barrel" or "a knight's forearm". Volumes that ride on bones
follow mixtures of volumetric primitives (arXiv 2103.01954); they are part of the model, fitted from the meshes that it
was trained on (``training.volumes``), and travel with its weights.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cutscene_model.pose_prior import PosePrior
from cutscene_model.scene import JOINTS, FloatArray
from cutscene_model.skeleton import BONES

DISTANCE_STEPS = 16  # stored distance units in one sample spacing: int8 reaches almost eight spacings
GLOWS, UNTINTED = 1, 2  # flags of a sample
MAX_SAMPLES = 64_000_000
_PRIOR = "pose_prior_"  # before the names of the prior's arrays in a file


class VolumesError(ValueError):
    """The file is not a well-formed set of shape volumes."""


@dataclass(frozen=True, slots=True)
class Volumes:
    """All volumes of a model, concatenated into one atlas. Volume ``i`` fills ``sizes[i]`` samples, x slowest."""

    names: tuple[str, ...]  # a look, or ``COSTUME:BONE``
    sizes: npt.NDArray[np.int32]  # (n, 3) samples along x, y, z
    low: FloatArray  # (n, 3) where the first sample lies in the asset's or bone's own frame, metres
    spacing: FloatArray  # (n,) metres between samples
    element_box: FloatArray  # (n, 6) centre and half extent in that frame of the box a set element sends
    prop_box: FloatArray  # (n, 6) ... and of the box of a prop
    rest_joints: FloatArray  # (19, 3) where the contract's joints lie when bones' frames are the world's
    distance: npt.NDArray[np.int8]  # (samples,) outside positive, in 1 / DISTANCE_STEPS of the spacing
    normal: npt.NDArray[np.int8]  # (samples, 3) of the closest triangle, as it is shaded, times 126; 0 far away
    paint: npt.NDArray[np.uint8]  # (samples, 4) sRGB albedo, black far from the surface, and GLOWS or UNTINTED
    pose_prior: PosePrior | None = None  # None: bones are turned as their joints alone say

    def __post_init__(self) -> None:
        count, samples = len(self.names), int(self.sizes.astype(np.int64).prod(axis=-1).sum())
        shapes = {
            "sizes": (count, 3), "low": (count, 3), "spacing": (count,), "element_box": (count, 6),
            "prop_box": (count, 6), "rest_joints": (len(JOINTS), 3), "distance": (samples,),
            "normal": (samples, 3), "paint": (samples, 4),
        }  # fmt: skip
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise VolumesError(f"{name} is {getattr(self, name).shape}, not {shape}")
        if self.pose_prior is not None and self.pose_prior.last.shape[1] != 6 * len(BONES):
            raise VolumesError(f"pose_prior is for {self.pose_prior.last.shape[1] / 6:g} bones, not {len(BONES)}")
        if samples > MAX_SAMPLES:
            raise VolumesError(f"{samples} samples; at most {MAX_SAMPLES} are read")

    @property
    def index(self) -> dict[str, int]:
        """Volumes by name."""
        return {name: place for place, name in enumerate(self.names)}

    @property
    def first(self) -> npt.NDArray[np.int64]:
        """(n,) where each volume begins in the atlas."""
        counts = self.sizes.astype(np.int64).prod(axis=-1)
        result: npt.NDArray[np.int64] = np.cumsum(counts) - counts
        return result


def no_volumes() -> Volumes:
    """An empty set: every look is its box, every bone a capsule."""
    return Volumes(
        (), np.zeros((0, 3), np.int32), np.zeros((0, 3), np.float32), np.zeros(0, np.float32),
        np.zeros((0, 6), np.float32), np.zeros((0, 6), np.float32), np.zeros((len(JOINTS), 3), np.float32),
        np.zeros(0, np.int8), np.zeros((0, 3), np.int8), np.zeros((0, 4), np.uint8),
    )  # fmt: skip


def write_volumes(path: Path, volumes: Volumes) -> None:
    """Writes ``path`` (.npz, deflated: distances far from a surface are all alike)."""
    apart = ("names", "pose_prior")
    arrays = {field.name: getattr(volumes, field.name) for field in fields(Volumes) if field.name not in apart}
    if volumes.pose_prior is not None:
        arrays |= {_PRIOR + field.name: getattr(volumes.pose_prior, field.name) for field in fields(PosePrior)}
    with path.open("wb") as file:
        np.savez_compressed(file, names=np.asarray(volumes.names, np.str_), **arrays)


def read_volumes(path: Path) -> Volumes:
    """Reads what ``write_volumes`` wrote; never unpickles. Raises ``VolumesError`` for anything else."""
    types = {
        "sizes": np.int32, "low": np.float32, "spacing": np.float32, "element_box": np.float32,
        "prop_box": np.float32, "rest_joints": np.float32, "distance": np.int8, "normal": np.int8, "paint": np.uint8,
    }  # fmt: skip
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > 9 * MAX_SAMPLES:
                raise VolumesError(f"{path}: larger than {MAX_SAMPLES} samples")
        with np.load(path, allow_pickle=False) as file:
            names = tuple(str(name) for name in file["names"])
            arrays = {name: file[name] for name in types}
            prior = {field.name: file[_PRIOR + field.name] for field in fields(PosePrior) if _PRIOR + "mean" in file}
            pose_prior = PosePrior(**prior) if prior else None
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise VolumesError(f"{path}: {error}") from error
    for name, kind in types.items():
        if arrays[name].dtype != kind:
            raise VolumesError(f"{path}: {name} holds {arrays[name].dtype}, not {np.dtype(kind)}")
    if (arrays["sizes"] < 2).any() or not (arrays["spacing"] > 0).all():
        raise VolumesError(f"{path}: a volume has fewer than two samples along a side, or no spacing")
    if pose_prior is not None and any(getattr(pose_prior, name).dtype != np.float32 for name in prior):
        raise VolumesError(f"{path}: the pose prior holds something else than float32")
    return Volumes(names, **arrays, pose_prior=pose_prior)
