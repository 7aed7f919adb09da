"""A draft's greybox: a quarter of the rays, the rest from those around them, and no block that depends on it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from cutscene_model.denoiser import frame_summary
from cutscene_model.engine import draw_whole
from cutscene_model.greybox import GreyboxRaster
from cutscene_model.loading import load_engine
from cutscene_model.tensors import greybox_batch
from cutscene_model.transformer import TransformerEngine
from cutscene_model.volumes import no_volumes
from small_scenes import stage, state

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def engine() -> TransformerEngine:
    return load_engine()


def test_rays_of_even_rows_and_columns_meet_what_they_meet_when_all_are_cast(engine: TransformerEngine) -> None:
    raster = GreyboxRaster(stage(), engine.volumes)
    whole, sparse = raster.draw(state()), raster.draw(state(), sparse=True)
    for name in ("slot", "part", "sample", "field"):
        every, quarter = getattr(whole, name), getattr(sparse, name)
        np.testing.assert_array_equal(quarter[..., ::2, ::2], every[..., ::2, ::2])


@pytest.mark.parametrize("volumes", [True, False])
def test_other_rays_are_right_but_for_edges(engine: TransformerEngine, volumes: bool) -> None:
    raster = GreyboxRaster(stage(), engine.volumes if volumes else no_volumes())
    whole, sparse = raster.draw(state()), raster.draw(state(), sparse=True)
    same = (whole.slot == sparse.slot) & (whole.part == sparse.part)
    assert 0.95 < same.mean() < 1, "edges are half as fine"
    assert np.quantile(np.abs(whole.field[0] - sparse.field[0])[same], 0.98) < 8e-3
    facing = (whole.field[4:7] * sparse.field[4:7]).sum(axis=0)[same & (whole.slot > 0)]
    assert np.quantile(facing, 0.1) > 0.9


def test_what_a_block_remembers_of_a_frame_does_not_depend_on_its_tier(engine: TransformerEngine) -> None:
    raster = GreyboxRaster(stage(), engine.volumes)
    whole, sparse = (
        frame_summary(greybox_batch([raster.draw(state(), sparse=choice)], CPU)) for choice in (False, True)
    )
    torch.testing.assert_close(whole, sparse, rtol=0, atol=0)


def test_tiers_that_the_manifest_names_are_drawn_so(engine: TransformerEngine) -> None:
    assert engine.manifest.sparse == ("draft",)
    _, sparse = draw_whole(engine.begin(stage(), 1), state(), "draft")
    all_cast = TransformerEngine(
        dataclasses.replace(engine.manifest, sparse=()), engine.volumes, engine.autoencoder, engine.denoiser, CPU
    )
    _, whole = draw_whole(all_cast.begin(stage(), 1), state(), "draft")
    difference = np.abs(sparse.astype(int) - whole)
    assert 0 < difference.mean() < 8, "the same picture, with coarser edges"
