"""Whether actors keep their colours: the colour error of each actor's own pixels.

Colours are compared as CIE 1976 L*a*b* under D65 by Euclidean distance (dE76, CIE 15:2004); 2.3 is the usual just
noticeable difference (Mahy et al. 1994). Two figures: the mean distance of pixels, which also counts soft edges and
misplaced shadows, and the distance of the mean colours, to which only a wrong tint or a wrong light adds up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

_XYZ = torch.tensor(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE = _XYZ.sum(dim=1)  # D65


@dataclass(frozen=True, slots=True)
class ActorColor:
    """One actor in one frame."""

    error: float  # dE76, mean over the actor's pixels
    shift: float  # dE76 of the actor's mean colour


def lab(colors: Tensor) -> Tensor:
    """(3, N) sRGB in 0 to 1 (IEC 61966-2-1) as L*a*b*: L* in 0 to 100, a* and b* about -100 to 100."""
    colors = colors.clamp(0, 1)
    linear = torch.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    relative = (_XYZ @ linear) / _WHITE[:, None]
    low = 6 / 29
    x, y, z = torch.where(relative > low**3, relative ** (1 / 3), relative / (3 * low**2) + 4 / 29)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def color_error(result: Tensor, reference: Tensor, mask: Tensor) -> ActorColor:
    """Of pictures (3, H, W) in 0 to 1, where ``mask`` (H, W) is true, which it must be somewhere."""
    ours, theirs = lab(result[:, mask]), lab(reference[:, mask])
    each = (ours - theirs).square().sum(dim=0).sqrt()
    means = ours.mean(dim=1) - theirs.mean(dim=1)
    return ActorColor(float(each.mean()), float(means.square().sum().sqrt()))


def color_errors(result: Tensor, reference: Tensor, masks: Mapping[int, Tensor]) -> dict[int, ActorColor]:
    """``color_error`` of each actor, by cast index, who has pixels."""
    return {actor: color_error(result, reference, mask) for actor, mask in masks.items()}
