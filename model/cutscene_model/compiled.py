"""One frame on the CPU, sooner: the networks as they are, the passes over single pixels around them compiled.

The modules of ``autoencoder`` say the same for batches, gradients and other devices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cutscene_model.autoencoder import Autoencoder
from cutscene_model.beside import beside
from cutscene_model.composition import compose
from cutscene_model.greybox import Refined, Shown
from cutscene_model.marks import cast_of, lay_marks, shown
from cutscene_model.scene import FloatArray
from cutscene_model.shading import light_cells, light_pixels, paint
from cutscene_model.surface import (
    BACKGROUND,
    CELL,
    CELL_FEATURES,
    LEVEL_CELL,
    LIGHT,
    GreyboxBatch,
    Lacking,
    SlotLooks,
    Surface,
)

_ROWS = 256  # of pixels' blocks, whose number is a multiple of it


def surface_of(
    coder: Autoencoder,
    greybox: GreyboxBatch,
    looks: SlotLooks,
    *,
    only_finest: bool = False,
    refine: Callable[[FloatArray], Refined] | None = None,
) -> Surface:
    """What ``coder.surface`` makes of a batch of one, in ``torch.inference_mode``.

    ``refine`` shades pixels by themselves, given every cell's colour (3, 144, 256), -1 to 1. What they lack in their
    cells' colours (``lacking_of``) is found while another thread makes the features.
    """
    height, width = greybox.slot.shape[1:]
    seen = shown(greybox)
    albedo, glows = _painted(coder, seen, greybox, looks)
    background = greybox.globals[:, BACKGROUND] * 2 - 1
    # In torch's own memory: see ``tensors``.
    shaded, cells = torch.empty(1, 3, height, width), torch.empty(1, height, width, CELL_FEATURES)
    light_cells(
        seen.slot, seen.part, seen.field, LIGHT.start, albedo, glows, background[0].numpy(),
        shaded[0].flatten(1).numpy(), cells[0].flatten(0, 1).numpy(),
    )  # fmt: skip

    def levels() -> tuple[Tensor, ...]:
        with torch.inference_mode():  # each thread's own
            return coder.surface.levels(cells.permute(0, 3, 1, 2), only_finest=only_finest)

    if refine is None:
        return Surface(shaded, background, levels())
    finish = beside(levels)
    bare = Surface(shaded, background, ())
    lacking = lacking_of(coder, greybox, refine(shaded[0].numpy()), looks, bare)
    return replace(bare, levels=finish(), lacking=lacking)


def lacking_of(
    coder: Autoencoder, greybox: GreyboxBatch, refined: Refined, looks: SlotLooks, surface: Surface
) -> Lacking:
    """What ``coder.surface.lacking`` makes of a batch of one, in ``torch.inference_mode``."""
    albedo, glows = _painted(coder, refined.shown, greybox, looks)
    cells = refined.cells
    block = np.flatnonzero(cells[::2, ::2] | cells[::2, 1::2] | cells[1::2, ::2] | cells[1::2, 1::2])
    # Few numbers of rows, for oneDNN makes a kernel for each.
    pixels = torch.zeros(-(-len(block) // _ROWS) * _ROWS, 3 * (CELL * LEVEL_CELL) ** 2)
    light_pixels(
        refined.rays, refined.shown.slot, refined.shown.field, LIGHT.start, albedo, glows,
        surface.background[0].numpy(), surface.shaded[0].numpy(), greybox.slot[0].numpy(),
        _places(block, (cells.shape[0] // LEVEL_CELL, cells.shape[1] // LEVEL_CELL)), pixels.numpy(),
    )  # fmt: skip
    return Lacking(pixels, torch.from_numpy(block))


def pixels_of(
    coder: Autoencoder, latents: Tensor, surface: Surface, grade: Tensor | None = None
) -> npt.NDArray[np.uint8]:
    """What ``coder.decode`` makes of a batch of one, under a ``grade`` (3, TERMS), as bytes (288, 512, 3), in
    ``torch.inference_mode``."""
    return composed(coder.decoder.terms(latents * coder.std + coder.mean, surface), surface, grade)


def sketch_of(coder: Autoencoder, surface: Surface, grade: Tensor | None = None) -> npt.NDArray[np.uint8]:
    """What ``coder.sketched`` makes of a batch of one, as ``pixels_of`` gives it."""
    return composed(coder.sketch(surface), surface, grade)


def composed(terms: tuple[Tensor, Tensor], surface: Surface, grade: Tensor | None = None) -> npt.NDArray[np.uint8]:
    """The same of what ``Decoder.terms`` gave, with channels last."""
    # As the bits they are, for numpy knows nothing of bfloat16.
    raw = (term.view(torch.uint16) if term.dtype is torch.bfloat16 else term for term in terms)
    logits, detail = (term[0].permute(1, 2, 0).numpy() for term in raw)
    given = (logits, detail, surface.shaded[0].numpy(), surface.background[0].numpy())
    laid, lacking = None if grade is None else grade.numpy(), surface.lacking
    if lacking is None:
        return compose(*given, grade=laid)
    block = np.arange(len(lacking.pixels)) if lacking.block is None else lacking.block.numpy()
    return compose(*given, _places(block, logits.shape[:2]), lacking.pixels.numpy(), laid)


def _places(block: npt.NDArray[np.int64], shape: tuple[int, ...]) -> npt.NDArray[np.int32]:
    """Of ``shape``: where each of its numbers, row by row, stands in ``block``; -1 where it does not."""
    places = np.full(shape, -1, np.int32)
    places.reshape(-1)[block] = np.arange(len(block), dtype=np.int32)
    return places


def _painted(coder: Autoencoder, seen: Shown, greybox: GreyboxBatch, looks: SlotLooks) -> tuple[FloatArray, FloatArray]:
    """The albedo (n, 3) of what is seen, with the faces of the greybox's cast on it, and what glows (n,)."""
    encoder, count = coder.surface, len(seen.slot)
    albedo, glows = np.empty((count, 3), np.float32), np.empty(count, np.float32)
    paint(
        seen.slot, seen.sample, encoder.materials.paint.numpy(), encoder.materials.linear.numpy(),
        looks.tint[0].numpy(), looks.plain[0].numpy(), albedo, glows,
    )  # fmt: skip
    lay_marks(encoder.faces, albedo, seen, cast_of(greybox, looks.costume))
    return albedo, glows
