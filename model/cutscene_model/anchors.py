"""The anchor table: how each slot looks, said once at open and encoded into blocks that are never evicted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cutscene_model.errors import TooManyLooksError, UnknownCostumeError, UnknownLookError
from cutscene_model.primitives import SLOT_COUNT, set_slots
from cutscene_model.scene import MAX_CAST, FloatArray, Stage
from cutscene_model.vocabulary import WITHOUT_HEADGEAR


@dataclass(frozen=True, slots=True)
class AnchorTable:
    """Descriptors by slot; unused slots are all zero."""

    costume: npt.NDArray[np.uint8]  # (65,): 1 + index into the costumes, 0 for what is not an actor
    headgear: npt.NDArray[np.uint8]  # (65,): 1 where it is worn
    element_class: npt.NDArray[np.uint8]  # (65,): ElementClass value, 0 for actors
    look: npt.NDArray[np.uint8]  # (65,): 1 + index into the looks, 0 for actors
    tint: FloatArray  # (65, 3)

    @property
    def used(self) -> npt.NDArray[np.bool_]:
        """Which slots say anything."""
        return (self.costume > 0) | (self.element_class > 0)


def anchor_table(stage: Stage, costumes: tuple[str, ...], looks: tuple[str, ...]) -> AnchorTable:
    """Numbers the looks of ``stage`` by the model's vocabulary.

    Raises ``UnknownCostumeError``, ``UnknownLookError`` or ``TooManyLooksError``.
    """
    codes = np.zeros((4, SLOT_COUNT), np.uint8)
    table = AnchorTable(codes[0], codes[1], codes[2], codes[3], np.zeros((SLOT_COUNT, 3), np.float32))
    for slot, member in enumerate(stage.cast, start=1):
        if member.costume not in costumes:
            raise UnknownCostumeError(f"costume {member.costume!r} is not one of {', '.join(costumes)}")
        table.costume[slot] = 1 + costumes.index(member.costume)
        # A costume without headgear looks the same whatever is said of it; the model knows it by one name only.
        table.headgear[slot] = member.headgear and member.costume not in WITHOUT_HEADGEAR
        table.tint[slot] = member.tint
    distinct, _, _ = set_slots(stage)
    if len(distinct) > SLOT_COUNT - 1 - MAX_CAST:
        raise TooManyLooksError(f"{len(distinct)} distinct looks; at most {SLOT_COUNT - 1 - MAX_CAST} are allowed")
    for slot, (element_class, look, tint) in enumerate(distinct, start=1 + MAX_CAST):
        if look not in looks:
            raise UnknownLookError(f"look {look!r} is not in the model's vocabulary of {len(looks)}")
        table.element_class[slot] = element_class
        table.look[slot] = 1 + looks.index(look)
        table.tint[slot] = tint
    return table
