"""The arithmetic behind the figures of ``benchmarks/load.py``."""

from __future__ import annotations

import math

import pytest
from arrivals import Ramp, gaps, jitter, largest_that_holds, lateness, percentile, shown
from hypothesis import given
from hypothesis import strategies as st

TIMES = st.lists(st.floats(0.0, 100.0), min_size=1, max_size=50).map(sorted)


def test_percentiles_are_by_nearest_rank() -> None:
    values = [float(number) for number in range(1, 101)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile(values, 1.0)) == (50.0, 99.0, 100.0)
    assert (percentile([3.0, 1.0, 5.0, 2.0, 4.0], 0.2), percentile([3.0, 1.0, 5.0, 2.0, 4.0], 0.21)) == (1.0, 2.0)
    assert percentile([7.0], 0.01) == percentile([7.0], 0.99) == 7.0
    assert percentile([3.0, 1.0, 2.0], 0.99) == 3.0, "of few values, the slow end is the slowest"
    assert math.isnan(percentile([], 0.5))
    assert percentile([1.0, math.inf], 0.99) == math.inf
    with pytest.raises(ValueError, match="share"):
        percentile([1.0], 0.0)


def test_only_times_between_two_frames_of_the_window_count() -> None:
    assert gaps([0.0, 1.0, 3.0, 6.0, 10.0], 1.0, 6.0) == [2.0, 3.0]
    assert gaps([5.0]) == gaps([]) == []


def test_jitter_is_the_slow_end_over_the_middle() -> None:
    assert jitter([0.1] * 100) == 1.0
    assert jitter([0.1] * 98 + [0.4] * 2) == pytest.approx(4.0)
    assert jitter([0.1] * 199 + [0.4]) == 1.0, "one in two hundred is beyond the 99th percentile"
    assert math.isnan(jitter([]))
    assert math.isnan(jitter([0.0, 0.0, 1.0])), "frames that came in one go have no pace"


def test_a_viewer_who_holds_back_shows_evenly_until_a_frame_is_too_late() -> None:
    arrivals = [0.3, 0.4, 0.5, 1.1, 1.1]
    assert shown(arrivals, 0.5, 0.1) == pytest.approx([0.5, 0.6, 0.7, 1.1, 1.2])
    assert shown(arrivals, 2.0, 0.1) == pytest.approx([2.0, 2.1, 2.2, 2.3, 2.4])


@given(TIMES, st.floats(0.0, 200.0), st.floats(0.01, 1.0))
def test_nothing_is_shown_before_it_came_or_sooner_than_a_frame_after_the_last(
    arrivals: list[float], first_shown: float, period: float
) -> None:
    times = shown(arrivals, first_shown, period)
    assert all(time >= arrival for time, arrival in zip(times, arrivals, strict=True))
    assert all(gap >= period * 0.999 for gap in gaps(times))
    if first_shown >= arrivals[-1]:
        assert jitter(gaps(times)) == pytest.approx(1.0) or len(times) == 1


def test_lateness_is_counted_from_each_state_s_own_time() -> None:
    assert lateness([1.0, 1.25, 1.75], 0.9, 0.25) == pytest.approx([0.1, 0.1, 0.35])


def test_a_ramp_ends_at_its_first_refusal() -> None:
    ramp = Ramp((True, True, True, False, False, True, False))
    assert (ramp.limit, ramp.refused, ramp.taken_late) == (3, 3, 1)
    assert (Ramp((True,) * 4).limit, Ramp((True,) * 4).refused, Ramp((True,) * 4).taken_late) == (4, 0, 0)
    assert (Ramp((False,)).limit, Ramp(()).limit) == (0, 0)


@pytest.mark.parametrize("limit", [0, 10, 25, 30, 75, 99, 100, 200])
async def test_the_largest_count_that_holds_is_found_in_few_measurements(limit: int) -> None:
    counts, asked = [10, 25, 50, 75, 100], list[int]()

    async def holds(count: int) -> bool:
        asked.append(count)
        return count <= limit

    found = await largest_that_holds(counts, holds)
    assert found == max((count for count in counts if count <= limit), default=0)
    assert len(asked) == len(set(asked)) <= 3, "log2 of the counts"


async def test_no_counts_hold_nothing() -> None:
    async def never(count: int) -> bool:
        raise AssertionError("nobody is to be asked")

    assert await largest_that_holds([], never) == 0
