"""The limits of what is handed in that take too long, or too much, to be reached over a line."""

from __future__ import annotations

import pytest

from cutscene_server.archive import Archive
from cutscene_server.errors import InvalidRequest, OutOfRange
from cutscene_server.keyframes import LockstepStates
from cutscene_server.rendering.intake import MAX_ITEM_BYTES, MAX_JOB_BYTES, Intake, ItemTerms
from cutscene_server.replay import MAX_REPLAY_FRAMES, check_stretch
from cutscene_server.terms import Codec, Names, Terms
from cutscene_server.turns import Turn

TERMS = Terms("m", "d", 64, 32, Codec.JPEG, 90, 24.0, 7, "draft", 48, 1000, Names({}, {}, frozenset()))


@pytest.fixture
def intake(tmp_path_factory: pytest.TempPathFactory) -> Intake:
    return Intake(Archive(tmp_path_factory.mktemp("data"), {}, 1))


def test_a_job_has_so_many_bytes_of_requests(intake: Intake) -> None:
    intake.count_bytes(MAX_JOB_BYTES)
    with pytest.raises(InvalidRequest, match=f"items: found over {MAX_JOB_BYTES} bytes"):
        intake.count_bytes(1)
    assert MAX_JOB_BYTES == 256 << 20


async def test_an_item_has_so_many_bytes_of_states(tmp_path_factory: pytest.TempPathFactory) -> None:
    archive = Archive(tmp_path_factory.mktemp("data"), {}, 1)
    await archive.open()
    intake = Intake(archive)
    await intake.begin_item(ItemTerms("a", TERMS, b"", 16))
    half = LockstepStates((bytes(MAX_ITEM_BYTES // 2 - 100),))
    half_size = len(half.packed())
    assert 2 * half_size <= MAX_ITEM_BYTES < 2 * half_size + 400
    for number in range(2):
        await intake.add_turn(Turn(f"turn-{number}", half))
    with pytest.raises(InvalidRequest, match=r"items\[0\]\.steps\[2\]\.turn: the item's states take over 67108864"):
        await intake.add_turn(Turn("turn-2", LockstepStates((bytes(400),))))
    await intake.discard()
    await archive.close()


def test_a_replay_has_so_many_frames() -> None:
    check_stretch(5, 5 + MAX_REPLAY_FRAMES, 20_000)
    with pytest.raises(OutOfRange, match="16384"):
        check_stretch(5, 6 + MAX_REPLAY_FRAMES, 20_000)
