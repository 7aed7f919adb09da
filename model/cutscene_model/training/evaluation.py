"""Plays a model on held-out performances, in rooms and with casts that were never trained on, and scores its frames.

A performance is played as a client would play it: a cut at every shot, then frame after frame on one timeline, each
drawn from its scene state and compared with the stage's own render. All tiers draw the same frames, each on a timeline
of its own. The autoencoder is measured beside them, as the ceiling of what the denoiser can reach.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cutscene_model.engine import Pixels
from cutscene_model.pipeline import Pipeline
from cutscene_model.training.director import Performance, Shot, direct
from cutscene_model.training.regions import Regions, regions_of
from cutscene_model.training.scores import AUTOENCODER, FrameScore, PictureMetric, score
from cutscene_model.training.stage import StageRenderer
from cutscene_model.transformer import TransformerEngine

FramesOf = Callable[[Shot], range]  # which frames of a shot are played, from its first on


def held_out_performances(assets: Path, count: int, seconds: float | None = None) -> Iterator[Performance]:
    """Seeded performances in rooms, or with casts, that training never sees; ``seconds`` as in ``direct``."""
    for seed in range(count):
        yield direct(assets, seed, held_out=True, seconds=seconds)


def first_frames(count: int) -> FramesOf:
    """The first ``count`` frames of every shot."""
    return lambda shot: range(shot.start, min(shot.end, shot.start + count))


def up_to(end: int) -> FramesOf:
    """Every frame of a performance before frame ``end``."""
    return lambda shot: range(shot.start, min(shot.end, end))


@dataclass(frozen=True)
class PlayedFrame:
    """One frame, drawn by everybody."""

    shot: Shot
    frame: int  # of the performance
    reference: Pixels
    regions: Regions
    pictures: dict[str, Pixels]  # by tier, and AUTOENCODER


def play(
    engine: TransformerEngine,
    renderer: StageRenderer,
    performance: Performance,
    tiers: Sequence[str],
    frames_of: FramesOf,
) -> Iterator[PlayedFrame]:
    """The chosen frames of ``performance``, in order. The autoencoder shows its latents as the default tier does."""
    renderer.open(performance.stage)
    timelines = {tier: engine.begin(performance.stage, seed=performance.seed) for tier in tiers}
    default = engine.manifest.default_tier
    some = next(iter(timelines.values()))  # to decode with
    try:
        for shot in performance.shots:
            for timeline in timelines.values():
                timeline.cut()
            for frame in frames_of(shot):
                state = performance.states(frame)
                reference, ids = renderer.render(state), renderer.render_ids(state)
                pictures = {}
                for tier, timeline in timelines.items():
                    prepared = timeline.prepare(state, tier)
                    pictures[tier] = timeline.decode(prepared, timeline.draw(prepared, tier).latent)
                    if tier == default:
                        pictures[AUTOENCODER] = timeline.decode(prepared, _encoded(engine, reference))
                if AUTOENCODER not in pictures:  # a tier that was not asked for; others may not look at latents
                    pictures[AUTOENCODER] = some.decode(some.prepare(state, default), _encoded(engine, reference))
                yield PlayedFrame(shot, frame, reference, regions_of(state, ids), pictures)
    finally:
        for timeline in timelines.values():
            timeline.close()


@torch.inference_mode()
def _encoded(engine: TransformerEngine, picture: Pixels) -> npt.NDArray[np.float16]:
    """A picture's latent in its stored form."""
    latent = engine.autoencoder.encode(as_tensor(picture)[None].to(engine.device) * 2 - 1)
    stored: npt.NDArray[np.float16] = latent[0].half().cpu().numpy()
    return stored


def as_tensor(picture: Pixels) -> Tensor:
    """(H, W, 3) bytes as (3, H, W) in 0 to 1."""
    return torch.from_numpy(picture).permute(2, 0, 1).float() / 255


def scored(
    performance: Performance, frames: Iterator[PlayedFrame], perceptual: PictureMetric | None = None
) -> Iterator[tuple[PlayedFrame, FrameScore]]:
    """Each frame with its figures."""
    shot: Shot | None = None
    before: dict[str, Tensor] = {}
    reference_before = torch.empty(0)
    for played in frames:
        reference = as_tensor(played.reference)
        results = {who: as_tensor(picture) for who, picture in played.pictures.items()}
        follows = played.shot is shot
        scores = {
            who: score(
                result, reference, played.regions, (before[who], reference_before) if follows else None, perceptual
            )
            for who, result in results.items()
        }
        yield played, FrameScore(performance.seed, played.shot.kind, played.frame, scores)
        shot, before, reference_before = played.shot, results, reference


def frames_per_second(engine: TransformerEngine, performance: Performance, tier: str, frames: int = 48) -> float:
    """How fast the engine alone draws, frames side by side as a server has it; whatever else runs here slows it."""
    states = [performance.states(frame) for frame in range(min(frames, performance.frames))]
    timeline, pipeline = engine.begin(performance.stage, seed=performance.seed), Pipeline()
    try:
        for _ in pipeline.play(timeline, states[:8], tier):
            pass
        begun = time.perf_counter()
        for _ in pipeline.play(timeline, states, tier):
            pass
        return len(states) / (time.perf_counter() - begun)
    finally:
        pipeline.close()
        timeline.close()


def describe_machine() -> str:
    """One line on where this ran, for frames a second depend on it."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return f"{os.cpu_count()} cores {platform.machine()}, torch {torch.__version__}, load {load:.1f} at the start"
