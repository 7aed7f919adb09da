"""A server in simulated time: the scheduling package, and an inference process that is nothing but what it costs.

As in the real one, a few frames are with the process at once, in order; one is finished each time its cost has passed
since the one before. Nothing sleeps: an hour takes a second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from cutscene_server.scheduling import Cadence, CostModel, FrameQueue, Places, Rank, TierChange, TierControl, Wish

TIERS = {"draft": 0.75, "standard": 1.0, "high": 1.5}  # their work
PRIOR_US = 20_000
SLOTS = 3  # frames that are with the process at once
REVIEW_US = 250_000


@dataclass(slots=True)
class Player:
    """A session with frames to draw without end."""

    name: str
    rank: Rank = Rank.PACED
    fps: float = 10.0
    lowest: str = "draft"
    highest: str = "high"
    starts_us: int = 0
    ends_us: int = 1 << 60
    latency_us: int = 300_000
    cadence: Cadence = field(init=False)
    frames: int = 0
    misses: int = 0
    finishes_us: list[int] = field(default_factory=list)
    overdue_picks: int = 0  # the most frames taken for others after its deadline had passed
    worst_wait_us: int = 0  # of others' drawing between its wish's coming up and its being taken

    def __post_init__(self) -> None:
        self.cadence = Cadence(self.fps, self.latency_us)


class SimulatedServer:
    """See the module's docstring. ``costs_us`` is what frames really take, by tier; it may be changed between runs."""

    def __init__(self, costs_us: Mapping[str, int]) -> None:
        self.costs_us = dict(costs_us)
        self.model = CostModel(TIERS, PRIOR_US)
        self.places: Places[str] = Places(self._cost_us)
        self.tiers: TierControl[str] = TierControl(tuple(TIERS), self._cost_us)
        self.queue: FrameQueue[str] = FrameQueue()
        self.players: dict[str, Player] = {}
        self.now_us = 1
        self.changes: list[tuple[int, TierChange[str]]] = []
        self.busy_us = 0
        self._process: deque[tuple[int, int, str, str, int]] = deque()  # start, finish, key, tier, due
        self._free_us = 0
        self._review_us = 0
        self._taken = 0
        self._wish_seen: dict[str, tuple[int, int, int]] = {}  # due, frames taken then, drawing ordered then
        self._ordered_us = 0
        self._passed: dict[str, int] = {}  # frames taken for others since a deadline passed

    def learn(self) -> None:
        """Lets the model know what frames take now, as a warm server would."""
        at_us = 1
        for tier, cost in self.costs_us.items():
            for _ in range(64):
                self.model.observe(tier, at_us - cost, at_us + cost, cost)
                at_us += cost

    def admit(self, player: Player) -> bool:
        if player.rank is Rank.PACED:
            if not self.places.take(player.name, player.fps, player.lowest):
                return False
            self.tiers.add(player.name, player.fps, player.lowest, player.highest, self.now_us)
        self.players[player.name] = player
        self._wish(player, player.starts_us if player.rank is Rank.PACED else 0)
        return True

    def run(self, seconds: float) -> None:
        until_us = self.now_us + round(seconds * 1e6)
        while self.now_us < until_us:
            self._finish()
            if self.now_us >= self._review_us:
                self._review_us = self.now_us + REVIEW_US
                self._review()
            while len(self._process) < SLOTS and (key := self.queue.take(self.now_us)) is not None:
                self._order(self.players[key])
            events = [until_us, self._review_us]
            if self._process:
                events.append(self._process[0][1])
            if len(self._process) < SLOTS and (release_us := self.queue.next_release_us()) is not None:
                events.append(release_us)
            self.now_us = max(self.now_us + 1, min(events))

    def _review(self) -> None:
        self.changes += [(self.now_us, change) for change in self.tiers.review(self.now_us)]

    def _wish(self, player: Player, known_us: int) -> None:
        if self.now_us >= player.ends_us:
            return
        if player.rank is Rank.PACED:
            wish = Wish(
                player.rank, player.cadence.release_us(known_us), player.cadence.due_us(known_us),
                self._cost_us(self._tier(player)),
            )  # fmt: skip
        else:
            wish = Wish(player.rank, known_us, 0, self._cost_us(player.highest))
        self.queue.put(player.name, wish)
        self._wish_seen[player.name] = wish.due_us, self._taken, self._ordered_us

    def _cost_us(self, tier: str) -> int:
        return self.model.cost_us(tier, self.now_us)

    def _tier(self, player: Player) -> str:
        return self.tiers.tier(player.name) or player.highest

    def _order(self, player: Player) -> None:
        if self.tiers.touch(player.name, self.now_us):
            self._review()
        tier, known_us = self._tier(player), player.starts_us
        due_us = player.cadence.due_us(known_us)
        self._note_waits(player)
        player.cadence.take(known_us, self.now_us)
        start_us = max(self.now_us, self._free_us)
        # As in the real pipeline, a frame's first stage begins while the one before is still under way.
        begun_us = self.now_us
        self._free_us = start_us + self.costs_us[tier]
        self.busy_us += self.costs_us[tier]
        self._process.append((begun_us, self._free_us, player.name, tier, due_us))
        self._taken += 1
        self._ordered_us += self.costs_us[tier]
        self._wish(player, player.starts_us if player.rank is Rank.PACED else 0)

    def _note_waits(self, player: Player) -> None:
        _, _, ordered_us = self._wish_seen[player.name]
        player.worst_wait_us = max(player.worst_wait_us, self._ordered_us - ordered_us)
        for other in self.players.values():
            if other is not player and other.name in self._overdue():
                self._passed[other.name] = self._passed.get(other.name, 0) + 1
                other.overdue_picks = max(other.overdue_picks, self._passed[other.name])
        self._passed.pop(player.name, None)

    def _overdue(self) -> set[str]:
        return {
            name
            for name, player in self.players.items()
            if player.rank is Rank.PACED and self._wish_seen[name][0] < self.now_us < player.ends_us
        }

    def _finish(self) -> None:
        while self._process and self._process[0][1] <= self.now_us:
            begun_us, finish_us, key, tier, due_us = self._process.popleft()
            self.model.observe(tier, begun_us, finish_us, self.costs_us[tier])
            player = self.players[key]
            player.frames += 1
            player.finishes_us.append(finish_us)
            if player.rank is Rank.PACED and finish_us > due_us:
                player.misses += 1
                self.tiers.note_late()
