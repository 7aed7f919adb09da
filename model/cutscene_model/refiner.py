"""The last touch: detail that a latent is too coarse to hold, painted from the greybox.

A latent cell is 32 x 32 pixels; silhouettes, faces and edges lie far below that, and predicting them in latent space is
what a small denoiser learns last. The greybox has them at 4 pixels. The refiner looks every greybox cell up by itself,
as deferred neural rendering does (arXiv 1904.12356), and adds what it paints to the decoder's picture, so that edges
fall where the scene puts them. A frame is thus a function of (latent, scene state), both of which a session keeps.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from cutscene_model.conditioning import CellEncoder, GreyboxBatch


class Refiner(nn.Module):
    """Adds to the decoder's picture at full size."""

    def __init__(self, slot_width: int, hidden: int = 64, cell: int = 64) -> None:
        super().__init__()
        self.cells = CellEncoder(slot_width, cell)
        self.mix = nn.Linear(cell, cell)
        self.hidden = nn.Conv2d(hidden, 4 * cell, 1)
        self.paint = nn.Conv2d(cell, 3 * 16, 3, padding=1)
        nn.init.normal_(self.paint.weight, std=0.01)

    def forward(self, features: Tensor, greybox: GreyboxBatch, slots: Tensor) -> Tensor:
        """What to add, (B, 3, 288, 512); ``features`` (B, 64, 36, 64) are the decoder's."""
        x = self.mix(self.cells(greybox, slots)).permute(0, 3, 1, 2)
        x = F.silu(x + F.pixel_shuffle(self.hidden(features), 2))
        return F.pixel_shuffle(self.paint(x), 4)
