"""Frame blocks by content: what two timelines remember alike is kept once, and what is dropped is made again exactly.

A block is a pure function of its frame, so its key is the digest of what it is made from. Sessions that begin alike,
forks, and sessions that come back from disk find each other's blocks without being told of one another.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from cutscene_model.denoiser import Memory

DEFAULT_BUDGET = 512 << 20  # bytes


@dataclass(slots=True)
class PoolFigures:
    """What a pool has done since it was made, and what it holds now."""

    hits: int = 0  # blocks that were there
    shares: int = 0  # of these, blocks that another timeline had asked for
    computed: int = 0  # blocks made for the first time, as far as the pool remembers
    recomputed: int = 0  # blocks made again for a timeline that holds them
    evictions: int = 0
    blocks: int = 0
    held_bytes: int = 0
    used: int = 0  # blocks, in the pool or dropped, that some timeline holds


class BlockPool:
    """Blocks within a budget of bytes. Not thread-safe: one per inference process.

    Timelines ``hold`` keys and ``release`` them. What nobody holds is evicted first, then what was read least recently:
    the budget is kept even if every block is held, since any block can be made again.
    """

    def __init__(self, budget: int = DEFAULT_BUDGET) -> None:
        """``budget`` in bytes. One block is always kept, however small the budget."""
        self.budget = budget
        self.figures = PoolFigures()
        self._blocks: OrderedDict[bytes, Memory] = OrderedDict()  # least recently read first
        self._holders: Counter[bytes] = Counter()

    def hold(self, key: bytes) -> None:
        """One more timeline will read this block."""
        self._holders[key] += 1
        self.figures.used = len(self._holders)

    def release(self, key: bytes) -> None:
        """That timeline will not read it any more."""
        self._holders[key] -= 1
        if self._holders[key] <= 0:
            del self._holders[key]
        self.figures.used = len(self._holders)

    def has(self, key: bytes) -> bool:
        """Whether reading it would cost nothing."""
        return key in self._blocks

    def read(self, key: bytes, make: Callable[[], Memory], *, expected: bool) -> Memory:
        """The block of that key; ``make`` makes it if it is not there. ``expected``: this timeline had it before."""
        found = self._blocks.get(key)
        if found is not None:
            self._blocks.move_to_end(key)
            self.figures.hits += 1
            self.figures.shares += not expected
            return found
        block = make()
        if expected:
            self.figures.recomputed += 1
        else:
            self.figures.computed += 1
        self._blocks[key] = block
        self.figures.held_bytes += size(block)
        self._evict(key)
        self.figures.blocks = len(self._blocks)
        return block

    def _evict(self, newest: bytes) -> None:
        if self.figures.held_bytes <= self.budget:
            return
        for only_free in (True, False):
            for key in list(self._blocks):
                if self.figures.held_bytes <= self.budget:
                    return
                if key != newest and not (only_free and self._holders[key]):
                    self.figures.held_bytes -= size(self._blocks.pop(key))
                    self.figures.evictions += 1


def size(block: Memory) -> int:
    """Bytes of a block's keys and values."""
    return block.keys.nbytes + block.values.nbytes
