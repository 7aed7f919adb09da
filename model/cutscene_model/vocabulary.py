"""The names the model knows: how things of the set may look, and which costumes the cast may wear.

What ships with the package is pure data, read by the model, the client's library and the training stage alike. A weight
file embeds these names by their place in the tuples, so names are only ever appended, never moved or removed. A model
adapted to another game has names of its own, in its manifest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LOOKS: tuple[str, ...] = (
    "floor/tile",
    "floor/tile_rocks",
    "floor/tile_small",
    "floor/wood",
    "floor/wood_dark",
    "floor/dirt",
    "floor/dirt_rocky",
    "floor/grate",
    "wall/plain",
    "wall/cracked",
    "wall/arched",
    "wall/window",
    "wall/window_closed",
    "wall/window_gated",
    "wall/window_arched",
    "wall/door",
    "wall/shelves",
    "wall/broken",
    "wall/gated",
    "wall/pillar",
    "wall/timber",
    "wall/barrier",
    "pillar/square",
    "pillar/decorated",
    "pillar/low",
    "stairs/stone",
    "stairs/wood",
    "table/long",
    "table/long_feast",
    "table/long_cloth",
    "table/medium",
    "table/medium_cloth",
    "table/small",
    "table/small_set",
    "table/broken",
    "seat/chair",
    "seat/stool",
    "bed/frame",
    "bed/floor",
    "shelf/double",
    "shelf/candles",
    "barrel/large",
    "barrel/small",
    "barrel/stack",
    "crate/large",
    "crate/small",
    "crate/stack",
    "keg/plain",
    "chest/plain",
    "chest/gold",
    "trunk/large",
    "trunk/medium",
    "banner/blue",
    "banner/red",
    "banner/green",
    "banner/white",
    "banner/pattern_yellow",
    "banner/pattern_brown",
    "banner/shield_red",
    "banner/shield_blue",
    "banner/triple_green",
    "banner/triple_red",
    "lamp/torch_mounted",
    "lamp/torch",
    "lamp/candle",
    "lamp/candle_thin",
    "clutter/bottle_green",
    "clutter/bottle_brown",
    "clutter/plate_food",
    "clutter/plate_stack",
    "clutter/coins",
    "clutter/rubble",
    "clutter/trophy",
    "clutter/mug",
    "weapon/sword_1h",
    "weapon/sword_2h",
    "weapon/shield_round",
    "weapon/shield_badge",
    "weapon/axe_1h",
    "weapon/axe_2h",
    "weapon/staff",
    "weapon/wand",
    "weapon/spellbook",
    "weapon/knife",
    "weapon/crossbow",
)

COSTUMES: tuple[str, ...] = ("knight", "mage", "rogue", "rogue_hooded", "barbarian")

WITH_HEADGEAR: tuple[str, ...] = ("knight", "mage", "barbarian")
"""The shipped costumes whose helmet or hat can be off."""

WITHOUT_HEADGEAR: frozenset[str] = frozenset(COSTUMES) - frozenset(WITH_HEADGEAR)
"""The costumes of which the cast's ``headgear`` says nothing. Of another game's costumes it says what the game says."""

MAX_NAMES = 254  # costumes, or looks: anchors count them in a byte, from one
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,63}")


class VocabularyError(ValueError):
    """Names that no model can have."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The names that one model knows, in the order of its weights' rows."""

    costumes: tuple[str, ...]
    looks: tuple[str, ...]

    def __post_init__(self) -> None:
        for kind, names in (("costumes", self.costumes), ("looks", self.looks)):
            if len(names) > MAX_NAMES:
                raise VocabularyError(f"{kind}: {len(names)} names; at most {MAX_NAMES} are allowed")
            for name in names:
                if not NAME.fullmatch(name):
                    raise VocabularyError(f"{kind}: {name!r}: allowed are 1 to 64 characters of [A-Za-z0-9_./-]")
            if len(set(names)) < len(names):
                raise VocabularyError(f"{kind}: a name occurs twice")

    @property
    def sizes(self) -> tuple[int, int]:
        """How many costumes and looks: what networks are built for."""
        return len(self.costumes), len(self.looks)


SHIPPED = Vocabulary(COSTUMES, LOOKS)
"""The names of the weights in this package."""
