"""The block pool: its budget, who is evicted first, and what it counts."""

from __future__ import annotations

import torch

from cutscene_model.block_pool import BlockPool, size
from cutscene_model.denoiser import Memory

BLOCK = Memory(torch.zeros(1, 1, 1, 8, 4), torch.zeros(1, 1, 1, 8, 4))


def read(pool: BlockPool, name: bytes, *, expected: bool = False) -> bool:
    """Whether the block had to be made."""
    made = []
    pool.read(name, lambda: made.append(name) or BLOCK, expected=expected)  # type: ignore[func-returns-value]
    return bool(made)


def test_a_block_is_made_once_while_there_is_room() -> None:
    pool = BlockPool(10 * size(BLOCK))
    assert [read(pool, b"a"), read(pool, b"a"), read(pool, b"b")] == [True, False, True]
    figures = pool.figures
    assert (figures.computed, figures.hits, figures.shares, figures.blocks) == (2, 1, 1, 2)
    assert figures.held_bytes == 2 * size(BLOCK)


def test_the_least_recently_read_goes_first() -> None:
    pool = BlockPool(2 * size(BLOCK))
    for name in (b"a", b"b", b"a", b"c"):
        read(pool, name)
    assert [pool.has(name) for name in (b"a", b"b", b"c")] == [True, False, True]
    assert pool.figures.evictions == 1


def test_what_is_held_outlives_what_is_not_but_not_the_budget() -> None:
    pool = BlockPool(2 * size(BLOCK))
    pool.hold(b"a")
    for name in (b"a", b"b", b"c"):
        read(pool, name)
    assert [pool.has(name) for name in (b"a", b"b", b"c")] == [True, False, True]
    for name in (b"c", b"d"):
        pool.hold(name)
        read(pool, name, expected=name == b"c")
    assert pool.figures.held_bytes <= pool.budget
    assert not pool.has(b"a"), "all are held: the one read least recently goes"
    assert read(pool, b"a", expected=True)
    assert pool.figures.recomputed == 1


def test_a_released_block_is_free_again() -> None:
    pool = BlockPool(2 * size(BLOCK))
    for _ in range(2):
        pool.hold(b"a")
    read(pool, b"a")
    pool.release(b"a")
    read(pool, b"b")
    read(pool, b"c")
    assert pool.has(b"a"), "another timeline still holds it"
    assert pool.figures.used == 1
    pool.release(b"a")
    read(pool, b"d")
    read(pool, b"e")
    assert not pool.has(b"a")


def test_one_block_is_kept_however_small_the_budget() -> None:
    pool = BlockPool(0)
    read(pool, b"a")
    assert not read(pool, b"a")
    read(pool, b"b")
    assert (pool.has(b"a"), pool.has(b"b")) == (False, True)
