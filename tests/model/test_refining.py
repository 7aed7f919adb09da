"""Pixels shaded one by one: where, from which rays, and that the picture takes them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cutscene_model.anchors import anchor_table
from cutscene_model.compiled import lacking_of, pixels_of, surface_of
from cutscene_model.engine import draw_whole
from cutscene_model.greybox import ASPECT, HEIGHT, WIDTH, GreyboxRaster
from cutscene_model.loading import load_engine
from cutscene_model.raycast import all_rays, camera_view, cast_rays, sight
from cutscene_model.scene import SceneState
from cutscene_model.shading import contrasted
from cutscene_model.surface import LEVEL_CELL, Lacking
from cutscene_model.tensors import anchor_batch, greybox_batch
from cutscene_model.transformer import TransformerEngine
from small_scenes import stage, state

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def exact() -> TransformerEngine:
    return load_engine(precision="float32")


def test_a_cell_is_refined_where_its_colour_differs_from_a_neighbours() -> None:
    shaded = np.zeros((3, 6, 8), np.float32)
    shaded[1, 4, 6] = 0.5
    shaded[2, 0, 0] = 0.3
    expected = np.zeros((6, 8), np.bool_)
    expected[3:6, 5:8] = True
    np.testing.assert_array_equal(contrasted(shaded, 0.4), expected)
    expected[:2, :2] = True
    np.testing.assert_array_equal(contrasted(shaded, 0.2), expected)
    assert not contrasted(shaded, 0.5).any()


def test_what_is_refined_is_what_a_raster_of_twice_the_size_shows(exact: TransformerEngine) -> None:
    raster = GreyboxRaster(stage(), exact.volumes)
    coarse = raster.draw(state())
    primitives, shape = coarse.scene.seen.primitives, (2 * HEIGHT, 2 * WIDTH)
    view = camera_view(state().camera, 2 * WIDTH, 2 * HEIGHT, ASPECT)
    hits = cast_rays(sight(primitives, view), exact.volumes, all_rays(2 * WIDTH, 2 * HEIGHT))
    slot = np.where(hits.primitive >= 0, primitives.slot[hits.primitive], 0).reshape(shape)
    cells = contrasted(coarse.slot[None].repeat(3, axis=0).astype(np.float32), 0.5)  # outlines
    refined = raster.refine(coarse, cells).spread(coarse)
    chosen = cells.repeat(2, axis=0).repeat(2, axis=1)
    assert 0.01 < chosen.mean() < 0.5
    assert not refined.slot[~chosen].any()
    # Only what lies far before or behind all around it may be missed.
    assert (refined.slot[chosen] == slot[chosen]).mean() > 0.99
    same = chosen & (refined.slot == slot) & (slot > 0)
    nearness = np.abs(refined.field[0] - 1 / (1 + hits.depth.reshape(shape)))[same]
    assert np.quantile(nearness, 0.99) < 2e-3


@pytest.mark.parametrize("scene", [state(), state(0.7)])
@torch.inference_mode()
def test_compiled_refining_says_what_the_modules_say(exact: TransformerEngine, scene: SceneState) -> None:
    coder, raster = exact.autoencoder, GreyboxRaster(stage(), exact.volumes)
    drawn = raster.draw(scene)
    table = anchor_table(stage(), exact.manifest.costumes, exact.manifest.looks)
    looks = coder.surface.describe(anchor_batch([table], CPU))
    maps = greybox_batch([drawn], CPU)
    surface = surface_of(coder, maps, looks)
    cells = contrasted(surface.shaded[0].numpy(), 0.12)
    refined = raster.refine(drawn, cells)
    wanted = torch.from_numpy(cells)[None]
    expected = coder.surface.lacking(maps, greybox_batch([refined.spread(drawn)], CPU), wanted, looks, surface)
    lacking = lacking_of(coder, maps, refined, looks, surface)
    assert lacking.block is not None
    assert len(lacking.block) < len(expected.pixels) / 2, "a list, not a raster"
    blocks = HEIGHT // LEVEL_CELL, WIDTH // LEVEL_CELL
    difference = (lacking.everywhere(1, *blocks) - expected.everywhere(1, *blocks)).abs()
    assert (difference > 1e-5).float().mean() < 1e-3, "but for faces' marks: see test_compiled"
    assert difference.max() < 0.02

    torch.manual_seed(0)
    latents = torch.randn(1, *exact.manifest.latent_shape).contiguous(memory_format=torch.channels_last)
    whole = replace(surface, lacking=lacking)
    every = Lacking(lacking.everywhere(1, *blocks).permute(0, 2, 3, 1).flatten(0, 2))
    picture = (coder.decode(latents, replace(surface, lacking=every))[0].permute(1, 2, 0).clamp(-1, 1) + 1) * 127.5
    assert np.abs(pixels_of(coder, latents, whole) - picture.numpy()).max() <= 0.51, "rounded to the nearest level"


@torch.inference_mode()
def test_where_no_cell_is_refined_the_picture_is_that_of_cells(exact: TransformerEngine) -> None:
    coder, raster = exact.autoencoder, GreyboxRaster(stage(), exact.volumes)
    drawn = raster.draw(state())
    table = anchor_table(stage(), exact.manifest.costumes, exact.manifest.looks)
    looks = coder.surface.describe(anchor_batch([table], CPU))
    maps = greybox_batch([drawn], CPU)
    surface = surface_of(coder, maps, looks)
    lacking = lacking_of(coder, maps, raster.refine(drawn, np.zeros((HEIGHT, WIDTH), np.bool_)), looks, surface)
    latents = torch.zeros(1, *exact.manifest.latent_shape).contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(
        pixels_of(coder, latents, replace(surface, lacking=lacking)), pixels_of(coder, latents, surface)
    )


def test_tiers_refine_more_and_more(exact: TransformerEngine) -> None:
    prepared = {tier: exact.begin(stage(), 1).prepare(state(), tier) for tier in exact.manifest.tiers}
    pixels = {
        tier: 0 if each.surface.lacking is None else int((each.surface.lacking.pixels != 0).sum())
        for tier, each in prepared.items()
    }
    assert pixels["draft"] == 0 < pixels["standard"] < pixels["high"]
    assert draw_whole(exact.begin(stage(), 1), state(), "high")[1].std() > 10
