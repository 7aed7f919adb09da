"""The anchor table: what each slot says, and what it does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cutscene_model.anchors import anchor_table
from cutscene_model.errors import TooManyLooksError
from cutscene_model.scene import CastMember, Stage
from cutscene_model.training.costumes import HEADGEAR
from cutscene_model.vocabulary import COSTUMES, LOOKS, WITH_HEADGEAR
from small_scenes import FLOOR, stage


def test_the_cast_takes_the_first_slots_and_the_looks_follow() -> None:
    table = anchor_table(stage(), COSTUMES, LOOKS)
    assert table.costume[1:4].tolist() == [1 + COSTUMES.index("knight"), 1 + COSTUMES.index("mage"), 0]
    assert table.look[5:8].tolist() == [1 + LOOKS.index("floor/tile"), 1 + LOOKS.index("crate/large"), 0]
    assert np.flatnonzero(table.used).tolist() == [1, 2, 5, 6]


@pytest.mark.parametrize("costume", COSTUMES)
def test_headgear_counts_only_where_the_costume_has_any(costume: str) -> None:
    worn, bare = (
        anchor_table(Stage((CastMember("a", costume, headgear=on),)), COSTUMES, LOOKS) for on in (True, False)
    )
    assert (worn.headgear[1] != bare.headgear[1]) == (costume in HEADGEAR)
    assert set(WITH_HEADGEAR) == set(HEADGEAR)


def test_more_looks_than_slots_are_refused() -> None:
    floors = tuple(replace(FLOOR, tint=(1.0, 1.0, 0.5 + 0.01 * i)) for i in range(61))
    assert anchor_table(Stage((), floors[:60]), COSTUMES, LOOKS).used.sum() == 60
    with pytest.raises(TooManyLooksError, match="61"):
        anchor_table(Stage((), floors), COSTUMES, LOOKS)
