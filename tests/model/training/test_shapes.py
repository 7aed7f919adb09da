"""Boxes fitted to meshes: exact where boxes are what there is, close elsewhere; and those that ship are these."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from cutscene_model.training.shapes import Filled, fit_all, fit_boxes


def covered(boxes: list[tuple[np.ndarray, np.ndarray]], shape: tuple[int, ...]) -> Filled:
    result = np.zeros(shape, np.bool_)
    for low, high in boxes:
        result[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return result


def test_a_thing_made_of_boxes_is_found_exactly() -> None:
    table = np.zeros((20, 12, 16), np.bool_)
    table[:, 9:, :] = True
    for x in (0, 17):
        for z in (0, 13):
            table[x : x + 3, :9, z : z + 3] = True
    boxes = fit_boxes(table, np.random.default_rng(0))
    assert len(boxes) == 5
    np.testing.assert_array_equal(covered(boxes, table.shape), table)


def test_a_round_thing_is_covered_for_the_most_part() -> None:
    x, z = np.meshgrid(np.arange(20) - 9.5, np.arange(20) - 9.5, indexing="ij")
    barrel = np.repeat((x**2 + z**2 < 100)[:, None], 10, axis=1)
    fit = covered(fit_boxes(barrel, np.random.default_rng(0)), barrel.shape)
    assert (fit & barrel).sum() > 0.8 * barrel.sum()
    assert (fit & ~barrel).sum() < 0.1 * barrel.sum()


@pytest.mark.slow
def test_the_shipped_shapes_are_those_of_the_packs(assets: Path) -> None:
    shipped = json.loads(resources.files("cutscene_model").joinpath("shapes.json").read_text(encoding="utf-8"))
    assert fit_all(assets) == shipped
