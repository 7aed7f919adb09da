"""What training shows the decoder of single pixels is what the tiers show it in play."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cutscene_model.shading import contrasted as played
from cutscene_model.surface import Surface
from cutscene_model.training.refinement import contrasted, refined, sharpened


def example() -> tuple[Surface, torch.Tensor]:
    torch.manual_seed(3)
    slot = torch.zeros(2, 16, 24, dtype=torch.uint8)
    slot[:, 4:9, 5:14] = 3
    shaded = 0.2 * torch.rand(2, 3, 16, 24) + 0.5 * (slot > 0)[:, None]
    pixels = torch.rand(2, 3, 32, 48) * 2 - 1
    return Surface(shaded, torch.zeros(2, 3), ()), pixels


@pytest.mark.parametrize("contrast", [0.15, 0.18, 0.4])
def test_the_cells_are_those_that_a_tier_of_that_contrast_refines(contrast: float) -> None:
    surface, _ = example()
    found = contrasted(surface.shaded, torch.tensor([contrast, contrast]))[:, 0].numpy()
    expected = np.stack([played(surface.shaded[k].numpy(), contrast) for k in range(2)])
    assert 0 < found.mean() < 1
    np.testing.assert_array_equal(found, expected)


def test_pixels_stand_where_cells_are_refined_and_cells_elsewhere() -> None:
    surface, pixels = example()
    contrast = torch.tensor([0.4, torch.inf])
    sharp = sharpened(surface, pixels, contrast)
    assert sharp.lacking is not None
    lacking = torch.nn.functional.pixel_shuffle(sharp.lacking.everywhere(2, 8, 12), 4)
    assert not lacking[1].any()
    cells = contrasted(surface.shaded, contrast)[0, 0].repeat_interleave(2, dim=0).repeat_interleave(2, dim=1)
    coarse = surface.shaded[0].repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    torch.testing.assert_close(lacking[0], torch.where(cells, pixels[0] - coarse, 0))


def test_some_of_a_batch_is_refined_and_some_is_not() -> None:
    surface, pixels = example()
    torch.manual_seed(0)
    touched = []
    for _ in range(20):
        lacking = refined(surface, pixels).lacking
        assert lacking is not None
        touched += [bool(each.any()) for each in lacking.everywhere(2, 8, 12)]
    assert 0.3 < np.mean(touched) < 0.9
