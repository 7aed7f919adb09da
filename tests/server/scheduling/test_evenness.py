"""Frames that take now longer and now shorter are sent evenly: none before it is ready, none later than promised."""

from __future__ import annotations

import itertools
import random

from hypothesis import given
from hypothesis import strategies as st

from cutscene_server.scheduling.evenness import FEWEST, MOST, Evenness

PERIOD_US, MOST_US = 50_000, 300_000
REMEMBERED = 60  # frames, in three seconds


def sent(took_us: list[int]) -> list[int]:
    """When frames are sent that take so long, one a period."""
    evenness = Evenness(PERIOD_US, MOST_US)
    return [evenness.send_us(number * PERIOD_US, number * PERIOD_US + took) for number, took in enumerate(took_us)]


def test_the_first_frame_is_sent_at_once_and_equal_ones_always() -> None:
    assert sent([40_000] * 5) == [number * PERIOD_US + 40_000 for number in range(5)]


def test_the_time_between_frames_is_that_between_their_states_but_for_the_slowest_few() -> None:
    chance = random.Random(7)
    took = [chance.randrange(30_000, 50_000) for _ in range(1000)]
    times = sent(took)
    gaps = sorted(later - earlier for earlier, later in itertools.pairwise(times[REMEMBERED:]))
    raw = sorted(PERIOD_US + after - before for before, after in itertools.pairwise(took[REMEMBERED:]))
    share = len(gaps) // 100
    assert raw[-share] > 1.3 * PERIOD_US, "what is measured here would be uneven"
    assert gaps[-share] < 1.05 * PERIOD_US
    assert gaps[share] > 0.95 * PERIOD_US
    waited = sum(time - number * PERIOD_US - took[number] for number, time in enumerate(times)) / len(times)
    assert waited < 10_500, "half of what frames' times differ by"


def test_frames_that_become_quicker_wait_for_the_slow_ones_no_longer_than_these_are_remembered() -> None:
    times = sent([40_000] * REMEMBERED + [20_000] * (REMEMBERED + 1))
    assert times[REMEMBERED] == REMEMBERED * PERIOD_US + 40_000
    assert times[-1] == (len(times) - 1) * PERIOD_US + 20_000


@given(st.lists(st.integers(0, 2 * MOST_US), min_size=1, max_size=3 * REMEMBERED))
def test_no_frame_is_sent_before_it_is_ready_or_later_than_promised_for_being_even(took_us: list[int]) -> None:
    for number, (took, time) in enumerate(zip(took_us, sent(took_us), strict=True)):
        ready = number * PERIOD_US + took
        assert ready <= time <= max(ready, number * PERIOD_US + MOST_US)
        assert time <= ready + PERIOD_US // 2


def test_after_a_stall_frames_wait_half_a_frame_time_at_most_and_seconds_later_not_at_all() -> None:
    for period_us, frames in ((200_000, 15), (1_000_000, FEWEST), (20_000, MOST)):
        evenness = Evenness(period_us, MOST_US)
        took = [5 * period_us] * frames + [1000] * (frames + 1)
        waited = [evenness.send_us(0, each) - each for each in took]
        assert max(waited) <= period_us // 2
        assert waited[-1] == 0
