"""Trains the denoiser on prepared latents, then everything together through the decoder, against the pictures."""

from __future__ import annotations

import dataclasses
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
from tqdm import tqdm

from cutscene_model.autoencoder import Autoencoder
from cutscene_model.denoiser import CELLS, MEMORY_CELLS, Denoiser, Memory, rotated
from cutscene_model.precision import autocast
from cutscene_model.sampler import sample
from cutscene_model.surface import CELL
from cutscene_model.training.autoencoder_training import cast_mask, picture_loss
from cutscene_model.training.metrics import gradient_energy_ratio, psnr
from cutscene_model.training.optimizer import MuonAdam
from cutscene_model.training.prepared import HISTORY, PreparedFrames, Sample
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
from cutscene_model.training.refinement import refined
from cutscene_model.training.sheets import Comparison, to_picture, write_sheet
from cutscene_model.vocabulary import SHIPPED, Vocabulary
from cutscene_model.volumes import Volumes

_NEVER = -1e9  # added to the logits of cells that are not there


@dataclass(frozen=True, slots=True)
class DenoiserRun:
    """What determines a run: of the denoiser on latents, or with ``pictures`` of everything through the decoder."""

    volumes: Volumes
    frames: PreparedFrames
    held_out: PreparedFrames
    autoencoder: Path  # a finished autoencoder's state, from ``finish_autoencoder``
    out: Path
    steps: int
    pictures: bool = False
    batch: int = 32
    seed: int = 2
    muon_rate: float = 0.015
    adam_rate: float = 1e-3
    decay_from: float = 0.3  # share of the steps after which the rates fall
    decoder_slowed_by: float = 0.75  # the autoencoder has been trained before: its rates are multiplied by this
    save_minutes: float = 4.0
    start_from: Path | None = None  # a checkpoint whose weights a new run begins with; what it lacks starts fresh
    vocabulary: Vocabulary = SHIPPED

    @property
    def checkpoint(self) -> Path:
        """Where the run's state is kept."""
        return self.out / ("finetuned.safetensors" if self.pictures else "denoiser.safetensors")


class Both(nn.Module):
    """The denoiser and the autoencoder that shows its latents."""

    def __init__(self, autoencoder: Autoencoder) -> None:
        super().__init__()
        self.denoiser = Denoiser()
        self.autoencoder = autoencoder
        self.autoencoder.encoder.requires_grad_(False)


def batches(frames: PreparedFrames, run: DenoiserRun, start: int) -> Iterator[tuple[int, Sample]]:
    """Seeded samples, one batch ahead; step ``n`` is the same after a stop."""

    def one(step: int) -> Sample:
        random = np.random.default_rng((run.seed, step))
        # Every other batch has no history: a first frame must be as good as any, and it trains a tenth faster.
        chosen = random.integers(0, len(frames), run.batch)
        return frames.sample(chosen, random, run.pictures, HISTORY * (step % 2))

    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(one, start)
        for step in range(start, run.steps):
            ready, ahead = ahead, pool.submit(one, step + 1)
            yield step, ready.result()


def read_memory(denoiser: Denoiser, slots: Tensor, item: Sample, noise: Tensor) -> tuple[Memory, Tensor]:
    """Anchors and the blocks of each sample's history, with the mask that hides what is not there: slots that are not
    used, frames."""
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
    denoiser, autoencoder = model.denoiser, model.autoencoder
    batch, pictures = len(item.latents), item.pictures
    with torch.set_grad_enabled(pictures is not None):
        looks = autoencoder.surface.describe(item.anchors)
        with autocast():
            surface = None if pictures is None else autoencoder.surface(item.greybox, looks)
    history_noise = torch.randn_like(item.past_latents) * 0.3 * torch.rand(batch, HISTORY, 1, 1, 1)
    memory, mask = read_memory(denoiser, looks.features, item, history_noise)
    conditioning = denoiser.condition(item.greybox.globals, item.coarse if surface is None else surface.levels[-1])
    level = torch.where(torch.rand(batch) < 0.5, torch.ones(batch), 0.1 + 0.9 * torch.rand(batch))
    noise = torch.randn_like(item.latents)
    base = item.latents
    if surface is not None:
        # In play, every step after the first starts from the model's own guess, not from the truth: so here too.
        with torch.no_grad():
            base = denoiser(noise, torch.ones(batch), conditioning, memory, mask)
    mix = level[:, None, None, None]
    clean = denoiser((1 - mix) * base + mix * noise, level, conditioning, memory, mask)
    # Actors fill a tenth of the cells and hold most of the error that a viewer sees.
    weight = 1 + 2 * F.avg_pool2d(cast_mask(item.greybox)[:, None], 16)
    # Channels count by what the decoder makes of them: an error in a channel of small deviation hardly shows.
    variance = autoencoder.std.square()
    weight = weight * (variance / variance.mean()).clamp(0.1, 4)
    error = clean - item.latents
    latent_loss = (weight * (error.square() + 0.3 * error.abs())).mean()
    if surface is None or pictures is None:
        return latent_loss, torch.zeros(())
    with autocast():
        # The draft tier's decoder learns from the surface as it is made for the others.
        finest = dataclasses.replace(surface, shaded=surface.shaded.detach(), levels=(surface.levels[0].detach(),))
        drafts = autoencoder.sketched(finest)
    if item.pixels is not None:
        surface = refined(surface, item.pixels)
    # A quarter of the pictures is drawn from true latents, so that the decoder remains the autoencoder's.
    latents = torch.cat([item.latents[: batch // 4], clean[batch // 4 :]])
    with autocast():
        result = autoencoder.decode(latents.contiguous(memory_format=torch.channels_last), surface)
    drafted = picture_loss(drafts.float(), pictures, item.greybox)
    return latent_loss, picture_loss(result.float(), pictures, item.greybox) + drafted


def train_denoiser(run: DenoiserRun) -> None:
    """Trains, resuming from ``run.checkpoint`` if it is there."""
    torch.manual_seed(run.seed)
    run.out.mkdir(parents=True, exist_ok=True)
    checkpoint = run.checkpoint
    log = Log(checkpoint.with_suffix(".jsonl"))
    autoencoder = Autoencoder(*run.vocabulary.sizes, run.volumes)
    autoencoder.load_state_dict(load_file(run.autoencoder))
    model = Both(autoencoder.to(memory_format=torch.channels_last))  # type: ignore[call-overload]
    if run.start_from is not None:
        load_weights(run.start_from, model)
    autoencoder.surface.faces.requires_grad_(not run.frames.has_pixels)  # pixels were shaded with them as they are
    average = Average(model)
    optimizer = MuonAdam(model.named_parameters(), run.muon_rate, run.adam_rate, "autoencoder.", run.decoder_slowed_by)
    first = load_checkpoint(checkpoint, model, average, optimizer) if checkpoint.exists() else 0
    torch.manual_seed(run.seed + first)
    frames = run.frames
    saved = reported = time.monotonic()
    losses, seen = Losses("latent", "picture"), 0
    for step, item in tqdm(
        batches(frames, run, first), checkpoint.stem, run.steps, initial=first, unit="step", mininterval=5.0
    ):
        optimizer.scale = schedule(step, run.steps, decay_from=run.decay_from)
        latent_loss, picture_loss = _losses(model, item)
        # A latent that is right on average hurts a decoder that trusts it: once there are pictures, they decide.
        loss = latent_loss if item.pictures is None else 0.1 * latent_loss + 3 * picture_loss
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        average.update()
        losses.add(latent_loss, picture_loss)
        seen += len(item.latents)
        if (step + 1) % 50 == 0:
            rate = seen / (time.monotonic() - reported)
            log.write([("step", step + 1), *losses.report(), ("frames_per_second", rate)])
            seen, reported = 0, time.monotonic()
        if time.monotonic() - saved > run.save_minutes * 60 or step + 1 == run.steps:
            save_checkpoint(checkpoint, step + 1, model, average, optimizer)
            log.write([("step", step + 1), *evaluate_checkpoint(checkpoint, run)])
            saved = reported = time.monotonic()
            seen = 0


@torch.inference_mode()
def evaluate_checkpoint(checkpoint: Path, run: DenoiserRun, count: int = 32) -> list[tuple[str, float]]:
    """First-frame quality on held-out frames without history, at one and two steps; writes a sheet of pictures."""
    model = Both(Autoencoder(*run.vocabulary.sizes, run.volumes))
    load_average(checkpoint, model)
    frames = run.held_out
    chosen = np.linspace(0, len(frames) - 1, min(count, len(frames))).astype(int)
    values: dict[str, list[float]] = {}
    sheet = []
    for index in chosen:
        item = frames.sample(np.asarray([index]), np.random.default_rng(0), False, 0)
        reference = frames.picture(int(index)) / 2 + 0.5
        looks = model.autoencoder.surface.describe(item.anchors)
        surface = model.autoencoder.surface(item.greybox, looks)
        used = torch.cat(
            [torch.ones(1, dtype=torch.bool), ((item.anchors.costume + item.anchors.element_class) > 0)[0]]
        )
        anchors = model.denoiser.anchors(looks.features)
        memory = Memory(anchors.keys[:, :, :, used], anchors.values[:, :, :, used])
        conditioning = model.denoiser.condition(item.greybox.globals, surface.levels[-1])
        noise = torch.randn(item.latents.shape, generator=torch.Generator().manual_seed(int(index)))
        actors = F.interpolate(cast_mask(item.greybox)[None], scale_factor=CELL)[0, 0] > 0
        for steps in (1, 2):
            clean = sample(model.denoiser, noise, conditioning, memory, steps)
            result = (model.autoencoder.decode(clean, surface)[0] / 2 + 0.5).clip(0, 1)
            values.setdefault(f"psnr_{steps}", []).append(psnr(result, reference))
            if actors.any():
                values.setdefault(f"actor_psnr_{steps}", []).append(psnr(result, reference, actors))
            energy = gradient_energy_ratio(result, reference)
            values.setdefault(f"gradient_{steps}", []).append(energy)
            if steps == 1:
                label = f"{values['psnr_1'][-1]:.1f} dB"
                sheet.append(Comparison(label, to_picture(reference), to_picture(result)))
        drafted = (model.autoencoder.sketched(surface)[0] / 2 + 0.5).clip(0, 1)
        values.setdefault("draft_psnr", []).append(psnr(drafted, reference))
        values.setdefault("draft_gradient", []).append(gradient_energy_ratio(drafted, reference))
        ceiling = (model.autoencoder.decode(item.latents, surface)[0] / 2 + 0.5).clip(0, 1)
        values.setdefault("ceiling", []).append(psnr(ceiling, reference))
    write_sheet(checkpoint.with_suffix(".png"), sheet[:16], width=256)
    return [(name, float(np.mean(column))) for name, column in values.items()]
