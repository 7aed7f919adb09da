"""Trains the autoencoder on captured pictures: crops first, whole frames for the last fifth."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cutscene_model.autoencoder import Autoencoder
from cutscene_model.training.data import Pictures
from cutscene_model.training.metrics import gradient_loss, psnr, ssim
from cutscene_model.training.optimizer import MuonAdam
from cutscene_model.training.progress import Average, Log, load_average, load_checkpoint, save_checkpoint, schedule
from cutscene_model.training.sheets import Comparison, to_picture, write_sheet

CROP = (160, 256)


@dataclass(frozen=True, slots=True)
class AutoencoderRun:
    """What determines a run."""

    data: Path
    held_out: Path
    out: Path
    steps: int
    batch: int = 12
    seed: int = 1
    save_minutes: float = 4.0
    noise: float = 0.1  # of the latents' own deviation, added to half of every batch, so that the decoder forgives


def crops(pictures: Pictures, batch: int, seed: int, start: int, whole_from: int) -> Iterator[Tensor]:
    """Batches (B, 3, h, w) in -1 to 1, decoded one batch ahead; step ``n`` is the same after a stop."""

    def one(step: int) -> Tensor:
        random = np.random.default_rng((seed, step))
        whole = step >= whole_from
        height, width = (288, 512) if whole else CROP
        count = max(batch * CROP[0] * CROP[1] // (288 * 512), 1) if whole else batch
        stack = np.empty((count, height, width, 3), np.uint8)
        for place, index in enumerate(random.integers(0, len(pictures), count)):
            top, left = random.integers(0, 289 - height), random.integers(0, 513 - width)
            stack[place] = pictures[index][top : top + height, left : left + width]
        return torch.from_numpy(stack).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)

    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(one, start)
        for step in range(start + 1, 1 << 60):
            ready, ahead = ahead, pool.submit(one, step)
            yield ready.result()


def train_autoencoder(run: AutoencoderRun) -> None:
    """Trains, resuming from ``out/autoencoder.safetensors`` if it is there."""
    torch.manual_seed(run.seed)
    run.out.mkdir(parents=True, exist_ok=True)
    checkpoint, log = run.out / "autoencoder.safetensors", Log(run.out / "autoencoder.jsonl")
    model = Autoencoder().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average, optimizer = Average(model), MuonAdam(model.named_parameters(), muon_rate=0.015, adam_rate=1.5e-3)
    step = load_checkpoint(checkpoint, model, average, optimizer) if checkpoint.exists() else 0
    pictures = Pictures(run.data)
    saved = started = time.monotonic()
    first, losses = step, 0.0
    for batch in crops(pictures, run.batch, run.seed, step, int(run.steps * 0.8)):
        if step >= run.steps:
            break
        optimizer.scale = schedule(step, run.steps, decay_from=0.5)
        batch = batch.contiguous(memory_format=torch.channels_last)
        latents = model.encoder(batch)
        noise = torch.randn_like(latents) * latents.detach().std() * run.noise
        noise[: len(noise) // 2] = 0
        result = model.decoder(latents + noise)
        error = result - batch
        loss = error.abs().mean() + 0.25 * gradient_loss(result, batch) + error.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update()
        losses += float(loss.detach())
        step += 1
        if step % 100 == 0:
            rate = (step - first) * run.batch / (time.monotonic() - started)
            log.write([("step", step), ("loss", losses / 100), ("crops_per_second", rate), ("pictures", len(pictures))])
            losses = 0.0
            pictures.refresh()
        if time.monotonic() - saved > run.save_minutes * 60 or step == run.steps:
            save_checkpoint(checkpoint, step, model, average, optimizer)
            log.write([("step", step), *_evaluate(checkpoint, run, step)])
            saved = time.monotonic()


@torch.inference_mode()
def _evaluate(checkpoint: Path, run: AutoencoderRun, step: int, count: int = 24) -> list[tuple[str, float]]:
    """Quality on held-out pictures, and a sheet of some: reference above result."""
    model = Autoencoder()
    load_average(checkpoint, model)
    pictures = Pictures(run.held_out)
    values, sheet = [], []
    for index in np.linspace(0, len(pictures) - 1, min(count, len(pictures))).astype(int):
        reference = torch.from_numpy(pictures[index]).permute(2, 0, 1).float() / 255
        result = (model.decode(model.encode(reference[None] * 2 - 1))[0] / 2 + 0.5).clip(0, 1)
        values.append((psnr(result, reference), ssim(result, reference)))
        sheet.append(Comparison(f"{values[-1][0]:.1f} dB", to_picture(reference), to_picture(result)))
    write_sheet(run.out / "autoencoder.png", sheet[:12], width=256)
    table = np.asarray(values)
    return [
        ("held_out_psnr_db", float(table[:, 0].mean())),
        ("held_out_psnr_p10_db", float(np.percentile(table[:, 0], 10))),
        ("held_out_ssim", float(table[:, 1].mean())),
    ]


@torch.inference_mode()
def finish_autoencoder(run_dir: Path, data: Path, count: int = 1500) -> Autoencoder:
    """The averaged weights with their latent statistics filled in from ``count`` pictures."""
    model = Autoencoder()
    load_average(run_dir / "autoencoder.safetensors", model)
    pictures = Pictures(data)
    chosen = np.linspace(0, len(pictures) - 1, min(count, len(pictures))).astype(int)
    stack = torch.cat(
        [model.encoder(torch.from_numpy(pictures[i]).permute(2, 0, 1)[None].float() / 127.5 - 1) for i in chosen]
    )
    model.mean.copy_(stack.mean(dim=(0, 2, 3), keepdim=True))
    model.std.copy_(stack.std(dim=(0, 2, 3), keepdim=True))
    return model
