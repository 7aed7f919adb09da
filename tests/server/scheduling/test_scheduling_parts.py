"""The scheduler's parts, each for itself."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutscene_server.scheduling import (
    Cadence,
    CostModel,
    FrameQueue,
    LineFull,
    Places,
    Rank,
    TenantLimits,
    TierControl,
    TokenBucket,
    WaitingLine,
    Wish,
)

TIERS = ("draft", "standard", "high")


def paced(due_us: int, release_us: int = 0) -> Wish:
    return Wish(Rank.PACED, release_us, due_us)


def test_the_earliest_deadline_comes_first_and_nothing_before_its_time() -> None:
    queue: FrameQueue[str] = FrameQueue()
    queue.put("late", paced(300))
    queue.put("early", paced(100))
    queue.put("not yet", paced(50, release_us=40))
    assert queue.next_release_us() == 0
    assert queue.take(10) == "early"
    assert queue.next_release_us() == 40
    assert queue.take(40) == "not yet"
    assert queue.take(40) == "late"
    assert queue.take(40) is None
    assert queue.next_release_us() is None
    assert len(queue) == 0


def test_a_wish_that_is_replaced_or_withdrawn_is_not_drawn() -> None:
    queue: FrameQueue[str] = FrameQueue()
    queue.put("a", paced(100))
    queue.put("b", paced(200))
    queue.put("a", paced(300))
    queue.remove("b")
    queue.remove("nobody")
    assert queue.take(0) == "a"
    assert queue.take(0) is None


def test_without_deadlines_each_gets_its_turn() -> None:
    queue: FrameQueue[str] = FrameQueue()
    wish = Wish(Rank.UNPACED)
    for key in "abc":
        queue.put(key, wish)
    taken = ""
    for _ in range(6):
        queue.put("c", wish)  # the same wish again keeps its place
        taken += (key := queue.take(0) or "")
        queue.put(key, wish)
    assert taken == "abcabc"


def test_replaced_wishes_do_not_pile_up() -> None:
    queue: FrameQueue[int] = FrameQueue()
    for number in range(10_000):
        queue.put(number % 3, paced(number, release_us=1_000_000 + number))
        if number % 5 == 0:
            queue.take(0)
    assert len(queue._later) < 200


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(list(Rank)), st.integers(0, 50), st.integers(0, 50))))
def test_the_queue_takes_what_a_plain_search_would(steps: list[tuple[int, Rank, int, int]]) -> None:
    """Against a list that is searched, for wishes of one rank at a time."""
    queue: FrameQueue[int] = FrameQueue()
    wishes: dict[int, tuple[Wish, int]] = {}
    for now, (key, rank, release, due) in enumerate(steps):
        if any(wish.rank is not rank for wish, _ in wishes.values()):
            continue
        wish = Wish(rank, release, due)
        if key not in wishes or wishes[key][0] != wish:
            wishes[key] = wish, now
        queue.put(key, wish)
        if now % 2:
            ready = {key: found for key, found in wishes.items() if found[0].release_us <= now}
            expected = min(ready, key=lambda key: (ready[key][0].due_us, ready[key][1]), default=None)
            if rank is Rank.PACED:
                assert queue.take(now) == expected
            else:
                expected = queue.take(now)
                assert (expected is None) == (not ready)
                assert expected is None or expected in ready
            if expected is not None:
                del wishes[expected]
    assert len(queue) == len(wishes)


def test_a_turn_has_its_states_times_from_its_receipt_or_from_the_end_of_the_one_before() -> None:
    cadence = Cadence(fps=10.0, latency_us=30_000)
    assert (cadence.release_us(5_000), cadence.due_us(5_000)) == (5_000, 135_000)
    cadence.take(5_000, now_us=6_000)
    assert cadence.release_us(5_000) == 105_000
    assert cadence.release_us(90_000) == 105_000  # the next turn came before this one's end
    assert cadence.release_us(400_000) == 400_000  # or after it


def test_the_clock_stands_still_with_a_viewer_who_waits() -> None:
    cadence = Cadence(fps=10.0, latency_us=30_000)
    cadence.take(0, now_us=330_000)  # due at 130,000: 200,000 late
    assert cadence.release_us(0) == 300_000


def test_states_whose_successors_time_has_come_are_passed_over() -> None:
    cadence = Cadence(fps=10.0, latency_us=30_000)
    assert [cadence.passed_over(0, now) for now in (0, 99_999, 100_000, 250_000)] == [0, 0, 1, 2]
    cadence.skip(0, 2)
    assert cadence.release_us(0) == 200_000


@pytest.mark.parametrize(("fps", "latency_us"), [(0.0, 0), (-1.0, 0), (float("nan"), 0), (10.0, -1)])
def test_a_clock_needs_a_rate(fps: float, latency_us: int) -> None:
    with pytest.raises(ValueError, match="which is"):
        Cadence(fps, latency_us)


WORK = {"draft": 0.75, "standard": 1.0, "high": 1.5}


def draw(costs: CostModel, tier: str, cost_us: int, frames: int, now_us: int) -> int:
    """So many overlapping frames of a tier, one after the other. Returns when the last is finished."""
    for _ in range(frames):
        costs.observe(tier, now_us - cost_us, now_us + cost_us, cost_us)
        now_us += cost_us
    return now_us


def test_a_frames_cost_is_what_it_puts_off_the_next_by() -> None:
    costs = CostModel(WORK, 20_000)
    assert [costs.cost_us(tier, 0) for tier in TIERS] == [15_000, 20_000, 30_000]  # as it was told
    for now in range(200_000, 1_000_000, 100_000):  # alone: each costs between 40 and 100 ms
        costs.observe("standard", now - 100_000, now, 40_000)
    assert costs.cost_us("standard", now) == 70_000
    assert costs.cost_us("high", now) == 105_000  # never drawn: dearer by as much as it was thought to be
    for number in range(1, 9):
        costs.observe("standard", now + 60_000 * (number - 2), now + 60_000 * number, 40_000)
    assert costs.cost_us("standard", now) == 60_000
    costs.observe("standard", 3_000_000, 3_000_000, 0)  # shown again: says nothing
    assert costs.cost_us("standard", 3_000_000) == 60_000


def test_the_first_frames_of_a_cold_process_do_not_decide_alone() -> None:
    costs = CostModel(WORK, 20_000)
    now = draw(costs, "standard", 400_000, 1, 1_000_000)
    assert costs.cost_us("standard", now) == 20_000
    now = draw(costs, "standard", 90_000, 1, now)
    assert costs.cost_us("standard", now) == 20_000
    now = draw(costs, "standard", 30_000, 6, now)
    assert costs.cost_us("standard", now) == 30_000


def test_costs_follow_the_machine() -> None:
    costs = CostModel({"draft": 1}, 20_000)
    now = draw(costs, "draft", 10_000, 100, 1)
    now = draw(costs, "draft", 40_000, 100, now)
    assert costs.cost_us("draft", now) == 40_000


def test_what_a_slow_minute_taught_of_a_tier_does_not_stand_once_others_are_fast_again() -> None:
    costs = CostModel(WORK, 20_000)
    now = draw(costs, "standard", 30_000, 64, 1_000_000)
    now = draw(costs, "standard", 90_000, 64, now)
    now = draw(costs, "draft", 60_000, 64, now)
    assert costs.cost_us("standard", now) == 90_000
    now = draw(costs, "draft", 20_000, 1_600, now)  # half a minute
    assert costs.cost_us("standard", now) == 30_000
    now = draw(costs, "draft", 40_000, 64, now)  # the machine is half as fast: so is what was not drawn
    assert costs.cost_us("standard", now) == 60_000
    now = draw(costs, "standard", 50_000, 8, now)  # learned anew, whatever it was long ago
    assert costs.cost_us("standard", now) == 50_000


def test_after_a_slow_minute_and_a_pause_a_process_is_thought_to_be_nearly_as_fast_as_it_ever_was() -> None:
    """Else a server that refuses everybody would never learn that it need not."""
    costs = CostModel(WORK, 20_000)
    now = draw(costs, "draft", 20_000, 64, 1_000_000)
    now = draw(costs, "draft", 200_000, 64, now)
    assert costs.cost_us("draft", now + 29_000_000) == 200_000
    assert costs.cost_us("draft", now + 30_000_000) == 25_000
    assert costs.cost_us("high", now + 30_000_000) == 50_000


def test_after_a_pause_all_is_as_it_was() -> None:
    """A scene that was cheap once is no reason to promise more than what came after it allows."""
    costs = CostModel(WORK, 20_000)
    now = draw(costs, "draft", 20_000, 64, 1_000_000)
    now = draw(costs, "draft", 22_000, 64, now)
    assert [costs.cost_us(tier, now + 3_600_000_000) for tier in ("draft", "high")] == [22_000, 44_000]


def test_places_are_given_while_there_is_room() -> None:
    places: Places[str] = Places({"draft": 20_000, "high": 50_000}.__getitem__)
    assert places.take("a", 10.0, "high")
    assert places.take("a", 60.0, "high")  # it has one
    assert not places.take("b", 10.0, "high")
    assert places.take("b", 10.0, "draft")
    assert places.load == pytest.approx(0.7)
    assert not places.fits(10.0, "draft")
    places.give_back("a")
    assert places.take("c", 10.0, "high")
    assert (sorted(places), "b" in places, len(places)) == (["b", "c"], True, 2)


def test_tiers_stay_within_what_the_client_allows() -> None:
    control: TierControl[str] = TierControl(TIERS, {"draft": 10_000, "standard": 30_000, "high": 90_000}.__getitem__)
    control.add("fixed", 10.0, "high", "high", 0)
    control.add("free", 10.0, "standard", "high", 0)
    control.add("free", 10.0, "draft", "high", 0)  # it is here already
    with pytest.raises(ValueError, match="not below"):
        control.add("wrong", 10.0, "high", "draft", 0)
    assert control.touch("fixed", 0)
    assert control.touch("free", 0)
    assert not control.touch("free", 1)
    assert not control.touch("nobody", 1)
    (change,) = control.review(1)
    assert (change.key, change.tier, change.lower) == ("free", "standard", True)
    assert (control.tier("fixed"), control.tier("free"), control.tier("nobody")) == ("high", "standard", None)
    control.remove("fixed")
    assert control.load(1) == pytest.approx(0.3)
    assert control.load(4_000_000) == 0.0  # nobody is at work


def test_a_late_frame_lowers_a_tier_whatever_the_model_says_and_patience_grows() -> None:
    control: TierControl[str] = TierControl(TIERS, lambda tier: 1_000)
    control.add("one", 10.0, "draft", "high", 0)
    rises: list[int] = []
    now = 0
    while len(rises) < 5:
        control.touch("one", now)
        if control.tier("one") == "high":
            control.note_late()
        rises += [now for change in control.review(now) if not change.lower]
        now += 100_000
        if control.tier("one") == "standard" and rises and rises[-1] == now - 100_000:
            control.note_late()
    waits = [later - earlier for earlier, later in itertools.pairwise(rises)]
    assert waits == sorted(waits)
    assert waits[-1] >= 2 * waits[0]


def test_a_line_keeps_its_order_and_has_an_end() -> None:
    line: WaitingLine[str] = WaitingLine(2)
    assert not list(line)
    line.join("a")
    line.join("b")
    with pytest.raises(LineFull):
        line.join("c")
    with pytest.raises(ValueError, match="waits already"):
        line.join("a")
    assert (line.first, line.position("b"), list(line), len(line)) == ("a", 2, ["a", "b"], 2)
    line.leave("a")
    line.leave("nobody")
    assert line.position("b") == 1
    line.leave("b")
    assert line.first is None
    with pytest.raises(KeyError):
        line.position("a")


@given(st.floats(0.5, 1000.0), st.lists(st.tuples(st.floats(0.1, 50.0), st.integers(0, 3_000_000)), max_size=60))
def test_a_bucket_gives_no_more_than_its_rate(rate: float, takes: list[tuple[float, int]]) -> None:
    bucket = TokenBucket(rate)
    now, taken, largest = 1, 0.0, 0.0
    for amount, pause_us in takes:
        now = max(now + pause_us, bucket.ready_us(now + pause_us))
        assert bucket.ready_us(now) <= now + 2
        bucket.take(amount, now)
        taken, largest = taken + amount, max(largest, amount)
        assert taken <= max(1.0, 2 * rate) + rate * now / 1e6 + largest + 1e-3 * rate


def test_no_limit_is_no_limit() -> None:
    bucket = TokenBucket(0.0)
    bucket.take(1e12, 5)
    assert bucket.ready_us(6) == 6
    with pytest.raises(ValueError, match="frames_per_s"):
        TenantLimits(frames_per_s=-1.0)
