"""Faces: brows, eyes and mouth, painted onto the front of a head by what the actor feels and says.

A small network of place and expression, in the manner of coordinate networks with Fourier features
(arXiv 2006.10739). It is asked for the cells of a head's front only, which are few.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cutscene_model.greybox import ACTOR_CHANNELS, FIELD_CHANNELS
from cutscene_model.primitives import HEAD_PART
from cutscene_model.scene import EMOTIONS

if TYPE_CHECKING:
    from cutscene_model.surface import GreyboxBatch

_WAVES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # half turns over a quarter of a metre: the finest is 1.6 centimetres long
# Metres that marks lie in front of the skull, as seen from the front, between heights in the head's frame:
# a mouth's, an eye's, a brow's. The stage draws its faces by these (``training.face``).
LIFTS = ((0.28, 0.024), (0.45, 0.022), (1.0, 0.032))
SKULL_CELLS = 96  # along both sides of a skull's height field
SKULL_STEP, UNKNOWN_SKULL = 1e-4, -32768  # metres; and what stands for no skull
SKULL_LOW, SKULL_HIGH = (-0.5, 0.0), (0.5, 0.95)  # its corners in the head's frame, metres
CENTER, REACH = (0.0, 0.38), (0.46, 0.46)  # of the face, in the head's own frame, metres
BRIGHTER = 8.0  # than the skull below, may marks be
IRRADIANCE = tuple(FIELD_CHANNELS.index(f"irradiance_{color}") for color in "rgb")
LONGEST = 0.25  # metres of a way back to the sheet that bears the marks
FRONT = 0.12  # metres before the head's joint
_SOUGHT = (0.0, 0.5, 1.0)  # strengths of a mood, and openings of a mouth, that marks are sought in
_FAINTEST = 0.003  # coverage that cannot be seen
SECANTS = 4  # steps toward that sheet
MARK_CELLS = 96  # along both sides of the face, of what may be marked


class FaceEncoder(nn.Module):
    """Paints faces over the albedo of heads."""

    skulls: Tensor
    marked: Tensor

    def __init__(self, costumes: int, width: int = 96) -> None:
        super().__init__()
        self.place = nn.Linear(2 + 4 * len(_WAVES), width)
        self.mood = nn.Linear(ACTOR_CHANNELS, 2 * width)
        self.wearer = nn.Embedding(costumes + 1, 2 * width)
        self.second = nn.Linear(width, width)
        self.third = nn.Linear(width, width)
        self.paint = nn.Linear(width, 4)
        nn.init.constant_(self.paint.bias, -2.0)
        # How far forward each wearer's skull lies, rows up, in SKULL_STEP; whole numbers, that no precision rounds.
        skulls = torch.full((costumes + 1, SKULL_CELLS, SKULL_CELLS), UNKNOWN_SKULL, dtype=torch.int16)
        self.register_buffer("skulls", skulls)
        # Where each wearer may be marked in each mood, rows up; the painter is not asked elsewhere. See ``find_marks``.
        shape = costumes + 1, len(EMOTIONS), MARK_CELLS, MARK_CELLS
        self.register_buffer("marked", torch.ones(shape, dtype=torch.uint8))

    def forward(self, albedo: Tensor, greybox: GreyboxBatch, costume: Tensor) -> Tensor:
        """``albedo`` (B, H, W, 3) linear, with faces painted over; ``costume`` (B, 65) by slot."""
        slot, part, field, actors = greybox.slot, greybox.part, greybox.field, greybox.actors
        x, y, z = field[:, 1], field[:, 2], field[:, 3]
        front = (part == HEAD_PART) & (z > FRONT)
        front &= ((x - CENTER[0]).abs() < REACH[0]) & ((y - CENTER[1]).abs() < REACH[1])
        where = front.nonzero(as_tuple=True)
        if not len(where[0]):
            return albedo
        batch = where[0]
        owner = slot[where].long()
        person = batch * actors.shape[1] + owner - 1
        wearer = costume[:, 1 : 1 + actors.shape[1]]
        seen = torch.stack([x[where], y[where], z[where]], dim=-1)
        place, hidden = self.on_marks(seen, greybox.viewpoints.flatten(0, 1)[person], wearer.flatten()[person])
        place = place - place.new_tensor(CENTER)
        mood = actors[..., :-1].argmax(dim=-1).flatten()[person]
        wanted = ~hidden & self._may_be_marked(place, wearer.flatten()[person], mood)
        where, place, person = tuple(axis[wanted] for axis in where), place[wanted], person[wanted]
        state = self.mood(actors.to(self.mood.weight.dtype)) + self.wearer(wearer)  # (B, 4, 2 * width)
        paint = self.painted(place, F.embedding(person, state.flatten(0, 1)))
        under, cover = albedo[where], paint[:, 3:]
        # Marks are lit as one flat sheet, whatever the skull below: as bright as that makes them in the skull's light.
        skull = torch.stack([field[:, channel][where] for channel in IRRADIANCE], dim=-1)
        sheet = torch.stack([greybox.sheet[:, color][where] for color in range(3)], dim=-1)
        brighter = (sheet / skull.clamp(min=1e-3)).clamp(max=BRIGHTER)
        return albedo.index_put(where, under + cover * (paint[:, :3].square() * brighter - under))

    def on_marks(self, seen: Tensor, eye: Tensor, costume: Tensor) -> tuple[Tensor, Tensor]:
        """Where the ways from ``eye`` to what is ``seen``, (n, 3) in heads' frames, pass the sheet with the marks.

        Returns places seen from the front (n, 2), metres, and whether what is seen lies before the sheet (n,): a
        nose, a fringe, a brim. The sheet is the wearer's skull brought forward; where no skull is known the place is
        that of what is seen.
        """
        back = F.normalize(eye - seen, dim=-1)
        lift = torch.full_like(seen[:, 0], LIFTS[-1][1])
        for height, value in reversed(LIFTS[:-1]):
            lift = torch.where(seen[:, 1] < height, value, lift)

        def gap(way: Tensor) -> Tensor:
            at = seen + way[:, None] * back
            return self._skull(at, costume) + lift - at[:, 2]

        # A few steps of the secant method from what is seen toward the eye.
        way, before = torch.zeros_like(lift), gap(torch.zeros_like(lift))
        known = before.isfinite()
        hidden = known & (before < 0)
        following = before.nan_to_num(0.0) / back[:, 2].clamp(min=0.3)
        for _ in range(SECANTS):
            following = following.clamp(0, LONGEST)
            after = gap(following)
            slope = (after - before) / (following - way).clamp(min=1e-5)
            way, before, following = following, after, (following - after / slope.clamp(max=-0.1)).nan_to_num(0.0)
        way = torch.where(known & ~hidden, following.clamp(0, LONGEST), 0)
        return (seen + way[:, None] * back)[:, :2], hidden

    def _skull(self, at: Tensor, costume: Tensor) -> Tensor:
        """(n,) how far forward skulls lie at places (n, 3), metres; not a number where that is not known."""
        low, high = at.new_tensor(SKULL_LOW), at.new_tensor(SKULL_HIGH)
        cell = ((at[:, :2] - low) / (high - low) * (SKULL_CELLS - 1)).clamp(0, SKULL_CELLS - 1.001)
        whole = cell.long()
        fx, fy = (cell - whole).unbind(dim=-1)
        first = (costume * SKULL_CELLS + whole[:, 1]) * SKULL_CELLS + whole[:, 0]
        corners = torch.stack([first, first + 1, first + SKULL_CELLS, first + SKULL_CELLS + 1])
        heights = self.skulls.flatten()[corners]
        known = (heights != UNKNOWN_SKULL).all(dim=0)
        a, b, c, d = heights * SKULL_STEP
        height = (a * (1 - fx) + b * fx) * (1 - fy) + (c * (1 - fx) + d * fx) * fy
        return torch.where(known, height, torch.nan)

    def _may_be_marked(self, place: Tensor, costume: Tensor, mood: Tensor) -> Tensor:
        """(n,) bool of places (n, 2), metres from the face's middle."""
        reach = place.new_tensor(REACH)
        cell = ((place + reach) * (MARK_CELLS / 2 / reach)).long().clamp(0, MARK_CELLS - 1)
        return self.marked[costume, mood, cell[:, 1], cell[:, 0]] > 0

    @torch.no_grad()
    def find_marks(self) -> None:
        """Notes where marks may be: what the painter covers in some strength of a mood, and a cell around."""
        middles = (torch.arange(MARK_CELLS) + 0.5) / MARK_CELLS * 2 - 1
        up, across = torch.meshgrid(middles, middles, indexing="ij")
        place = torch.stack([across, up], dim=-1).flatten(0, 1) * torch.tensor(REACH)
        for costume, emotion in itertools.product(*(range(count) for count in self.marked.shape[:2])):
            cover = torch.zeros(len(place))
            for intensity, opening in itertools.product(_SOUGHT, _SOUGHT):
                mood = torch.zeros(ACTOR_CHANNELS)
                mood[emotion], mood[-1] = intensity, opening
                state = (self.mood(mood) + self.wearer.weight[costume]).expand(len(place), -1)
                cover = torch.maximum(cover, self.painted(place, state)[:, 3])
            covered = (cover > _FAINTEST).float().reshape(1, MARK_CELLS, MARK_CELLS)
            self.marked[costume, emotion] = F.max_pool2d(covered, 3, stride=1, padding=1)[0].to(torch.uint8)

    def painted(self, place: Tensor, state: Tensor) -> Tensor:
        """Square roots of linear colours, and coverage, (n, 4) in 0 to 1.

        ``place`` (n, 2) is metres from the face's middle; ``state`` (n, 2 * width) sums ``mood`` and ``wearer``.
        """
        place = 4 * place
        angles = place[:, None] * (math.pi * place.new_tensor(_WAVES))[:, None]
        waves = torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)
        gain, shift = state.chunk(2, dim=-1)
        known = torch.cat([place, waves], dim=-1).to(self.place.weight.dtype)
        h = F.silu(torch.addcmul(shift, self.place(known), 1 + gain))
        h = F.silu(h + self.second(h))
        h = F.silu(h + self.third(h))
        return torch.sigmoid(self.paint(h).float())
