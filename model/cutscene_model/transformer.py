"""The engine for this project's own model: denoiser and autoencoder behind the seam of ``engine.py``."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

import numpy as np
import torch

from cutscene_model.anchors import anchor_table
from cutscene_model.autoencoder import Autoencoder
from cutscene_model.denoiser import Denoiser, Memory, frame_summary, rotated
from cutscene_model.engine import DrawnFrame
from cutscene_model.greybox import GreyboxRaster
from cutscene_model.manifest import Manifest
from cutscene_model.noise import frame_noise
from cutscene_model.sampler import sample
from cutscene_model.scene import SceneState, Stage
from cutscene_model.tensors import anchor_batch, greybox_batch


@dataclass(frozen=True, slots=True)
class _Remembered:
    """What a frame block is made from: small, and enough to make it again exactly."""

    frame_index: int
    latent: torch.Tensor  # (1, C, 9, 16) float16
    summary: torch.Tensor  # (1, 22, 9, 16) float32, of the greybox
    camera: torch.Tensor  # (1, 12) float32


@dataclass(frozen=True, slots=True)
class _Block:
    source: _Remembered
    memory: Memory


class TransformerEngine:
    """One loaded model on one device; begins any number of timelines."""

    def __init__(self, manifest: Manifest, autoencoder: Autoencoder, denoiser: Denoiser, device: torch.device) -> None:
        self.manifest = manifest
        self.device = device
        self.autoencoder = autoencoder.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.denoiser = denoiser.to(device).eval()

    def begin(self, stage: Stage, seed: int) -> TransformerTimeline:
        """See ``engine.Engine.begin``."""
        return TransformerTimeline(self, stage, seed)


class TransformerTimeline:
    """See ``engine.Timeline``. Its memory is the anchors and a window of the newest frame blocks, of fixed size."""

    def __init__(self, engine: TransformerEngine, stage: Stage, seed: int) -> None:
        self._engine, self._seed = engine, seed
        manifest = engine.manifest
        self._raster = GreyboxRaster(stage)
        table = anchor_table(stage, manifest.costumes, manifest.looks)
        with torch.inference_mode():
            self._looks = engine.autoencoder.surface.describe(anchor_batch([table], engine.device))
            anchors = engine.denoiser.anchors(self._looks.features)
            # Slots that say nothing are left out: cell 0 is the sink, cell 1 + s is slot s.
            cells = torch.from_numpy(np.flatnonzero(np.concatenate([[True], table.used]))).to(engine.device)
            self._anchors = Memory(anchors.keys[:, :, :, cells], anchors.values[:, :, :, cells])
        self._window: deque[_Block] = deque(maxlen=manifest.window)
        self._pending: _Remembered | None = None
        self._next_frame = 0
        self._computed = 1  # the anchor block

    @property
    def next_frame(self) -> int:
        """See ``engine.Timeline.next_frame``."""
        return self._next_frame

    @torch.inference_mode()
    def draw(self, state: SceneState, tier: str) -> DrawnFrame:
        """See ``engine.Timeline.draw``."""
        self.commit()
        engine, denoiser = self._engine, self._engine.denoiser
        start = time.perf_counter_ns()
        greybox = self._raster.draw(state)
        maps = greybox_batch([greybox], engine.device)
        rastered = time.perf_counter_ns()
        shape = engine.manifest.latent_shape
        noise = torch.from_numpy(frame_noise(self._seed, self._next_frame, (1, *shape))).to(engine.device)
        surface = engine.autoencoder.surface(maps, self._looks)
        conditioning = denoiser.condition(maps.globals, surface.levels[-1])
        clean = sample(denoiser, noise, conditioning, self._read(), engine.manifest.tiers[tier])
        # Rounded to its stored form before anything reads it, so that memory, disk and other servers agree.
        latent = clean.to(torch.float16)
        if engine.device.type == "cuda":
            torch.cuda.synchronize(engine.device)
        denoised = time.perf_counter_ns()
        clean = latent.float().contiguous(memory_format=torch.channels_last)
        picture = engine.autoencoder.decode(clean, surface)[0]
        pixels = (
            ((picture.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()
        )
        decoded = time.perf_counter_ns()
        frame = DrawnFrame(
            frame_index=self._next_frame,
            pixels=pixels,
            latent=latent[0].cpu().numpy(),
            tier=tier,
            blocks_reused=len(self._window) + 1 - self._computed,
            blocks_computed=self._computed,
            greybox_us=(rastered - start) // 1000,
            denoise_us=(denoised - rastered) // 1000,
            decode_us=(decoded - denoised) // 1000,
        )
        camera = torch.from_numpy(greybox.camera)[None].to(engine.device)
        self._pending = _Remembered(self._next_frame, latent, frame_summary(maps), camera)
        self._next_frame += 1
        self._computed = 0
        return frame

    @torch.inference_mode()
    def commit(self) -> None:
        """See ``engine.Timeline.commit``."""
        if self._pending is not None:
            self._window.append(self._make(self._pending))
            self._pending = None
            self._computed += 1

    def cut(self) -> None:
        """See ``engine.Timeline.cut``."""
        self._window.clear()
        self._pending = None

    @torch.inference_mode()
    def rebuild(self) -> None:
        """Makes every block of the window again from its latent: what parking, rewinding and migrating rest on."""
        self.commit()
        for place, block in enumerate(list(self._window)):
            self._window[place] = self._make(block.source)

    def _make(self, source: _Remembered) -> _Block:
        return _Block(source, self._engine.denoiser.block(source.latent.float(), source.summary, source.camera))

    def _read(self) -> Memory:
        """Anchors and window as one memory, each block's keys turned by its age."""
        if not self._window:
            return self._anchors
        blocks = [block.memory for block in self._window]
        ages = [self._next_frame - block.source.frame_index for block in self._window]
        cells = blocks[0].keys.shape[3]
        age = torch.tensor([ages], dtype=torch.float32, device=self._engine.device).repeat_interleave(cells, dim=1)
        keys = rotated(torch.cat([block.keys for block in blocks], dim=3), age)
        return Memory(
            torch.cat([self._anchors.keys, keys], dim=3),
            torch.cat([self._anchors.values, *(block.values for block in blocks)], dim=3),
        )
