"""The figures of single pictures, and what they come to over many."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from torch import Tensor

from cutscene_model.training.identity import ActorColor, color_errors
from cutscene_model.training.metrics import gradient_energy_ratio, psnr, ssim
from cutscene_model.training.regions import Regions
from cutscene_model.training.steadiness import FrameChange, flicker_ratio, frame_change

NONE = float("nan")  # of a figure that a frame has nothing to be taken from
AUTOENCODER = "autoencoder"  # its place beside the tiers: the true picture through latents and back

PictureMetric = Callable[[Tensor, Tensor], float]  # of a result and its reference, (3, H, W) in 0 to 1


@dataclass(frozen=True, slots=True)
class Score:
    """One picture against the reference."""

    psnr_db: float
    ssim: float
    gradient_energy_ratio: float
    actor_psnr_db: float  # where actors are; NaN in frames without
    face_psnr_db: float  # likewise
    edge_psnr_db: float  # likewise
    lpips: float = NONE  # where its weights are at hand
    change: FrameChange | None = None  # since the frame before in the same shot
    colors: dict[int, ActorColor] = field(default_factory=dict)  # by cast index
    squared_error: dict[str, float] = field(default_factory=dict)  # by region: summed over pixels, mean over channels
    pixels: dict[str, int] = field(default_factory=dict)  # by region

    @property
    def identity_error(self) -> float:
        """dE76, mean over the actors in the picture."""
        return _mean([color.error for color in self.colors.values()])

    @property
    def color_shift(self) -> float:
        """dE76 of mean colours, mean over the actors in the picture."""
        return _mean([color.shift for color in self.colors.values()])


MEANS = (
    "psnr_db",
    "ssim",
    "actor_psnr_db",
    "face_psnr_db",
    "edge_psnr_db",
    "gradient_energy_ratio",
    "identity_error",
    "color_shift",
    "lpips",
)
"""Figures that are means over frames; PSNR's tenth percentile and flicker are of all frames together."""

REGIONS = ("faces", "silhouettes", "actors", "elsewhere")
"""Where an error can lie; each pixel counts for the first that holds."""


def score(
    result: Tensor,
    reference: Tensor,
    regions: Regions,
    before: tuple[Tensor, Tensor] | None = None,
    perceptual: PictureMetric | None = None,
) -> Score:
    """Pictures (3, H, W) in 0 to 1. ``before`` is the result and the reference of the frame before in the same shot."""

    def within(mask: Tensor) -> float:
        return psnr(result, reference, mask) if mask.any() else NONE

    error = (result - reference).square().mean(dim=0)
    places = {
        "faces": regions.any_face,
        "silhouettes": regions.edges & ~regions.any_face,
        "actors": regions.anyone & ~regions.edges & ~regions.any_face,
        "elsewhere": ~(regions.anyone | regions.edges),
    }
    return Score(
        psnr(result, reference),
        ssim(result, reference),
        gradient_energy_ratio(result, reference),
        within(regions.anyone),
        within(regions.any_face),
        within(regions.edges),
        perceptual(result, reference) if perceptual else NONE,
        frame_change(result, before[0], reference, before[1]) if before else None,
        color_errors(result, reference, regions.actors),
        {name: float(error[mask].sum()) for name, mask in places.items()},
        {name: int(mask.sum()) for name, mask in places.items()},
    )


@dataclass(frozen=True, slots=True)
class FrameScore:
    """One frame of one shot, drawn at each tier and put through the autoencoder."""

    performance: int  # seed
    kind: str  # of shot
    frame: int  # of the performance
    pictures: dict[str, Score]  # by tier, and AUTOENCODER


def of(scores: Iterable[FrameScore], who: str) -> list[Score]:
    """One tier's scores, or the autoencoder's."""
    return [frame.pictures[who] for frame in scores]


def summary(scores: Sequence[Score]) -> dict[str, float]:
    """Means over frames, PSNR's tenth percentile, flicker. A figure that no frame has is left out."""
    figures = {name: _mean([getattr(score, name) for score in scores]) for name in MEANS}
    figures["psnr_p10_db"] = float(np.percentile([score.psnr_db for score in scores], 10))
    figures["flicker_ratio"] = flicker_ratio([score.change for score in scores if score.change])
    return {name: round(value, 4) for name, value in figures.items() if not math.isnan(value)}


def by_kind(scores: Sequence[FrameScore]) -> dict[str, list[FrameScore]]:
    """The frames of each kind of shot, in the order of the alphabet."""
    return {kind: [s for s in scores if s.kind == kind] for kind in sorted({s.kind for s in scores})}


def error_shares(scores: Sequence[Score]) -> dict[str, dict[str, float]]:
    """By region: its share of all pixels, its share of all squared error, and the PSNR that the two come to."""
    pixels = {name: sum(score.pixels[name] for score in scores) for name in REGIONS}
    errors = {name: sum(score.squared_error[name] for score in scores) for name in REGIONS}
    every, whole = max(sum(pixels.values()), 1), max(sum(errors.values()), 1e-12)
    return {
        name: {
            "pixels": round(pixels[name] / every, 4),
            "squared_error": round(errors[name] / whole, 4),
            "psnr_db": round(-10 * math.log10(max(errors[name] / pixels[name], 1e-10)), 4),
        }
        for name in REGIONS
        if pixels[name]
    }


def _mean(values: Sequence[float]) -> float:
    """Of what is not NaN; NaN if nothing is."""
    known: npt.NDArray[np.float64] = np.asarray([value for value in values if not math.isnan(value)], np.float64)
    return float(known.mean()) if len(known) else NONE
