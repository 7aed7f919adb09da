"""Looks that a colourist might give a film: what the reader of grades learns from, and what it is tried with.

Gamma, gain, saturation, contrast, and colours of shadows and lights, as every grading desk has them (the colour
decision list of the ASC has slope, offset, power and saturation).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_LUMA = (0.2126, 0.7152, 0.0722)  # ITU-R BT.709
_PIVOT = 0.4  # what contrast leaves where it is
MONOCHROME = 0.15  # share of random looks that have no colour of their own
USED = 0.6  # share of random looks that turn a given knob


@dataclass(frozen=True, slots=True)
class ColorGrade:
    """B looks; all tensors can be broadcast to (B, 3, H, W)."""

    gamma: Tensor
    gain: Tensor
    saturation: Tensor
    contrast: Tensor
    lift: Tensor  # added to what is dark
    shine: Tensor  # added to what is bright

    def __call__(self, pictures: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in 0 to 1 under these looks, clipped."""
        x = pictures.clamp(0, 1) ** self.gamma * self.gain
        luma = (x * x.new_tensor(_LUMA)[None, :, None, None]).sum(dim=1, keepdim=True)
        x = luma + self.saturation * (x - luma)
        x = _PIVOT + (x - _PIVOT) * self.contrast + self.lift * (1 - luma) + self.shine * luma
        return x.clamp(0, 1)


def random_grades(count: int, generator: torch.Generator) -> ColorGrade:
    """``count`` looks, each with about three of five knobs turned."""

    def normal(deviation: float, channels: int) -> Tensor:
        return torch.randn(count, channels, 1, 1, generator=generator) * deviation

    def turned() -> Tensor:
        return (torch.rand(count, 1, 1, 1, generator=generator) < USED).float()

    grey = torch.rand(count, 1, 1, 1, generator=generator) < MONOCHROME
    saturation = torch.where(grey, torch.zeros(()), 0.2 + 1.4 * torch.rand(count, 1, 1, 1, generator=generator))
    split = turned()
    return ColorGrade(
        gamma=(normal(0.25, 1) * turned()).exp(),
        gain=((normal(0.12, 3) + normal(0.15, 1)) * turned()).exp(),
        saturation=1 + (saturation - 1) * turned(),
        contrast=(normal(0.2, 1) * turned()).exp(),
        lift=normal(0.05, 3).clamp(-0.1, 0.12) * split,
        shine=normal(0.08, 3) * split,
    )


def _look(
    gamma: float = 1, gain: tuple[float, float, float] = (1, 1, 1), saturation: float = 1, contrast: float = 1,
    lift: tuple[float, float, float] = (0, 0, 0), shine: tuple[float, float, float] = (0, 0, 0),
) -> ColorGrade:  # fmt: skip
    def one(*values: float) -> Tensor:
        return torch.tensor(values, dtype=torch.float32)[None, :, None, None]

    return ColorGrade(one(gamma), one(*gain), one(saturation), one(contrast), one(*lift), one(*shine))


LOOKS: dict[str, ColorGrade] = {
    "noir": _look(gamma=1.2, saturation=0, contrast=1.35),
    "sepia": _look(saturation=0, gain=(1.05, 1.0, 0.95), lift=(0.05, 0.02, -0.03), shine=(0.04, -0.02, -0.12)),
    "night": _look(gamma=1.25, gain=(0.6, 0.75, 1.05), saturation=0.6),
    "teal and orange": _look(contrast=1.15, saturation=1.1, lift=(-0.06, 0.02, 0.07), shine=(0.08, 0.0, -0.08)),
    "faded": _look(gamma=0.85, contrast=0.75, saturation=0.7, lift=(0.06, 0.05, 0.06)),
    "candlelight": _look(gain=(1.2, 0.95, 0.65), saturation=1.15),
}
"""Looks by name, none of which is drawn at random: for trials and pictures."""
