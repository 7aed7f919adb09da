"""Reference pictures as the model sees them: anchors that are exact, kept, and nothing where there are none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cutscene_model.denoiser import REFERENCE_CELLS, Denoiser
from cutscene_model.engine import PastFrame, draw_whole
from cutscene_model.errors import ReferencesError
from cutscene_model.loading import load_engine
from cutscene_model.scene import Stage
from cutscene_model.transformer import TransformerEngine, TransformerTimeline
from seeing_model import write_seeing_model
from small_scenes import stage, state


@pytest.fixture(scope="module")
def shipped() -> TransformerEngine:
    return load_engine()


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> TransformerEngine:
    return load_engine(write_seeing_model(tmp_path_factory.mktemp("models") / "seeing"))


def picture(seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    blocks = np.random.default_rng(seed).integers(0, 256, (9, 16, 3), np.uint8)
    return blocks.repeat(32, axis=0).repeat(32, axis=1)


def referring(engine: TransformerEngine, *seeds: int) -> Stage:
    return replace(stage(), references=tuple(engine.encode(picture(seed)).tobytes() for seed in seeds))


def latents(timeline: TransformerTimeline, frames: int = 4) -> list[bytes]:
    return [draw_whole(timeline, state(0.02 * frame), "standard")[0].latent.tobytes() for frame in range(frames)]


def test_without_a_reference_a_model_that_sees_them_draws_what_the_shipped_one_draws(
    shipped: TransformerEngine, seeing: TransformerEngine
) -> None:
    assert shipped.manifest.references == 0
    for tier in ("draft", "standard"):
        one, other = shipped.begin(stage(), 7), seeing.begin(stage(), 7)
        for frame in range(4):
            _, ours = draw_whole(one, state(0.02 * frame), tier)
            _, theirs = draw_whole(other, state(0.02 * frame), tier)
            np.testing.assert_array_equal(ours, theirs)


def test_the_weights_that_ship_are_all_there_is_of_a_model_without_references() -> None:
    torch.manual_seed(3)
    without = Denoiser()
    torch.manual_seed(3)
    with_them = Denoiser(references=True)
    more = {name for name in with_them.state_dict() if name not in without.state_dict()}
    assert more == {name for name in with_them.state_dict() if name.startswith("reference.")}
    for name, value in without.state_dict().items():
        assert torch.equal(value, with_them.state_dict()[name]), name


def test_a_reference_is_encoded_alike_every_time_and_in_its_stored_form(seeing: TransformerEngine) -> None:
    latent = seeing.encode(picture(1))
    assert latent.shape == seeing.manifest.latent_shape
    assert latent.dtype == np.float16
    assert latent.tobytes() == seeing.encode(picture(1).copy()).tobytes()
    assert latent.tobytes() != seeing.encode(picture(2)).tobytes()
    assert latent.nbytes == seeing.manifest.latent_bytes
    unaligned = np.frombuffer(b"x" + picture(1).tobytes(), np.uint8, offset=1).reshape(288, 512, 3)
    assert latent.tobytes() == seeing.encode(unaligned).tobytes()


def test_references_reach_the_frames_and_each_counts(seeing: TransformerEngine) -> None:
    drawn = {seeds: tuple(latents(seeing.begin(referring(seeing, *seeds), 7))) for seeds in ((), (1,), (2,), (1, 2))}
    assert len(set(drawn.values())) == 4
    assert drawn[1, 2] == tuple(latents(seeing.begin(referring(seeing, 1, 2), 7)))


def test_they_become_so_many_anchor_cells_that_cuts_do_not_forget(seeing: TransformerEngine) -> None:
    timeline, plain = seeing.begin(referring(seeing, 1, 2), 7), seeing.begin(stage(), 7)
    assert timeline._anchors.keys.shape[3] == plain._anchors.keys.shape[3] + 2 * REFERENCE_CELLS
    first = latents(timeline, 1)
    timeline.go_to(0, ())
    assert latents(timeline, 1) == first


def test_a_timeline_begun_from_stored_frames_goes_on_exactly_without_the_pictures(seeing: TransformerEngine) -> None:
    told = referring(seeing, 1, 2)
    whole = seeing.begin(told, 7)
    states = [state(0.02 * frame) for frame in range(6)]
    frames = [draw_whole(whole, each, "standard")[0] for each in states]
    past = [PastFrame(frame.frame_index, each, frame.latent) for frame, each in zip(frames, states, strict=True)]
    stored = replace(stage(), references=tuple(bytes(bytearray(latent)) for latent in told.references))
    for at in (1, 4):
        taken_up = seeing.begin(stored, 7, at, past[:at])
        for frame, each in zip(frames[at:], states[at:], strict=True):
            assert draw_whole(taken_up, each, "standard")[0].latent.tobytes() == frame.latent.tobytes()


def test_what_a_model_cannot_take_is_refused(shipped: TransformerEngine, seeing: TransformerEngine) -> None:
    with pytest.raises(ReferencesError, match="1 reference pictures; kaykit takes none"):
        shipped.begin(referring(shipped, 1), 7)
    with pytest.raises(ReferencesError, match="3 reference pictures; seeing takes 2"):
        seeing.begin(referring(seeing, 1, 2, 3), 7)
    with pytest.raises(ReferencesError, match="18431 bytes"):
        seeing.begin(replace(stage(), references=(referring(seeing, 1).references[0][1:],)), 7)
    with pytest.raises(ValueError, match="no weights"):
        shipped.denoiser.references(torch.zeros(1, 1, 64, 9, 16))
