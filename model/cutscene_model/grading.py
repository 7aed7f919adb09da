"""Colour grades: what reference pictures say of a whole session's look, read once when it is opened.

A reference shows some moment of the stage in the look that is wanted. Which colours its surfaces have without that
look, their paint tells; so a small network compares the two and says how colours are to be moved. As colour transfer
between pictures does (Reinhard et al. 2001), it looks at means and deviations, here of a picture's cells. The grade is
laid over every frame of every tier, and does not change while the session lives.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cutscene_model.palette import PALETTE_CHANNELS

TONE_CHANNELS = 6  # of a cell: the mean of red, green and blue, and their deviations
TONE_ROWS, TONE_COLUMNS = 9, 16
TONE_SHAPE = (TONE_CHANNELS, TONE_ROWS, TONE_COLUMNS)
COARSE_ROWS, COARSE_COLUMNS = 72, 128  # a picture as tones see it: finer detail is not their business
TERMS = 10  # of the polynomial that each channel of a grade is: see ``terms``
_LIGHTS = (0.15, 0.4, 0.7, 1.0)  # of white, in which a stage's paint may be seen
_UNSURE = 0.02  # of the range of a colour, by which the reader is off at times where there is no look
_STEP = 1024  # grades are rounded to its fraction, so that machines which add up in another order agree


def coarse(pictures: Tensor) -> Tensor:
    """Pictures (B, 3, 288, 512) to (B, 3, 72, 128), averaged."""
    rows, columns = pictures.shape[2] // COARSE_ROWS, pictures.shape[3] // COARSE_COLUMNS
    return F.avg_pool2d(pictures, (rows, columns))


def tones(pictures: Tensor) -> Tensor:
    """Coarse pictures (B, 3, 72, 128) in 0 to 1 to (B, TONE_CHANNELS, 9, 16)."""
    cell = COARSE_ROWS // TONE_ROWS
    mean = F.avg_pool2d(pictures, cell)
    variance = F.avg_pool2d(pictures.square(), cell) - mean.square()
    return torch.cat([mean, variance.clamp(min=0).sqrt()], dim=1)


def terms(pictures: Tensor) -> Tensor:
    """What a grade mixes of a pixel's colour (B, 3, H, W) in -1 to 1: it, its squares and products, and one."""
    r, g, b = pictures.unbind(1)
    return torch.stack([r, g, b, r * r, g * g, b * b, r * g, g * b, b * r, torch.ones_like(r)], dim=1)


def graded(pictures: Tensor, grade: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) in -1 to 1 under grades (B, 3, TERMS); not clipped."""
    return pictures + torch.einsum("bct,bthw->bchw", grade, terms(pictures))


def steadied(grade: Tensor, palette: Tensor, used: Tensor) -> Tensor:
    """Grades (B, 3, TERMS) that move the colours of their stages' palettes little, less: those of no look, not at all.

    What a reader tells is off by some small amount whatever it sees. Shrunk by a share of that over its own size (James
    and Stein 1961, the positive part), it is nearer to the truth. ``palette`` and ``used`` are those of ``forward``.
    """
    paint, there = palette[..., None, :3] * palette.new_tensor(_LIGHTS)[:, None], used[..., None].to(palette.dtype)
    colors = 2 * paint.permute(0, 3, 1, 2) - 1
    change = (graded(colors, grade) - colors).square().mean(dim=1) / 4
    effect = (change * there).sum(dim=(1, 2)) / (len(_LIGHTS) * there.sum(dim=(1, 2)).clamp(min=1))
    return grade * (1 - _UNSURE**2 / effect).clamp(min=0)[:, None, None]


class GradeReader(nn.Module):
    """Reference pictures' tones and a stage's palette to a grade."""

    def __init__(self, width: int = 96) -> None:
        super().__init__()
        self.width = width
        self.cell = nn.Sequential(nn.Linear(TONE_CHANNELS, width), nn.SiLU(), nn.Linear(width, width))
        self.slot = nn.Sequential(nn.Linear(PALETTE_CHANNELS, width), nn.SiLU(), nn.Linear(width, width))
        self.ask = nn.Linear(width, width)
        self.offer = nn.Linear(width, 2 * width)
        self.mix = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
        )  # fmt: skip
        statistics = 9  # of the cells' mean colours: their mean and the six numbers of their covariance
        last = nn.Linear(2 * width, 3 * TERMS)
        nn.init.zeros_(last.weight)  # an untrained one moves nothing
        nn.init.zeros_(last.bias)
        self.head = nn.Sequential(
            nn.Linear(3 * width + statistics, 2 * width), nn.SiLU(), nn.Linear(2 * width, 2 * width), nn.SiLU(), last
        )  # fmt: skip

    def forward(self, seen: Tensor, palette: Tensor, used: Tensor) -> Tensor:
        """Grades (B, 3, TERMS) of ``seen`` (B, n, TONE_CHANNELS, 9, 16), n pictures each, on stages whose ``palette``
        (B, m, PALETTE_CHANNELS) has the rows that are ``used`` (B, m) bool."""
        cells = seen.flatten(3).transpose(2, 3).flatten(1, 2)
        slots = self.slot(2 * palette - 1)
        x = self.cell(4 * cells - 2)
        # Each cell asks the palette which surfaces it might show.
        keys, values = self.offer(slots).chunk(2, dim=-1)
        logits = self.ask(x) @ keys.transpose(1, 2) / self.width**0.5
        shares = logits.masked_fill(~used[:, None], -1e9).softmax(dim=-1) * used[:, None]
        x = x + shares @ values
        x = x + self.mix(x)
        there = used[..., None].to(x.dtype)
        surfaces = (slots * there).sum(dim=1) / there.sum(dim=1).clamp(min=1)
        pooled = torch.cat([x.mean(dim=1), x.amax(dim=1), surfaces, _statistics(cells[..., :3])], dim=1)
        grades: Tensor = self.head(pooled).unflatten(1, (3, TERMS))
        return grades

    @torch.no_grad()
    def read(self, seen: Tensor, palette: Tensor) -> Tensor:
        """The grade (3, TERMS), rounded, of pictures ``seen`` (n, *TONE_SHAPE) on a stage of that ``palette``."""
        used = torch.ones(1, len(palette), dtype=torch.bool, device=palette.device)
        grade = steadied(self(seen[None], palette[None], used), palette[None], used)
        return (grade[0] * _STEP).round() / _STEP


def _statistics(colors: Tensor) -> Tensor:
    """(B, 9) of colours (B, n, 3)."""
    mean = colors.mean(dim=1)
    centred = colors - mean[:, None]
    covariance = 10 * centred.transpose(1, 2) @ centred / colors.shape[1]
    upper = torch.triu_indices(3, 3, device=colors.device)
    return torch.cat([mean, covariance[:, upper[0], upper[1]]], dim=1)
