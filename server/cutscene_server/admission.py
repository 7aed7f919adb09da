"""Who may come: room for a session, a place for its cadence, and what its tenant may have.

A session that keeps a cadence has a place with its inference process from its opening on. One that has drawn nothing
for ``hold_place`` seconds gives it back, and its next turn asks again: it is refused if there is none, with the time
after which to try again. A session that comes back with frames to draw is never turned away: while there is no place
for it, it is drawn as a session without pacing is.

Tenants are told apart by a name that clients give. Nobody checks it yet: it divides a trusted network's machine among
its users, and is no protection from any of them.
"""

from __future__ import annotations

import asyncio
import itertools
import time
import weakref
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from cutscene_server import clock
from cutscene_server.config import ServerConfig
from cutscene_server.crew import Crew
from cutscene_server.errors import NoRoom
from cutscene_server.inference import Inference
from cutscene_server.registry import SessionRecord, SessionRegistry
from cutscene_server.scheduling import LineFull, Tenant, TenantLimits, WaitingLine
from cutscene_server.terms import Terms

MOST_REMEMBERED = 1024  # tenants without a session or a call

TellPosition = Callable[[int], Awaitable[None]]


class Admission:
    """See the module's docstring."""

    def __init__(
        self, config: ServerConfig, sessions: SessionRegistry, crew: Crew, make_room: Callable[[], None]
    ) -> None:
        """``make_room`` parks a session without a client, if there is one."""
        self._config = config
        self._sessions = sessions
        self._crew = crew
        self._make_room = make_room
        self._limits = TenantLimits(config.tenant_sessions, config.tenant_frames, config.tenant_bytes)
        self._tenants: weakref.WeakValueDictionary[str, Tenant] = weakref.WeakValueDictionary()
        self._lately: OrderedDict[str, Tenant] = OrderedDict()
        self._line: WaitingLine[int] = WaitingLine(config.max_waiting)
        self._numbers = itertools.count()
        self._changed = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many wait for room."""
        return len(self._line)

    def tenant(self, name: str) -> Tenant:
        """A tenant by name. It is forgotten after its last session and call, once enough others have called: what it
        has used up is not given back by hanging up and calling again.
        """
        found = self._tenants.get(name)
        if found is None:
            self._tenants[name] = found = Tenant(name, self._limits)
        self._lately[name] = found
        self._lately.move_to_end(name)
        if len(self._lately) > MOST_REMEMBERED:
            self._lately.popitem(last=False)
        return found

    # ---- coming -----------------------------------------------------------------------------------------------------

    async def enter(
        self, terms: Terms, tenant: Tenant, tell: TellPosition | None, check: Callable[[], object]
    ) -> Inference:
        """Who will draw for such a session; whoever asks admits it before anything else happens.

        ``tell``: waits for room, and is told each position in line; None: raises ``NoRoom`` instead. What ``check``
        raises ends the waiting.
        """
        self._check_tenant(terms, tenant)
        if not self._line and (inference := self._room(terms)):
            return inference
        if tell is None:
            raise NoRoom(self._refusal(terms))
        ticket, told = next(self._numbers), 0
        try:
            self._line.join(ticket)
        except LineFull:
            raise NoRoom(f"{self._config.max_waiting} wait for room already") from None
        try:
            while True:
                check()
                changed = self._changed
                if self._line.first == ticket and (inference := self._room(terms)):
                    self._check_tenant(terms, tenant)
                    return inference
                if (position := self._line.position(ticket)) != told:
                    told = position
                    await tell(position)
                else:
                    await changed.wait()
        finally:
            self._line.leave(ticket)
            self.note_change()

    def note_change(self) -> None:
        """There may be room where there was none."""
        if self._line:
            self._changed.set()
            self._changed = asyncio.Event()

    def check_sessions(self) -> None:
        """Raises ``NoRoom`` if there is no room for a session, whatever its terms."""
        if self._line:
            raise NoRoom(f"{len(self._line)} wait for room already")
        if self._sessions.full:
            self._make_room()
        self._sessions.check_room()
        if not self._may_begin:  # opened and ended faster than anchors are computed
            raise NoRoom("too many sessions are being opened at once")

    # ---- places -----------------------------------------------------------------------------------------------------

    def take_place(self, record: SessionRecord) -> bool:
        """Whether a paced session has a place with its process now."""
        session, inference = record.session, self._crew.of(record)
        terms = session.terms
        if session.has_place or session.closed or not terms.paced:
            return session.has_place
        lowest = terms.lowest_tier or terms.tier
        if inference.places.take(record.key, terms.fps, lowest):
            inference.tiers.add(record.key, terms.fps, lowest, terms.tier, clock.now_us())
            session.has_place = True
            session.set_tier(terms.tier)
            record.worked_at = time.monotonic()
        return session.has_place

    def give_back(self, record: SessionRecord, inference: Inference | None = None) -> None:
        """A session's place is another's to take."""
        inference = inference or self._crew.of(record)
        inference.places.give_back(record.key)
        inference.tiers.remove(record.key)
        if record.session.has_place:
            record.session.has_place = False
            self.note_change()

    def check_turn(self, record: SessionRecord) -> None:
        """Raises ``NoRoom`` if a session that keeps a cadence has no place for another turn."""
        if record.session.terms.paced and not record.session.closed and not self.take_place(record):
            raise NoRoom(self._refusal(record.session.terms))

    def let_places_lapse(self) -> None:
        """Takes back the places of sessions that have not drawn for long."""
        now = time.monotonic()
        for inference in self._crew.all:
            for key in inference.places:  # not all sessions there are: most of them may have none
                record = self._sessions.by_key(key)
                if record is not None and now - record.worked_at >= self._config.hold_place:
                    self.give_back(record, inference)

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _room(self, terms: Terms) -> Inference | None:
        inference = self._crew.roomiest()
        if terms.paced and not inference.places.fits(terms.fps, terms.lowest_tier or terms.tier):
            return None
        if not self._may_begin:
            return None
        if self._sessions.full:
            self._make_room()
        return None if self._sessions.full else inference

    @property
    def _may_begin(self) -> bool:
        return sum(len(inference.beginning) for inference in self._crew.all) < self._config.max_sessions

    def _refusal(self, terms: Terms) -> str:
        if self._sessions.full:
            return f"this server plays at most {self._config.max_sessions} sessions at once"
        if terms.paced:
            tier = terms.lowest_tier or terms.tier
            return f"{terms.fps:.4g} frames/s at the {tier} tier cannot be held beside what is promised already"
        return "there is no room for another session now"

    def _check_tenant(self, terms: Terms, tenant: Tenant) -> None:
        """Raises ``NoRoom`` if the tenant has all that one may have. Its own doing, so nobody waits for it."""
        limits = tenant.limits
        mine = [record.session for record in self._sessions if record.tenant is tenant and not record.session.closed]
        if limits.sessions and len(mine) >= limits.sessions:
            raise NoRoom(f"tenant {tenant.name} has {len(mine)} sessions; it may have {limits.sessions}")
        promised = sum(session.terms.fps for session in mine if session.terms.paced)
        if limits.frames_per_s and terms.paced and promised + terms.fps > limits.frames_per_s:
            raise NoRoom(
                f"tenant {tenant.name} has {promised:.4g} frames/s promised; it may have {limits.frames_per_s:.4g}",
            )
