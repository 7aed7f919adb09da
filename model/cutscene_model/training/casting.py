"""Who appears: random costumes, tints, headgear and things in hand; and which combinations are kept for evaluation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cutscene_model.scene import CastMember, Prop
from cutscene_model.training.assets import BY_NAME
from cutscene_model.training.transforms import vec3
from cutscene_model.vocabulary import COSTUMES, WITH_HEADGEAR

HELD_OUT_PAIR: frozenset[str] = frozenset({"rogue", "barbarian"})
"""These two never share a stage in training, only in evaluation."""

KITS: dict[str, tuple[tuple[str, ...], ...]] = {
    "knight": (("weapon/sword_1h", "weapon/shield_badge"), ("weapon/sword_1h",), ("weapon/sword_2h",)),
    "mage": (("weapon/staff",), ("weapon/wand", "weapon/spellbook"), ("weapon/wand",), ("weapon/spellbook",)),
    "rogue": (("weapon/knife",), ("weapon/crossbow",)),
    "rogue_hooded": (("weapon/knife",), ("weapon/crossbow",), ("weapon/knife", "weapon/shield_round")),
    "barbarian": (
        ("weapon/axe_1h", "weapon/shield_round"),
        ("weapon/axe_2h",),
        ("weapon/axe_1h",),
        ("clutter/mug",),
    ),
}


@dataclass(frozen=True, slots=True)
class Casting:
    """The cast of a performance and what each of them holds."""

    members: tuple[CastMember, ...]
    held: tuple[tuple[str, ...], ...]  # looks, per member

    def props(self) -> tuple[Prop, ...]:
        """One prop for each held thing, in the order of the cast."""
        props = []
        for member, looks in zip(self.members, self.held, strict=True):
            for look in looks:
                spec = BY_NAME[look]
                name = f"{member.id}/{look.split('/')[1]}"
                props.append(Prop(name, spec.element_class, look, spec.half_extent))
        return tuple(props)


def choose_cast(rng: np.random.Generator, count: int, held_out: bool, armed: float) -> Casting:
    """``count`` members; each carries something with the probability ``armed``."""
    costumes = _costumes(rng, count, held_out)
    members, held = [], []
    for index, costume in enumerate(costumes):
        tint = (1.0, 1.0, 1.0)
        # Two of one costume must differ, or nothing but the slot tells them apart.
        if rng.random() < 0.55 or costume in costumes[:index]:
            tint = vec3((rng.uniform(0.45, 1.4, 3) * rng.uniform(0.8, 1.1)).clip(0.3, 1.5).round(3))
        headgear = bool(costume in WITH_HEADGEAR and rng.random() < 0.5)
        members.append(CastMember(f"actor{index}", costume, headgear, tint))
        kits = KITS[costume]
        held.append(kits[int(rng.integers(len(kits)))] if rng.random() < armed else ())
    return Casting(tuple(members), tuple(held))


def _costumes(rng: np.random.Generator, count: int, held_out: bool) -> list[str]:
    if held_out and count >= 2:
        rest = [costume for costume in COSTUMES if costume not in HELD_OUT_PAIR]
        chosen = [*sorted(HELD_OUT_PAIR), *rng.choice(rest, count - 2, replace=False)]
        return [str(costume) for costume in rng.permutation(chosen)]
    while True:
        repeats = bool(rng.random() < 0.15)
        chosen = [str(costume) for costume in rng.choice(COSTUMES, count, replace=repeats)]
        if not set(chosen) >= HELD_OUT_PAIR:
            return chosen
