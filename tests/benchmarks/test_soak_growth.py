"""Growth is judged right on made series: swings are no leak, a leak is found under swings, and errors are true ones."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from soak_growth import Growth, Points, Verdict, fitted, floors, verdict
from soak_samples import Row

MINUTES, EVERY_S = 20.0, 4.0
REST_MB, TOLERANCE = 85.0, 25.0
SEEDS = 100


def made(seed: int, leak: float = 0.0, *, stays: bool = True) -> Verdict:
    """A soak whose clients leave up to 8 MB behind, for half a minute at most: swings of some 60 MB, as were measured
    before pictures had a limit. ``leak``: MB an hour; ``stays``: still there with everything closed. Two looks at rest
    differ by 3 MB for nothing.
    """
    chance, seconds = random.Random(seed), 60 * MINUTES
    left, at = [], 0.0
    while at < seconds:
        at += chance.expovariate(1 / 4.4)
        left.append((at, at + chance.uniform(8, 30), chance.uniform(2, 8)))
    rows: list[Row] = []
    for number in range(int(seconds / EVERY_S)):
        at = number * EVERY_S
        held = sum(size for begun, ended, size in left if begun <= at < ended)
        rows.append({"at": at, "rss": REST_MB + 8 + held + chance.gauss(0, 2) + leak * at / 3600})
    before = {"at": -10.0, "rss": REST_MB + chance.gauss(0, 2)}
    after = {"at": seconds + 60, "rss": REST_MB + chance.gauss(0, 2) + stays * leak * seconds / 3600}
    return verdict(before, rows, after, "rss")


def test_the_made_series_swing_as_measured() -> None:
    """Else the tests below are too easy."""
    raw = [made(seed).raw for seed in range(SEEDS)]
    assert statistics.stdev(found.per_hour for found in raw) > 15
    assert max(found.per_hour for found in raw) > TOLERANCE, "what was judged before would have called this a leak"


@pytest.mark.parametrize(
    ("leak", "stays", "least", "most"),
    [(0.0, True, 0, 1), (40.0, True, 95, 100), (50.0, True, 100, 100), (100.0, False, 95, 100), (10.0, False, 0, 1)],
)
def test_swings_pass_and_leaks_are_found(leak: float, stays: bool, least: int, most: int) -> None:
    found = sum(made(seed, leak, stays=stays).leaks(TOLERANCE) for seed in range(SEEDS))
    assert least <= found <= most


@pytest.mark.parametrize("series", ["raw", "floor"])
def test_an_error_is_by_how_much_slopes_differ_from_run_to_run(series: str) -> None:
    """Without regard to neighbours' being alike the raw slope's would be a third of that."""
    slopes: list[Growth] = [getattr(made(seed), series) for seed in range(SEEDS)]
    spread = statistics.stdev(slope.per_hour for slope in slopes)
    assert statistics.mean(slope.error for slope in slopes) == pytest.approx(spread, rel=0.4)
    assert abs(statistics.mean(slope.per_hour for slope in slopes)) < 3 * spread / math.sqrt(SEEDS)


def test_a_line_is_found_exactly() -> None:
    steady = [(float(at), 100.0 + 0.01 * at) for at in range(100)]
    assert fitted(steady).per_hour == pytest.approx(36.0)
    assert fitted(steady).error == pytest.approx(0.0, abs=1e-6)
    assert fitted(steady).surely_exceeds(35.0)
    assert not fitted(steady[:2]).surely_exceeds(0.0), "two points have no error to go by"
    assert fitted(steady[:1]).per_hour == fitted([]).per_hour == 0.0


def test_a_floor_is_the_least_of_each_stretch() -> None:
    points: Points = [(float(at), 50.0 if at % 100 == 70 else 80.0 + at % 7) for at in range(600)]
    expected = [599 / 5 * (number + 0.5) for number in range(5)]
    assert [at for at, _ in floors(points)] == pytest.approx(expected)
    assert [least for _, least in floors(points)] == [50.0] * 5


def test_the_start_does_not_count() -> None:
    rows: list[Row] = [{"at": float(at), "rss": 200.0 if at < 100 else 90.0} for at in range(0, 1200, 4)]
    found = verdict(rows[0], rows, {"at": 1300.0, "rss": 90.0}, "rss")
    assert (found.raw.per_hour, found.floor.per_hour) == (0.0, 0.0)
    assert verdict(rows[0], [], rows[0], "rss").leaks(0.0) is False
