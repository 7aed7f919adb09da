"""The draft tier's decoder: what each pixel chooses, told from the surface's finest level alone.

A quarter of the decoder's work: no latent and no wider context, so what it lacks is what those know: softness of
shadows and the last of the outlines.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cutscene_model.decoder import CHOICES, Pointwise, first_guess
from cutscene_model.surface import CELL, LEVEL_CELL, LEVEL_WIDTHS, Surface


class Sketch(nn.Module):
    """A surface to ``Decoder.terms`` of its picture."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        pixels = (CELL * LEVEL_CELL) ** 2  # of the picture in a cell of the finest level
        self.join = Pointwise(LEVEL_WIDTHS[0] + 3 * LEVEL_CELL**2, width)
        self.fine = nn.Conv2d(width, width, 3, padding=1)
        self.choose = Pointwise(width, CHOICES * pixels)
        self.detail = Pointwise(width, 3 * pixels)
        nn.init.zeros_(self.detail.weight)
        nn.init.normal_(self.choose.weight, std=0.01)
        self.detail.bias = nn.Parameter(torch.zeros(3 * pixels))
        self.choose.bias = nn.Parameter(first_guess())

    def forward(self, surface: Surface) -> tuple[Tensor, Tensor]:
        """Logits (B, CHOICES * 16, 72, 128) and detail (B, 3 * 16, 72, 128)."""
        dtype = self.join.weight.dtype
        shaded = F.pixel_unshuffle(surface.shaded.to(dtype), LEVEL_CELL)
        x = F.silu(self.join(torch.cat([F.silu(surface.levels[0].to(dtype)), shaded], dim=1)))
        x = F.silu(x + self.fine(x))
        return self.choose(x), self.detail(x)
