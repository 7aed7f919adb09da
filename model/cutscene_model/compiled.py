"""One frame on the CPU, sooner: the networks as they are, the passes over single pixels around them compiled.

The modules of ``autoencoder`` say the same for batches, gradients and other devices.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cutscene_model.autoencoder import Autoencoder
from cutscene_model.composition import compose
from cutscene_model.greybox import Greybox
from cutscene_model.marks import Shown, lay_marks, shown
from cutscene_model.shading import light_cells, light_pixels, paint_cells
from cutscene_model.surface import (
    BACKGROUND,
    CELL,
    CELL_FEATURES,
    LEVEL_CELL,
    LIGHT,
    GreyboxBatch,
    SlotLooks,
    Surface,
)


def surface_of(coder: Autoencoder, greybox: GreyboxBatch, looks: SlotLooks, *, only_finest: bool = False) -> Surface:
    """What ``coder.surface`` makes of a batch of one, in ``torch.inference_mode``."""
    height, width = greybox.slot.shape[1:]
    albedo, glows = _painted(coder, shown(greybox), looks, skip_empty=False)
    background = greybox.globals[:, BACKGROUND] * 2 - 1
    shaded, cells = torch.empty(1, 3, height, width), torch.empty(1, height, width, CELL_FEATURES)
    light_cells(
        greybox.slot[0].numpy(), greybox.part[0].numpy(), greybox.field[0].numpy(), LIGHT.start,
        albedo[0].numpy(), glows[0].numpy(), background[0].numpy(), shaded[0].numpy(), cells[0].numpy(),
    )  # fmt: skip
    return Surface(shaded, background, coder.surface.levels(cells.permute(0, 3, 1, 2), only_finest=only_finest))


def lacking_of(
    coder: Autoencoder,
    greybox: GreyboxBatch,
    refined: Greybox,
    cells: npt.NDArray[np.bool_],
    looks: SlotLooks,
    surface: Surface,
) -> Tensor:
    """What ``coder.surface.lacking`` makes of a batch of one, in ``torch.inference_mode``; ``cells`` (144, 256)."""
    albedo, glows = _painted(coder, shown(refined), looks, skip_empty=True)
    rows, columns = (size // LEVEL_CELL for size in cells.shape)
    lacking = torch.zeros(1, rows, columns, 3 * (CELL * LEVEL_CELL) ** 2)
    light_pixels(
        cells, refined.slot, refined.field, LIGHT.start, albedo[0].numpy(), glows[0].numpy(),
        surface.background[0].numpy(), surface.shaded[0].numpy(), greybox.slot[0].numpy(), lacking[0].numpy(),
    )  # fmt: skip
    return lacking.permute(0, 3, 1, 2)


def pixels_of(
    coder: Autoencoder, latents: Tensor, surface: Surface, grade: Tensor | None = None
) -> npt.NDArray[np.uint8]:
    """What ``coder.decode`` makes of a batch of one, under a ``grade`` (3, TERMS), as bytes (288, 512, 3), in
    ``torch.inference_mode``."""
    return _composed(coder.decoder.terms(latents * coder.std + coder.mean, surface), surface, grade)


def sketch_of(coder: Autoencoder, surface: Surface, grade: Tensor | None = None) -> npt.NDArray[np.uint8]:
    """What ``coder.sketched`` makes of a batch of one, as ``pixels_of`` gives it."""
    return _composed(coder.sketch(surface), surface, grade)


def _composed(terms: tuple[Tensor, Tensor], surface: Surface, grade: Tensor | None) -> npt.NDArray[np.uint8]:
    # As the bits they are, for numpy knows nothing of bfloat16.
    raw = (term.view(torch.uint16) if term.dtype is torch.bfloat16 else term for term in terms)
    logits, detail = (term[0].permute(1, 2, 0).numpy() for term in raw)
    lacking = None if surface.lacking is None else surface.lacking[0].permute(1, 2, 0).numpy()
    laid = None if grade is None else grade.numpy()
    return compose(logits, detail, surface.shaded[0].numpy(), surface.background[0].numpy(), lacking, laid)


def _painted(coder: Autoencoder, greybox: Shown, looks: SlotLooks, *, skip_empty: bool) -> tuple[Tensor, Tensor]:
    """Albedo (1, H, W, 3) with faces on it, and what glows (1, H, W)."""
    encoder = coder.surface
    height, width = greybox.slot.shape
    # In torch's own memory: see ``tensors``.
    albedo, glows = torch.empty(1, height, width, 3), torch.empty(1, height, width)
    paint_cells(
        greybox.slot, greybox.sample, encoder.materials.paint.numpy(),
        encoder.materials.linear.numpy(), looks.tint[0].numpy(), looks.plain[0].numpy(),
        albedo[0].numpy(), glows[0].numpy(), skip_empty,
    )  # fmt: skip
    lay_marks(encoder.faces, albedo[0], greybox, looks.costume[0])
    return albedo, glows
