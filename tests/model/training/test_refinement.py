"""What training shows the decoder of single pixels is what the tiers show it in play."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cutscene_model.shading import contrasted as played
from cutscene_model.surface import Surface
from cutscene_model.training.refinement import contrasted, refined, sharpened


def example() -> tuple[Surface, torch.Tensor, torch.Tensor]:
    torch.manual_seed(3)
    slot = torch.zeros(2, 16, 24, dtype=torch.uint8)
    slot[:, 4:9, 5:14] = 3
    shaded = 0.2 * torch.rand(2, 3, 16, 24) + 0.5 * (slot > 0)[:, None]
    pixels = torch.rand(2, 3, 32, 48) * 2 - 1
    return Surface(shaded, torch.zeros(2, 3), ()), slot, pixels


@pytest.mark.parametrize("contrast", [0.15, 0.18, 2.0])
def test_the_cells_are_those_that_a_tier_of_that_contrast_refines(contrast: float) -> None:
    surface, slot, _ = example()
    found = contrasted(slot, surface.shaded, torch.tensor([contrast, contrast]))[:, 0].numpy()
    expected = np.stack([played(slot[k].numpy(), surface.shaded[k].numpy(), contrast) for k in range(2)])
    assert 0 < found.mean() < 1
    np.testing.assert_array_equal(found, expected)


def test_pixels_stand_where_cells_are_refined_and_cells_elsewhere() -> None:
    surface, slot, pixels = example()
    sharp = sharpened(surface, slot, pixels, torch.tensor([2.0, torch.inf]))
    assert sharp.fine is not None
    coarse = surface.shaded.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(sharp.fine[1], coarse[1])
    changed = (sharp.fine[0] != coarse[0]).any(dim=0)
    cells = contrasted(slot, surface.shaded, torch.tensor([2.0, torch.inf]))[0, 0]
    assert torch.equal(changed[::2, ::2], cells)


def test_some_of_a_batch_is_refined_and_some_is_not() -> None:
    surface, slot, pixels = example()
    torch.manual_seed(0)
    coarse = surface.shaded.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    touched = []
    for _ in range(20):
        fine = refined(surface, slot, pixels).fine
        assert fine is not None
        touched += [bool((fine[k] != coarse[k]).any()) for k in range(2)]
    assert 0.3 < np.mean(touched) < 0.9
