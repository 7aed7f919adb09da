"""The frames that could be drawn, and which of them is next.

Among paced frames the earliest deadline comes first (Liu and Layland, JACM 1973); frames of the other ranks are drawn
in the order in which they were asked for, which is round robin, since a session asks for one at a time. Paced frames
come before unpaced ones, and those before background ones, but for a share: a rank that waits gets a frame of its own
once others have been drawn over its head for ``SHARES[rank]`` times what that frame costs.

So nobody starves, however much is asked for:

- a paced frame is taken at the latest when its deadline has passed and every other paced session has been given one
  frame after that (its next deadline lies at least one frame time after its last frame was taken), shares aside;
- an unpaced frame with n - 1 frames of its rank before it is taken at the latest after n x (8 c + 3 d) of drawing,
  where c is the cost of the dearest of those n and d that of the dearest frame there is; a background frame
  after n x (64 c + 3 d);

and the shares, 1/9 and 1/65 of what is drawn in the worst case, lie in what ``places`` leaves free.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from cutscene_server.scheduling.wishes import Rank, Wish

Key = TypeVar("Key", bound=Hashable)

SHARES: dict[Rank, int] = {Rank.UNPACED: 8, Rank.BACKGROUND: 64}
"""How many times its own cost a rank's next frame may be passed over."""

MOST_STALE = 64  # replaced wishes that a heap may hold beyond as many as there are wishes


@dataclass(frozen=True, slots=True)
class _Place:
    """A wish in the queue. A replaced or withdrawn one stays in its heap until it comes to the top, and is dropped."""

    wish: Wish
    number: int  # rises with every wish


class FrameQueue(Generic[Key]):
    """At most one wish a session. Every operation takes O(log n), whatever n sessions wish for."""

    def __init__(self) -> None:
        self._places: dict[Key, _Place] = {}
        self._numbers = itertools.count()
        self._later: list[tuple[int, int, Key]] = []  # by release: wishes whose time has not come
        self._ready: dict[Rank, list[tuple[int, int, Key]]] = {rank: [] for rank in Rank}  # by deadline, or by order
        self._passed_over_us = dict.fromkeys(SHARES, 0)

    def __len__(self) -> int:
        return len(self._places)

    def put(self, key: Key, wish: Wish) -> bool:
        """Sets what a session wishes for. The same wish again keeps its place; another one replaces it. Returns whether
        anything is new.
        """
        place = self._places.get(key)
        if place is not None and (place.wish.rank, place.wish.release_us, place.wish.due_us) == (
            wish.rank, wish.release_us, wish.due_us,
        ):  # fmt: skip
            return False
        self._places[key] = place = _Place(wish, next(self._numbers))
        heapq.heappush(self._later, (wish.release_us, place.number, key))
        if len(self._later) > 2 * len(self._places) + MOST_STALE:
            self._later = [entry for entry in self._later if self._stands(entry[2], entry[1])]
            heapq.heapify(self._later)
        return True

    def remove(self, key: Key) -> None:
        """Forgets a session's wish, if it has one."""
        self._places.pop(key, None)

    def depth(self, rank: Rank) -> int:
        """How many sessions of a rank wish for a frame, now or later."""
        return sum(place.wish.rank is rank for place in self._places.values())

    def take(self, now_us: int) -> Key | None:
        """Whose frame is to be drawn now. Its wish is gone with that. None if nobody's time has come."""
        self._ripen(now_us)
        heads = {rank: key for rank, heap in self._ready.items() if heap and (key := self._head(rank)) is not None}
        for rank in SHARES:
            if rank not in heads:
                self._passed_over_us[rank] = 0
        if not heads:
            return None
        owed = [rank for rank in SHARES if rank in heads and self._owed(rank, heads[rank])]
        rank = owed[0] if owed else min(heads)
        key = heads[rank]
        cost_us = self._places.pop(key).wish.cost_us
        for other in SHARES:
            if other is rank:
                self._passed_over_us[other] = 0
            elif other in heads:
                self._passed_over_us[other] += cost_us
        return key

    def next_release_us(self) -> int | None:
        """When a frame's time comes that has not come yet; None if there is no such frame."""
        while self._later:
            release_us, number, key = self._later[0]
            if self._stands(key, number):
                return release_us
            heapq.heappop(self._later)
        return None

    def _ripen(self, now_us: int) -> None:
        while (release_us := self.next_release_us()) is not None and release_us <= now_us:
            _, number, key = heapq.heappop(self._later)
            wish = self._places[key].wish
            # Of one deadline, the one that was asked for first: order alone decides, never a key's value.
            heap = self._ready[wish.rank]
            heapq.heappush(heap, (wish.due_us if wish.rank is Rank.PACED else 0, number, key))
            if len(heap) > 2 * len(self._places) + MOST_STALE:
                heap[:] = [entry for entry in heap if self._stands(entry[2], entry[1])]
                heapq.heapify(heap)

    def _head(self, rank: Rank) -> Key | None:
        heap = self._ready[rank]
        while heap:
            _, number, key = heap[0]
            if self._stands(key, number):
                return key
            heapq.heappop(heap)
        return None

    def _owed(self, rank: Rank, head: Key) -> bool:
        return self._passed_over_us[rank] >= SHARES[rank] * self._places[head].wish.cost_us

    def _stands(self, key: Key, number: int) -> bool:
        place = self._places.get(key)
        return place is not None and place.number == number
