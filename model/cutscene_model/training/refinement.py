"""What training shows the decoder of pixels that are shaded by themselves: here all that differ, there only outlines.

Tiers differ in which cells are refined, and a release may choose anew, so the decoder is trained on every choice.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor

from cutscene_model.decoder import CELL
from cutscene_model.surface import Surface

_CONTRASTS = (0.06, 0.12, 0.25, 2.0)  # as the manifest's; at 2 only outlines are refined
_SHARE = 0.6  # of a batch, that is refined at all


def refined(surface: Surface, slot: Tensor, pixels: Tensor) -> Surface:
    """``surface`` with some of its ``pixels`` (B, 3, 2 H, 2 W), -1 to 1; ``slot`` (B, H, W) is the greybox's."""
    batch = len(slot)
    chosen = torch.tensor(_CONTRASTS)[torch.randint(len(_CONTRASTS), (batch,))]
    chosen[torch.rand(batch) >= _SHARE] = torch.inf
    return sharpened(surface, slot, pixels, chosen)


def sharpened(surface: Surface, slot: Tensor, pixels: Tensor, contrast: Tensor) -> Surface:
    """``surface`` with those of its ``pixels`` whose cells differ by ``contrast`` (B,) from one beside them."""
    coarse = F.interpolate(surface.shaded, scale_factor=CELL)
    cells = F.interpolate(contrasted(slot, surface.shaded, contrast).float(), scale_factor=CELL) > 0
    return dataclasses.replace(surface, fine=torch.where(cells, pixels, coarse))


def contrasted(slot: Tensor, shaded: Tensor, contrast: Tensor) -> Tensor:
    """(B, 1, H, W): ``shading.contrasted`` for batches; ``contrast`` (B,), where infinity means no cell at all."""
    outlines = (_range(slot[:, None].float()) > 0).any(dim=1, keepdim=True)
    differs = (_range(shaded.detach()) > contrast[:, None, None, None]).any(dim=1, keepdim=True)
    return (outlines | differs) & contrast.isfinite()[:, None, None, None]


def _range(x: Tensor) -> Tensor:
    """By how much a cell of the eight around may differ from a cell, channel by channel."""
    most, least = F.max_pool2d(x, 3, 1, 1), -F.max_pool2d(-x, 3, 1, 1)
    return torch.maximum(most - x, x - least)
