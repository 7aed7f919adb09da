"""What the greybox shows once its slots are bound to their looks: a shaded picture, and features at four scales.

This is deferred shading (Deering et al. 1988) with materials from the shape volumes and learnt faces, in the manner of
deferred neural rendering (arXiv 1904.12356). Denoiser and decoder both read it: the denoiser its coarsest level, the
decoder all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cutscene_model.faces import FaceEncoder
from cutscene_model.greybox import FIELD_CHANNELS
from cutscene_model.primitives import HEAD_PART
from cutscene_model.scene import MAX_CAST, ElementClass
from cutscene_model.volumes import GLOWS, UNTINTED, Volumes

BACKGROUND = slice(12, 15)  # the background's colour among the globals
LIGHT = slice(FIELD_CHANNELS.index("irradiance_r"), len(FIELD_CHANNELS))
_SHAPE = slice(4, 7)  # the normal among the field channels
LEVEL_WIDTHS = (48, 96, 160, 256)
LEVEL_CELL = 2  # greybox cells along a cell of the finest level
CELL = 2  # of the picture along a greybox cell
GLOW = 1.6  # irradiance that flames add to what falls on them
CELL_FEATURES = 16  # of a greybox cell, that the first layer reads


@dataclass(frozen=True, slots=True)
class GreyboxBatch:
    """Control maps of B frames as tensors."""

    slot: Tensor  # (B, 144, 256) uint8
    part: Tensor  # (B, 144, 256) uint8
    sample: Tensor  # (B, 144, 256) int32
    field: Tensor  # (B, len(FIELD_CHANNELS), 144, 256) float32
    actors: Tensor  # (B, 4, ACTOR_CHANNELS) float32
    globals: Tensor  # (B, GLOBAL_CHANNELS) float32
    viewpoints: Tensor  # (B, 4, 3) float32
    sheet: Tensor  # (B, 3, 144, 256) float32


@dataclass(frozen=True, slots=True)
class AnchorBatch:
    """Anchor tables of B stages as tensors."""

    costume: Tensor  # (B, 65) int64
    headgear: Tensor  # (B, 65) int64
    element_class: Tensor  # (B, 65) int64
    look: Tensor  # (B, 65) int64
    tint: Tensor  # (B, 65, 3) float32


@dataclass(frozen=True, slots=True)
class Lacking:
    """What pixels that were shaded by themselves lack in their cells' colours: by blocks of 4 x 4, nil elsewhere."""

    pixels: Tensor  # (at least n, 48): a block's (3, 4, 4); what stands past n counts for nothing
    # (n,) int64: which blocks these are of (B, 72, 128), ascending. None: they are all.
    block: Tensor | None = None

    def everywhere(self, batch: int, rows: int, columns: int) -> Tensor:
        """(B, 48, rows, columns), which is (B, 3, 4 rows, 4 columns) by space-to-depth."""
        every = self.pixels
        if self.block is not None:
            nothing = every.new_zeros(batch * rows * columns, every.shape[1])
            every = nothing.index_copy(0, self.block, every[: len(self.block)])
        return every.unflatten(0, (batch, rows, columns)).permute(0, 3, 1, 2)


@dataclass(frozen=True, slots=True)
class Surface:
    """What B greyboxes show. Feature levels are at 128 x 72, 64 x 36, 32 x 18 and 16 x 9 cells."""

    shaded: Tensor  # (B, 3, 144, 256): each cell's own colour under its light, -1 to 1
    background: Tensor  # (B, 3): what is seen past everything, -1 to 1
    levels: tuple[Tensor, ...]  # (B, LEVEL_WIDTHS[k], 72 / 2**k, 128 / 2**k); only the first for a sketch
    lacking: Lacking | None = None  # None: no pixel was shaded by itself


@dataclass(frozen=True, slots=True)
class SlotLooks:
    """What the anchors say of every slot, computed once at open."""

    features: Tensor  # (B, 65, slot width)
    tint: Tensor  # (B, 65, 3)
    plain: Tensor  # (B, 65, 3): the linear colour of what has no shape volume
    costume: Tensor  # (B, 65)


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


class Materials(nn.Module):
    """The colour of every greybox cell under white light, from the shape volumes and the anchors."""

    paint: Tensor
    linear: Tensor

    def __init__(self, volumes: Volumes) -> None:
        super().__init__()
        paint = torch.from_numpy(volumes.paint) if len(volumes.paint) else torch.zeros(1, 4, dtype=torch.uint8)
        # Not among the weights: the volumes travel in a file of their own.
        self.register_buffer("paint", paint, persistent=False)
        levels = torch.arange(256) / 255
        curve = torch.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
        self.register_buffer("linear", curve, persistent=False)

    def forward(self, greybox: GreyboxBatch, looks: SlotLooks) -> tuple[Tensor, Tensor]:
        """Linear albedo (B, H, W, 3) and what glows of it (B, H, W), 0 or 1."""
        batch, slots = looks.tint.shape[:2]
        offset = torch.arange(batch, device=greybox.slot.device)[:, None, None] * slots
        slot = greybox.slot.long() + offset
        painted = self.paint[greybox.sample.clamp(min=0).long()]
        color, flags = self.linear[painted[..., :3].int()], painted[..., 3]
        tint = looks.tint.flatten(0, 1)[slot]
        color = color * torch.where((flags & UNTINTED > 0)[..., None], torch.ones((), device=tint.device), tint)
        has = greybox.sample >= 0
        albedo = torch.where(has[..., None], color, looks.plain.flatten(0, 1)[slot])
        return albedo, ((flags & GLOWS > 0) & has).float()


class SurfaceEncoder(nn.Module):
    """Greybox and what its slots look like to ``Surface``."""

    def __init__(self, costumes: int, looks: int, volumes: Volumes, slot_width: int = 64) -> None:
        super().__init__()
        a, b, c, d = LEVEL_WIDTHS
        self.slots = SlotEncoder(costumes, looks, slot_width)
        self.plain = nn.Linear(slot_width, 3)
        self.materials = Materials(volumes)
        self.faces = FaceEncoder(costumes)
        self.enter = nn.Conv2d(CELL_FEATURES * LEVEL_CELL**2, a, 3, padding=1)
        self.shrink = nn.ModuleList(
            nn.Conv2d(inner, outer, 3, stride=2, padding=1) for inner, outer in ((a, b), (b, c), (c, d))
        )

    def describe(self, anchors: AnchorBatch) -> SlotLooks:
        """What does not change while a stage is open."""
        features = self.slots(anchors)
        return SlotLooks(features, anchors.tint, torch.sigmoid(self.plain(features)), anchors.costume)

    def forward(self, greybox: GreyboxBatch, looks: SlotLooks, *, only_finest: bool = False) -> Surface:
        albedo, glows = self.materials(greybox, looks)
        albedo = self.faces(albedo, greybox, looks.costume)
        background = greybox.globals[:, BACKGROUND] * 2 - 1
        seen = greybox.slot > 0
        albedo = albedo.permute(0, 3, 1, 2)
        light = 2 * greybox.field[:, LIGHT] + GLOW * glows[:, None]
        shaded = display((albedo * light).clamp(0, 1))
        shaded = torch.where(seen[:, None], shaded * 2 - 1, background[:, :, None, None])
        actor = (greybox.slot > 0) & (greybox.slot <= MAX_CAST)
        masks = torch.stack([seen, actor, greybox.part == HEAD_PART], dim=1).to(shaded.dtype)
        cells = torch.cat(
            [
                shaded,
                display(albedo.clamp(0, 1)),
                display(light.clamp(0, 2)),
                greybox.field[:, _SHAPE],
                4 * greybox.field[:, :1],
                masks,
            ],
            dim=1,
        )
        return Surface(shaded, background, self.levels(cells, only_finest=only_finest))

    def lacking(
        self, greybox: GreyboxBatch, refined: GreyboxBatch, cells: Tensor, looks: SlotLooks, surface: Surface
    ) -> Lacking:
        """``Surface.lacking`` of the pixels of the ``cells`` (B, 144, 256) that are true, as ``refined`` shows them."""
        albedo, glows = self.materials(refined, looks)
        albedo = self.faces(albedo, refined, looks.costume).permute(0, 3, 1, 2)
        light = 2 * refined.field[:, LIGHT] + GLOW * glows[:, None]
        shaded = display((albedo * light).clamp(0, 1)) * 2 - 1
        coarse = F.interpolate(surface.shaded, scale_factor=2)
        # Past the edge of everything there is the background; a ray that found nothing where all around is something
        # tells nothing.
        nothing = F.max_pool2d((greybox.slot == 0).float()[:, None], 3, stride=1, padding=1)
        bare = F.interpolate(nothing, scale_factor=2) > 0
        missed = torch.where(bare, surface.background[:, :, None, None], coarse)
        shaded = torch.where(refined.slot[:, None] > 0, shaded, missed)
        wanted = F.interpolate(cells.to(shaded.device).float()[:, None], scale_factor=2) > 0
        return lacking(torch.where(wanted, shaded, coarse), surface.shaded)

    def levels(self, cells: Tensor, *, only_finest: bool = False) -> tuple[Tensor, ...]:
        """The feature levels of ``Surface``, of what is known of each greybox cell: (B, CELL_FEATURES, 144, 256)."""
        cells = cells.to(self.enter.weight.dtype, memory_format=torch.channels_last)
        # The same as ``self.enter`` of the unshuffled cells, without having to unshuffle them.
        kernel = F.pixel_shuffle(self.enter.weight, LEVEL_CELL)
        x = F.conv2d(cells, kernel, self.enter.bias, stride=LEVEL_CELL, padding=LEVEL_CELL)
        levels = [x]
        for layer in () if only_finest else self.shrink:
            x = layer(F.silu(x))
            levels.append(x)
        return tuple(levels)


def lacking(pixels: Tensor, shaded: Tensor) -> Lacking:
    """``Surface.lacking`` of ``pixels`` (B, 3, 2 H, 2 W) over their cells' ``shaded`` (B, 3, H, W)."""
    blocks = F.pixel_unshuffle(pixels - F.interpolate(shaded, scale_factor=CELL), CELL * LEVEL_CELL)
    return Lacking(blocks.permute(0, 2, 3, 1).flatten(0, 2))


def display(linear: Tensor) -> Tensor:
    """Linear light to display values (IEC 61966-2-1), without an upper limit."""
    return torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)
