"""The look vocabulary: which asset a look is, its class, and the boxes that stand for it.

Needs no asset file: bounds were measured once from the packs (a test compares them), so rooms, director and the
client's library are built from this table alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cutscene_model.scene import Box, ElementClass, SetElement
from cutscene_model.training.transforms import Quat, Vec3, quaternion_matrix, vec3, yaw_quaternion
from cutscene_model.vocabulary import LOOKS

WHITE: Vec3 = (1.0, 1.0, 1.0)

_CLASSES: dict[str, ElementClass] = {
    "floor": ElementClass.FLOOR,
    "wall": ElementClass.WALL,
    "pillar": ElementClass.PILLAR,
    "stairs": ElementClass.STAIRS,
    "table": ElementClass.TABLE,
    "seat": ElementClass.SEAT,
    "bed": ElementClass.BED,
    "shelf": ElementClass.SHELF,
    "barrel": ElementClass.CONTAINER,
    "crate": ElementClass.CONTAINER,
    "keg": ElementClass.CONTAINER,
    "chest": ElementClass.CONTAINER,
    "trunk": ElementClass.CONTAINER,
    "banner": ElementClass.BANNER,
    "lamp": ElementClass.LAMP,
    "clutter": ElementClass.CLUTTER,
    "weapon": ElementClass.WEAPON,
}

# How a look's bounds split into boxes, each (low, high) as fractions of the bounds. Part 0 carries the placement.
_Fractions = tuple[tuple[Vec3, Vec3], ...]
_WHOLE: _Fractions = (((0, 0, 0), (1, 1, 1)),)
_TABLE: _Fractions = (
    ((0, 0.8, 0), (1, 1, 1)),
    ((0.1, 0, 0.06), (0.9, 0.8, 0.2)),
    ((0.1, 0, 0.8), (0.9, 0.8, 0.94)),
)
_SMALL_TABLE: _Fractions = (((0, 0.8, 0), (1, 1, 1)), ((0.25, 0, 0.25), (0.75, 0.8, 0.75)))
_SPLITS: dict[str, _Fractions] = {
    "table/long": _TABLE,
    "table/long_feast": (
        ((0, 0.42, 0), (1, 0.53, 1)),
        ((0.1, 0, 0.06), (0.9, 0.42, 0.2)),
        ((0.1, 0, 0.8), (0.9, 0.42, 0.94)),
        ((0.2, 0.53, 0.1), (0.8, 0.75, 0.9)),
    ),
    "table/long_cloth": _TABLE,
    "table/medium": _TABLE,
    "table/medium_cloth": _TABLE,
    "table/small": _SMALL_TABLE,
    "table/small_set": (
        ((0, 0.36, 0), (1, 0.46, 1)),
        ((0.25, 0, 0.25), (0.75, 0.36, 0.75)),
        ((0.2, 0.46, 0.2), (0.8, 0.85, 0.8)),
    ),
    "seat/chair": (
        ((0, 0.34, 0), (1, 0.42, 1)),
        ((0.75, 0.42, 0), (1, 1, 1)),  # the back is at +X: a chair faces -X
        ((0.12, 0, 0.12), (0.88, 0.34, 0.88)),
    ),
    "bed/frame": (((0, 0.2, 0), (1, 0.55, 1)), ((0, 0, 0), (1, 1, 0.06)), ((0, 0, 0.94), (1, 0.7, 1))),
    "stairs/stone": tuple(((0, 0, k / 4), (1, 0.784 * (4 - k) / 4, (k + 1) / 4)) for k in range(4)),
    "stairs/wood": tuple(((0, 0, k / 4), (1, (4 - k) / 4, (k + 1) / 4)) for k in range(4)),
    "shelf/double": (((0, 0.0, 0), (1, 0.32, 1)), ((0, 0.6, 0), (1, 0.9, 1))),
}

# How far an asset is lowered so that its walking surface lies at height zero.
_SINK: dict[str, float] = {
    "floor/tile": 0.05,
    "floor/tile_rocks": 0.05,
    "floor/tile_small": 0.05,
    "floor/wood": 0.05,
    "floor/wood_dark": 0.05,
    "floor/dirt": 0.05,
    "floor/dirt_rocky": 0.05,
    "floor/grate": 0.05,
}


@dataclass(frozen=True, slots=True)
class Look:
    """One entry of the vocabulary."""

    name: str
    source: str  # path under the packs' folder; ``file.glb#Node`` for a mesh of a character file
    element_class: ElementClass
    low: Vec3  # bounds of the mesh in the asset's frame, metres
    high: Vec3
    parts: tuple[tuple[Vec3, Vec3], ...]  # centre and half extent of each box in the asset's frame
    sink: float = 0.0

    @property
    def half_extent(self) -> Vec3:
        """Half the size of the whole mesh."""
        return vec3((np.array(self.high) - self.low) / 2)

    @property
    def center(self) -> Vec3:
        """The middle of the whole mesh in the asset's frame."""
        return vec3((np.array(self.high) + self.low) / 2)


def _look(name: str, source: str, low: Vec3, high: Vec3) -> Look:
    size = np.array(high) - low
    parts = []
    for begin, end in _SPLITS.get(name, _WHOLE):
        box_low, box_high = low + size * begin, low + size * end
        parts.append((vec3(((box_low + box_high) / 2).round(4)), vec3(((box_high - box_low) / 2).round(4))))
    element_class = _CLASSES[name.split("/")[0]]
    return Look(name, source, element_class, low, high, tuple(parts), _SINK.get(name, 0.0))


def place(
    look: str, position: Sequence[float], yaw: float = 0.0, tint: Vec3 = WHITE, scale: float | Vec3 = 1.0
) -> list[SetElement]:
    """The boxes of an asset whose own origin stands at ``position``, turned by ``yaw`` about +Y."""
    spec = BY_NAME[look]
    rotation = yaw_quaternion(yaw)
    matrix = quaternion_matrix(rotation)
    factor = np.broadcast_to(np.asarray(scale, np.float64), (3,))
    origin = np.asarray(position, np.float64) - (0.0, spec.sink, 0.0)
    elements = []
    for part, (center, half) in enumerate(spec.parts):
        box = Box(vec3(origin + matrix @ (factor * center)), vec3(factor * half), rotation)
        elements.append(SetElement(spec.element_class, look, box, part, tint))
    return elements


def asset_frame(element: SetElement) -> tuple[Vec3, Quat, Vec3]:
    """Origin, rotation and scale of the asset that a part-0 element stands for: the inverse of ``place``."""
    center, half = BY_NAME[element.look].parts[0]
    scale = np.array(element.box.half_extent) / np.maximum(half, 1e-6)
    origin = np.array(element.box.center) - quaternion_matrix(element.box.rotation) @ (scale * center)
    return vec3(origin), element.box.rotation, vec3(scale)


ALL: tuple[Look, ...] = (
    _look("floor/tile", "dungeon/floor_tile_large.gltf.glb", (-2.0, -0.1, -2.0), (2.0, 0.05, 2.0)),
    _look("floor/tile_rocks", "dungeon/floor_tile_large_rocks.gltf.glb", (-2.0, -0.1, -2.0), (2.0, 0.536, 2.0)),
    _look("floor/tile_small", "dungeon/floor_tile_small.gltf.glb", (-1.0, -0.1, -1.0), (1.0, 0.05, 1.0)),
    _look("floor/wood", "dungeon/floor_wood_large.gltf.glb", (-2.0, -0.1, -2.0), (2.0, 0.05, 2.0)),
    _look("floor/wood_dark", "dungeon/floor_wood_large_dark.gltf.glb", (-2.0, -0.1, -2.0), (2.0, 0.05, 2.0)),
    _look("floor/dirt", "dungeon/floor_dirt_large.gltf.glb", (-2.0, -0.1, -2.0), (2.0, 0.109, 2.0)),
    _look("floor/dirt_rocky", "dungeon/floor_dirt_large_rocky.gltf.glb", (-2.0, -0.1, -2.0), (2.0, 0.293, 2.0)),
    _look("floor/grate", "dungeon/floor_tile_big_grate.gltf.glb", (-2.0, -1.0, -2.0), (2.0, 0.05, 2.0)),
    _look("wall/plain", "dungeon/wall.gltf.glb", (-2.0, 0.0, -0.5), (2.0, 4.0, 0.5)),
    _look("wall/cracked", "dungeon/wall_cracked.gltf.glb", (-2.0, 0.0, -0.63), (2.0, 4.0, 0.63)),
    _look("wall/arched", "dungeon/wall_arched.gltf.glb", (-2.0, 0.0, -0.5), (2.0, 4.0, 0.5)),
    _look("wall/window", "dungeon/wall_window_open.gltf.glb", (-2.0, 0.0, -0.5), (2.0, 4.0, 0.5)),
    _look("wall/window_closed", "dungeon/wall_window_closed.gltf.glb", (-2.0, 0.0, -0.5), (2.0, 4.0, 0.5)),
    _look("wall/window_gated", "dungeon/wall_archedwindow_gated.gltf.glb", (-2.0, 0.0, -0.5), (2.0, 4.0, 0.5)),
    _look("wall/window_arched", "dungeon/wall_archedwindow_open.gltf.glb", (-2.0, 0.0, -0.5), (2.0, 4.0, 0.5)),
    _look("wall/door", "dungeon/wall_doorway.glb", (-2.0, 0.0, -0.5), (2.0, 4.0, 0.5)),
    _look("wall/shelves", "dungeon/wall_shelves.gltf.glb", (-2.0, 0.0, -0.5), (2.0, 4.0, 0.868)),
    _look("wall/broken", "dungeon/wall_broken.gltf.glb", (-2.0, 0.0, -0.5), (2.0, 4.0, 0.5)),
    _look("wall/gated", "dungeon/wall_gated.gltf.glb", (-2.0, 0.0, -0.5), (2.0, 4.0, 0.5)),
    _look("wall/pillar", "dungeon/wall_pillar.gltf.glb", (-2.0, 0.0, -0.75), (2.0, 4.0, 0.75)),
    _look("wall/timber", "dungeon/wall_scaffold.gltf.glb", (-2.0, 0.0, -0.5), (2.0, 4.0, 0.5)),
    _look("wall/barrier", "dungeon/barrier.gltf.glb", (-2.0, 0.0, -0.25), (2.0, 1.1, 0.25)),
    _look("pillar/square", "dungeon/pillar.gltf.glb", (-0.75, 0.0, -0.75), (0.75, 4.0, 0.75)),
    _look("pillar/decorated", "dungeon/pillar_decorated.gltf.glb", (-1.116, 0.0, -0.75), (1.116, 4.0, 0.96)),
    _look("pillar/low", "dungeon/column.gltf.glb", (-0.35, 0.0, -0.35), (0.35, 1.4, 0.35)),
    _look("stairs/stone", "dungeon/stairs_narrow.gltf.glb", (-2.0, 0.0, 0.0), (2.0, 5.1, 4.0)),
    _look("stairs/wood", "dungeon/stairs_wood.gltf.glb", (-1.65, 0.0, 0.0), (1.65, 4.05, 6.0)),
    _look("table/long", "dungeon/table_long.gltf.glb", (-1.0, 0.0, -2.0), (1.0, 1.0, 2.0)),
    _look("table/long_feast", "dungeon/table_long_decorated_A.gltf.glb", (-1.031, 0.0, -2.0), (1.028, 1.886, 2.0)),
    _look("table/long_cloth", "dungeon/table_long_tablecloth.gltf.glb", (-1.0, 0.0, -2.0), (1.0, 1.0, 2.0)),
    _look("table/medium", "dungeon/table_medium.gltf.glb", (-1.0, 0.0, -1.0), (1.0, 1.0, 1.0)),
    _look("table/medium_cloth", "dungeon/table_medium_tablecloth.gltf.glb", (-1.0, 0.0, -1.0), (1.0, 1.0, 1.0)),
    _look("table/small", "dungeon/table_small.gltf.glb", (-0.501, 0.0, -0.5), (0.499, 1.0, 0.5)),
    _look("table/small_set", "dungeon/table_small_decorated_B.gltf.glb", (-0.503, 0.0, -0.5), (0.509, 2.157, 0.5)),
    _look("table/broken", "dungeon/table_long_broken.gltf.glb", (-1.391, 0.0, -2.176), (1.018, 1.266, 2.228)),
    _look("seat/chair", "dungeon/chair.gltf.glb", (-0.374, 0.0, -0.375), (0.376, 1.227, 0.375)),
    _look("seat/stool", "dungeon/stool.gltf.glb", (-0.374, 0.0, -0.375), (0.376, 0.5, 0.375)),
    _look("bed/frame", "dungeon/bed_frame.gltf.glb", (-0.75, 0.0, -1.5), (0.75, 1.063, 1.5)),
    _look("bed/floor", "dungeon/bed_floor.gltf.glb", (-0.75, 0.0, -1.5), (0.75, 0.563, 1.5)),
    _look("shelf/double", "dungeon/shelves.gltf.glb", (-1.0, 0.75, 0.25), (1.0, 2.7, 0.75)),
    _look("shelf/candles", "dungeon/shelf_small_candles.gltf.glb", (-0.5, -0.3, 0.0), (0.5, 0.694, 0.5)),
    _look("barrel/large", "dungeon/barrel_large.gltf.glb", (-0.9, 0.0, -0.9), (0.9, 2.0, 0.9)),
    _look("barrel/small", "dungeon/barrel_small.gltf.glb", (-0.501, 0.0, -0.501), (0.501, 1.018, 0.501)),
    _look("barrel/stack", "dungeon/barrel_small_stack.gltf.glb", (-0.925, 0.0, -0.5), (0.925, 1.77, 0.5)),
    _look("crate/large", "dungeon/box_large.gltf.glb", (-0.75, 0.0, -0.75), (0.75, 1.5, 0.75)),
    _look("crate/small", "dungeon/box_small.gltf.glb", (-0.5, 0.0, -0.5), (0.5, 1.0, 0.5)),
    _look("crate/stack", "dungeon/crates_stacked.gltf.glb", (-1.09, 0.0, -1.157), (0.999, 2.142, 1.092)),
    _look("keg/plain", "dungeon/keg.gltf.glb", (-0.9, 0.0, -0.976), (0.9, 2.051, 1.024)),
    _look("chest/plain", "dungeon/chest.glb", (-0.85, 0.0, -0.7), (0.85, 1.3, 0.746)),
    _look("chest/gold", "dungeon/chest_gold.glb", (-0.85, 0.0, -0.7), (0.85, 1.3, 0.746)),
    _look("trunk/large", "dungeon/trunk_large_A.gltf.glb", (-0.75, 0.0, -0.65), (0.75, 1.0, 0.65)),
    _look("trunk/medium", "dungeon/trunk_medium_B.gltf.glb", (-0.477, 0.0, -0.438), (0.477, 0.726, 0.438)),
    _look("banner/blue", "dungeon/banner_blue.gltf.glb", (-0.75, 0.531, 0.378), (0.75, 3.727, 0.69)),
    _look("banner/red", "dungeon/banner_red.gltf.glb", (-0.75, 0.531, 0.378), (0.75, 3.727, 0.69)),
    _look("banner/green", "dungeon/banner_green.gltf.glb", (-0.75, 0.531, 0.378), (0.75, 3.727, 0.69)),
    _look("banner/white", "dungeon/banner_white.gltf.glb", (-0.75, 0.531, 0.378), (0.75, 3.727, 0.69)),
    _look(
        "banner/pattern_yellow", "dungeon/banner_patternA_yellow.gltf.glb", (-0.75, 0.531, 0.378), (0.75, 3.727, 0.69)
    ),
    _look("banner/pattern_brown", "dungeon/banner_patternB_brown.gltf.glb", (-0.75, 0.531, 0.378), (0.75, 3.727, 0.69)),
    _look("banner/shield_red", "dungeon/banner_shield_red.gltf.glb", (-1.116, 0.531, 0.315), (1.116, 3.727, 0.69)),
    _look("banner/shield_blue", "dungeon/banner_shield_blue.gltf.glb", (-1.116, 0.531, 0.315), (1.116, 3.727, 0.69)),
    _look("banner/triple_green", "dungeon/banner_triple_green.gltf.glb", (-1.85, 0.531, 0.353), (1.85, 3.727, 0.716)),
    _look("banner/triple_red", "dungeon/banner_triple_red.gltf.glb", (-1.85, 0.531, 0.353), (1.85, 3.727, 0.716)),
    _look("lamp/torch_mounted", "dungeon/torch_mounted.gltf.glb", (-0.275, -0.381, 0.0), (0.275, 0.78, 0.616)),
    _look("lamp/torch", "dungeon/torch_lit.gltf.glb", (-0.275, -0.395, -0.275), (0.275, 0.731, 0.275)),
    _look("lamp/candle", "dungeon/candle_lit.gltf.glb", (-0.167, 0.0, -0.17), (0.167, 1.051, 0.16)),
    _look("lamp/candle_thin", "dungeon/candle_thin_lit.gltf.glb", (-0.097, 0.0, -0.098), (0.097, 1.051, 0.092)),
    _look("clutter/bottle_green", "dungeon/bottle_A_green.gltf.glb", (-0.184, 0.0, -0.184), (0.184, 0.886, 0.184)),
    _look("clutter/bottle_brown", "dungeon/bottle_B_brown.gltf.glb", (-0.276, 0.0, -0.276), (0.276, 0.886, 0.276)),
    _look("clutter/plate_food", "dungeon/plate_food_A.gltf.glb", (-0.54, 0.0, -0.486), (0.485, 0.788, 0.485)),
    _look("clutter/plate_stack", "dungeon/plate_stack.gltf.glb", (-0.492, 0.0, -0.502), (0.505, 0.564, 0.5)),
    _look("clutter/coins", "dungeon/coin_stack_medium.gltf.glb", (-0.446, 0.0, -0.507), (0.547, 0.641, 0.527)),
    _look("clutter/rubble", "dungeon/rubble_half.gltf.glb", (0.0, 0.0, -1.516), (4.0, 3.5, 1.484)),
    _look("clutter/trophy", "dungeon/sword_shield.gltf.glb", (-1.116, -0.815, -0.085), (1.116, 0.852, 0.251)),
    _look("clutter/mug", "adventurers/Barbarian.glb#Mug", (-0.198, -0.239, -0.198), (0.336, 0.31, 0.198)),
    _look("weapon/sword_1h", "adventurers/Knight.glb#1H_Sword", (-0.252, -0.366, -0.065), (0.252, 1.409, 0.065)),
    _look("weapon/sword_2h", "adventurers/Knight.glb#2H_Sword", (-0.42, -0.401, -0.124), (0.42, 1.964, 0.124)),
    _look(
        "weapon/shield_round",
        "adventurers/Barbarian.glb#Barbarian_Round_Shield",
        (-0.441, -0.441, -0.145),
        (0.441, 0.441, 0.187),
    ),
    _look("weapon/shield_badge", "adventurers/Knight.glb#Badge_Shield", (-0.441, -0.54, -0.145), (0.441, 0.481, 0.101)),
    _look("weapon/axe_1h", "adventurers/Barbarian.glb#1H_Axe", (-0.589, -0.273, -0.092), (0.125, 0.971, 0.092)),
    _look("weapon/axe_2h", "adventurers/Barbarian.glb#2H_Axe", (-0.62, -0.433, -0.131), (0.62, 1.292, 0.131)),
    _look("weapon/staff", "adventurers/Mage.glb#2H_Staff", (-0.245, -0.9, -0.146), (0.331, 1.254, 0.146)),
    _look("weapon/wand", "adventurers/Mage.glb#1H_Wand", (-0.08, -0.266, -0.08), (0.08, 0.7, 0.08)),
    _look("weapon/spellbook", "adventurers/Mage.glb#Spellbook_open", (-0.414, -0.284, -0.088), (0.414, 0.284, 0.134)),
    _look("weapon/knife", "adventurers/Rogue.glb#Knife", (-0.12, -0.225, -0.076), (0.139, 0.981, 0.076)),
    _look("weapon/crossbow", "adventurers/Rogue.glb#1H_Crossbow", (-0.454, -0.171, -0.278), (0.457, 0.235, 0.944)),
)

BY_NAME: dict[str, Look] = {look.name: look for look in ALL}

if tuple(BY_NAME) != LOOKS:
    raise RuntimeError("the asset table and cutscene_model.vocabulary.LOOKS name different looks")
