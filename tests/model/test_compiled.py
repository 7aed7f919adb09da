"""The compiled passes and the narrow number format, against the modules in float32 that training uses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cutscene_model.anchors import anchor_table
from cutscene_model.compiled import pixels_of, sketch_of, surface_of
from cutscene_model.engine import draw_whole
from cutscene_model.greybox import GreyboxRaster
from cutscene_model.loading import load_engine
from cutscene_model.precision import picture_dtype
from cutscene_model.scene import SceneState
from cutscene_model.tensors import anchor_batch, greybox_batch
from cutscene_model.transformer import TransformerEngine
from small_scenes import stage, state

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def exact() -> TransformerEngine:
    return load_engine(precision="float32")


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(np.square(a.astype(float) - b).mean(), 1e-9)))


def assert_alike(found: torch.Tensor, expected: torch.Tensor, usually: float = 1e-5, always: float = 0.02) -> None:
    """The same but for rounding; of faces' marks a little more, whose places are found by steps that magnify it."""
    difference = (found - expected).abs()
    assert (difference > usually).float().mean() < 1e-3
    assert difference.max() < always


@pytest.mark.parametrize("scene", [state(), state(0.7)])
@torch.inference_mode()
def test_compiled_passes_say_what_the_modules_say(exact: TransformerEngine, scene: SceneState) -> None:
    coder = exact.autoencoder
    greybox = greybox_batch([GreyboxRaster(stage(), exact.volumes).draw(scene)], CPU)
    table = anchor_table(stage(), exact.manifest.costumes, exact.manifest.looks)
    looks = coder.surface.describe(anchor_batch([table], CPU))
    expected, found = coder.surface(greybox, looks), surface_of(coder, greybox, looks)
    assert_alike(found.shaded, expected.shaded)
    torch.testing.assert_close(found.background, expected.background)
    for level, reference in zip(found.levels, expected.levels, strict=True):
        assert (level - reference).abs().mean() < 1e-4 * reference.abs().mean()

    torch.manual_seed(0)
    latents = torch.randn(1, *exact.manifest.latent_shape).contiguous(memory_format=torch.channels_last)
    picture = (coder.decode(latents, expected)[0].permute(1, 2, 0).clamp(-1, 1) + 1) * 127.5
    pixels = pixels_of(coder, latents, expected)
    assert np.abs(pixels - picture.numpy()).max() <= 0.51, "rounded to the nearest level"
    assert pixels.std() > 10
    picture = (coder.sketched(expected)[0].permute(1, 2, 0).clamp(-1, 1) + 1) * 127.5
    assert np.abs(sketch_of(coder, expected) - picture.numpy()).max() <= 0.51


@torch.inference_mode()
def test_a_sketch_needs_the_finest_level_only(exact: TransformerEngine) -> None:
    coder = exact.autoencoder
    greybox = greybox_batch([GreyboxRaster(stage(), exact.volumes).draw(state())], CPU)
    looks = coder.surface.describe(
        anchor_batch([anchor_table(stage(), exact.manifest.costumes, exact.manifest.looks)], CPU)
    )
    whole, finest = surface_of(coder, greybox, looks), surface_of(coder, greybox, looks, only_finest=True)
    assert (len(whole.levels), len(finest.levels)) == (4, 1)
    np.testing.assert_array_equal(sketch_of(coder, finest), sketch_of(coder, whole))


def test_bfloat16_is_within_55_db_of_float32(exact: TransformerEngine) -> None:
    narrow = load_engine(precision="bfloat16")
    assert narrow.autoencoder.decoder.fine.weight.dtype is torch.bfloat16
    for place in (0.0, 0.5):
        reference = draw_whole(exact.begin(stage(), 3), state(place), "standard")[1]
        assert psnr(draw_whole(narrow.begin(stage(), 3), state(place), "standard")[1], reference) >= 55


def test_a_precision_is_known_by_name() -> None:
    assert picture_dtype("float32", CPU) is torch.float32
    assert picture_dtype("bfloat16", CPU) is torch.bfloat16
    assert picture_dtype("auto", CPU) in (torch.float32, torch.bfloat16)
    with pytest.raises(ValueError, match="precision: 'half' is not one of auto, float32, bfloat16"):
        load_engine(precision="half")
