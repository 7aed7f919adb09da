"""Trains the reader of grades: pictures of one run under a random look are to tell how another run looks under it.

Nothing of the model is needed but the shape volumes' paint: what a grade does to the captured pictures it does to those
that a model draws.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import simplejpeg
import torch
from torch import Tensor, nn
from tqdm import tqdm

from cutscene_model.grading import GradeReader, coarse, graded, steadied, tones
from cutscene_model.palette import PALETTE_CHANNELS, paint_colors, palette
from cutscene_model.primitives import SLOT_COUNT
from cutscene_model.scene import FloatArray
from cutscene_model.training.color_grades import random_grades
from cutscene_model.training.optimizer import MuonAdam
from cutscene_model.training.progress import (
    Average,
    Log,
    Losses,
    load_average,
    load_checkpoint,
    save_checkpoint,
    schedule,
)
from cutscene_model.training.shards import ShardError, read_shard, shard_paths
from cutscene_model.volumes import Volumes

GRADES = "grades.safetensors"  # of a run: its checkpoint
UNGRADED = 0.15  # share of samples whose look is the model's own: nothing is to be done then
STRANGE = 0.15  # share whose references show another performance, as a mood board does


@dataclass(frozen=True, slots=True)
class GradeRun:
    """What determines a run."""

    volumes: Volumes
    data: Path
    held_out: Path
    out: Path
    steps: int
    batch: int = 48
    seed: int = 5
    muon_rate: float = 0.015
    adam_rate: float = 2e-3
    decay_from: float = 0.4  # share of the steps after which the rates fall
    save_minutes: float = 4.0

    @property
    def checkpoint(self) -> Path:
        """Where the run's state is kept."""
        return self.out / GRADES


class CoarsePictures:
    """All captured pictures of a folder, small, by stage and run, with the stages' palettes. 28 kB of memory each."""

    def __init__(self, directory: Path, volumes: Volumes) -> None:
        colors = paint_colors(volumes)
        pictures, stages, runs = [], [], []
        palettes: list[FloatArray] = []
        for path in tqdm(shard_paths(directory), unit="shard", desc=f"reading {directory}", mininterval=5.0):
            shard = read_shard(path)
            for record in shard.records:
                pixels = torch.from_numpy(simplejpeg.decode_jpeg(record.jpeg)).permute(2, 0, 1)
                # Sums of a few bytes are exact in float32.
                pictures.append(coarse(pixels[None].float())[0].round().byte().permute(1, 2, 0).numpy())
                stages.append(len(palettes) + record.stage)
                runs.append(record.run)
            palettes += [palette(stage, colors) for stage in shard.stages]
        if not pictures:
            raise ShardError(f"{directory}: no captured shards")
        self._pictures = np.stack(pictures)
        self.stage, self.run = np.asarray(stages), np.asarray(runs)
        self._palettes = np.zeros((len(palettes), SLOT_COUNT - 1, PALETTE_CHANNELS), np.float32)
        self._used = np.zeros(self._palettes.shape[:2], np.bool_)
        for place, rows_of in enumerate(palettes):
            self._palettes[place, : len(rows_of)], self._used[place, : len(rows_of)] = rows_of, True

    def __len__(self) -> int:
        return len(self._pictures)

    def companions(self, index: int) -> npt.NDArray[np.int64]:
        """Frames that may serve as the reference of one: of the same cast and set, and of another run.

        Neighbours in time would show the answer itself, which no reference does in play. Where there is no other run
        they are taken all the same, but not the frame itself.
        """
        same = np.flatnonzero(self.stage == self.stage[index])
        elsewhere = same[self.run[same] != self.run[index]]
        return elsewhere if len(elsewhere) else same[same != index]

    def strangers(self, index: int, random: np.random.Generator) -> npt.NDArray[np.int64]:
        """The frames of some other stage than that of a frame, likelier one with many; none if there is no other."""
        others = np.flatnonzero(self.stage != self.stage[index])
        return np.flatnonzero(self.stage == self.stage[random.choice(others)]) if len(others) else others

    def pictures(self, indices: Sequence[int] | npt.NDArray[np.integer]) -> Tensor:
        """(n, 3, 72, 128) in 0 to 1."""
        return torch.from_numpy(self._pictures[np.asarray(indices)]).permute(0, 3, 1, 2).float() / 255

    def palettes(self, indices: npt.NDArray[np.integer]) -> tuple[Tensor, Tensor]:
        """The palettes of the frames' stages, (n, 64, PALETTE_CHANNELS), and which of their rows are used."""
        stages = self.stage[indices]
        return torch.from_numpy(self._palettes[stages]), torch.from_numpy(self._used[stages])


@dataclass(frozen=True, slots=True)
class GradeSample:
    """B frames without a look and with it, and what references under that look show."""

    plain: Tensor  # (B, 3, 72, 128) in 0 to 1
    wanted: Tensor
    seen: Tensor  # (B, n, TONE_CHANNELS, 9, 16)
    palette: Tensor
    used: Tensor
    ungraded: Tensor  # (B,) bool: both are the same


def sample(
    frames: CoarsePictures, count: int, random: np.random.Generator, references: int, strange: float
) -> GradeSample:
    """``count`` frames under random looks; a share ``strange`` of them with references of another performance.

    Where there is only one, they are of that. Raises ``ValueError`` if no frame has another that may be its reference.
    """
    if len(set(frames.stage.tolist())) == len(frames):
        raise ValueError("no two of the captured frames show the same cast and set: there is nothing to compare")
    targets: list[int] = []
    shown = []
    while len(targets) < count:
        index = int(random.integers(len(frames)))
        others = frames.companions(index)
        if random.random() < strange:
            strangers = frames.strangers(index, random)
            others = strangers if len(strangers) else others
        if len(others):
            targets.append(index)
            shown.append(random.choice(others, references))
    generator = torch.Generator().manual_seed(int(random.integers(1 << 62)))
    look = random_grades(count, generator)
    ungraded = torch.rand(count, generator=generator) < UNGRADED

    def under(pictures: Tensor) -> Tensor:
        return torch.where(ungraded[:, None, None, None], pictures, look(pictures))

    plain = frames.pictures(targets)
    columns = [tones(under(frames.pictures([row[column] for row in shown]))) for column in range(references)]
    table, used = frames.palettes(np.asarray(targets))
    return GradeSample(plain, under(plain), torch.stack(columns, dim=1), table, used, ungraded)


def train_grades(run: GradeRun) -> dict[str, float]:
    """Trains, going on from ``run.checkpoint`` if it is there; returns the figures of ``evaluate_grades``."""
    torch.manual_seed(run.seed)
    run.out.mkdir(parents=True, exist_ok=True)
    frames, held_out = CoarsePictures(run.data, run.volumes), CoarsePictures(run.held_out, run.volumes)
    model, log = GradeReader(), Log(run.out / "grades.jsonl")
    average = Average(model)
    optimizer = MuonAdam(model.named_parameters(), run.muon_rate, run.adam_rate)
    first = load_checkpoint(run.checkpoint, model, average, optimizer) if run.checkpoint.exists() else 0
    saved, losses = time.monotonic(), Losses("loss")
    with tqdm(range(first, run.steps), "grades", run.steps, initial=first, unit="step", mininterval=5.0) as bar:
        for step in bar:
            optimizer.scale = schedule(step, run.steps, decay_from=run.decay_from)
            random = np.random.default_rng((run.seed, step))
            item = sample(frames, run.batch, random, 1 + step % 2, STRANGE)
            grade = model(item.seen, item.palette, item.used)
            error = graded(item.plain * 2 - 1, grade) / 2 + 0.5 - item.wanted
            loss = (error.abs() + 4 * error.square()).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            average.update()
            losses.add(loss)
            if (step + 1) % 50 == 0:
                means = losses.report()
                bar.set_postfix(loss=f"{means[0][1]:.4f}", refresh=False)
                log.write([("step", step + 1), *means])
            if time.monotonic() - saved > run.save_minutes * 60 or step + 1 == run.steps:
                save_checkpoint(run.checkpoint, step + 1, model, average, optimizer)
                log.write([("step", step + 1), *evaluate_grades(averaged(run.checkpoint), held_out).items()])
                saved = time.monotonic()
    return evaluate_grades(averaged(run.checkpoint), held_out)


def averaged(checkpoint: Path) -> GradeReader:
    """The reader that a run has come to."""
    model = GradeReader()
    load_average(checkpoint, model)
    return model


@torch.inference_mode()
def evaluate_grades(reader: GradeReader, held_out: CoarsePictures, count: int = 400, seed: int = 7) -> dict[str, float]:
    """Mean PSNR in dB of held-out frames under random looks: without (``none``), as one reference or one of another
    performance (``strange``) tells, and of frames without a look as a reference without one tells (``ungraded``)."""
    figures = {}
    for name, strange in (("read", 0.0), ("strange", 1.0)):
        item = sample(held_out, count, np.random.default_rng(seed), 1, strange)
        grade = steadied(reader(item.seen, item.palette, item.used), item.palette, item.used)
        drawn = graded(item.plain * 2 - 1, grade) / 2 + 0.5
        read, none = _psnr(drawn.clamp(0, 1), item.wanted), _psnr(item.plain, item.wanted)
        figures[f"{name}_db"] = float(read[~item.ungraded].mean())
        if not strange:
            figures["none_db"] = float(none[~item.ungraded].mean())
            figures["ungraded_db"] = float(read[item.ungraded].mean())
            figures["better"] = float((read > none)[~item.ungraded].float().mean())
    return {name: round(value, 3) for name, value in figures.items()}


def _psnr(pictures: Tensor, wanted: Tensor) -> Tensor:
    """(B,) dB; 50 at most, so that one equal pair does not make the mean."""
    return -10 * torch.log10((pictures - wanted).square().mean(dim=(1, 2, 3)) + 1e-5)
