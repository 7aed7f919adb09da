"""The engine with the weights that ship: caching, rebuilding, cutting, determinism."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cutscene_model.block_pool import BlockPool
from cutscene_model.engine import TIERS, PastFrame, draw_whole
from cutscene_model.errors import UnknownCostumeError, UnknownLookError
from cutscene_model.loading import load_engine
from cutscene_model.pipeline import Pipeline
from cutscene_model.scene import Box, ElementClass, SetElement, Stage
from cutscene_model.transformer import TransformerEngine, TransformerTimeline
from small_scenes import stage, state


@pytest.fixture(scope="module")
def engine() -> TransformerEngine:
    return load_engine()


def played(timeline: TransformerTimeline, frames: int, tier: str = "standard") -> list[bytes]:
    return [draw_whole(timeline, state(0.02 * frame), tier)[1].tobytes() for frame in range(frames)]


def test_a_frame_has_the_manifests_size_and_is_not_flat(engine: TransformerEngine) -> None:
    frame, pixels = draw_whole(engine.begin(stage(), 1), state(), "standard")
    assert pixels.shape == (engine.manifest.height, engine.manifest.width, 3)
    assert frame.latent.shape == engine.manifest.latent_shape
    assert frame.latent.dtype == np.float16
    assert pixels.std() > 10


def with_pool(engine: TransformerEngine, budget: int) -> TransformerEngine:
    """The same model with a pool of its own."""
    return TransformerEngine(
        engine.manifest, engine.volumes, engine.autoencoder, engine.denoiser, engine.device, pool=BlockPool(budget)
    )


def test_blocks_made_again_from_latents_give_the_same_frame(engine: TransformerEngine) -> None:
    roomy, cramped = with_pool(engine, 1 << 30), with_pool(engine, 1)
    assert played(roomy.begin(stage(), 7), 6) == played(cramped.begin(stage(), 7), 6)
    assert (roomy.pool.figures.recomputed, roomy.pool.figures.evictions) == (0, 0)
    assert cramped.pool.figures.recomputed > 0
    assert cramped.pool.figures.blocks == 1
    assert cramped.counters()["recomputed"] == cramped.pool.figures.recomputed


def test_timelines_that_remember_alike_share_blocks_and_let_go_of_them(engine: TransformerEngine) -> None:
    own = with_pool(engine, 1 << 30)
    first, second = own.begin(stage(), 7), own.begin(stage(), 7)
    assert played(first, 4) == played(second, 4)
    assert (own.pool.figures.computed, own.pool.figures.shares) == (3, 3)
    first.close()
    second.close()
    own.pool.budget = 0
    played(own.begin(stage(), 8), 2)
    assert own.pool.figures.blocks == 1, "what nobody holds goes first"


def test_a_timeline_begun_from_stored_frames_goes_on_exactly(engine: TransformerEngine) -> None:
    whole = engine.begin(stage(), 7)
    states = [state(0.02 * frame) for frame in range(8)]
    frames, pictures = zip(*[draw_whole(whole, each, "standard") for each in states], strict=True)
    # Latents come back from disk as plain bytes: in which order they lay in memory must not matter.
    stored = [np.frombuffer(frame.latent.tobytes(), np.float16).reshape(frame.latent.shape) for frame in frames]
    past = [PastFrame(index, each, latent) for index, (each, latent) in enumerate(zip(states, stored, strict=True))]
    for at in (1, 5):
        taken_up = engine.begin(stage(), 7, at, past[:at])
        for picture, each in zip(pictures[at:], states[at:], strict=True):
            np.testing.assert_array_equal(draw_whole(taken_up, each, "standard")[1], picture)


def test_a_stored_frame_is_shown_as_it_was_and_the_timeline_stays(engine: TransformerEngine) -> None:
    timeline = engine.begin(stage(), 7)
    frame, pixels = draw_whole(timeline, state(0.1), "standard")
    again = engine.begin(stage(), 7)
    np.testing.assert_array_equal(again.decode(again.prepare(state(0.1), "standard"), frame.latent), pixels)
    assert again.next_frame == 0
    np.testing.assert_array_equal(draw_whole(again, state(0.1), "standard")[1], pixels)


def test_the_window_matters_and_a_cut_forgets_it(engine: TransformerEngine) -> None:
    with_past, without, cut = (engine.begin(stage(), 7) for _ in range(3))
    played(with_past, 4)
    for frame in range(4):
        draw_whole(cut, state(0.5 - 0.1 * frame), "standard")
        draw_whole(without, state(0.02 * frame), "standard")
    cut.cut()
    without.cut()
    last = state(0.1)
    remembered = draw_whole(with_past, last, "standard")[0].latent
    forgotten = draw_whole(without, last, "standard")[0].latent
    assert not np.array_equal(remembered, forgotten)
    np.testing.assert_array_equal(forgotten, draw_whole(cut, last, "standard")[0].latent)


def test_the_cache_figures_count_each_frames_block_once(engine: TransformerEngine) -> None:
    timeline = engine.begin(stage(), 1)
    window = engine.manifest.window
    figures = []
    for _ in range(window + 3):
        frame, _ = draw_whole(timeline, state(), "standard")
        figures.append((frame.blocks_reused, frame.blocks_computed))
    # First the anchors are made; then every frame makes the block of the one before and reuses the rest.
    assert figures[0] == (0, 1)
    assert figures[1 : window + 1] == [(1 + made, 1) for made in range(window)]
    assert figures[-1] == (window, 1)


def test_a_cut_right_after_taking_up_a_timeline_leaves_no_figure_below_zero(engine: TransformerEngine) -> None:
    latents = [np.full(engine.manifest.latent_shape, index / 10, np.float16) for index in range(3)]
    timeline = engine.begin(stage(), 1, 3, [PastFrame(at, state(), latent) for at, latent in enumerate(latents)])
    timeline.cut()
    frame, _ = draw_whole(timeline, state(), "standard")
    assert (frame.blocks_reused, frame.blocks_computed) == (0, 4)


def test_commit_moves_work_and_changes_nothing(engine: TransformerEngine) -> None:
    eager, lazy = engine.begin(stage(), 3), engine.begin(stage(), 3)
    for frame in range(4):
        _, a = draw_whole(eager, state(0.05 * frame), "standard")
        eager.commit()
        eager.commit()
        _, b = draw_whole(lazy, state(0.05 * frame), "standard")
        np.testing.assert_array_equal(a, b)


def test_equal_seeds_draw_equal_frames_and_others_do_not(engine: TransformerEngine) -> None:
    assert played(engine.begin(stage(), 5), 3) == played(engine.begin(stage(), 5), 3)
    assert played(engine.begin(stage(), 5), 1) != played(engine.begin(stage(), 6), 1)


def test_timelines_beside_one_another_do_not_mix(engine: TransformerEngine) -> None:
    alone = played(engine.begin(stage(), 5), 4)
    first, second = engine.begin(stage(), 5), engine.begin(stage(1), 9)
    woven = []
    for frame in range(4):
        woven.append(draw_whole(first, state(0.02 * frame), "standard")[1].tobytes())
        draw_whole(second, state(0.3, actors=1), "standard")
    assert woven == alone


@pytest.mark.parametrize("tier", TIERS)
def test_frames_made_side_by_side_are_those_made_one_by_one(engine: TransformerEngine, tier: str) -> None:
    pipeline = Pipeline()
    states = [state(0.02 * frame) for frame in range(6)]
    pictures = [pixels.tobytes() for pixels in pipeline.play(engine.begin(stage(), 5), states, tier)]
    pipeline.close()
    timeline = engine.begin(stage(), 5)
    assert pictures == [draw_whole(timeline, each, tier)[1].tobytes() for each in states]


def test_frames_without_denoising_read_no_blocks_and_leave_them_to_be_made_when_they_are_read() -> None:
    engine = load_engine()
    timeline = engine.begin(stage(), 1)
    tiers = ["draft"] * 4 + ["standard"] * 2 + ["draft"] * 2 + ["standard"]
    frames = [draw_whole(timeline, state(0.02 * place), tier)[0] for place, tier in enumerate(tiers)]
    figures = [(frame.blocks_reused, frame.blocks_computed) for frame in frames]
    assert figures[1:4] == [(0, 0)] * 3
    assert figures[4:6] == [(1, 3), (3, 1)], "the window's three at once, then the one that is new"
    assert figures[8] == (2, 2)
    past = [PastFrame(place, state(0.02 * place), frames[place].latent) for place in range(5)]
    resumed = engine.begin(stage(), 1, 5, past)
    np.testing.assert_array_equal(draw_whole(resumed, state(0.1), "standard")[0].latent, frames[5].latent)
    timeline.close()
    resumed.close()
    assert engine.pool.figures.used == 0


def test_a_look_said_at_open_is_seen_without_being_said_again(engine: TransformerEngine) -> None:
    plain = stage()
    red = replace(plain, cast=(replace(plain.cast[0], tint=(1.4, 0.3, 0.3)), plain.cast[1]))
    a = draw_whole(engine.begin(plain, 1), state(), "standard")[1].astype(int)
    b = draw_whole(engine.begin(red, 1), state(), "standard")[1].astype(int)
    left, right = np.abs(a - b)[:, :256].mean(), np.abs(a - b)[:, 256:].mean()
    assert left > 2 * right  # the tinted actor stands on the left


@pytest.mark.parametrize("tier", TIERS)
def test_every_tier_draws(engine: TransformerEngine, tier: str) -> None:
    assert draw_whole(engine.begin(stage(), 1), state(), tier)[0].tier == tier


def test_names_outside_the_vocabulary_are_refused(engine: TransformerEngine) -> None:
    with pytest.raises(UnknownCostumeError, match="pirate"):
        engine.begin(Stage((replace(stage().cast[0], costume="pirate"),)), 1)
    with pytest.raises(UnknownLookError, match="lava"):
        engine.begin(Stage((), (SetElement(ElementClass.FLOOR, "lava", Box((0, 0, 0), (1, 1, 1))),)), 1)
