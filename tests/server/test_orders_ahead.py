"""How many orders wait with an inference process: what a quick one deals with soon, no more than a slow one needs."""

from __future__ import annotations

from cutscene_server.inference import AHEAD_US, GATHER_FROM, GATHER_US, Inference
from cutscene_server.scheduling import Rank, Wish
from cutscene_server.worker_link import MOST_SLOTS, PIPELINE_SLOTS
from synthetic_server import synthetic_config

QUICK_US, SLOW_US = 100, 50_000


def answered(inference: Inference, longest_us: int | None, times: int) -> list[int]:
    """The depth after each answer of a process that always has another order."""
    found = []
    for _ in range(times):
        inference.drawing = 2
        inference.note_answer(longest_us)
        found.append(inference.depth)
    return found


async def test_a_quick_process_gets_more_orders_one_by_one_up_to_the_slots_there_are() -> None:
    inference = Inference(0, synthetic_config())
    assert inference.depth == PIPELINE_SLOTS
    found = answered(inference, QUICK_US, 2 * MOST_SLOTS)
    assert found[:3] == [PIPELINE_SLOTS + 1, PIPELINE_SLOTS + 2, PIPELINE_SLOTS + 3]
    assert found[-1] == MOST_SLOTS


async def test_what_waits_never_takes_longer_than_may_be() -> None:
    inference = Inference(0, synthetic_config())
    assert answered(inference, AHEAD_US // 5, MOST_SLOTS)[-1] == 5
    assert answered(inference, SLOW_US, MOST_SLOTS) == [PIPELINE_SLOTS] * MOST_SLOTS


async def test_one_slow_frame_one_failure_or_a_pause_and_it_begins_anew() -> None:
    inference = Inference(0, synthetic_config())
    for longest_us in (SLOW_US, None):
        answered(inference, QUICK_US, MOST_SLOTS)
        assert answered(inference, longest_us, 1) == [PIPELINE_SLOTS]
    answered(inference, QUICK_US, MOST_SLOTS)
    inference.drawing = 1
    inference.note_answer(QUICK_US)
    assert inference.depth == PIPELINE_SLOTS


async def test_frames_wait_for_one_another_only_where_they_are_quick_and_many() -> None:
    inference = Inference(0, synthetic_config())
    for key in range(GATHER_FROM):
        assert inference.queue.put(key, Wish(Rank.PACED, 1_000_000, 2_000_000, QUICK_US))
    assert inference.gather_us == 0, "nothing is known yet"
    answered(inference, QUICK_US, 1)
    assert inference.gather_us == GATHER_US
    inference.queue.remove(0)
    assert inference.gather_us == 0
    assert inference.queue.put(0, Wish(Rank.PACED, 1_000_000, 2_000_000, QUICK_US))
    for longest_us in (SLOW_US, None):
        answered(inference, QUICK_US, 1)
        assert inference.gather_us == GATHER_US
        answered(inference, longest_us, 1)
        assert inference.gather_us == 0


async def test_a_wish_that_is_there_already_is_nothing_new() -> None:
    inference, wish = Inference(0, synthetic_config()), Wish(Rank.PACED, 1_000_000, 2_000_000, QUICK_US)
    assert [inference.queue.put(1, wish) for _ in range(3)] == [True, False, False]
    assert inference.queue.take(1_000_000) == 1
    assert inference.queue.put(1, wish)
