"""Which thread does a stage's work: one of its own, or, of a stage that is quick, whoever asks for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import cast

import pytest

from cutscene_model.engine import Timeline
from cutscene_model.pipeline import AHEAD, QUICK_US, SURE, Pipeline, Prepared
from cutscene_model.scene import SceneState

SLOW_S = 0.002


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    made = Pipeline()
    yield made
    made.close()


def taking(seconds: float) -> Callable[[], int]:
    def work() -> int:
        time.sleep(seconds)
        return threading.get_ident()

    return work


def threads_of(pipeline: Pipeline, seconds: float, times: int, beside_us: int | None = None) -> list[int]:
    return [pipeline.finish(taking(seconds), beside_us).result() for _ in range(times)]


def test_slow_work_is_always_done_by_the_stages_own_thread(pipeline: Pipeline) -> None:
    assert threading.get_ident() not in threads_of(pipeline, SLOW_S, 2 * SURE)


def test_quick_work_is_done_at_once_until_it_is_slow_again(pipeline: Pipeline) -> None:
    here = threading.get_ident()
    assert here not in threads_of(pipeline, 0.0, SURE), "not before it is known to be quick"
    assert threads_of(pipeline, 0.0, 3) == [here] * 3
    assert threads_of(pipeline, SLOW_S, SURE + 1)[-1] != here


def test_slow_work_is_done_at_once_while_there_is_little_to_do_beside_it(pipeline: Pipeline) -> None:
    here = threading.get_ident()
    assert here not in threads_of(pipeline, SLOW_S, SURE - 1, beside_us=QUICK_US - 1), "not before that is known"
    assert threads_of(pipeline, SLOW_S, 3, beside_us=QUICK_US - 1) == [here] * 3
    assert threads_of(pipeline, SLOW_S, SURE, beside_us=QUICK_US)[-1] != here


def test_what_fails_at_once_fails_as_it_would_elsewhere(pipeline: Pipeline) -> None:
    threads_of(pipeline, 0.0, SURE)

    def fail() -> None:
        raise ValueError("of this frame")

    failed = pipeline.finish(fail)
    with pytest.raises(ValueError, match="of this frame"):
        failed.result()


class Preparing:
    """A timeline that prepares as long as it is told to, and says which threads did."""

    def __init__(self) -> None:
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    def prepare(self, state: float, _tier: str) -> float:
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(state)
        with self._lock:
            self.at_once -= 1
        return state


def asked(pipeline: Pipeline, timeline: Preparing, state: float) -> Future[Prepared]:
    return pipeline.prepare(cast("Timeline", timeline), lambda: cast("SceneState", state), "standard")


def test_frames_are_prepared_two_at_a_time_and_each_is_its_own(pipeline: Pipeline) -> None:
    timeline = Preparing()
    states = [0.03, 0.002, 0.02, 0.004]
    assert [each.result().value for each in [asked(pipeline, timeline, state) for state in states]] == states
    assert timeline.most_at_once == AHEAD


def test_a_state_that_cannot_be_had_fails_its_own_frame_only(pipeline: Pipeline) -> None:
    def missing() -> SceneState:
        raise ValueError("no such state")

    timeline = Preparing()
    failing = pipeline.prepare(cast("Timeline", timeline), missing, "standard")
    assert asked(pipeline, timeline, 0.001).result().value == 0.001
    with pytest.raises(ValueError, match="no such state"):
        failing.result()


def test_whoever_would_wait_prepares_at_once_if_nothing_else_is_prepared(pipeline: Pipeline) -> None:
    here: list[int] = []

    def state() -> SceneState:
        here.append(threading.get_ident())
        return cast("SceneState", 0.0)

    timeline = cast("Timeline", Preparing())
    pipeline.prepare_now(timeline, state, "standard")
    slow, quick = asked(pipeline, Preparing(), 0.2), asked(pipeline, Preparing(), 0.0)
    quick.result()
    pipeline.prepare_now(timeline, state, "standard")
    assert not slow.cancelled()
    assert here[0] == threading.get_ident() != here[1]
