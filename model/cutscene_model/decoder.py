"""The decoder: latents and the surface that the greybox shows to a picture, a pure function of the two.

The greybox knows where every edge is to within two pixels and what lies on both sides of it; the latent knows what no
greybox can tell. So the decoder is the rising half of a U-Net (arXiv 1505.04597) over the surface's levels with the
latent at its bottom. Its last step lets every pixel choose among the shaded colours of its cell and the four beside it,
and the background's (convex upsampling, arXiv 2003.12039), which keeps silhouettes sharp, and adds what they lack.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cutscene_model.surface import LEVEL_CELL, LEVEL_WIDTHS, Surface

CELL = 2  # pixels of the picture along a greybox cell
_CHOICES = 6  # a cell's own colour; left, right, upper, lower; and the background, seen through windows


class Residual(nn.Module):
    """Two 3 x 3 convolutions around a SiLU, added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.silu(self.first(F.silu(x))))


class _Up(nn.Module):
    """Doubles height and width; the shortcut repeats channels before depth-to-space (DC-AE, arXiv 2410.10733).

    Where channels do not divide, it fills the first of them and leaves the others to the convolution.
    """

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inner, outer * 4, 1)
        self.outer = outer

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(F.silu(x))
        # The shortcut is added where it belongs, for to build it first costs more than the convolution.
        have = x.shape[1]
        repeats = y.shape[1] // have if y.shape[1] % have == 0 else 1
        y[:, : repeats * have].unflatten(1, (have, repeats)).add_(x[:, :, None])
        return F.pixel_shuffle(y, 2)


class Decoder(nn.Module):
    """Raw latents (B, C, h, w) and a surface of 16 h x 16 w cells to pictures (B, 3, 32 h, 32 w), about -1 to 1."""

    def __init__(self, latent: int = 64, widths: tuple[int, int, int, int, int] = (192, 128, 64, 32, 48)) -> None:
        super().__init__()
        a, b, c, d, e = widths
        fine, half, quarter, eighth = LEVEL_WIDTHS
        self.bottom = nn.Conv2d(latent, a, 3, padding=1)
        self.join_eighth = nn.Conv2d(eighth, a, 1)
        self.rise_eighth = nn.Sequential(Residual(a), Residual(a), _Up(a, b))
        self.join_quarter = nn.Conv2d(quarter, b, 1)
        self.rise_quarter = nn.Sequential(Residual(b), _Up(b, c))
        self.join_half = nn.Conv2d(half, c, 1)
        self.rise_half = nn.Sequential(Residual(c), _Up(c, d))
        self.join_fine = nn.Conv2d(d + fine + 3 * LEVEL_CELL**2, e, 1)
        self.fine = nn.Conv2d(e, e, 3, padding=1)
        pixels = (CELL * LEVEL_CELL) ** 2  # of the picture in a cell of the finest level
        self.choose = nn.Conv2d(e, _CHOICES * pixels, 1)
        self.detail = nn.Conv2d(e, 3 * pixels, 1)
        nn.init.zeros_(self.detail.weight)
        nn.init.normal_(self.choose.weight, std=0.01)
        self.detail.bias = nn.Parameter(torch.zeros(3 * pixels))
        # A cell's own colour is the first guess, the background the last.
        guess = torch.zeros(_CHOICES, pixels)
        guess[0], guess[-1] = 3, -3
        self.choose.bias = nn.Parameter(guess.flatten())

    def forward(self, latents: Tensor, surface: Surface) -> Tensor:
        fine, half, quarter, eighth = (F.silu(level) for level in surface.levels)
        x = self.rise_eighth(self.bottom(latents) + self.join_eighth(eighth))
        x = self.rise_quarter(x + self.join_quarter(quarter))
        x = self.rise_half(x + self.join_half(half))
        shaded = F.pixel_unshuffle(surface.shaded, LEVEL_CELL)
        x = F.silu(self.join_fine(torch.cat([F.silu(x), fine, shaded], dim=1)))
        x = F.silu(x + self.fine(x))
        # The finest level's channels are its greybox cells', one after the other, choice by choice and pixel by pixel.
        choices = F.pixel_shuffle(self.choose(x), LEVEL_CELL)
        detail = F.pixel_shuffle(self.detail(x), LEVEL_CELL)
        return F.pixel_shuffle(_chosen(surface.shaded, surface.background, choices) + detail, CELL)


def _chosen(shaded: Tensor, background: Tensor, logits: Tensor) -> Tensor:
    """Each pixel's mixture of its cell's, the neighbours' and the background's colours: (B, 3 * 4, rows, columns)."""
    weights = logits.unflatten(1, (_CHOICES, CELL**2)).softmax(dim=1)
    around = F.pad(shaded, (1, 1, 1, 1), mode="replicate")
    rows, columns = shaded.shape[2:]
    places = ((1, 1), (1, 0), (1, 2), (0, 1), (2, 1))  # own, left, right, upper, lower
    total = weights[:, None, -1] * background[:, :, None, None, None]
    for index, (top, left) in enumerate(places):
        color = around[:, :, None, top : top + rows, left : left + columns]
        total = torch.addcmul(total, weights[:, None, index], color)
    return total.flatten(1, 2)
