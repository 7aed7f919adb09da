"""Trains the denoiser on prepared latents; in its last part through the decoder, against the pictures themselves."""

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
from torch import Tensor, nn

from cutscene_model.autoencoder import Autoencoder
from cutscene_model.denoiser import CELLS, MEMORY_CELLS, Denoiser, Memory, rotated
from cutscene_model.sampler import sample
from cutscene_model.training.metrics import gradient_energy_ratio, gradient_loss, psnr
from cutscene_model.training.optimizer import MuonAdam
from cutscene_model.training.prepared import HISTORY, PreparedFrames, Sample
from cutscene_model.training.progress import (
    Average,
    Log,
    load_average,
    load_checkpoint,
    load_weights,
    save_checkpoint,
    schedule,
)
from cutscene_model.training.sheets import Comparison, to_picture, write_sheet
from cutscene_model.vocabulary import COSTUMES, LOOKS

_NEVER = -1e9  # added to the logits of cells that are not there


@dataclass(frozen=True, slots=True)
class DenoiserRun:
    """What determines a run."""

    frames: PreparedFrames
    held_out: PreparedFrames
    autoencoder: Path  # a finished autoencoder's state, from ``finish_autoencoder``
    out: Path
    steps: int
    batch: int = 16
    seed: int = 2
    decoded_from: float = 0.75  # from this share of the steps on, pictures are compared as well as latents
    muon_rate: float = 0.015
    adam_rate: float = 1e-3
    decay_from: float = 0.4  # share of the steps after which the rates fall
    decoder_slowed_by: float = 0.3  # the decoder has been trained before: its rates are multiplied by this
    save_minutes: float = 4.0
    start_from: Path | None = None  # a checkpoint whose weights a new run begins with; what it lacks starts fresh


class Both(nn.Module):
    """The denoiser and the decoder that shows its latents, trained together in the last part of a run."""

    def __init__(self, autoencoder: Autoencoder) -> None:
        super().__init__()
        self.denoiser = Denoiser(len(COSTUMES), len(LOOKS))
        self.autoencoder = autoencoder
        self.autoencoder.encoder.requires_grad_(False)


def batches(frames: PreparedFrames, run: DenoiserRun, start: int) -> Iterator[tuple[int, Sample]]:
    """Seeded samples, one batch ahead; step ``n`` is the same after a stop."""

    def one(step: int) -> Sample:
        random = np.random.default_rng((run.seed, step))
        pictures = step >= run.decoded_from * run.steps
        batch = run.batch // 2 if pictures else run.batch
        # Every other batch has no history: a first frame must be as good as any, and it trains a tenth faster.
        return frames.sample(random.integers(0, len(frames), batch), random, pictures, HISTORY * (step % 2))

    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(one, start)
        for step in range(start, run.steps):
            ready, ahead = ahead, pool.submit(one, step + 1)
            yield step, ready.result()


def read_memory(denoiser: Denoiser, slots: Tensor, item: Sample, noise: Tensor) -> tuple[Memory, Tensor]:
    """Anchors and the blocks of each sample's history, with the mask that hides unused slots and absent frames."""
    batch = len(slots)
    anchors = denoiser.anchors(slots)
    used = (item.anchors.costume + item.anchors.element_class) > 0
    own = torch.ones(batch, CELLS + 1, dtype=torch.bool)
    if not item.past_ages.any():
        return anchors, _mask(torch.cat([own, used], dim=1))
    past = denoiser.block(
        (item.past_latents + noise).flatten(0, 1), item.past_summaries.flatten(0, 1), item.past_cameras.flatten(0, 1)
    )

    def side_by_side(x: Tensor) -> Tensor:  # (L, B * h, heads, 40, d) to (L, B, heads, h * 40, d)
        x = x.reshape(x.shape[0], batch, HISTORY, *x.shape[2:]).transpose(2, 3)
        return x.flatten(3, 4)

    ages = item.past_ages.repeat_interleave(MEMORY_CELLS, dim=1)
    keys = torch.cat([anchors.keys, rotated(side_by_side(past.keys), ages)], dim=3)
    values = torch.cat([anchors.values, side_by_side(past.values)], dim=3)
    present = item.past_ages.repeat_interleave(MEMORY_CELLS, dim=1) > 0
    return Memory(keys, values), _mask(torch.cat([own, used, present], dim=1))


def _mask(shown: Tensor) -> Tensor:
    """Attention logits' addend (B, 1, 1, n) that hides the cells that are not ``shown`` (B, n)."""
    return torch.zeros(shown.shape).masked_fill_(~shown, _NEVER)[:, None, None, :]


def _losses(model: Both, item: Sample) -> tuple[Tensor, Tensor]:
    """The latents' loss and the pictures' (zero without pictures)."""
    denoiser = model.denoiser
    batch = len(item.latents)
    slots = denoiser.slots(item.anchors)
    history_noise = torch.randn_like(item.past_latents) * 0.3 * torch.rand(batch, HISTORY, 1, 1, 1)
    memory, mask = read_memory(denoiser, slots, item, history_noise)
    conditioning = denoiser.condition(item.greybox, slots)
    level = torch.where(torch.rand(batch) < 0.5, torch.ones(batch), 0.1 + 0.9 * torch.rand(batch))
    noise = torch.randn_like(item.latents)
    base = item.latents
    if item.pictures is not None:
        # In play, every step after the first starts from the model's own guess, not from the truth: so here too.
        with torch.no_grad():
            base = denoiser(noise, torch.ones(batch), conditioning, memory, mask)
    mix = level[:, None, None, None]
    clean = denoiser((1 - mix) * base + mix * noise, level, conditioning, memory, mask)
    # Actors fill a tenth of the cells and hold most of the error that a viewer sees.
    share = F.avg_pool2d(((item.greybox.slot > 0) & (item.greybox.slot <= 4)).float()[:, None], 8)
    weight = 1 + 2 * share
    # Channels count by what the decoder makes of them: an error in a channel of small deviation hardly shows.
    variance = model.autoencoder.std.square()
    weight = weight * (variance / variance.mean()).clamp(0.1, 4)
    error = clean - item.latents
    latent_loss = (weight * (error.square() + 0.3 * error.abs())).mean()
    if item.pictures is None:
        return latent_loss, torch.zeros(())
    result = model.autoencoder.decode(clean.contiguous(memory_format=torch.channels_last))
    focus = 1 + 2 * F.interpolate(((item.greybox.slot > 0) & (item.greybox.slot <= 4)).float()[:, None], scale_factor=4)
    error = result - item.pictures
    picture_loss = (focus * (error.abs() + 2 * error.square())).mean() + 0.5 * gradient_loss(result, item.pictures)
    return latent_loss, picture_loss


def train_denoiser(run: DenoiserRun) -> None:
    """Trains, resuming from ``out/denoiser.safetensors`` if it is there."""
    torch.manual_seed(run.seed)
    run.out.mkdir(parents=True, exist_ok=True)
    checkpoint, log = run.out / "denoiser.safetensors", Log(run.out / "denoiser.jsonl")
    autoencoder = Autoencoder()
    autoencoder.load_state_dict(load_autoencoder(run.autoencoder))
    model = Both(autoencoder.to(memory_format=torch.channels_last))  # type: ignore[call-overload]
    if run.start_from is not None:
        load_weights(run.start_from, model)
    average = Average(model)
    optimizer = MuonAdam(model.named_parameters(), run.muon_rate, run.adam_rate, "autoencoder.", run.decoder_slowed_by)
    first = load_checkpoint(checkpoint, model, average, optimizer) if checkpoint.exists() else 0
    torch.manual_seed(run.seed + first)
    frames = run.frames
    saved = reported = time.monotonic()
    totals, seen = np.zeros(2), 0
    for step, item in batches(frames, run, first):
        optimizer.scale = schedule(step, run.steps, decay_from=run.decay_from)
        latent_loss, picture_loss = _losses(model, item)
        loss = latent_loss + (3 * picture_loss if item.pictures is not None else 0)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        average.update()
        totals += (float(latent_loss.detach()), float(picture_loss.detach()))
        seen += len(item.latents)
        if (step + 1) % 50 == 0:
            rate = seen / (time.monotonic() - reported)
            log.write(
                [
                    ("step", step + 1),
                    ("latent", totals[0] / 50),
                    ("picture", totals[1] / 50),
                    ("frames_per_second", rate),
                ]
            )
            totals, seen, reported = np.zeros(2), 0, time.monotonic()
        if time.monotonic() - saved > run.save_minutes * 60 or step + 1 == run.steps:
            save_checkpoint(checkpoint, step + 1, model, average, optimizer)
            log.write([("step", step + 1), *evaluate_checkpoint(checkpoint, run)])
            saved = reported = time.monotonic()
            totals, seen = np.zeros(2), 0


def load_autoencoder(path: Path) -> dict[str, Tensor]:
    """A finished autoencoder's tensors."""
    return load_file(path)


@torch.inference_mode()
def evaluate_checkpoint(checkpoint: Path, run: DenoiserRun, count: int = 32) -> list[tuple[str, float]]:
    """First-frame quality on held-out frames without history, at one and two steps; writes a sheet of pictures."""
    model = Both(Autoencoder())
    load_average(checkpoint, model)
    frames = run.held_out
    chosen = np.linspace(0, len(frames) - 1, min(count, len(frames))).astype(int)
    values: dict[str, list[float]] = {}
    sheet = []
    for index in chosen:
        item = frames.sample(np.asarray([index]), np.random.default_rng(0), False, 0)
        reference = frames.picture(int(index)) / 2 + 0.5
        slots = model.denoiser.slots(item.anchors)
        used = torch.cat(
            [torch.ones(1, dtype=torch.bool), ((item.anchors.costume + item.anchors.element_class) > 0)[0]]
        )
        anchors = model.denoiser.anchors(slots)
        memory = Memory(anchors.keys[:, :, :, used], anchors.values[:, :, :, used])
        conditioning = model.denoiser.condition(item.greybox, slots)
        noise = torch.randn(item.latents.shape, generator=torch.Generator().manual_seed(int(index)))
        actors = (
            F.interpolate(((item.greybox.slot > 0) & (item.greybox.slot <= 4)).float()[None], scale_factor=4)[0, 0] > 0
        )
        for steps in (1, 2):
            clean = sample(model.denoiser, noise, conditioning, memory, steps)
            result = (model.autoencoder.decode(clean)[0] / 2 + 0.5).clip(0, 1)
            values.setdefault(f"psnr_{steps}", []).append(psnr(result, reference))
            if actors.any():
                values.setdefault(f"actor_psnr_{steps}", []).append(psnr(result, reference, actors))
            energy = gradient_energy_ratio(result, reference)
            values.setdefault(f"gradient_{steps}", []).append(energy)
            if steps == 1:
                label = f"{values['psnr_1'][-1]:.1f} dB"
                sheet.append(Comparison(label, to_picture(reference), to_picture(result)))
        ceiling = (model.autoencoder.decode(item.latents)[0] / 2 + 0.5).clip(0, 1)
        values.setdefault("ceiling", []).append(psnr(ceiling, reference))
    write_sheet(run.out / "denoiser.png", sheet[:16], width=256)
    return [(name, float(np.mean(column))) for name, column in values.items()]
