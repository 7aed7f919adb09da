"""The engine for this project's own model: denoiser and autoencoder behind the seam of ``engine.py``."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from cutscene_model.anchors import anchor_table
from cutscene_model.autoencoder import Autoencoder
from cutscene_model.block_pool import BlockPool
from cutscene_model.compiled import pixels_of, sketch_of, surface_of
from cutscene_model.denoiser import Conditioning, Denoiser, Memory, frame_summary, rotated
from cutscene_model.engine import DrawnFrame, PastFrame, Pixels
from cutscene_model.errors import ReferencesError
from cutscene_model.grading import GradeReader, coarse, graded, tones
from cutscene_model.greybox import Greybox, GreyboxRaster, Refined
from cutscene_model.manifest import Manifest
from cutscene_model.noise import frame_noise
from cutscene_model.palette import paint_colors, palette
from cutscene_model.rehearsal import frame_us, small_scene
from cutscene_model.sampler import sample
from cutscene_model.scene import FloatArray, SceneState, Stage
from cutscene_model.shading import contrasted
from cutscene_model.surface import GreyboxBatch, Surface
from cutscene_model.tensors import anchor_batch, greybox_batch
from cutscene_model.volumes import Volumes


@dataclass(frozen=True, slots=True)
class _Remembered:
    """What a frame block is made from: small, and enough to make it again exactly."""

    frame_index: int
    key: bytes  # digest of what follows
    latent: torch.Tensor  # (1, C, 9, 16) float16
    summary: torch.Tensor  # (1, 16, 9, 16) float32, of the greybox
    camera: torch.Tensor  # (1, 12) float32


@dataclass(slots=True)
class _Entry:
    """A frame of the window."""

    source: _Remembered
    made: bool = False  # whether this timeline has had its block before


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What a frame owes to its scene state alone."""

    greybox: Greybox
    maps: GreyboxBatch
    surface: Surface
    conditioning: Conditioning | None  # None if its tier takes no denoising steps
    sketched: bool


class TransformerEngine:
    """One loaded model on one device; begins any number of timelines."""

    def __init__(
        self,
        manifest: Manifest,
        volumes: Volumes,
        autoencoder: Autoencoder,
        denoiser: Denoiser,
        device: torch.device,
        reader: GradeReader | None = None,
        pool: BlockPool | None = None,
    ) -> None:
        """``reader``: of reference pictures, if ``manifest.references`` says that the model takes any."""
        self.manifest = manifest
        self.volumes = volumes
        self.pool = BlockPool() if pool is None else pool
        self.device = device
        self.autoencoder = autoencoder.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.denoiser = denoiser.to(device).eval()
        self.reader = None if reader is None else reader.to(device).eval()
        # Now, for it takes a while, and whoever opens a session with references is not alone.
        self._paint: dict[str, FloatArray] = {} if reader is None else paint_colors(volumes)

    def counters(self) -> dict[str, int]:
        """See ``engine.Engine.counters``; the names are those of ``PoolFigures``."""
        return asdict(self.pool.figures)

    def rehearse(self) -> int:
        """See ``engine.Engine.rehearse``."""
        took_us = frame_us(self, *small_scene(self.manifest, self.volumes.rest_joints))
        self.pool = BlockPool()  # which has seen nothing yet
        return took_us

    @torch.inference_mode()
    def encode(self, picture: Pixels) -> npt.NDArray[np.float16]:
        """See ``engine.Engine.encode``: the picture's tones."""
        # Copied, for numpy may have it in memory that torch would round otherwise in: see ``tensors``.
        shown = torch.tensor(picture, device=self.device).permute(2, 0, 1)[None].float() / 255
        stored: npt.NDArray[np.float16] = tones(coarse(shown))[0].to(torch.float16).contiguous().cpu().numpy()
        return stored

    @torch.inference_mode()
    def grade(self, stage: Stage) -> torch.Tensor | None:
        """What the stage's reference pictures say of colours, (3, TERMS); None if it has none.

        Raises ``ReferencesError``.
        """
        seen = reference_tones(stage, self.manifest)
        if seen is None or self.reader is None:
            return None
        told = torch.tensor(palette(stage, self._paint), device=self.device)
        return self.reader.read(seen.to(self.device), told)

    def begin(
        self, stage: Stage, seed: int, next_frame: int = 0, past: Sequence[PastFrame] = ()
    ) -> TransformerTimeline:
        """See ``engine.Engine.begin``."""
        timeline = TransformerTimeline(self, stage, seed)
        timeline.go_to(next_frame, past)
        return timeline


class TransformerTimeline:
    """See ``engine.Timeline``. Its memory is the anchors and a window of the newest frame blocks, of fixed size."""

    def __init__(self, engine: TransformerEngine, stage: Stage, seed: int) -> None:
        self._engine, self._seed = engine, seed
        manifest = engine.manifest
        self._raster = GreyboxRaster(stage, engine.volumes)
        table = anchor_table(stage, manifest.costumes, manifest.looks)
        self._grade = engine.grade(stage)
        with torch.inference_mode():
            self._looks = engine.autoencoder.surface.describe(anchor_batch([table], engine.device))
            anchors = engine.denoiser.anchors(self._looks.features)
            # Slots that say nothing are left out: cell 0 is the sink, cell 1 + s is slot s.
            cells = torch.from_numpy(np.flatnonzero(np.concatenate([[True], table.used]))).to(engine.device)
            self._anchors = Memory(anchors.keys[:, :, :, cells], anchors.values[:, :, :, cells])
        self._window: deque[_Entry] = deque()
        self._pending: _Remembered | None = None
        self._denoised = True  # whether frames like the last one read blocks
        self._next_frame = 0
        self._computed = 1  # the anchor block

    @torch.inference_mode()
    def go_to(self, next_frame: int, past: Sequence[PastFrame]) -> None:
        """Continues at ``next_frame``, remembering the last of the ``past`` frames, and nothing else."""
        self.cut()
        for frame in past[-self._engine.manifest.window :]:
            greybox = self._raster.draw(frame.state)
            latent = torch.tensor(frame.latent)[None].to(self._engine.device)
            maps = greybox_batch([greybox], latent.device)
            self._take(self._remember(frame.frame_index, latent, greybox, maps))
        self._next_frame = next_frame

    @property
    def next_frame(self) -> int:
        """See ``engine.Timeline.next_frame``."""
        return self._next_frame

    @torch.inference_mode()
    def prepare(self, state: SceneState, tier: str) -> _Prepared:
        """See ``engine.Timeline.prepare``."""
        engine = self._engine
        greybox = self._raster.draw(state)
        maps = greybox_batch([greybox], engine.device)
        surface = self._surface(greybox, maps, tier)
        denoised = engine.manifest.tiers[tier] > 0
        conditioning = engine.denoiser.condition(maps.globals, surface.levels[-1]) if denoised else None
        return _Prepared(greybox, maps, surface, conditioning, tier in engine.manifest.sketched)

    def _surface(self, greybox: Greybox, maps: GreyboxBatch, tier: str) -> Surface:
        """What the greybox shows; pixel by pixel where its cells differ by more than the tier's contrast."""
        coder, looks, device = self._engine.autoencoder, self._looks, self._engine.device
        manifest = self._engine.manifest
        only_finest = tier in manifest.sketched and not manifest.tiers[tier]
        contrast = None if only_finest else manifest.contrast.get(tier)
        if device.type == "cpu":
            refine = None if contrast is None else partial(self._refined, greybox, contrast)
            return surface_of(coder, maps, looks, only_finest=only_finest, refine=refine)
        surface = coder.surface(maps, looks, only_finest=only_finest)
        if contrast is None:
            return surface
        refined = self._refined(greybox, contrast, surface.shaded[0].cpu().numpy())
        wanted = torch.from_numpy(refined.cells)[None]
        refined_maps = greybox_batch([refined.spread(greybox)], device)
        return replace(surface, lacking=coder.surface.lacking(maps, refined_maps, wanted, looks, surface))

    def _refined(self, greybox: Greybox, contrast: float, shaded: FloatArray) -> Refined:
        """Those pixels whose cells differ by more than ``contrast`` from what is around them."""
        return self._raster.refine(greybox, contrasted(shaded, contrast))

    @torch.inference_mode()
    def draw(self, prepared: _Prepared, tier: str) -> DrawnFrame:
        """See ``engine.Timeline.draw``."""
        self.commit()
        engine = self._engine
        shape = engine.manifest.latent_shape
        self._denoised = prepared.conditioning is not None
        if prepared.conditioning is None:
            # The mean of all latents, nil, from which a decoder draws what the surface says.
            clean = torch.zeros(1, *shape, device=engine.device)
        else:
            noise = torch.tensor(frame_noise(self._seed, self._next_frame, (1, *shape)), device=engine.device)
            steps = engine.manifest.tiers[tier]
            clean = sample(engine.denoiser, noise, prepared.conditioning, self._read(), steps)
        # Rounded to its stored form before anything reads it, so that memory, disk and other servers agree.
        # In one memory order too, that of a latent from disk.
        latent = clean.to(torch.float16).contiguous()
        frame = DrawnFrame(
            frame_index=self._next_frame,
            latent=latent[0].cpu().numpy(),
            tier=tier,
            # Blocks that were made for a window that a cut then emptied are not read.
            blocks_reused=max(0, len(self._window) + 1 - self._computed) if self._denoised else 0,
            blocks_computed=self._computed,
        )
        self._pending = self._remember(self._next_frame, latent, prepared.greybox, prepared.maps)
        self._next_frame += 1
        self._computed = 0
        return frame

    @torch.inference_mode()
    def decode(self, prepared: _Prepared, latent: npt.NDArray[np.float16]) -> Pixels:
        """See ``engine.Timeline.decode``."""
        device, coder = self._engine.device, self._engine.autoencoder
        clean = torch.tensor(latent)[None].to(device).float().contiguous(memory_format=torch.channels_last)
        if device.type == "cpu":
            if prepared.sketched:
                return sketch_of(coder, prepared.surface, self._grade)
            return pixels_of(coder, clean, prepared.surface, self._grade)
        surface = prepared.surface
        picture = coder.sketched(surface) if prepared.sketched else coder.decode(clean, surface)
        if self._grade is not None:
            picture = graded(picture, self._grade[None])
        levels = ((picture[0].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        pixels: Pixels = levels.permute(1, 2, 0).contiguous().cpu().numpy()
        return pixels

    @torch.inference_mode()
    def commit(self) -> None:
        """See ``engine.Timeline.commit``."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            self._take(pending, make=self._denoised)

    def cut(self) -> None:
        """See ``engine.Timeline.cut``."""
        while self._window:
            self._engine.pool.release(self._window.popleft().source.key)
        self._pending = None

    def close(self) -> None:
        """See ``engine.Timeline.close``."""
        self.cut()

    def _remember(self, index: int, latent: torch.Tensor, greybox: Greybox, maps: GreyboxBatch) -> _Remembered:
        camera = torch.tensor(greybox.camera, device=self._engine.device)[None]
        summary = frame_summary(maps)
        digest = hashlib.blake2b(digest_size=16)
        for piece in (latent, summary, camera):
            digest.update(piece.cpu().numpy().tobytes())
        return _Remembered(index, digest.digest(), latent, summary, camera)

    def _take(self, source: _Remembered, *, make: bool = True) -> None:
        """Puts a frame into the window, and its block into the pool; not yet unless ``make``."""
        pool = self._engine.pool
        pool.hold(source.key)
        self._window.append(_Entry(source))
        if make:
            self._block(self._window[-1])
        if len(self._window) > self._engine.manifest.window:
            pool.release(self._window.popleft().source.key)

    def _make(self, source: _Remembered) -> Memory:
        return self._engine.denoiser.block(source.latent.float(), source.summary, source.camera)

    def _block(self, entry: _Entry) -> Memory:
        pool, source = self._engine.pool, entry.source
        self._computed += not pool.has(source.key)
        expected, entry.made = entry.made, True
        return pool.read(source.key, lambda: self._make(source), expected=expected)

    def _read(self) -> Memory:
        """Anchors and window as one memory, each block's keys turned by its age."""
        if not self._window:
            return self._anchors
        blocks = [self._block(entry) for entry in self._window]
        ages = [self._next_frame - entry.source.frame_index for entry in self._window]
        cells = blocks[0].keys.shape[3]
        age = torch.tensor([ages], dtype=torch.float32, device=self._engine.device).repeat_interleave(cells, dim=1)
        keys = rotated(torch.cat([block.keys for block in blocks], dim=3), age)
        return Memory(
            torch.cat([self._anchors.keys, keys], dim=3),
            torch.cat([self._anchors.values, *(block.values for block in blocks)], dim=3),
        )


def reference_tones(stage: Stage, manifest: Manifest) -> torch.Tensor | None:
    """What is kept of a stage's reference pictures, (n, *reference_shape) float32; None if it has none.

    Raises ``ReferencesError``.
    """
    if not stage.references:
        return None
    if len(stage.references) > manifest.references:
        raise ReferencesError(
            f"{len(stage.references)} reference pictures; {manifest.name} takes {manifest.references or 'none'}"
        )
    for seen in stage.references:
        if len(seen) != manifest.reference_bytes:
            raise ReferencesError(f"a reference of {len(seen)} bytes; this model's have {manifest.reference_bytes}")
    # Copied: see ``tensors``.
    numbers = np.stack([np.frombuffer(seen, "<f2").astype(np.float32) for seen in stage.references])
    return torch.tensor(numbers).reshape(len(stage.references), *manifest.reference_shape)
