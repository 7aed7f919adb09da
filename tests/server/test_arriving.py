"""What the inference process tells, in order, and frames of different sessions handed out together."""

from __future__ import annotations

import pytest

from cutscene_server.arriving import MOST_AT_ONCE, Arrived, Arriving
from cutscene_server.picture import Encoded
from cutscene_server.registry import SessionRecord
from cutscene_server.scheduling import Tenant, TenantLimits
from cutscene_server.session import Session
from cutscene_server.session_log import DrawnFigures
from cutscene_server.terms import Codec, Names, Terms
from cutscene_server.turns import DrawOrder
from cutscene_server.worker_messages import Began, DrawFailed

TERMS = Terms("m", "d", 64, 32, Codec.JPEG, 90, 24.0, 7, "draft", 48, 1000, Names({}, {}, frozenset()))
TENANT = Tenant("t", TenantLimits(0, 0.0, 0.0))


def arrived(key: int, frame_index: int) -> Arrived:
    record = SessionRecord(Session(TERMS), key, f"session-{key}", b"", b"", 0, TENANT)
    order = DrawOrder(
        frame_index=frame_index, generation=0, turn_number=0, stored=False, packed_state=b"", tier="draft",
        cut_before=False, paced=False, turn_id="t",
    )  # fmt: skip
    figures = DrawnFigures(frame_index, "draft", 1, 1, 1, 1, 1, 1, 0, 1)
    return Arrived(record, order, 0, figures, b"", Encoded(b"", b"", 1))


def names(told: object) -> list[tuple[int, int]]:
    assert isinstance(told, list)
    return [(frame.record.key, frame.order.frame_index) for frame in told]


async def test_frames_go_together_one_of_each_session() -> None:
    arriving = Arriving()
    for key, index in ((1, 0), (2, 0), (3, 0), (1, 1), (2, 1)):
        arriving.put(arrived(key, index))
    arriving.put(None)
    assert names(await arriving.next()) == [(1, 0), (2, 0), (3, 0)]
    assert names(await arriving.next()) == [(1, 1), (2, 1)]
    assert await arriving.next() is None


async def test_facts_keep_their_place_among_frames() -> None:
    arriving = Arriving()
    failed = DrawFailed(1, 0, 0, "no")
    arriving.put(arrived(1, 0))
    arriving.put(failed)
    arriving.put(arrived(2, 0))
    arriving.put(Began(3, 0))
    assert names(await arriving.next()) == [(1, 0)]
    assert await arriving.next() == failed
    assert names(await arriving.next()) == [(2, 0)]
    assert await arriving.next() == Began(3, 0)


@pytest.mark.parametrize("count", [MOST_AT_ONCE, MOST_AT_ONCE + 5])
async def test_no_more_than_so_many_go_together(count: int) -> None:
    arriving = Arriving()
    for key in range(count):
        arriving.put(arrived(key, 0))
    assert len(names(await arriving.next())) == MOST_AT_ONCE
    if count > MOST_AT_ONCE:
        assert len(names(await arriving.next())) == count - MOST_AT_ONCE
