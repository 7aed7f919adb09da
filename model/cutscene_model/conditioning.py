"""From the greybox to tokens: slots are bound to their anchors' looks cell by cell, then pooled to the latent grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cutscene_model.greybox import ACTOR_CHANNELS, FIELD_CHANNELS, GLOBAL_CHANNELS
from cutscene_model.primitives import HEAD_PART, PART_COUNT, SLOT_COUNT
from cutscene_model.scene import MAX_CAST, ElementClass

_FOURIER = (1.0, 2.0, 4.0)  # half turns over the unit of a local coordinate


@dataclass(frozen=True, slots=True)
class GreyboxBatch:
    """Control maps of B frames as tensors."""

    slot: Tensor  # (B, 72, 128) uint8
    part: Tensor  # (B, 72, 128) uint8
    field: Tensor  # (B, len(FIELD_CHANNELS), 72, 128) float32
    actors: Tensor  # (B, 4, ACTOR_CHANNELS) float32
    globals: Tensor  # (B, GLOBAL_CHANNELS) float32


@dataclass(frozen=True, slots=True)
class AnchorBatch:
    """Anchor tables of B stages as tensors."""

    costume: Tensor  # (B, 65) int64
    headgear: Tensor  # (B, 65) int64
    element_class: Tensor  # (B, 65) int64
    look: Tensor  # (B, 65) int64
    tint: Tensor  # (B, 65, 3) float32


class SlotEncoder(nn.Module):
    """Anchor descriptors to one feature vector a slot, (B, 65, width); an empty slot is zero."""

    def __init__(self, costumes: int, looks: int, width: int) -> None:
        super().__init__()
        self.costume = nn.Embedding(costumes + 1, width)
        self.headgear = nn.Embedding(2 * (costumes + 1), width)
        self.element_class = nn.Embedding(max(ElementClass) + 1, width)
        self.look = nn.Embedding(looks + 1, width)
        self.tint = nn.Linear(3, width)
        self.mix = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def forward(self, anchors: AnchorBatch) -> Tensor:
        x = self.costume(anchors.costume) + self.headgear(2 * anchors.costume + anchors.headgear)
        x = x + self.element_class(anchors.element_class) + self.look(anchors.look) + self.tint(anchors.tint - 1)
        used = (anchors.costume + anchors.element_class) > 0
        return (x + self.mix(x)) * used[..., None]


class CellEncoder(nn.Module):
    """What each greybox cell shows, on its own: (B, 72, 128, width).

    It sees where on which bone or box the cell lies, under which light, and, through the slot, whose. It is what a
    texture look-up is in a renderer.
    """

    def __init__(self, slot_width: int, width: int) -> None:
        super().__init__()
        self.width = width
        fields = len(FIELD_CHANNELS) + 3 * 2 * len(_FOURIER)
        self.field = nn.Linear(fields, width)
        self.slot_gain = nn.Linear(slot_width, width)
        self.slot_shift = nn.Linear(slot_width, width)
        self.part = nn.Embedding(PART_COUNT, 2 * width)
        self.face = nn.Linear(ACTOR_CHANNELS, width)

    def forward(self, greybox: GreyboxBatch, slots: Tensor) -> Tensor:
        batch = len(greybox.slot)
        local = greybox.field[:, 1:4]
        waves = [f(math.pi * k * local) for k in _FOURIER for f in (torch.sin, torch.cos)]
        x = self.field(torch.cat([greybox.field, *waves], dim=1).permute(0, 2, 3, 1))

        # What slot and part say is one row of a small table, so that each cell needs a single look-up.
        by_slot = torch.cat([1 + self.slot_gain(slots), self.slot_shift(slots)], dim=-1)  # (B, 65, 2 * width)
        table = by_slot[:, :, None] + self.part.weight  # (B, 65, PART_COUNT, 2 * width)
        # Faces: an actor's emotion and mouth reach its head's cells only.
        faces = F.pad(self.face(greybox.actors), (self.width, 0, 1, SLOT_COUNT - 1 - MAX_CAST))
        head = torch.zeros(PART_COUNT, 1, device=x.device)
        head[HEAD_PART] = 1
        table = (table + faces[:, :, None] * head).flatten(0, 2)
        offset = torch.arange(batch, device=x.device)[:, None, None] * (SLOT_COUNT * PART_COUNT)
        row = greybox.slot.long() * PART_COUNT + greybox.part.long() + offset
        gain, shift = F.embedding(row, table).chunk(2, dim=-1)
        return F.silu(torch.addcmul(shift, x, gain))


class GreyboxEncoder(nn.Module):
    """Greybox and slot features to one token a latent cell, (B, 144, width)."""

    def __init__(
        self, slot_width: int, width: int, cell: int = 96, widths: tuple[int, int, int] = (64, 96, 160)
    ) -> None:
        super().__init__()
        a, b, c = widths
        self.cells = CellEncoder(slot_width, cell)
        self.narrow = nn.Linear(cell, a)
        self.layers = nn.Sequential(
            nn.SiLU(), nn.Conv2d(a, b, 3, stride=2, padding=1),
            nn.SiLU(), nn.Conv2d(b, c, 3, stride=2, padding=1),
            nn.SiLU(), nn.Conv2d(c, width, 3, stride=2, padding=1),
        )  # fmt: skip

    def forward(self, greybox: GreyboxBatch, slots: Tensor) -> Tensor:
        x = self.narrow(self.cells(greybox, slots)).permute(0, 3, 1, 2)
        return self.layers(x).flatten(2).transpose(1, 2)


class GlobalEncoder(nn.Module):
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
