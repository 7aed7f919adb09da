"""What training shows the decoder of pixels that are shaded by themselves: here all that differ, there only outlines.

Tiers differ in which cells are refined, and a release may choose anew, so the decoder is trained on every choice.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor

from cutscene_model.surface import CELL, Surface, lacking

CONTRAST = {"standard": 1.0, "high": 0.12}  # of the tiers: see ``manifest``
_CONTRASTS = (0.06, 0.12, 0.4, 1.0)
_SHARE = 0.6  # of a batch, that is refined at all


def refined(surface: Surface, pixels: Tensor) -> Surface:
    """``surface`` with some of its ``pixels`` (B, 3, 2 H, 2 W), -1 to 1."""
    batch = len(pixels)
    chosen = torch.tensor(_CONTRASTS)[torch.randint(len(_CONTRASTS), (batch,))]
    chosen[torch.rand(batch) >= _SHARE] = torch.inf
    return sharpened(surface, pixels, chosen)


def sharpened(surface: Surface, pixels: Tensor, contrast: Tensor) -> Surface:
    """``surface`` with those of its ``pixels`` whose cells differ by ``contrast`` (B,) from one beside them."""
    coarse = F.interpolate(surface.shaded, scale_factor=CELL)
    cells = F.interpolate(contrasted(surface.shaded, contrast).float(), scale_factor=CELL) > 0
    return dataclasses.replace(surface, lacking=lacking(torch.where(cells, pixels, coarse), surface.shaded))


def contrasted(shaded: Tensor, contrast: Tensor) -> Tensor:
    """(B, 1, H, W): ``shading.contrasted`` for batches; ``contrast`` (B,)."""
    x = shaded.detach()
    most, least = F.max_pool2d(x, 3, 1, 1), -F.max_pool2d(-x, 3, 1, 1)
    return (torch.maximum(most - x, x - least) > contrast[:, None, None, None]).any(dim=1, keepdim=True)
