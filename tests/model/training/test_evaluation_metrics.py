"""The figures of an evaluation against values that can be had by hand."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cutscene_model.scene import Camera
from cutscene_model.training.figures import GOALS, verdicts
from cutscene_model.training.identity import ActorColor, color_error, color_errors, lab
from cutscene_model.training.metrics import ssim
from cutscene_model.training.perceptual import Lpips, expected_shapes, load_lpips
from cutscene_model.training.regions import face_outline, regions_of, silhouettes
from cutscene_model.training.scores import FrameScore, error_shares, of, score, summary
from cutscene_model.training.steadiness import Places, choose_places, drift_db, flicker_ratio, frame_change
from small_scenes import actor, state

EVERYWHERE = torch.ones(8, 8, dtype=torch.bool)


def film(seed: int, frames: int = 5) -> list[torch.Tensor]:
    return list(torch.rand(frames, 3, 12, 16, generator=torch.Generator().manual_seed(seed)))


def flicker(results: list[torch.Tensor], references: list[torch.Tensor]) -> float:
    pairs = list(zip(results, references, strict=True))
    return flicker_ratio(
        [frame_change(now, before, r, r_before) for (before, r_before), (now, r) in itertools.pairwise(pairs)]
    )


def flat(red: float, green: float, blue: float) -> torch.Tensor:
    return torch.tensor([red, green, blue])[:, None, None].expand(3, 8, 8).clone()


def test_ssim_of_flat_pictures_compares_their_means() -> None:
    grey = torch.full((3, 20, 20), 0.5)
    # (2 * 0.5 * 0.7 + c1) / (0.25 + 0.49 + c1) with c1 = 0.01 squared.
    assert ssim(grey + 0.2, grey) == pytest.approx((0.7 + 1e-4) / (0.74 + 1e-4), abs=1e-4)


# Flicker -----------------------------------------------------------------------------------------------------------


def test_the_reference_itself_does_not_flicker() -> None:
    assert flicker(film(0), film(0)) == 0.0


def test_a_constant_error_is_no_flicker() -> None:
    assert flicker([frame + 0.1 for frame in film(0)], film(0)) == pytest.approx(0.0, abs=1e-5)


def test_a_frozen_picture_has_a_flicker_of_exactly_one() -> None:
    frozen = [film(3)[0]] * 5
    assert flicker(frozen, film(0)) == pytest.approx(1.0)


def test_twice_the_change_is_as_false_as_none() -> None:
    still = torch.zeros(3, 4, 4)
    assert flicker([still, still + 0.4], [still, still + 0.2]) == pytest.approx(1.0)
    assert flicker([still, still + 0.15], [still, still + 0.2]) == pytest.approx(0.25)


def test_flicker_of_a_reference_that_never_moves_is_not_a_number() -> None:
    assert math.isnan(flicker(film(0), [film(1)[0]] * 5))


# Drift -------------------------------------------------------------------------------------------------------------


def test_drift_is_the_early_mean_less_the_late_mean() -> None:
    places = Places(early=10, late=30, period=20, reach=2)
    curve = dict.fromkeys(range(40), 30.0)
    assert drift_db(curve, places) == 0.0
    curve |= dict.fromkeys(places.around(30), 29.0) | {30: 27.0}
    assert drift_db(curve, places) == pytest.approx((4 * 1.0 + 3.0) / 5)


@pytest.mark.parametrize(("shot", "late"), [(91, 1500), (300, 1500), (40, 1500), (96, 777), (5, 8), (1, 100)])
def test_both_places_show_the_same_moments(shot: int, late: int) -> None:
    places = choose_places(shot, late)
    assert places.early - places.reach >= 0
    assert places.early < places.late <= late
    here, there = ([places.source(frame) for frame in places.around(place)] for place in (places.early, places.late))
    assert here == there
    every = [places.source(frame) for frame in range(places.late + places.reach + 1)]
    assert 0 <= min(every) <= max(every) < shot
    steps = {abs(b - a) for a, b in itertools.pairwise(every)}
    assert steps <= {0, 1}, "the shot is played forwards and backwards without a jump"


def test_places_are_frames_50_and_1500() -> None:
    places = choose_places(91, 1500)
    assert (places.early, places.late, places.period, places.reach) == (50, 1500, 145, 12)
    with pytest.raises(ValueError, match="8 or more"):
        choose_places(91, 7)


# Identity ----------------------------------------------------------------------------------------------------------


def test_lab_of_known_colours() -> None:
    colors = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.5, 0.5, 0.5]]).T
    expected = torch.tensor([[100.0, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [53.39, 0, 0]]).T
    torch.testing.assert_close(lab(colors), expected, atol=0.02, rtol=0)


def test_the_identity_error_of_a_tint_is_its_distance() -> None:
    # White to black is 100 in L*, and red to black is the length of red's L*, a*, b*.
    assert color_error(flat(0, 0, 0), flat(1, 1, 1), EVERYWHERE).error == pytest.approx(100, abs=0.01)
    red = color_error(flat(1, 0, 0), flat(0, 0, 0), EVERYWHERE)
    assert red.error == pytest.approx(math.sqrt(53.24**2 + 80.09**2 + 67.20**2), abs=0.05)
    assert red.shift == pytest.approx(red.error, abs=1e-3)


def test_noise_is_an_error_but_no_shift() -> None:
    reference, result = flat(0.5, 0.5, 0.5), flat(0.5, 0.5, 0.5)
    lighter, darker = 0.56, 0.4394  # equally far from 0.5 in L*
    result[:, ::2], result[:, 1::2] = lighter, darker
    found = color_error(result, reference, EVERYWHERE)
    assert found.error > 5
    assert found.shift < 0.1


def test_each_actor_is_told_apart() -> None:
    left = EVERYWHERE.clone()
    left[:, 4:] = False
    result = flat(1, 1, 1)
    result[:, :, :4] = 0
    errors = color_errors(result, flat(1, 1, 1), {0: left, 2: ~left})
    assert errors[0].error == pytest.approx(100, abs=0.01)
    assert errors[2] == ActorColor(0.0, 0.0)


# Regions -----------------------------------------------------------------------------------------------------------


def test_silhouettes_are_the_two_pixels_on_either_side() -> None:
    ids = np.zeros((9, 12), np.uint8)
    ids[:, 6:] = 3
    edge = silhouettes(ids)
    assert edge[4].tolist() == [False] * 4 + [True] * 4 + [False] * 4
    assert not silhouettes(np.full((9, 12), 6, np.uint8)).any()


def test_a_face_is_where_the_head_is_and_only_from_the_front() -> None:
    camera = state().camera  # at x 0, height 1.4, five metres before the actors, who face it
    mask = face_outline(actor(), camera, 288, 512)
    rows, columns = np.nonzero(mask)
    assert columns.mean() == pytest.approx(255.5, abs=1)
    focal = 144 / math.tan(camera.vertical_fov / 2)
    depth = 5.0 - 0.45
    assert rows.mean() == pytest.approx(143.5 - focal * (1.24 + 0.36 - 1.4) / depth, abs=2)
    assert np.ptp(columns) + 1 == pytest.approx(focal * 2 * 0.40 / depth, abs=3)
    behind = Camera((0.0, 1.4, -5.0), (0.0, 1.0, 0.0, 0.0), camera.vertical_fov)
    assert not face_outline(actor(), behind, 288, 512).any()


def test_regions_keep_to_the_id_pass() -> None:
    ids = np.full((288, 512), 6, np.uint8)
    ids[:, :256] = 1  # the first actor, who stands left of the middle; of the second nothing is seen
    regions = regions_of(state(), ids)
    assert set(regions.actors) == {0}
    assert set(regions.faces) == {0}
    assert not regions.any_face[:, 256:].any()
    assert int(regions.anyone.sum()) == 288 * 256


# Scores ------------------------------------------------------------------------------------------------------------


def test_a_score_looks_at_each_region() -> None:
    ids = np.full((288, 512), 6, np.uint8)
    ids[:, :256] = 1
    regions = regions_of(state(), ids)
    reference = torch.full((3, 288, 512), 0.5)
    result = reference.clone()
    result[:, regions.any_face] += 0.1
    found = score(result, reference, regions)
    assert found.face_psnr_db == pytest.approx(20.0, abs=1e-3)
    share = float(regions.any_face.sum()) / regions.anyone.sum()
    assert found.actor_psnr_db == pytest.approx(20.0 - 10 * math.log10(share), abs=1e-2)
    assert found.edge_psnr_db == 100.0
    assert found.change is None
    assert math.isnan(found.lpips)
    shares = error_shares([found])
    assert shares["faces"]["squared_error"] == 1.0
    assert shares["faces"]["psnr_db"] == pytest.approx(20.0, abs=1e-3)
    assert sum(part["pixels"] for part in shares.values()) == pytest.approx(1.0, abs=1e-3)


def test_a_summary_leaves_out_what_no_frame_has() -> None:
    empty = regions_of(state(), np.full((288, 512), 6, np.uint8))
    black = torch.zeros(3, 288, 512)
    scores = [
        FrameScore(0, "wide", i, {"draft": score(black + level, black, empty)}) for i, level in enumerate((0.1, 0.01))
    ]
    figures = summary(of(scores, "draft"))
    assert figures["psnr_db"] == pytest.approx(30.0)
    assert figures["psnr_p10_db"] == pytest.approx(22.0)
    assert not {"actor_psnr_db", "face_psnr_db", "identity_error", "lpips", "flicker_ratio"} & set(figures)


def test_goals_are_met_or_missed() -> None:
    model = {goal.key: goal.bound for goal in GOALS if goal.who == "model"} | {"ssim": 0.5}
    found = {(v.goal.who, v.goal.key): v.met for v in verdicts({"model": model, "session": {"drift_db": 0.6}})}
    assert found.pop(("model", "ssim")) is False
    assert found.pop(("session", "drift_db")) is False
    assert set(found.values()) == {True}
    assert all(who == "model" for who, _ in found)


# LPIPS -------------------------------------------------------------------------------------------------------------


def hand_made_weights() -> dict[str, torch.Tensor]:
    """The first layer hands red and green on as they are, all others give nothing, the first head weighs a quarter."""
    tensors = {name: torch.zeros(shape) for name, shape in expected_shapes().items()}
    tensors["scaling_layer.scale"] += 1
    tensors["net.slice1.0.weight"][0, 0, 5, 5] = 1
    tensors["net.slice1.0.weight"][1, 1, 5, 5] = 1
    tensors["lin0.model.1.weight"] += 0.25
    return tensors


def test_lpips_is_the_weighted_distance_of_directions(tmp_path: Path) -> None:
    path = tmp_path / "lpips.safetensors"
    save_file(hand_made_weights(), path)
    lpips = load_lpips(path)
    red, green = flat(1, 0, 0).repeat(1, 12, 12), flat(0, 1, 0).repeat(1, 12, 12)
    assert lpips(red, red) == 0.0
    # Directions (1, 0) and (0, 1) everywhere: a squared distance of one in each of two channels.
    assert lpips(red, green) == pytest.approx(2 * 0.25)
    assert lpips(green, red) == pytest.approx(2 * 0.25)


def test_what_is_not_lpips_is_refused(tmp_path: Path) -> None:
    tensors = hand_made_weights()
    tensors.pop("net.slice5.10.bias")
    with pytest.raises(ValueError, match=r"net\.slice5\.10\.bias is missing"):
        Lpips(tensors)
    pickled = tmp_path / "lpips.pth"
    torch.save(hand_made_weights(), pickled)
    with pytest.raises(ValueError, match="not a safetensors file"):
        load_lpips(pickled)
