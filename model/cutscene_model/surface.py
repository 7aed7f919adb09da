"""What the greybox shows once its slots are bound to their looks: a coarse shaded picture, and features at four scales.

This is deferred shading (Deering et al. 1988) with a learnt material look-up, as in deferred neural rendering
(arXiv 1904.12356). Denoiser and decoder both read it: the denoiser its coarsest level, the decoder all of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cutscene_model.greybox import ACTOR_CHANNELS, FIELD_CHANNELS
from cutscene_model.primitives import BOX_PART, FURTHER_PART, HEAD_PART, PART_COUNT, SLOT_COUNT
from cutscene_model.scene import MAX_CAST, ElementClass

_FACES = PART_COUNT - BOX_PART  # textures of a look: its six faces, and two for its further parts
_BACKGROUND = slice(12, 15)  # the background's colour among the globals
LEVEL_WIDTHS = (48, 96, 160, 256)
_LIGHT = slice(15, 18)  # the irradiance among the field channels
_FOURIER = (1.0, 2.0, 4.0, 8.0)  # half turns over the unit of a local coordinate


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


@dataclass(frozen=True, slots=True)
class Surface:
    """What B greyboxes show. Feature levels are at 128 x 72, 64 x 36, 32 x 18 and 16 x 9 cells."""

    shaded: Tensor  # (B, 3, 72, 128): each cell's own colour under its light, -1 to 1
    background: Tensor  # (B, 3): what is seen past everything, -1 to 1
    levels: tuple[Tensor, ...]  # (B, LEVEL_WIDTHS[k], 72 / 2**k, 128 / 2**k)


@dataclass(frozen=True, slots=True)
class SlotLooks:
    """What the anchors say of every slot, computed once at open."""

    features: Tensor  # (B, 65, slot width)
    textures: Tensor  # (B, 65) int64: the first of the slot's rows in ``Textures``


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


class Textures(nn.Module):
    """Learnt textures, one a box face of every look and one a bone of every costume: (B, 72, 128, width).

    A grid of features learns fine patterns in a fraction of the steps that a network of sines needs (arXiv 2201.05989).
    Boxes are mapped face by face; bones are mapped as cylinders, with the seam behind.
    """

    SIZE = 32  # texels along either side
    FEATURES = 6
    GAIN = 8.0  # texels are seen by few cells a step: they learn faster by this

    def __init__(self, costumes: int, looks: int, width: int) -> None:
        super().__init__()
        self._first_bone = _FACES * looks
        self._none = self._first_bone + 2 * costumes * BOX_PART
        self.texels = nn.Parameter(0.02 * torch.randn((self._none + 1) * self.SIZE**2, self.FEATURES))
        self.mix = nn.Linear(self.FEATURES, width)

    def rows(self, anchors: AnchorBatch) -> Tensor:
        """The first row of each slot: (B, 65)."""
        costume = self._first_bone + (2 * (anchors.costume - 1) + anchors.headgear) * BOX_PART
        look = torch.where(anchors.look > 0, _FACES * (anchors.look - 1), self._none)
        return torch.where(anchors.costume > 0, costume, look)

    def forward(self, greybox: GreyboxBatch, rows: Tensor) -> Tensor:
        local, part = greybox.field[:, 1:4], greybox.part.long()
        x, y, z = local.unbind(dim=1)
        bone = part < BOX_PART
        face = part - BOX_PART
        axis = torch.where(part < FURTHER_PART, face.div(2, rounding_mode="floor"), local.abs().argmax(dim=1))
        u = torch.where(bone, torch.atan2(x, z) / math.pi, torch.where(axis == 0, z, x))
        v = torch.where(bone, y / (1 + y.abs()), torch.where(axis == 1, z, y))
        row = rows.gather(1, greybox.slot.flatten(1).long()).view_as(part) + torch.where(bone, part, face)

        last = self.SIZE - 1
        u, v = ((coordinate.clamp(-1, 1) + 1) * (last / 2) for coordinate in (u, v))
        left, top = u.long().clamp(max=last - 1), v.long().clamp(max=last - 1)
        u, v = u - left, v - top
        first = (row * self.SIZE + top) * self.SIZE + left
        corners = torch.stack([first, first + 1, first + self.SIZE, first + self.SIZE + 1], dim=-1)
        shares = torch.stack([(1 - u) * (1 - v), u * (1 - v), (1 - u) * v, u * v], dim=-1)
        texel = (F.embedding(corners, self.texels) * shares[..., None]).sum(dim=-2)
        mixed: Tensor = self.mix(self.GAIN * texel)
        return mixed


class CellEncoder(nn.Module):
    """What each greybox cell shows, on its own: (B, 72, 128, width).

    It sees where on which bone or box the cell lies, under which light, and, through the slot, whose. It is what a
    texture look-up is in a renderer.
    """

    def __init__(self, costumes: int, looks: int, slot_width: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.textures = Textures(costumes, looks, width)
        fields = len(FIELD_CHANNELS) + 3 * 2 * len(_FOURIER)
        self.field = nn.Linear(fields, width)
        self.slot_gain = nn.Linear(slot_width, width)
        self.slot_shift = nn.Linear(slot_width, width)
        self.part = nn.Embedding(PART_COUNT, 2 * width)
        self.face = nn.Linear(ACTOR_CHANNELS, width)
        self.second = nn.Linear(width, width)

    def forward(self, greybox: GreyboxBatch, looks: SlotLooks) -> Tensor:
        batch, slots = len(greybox.slot), looks.features
        local = greybox.field[:, 1:4]
        waves = [f(math.pi * k * local) for k in _FOURIER for f in (torch.sin, torch.cos)]
        x = self.field(torch.cat([greybox.field, *waves], dim=1).permute(0, 2, 3, 1))
        x = x + self.textures(greybox, looks.textures)

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
        x = F.silu(torch.addcmul(shift, x, gain))
        return F.silu(x + self.second(x))


class SurfaceEncoder(nn.Module):
    """Greybox and what its slots look like to ``Surface``."""

    def __init__(self, costumes: int, looks: int, slot_width: int = 64, cell: int = 96) -> None:
        super().__init__()
        a, b, c, d = LEVEL_WIDTHS
        self.slots = SlotEncoder(costumes, looks, slot_width)
        self.cells = CellEncoder(costumes, looks, slot_width, cell)
        self.albedo = nn.Linear(cell, 3)
        self.narrow = nn.Linear(cell, a)
        self.shrink = nn.ModuleList(
            nn.Conv2d(inner, outer, 3, stride=2, padding=1) for inner, outer in ((a, b), (b, c), (c, d))
        )

    def describe(self, anchors: AnchorBatch) -> SlotLooks:
        """What does not change while a stage is open."""
        return SlotLooks(self.slots(anchors), self.cells.textures.rows(anchors))

    def forward(self, greybox: GreyboxBatch, looks: SlotLooks) -> Surface:
        cells = self.cells(greybox, looks)
        light = display(2 * greybox.field[:, _LIGHT].clamp(0, 8))
        albedo = 1.5 * torch.sigmoid(self.albedo(cells)).permute(0, 3, 1, 2)
        x = self.narrow(cells).permute(0, 3, 1, 2)
        levels = [x]
        for layer in self.shrink:
            x = layer(F.silu(x))
            levels.append(x)
        background = greybox.globals[:, _BACKGROUND] * 2 - 1
        return Surface((albedo * light).clamp(max=1) * 2 - 1, background, tuple(levels))


def display(linear: Tensor) -> Tensor:
    """Linear light to display values (IEC 61966-2-1), without an upper limit.

    The stage encodes albedo x light. The curve is close to a power, so the product of both encoded is close to that.
    """
    return torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)
