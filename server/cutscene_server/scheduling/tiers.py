"""The tier of each session that keeps a cadence: lower before it misses, higher again when there is room.

``load`` is the share of the process's time that the sessions at work take at their present tiers. If it is above
``HIGH``, tiers are lowered, one step at a time and the highest first, until it is not. If raising one session by one
step would leave it below ``LOW``, and nothing has changed for that session's patience, that step is taken; one that
would leave it between ``LOW`` and ``NEAR`` is tried when nothing has changed for ``SLOW`` times as long. A step up ends
well below where a step down begins: with costs as they are modelled, it is never taken back.

Costs are not always as they are modelled. A frame that is about to be late lowers one tier as well, whatever the model
says; and a session whose step up was soon taken back has its patience doubled, up to ``MOST_PATIENCE_US``: on a machine
that is slow every other minute, tiers change ever more rarely, and in the end a few times in an hour.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

HIGH = 0.85  # of the process's time: as much as ``places`` promises
LOW = 0.70
NEAR = 0.80
SLOW = 5  # times a session's patience
FIRST_PATIENCE_US = 3_000_000
MOST_PATIENCE_US = 300_000_000
AT_WORK_US = 3_000_000  # since its last frame: how long a session still counts, for its next turn is near
SOON_US = 60_000_000  # a step up that is taken back within that, or twice its patience, was a mistake
CALM_US = 500_000  # between two steps down because frames are late: the first one needs a moment to show


@dataclass(frozen=True, slots=True)
class TierChange(Generic[Key]):
    """A session's frames are drawn at another tier from now on."""

    key: Key
    tier: str
    lower: bool


@dataclass(slots=True)
class _Range:
    """What a session may be drawn at, and is."""

    fps: float
    lowest: int  # index in the tiers
    highest: int
    present: int
    changed_us: int
    patience_us: int = FIRST_PATIENCE_US
    raised_us: int | None = None
    at_work_until_us: int = 0


class TierControl(Generic[Key]):
    """The tiers of one inference process's sessions."""

    def __init__(self, tiers: Sequence[str], cost_us: Callable[[str], int]) -> None:
        """``tiers``: from the cheapest to the dearest."""
        self._tiers = tuple(tiers)
        self._cost_us = cost_us
        self._ranges: dict[Key, _Range] = {}
        self._late = False
        self._lowered_us: int | None = None

    def add(self, key: Key, fps: float, lowest: str, highest: str, now_us: int) -> None:
        """A session begins at its highest tier. Does nothing for one that is here already."""
        low, high = self._tiers.index(lowest), self._tiers.index(highest)
        if low > high:
            raise ValueError(f"{lowest} is not below {highest}")
        if key not in self._ranges:
            self._ranges[key] = _Range(fps, low, high, present=high, changed_us=now_us)

    def remove(self, key: Key) -> None:
        self._ranges.pop(key, None)

    def touch(self, key: Key, now_us: int) -> bool:
        """The session is at work. Returns whether it was not before: then tiers are to be reviewed."""
        found = self._ranges.get(key)
        if found is None:
            return False
        began = found.at_work_until_us <= now_us
        found.at_work_until_us = now_us + AT_WORK_US
        return began

    def note_late(self) -> None:
        """A frame is about to miss its deadline, or has."""
        self._late = True

    def tier(self, key: Key) -> str | None:
        """What the session's next frame is drawn at; None for a session that is not here."""
        found = self._ranges.get(key)
        return None if found is None else self._tiers[found.present]

    def load(self, now_us: int) -> float:
        """The share of the process's time that the sessions at work take."""
        return sum(self._share(found, found.present) for found in self._at_work(now_us).values())

    def review(self, now_us: int) -> list[TierChange[Key]]:
        """Takes the steps that are due. To be asked several times a second, and when a session starts to work."""
        working = self._at_work(now_us)
        changes: dict[Key, TierChange[Key]] = {}
        load = sum(self._share(found, found.present) for found in working.values())
        late, self._late = self._late, False
        if late and (self._lowered_us is None or now_us - self._lowered_us >= CALM_US) and load <= HIGH:
            load -= self._lower(working, now_us, changes)
        while load > HIGH and (less := self._lower(working, now_us, changes)):
            load -= less
        if not changes and not late:
            self._raise(working, load, now_us, changes)
        return list(changes.values())

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _at_work(self, now_us: int) -> dict[Key, _Range]:
        return {key: found for key, found in self._ranges.items() if found.at_work_until_us > now_us}

    def _share(self, found: _Range, tier: int) -> float:
        return found.fps * self._cost_us(self._tiers[tier]) / 1e6

    def _lower(self, working: dict[Key, _Range], now_us: int, changes: dict[Key, TierChange[Key]]) -> float:
        """Takes the step down that brings most, from the highest tier there is. Returns what it brings; 0: none."""
        able = {key: found for key, found in working.items() if found.present > found.lowest}
        if not able:
            return 0.0
        key = max(able, key=lambda key: (able[key].present, self._share(able[key], able[key].present)))
        found = able[key]
        before = self._share(found, found.present)
        found.present -= 1
        if found.raised_us is not None:
            soon = now_us - found.raised_us < max(SOON_US, 2 * found.patience_us)
            patience_us = 2 * found.patience_us if soon else found.patience_us // 2
            found.patience_us = min(max(patience_us, FIRST_PATIENCE_US), MOST_PATIENCE_US)
        found.raised_us, found.changed_us = None, now_us
        self._lowered_us = now_us
        changes[key] = TierChange(key, self._tiers[found.present], lower=True)
        # A tier that is measured to be no cheaper still counts as a step, or the loop would not end.
        return max(before - self._share(found, found.present), 1e-9)

    def _raise(self, working: dict[Key, _Range], load: float, now_us: int, changes: dict[Key, TierChange[Key]]) -> None:
        """Takes one step up, of the session that is furthest below its highest tier, if there is room for it."""
        calm_us = now_us - self._lowered_us if self._lowered_us is not None else SLOW * MOST_PATIENCE_US

        def may_rise(found: _Range) -> bool:
            if found.present == found.highest:
                return False
            after = load + self._share(found, found.present + 1) - self._share(found, found.present)
            patience_us = found.patience_us if after <= LOW else SLOW * found.patience_us
            return after <= NEAR and min(calm_us, now_us - found.changed_us) >= patience_us

        able = {key: found for key, found in working.items() if may_rise(found)}
        if not able:
            return
        key = min(able, key=lambda key: (able[key].present - able[key].highest, able[key].changed_us))
        found = able[key]
        found.present += 1
        found.raised_us = found.changed_us = now_us
        changes[key] = TierChange(key, self._tiers[found.present], lower=False)
