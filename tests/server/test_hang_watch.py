"""When a process counts as hung, in simulated time."""

from __future__ import annotations

import random

import pytest

from cutscene_server.hang_watch import HangWatch, Question

LIMIT_US = 8_000_000
PERIOD_US = 1_000_000


def frame(slot: int) -> Question:
    return Question("draw", slot)


class Looking:
    """Looks once in a period, as the event loop does."""

    def __init__(self, limit_us: int = LIMIT_US) -> None:
        self.watch, self.now_us = HangWatch(limit_us), 1_000_000_000

    def passed(self, seconds: float) -> Question | None:
        """What is found to hang within so long."""
        end_us = self.now_us + round(seconds * 1e6)
        while self.now_us < end_us:
            self.now_us += self.watch.period_us
            if (found := self.watch.look(self.now_us)) is not None:
                return found
        return None


def test_who_has_nothing_to_do_does_not_hang() -> None:
    looking = Looking()
    assert looking.passed(1000) is None
    looking.watch.ask(frame(0))
    looking.watch.answer(frame(0))
    assert looking.passed(1000) is None


def test_who_leaves_the_first_question_unanswered_for_as_long_as_the_limit_hangs() -> None:
    looking = Looking()
    looking.passed(100)
    looking.watch.ask(frame(0))
    begun_us = looking.now_us
    looking.watch.ask(Question("encode", 7))
    assert looking.passed(1000) == frame(0)
    assert LIMIT_US <= looking.now_us - begun_us <= LIMIT_US + 2 * PERIOD_US


@pytest.mark.parametrize("kind", ["draw", "begin", "encode"])
def test_whoever_answers_in_time_however_slowly_does_not_hang(kind: str) -> None:
    looking = Looking()
    questions = [Question(kind, number, number) for number in range(40)]  # type: ignore[arg-type]
    for question in questions:
        looking.watch.ask(question)  # all at once: the last waits for all others
    for question in questions:
        assert looking.passed(7) is None
        looking.watch.answer(question)
    assert looking.passed(100) is None


def test_answers_to_what_came_later_do_not_excuse_the_first() -> None:
    looking = Looking()
    looking.watch.ask(frame(0))
    for number in range(100):
        later = Question("begin", number)
        looking.watch.ask(later)
        if (found := looking.passed(1)) is not None:
            assert found == frame(0)
            assert number <= 9
            return
        looking.watch.answer(later)
    raise AssertionError("nothing was found")


def test_a_slot_that_is_used_again_between_two_looks_begins_anew() -> None:
    looking = Looking()
    looking.watch.ask(frame(0))
    for _ in range(100):
        assert looking.passed(1) is None
        looking.watch.answer(frame(0))
        looking.watch.ask(frame(0))
    assert looking.passed(20) == frame(0)


def test_time_in_which_nobody_looked_does_not_count() -> None:
    looking = Looking()
    looking.watch.ask(frame(0))
    looking.passed(2)
    looking.now_us += 3_600_000_000  # the front end was stopped, its answers lie there unread
    assert looking.passed(3) is None
    assert looking.passed(20) == frame(0)


def test_without_a_limit_nothing_hangs() -> None:
    watch = HangWatch(0)
    watch.ask(frame(0))
    assert all(watch.look(now_us) is None for now_us in range(0, 10**12, 10**9))


@pytest.mark.parametrize("seed", range(20))
def test_a_hung_process_is_always_found_and_a_living_one_never(seed: int) -> None:
    """A process that takes up to seven eighths of the limit for each thing, until it stands still at one of them."""
    chance = random.Random(seed)
    looking, waiting = Looking(chance.choice([100_000, 1_000_000, LIMIT_US, 120_000_000])), list[Question]()
    most_s = looking.watch.period_us * 7 / 1e6
    for number in range(200):
        for slot in range(chance.randrange(3)):
            waiting.append(Question("encode", 10 * number + slot))
            looking.watch.ask(waiting[-1])
        if waiting:
            assert looking.passed(chance.random() * most_s - looking.watch.period_us / 1e6) is None
            looking.watch.answer(waiting.pop(0))
    waiting.append(frame(0))
    looking.watch.ask(frame(0))
    assert looking.passed(1000) == waiting[0]
