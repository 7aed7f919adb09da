"""Reference pictures as the model takes them: a grade that is exact, kept, and nothing where there are none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cutscene_model.engine import PastFrame, Pixels, draw_whole
from cutscene_model.errors import ReferencesError
from cutscene_model.grading import TERMS, graded, steadied
from cutscene_model.loading import load_engine
from cutscene_model.palette import PALETTE_CHANNELS
from cutscene_model.scene import SceneState, Stage
from cutscene_model.transformer import TransformerEngine
from small_scenes import stage, state


@pytest.fixture(scope="module")
def shipped() -> TransformerEngine:
    return load_engine()


def picture(seed: int) -> Pixels:
    blocks = np.random.default_rng(seed).integers(0, 256, (9, 16, 3), np.uint8)
    return blocks.repeat(32, axis=0).repeat(32, axis=1)


def with_pictures(engine: TransformerEngine, *pictures: Pixels) -> Stage:
    return replace(stage(), references=tuple(engine.encode(each).tobytes() for each in pictures))


def referring(engine: TransformerEngine, *seeds: int) -> Stage:
    return with_pictures(engine, *map(picture, seeds))


def drawn(engine: TransformerEngine, of: Stage, tier: str = "standard", scene: SceneState | None = None) -> Pixels:
    return draw_whole(engine.begin(of, 7), state() if scene is None else scene, tier)[1]


def test_without_references_the_reader_changes_nothing(shipped: TransformerEngine) -> None:
    manifest = replace(shipped.manifest, references=0, reference_shape=())
    blind = TransformerEngine(manifest, shipped.volumes, shipped.autoencoder, shipped.denoiser, shipped.device)
    for tier in shipped.manifest.tiers:
        np.testing.assert_array_equal(drawn(shipped, stage(), tier), drawn(blind, stage(), tier))


def test_a_reference_is_seen_alike_every_time_and_in_its_stored_form(shipped: TransformerEngine) -> None:
    seen = shipped.encode(picture(1))
    assert seen.shape == shipped.manifest.reference_shape
    assert seen.dtype == np.float16
    assert seen.nbytes == shipped.manifest.reference_bytes
    assert seen.tobytes() == shipped.encode(picture(1).copy()).tobytes()
    assert seen.tobytes() != shipped.encode(picture(2)).tobytes()
    unaligned = np.frombuffer(b"x" + picture(1).tobytes(), np.uint8, offset=1).reshape(288, 512, 3)
    assert seen.tobytes() == shipped.encode(unaligned).tobytes()
    np.testing.assert_allclose(seen[:3, 2, 5], picture(1)[64, 160] / 255, atol=1e-3)
    assert seen[3:].max() < 2e-3, "each of this picture's cells has one colour"


def test_each_reference_counts_and_their_order_does_not(shipped: TransformerEngine) -> None:
    grades = {seeds: shipped.grade(referring(shipped, *seeds)) for seeds in ((1,), (2,), (1, 2), (2, 1))}
    assert all(grade is not None and grade.shape == (3, 10) for grade in grades.values())
    told = {seeds: grade.numpy().tobytes() for seeds, grade in grades.items() if grade is not None}
    assert len(set(told.values())) == 3
    assert told[1, 2] == told[2, 1]
    assert shipped.grade(stage()) is None


def test_where_nothing_is_on_stage_nothing_is_known_of_its_colours(shipped: TransformerEngine) -> None:
    grade = shipped.grade(replace(Stage(), references=(shipped.encode(picture(1)).tobytes(),)))
    assert grade is not None
    assert not grade.any()


def test_a_grade_that_moves_little_is_taken_for_chance_and_a_strong_one_as_it_is() -> None:
    palette = torch.rand(2, 5, PALETTE_CHANNELS, generator=torch.Generator().manual_seed(1))
    used = torch.ones(2, 5, dtype=torch.bool)
    grades = torch.zeros(2, 3, TERMS)
    grades[0, :, -1], grades[1, :, -1] = 0.03, 0.6  # added, of a range of 2
    weak, strong = steadied(grades, palette, used)
    assert not weak.any()
    torch.testing.assert_close(strong, grades[1], rtol=0.01, atol=0)
    padded = torch.cat([palette, torch.full((2, 3, PALETTE_CHANNELS), 9.0)], dim=1)
    more = torch.cat([used, torch.zeros(2, 3, dtype=torch.bool)], dim=1)
    torch.testing.assert_close(steadied(grades, padded, more), steadied(grades, palette, used))


def test_references_move_colours_and_leave_the_state_as_it_is(shipped: TransformerEngine) -> None:
    plain, moved = shipped.begin(stage(), 7), shipped.begin(referring(shipped, 1), 7)
    for step in range(3):
        one, other = (draw_whole(timeline, state(0.02 * step), "standard") for timeline in (plain, moved))
        assert one[0].latent.tobytes() == other[0].latent.tobytes()
        assert (one[1] != other[1]).any()


@pytest.mark.parametrize("tier", ["draft", "standard"])
@torch.inference_mode()
def test_compiled_grading_says_what_the_modules_say(shipped: TransformerEngine, tier: str) -> None:
    of = referring(shipped, 3)
    timeline = shipped.begin(of, 7)
    prepared = timeline.prepare(state(), tier)
    latent = timeline.draw(prepared, tier).latent
    compiled = timeline.decode(prepared, latent)
    clean = torch.tensor(latent)[None].float().contiguous(memory_format=torch.channels_last)
    coder, grade = shipped.autoencoder, shipped.grade(of)
    assert grade is not None
    exact = coder.sketched(prepared.surface) if prepared.sketched else coder.decode(clean, prepared.surface)
    levels = (graded(exact.float(), grade[None])[0].clamp(-1, 1) + 1) * 127.5
    error = np.abs(compiled.astype(np.float32) - levels.permute(1, 2, 0).numpy())
    assert error.max() < 1.1, "levels of 255: rounding, and the two ways' sums"


def test_a_timeline_begun_from_stored_frames_goes_on_exactly_without_the_pictures(shipped: TransformerEngine) -> None:
    told = referring(shipped, 1, 2)
    whole = shipped.begin(told, 7)
    states = [state(0.02 * frame) for frame in range(6)]
    frames = [draw_whole(whole, each, "standard") for each in states]
    past = [PastFrame(frame.frame_index, each, frame.latent) for (frame, _), each in zip(frames, states, strict=True)]
    stored = replace(stage(), references=tuple(bytes(bytearray(seen)) for seen in told.references))
    for at in (1, 4):
        taken_up = shipped.begin(stored, 7, at, past[:at])
        for (frame, pixels), each in zip(frames[at:], states[at:], strict=True):
            again, shown = draw_whole(taken_up, each, "standard")
            assert again.latent.tobytes() == frame.latent.tobytes()
            np.testing.assert_array_equal(shown, pixels)


def test_what_a_model_cannot_take_is_refused(shipped: TransformerEngine) -> None:
    with pytest.raises(ReferencesError, match="5 reference pictures; kaykit takes 4"):
        shipped.begin(referring(shipped, 1, 2, 3, 4, 5), 7)
    with pytest.raises(ReferencesError, match="a reference of 1727 bytes; this model's have 1728"):
        shipped.begin(replace(stage(), references=(referring(shipped, 1).references[0][1:],)), 7)
    manifest = replace(shipped.manifest, references=0, reference_shape=())
    blind = TransformerEngine(manifest, shipped.volumes, shipped.autoencoder, shipped.denoiser, shipped.device)
    with pytest.raises(ReferencesError, match="1 reference pictures; kaykit takes none"):
        blind.begin(referring(shipped, 1), 7)
