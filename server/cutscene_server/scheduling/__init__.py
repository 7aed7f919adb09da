"""Which session's frame is drawn next, at which tier, and who may come at all: pure logic, tested in simulated time.

    wishes     what a session asks for: its rank, from when on, by when, at what cost
    cadence    a session's clock: which state's time has come, and when its frame is due
    evenness   when its frames are sent, so that they come evenly
    queue      earliest deadline first, by rank, with a share that keeps every rank from starving
    costs      what a frame of each tier takes, learned from those that were drawn
    tiers      the tier of each session that keeps a cadence: lower before it misses, higher when there is room
    places     admission: whose cadence was promised, and whether another one fits
    waiting    who waits for a place, in the order they came
    tenants    what one tenant may have of all this

Nothing here does I/O, reads a clock or knows what a session is: times are given in microseconds, sessions go by a key.
docs/scheduling.md says what follows from it for clients, and why frames of several sessions are not drawn as a batch.
"""

from __future__ import annotations

from cutscene_server.scheduling.cadence import Cadence
from cutscene_server.scheduling.costs import CostModel
from cutscene_server.scheduling.evenness import Evenness
from cutscene_server.scheduling.places import Places
from cutscene_server.scheduling.queue import FrameQueue
from cutscene_server.scheduling.tenants import DEFAULT_TENANT, Tenant, TenantLimits, TokenBucket
from cutscene_server.scheduling.tiers import TierChange, TierControl
from cutscene_server.scheduling.waiting import LineFull, WaitingLine
from cutscene_server.scheduling.wishes import Rank, Wish

__all__ = [
    "DEFAULT_TENANT",
    "Cadence",
    "CostModel",
    "Evenness",
    "FrameQueue",
    "LineFull",
    "Places",
    "Rank",
    "Tenant",
    "TenantLimits",
    "TierChange",
    "TierControl",
    "TokenBucket",
    "WaitingLine",
    "Wish",
]
