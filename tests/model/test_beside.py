"""Work that another thread does meanwhile, and rows that two threads share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cutscene_model.bands import in_bands
from cutscene_model.beside import beside

SOON_S = 10.0


@contextmanager
def nobody_to_spare() -> Iterator[None]:
    """Every thread that could help has something else to do."""
    begun, over = threading.Semaphore(0), threading.Event()

    def wait() -> bool:
        begun.release()
        return over.wait(SOON_S)

    waiting = [beside(wait)]
    while begun.acquire(timeout=0.2):  # for as long as there is a thread for one more
        waiting.append(beside(wait))
    try:
        yield
    finally:
        over.set()
        assert all(finish() for finish in waiting)


def test_another_thread_does_it_meanwhile() -> None:
    begun = threading.Event()

    def work() -> int:
        begun.set()
        return threading.get_ident()

    finish = beside(work)
    assert begun.wait(SOON_S)
    assert finish() != threading.get_ident()


def test_where_no_thread_has_begun_the_caller_does_it() -> None:
    with nobody_to_spare():
        assert beside(threading.get_ident)() == threading.get_ident()


def test_what_goes_wrong_is_told_to_whoever_asks_for_the_result() -> None:
    begun = threading.Event()

    def fail() -> None:
        begun.set()
        raise ValueError("not today")

    finish = beside(fail)
    assert begun.wait(SOON_S)
    with pytest.raises(ValueError, match="not today"):
        finish()


@pytest.mark.parametrize("height", [0, 1, 3, 144, 449])
def test_every_row_is_worked_on_once_whoever_helps(height: int) -> None:
    def rows() -> list[int]:
        done: list[int] = []
        in_bands(height, lambda first, last: done.extend(range(first, last)))
        return sorted(done)

    assert rows() == list(range(height))
    with nobody_to_spare():
        assert rows() == list(range(height))


def test_a_row_that_goes_wrong_is_told_to_the_caller() -> None:
    def fail(first: int, last: int) -> None:
        if first <= 100 < last:
            raise ValueError("row 100")

    with pytest.raises(ValueError, match="row 100"):
        in_bands(144, fail)
