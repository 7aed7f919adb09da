"""Which thread does a stage's work: one of its own, or, of a stage that is quick, whoever asks for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from cutscene_model.pipeline import SURE, Pipeline

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


def threads_of(pipeline: Pipeline, seconds: float, times: int) -> list[int]:
    return [pipeline.finish(taking(seconds)).result() for _ in range(times)]


def test_slow_work_is_always_done_by_the_stages_own_thread(pipeline: Pipeline) -> None:
    assert threading.get_ident() not in threads_of(pipeline, SLOW_S, 2 * SURE)


def test_quick_work_is_done_at_once_until_it_is_slow_again(pipeline: Pipeline) -> None:
    here = threading.get_ident()
    assert here not in threads_of(pipeline, 0.0, SURE), "not before it is known to be quick"
    assert threads_of(pipeline, 0.0, 3) == [here] * 3
    assert threads_of(pipeline, SLOW_S, SURE + 1)[-1] != here


def test_what_fails_at_once_fails_as_it_would_elsewhere(pipeline: Pipeline) -> None:
    threads_of(pipeline, 0.0, SURE)

    def fail() -> None:
        raise ValueError("of this frame")

    failed = pipeline.finish(fail)
    with pytest.raises(ValueError, match="of this frame"):
        failed.result()
