"""Which frames of held-out runs are shown beside their scores."""

from __future__ import annotations

import pytest

from cutscene_model.training.own_game.scoring import SHOWN, sheet_places


@pytest.mark.parametrize("total", [0, 1, 5, SHOWN, SHOWN + 1, 359])
def test_as_many_as_there_is_room_for_are_shown_from_the_beginning_to_the_end(total: int) -> None:
    places = sorted(sheet_places(total))
    assert len(places) == min(SHOWN, total)
    assert all(0 <= place < total for place in places)
    if total >= SHOWN:
        assert places[0] < total / SHOWN
        assert places[-1] >= total - 1 - total / SHOWN
