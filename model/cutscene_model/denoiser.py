"""The denoiser: a causal diffusion transformer over one frame's latent cells.

It attends to the frame's own cells, to the anchors, and to the frame blocks of the window. A block's keys and values
are made by the memory encoder from that frame alone, so that blocks do not depend on one another; time enters by
rotating cached keys by their age when they are read. Anchors, what each slot looks like, have no age. It predicts the
clean latent (x-prediction).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cutscene_model.greybox import GLOBAL_CHANNELS
from cutscene_model.surface import LEVEL_WIDTHS, GreyboxBatch

LATENT_ROWS, LATENT_COLUMNS = 9, 16
CELLS = LATENT_ROWS * LATENT_COLUMNS
MEMORY_CELLS = 40  # a block keeps 5 x 8 cells: 2 x 2 latent cells each
SUMMARY_CHANNELS = 16  # of the greybox, averaged over a latent cell: see frame_summary
CAMERA_CHANNELS = 12
TIME_PAIRS = 8  # pairs of key channels that turn with age


@dataclass(frozen=True, slots=True)
class Memory:
    """Keys and values by layer for n cells; keys are normalised and not rotated."""

    keys: Tensor  # (layers, B, heads, n, head_width)
    values: Tensor  # (layers, B, heads, n, head_width)


@dataclass(frozen=True, slots=True)
class Conditioning:
    """What of a frame's scene state stays the same over its denoising steps."""

    tokens: Tensor  # (B, 144, width)
    scene: Tensor  # (B, GLOBAL_CHANNELS)


def frame_summary(greybox: GreyboxBatch) -> Tensor:
    """What a block remembers of the greybox: fields and the cast's shares, averaged by latent cell: (B, 16, 9, 16).

    Of the cells in even rows and columns, a quarter of them: it is means that are wanted.
    """
    slot, field = greybox.slot[:, ::2, ::2], greybox.field[..., ::2, ::2]
    cast = torch.stack([(slot == member).float() for member in range(1, 5)], dim=1)
    return F.avg_pool2d(torch.cat([field, cast], dim=1), 8)


class _GlobalEncoder(nn.Module):
    """Lights, lens and the noise level to one vector (B, width) that modulates every block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scene = nn.Linear(GLOBAL_CHANNELS, width)
        self.level = nn.Linear(32, width)
        self.mix = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def forward(self, scene: Tensor, level: Tensor) -> Tensor:
        """``scene`` (B, GLOBAL_CHANNELS); ``level`` (B,) in 0 (clean) to 1 (pure noise)."""
        angles = level[:, None] * torch.exp(torch.linspace(0, 4, 16, device=level.device))
        return self.mix(self.scene(scene) + self.level(torch.cat([angles.sin(), angles.cos()], dim=-1)))


class _MemoryEncoder(nn.Module):
    """One frame's clean latent and summary to memory cells (B, 40, width)."""

    def __init__(self, latent: int, width: int) -> None:
        super().__init__()
        self.cells = nn.Conv2d(latent + SUMMARY_CHANNELS, width, 2, stride=2)
        self.camera = nn.Linear(CAMERA_CHANNELS, width)
        self.place = nn.Parameter(torch.randn(MEMORY_CELLS, width) * 0.02)
        self.mix = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))
        self.norm = nn.LayerNorm(width)

    def forward(self, latent: Tensor, summary: Tensor, camera: Tensor) -> Tensor:
        x = F.pad(torch.cat([latent, summary], dim=1), (0, 0, 0, 1))
        x = self.cells(x).flatten(2).transpose(1, 2) + self.camera(camera)[:, None] + self.place
        return self.norm(x + self.mix(x))


class _Block(nn.Module):
    """Attention and a gated-linear feed-forward, modulated by the global vector (adaLN, arXiv 2212.09748)."""

    def __init__(self, width: int, heads: int, feed: int) -> None:
        super().__init__()
        self.heads, self.head_width = heads, width // heads
        self.product_dtype: torch.dtype | None = None  # None: that of what comes in
        self.modulation = nn.Linear(width, 6 * width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.memory_kv = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.up = nn.Linear(width, 2 * feed)
        self.down = nn.Linear(feed, width)
        for layer in (self.modulation, self.out, self.down):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def set_product_dtype(self, dtype: torch.dtype) -> None:
        """See ``Denoiser``."""
        self.product_dtype = dtype
        for layer in (self.qkv, self.out, self.up, self.down):
            layer.to(dtype)

    def _split(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        split = x.reshape(*x.shape[:-1], parts, self.heads, self.head_width)
        return tuple(split[:, :, part].transpose(1, 2) for part in range(parts))

    def remember(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Memory or anchor cells (B, n, width) to keys, normalised but not rotated, and values."""
        keys, values = self._split(self.memory_kv(cells), 2)
        return _normalised(keys), values

    def forward(self, x: Tensor, signal: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """``keys`` and ``values`` (B, heads, n, head_width) are those of anchors and window, rotated already."""
        shift, scale, gate, feed_shift, feed_scale, feed_gate = self.modulation(signal)[:, None].chunk(6, dim=-1)
        y = F.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift
        narrow = x.dtype if self.product_dtype is None else self.product_dtype  # sums stay as they come
        q, k, v = self._split(self.qkv(y.to(narrow)), 3)
        keys, values = torch.cat([_normalised(k), keys.to(narrow)], dim=2), torch.cat([v, values.to(narrow)], dim=2)
        attended = F.scaled_dot_product_attention(_normalised(q), keys, values, mask)
        x = x + (1 + gate) * self.out(attended.transpose(1, 2).flatten(2)).to(x.dtype)
        y = F.layer_norm(x, x.shape[-1:]) * (1 + feed_scale) + feed_shift
        a, b = self.up(y.to(narrow)).chunk(2, dim=-1)
        return x + (1 + feed_gate) * self.down(F.silu(a) * b).to(x.dtype)


def _normalised(x: Tensor) -> Tensor:
    """Root-mean-square normalisation with a fixed gain (query-key norm, arXiv 2010.04245)."""
    return F.rms_norm(x, x.shape[-1:]) * math.sqrt(math.sqrt(x.shape[-1]) * 0.6)


def rotated(keys: Tensor, age: Tensor) -> Tensor:
    """Turns the first channels of cached keys by their age, so that a query at age 0 sees how old they are.

    ``keys`` (..., n, head_width); ``age`` (B, n) in frames, broadcast over layers and heads.
    """
    rates = torch.exp(torch.linspace(0, -4, TIME_PAIRS, device=keys.device))  # radians a frame
    angle = (age[:, None, :, None] * rates).to(keys.dtype)
    cos, sin = angle.cos(), angle.sin()
    a, b, rest = keys[..., :TIME_PAIRS], keys[..., TIME_PAIRS : 2 * TIME_PAIRS], keys[..., 2 * TIME_PAIRS :]
    return torch.cat([a * cos - b * sin, a * sin + b * cos, rest], dim=-1)


class Denoiser(nn.Module):
    """Everything between the greybox's surface and the clean latent."""

    def __init__(
        self,
        latent: int = 64,
        width: int = 192,
        layers: int = 4,
        heads: int = 4,
        feed: int = 384,
        slot_width: int = 64,
    ) -> None:
        super().__init__()
        self.regard = nn.Conv2d(LEVEL_WIDTHS[-1], width, 1)
        self.signal = _GlobalEncoder(width)
        self.memory = _MemoryEncoder(latent, width)
        self.anchor = nn.Linear(slot_width, width)
        self.sink = nn.Parameter(torch.randn(1, width) * 0.02)
        self.enter = nn.Linear(latent, width)
        self.place = nn.Parameter(torch.randn(CELLS, width) * 0.02)
        self.blocks = nn.ModuleList(_Block(width, heads, feed) for _ in range(layers))
        self.leave = nn.Linear(width, latent)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def set_product_dtype(self, dtype: torch.dtype) -> None:
        """The number format of the blocks' products, which are most of the work."""
        for block in self.blocks:
            block.set_product_dtype(dtype)  # type: ignore[operator]

    def condition(self, scene: Tensor, coarse: Tensor) -> Conditioning:
        """The part that is done once a frame, from the greybox's globals and the surface's coarsest level."""
        return Conditioning(self.regard(F.silu(coarse).to(self.regard.weight.dtype)).flatten(2).transpose(1, 2), scene)

    def anchors(self, slots: Tensor) -> Memory:
        """Anchor blocks: one cell a slot (B, 65, slot_width), and one that is always there for attention to rest on."""
        cells = torch.cat([self.sink.expand(len(slots), 1, -1), self.anchor(slots)], dim=1)
        return self._remember(cells)

    def block(self, latent: Tensor, summary: Tensor, camera: Tensor) -> Memory:
        """A frame's block: from its clean latent (B, C, 9, 16), greybox summary and camera, and from nothing else."""
        return self._remember(self.memory(latent, summary, camera))

    def _remember(self, cells: Tensor) -> Memory:
        pairs = [block.remember(cells) for block in self.blocks]  # type: ignore[operator]
        return Memory(torch.stack([k for k, _ in pairs]), torch.stack([v for _, v in pairs]))

    def forward(
        self, noisy: Tensor, level: Tensor, conditioning: Conditioning, memory: Memory, mask: Tensor | None = None
    ) -> Tensor:
        """Predicts the clean latent.

        ``noisy`` (B, C, 9, 16) is (1 - level) clean + level noise; ``level`` (B,); ``memory`` holds anchors and window
        with keys rotated; ``mask`` (B, 1, 1, 144 + n) is added to the attention logits. Returns (B, C, 9, 16).
        """
        signal = self.signal(conditioning.scene, level)
        x = self.enter(noisy.flatten(2).transpose(1, 2)) + conditioning.tokens + self.place
        for index, block in enumerate(self.blocks):
            x = block(x, signal, memory.keys[index], memory.values[index], mask)
        x = self.leave(F.layer_norm(x, x.shape[-1:]))
        return x.transpose(1, 2).unflatten(2, (LATENT_ROWS, LATENT_COLUMNS))
