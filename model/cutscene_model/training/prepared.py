"""Prepared frames: what networks train on, as memory-mapped arrays, one folder a captured shard.

``prepared_frames`` rasterises the greyboxes of captured shards and encodes their pictures, where that is not done yet,
into ``DATA/prepared``; ``PreparedFrames`` draws batches from all. A shard's frames come in runs of one performance; a
sample's history is what precedes it in its run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import simplejpeg
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from cutscene_model.anchors import AnchorTable, anchor_table
from cutscene_model.autoencoder import Autoencoder
from cutscene_model.compiled import lacking_of, surface_of
from cutscene_model.denoiser import CAMERA_CHANNELS, SUMMARY_CHANNELS, frame_summary
from cutscene_model.greybox import HEIGHT, WIDTH, GreyboxRaster
from cutscene_model.surface import CELL, LEVEL_CELL, AnchorBatch, GreyboxBatch
from cutscene_model.tensors import anchor_batch, greybox_batch
from cutscene_model.training.shards import Shard, ShardError, open_shards
from cutscene_model.vocabulary import SHIPPED, Vocabulary
from cutscene_model.volumes import Volumes

PREPARED = "prepared"  # folder beside the shards, with one of its own for each
_MADE_WITH = "shapes.txt"  # in a shard's folder: the tag of the shapes
_ENCODED_AT_ONCE = 8
HISTORY = 3  # frames before the target that a training sample may see
GRID = (HEIGHT, WIDTH)  # greybox cells of a frame
_ANCHORS = tuple(field.name for field in dataclasses.fields(AnchorTable))
_SEEN = ("slot", "part", "sample", "field", "actors", "globals", "viewpoints", "sheet")  # as ``GreyboxBatch``
_MAPS = (*_SEEN, "camera")


@dataclass(frozen=True, slots=True)
class Sample:
    """A batch of B targets with their histories. Absent history has age 0."""

    greybox: GreyboxBatch
    anchors: AnchorBatch
    coarse: Tensor  # (B, LEVEL_WIDTHS[-1], 9, 16): the surface's coarsest level, as the finished autoencoder sees it
    latents: Tensor  # (B, C, 9, 16)
    past_latents: Tensor  # (B, HISTORY, C, 9, 16)
    past_summaries: Tensor  # (B, HISTORY, 16, 9, 16)
    past_cameras: Tensor  # (B, HISTORY, 12)
    past_ages: Tensor  # (B, HISTORY) frames
    pictures: Tensor | None  # (B, 3, 288, 512) in -1 to 1
    pixels: Tensor | None  # as ``Crops.pixels``, where there are pictures


@dataclass(frozen=True, slots=True)
class Crops:
    """A batch of B windows of frames: pictures and the greybox cells that they cover."""

    greybox: GreyboxBatch
    anchors: AnchorBatch
    pictures: Tensor  # (B, 3, CELL rows, CELL columns) in -1 to 1, channels last in memory
    pixels: Tensor | None  # as ``pictures``: every pixel as it is shaded by itself; None if that was not prepared


def shapes_tag(volumes: Volumes, vocabulary: Vocabulary) -> str:
    """Names what greyboxes are made with: a digest of the shapes, and of the order of the names."""
    digest = hashlib.blake2b(repr((volumes.names, vocabulary)).encode(), digest_size=6)
    prior = () if volumes.pose_prior is None else (volumes.pose_prior,)
    for part in (volumes, *prior):
        for field in dataclasses.fields(part):
            if isinstance(value := getattr(part, field.name), np.ndarray):
                digest.update(np.ascontiguousarray(value).data)
    return digest.hexdigest()


def prepare_greyboxes(
    shard: Shard, out: Path, volumes: Volumes, vocabulary: Vocabulary = SHIPPED, tag: str | None = None
) -> None:
    """Writes the control maps and anchor tables of one shard; does nothing if they are there.

    What was prepared with other shapes goes, with all that was made of it. ``tag``: ``shapes_tag`` of these ones, for
    who prepares many shards.
    """
    tag, made_with = tag or shapes_tag(volumes, vocabulary), out / _MADE_WITH
    if (out / "time.npy").exists() and made_with.exists() and made_with.read_text() == tag:
        return
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    made_with.write_text(tag)
    rows: dict[str, list[npt.NDArray[np.generic]]] = {name: [] for name in (*_MAPS, "summary")}
    tables = [anchor_table(stage, vocabulary.costumes, vocabulary.looks) for stage in shard.stages]
    raster, drawn = None, -1
    for record in shard.records:
        if raster is None or record.stage != drawn:
            raster, drawn = GreyboxRaster(shard.stages[record.stage], volumes), record.stage
        greybox = raster.draw(record.state)
        for name in _MAPS:
            value = getattr(greybox, name)
            rows[name].append(value.astype(np.float16) if name == "field" else value)
        summary = frame_summary(greybox_batch([greybox], torch.device("cpu")))[0]
        rows["summary"].append(summary.numpy().astype(np.float16))
    for name, values in rows.items():
        np.save(out / f"{name}.npy", np.stack(values))
    for name in _ANCHORS:
        np.save(out / f"anchor_{name}.npy", np.stack([getattr(table, name) for table in tables]))
    np.save(out / "stage.npy", np.asarray([r.stage for r in shard.records], np.int32))
    np.save(out / "run.npy", np.asarray([r.run for r in shard.records], np.int32))
    np.save(out / "shot.npy", np.asarray([r.shot for r in shard.records], np.int32))
    _save_whole(out / "time.npy", np.asarray([r.frame_index for r in shard.records], np.int32))


def _save_whole(path: Path, values: npt.NDArray[np.generic]) -> None:
    """The file that says that all is there is there whole, or not at all: preparing may be stopped at any time."""
    temporary = path.with_suffix(".tmp.npy")
    np.save(temporary, values)
    temporary.replace(path)


class _Painter:
    """A surface with faces that were trained alone, and a name for what it shades."""

    def __init__(self, faces: Path, volumes: Volumes, vocabulary: Vocabulary) -> None:
        self.volumes, self.vocabulary, self.tag = volumes, vocabulary, _tag(faces)
        self.coder = Autoencoder(*vocabulary.sizes, volumes)
        self.coder.surface.faces.load_state_dict(load_file(faces))


def _tag(file: Path) -> str:
    return hashlib.blake2b(file.read_bytes(), digest_size=6).hexdigest()


@torch.inference_mode()
def prepare_pixels(shard: Shard, out: Path, painter: _Painter) -> None:
    """Writes every pixel of one shard's frames as it is shaded by itself, with the painter's faces.

    Half a megabyte a frame, and a tenth of a second. Where a look has no shape volume, what is learnt of it may
    change, so that there the cells' colours stand. Does nothing if all is there.
    """
    path = out / f"pixels_{painter.tag}.npy"
    if path.exists():
        return
    everywhere = np.ones(GRID, np.bool_)
    cpu = torch.device("cpu")
    coder, names = painter.coder, painter.vocabulary
    tables = [anchor_table(stage, names.costumes, names.looks) for stage in shard.stages]
    described = [coder.surface.describe(anchor_batch([table], cpu)) for table in tables]
    pixels = np.empty((len(shard.records), CELL * HEIGHT, CELL * WIDTH, 3), np.uint8)
    raster, drawn = None, -1
    for place, record in enumerate(shard.records):
        if raster is None or record.stage != drawn:
            raster, drawn = GreyboxRaster(shard.stages[record.stage], painter.volumes), record.stage
        greybox, looks = raster.draw(record.state), described[record.stage]
        maps = greybox_batch([greybox], cpu)
        refined = raster.refine(greybox, everywhere)
        shown = refined.spread(greybox)
        surface = surface_of(coder, maps, looks)
        blocks = lacking_of(coder, maps, refined, looks, surface).everywhere(1, *(size // LEVEL_CELL for size in GRID))
        lacking = F.pixel_shuffle(blocks, LEVEL_CELL * CELL)[0]
        unknown = torch.from_numpy((shown.slot > 0) & (shown.sample < 0))
        fine = F.interpolate(surface.shaded, scale_factor=CELL)[0] + torch.where(unknown, 0, lacking)
        pixels[place] = ((fine.permute(1, 2, 0) + 1) * 127.5).round().clamp(0, 255).byte().numpy()
    _save_whole(path, pixels)


@torch.inference_mode()
def prepare_latents(shard: Shard, out: Path, autoencoder: Autoencoder, tag: str) -> None:
    """Writes what the autoencoder called ``tag`` makes of one shard: latents, and its surfaces' coarsest levels.

    The shard's greyboxes must have been prepared. Does nothing if all is there.
    """
    path = out / f"latent_{tag}.npy"
    if path.exists():
        return
    frames = PreparedFrames(out.parent, None, [shard])
    latents, coarse = [], []
    for start in range(0, len(frames), _ENCODED_AT_ONCE):
        rows = np.arange(start, min(start + _ENCODED_AT_ONCE, len(frames)))
        batch = frames.crops(rows, np.random.default_rng(0), GRID)
        surface = autoencoder.surface(batch.greybox, autoencoder.surface.describe(batch.anchors))
        latents.append(autoencoder.encode(batch.pictures).half().numpy())
        coarse.append(surface.levels[-1].half().numpy())
    np.save(out / f"coarse_{tag}.npy", np.concatenate(coarse))
    _save_whole(path, np.concatenate(latents))


def prepared_frames(
    data: Path,
    volumes: Volumes,
    finished: Path | None = None,
    vocabulary: Vocabulary = SHIPPED,
    faces: Path | None = None,
) -> PreparedFrames:
    """All frames captured in ``data``, prepared: with latents if ``finished`` is an autoencoder's file, with pixels
    shaded one by one if ``faces`` is a painter's.

    A megabyte of disk a frame, and half of one for pixels. Latents and pixels are named by the digests of those
    files, so that those of others are never taken for their own; if ``volumes`` or ``vocabulary`` are others than they
    were made with, all is prepared anew. Raises ``ShardError`` if nothing was captured there.
    """
    shards, out = open_shards(data), data / PREPARED
    if not shards:
        raise ShardError(f"{data}: no captured shards")
    coder = None
    if finished is not None:
        coder = Autoencoder(*vocabulary.sizes, volumes)
        coder.load_state_dict(load_file(finished))
    tag = None if finished is None else _tag(finished)
    painter = None if faces is None else _Painter(faces, volumes, vocabulary)
    shapes = shapes_tag(volumes, vocabulary)
    for shard in tqdm(shards, unit="shard", desc=f"preparing {data}", mininterval=5.0):
        prepare_greyboxes(shard, out / shard.name, volumes, vocabulary, shapes)
        if painter is not None:
            prepare_pixels(shard, out / shard.name, painter)
        if coder is not None and tag is not None:
            prepare_latents(shard, out / shard.name, coder, tag)
    return PreparedFrames(out, tag, shards, None if painter is None else painter.tag)


class PreparedFrames:
    """All prepared shards below a directory as one indexed collection.

    With latents if ``tag`` names them, with pixels shaded one by one if ``painted`` names those.
    """

    def __init__(self, directory: Path, tag: str | None, shards: Sequence[Shard], painted: str | None = None) -> None:
        self.has_pixels = painted is not None
        self._shards = list(shards)
        self._arrays: list[dict[str, npt.NDArray[np.generic]]] = []
        self._index: list[tuple[int, int]] = []
        for place, shard in enumerate(self._shards):
            names = (*_MAPS, "summary", "stage", "run", "shot", "time", *(f"anchor_{name}" for name in _ANCHORS))
            folder = directory / shard.name
            arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names}
            if painted is not None:
                arrays["pixels"] = np.load(folder / f"pixels_{painted}.npy", mmap_mode="r")
            if tag is not None:
                arrays["latent"] = np.load(folder / f"latent_{tag}.npy", mmap_mode="r")
                arrays["coarse"] = np.load(folder / f"coarse_{tag}.npy", mmap_mode="r")
            self._arrays.append(arrays)
            self._index += [(place, row) for row in range(len(arrays["time"]))]

    def __len__(self) -> int:
        return len(self._index)

    def crops(self, indices: npt.NDArray[np.integer], random: np.random.Generator, cells: tuple[int, int]) -> Crops:
        """A window of ``cells`` (rows, columns) greybox cells at a random place of each frame at ``indices``."""
        picked = [self._index[int(index)] for index in indices]
        rows, columns = cells
        maps: dict[str, list[npt.NDArray[np.generic]]] = {"slot": [], "part": [], "sample": [], "field": []}
        pictures = np.empty((len(picked), rows * CELL, columns * CELL, 3), np.uint8)
        pixels = np.empty_like(pictures) if self.has_pixels else None
        for place, (shard, row) in enumerate(picked):
            top, left = (int(random.integers(0, 1 + size - part)) for size, part in zip(GRID, cells, strict=True))
            for name, crops in maps.items():
                crops.append(self._arrays[shard][name][row][..., top : top + rows, left : left + columns])
            picture = simplejpeg.decode_jpeg(self._shards[shard].records[row].jpeg)
            window = slice(top * CELL, (top + rows) * CELL), slice(left * CELL, (left + columns) * CELL)
            pictures[place] = picture[window]
            if pixels is not None:
                pixels[place] = self._arrays[shard]["pixels"][row][window]
        slot, part, sample, field = (torch.from_numpy(np.stack(values)) for values in maps.values())
        greybox = GreyboxBatch(slot, part, sample, field.float(), *(self._gather(name, picked) for name in _SEEN[4:]))
        shaded = None if pixels is None else _signed(pixels)
        return Crops(greybox, self._anchors(picked), _signed(pictures), shaded)

    def _greybox(self, picked: list[tuple[int, int]]) -> GreyboxBatch:
        maps = {name: self._gather(name, picked) for name in _SEEN}
        return GreyboxBatch(**{**maps, "field": maps["field"].float()})

    def _gather(self, name: str, picked: list[tuple[int, int]]) -> Tensor:
        return torch.from_numpy(np.stack([self._arrays[shard][name][row] for shard, row in picked]))

    def _anchors(self, picked: list[tuple[int, int]]) -> AnchorBatch:
        stages = [(self._arrays[shard], int(self._arrays[shard]["stage"][row])) for shard, row in picked]

        def anchor(name: str) -> Tensor:
            return torch.from_numpy(np.stack([arrays[f"anchor_{name}"][stage] for arrays, stage in stages]))

        return AnchorBatch(
            anchor("costume").long(),
            anchor("headgear").long(),
            anchor("element_class").long(),
            anchor("look").long(),
            anchor("tint"),
        )

    def sample(
        self,
        indices: npt.NDArray[np.integer],
        random: np.random.Generator,
        pictures: bool,
        history: int,
    ) -> Sample:
        """The frames at ``indices`` with a random number, 0 to ``history``, of the frames before each."""
        picked = [self._index[int(index)] for index in indices]

        latents = self._gather("latent", picked).float()
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
        return Sample(
            self._greybox(picked),
            self._anchors(picked),
            self._gather("coarse", picked).float(),
            latents,
            past_latents,
            past_summaries,
            past_cameras,
            past_ages,
            self._pictures(picked) if pictures else None,
            self._pixels(picked) if pictures and self.has_pixels else None,
        )

    def picture(self, index: int) -> Tensor:
        """One frame's picture, (3, 288, 512) in -1 to 1."""
        return self._pictures([self._index[index]])[0]

    def _pixels(self, picked: list[tuple[int, int]]) -> Tensor:
        return _signed(np.stack([self._arrays[shard]["pixels"][row] for shard, row in picked]))

    def _pictures(self, picked: list[tuple[int, int]]) -> Tensor:
        decoded = [simplejpeg.decode_jpeg(self._shards[s].records[row].jpeg) for s, row in picked]
        return _signed(np.stack(decoded))


def _signed(pictures: npt.NDArray[np.uint8]) -> Tensor:
    """Pictures (B, H, W, 3) to (B, 3, H, W) in -1 to 1, channels last in memory."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
