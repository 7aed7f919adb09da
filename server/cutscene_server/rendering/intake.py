"""A render job that is being handed in: its limits, and its sessions stored turn by turn as they come.

No more than one turn is in memory. The sessions arrive in the store unseen, as those that are brought from another
server do: if this one ends meanwhile, they are gone when the store is opened again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from cutscene_server.archive import Archive
from cutscene_server.errors import FieldViolation, InvalidRequest
from cutscene_server.registry import digest_of, new_session_id, new_token
from cutscene_server.rendering.jobs import Item
from cutscene_server.store import StoredTurn
from cutscene_server.terms import Terms
from cutscene_server.turns import Turn

MAX_ITEMS = 256
MAX_STEPS = 1024  # of an item: its turns and cuts
MAX_TURNS = 512  # of an item
MAX_ITEM_FRAMES = 16_384
MAX_ITEM_BYTES = 64 << 20  # packed scene states of an item: they are in memory while it is drawn
MAX_JOB_FRAMES = 131_072
MAX_JOB_BYTES = 256 << 20  # of requests


@dataclass(frozen=True, slots=True)
class ItemTerms:
    """How an item begins: what ``open`` settles, and what is said of the film."""

    name: str
    terms: Terms
    packed_stage: bytes
    rate_factor: int


@dataclass(slots=True)
class _Arriving:
    """The item that is being handed in."""

    began: ItemTerms
    session_id: str
    turn_ids: set[str]
    steps: int = 0
    turns: int = 0
    frames: int = 0
    packed_bytes: int = 0
    cut: bool = False


class Intake:
    """One job's items as they come. ``finish`` makes sure that all is right; ``discard`` takes back what was stored."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._items: list[Item] = []
        self._last: _Arriving | None = None
        self._frames = 0
        self._bytes = 0
        self._begun: list[str] = []  # session ids

    def require_terms(self) -> Terms:
        """Those of the item that further turns belong to. Raises ``InvalidRequest`` before the first item."""
        return self._item("turn").began.terms

    @property
    def item_path(self) -> str:
        """The place of the item begun last."""
        return f"items[{len(self._items)}]"

    @property
    def next_item_path(self) -> str:
        """The place of the item that may come next."""
        return f"items[{len(self._items) + (self._last is not None)}]"

    @property
    def step_path(self) -> str:
        """The place of the step that may come next."""
        return f"{self.item_path}.steps[{self._last.steps if self._last is not None else 0}]"

    def count_bytes(self, size: int) -> None:
        """A request came. Raises ``InvalidRequest`` if they are too many or too large."""
        self._bytes += size
        if self._bytes > MAX_JOB_BYTES:
            raise _refusal("items", f"found over {MAX_JOB_BYTES} bytes of requests, which is the most of one job")

    async def begin_item(self, began: ItemTerms) -> None:
        """Raises ``InvalidRequest`` if the item before it is not whole, or there are too many."""
        await self._end_item()
        if len(self._items) == MAX_ITEMS:
            raise _refusal(self.item_path, f"allowed are at most {MAX_ITEMS} items")
        session_id = new_session_id()
        self._begun.append(session_id)
        # Nobody is told the token: the session is the server's own.
        await self._archive.begin_arrival(
            session_id, digest_of(new_token()), began.terms, began.packed_stage, self._archive.environment
        )
        self._last = _Arriving(began, session_id, set())

    async def add_turn(self, turn: Turn) -> None:
        """Raises ``InvalidRequest`` if it is one too many, or of too many frames."""
        item = self._item("turn")
        path, frames = f"{self.step_path}.turn", turn.run.frame_count
        self._check_step(item, path)
        if turn.turn_id in item.turn_ids:
            raise _refusal(f"{path}.turn_id", f"{turn.turn_id!r} was used before in this item")
        if item.turns == MAX_TURNS:
            raise _refusal(path, f"allowed are at most {MAX_TURNS} turns of an item")
        self._check_frames(item, frames, path)
        packed = turn.run.packed()
        item.packed_bytes += len(packed)
        if item.packed_bytes > MAX_ITEM_BYTES:
            raise _refusal(path, f"the item's states take over {MAX_ITEM_BYTES} bytes, which is the most of one item")
        stored = StoredTurn(
            turn_number=item.turns,
            turn_id=turn.turn_id,
            first_frame=item.frames,
            frame_count=frames,
            cut_before=item.cut,
            received_unix_us=time.time_ns() // 1000,
            packed_run=packed,
        )
        await self._archive.add_arrived_turns(item.session_id, [stored])
        item.turn_ids.add(turn.turn_id)
        item.steps, item.turns, item.frames, item.cut = item.steps + 1, item.turns + 1, item.frames + frames, False
        self._frames += frames

    def cut(self) -> None:
        """The next turn starts with a shot change."""
        item = self._item("cut")
        self._check_step(item, f"{self.step_path}.cut")
        item.steps, item.cut = item.steps + 1, True

    async def finish(self) -> list[Item]:
        """The items, all of whose sessions have arrived but for ``settle``. Raises ``InvalidRequest``."""
        await self._end_item()
        if not self._items:
            raise _refusal("items", "are missing; a job has at least one")
        return self._items

    async def settle(self) -> None:
        """Makes the sessions durable ones like any other."""
        for session_id in self._begun:
            await self._archive.finish_arrival(session_id)

    async def discard(self) -> None:
        """Deletes whatever of the job has come."""
        for session_id in self._begun:
            await self._archive.discard_arrival(session_id)

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _item(self, kind: str) -> _Arriving:
        if self._last is None:
            raise _refusal(kind, "comes before any item; an item comes first")
        return self._last

    def _check_step(self, item: _Arriving, path: str) -> None:
        if item.steps == MAX_STEPS:
            raise _refusal(path, f"allowed are at most {MAX_STEPS} steps of an item, turns and cuts")

    def _check_frames(self, item: _Arriving, frames: int, path: str) -> None:
        found, budget = item.frames + frames, item.began.terms.frame_budget
        if found > MAX_ITEM_FRAMES:
            raise _refusal(path, f"found {found} frames of this item so far; allowed are at most {MAX_ITEM_FRAMES}")
        if found > budget:
            raise _refusal(path, f"found {found} frames of this item so far; its frame_budget is {budget}")
        if self._frames + frames > MAX_JOB_FRAMES:
            raise _refusal(
                path, f"found {self._frames + frames} frames of this job so far; allowed are at most {MAX_JOB_FRAMES}"
            )

    async def _end_item(self) -> None:
        item = self._last
        if item is None:
            return
        if not item.turns:
            raise _refusal(f"{self.item_path}.steps", "has no turn; an item has at least one")
        if item.cut:
            raise _refusal(f"{self.item_path}.steps[{item.steps - 1}].cut", "is followed by no turn")
        self._items.append(Item(item.began.name, item.session_id, item.frames, item.began.rate_factor))
        self._last = None


def _refusal(field: str, description: str) -> InvalidRequest:
    return InvalidRequest([FieldViolation(field, description)])
