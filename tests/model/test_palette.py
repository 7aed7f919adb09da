"""A stage's palette: what its surfaces look like under white light, from the paint of shape volumes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cutscene_model.palette import PALETTE_CHANNELS, paint_colors, palette
from cutscene_model.scene import ElementClass, Prop, Stage
from small_scenes import CRATE, FLOOR, ball_volume, stage


def test_paint_is_told_by_its_mean_and_deviation() -> None:
    colors = paint_colors(ball_volume("crate/large"))
    assert set(colors) == {"crate/large"}
    mean, deviation = colors["crate/large"][:3], colors["crate/large"][3:]
    share = 0.5  # of the ball is red, of which the rest, white, has as much
    np.testing.assert_allclose(mean, [1, share, share], atol=0.02)
    np.testing.assert_allclose(deviation, [0, 0.5, 0.5], atol=0.02)


def test_a_row_for_each_actor_and_each_distinct_look_with_tint_and_size() -> None:
    colors = paint_colors(ball_volume("crate/large"))
    of = Stage(
        replace(stage(2)).cast,
        (FLOOR, replace(CRATE, tint=(0.5, 1.0, 1.0)), replace(CRATE, tint=(0.5, 1.0, 1.0))),
        (Prop("p", ElementClass.CONTAINER, "crate/large", (0.5, 0.5, 0.5)),),
    )
    rows = palette(of, colors)
    assert rows.shape == (2 + 3, PALETTE_CHANNELS)
    assert rows.dtype == np.float32
    actors, floor, crates, prop = rows[:2], rows[2], rows[3], rows[4]
    assert (actors[:, 7] == 1).all()
    assert not rows[2:, 7].any()
    np.testing.assert_allclose(floor[:3], 0.5, err_msg="nothing is known of it")
    np.testing.assert_allclose(crates[0], 0.5, atol=0.01, err_msg="its tint")
    np.testing.assert_allclose(prop[0], 1.0, atol=0.01)
    assert (crates[8], prop[8]) == (0, 1)
    areas = np.exp(3 * rows[2:, 6]) - 0.1
    np.testing.assert_allclose(areas[1:], [12.0, 6.0], rtol=1e-3, err_msg="square metres: two crates, one")


def test_an_empty_stage_has_an_empty_palette() -> None:
    assert palette(Stage(), {}).shape == (0, PALETTE_CHANNELS)
