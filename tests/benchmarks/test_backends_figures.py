"""What benchmarks/backends.py makes of times and outputs; which ways it says are lacking."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from backend_ways import known
from backend_ways.figures import (
    Saving,
    best_mix,
    is_crowded,
    is_near,
    medians,
    psnr_db,
    relative_error,
    saving,
    winners,
)
from backend_ways.torch_way import PointwiseLinear, in_int8
from torch import nn

from cutscene_model.decoder import Pointwise


def took(cpu_ms: float) -> dict[str, float]:
    return {"ms": 2 * cpu_ms, "cpu_ms": cpu_ms}


TIMES = {
    "slow": {"denoiser": took(8.0), "levels": took(4.0), "decoder": took(12.0)},
    "fast": {"denoiser": took(5.0), "decoder": took(6.0)},
    "rough": {"denoiser": took(1.0), "levels": took(1.0), "decoder": took(1.0)},
}
EXACT = {"relative_error": 0.0, "psnr_db": 99.0}
ERRORS = {
    "slow": dict.fromkeys(("denoiser", "levels", "decoder"), EXACT),
    "fast": {"denoiser": {"relative_error": 0.01}, "decoder": {"relative_error": 0.5, "psnr_db": 60.0}},
    "rough": {
        "denoiser": {"relative_error": 0.3},
        "levels": {"relative_error": math.nan},
        "decoder": {"relative_error": 0.0, "psnr_db": 30.0},
    },
}
SHIPPED = dict.fromkeys(("denoiser", "levels", "decoder"), "slow")
COUNTS = {"denoiser": 2, "levels": 1, "decoder": 1}


def test_medians_go_by_figure_and_one_outlier_does_not_move_them() -> None:
    assert medians([took(1.0), took(900.0), took(2.0)]) == {"ms": 4.0, "cpu_ms": 2.0}
    with pytest.raises(ValueError, match="no rounds"):
        medians([])


def test_relative_error_is_over_all_outputs_together() -> None:
    right = [np.full((2, 2), 3.0, np.float32), np.full(4, 4.0, np.float32)]
    made = [right[0], right[1] + np.float32(1.0)]
    assert relative_error(made, right) == pytest.approx(math.sqrt(4 / (4 * 9 + 4 * 16)))
    assert relative_error(right, right) == 0.0
    with pytest.raises(ValueError, match="shapes"):
        relative_error(made[:1], right)


def test_psnr_of_one_level_everywhere_and_of_the_same_picture() -> None:
    picture = np.full((4, 4, 3), 100, np.uint8)
    assert psnr_db(picture + np.uint8(1), picture) == pytest.approx(48.13, abs=0.01)
    assert psnr_db(np.zeros_like(picture), np.full_like(picture, 255)) == 0.0  # bytes do not wrap
    assert psnr_db(picture, picture) == math.inf


def test_near_is_judged_by_the_picture_where_there_is_one_and_not_a_number_is_far() -> None:
    assert is_near("decoder", {"relative_error": 0.5, "psnr_db": 45.0})
    assert not is_near("decoder", {"relative_error": 0.0, "psnr_db": 44.9})
    assert is_near("denoiser", {"relative_error": 0.02})
    assert not is_near("denoiser", {"relative_error": 0.021})
    assert not is_near("levels", {"relative_error": math.nan})


def test_a_frame_saves_by_how_often_it_runs_a_network() -> None:
    found = saving(dict.fromkeys(("denoiser", "decoder"), "fast"), TIMES, ERRORS, SHIPPED, COUNTS, 60.0)
    assert found == Saving(cpu_ms=12.0, cpu_share=0.2, wall_ms=24.0, near=True)
    same = saving(SHIPPED, TIMES, ERRORS, SHIPPED, COUNTS, 60.0)
    assert (same.cpu_ms, same.near) == (0.0, True)
    assert not saving({"decoder": "rough"}, TIMES, ERRORS, SHIPPED, COUNTS, 60.0).near


def test_the_best_mix_takes_the_cheapest_that_is_near() -> None:
    mix = best_mix(TIMES, ERRORS, ("denoiser", "levels", "decoder"))
    assert mix == {"denoiser": "fast", "levels": "slow", "decoder": "fast"}


def test_only_what_is_near_and_saves_more_than_its_worth_wins() -> None:
    savings = {
        "little": Saving(9.0, 0.15, 9.0, True),
        "much": Saving(12.0, 0.2, 9.0, True),
        "most": Saving(30.0, 0.5, 30.0, True),
        "wrong": Saving(40.0, 0.6, 40.0, False),
        "worse": Saving(-1.0, -0.02, -1.0, True),
    }
    assert winners(savings) == ["most", "much"]


def test_threads_that_spin_are_told_from_threads_that_share_the_work() -> None:
    assert not is_crowded(took(70.0), took(60.0))
    assert not is_crowded(took(60.0), took(60.0))
    assert is_crowded(took(1371.5), took(80.0))


def test_what_is_lacking_is_named_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert known.lacking(known.REFERENCE) is None
    monkeypatch.setitem(known.WAYS, "other", known.Kind("other_way", ("json", "no_such_module")))
    assert known.lacking("other") == "no_such_module not installed: pip install -e '.[client,server,backends]'"
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    assert (known.lacking("compile_float32") or "").startswith("no C++ compiler")


def test_a_pointwise_convolution_as_a_linear_layer_is_the_same() -> None:
    torch.manual_seed(0)
    for bias in (True, False):
        layer, x = Pointwise(6, 4, bias=bias), torch.randn(2, 6, 3, 5)
        torch.testing.assert_close(PointwiseLinear(layer)(x), layer(x))


def test_int8_copies_what_it_quantises_and_refuses_what_has_nothing_to() -> None:
    torch.manual_seed(0)
    network, x = nn.Sequential(Pointwise(16, 16), nn.SiLU(), Pointwise(16, 8)), torch.randn(1, 16, 4, 4)
    right = network(x)
    off = (in_int8(network)(x) - right).norm() / right.norm()
    assert 0 < off < 0.05
    assert isinstance(network[0], Pointwise)
    with pytest.raises(ValueError, match="no linear layers"):
        in_int8(nn.Conv2d(3, 3, 3))
