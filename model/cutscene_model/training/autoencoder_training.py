"""Trains the autoencoder on prepared frames: crops first, whole frames for the last fifth.

A third of every batch is decoded from degraded latents, down to none at all: so the decoder learns to draw what the
greybox tells by itself, and to lean on a latent only as far as it says something. What a denoiser predicts is such a
latent.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from cutscene_model.autoencoder import Autoencoder
from cutscene_model.greybox import FIELD_CHANNELS
from cutscene_model.precision import autocast
from cutscene_model.primitives import HEAD_PART
from cutscene_model.scene import MAX_CAST
from cutscene_model.surface import CELL, GreyboxBatch
from cutscene_model.training.metrics import energy_loss, gradient_energy_ratio, gradient_loss, psnr, ssim
from cutscene_model.training.optimizer import MuonAdam
from cutscene_model.training.prepared import GRID, Crops, PreparedFrames
from cutscene_model.training.progress import (
    Average,
    Log,
    Losses,
    load_average,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    schedule,
)
from cutscene_model.training.refinement import CONTRAST, refined, sharpened
from cutscene_model.training.sheets import Comparison, to_picture, write_sheet
from cutscene_model.vocabulary import SHIPPED, Vocabulary
from cutscene_model.volumes import Volumes

STRENGTH = 2.0  # of the loss of gradients' strength, among the others
CROP = (80, 128)  # greybox cells: 160 x 256 pixels


@dataclass(frozen=True, slots=True)
class AutoencoderRun:
    """What determines a run."""

    volumes: Volumes
    frames: PreparedFrames
    held_out: PreparedFrames
    out: Path
    steps: int
    batch: int = 20
    seed: int = 1
    save_minutes: float = 4.0
    noise: float = 0.1  # of the latents' own deviation, added to the degraded ones, so that the decoder forgives
    true: float = 0.7  # share of every batch whose latents are not degraded
    muon_rate: float = 0.015
    adam_rate: float = 1.5e-3
    decay_from: float = 0.3  # share of the steps after which the rates fall
    start_from: Path | None = None  # a checkpoint whose weights a new run begins with; what it lacks starts fresh
    encoder: bool = True  # whether the encoder learns too; if not, latents stay as they are
    faces: Path | None = None  # a painter of faces, from ``train_faces``, that a new run begins with
    vocabulary: Vocabulary = SHIPPED


def batches(run: AutoencoderRun, start: int) -> Iterator[Crops]:
    """Seeded crops, one batch ahead; step ``n`` is the same after a stop."""

    def one(step: int) -> Crops:
        random = np.random.default_rng((run.seed, step))
        whole = step >= run.steps * 0.8
        cells = GRID if whole else CROP
        count = max(run.batch * CROP[0] * CROP[1] // (GRID[0] * GRID[1]), 1) if whole else run.batch
        return run.frames.crops(random.integers(0, len(run.frames), count), random, cells)

    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(one, start)
        for step in range(start, run.steps):
            ready, ahead = ahead, pool.submit(one, step + 1)
            yield ready.result()


def degraded(latents: Tensor, noise: float, true: float) -> Tensor:
    """Raw latents (B, C, h, w); all but a share ``true`` say less: shrunk to their mean, some all the way, and noisy.

    To shrink is what a regression to an uncertain latent does.
    """
    mean = latents.mean(dim=(0, 2, 3), keepdim=True).detach()
    keep = (torch.rand(len(latents), 1, 1, 1) * 1.3 - 0.3).clamp(min=0)
    strength = torch.full_like(keep, noise)
    whole = torch.arange(len(latents)) < round(true * len(latents))
    keep[whole], strength[whole] = 1, 0
    deviation = (latents - mean).detach().std()
    return mean + keep * (latents - mean) + strength * deviation * torch.randn_like(latents)


def picture_loss(result: Tensor, pictures: Tensor, greybox: GreyboxBatch) -> Tensor:
    """L1, L2, gradients and their strength. The cast counts thrice, its faces six times, for there a viewer looks."""
    focus = 1 + F.interpolate((2 * cast_mask(greybox) + 3 * face_mask(greybox))[:, None], scale_factor=CELL)
    error = result - pictures
    return (focus * (error.abs() + 6 * error.square())).mean() + (
        0.5 * gradient_loss(result, pictures) + STRENGTH * energy_loss(result, pictures)
    )


def cast_mask(greybox: GreyboxBatch) -> Tensor:
    """1 where a cell shows an actor, else 0: (B, rows, columns)."""
    return ((greybox.slot > 0) & (greybox.slot <= MAX_CAST)).float()


def face_mask(greybox: GreyboxBatch) -> Tensor:
    """1 where a cell shows the front of a head, else 0: (B, rows, columns)."""
    forward = greybox.field[:, FIELD_CHANNELS.index("local_z")]
    return ((greybox.part == HEAD_PART) & (forward > 0.3)).float()


def train_autoencoder(run: AutoencoderRun) -> None:
    """Trains, resuming from ``out/autoencoder.safetensors`` if it is there."""
    torch.manual_seed(run.seed)
    run.out.mkdir(parents=True, exist_ok=True)
    checkpoint, log = run.out / "autoencoder.safetensors", Log(run.out / "autoencoder.jsonl")
    model = Autoencoder(*run.vocabulary.sizes, run.volumes).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if run.start_from is not None:
        load_weights(run.start_from, model)
    if run.faces is not None:
        model.surface.faces.load_state_dict(load_file(run.faces))
    # Pixels were shaded with the faces as they are.
    model.surface.faces.requires_grad_(not run.frames.has_pixels)
    model.encoder.requires_grad_(run.encoder)
    average = Average(model)
    optimizer = MuonAdam(model.named_parameters(), run.muon_rate, run.adam_rate)
    step = load_checkpoint(checkpoint, model, average, optimizer) if checkpoint.exists() else 0
    torch.manual_seed(run.seed + step)
    saved = started = time.monotonic()
    first, losses = step, Losses("loss")
    for batch in tqdm(batches(run, step), "autoencoder", run.steps, initial=step, unit="step", mininterval=5.0):
        optimizer.scale = schedule(step, run.steps, decay_from=run.decay_from)
        with autocast():
            latents = degraded(model.encoder(batch.pictures), run.noise, run.true)
            surface = model.surface(batch.greybox, model.surface.describe(batch.anchors))
            if batch.pixels is not None:
                surface = refined(surface, batch.pixels)
            result = model.decoder(latents, surface)
        loss = picture_loss(result.float(), batch.pictures, batch.greybox)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        average.update()
        losses.add(loss)
        step += 1
        if step % 50 == 0:
            rate = (step - first) * run.batch / (time.monotonic() - started)
            log.write([("step", step), *losses.report(), ("crops_per_second", rate)])
        if time.monotonic() - saved > run.save_minutes * 60 or step == run.steps:
            save_checkpoint(checkpoint, step, model, average, optimizer)
            log.write([("step", step), *_evaluate(checkpoint, run)])
            saved = time.monotonic()


@torch.inference_mode()
def _evaluate(checkpoint: Path, run: AutoencoderRun, count: int = 32) -> list[tuple[str, float]]:
    """Quality on held-out frames, with their latents and with none (``greybox_``); a sheet of the last.

    ``sharp_`` is what the high tier makes of them.
    """
    model = Autoencoder(*run.vocabulary.sizes, run.volumes)
    load_average(checkpoint, model)
    chosen = np.linspace(0, len(run.held_out) - 1, min(count, len(run.held_out))).astype(int)
    items = [run.held_out.crops(np.asarray([index]), np.random.default_rng(0), GRID) for index in chosen]
    encoded = [model.encoder(item.pictures) for item in items]
    nothing = torch.cat(encoded).mean(dim=(0, 2, 3), keepdim=True).expand_as(encoded[0])
    values: dict[str, list[float]] = {}
    sheet = []
    for item, raw in zip(items, encoded, strict=True):
        reference = item.pictures[0] / 2 + 0.5
        surface = model.surface(item.greybox, model.surface.describe(item.anchors))
        views = [("", raw, surface), ("greybox_", nothing, surface)]
        if item.pixels is not None:
            sharp = sharpened(surface, item.pixels, torch.tensor([CONTRAST["high"]]))
            views += [("sharp_", raw, sharp), ("sharp_greybox_", nothing, sharp)]
        for prefix, latents, seen in views:
            result = (model.decoder(latents, seen)[0] / 2 + 0.5).clip(0, 1)
            values.setdefault(f"{prefix}psnr_db", []).append(psnr(result, reference))
            values.setdefault(f"{prefix}ssim", []).append(ssim(result, reference))
            values.setdefault(f"{prefix}gradient", []).append(gradient_energy_ratio(result, reference))
            mask = F.interpolate(cast_mask(item.greybox)[None], scale_factor=CELL)[0, 0] > 0
            if mask.any():
                values.setdefault(f"{prefix}actor_psnr_db", []).append(psnr(result, reference, mask))
        sheet.append(Comparison(f"{psnr(result, reference):.1f} dB", to_picture(reference), to_picture(result)))
    write_sheet(run.out / "autoencoder.png", sheet[:16], width=256)
    scores = [(f"held_out_{name}", float(np.mean(column))) for name, column in values.items()]
    return [*scores, ("held_out_psnr_p10_db", float(np.percentile(values["psnr_db"], 10)))]


@torch.inference_mode()
def finish_autoencoder(run: AutoencoderRun, count: int = 1500) -> Autoencoder:
    """The averaged weights with their latent statistics filled in from ``count`` pictures."""
    model = Autoencoder(*run.vocabulary.sizes, run.volumes)
    load_average(run.out / "autoencoder.safetensors", model)
    if not run.encoder:  # what was held has its statistics from the run that this one began with
        return model
    chosen = np.linspace(0, len(run.frames) - 1, min(count, len(run.frames))).astype(int)
    stack = torch.cat([model.encoder(run.frames.picture(int(index))[None]) for index in chosen])
    model.mean.copy_(stack.mean(dim=(0, 2, 3), keepdim=True))
    model.std.copy_(stack.std(dim=(0, 2, 3), keepdim=True))
    return model
