"""Faces: brows, eyes and mouth, painted onto the front of a head by what the actor feels and says.

A small network of place and expression, in the manner of coordinate networks with Fourier features
(arXiv 2006.10739). It is asked for the cells of a head's front only, which are few.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cutscene_model.greybox import ACTOR_CHANNELS
from cutscene_model.primitives import HEAD_PART

if TYPE_CHECKING:
    from cutscene_model.surface import GreyboxBatch

_WAVES = (1.0, 2.0, 4.0, 8.0, 16.0)  # half turns over a quarter of a metre: the finest is three centimetres long
CENTER, REACH = (0.0, 0.38), (0.46, 0.46)  # of the face, in the head's own frame, metres
_FRONT = 0.12  # metres before the head's joint


class FaceEncoder(nn.Module):
    """Paints faces over the albedo of heads."""

    def __init__(self, costumes: int, width: int = 96) -> None:
        super().__init__()
        self.place = nn.Linear(2 + 4 * len(_WAVES), width)
        self.mood = nn.Linear(ACTOR_CHANNELS, 2 * width)
        self.wearer = nn.Embedding(costumes + 1, 2 * width)
        self.second = nn.Linear(width, width)
        self.third = nn.Linear(width, width)
        self.paint = nn.Linear(width, 4)
        nn.init.constant_(self.paint.bias, -2.0)

    def forward(self, albedo: Tensor, greybox: GreyboxBatch, costume: Tensor) -> Tensor:
        """``albedo`` (B, H, W, 3) linear, with faces painted over; ``costume`` (B, 65) by slot."""
        slot, part, field, actors = greybox.slot, greybox.part, greybox.field, greybox.actors
        x, y, z = field[:, 1], field[:, 2], field[:, 3]
        front = (part == HEAD_PART) & (z > _FRONT)
        front &= ((x - CENTER[0]).abs() < REACH[0]) & ((y - CENTER[1]).abs() < REACH[1])
        where = front.nonzero(as_tuple=True)
        if not len(where[0]):
            return albedo
        owner = slot[where].long()
        place = torch.stack([x[where] - CENTER[0], y[where] - CENTER[1]], dim=-1)
        state = self.mood(actors.to(self.mood.weight.dtype)) + self.wearer(
            costume[:, 1 : 1 + actors.shape[1]]
        )  # (B, 4, 2 * width)
        paint = self.painted(place, F.embedding(where[0] * actors.shape[1] + owner - 1, state.flatten(0, 1)))
        under = albedo[where]
        cover = paint[:, 3:]
        return albedo.index_put(where, under + cover * (paint[:, :3].square() - under))

    def painted(self, place: Tensor, state: Tensor) -> Tensor:
        """Square roots of linear colours, and coverage, (n, 4) in 0 to 1.

        ``place`` (n, 2) is metres from the face's middle; ``state`` (n, 2 * width) sums ``mood`` and ``wearer``.
        """
        place = 4 * place
        waves = [f(math.pi * k * place) for k in _WAVES for f in (torch.sin, torch.cos)]
        gain, shift = state.chunk(2, dim=-1)
        known = torch.cat([place, *waves], dim=-1).to(self.place.weight.dtype)
        h = F.silu(torch.addcmul(shift, self.place(known), 1 + gain))
        h = F.silu(h + self.second(h))
        h = F.silu(h + self.third(h))
        return torch.sigmoid(self.paint(h).float())
