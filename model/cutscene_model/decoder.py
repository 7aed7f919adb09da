"""The decoder: latents and the surface that the greybox shows to a picture, a pure function of the two.

The greybox knows where every edge is to within two pixels and what lies on both sides of it; the latent knows what no
greybox can tell. So the decoder is the rising half of a U-Net (arXiv 1505.04597) over the surface's levels with the
latent at its bottom. Its last step lets every pixel choose among the shaded colours of its cell and the four beside it,
and the background's (convex upsampling, arXiv 2003.12039), which keeps silhouettes sharp, and adds what they lack. A
pixel that was shaded by itself has its own colour to choose in place of its cell's.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cutscene_model.surface import CELL, LEVEL_CELL, LEVEL_WIDTHS, Lacking, Surface

# Of the cells that a pixel chooses among, how far below and right of the one up and left of its own:
PLACES = ((1, 1), (1, 0), (1, 2), (0, 1), (2, 1))  # own, left, right, upper, lower
CHOICES = len(PLACES) + 1  # the last is the background, seen through windows


class Pointwise(nn.Conv2d):
    """A 1 x 1 convolution, as the matrix product that it is.

    On one CPU thread torch would bring channels-last maps into another order for it and back, which takes longer.
    """

    def __init__(self, inner: int, outer: int, bias: bool = True) -> None:
        super().__init__(inner, outer, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


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

    shortcut: Tensor

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.conv = Pointwise(inner, outer * 4)
        # The shortcut as a product: on the CPU cheaper than adding channels where they belong.
        repeats = outer * 4 // inner if outer * 4 % inner == 0 else 1
        shortcut = torch.zeros(outer * 4, inner)
        shortcut[: repeats * inner] = torch.eye(inner).repeat_interleave(repeats, dim=0)
        self.register_buffer("shortcut", shortcut, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        carried = F.linear(x.permute(0, 2, 3, 1), self.shortcut.to(x.dtype)).permute(0, 3, 1, 2)
        return F.pixel_shuffle(self.conv(F.silu(x)) + carried, 2)


class Decoder(nn.Module):
    """Raw latents (B, C, h, w) and a surface of 16 h x 16 w cells to pictures (B, 3, 32 h, 32 w), about -1 to 1."""

    def __init__(self, latent: int = 64, widths: tuple[int, int, int, int, int] = (192, 128, 64, 32, 48)) -> None:
        super().__init__()
        a, b, c, d, e = widths
        fine, half, quarter, eighth = LEVEL_WIDTHS
        self.bottom = nn.Conv2d(latent, a, 3, padding=1)
        self.join_eighth = Pointwise(eighth, a)
        self.rise_eighth = nn.Sequential(Residual(a), Residual(a), _Up(a, b))
        self.join_quarter = Pointwise(quarter, b)
        self.rise_quarter = nn.Sequential(Residual(b), _Up(b, c))
        self.join_half = Pointwise(half, c)
        self.rise_half = nn.Sequential(Residual(c), _Up(c, d))
        self.join_fine = Pointwise(d + fine + 3 * LEVEL_CELL**2, e)
        # Pixels that were shaded by themselves, less their cell's colour: nothing where that was not done.
        self.join_pixels = Pointwise(3 * (CELL * LEVEL_CELL) ** 2, e, bias=False)
        nn.init.zeros_(self.join_pixels.weight)
        self.fine = nn.Conv2d(e, e, 3, padding=1)
        pixels = (CELL * LEVEL_CELL) ** 2  # of the picture in a cell of the finest level
        self.choose = Pointwise(e, CHOICES * pixels)
        self.detail = Pointwise(e, 3 * pixels)
        nn.init.zeros_(self.detail.weight)
        nn.init.normal_(self.choose.weight, std=0.01)
        self.detail.bias = nn.Parameter(torch.zeros(3 * pixels))
        self.choose.bias = nn.Parameter(first_guess())

    def forward(self, latents: Tensor, surface: Surface) -> Tensor:
        return mixed(surface, *self.terms(latents, surface))

    def terms(self, latents: Tensor, surface: Surface) -> tuple[Tensor, Tensor]:
        """What each pixel chooses, as logits (B, CHOICES * 16, 72, 128), and what it adds (B, 3 * 16, 72, 128)."""
        dtype = self.bottom.weight.dtype
        fine, half, quarter, eighth = (F.silu(level.to(dtype)) for level in surface.levels)
        x = self.rise_eighth(self.bottom(latents.to(dtype)) + self.join_eighth(eighth))
        x = self.rise_quarter(x + self.join_quarter(quarter))
        x = self.rise_half(x + self.join_half(half))
        shaded = F.pixel_unshuffle(surface.shaded.to(dtype), LEVEL_CELL)
        x = self.join_fine(torch.cat([F.silu(x), fine, shaded], dim=1))
        if surface.lacking is not None:
            x = self._with_pixels(x, surface.lacking)
        x = F.silu(x)
        x = F.silu(x + self.fine(x))
        return self.choose(x), self.detail(x)

    def _with_pixels(self, x: Tensor, lacking: Lacking) -> Tensor:
        """``x`` (B, e, rows, columns) with what ``join_pixels`` makes of the blocks' pixels."""
        # As a map of one column, for that is what the layer takes.
        joined = self.join_pixels(lacking.pixels.to(x.dtype).T[None, :, :, None])[0, :, :, 0].T
        blocks = x.permute(0, 2, 3, 1)
        flat = blocks.flatten(0, 2)
        block = lacking.block
        flat = flat + joined if block is None else flat.index_add(0, block, joined[: len(block)])
        return flat.view_as(blocks).permute(0, 3, 1, 2)


def first_guess() -> Tensor:
    """Biases of what a pixel chooses, before anything is learnt: its cell's own colour first, the background last."""
    guess = torch.zeros(CHOICES, (CELL * LEVEL_CELL) ** 2)
    guess[0], guess[-1] = 3, -3
    return guess.flatten()


def mixed(surface: Surface, logits: Tensor, detail: Tensor) -> Tensor:
    """The picture (B, 3, 288, 512) that ``Decoder.terms`` of a surface make."""
    # The finest level's channels are its greybox cells', one after the other, choice by choice and pixel by pixel.
    logits, detail = F.pixel_shuffle(logits.float(), LEVEL_CELL), F.pixel_shuffle(detail.float(), LEVEL_CELL)
    return F.pixel_shuffle(_chosen(surface, logits) + detail, CELL)


def _chosen(surface: Surface, logits: Tensor) -> Tensor:
    """Each pixel's mixture of its own, the cells' around it and the background's colours: (B, 3 * 4, rows, columns)."""
    weights = logits.unflatten(1, (CHOICES, CELL**2)).softmax(dim=1)
    around = F.pad(surface.shaded, (1, 1, 1, 1), mode="replicate")
    rows, columns = surface.shaded.shape[2:]
    total = weights[:, None, -1] * surface.background[:, :, None, None, None]
    for index, (top, left) in enumerate(PLACES):
        color = around[:, :, None, top : top + rows, left : left + columns]
        if index == 0 and surface.lacking is not None:
            blocks = surface.lacking.everywhere(len(color), rows // LEVEL_CELL, columns // LEVEL_CELL)
            pixels = F.pixel_shuffle(blocks, CELL * LEVEL_CELL)
            color = color + F.pixel_unshuffle(pixels, CELL).unflatten(1, (3, CELL**2))
        total = torch.addcmul(total, weights[:, None, index], color)
    return total.flatten(1, 2)
