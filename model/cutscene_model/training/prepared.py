"""Prepared frames: what the denoiser trains on, as memory-mapped arrays, one folder a captured shard.

``prepare`` rasterises the greyboxes of a shard and encodes its pictures; ``PreparedFrames`` draws batches from all
shards. A shard's frames come in runs of one performance; a sample's history is what precedes it in its run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import simplejpeg
import torch
from torch import Tensor

from cutscene_model.anchors import AnchorTable, anchor_table
from cutscene_model.autoencoder import Autoencoder
from cutscene_model.conditioning import AnchorBatch, GreyboxBatch
from cutscene_model.denoiser import CAMERA_CHANNELS, SUMMARY_CHANNELS, frame_summary
from cutscene_model.greybox import GreyboxRaster
from cutscene_model.tensors import greybox_batch
from cutscene_model.training.shards import Shard
from cutscene_model.vocabulary import COSTUMES, LOOKS

_ENCODED_AT_ONCE = 8
HISTORY = 3  # frames before the target that a training sample may see
_ANCHORS = tuple(field.name for field in dataclasses.fields(AnchorTable))
_MAPS = ("slot", "part", "field", "actors", "globals", "camera")


@dataclass(frozen=True, slots=True)
class Sample:
    """A batch of B targets with their histories. Absent history has age 0."""

    greybox: GreyboxBatch
    anchors: AnchorBatch
    latents: Tensor  # (B, C, 9, 16)
    past_latents: Tensor  # (B, HISTORY, C, 9, 16)
    past_summaries: Tensor  # (B, HISTORY, 22, 9, 16)
    past_cameras: Tensor  # (B, HISTORY, 12)
    past_ages: Tensor  # (B, HISTORY) frames
    pictures: Tensor | None  # (B, 3, 288, 512) in -1 to 1


def prepare_greyboxes(shard: Shard, out: Path) -> None:
    """Writes the control maps and anchor tables of one shard; does nothing if they are there."""
    if (out / "time.npy").exists():
        return
    out.mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[npt.NDArray[np.generic]]] = {name: [] for name in (*_MAPS, "summary")}
    tables = [anchor_table(stage, COSTUMES, LOOKS) for stage in shard.stages]
    raster, drawn = None, -1
    for record in shard.records:
        if raster is None or record.stage != drawn:
            raster, drawn = GreyboxRaster(shard.stages[record.stage]), record.stage
        greybox = raster.draw(record.state)
        for name in _MAPS:
            rows[name].append(getattr(greybox, name))
        summary = frame_summary(greybox_batch([greybox], torch.device("cpu")))[0]
        rows["summary"].append(summary.numpy().astype(np.float16))
    for name, values in rows.items():
        np.save(out / f"{name}.npy", np.stack(values))
    for name in _ANCHORS:
        np.save(out / f"anchor_{name}.npy", np.stack([getattr(table, name) for table in tables]))
    np.save(out / "stage.npy", np.asarray([r.stage for r in shard.records], np.int32))
    np.save(out / "run.npy", np.asarray([r.run for r in shard.records], np.int32))
    np.save(out / "shot.npy", np.asarray([r.shot for r in shard.records], np.int32))
    np.save(out / "time.npy", np.asarray([r.frame_index for r in shard.records], np.int32))


@torch.inference_mode()
def prepare_latents(shard: Shard, out: Path, autoencoder: Autoencoder, tag: str) -> None:
    """Writes the latents of one shard's pictures, named by the autoencoder's ``tag``."""
    path = out / f"latent_{tag}.npy"
    if path.exists():
        return
    latents = []
    for start in range(0, len(shard.records), _ENCODED_AT_ONCE):
        decoded = [simplejpeg.decode_jpeg(r.jpeg) for r in shard.records[start : start + _ENCODED_AT_ONCE]]
        pictures = torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2).float() / 127.5 - 1
        latents.append(autoencoder.encode(pictures).half().numpy())
    np.save(path, np.concatenate(latents))


class PreparedFrames:
    """All prepared shards below a directory as one indexed collection."""

    def __init__(self, directory: Path, tag: str, shards: Sequence[Shard]) -> None:
        self._shards = list(shards)
        self._arrays: list[dict[str, npt.NDArray[np.generic]]] = []
        self._index: list[tuple[int, int]] = []
        for place, shard in enumerate(self._shards):
            names = (*_MAPS, "summary", "stage", "run", "shot", "time", *(f"anchor_{name}" for name in _ANCHORS))
            folder = directory / shard.name
            arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names}
            arrays["latent"] = np.load(folder / f"latent_{tag}.npy", mmap_mode="r")
            self._arrays.append(arrays)
            self._index += [(place, row) for row in range(len(arrays["time"]))]

    def __len__(self) -> int:
        return len(self._index)

    def sample(
        self, indices: npt.NDArray[np.integer], random: np.random.Generator, pictures: bool, history: int
    ) -> Sample:
        """The frames at ``indices`` with a random number, 0 to ``history``, of the frames before each."""
        picked = [self._index[int(index)] for index in indices]

        def gather(name: str) -> Tensor:
            return torch.from_numpy(np.stack([self._arrays[s][name][row] for s, row in picked]))

        stages = [(self._arrays[s], int(self._arrays[s]["stage"][row])) for s, row in picked]

        def anchor(name: str) -> Tensor:
            return torch.from_numpy(np.stack([arrays[f"anchor_{name}"][stage] for arrays, stage in stages]))

        latents = gather("latent").float()
        count = len(picked)
        past_latents = torch.zeros(count, HISTORY, *latents.shape[1:])
        past_summaries = torch.zeros(count, HISTORY, SUMMARY_CHANNELS, *latents.shape[2:])
        past_cameras = torch.zeros(count, HISTORY, CAMERA_CHANNELS)
        past_ages = torch.zeros(count, HISTORY)
        for at, (place, row) in enumerate(picked):
            arrays = self._arrays[place]
            wanted = int(random.integers(0, history + 1))
            for back in range(1, wanted + 1):
                before = row - back
                if (
                    before < 0
                    or arrays["run"][before] != arrays["run"][row]
                    or arrays["shot"][before] != arrays["shot"][row]
                ):
                    break
                past_latents[at, back - 1] = torch.from_numpy(np.array(arrays["latent"][before], np.float32))
                past_summaries[at, back - 1] = torch.from_numpy(np.array(arrays["summary"][before], np.float32))
                past_cameras[at, back - 1] = torch.from_numpy(np.array(arrays["camera"][before], np.float32))
                past_ages[at, back - 1] = float(arrays["time"][row] - arrays["time"][before])
        greybox = GreyboxBatch(
            gather("slot"), gather("part"), gather("field").float(), gather("actors"), gather("globals")
        )
        anchors = AnchorBatch(
            anchor("costume").long(),
            anchor("headgear").long(),
            anchor("element_class").long(),
            anchor("look").long(),
            anchor("tint"),
        )
        frames = self._pictures(picked) if pictures else None
        return Sample(greybox, anchors, latents, past_latents, past_summaries, past_cameras, past_ages, frames)

    def picture(self, index: int) -> Tensor:
        """One frame's picture, (3, 288, 512) in -1 to 1."""
        return self._pictures([self._index[index]])[0]

    def _pictures(self, picked: list[tuple[int, int]]) -> Tensor:
        decoded = [simplejpeg.decode_jpeg(self._shards[s].records[row].jpeg) for s, row in picked]
        return torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
