"""Measures a model on held-out performances: rooms, casts and seeds that were never trained on.

Every shot of every performance is played as a client would play it: a cut, then frame after frame on one timeline,
each drawn from its scene state and compared with the stage's own render. The autoencoder is measured on the same
frames, as the ceiling of what the denoiser can reach.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cutscene_model.anchors import anchor_table
from cutscene_model.engine import draw_whole
from cutscene_model.greybox import GreyboxRaster
from cutscene_model.scene import SceneState, Stage
from cutscene_model.tensors import anchor_batch, greybox_batch
from cutscene_model.training.director import Performance, direct
from cutscene_model.training.metrics import gradient_energy_ratio, psnr, ssim
from cutscene_model.training.sheets import Comparison
from cutscene_model.training.stage import StageRenderer
from cutscene_model.transformer import TransformerEngine


@dataclass(frozen=True, slots=True)
class FrameScore:
    """One frame's figures. Actor figures are NaN where no actor is in the picture."""

    kind: str  # of shot
    psnr_db: float
    ssim: float
    actor_psnr_db: float
    gradient_energy_ratio: float
    autoencoder_psnr_db: float
    autoencoder_ssim: float
    autoencoder_actor_psnr_db: float
    autoencoder_gradient_energy_ratio: float


def held_out_performances(assets: Path, count: int) -> Iterator[Performance]:
    """Seeded performances in rooms, or with casts, that training never sees."""
    for seed in range(count):
        yield direct(assets, seed, held_out=True)


class _Ceiling:
    """The autoencoder alone on one stage: pictures to latents and back, beside their scene states."""

    def __init__(self, engine: TransformerEngine, stage: Stage) -> None:
        self._coder, self._device = engine.autoencoder, engine.device
        self._raster = GreyboxRaster(stage, engine.volumes)
        table = anchor_table(stage, engine.manifest.costumes, engine.manifest.looks)
        self._looks = self._coder.surface.describe(anchor_batch([table], self._device))

    def __call__(self, state: SceneState, truth: Tensor) -> Tensor:
        """``truth`` and result (3, 288, 512) in 0 to 1."""
        surface = self._coder.surface(greybox_batch([self._raster.draw(state)], self._device), self._looks)
        latents = self._coder.encode(truth[None].to(self._device) * 2 - 1)
        return (self._coder.decode(latents, surface)[0].cpu() / 2 + 0.5).clip(0, 1)


@torch.inference_mode()
def evaluate(
    engine: TransformerEngine,
    assets: Path,
    tier: str,
    performances: int,
    frames_per_shot: int,
    progress: Callable[[int], object] = lambda count: None,
) -> tuple[list[FrameScore], list[Comparison]]:
    """Plays ``performances`` and scores the first ``frames_per_shot`` frames of every shot.

    The last of these frames is kept for the sheet: a shot's history is longest there. ``progress`` is told of every
    frame scored.
    """
    scores, sheet = [], []
    with StageRenderer(assets) as renderer:
        for performance in held_out_performances(assets, performances):
            renderer.open(performance.stage)
            timeline = engine.begin(performance.stage, seed=performance.seed)
            ceiling = _Ceiling(engine, performance.stage)
            for shot in performance.shots:
                timeline.cut()
                for frame in range(shot.start, min(shot.end, shot.start + frames_per_shot)):
                    state = performance.states(frame)
                    reference, ids = renderer.render(state), renderer.render_ids(state)
                    _, result = draw_whole(timeline, state, tier)
                    truth = _tensor(reference)
                    scores.append(_score(shot.kind, truth, _tensor(result), ceiling(state, truth), ids))
                    progress(1)
                sheet.append(Comparison(shot.kind, reference, result))
    return scores, sheet


def _tensor(picture: npt.NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1).float() / 255


def _score(kind: str, truth: Tensor, drawn: Tensor, through: Tensor, ids: npt.NDArray[np.uint8]) -> FrameScore:
    actors = torch.from_numpy((ids >= 1) & (ids <= 4))
    missing = float("nan")
    return FrameScore(
        kind,
        psnr(drawn, truth),
        ssim(drawn, truth),
        psnr(drawn, truth, actors) if actors.any() else missing,
        gradient_energy_ratio(drawn, truth),
        psnr(through, truth),
        ssim(through, truth),
        psnr(through, truth, actors) if actors.any() else missing,
        gradient_energy_ratio(through, truth),
    )


def summary(scores: list[FrameScore]) -> dict[str, dict[str, float]]:
    """Means over frames, and the tenth percentile of PSNR, as ``{"model": {...}, "autoencoder": {...}}``."""

    def column(name: str) -> npt.NDArray[np.float64]:
        return np.asarray([getattr(score, name) for score in scores], np.float64)

    result: dict[str, dict[str, float]] = {}
    for who, prefix in (("model", ""), ("autoencoder", "autoencoder_")):
        result[who] = {
            name: round(float(np.nanmean(column(prefix + name))), 4)
            for name in ("psnr_db", "ssim", "actor_psnr_db", "gradient_energy_ratio")
        }
        result[who]["psnr_p10_db"] = round(float(np.percentile(column(prefix + "psnr_db"), 10)), 4)
    return result


def by_kind(scores: list[FrameScore]) -> dict[str, dict[str, dict[str, float]]]:
    """``summary`` of each kind of shot."""
    kinds = sorted({score.kind for score in scores})
    return {kind: summary([score for score in scores if score.kind == kind]) for kind in kinds}
