"""The rooms: what stands where in each layout. All choices go through the builder's generator: a variant is fixed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from cutscene_model.training.room_builder import RoomBuilder
from cutscene_model.training.transforms import Vec3

HALF = math.pi / 2
BANNERS = (
    "banner/blue",
    "banner/red",
    "banner/green",
    "banner/white",
    "banner/pattern_yellow",
    "banner/pattern_brown",
)
GRAND_BANNERS = ("banner/shield_red", "banner/shield_blue", "banner/triple_green", "banner/triple_red")
STONE = ("wall/plain", "wall/plain", "wall/plain", "wall/cracked", "wall/pillar")
WARM_STONE: Vec3 = (1.25, 1.08, 0.88)
COOL_STONE: Vec3 = (0.85, 0.95, 1.15)
DARK_STONE: Vec3 = (0.72, 0.72, 0.76)


@dataclass(frozen=True, slots=True)
class Layout:
    """A floor plan and the function that furnishes it."""

    width: float  # metres along X, a multiple of 4
    depth: float  # metres along Z
    furnish: Callable[[RoomBuilder], None]
    open_air: bool = False


def _tavern(b: RoomBuilder) -> None:
    b.floor(b.pick("floor/wood", "floor/wood_dark"))
    tint = b.pick((1.0, 1.0, 1.0), WARM_STONE)
    b.walls(
        ("wall/timber", "wall/plain", "wall/timber"),
        {("n", 1): "wall/shelves", ("s", 2): "wall/door", ("w", 1): b.pick("wall/window", "wall/window_closed")},
        tint,
    )
    b.door("s", 2.0)
    # The bar along the north wall.
    b.put("table/long_cloth" if b.chance(0.4) else "table/long", -2.2, -3.4, HALF)
    b.against("n", -6.2, "keg/plain")
    b.against("n", 2.6, "barrel/stack")
    b.against("n", 5.6, b.pick("keg/plain", "barrel/large"))
    b.put(b.pick("clutter/bottle_green", "clutter/bottle_brown"), -1.2, -3.5, y=1.0, tint=(1.0, 1.0, 1.0), scale=0.6)
    b.put("clutter/plate_stack", -3.3, -3.3, y=1.0, scale=0.6)
    b.stand("bar_keeper", -2.4, -4.75, 0.0)
    b.stand("bar_guest_l", -3.0, -1.75, math.pi)
    b.stand("bar_guest_r", -1.2, -1.75, math.pi)
    for side, x in (("west", -5.0), ("east", 4.2)):
        z = 2.3 if side == "west" else 1.0
        b.put(b.pick("table/medium", "table/medium_cloth"), x, z)
        b.seat(f"seat_{side}_l", x - 1.6, z, HALF)
        b.seat(f"seat_{side}_r", x + 1.6, z, -HALF)
        if b.chance(0.7):
            b.put("clutter/plate_food", x - 0.35, z + 0.2, y=1.0, scale=0.7)
        if b.chance(0.6):
            b.candle(x + 0.3, 1.0, z - 0.3)
    b.near("barrel/small", 6.6, 4.3)
    b.near(b.pick("crate/small", "barrel/small", "trunk/medium"), -6.5, 4.6)
    b.wall_lamp("n", -7.0 + 3.0)
    b.wall_lamp("e", -2.0)
    b.wall_lamp("w", -3.0)
    b.wall_lamp("s", -3.4)
    b.hang("e", 2.0, b.pick(*BANNERS))
    b.stand("middle", -0.6, 1.6, 0.4)
    b.stand("middle_r", 1.1, 2.6, -2.2)
    b.stand("by_door", 1.6, 4.0, math.pi)
    b.stand("corner", 6.2, -2.6, -0.8)


def _throne_hall(b: RoomBuilder) -> None:
    b.floor("floor/tile", ("floor/tile_rocks",) if b.chance(0.3) else ())
    grand = b.pick(*GRAND_BANNERS)
    plain = b.pick(*BANNERS)
    b.walls(
        ("wall/plain", "wall/arched", "wall/pillar"),
        {("s", 1): "wall/door", ("w", 1): "wall/window_gated", ("e", 1): "wall/window_gated"},
        b.pick((1.0, 1.0, 1.0), WARM_STONE, COOL_STONE),
    )
    b.door("s", 0.0)
    for x in (-4.1, 4.1):
        for z in (-3.6, 0.6, 4.4):
            b.put("pillar/decorated" if z < 0 and b.chance(0.7) else "pillar/square", x, z)
    for x in (-4.0, 4.0):
        b.hang("n", x, plain)
    b.hang("n", 0.0, grand)
    b.hang("w", -2.0 - 4.0, plain)
    b.hang("e", -6.0, plain)
    # The throne is a large chair on the axis.
    b.seat("throne", 0.0, -5.9, 0.0)
    b.put(b.pick("chest/gold", "chest/plain"), -2.4, -6.4)
    b.put(b.pick("table/small_set", "table/small"), 2.3, -6.2)
    b.wall_lamp("n", -2.2)
    b.wall_lamp("n", 2.2)
    b.wall_lamp("w", 3.0)
    b.wall_lamp("e", 3.0)
    b.stand("petitioner", 0.0, -2.4, math.pi)
    b.stand("guard_l", -2.3, -3.8, HALF * 0.5)
    b.stand("guard_r", 2.3, -3.8, -HALF * 0.5)
    b.stand("axis_l", -1.0, 1.4, 0.9)
    b.stand("axis_r", 1.2, 1.8, -1.6)
    b.stand("entry", 0.3, 4.6, math.pi)


def _dungeon_cell(b: RoomBuilder) -> None:
    b.floor(b.pick("floor/dirt", "floor/tile"), ("floor/dirt_rocky", "floor/grate"), 0.3)
    b.walls(
        ("wall/plain", "wall/cracked"),
        {("s", 0): "wall/gated", ("n", 1): b.pick("wall/window_gated", "wall/broken"), ("e", 0): "wall/door"},
        b.pick((1.0, 1.0, 1.0), DARK_STONE, COOL_STONE),
    )
    b.door("e", -2.0)
    b.put("bed/floor", -2.55, -1.7)
    b.near(b.pick("barrel/small", "crate/small"), -2.8, 2.6)
    b.near("seat/stool", 2.6, 2.6)
    b.put(b.pick("clutter/plate_stack", "clutter/bottle_brown"), -1.4, -2.9, scale=0.7)
    b.wall_lamp("w", 1.4)
    b.wall_lamp("n", -1.2)
    b.wall_lamp("s", 1.6)
    b.stand("bedside", -0.9, -1.2, 0.6)
    b.stand("middle", 0.5, 0.4, -2.0)
    b.stand("gate", -1.6, 2.3, math.pi)
    b.stand("far", 2.1, 1.2, -1.9)


def _library(b: RoomBuilder) -> None:
    b.floor(b.pick("floor/wood_dark", "floor/wood"))
    b.walls(
        ("wall/shelves", "wall/plain", "wall/shelves"),
        {("s", 0): "wall/door", ("e", 1): b.pick("wall/window", "wall/window_arched"), ("w", 0): "wall/arched"},
        b.pick((1.0, 1.0, 1.0), WARM_STONE),
    )
    b.door("s", -4.0)
    b.put("table/long", 2.6, -0.6, HALF if b.chance(0.5) else 0.0)
    b.seat("reader", 0.2, 0.9, 2.4, b.pick("seat/chair", "seat/stool"))
    b.candle(2.3, 1.0, -0.9)
    b.candle(2.9, 1.0, -0.2, "lamp/candle_thin")
    b.shelf("s", 2.0)
    b.shelf("s", 4.4)
    b.near(b.pick("trunk/large", "chest/plain"), -5.0, -2.8, HALF)
    b.near("trunk/medium", -4.9, 2.2, HALF)
    b.shelf("w", 2.0, "shelf/candles", 1.4)
    b.hang("s", -0.5, b.pick(*BANNERS))
    b.wall_lamp("n", -2.0)
    b.wall_lamp("e", -2.6)
    b.stand("shelves", -1.5, -2.3, math.pi)
    b.stand("table_near", -0.1, -1.1, HALF)
    b.stand("door_side", -3.2, 1.2, 1.2)
    b.stand("west", -3.0, -1.1, 0.8)
    b.stand("by_shelf", 2.6, 2.2, math.pi)


def _storeroom(b: RoomBuilder) -> None:
    b.floor(b.pick("floor/tile", "floor/dirt", "floor/wood_dark"), ("floor/tile_rocks",))
    b.walls(STONE, {("e", 0): "wall/door", ("n", 2): "wall/shelves", ("w", 1): "wall/window_closed"})
    b.door("e", -2.0)
    b.against("n", -4.0, "crate/stack")
    b.against("n", -1.2, "barrel/stack")
    b.against("n", 1.0, b.pick("crate/large", "barrel/large", "keg/plain"))
    b.near("barrel/large", -4.6, 2.4)
    b.near("crate/small", -2.6, 2.8, 0.4)
    b.near(b.pick("trunk/large", "chest/gold", "crate/large"), 0.2, 2.6, math.pi)
    b.near(b.pick("barrel/small", "crate/small", "clutter/coins"), 4.7, 2.6)
    b.wall_lamp("w", -1.0)
    b.wall_lamp("s", 2.4)
    b.wall_lamp("e", 1.2)
    b.stand("stock", -3.0, -0.9, math.pi)
    b.stand("middle", -0.6, 0.1, 1.2)
    b.stand("east", 2.2, 0.8, -1.6)
    b.stand("by_door", 3.3, -1.7, -HALF)
    b.stand("south", 2.4, 2.4, -2.6)


def _courtyard(b: RoomBuilder) -> None:
    b.floor(b.pick("floor/dirt", "floor/tile"), ("floor/dirt_rocky", "floor/tile_rocks"), 0.25)
    b.walls(
        ("wall/plain", "wall/cracked", "wall/window_closed"),
        {("n", 2): "wall/gated", ("w", 1): "wall/door", ("e", 0): "wall/broken", ("s", 0): "wall/arched"},
        b.pick((1.0, 1.0, 1.0), WARM_STONE),
    )
    b.door("w", 0.0)
    b.put("pillar/low", -1.7, -0.6)
    b.put("pillar/low", 1.7, -0.6)
    b.put("wall/barrier", 5.2, 1.6, HALF)
    b.near("barrel/large", -6.2, -4.2)
    b.near("crate/stack", 5.8, -4.0, -0.4)
    b.near(b.pick("barrel/stack", "crate/large"), -5.8, 4.2, 2.6)
    b.near("seat/stool", -2.7, 4.2)
    b.hang("n", -2.0, b.pick(*BANNERS))
    b.hang("n", 6.0, b.pick(*BANNERS))
    b.hang("s", 2.0, b.pick(*GRAND_BANNERS))
    b.wall_lamp("n", -5.0)
    b.wall_lamp("n", 4.2)
    b.wall_lamp("s", -2.4)
    b.wall_lamp("w", 3.0)
    b.stand("yard_l", -2.6, 1.6, HALF)
    b.stand("yard_r", 0.8, 1.7, -HALF)
    b.stand("gate", 1.0, -3.6, 0.0)
    b.stand("north_l", -3.6, -2.6, 0.5)
    b.stand("east", 3.6, 0.0, -1.2)
    b.stand("south", 2.6, 4.0, math.pi)


def _corridor(b: RoomBuilder) -> None:
    b.floor("floor/tile", ("floor/grate", "floor/tile_rocks"), 0.2)
    b.walls(
        ("wall/plain", "wall/arched", "wall/pillar"),
        {("n", 0): "wall/door", ("s", 1): "wall/gated", ("w", 2): "wall/window_arched"},
        b.pick((1.0, 1.0, 1.0), DARK_STONE, COOL_STONE),
    )
    b.door("n", -2.0)
    for z in (-5.0, 0.0, 5.0):
        b.wall_lamp("w" if z else "e", z + 0.3)
    b.hang("e", -4.0, b.pick(*BANNERS))
    b.hang("e", 4.2, b.pick(*BANNERS))
    b.against("w", 2.6, b.pick("trunk/large", "chest/plain", "crate/large"))
    b.near("barrel/small", 2.8, -6.6)
    if b.chance(0.6):
        b.put("pillar/low", 2.7, 6.7)
    b.stand("north", -0.7, -4.6, 0.0)
    b.stand("north_r", 1.1, -3.1, -2.6)
    b.stand("middle_l", -0.8, -0.4, 0.8)
    b.stand("middle_r", 0.9, 0.8, -2.3)
    b.stand("south", 0.2, 4.4, math.pi)
    b.stand("south_r", 1.6, 5.2, -2.4)


def _chapel(b: RoomBuilder) -> None:
    b.floor(b.pick("floor/tile", "floor/wood_dark"))
    b.walls(
        ("wall/window_arched", "wall/arched", "wall/pillar"),
        {("n", 1): "wall/arched", ("s", 1): "wall/door", ("n", 0): "wall/plain", ("n", 2): "wall/plain"},
        b.pick((1.0, 1.0, 1.0), COOL_STONE, WARM_STONE),
    )
    b.door("s", 0.0)
    b.put("table/long_cloth", 0.0, -5.6, HALF)
    b.candle(-1.4, 1.0, -5.6)
    b.candle(1.4, 1.0, -5.6)
    b.hang("n", 0.0, b.pick("banner/triple_red", "banner/triple_green", "banner/shield_blue"))
    banner = b.pick("banner/white", "banner/pattern_yellow", "banner/blue")
    b.hang("n", -4.0, banner)
    b.hang("n", 4.0, banner)
    for row, z in enumerate((-0.4, 2.6)):
        for x in (-3.3, 3.3):
            b.seat(f"pew_{row}_{'l' if x < 0 else 'r'}", x, z, math.pi, "seat/chair")
            b.put("seat/chair", x + (1.1 if x < 0 else -1.1), z, -HALF)
    b.wall_lamp("w", -5.0)
    b.wall_lamp("e", -5.0)
    b.wall_lamp("s", -2.6)
    b.stand("altar", 0.0, -3.7, 0.0)
    b.stand("altar_l", -1.7, -3.1, 0.9)
    b.stand("altar_r", 1.8, -3.0, -0.9)
    b.stand("aisle", 0.2, 0.3, math.pi)
    b.stand("aisle_back", -0.3, 4.6, math.pi)


def _kitchen(b: RoomBuilder) -> None:
    b.floor(b.pick("floor/tile", "floor/wood"))
    b.walls(
        ("wall/timber", "wall/plain"),
        {("n", 0): "wall/shelves", ("n", 2): "wall/shelves", ("w", 0): "wall/door", ("e", 1): "wall/window"},
        b.pick((1.0, 1.0, 1.0), WARM_STONE),
    )
    b.door("w", -2.0)
    b.put("table/long_feast", 0.8, -0.5, HALF)
    b.against("n", 0.0, "barrel/large")
    b.near(b.pick("keg/plain", "crate/large"), 4.4, -2.3, -0.3)
    b.near("barrel/small", 4.8, 2.6)
    b.near("crate/small", -4.7, 2.7)
    b.near("table/small", -2.7, 2.7)
    b.put("clutter/plate_stack", -2.7, 2.7, y=1.0, scale=0.7)
    b.shelf("s", 2.2)
    b.wall_lamp("n", 2.0)
    b.wall_lamp("w", 1.4)
    b.wall_lamp("e", -2.2)
    b.shelf("s", -0.9, "shelf/candles", 1.4)
    b.stand("cook", -1.35, -2.1, 0.3)
    b.stand("cook_r", 1.9, -2.2, 0.2)
    b.stand("front_l", -0.4, 1.3, math.pi)
    b.stand("front_r", 1.9, 1.4, -2.8)
    b.stand("west", -3.2, 0.2, HALF)


def _armoury(b: RoomBuilder) -> None:
    b.floor(b.pick("floor/tile", "floor/wood_dark"))
    b.walls(STONE, {("s", 0): "wall/door", ("e", 1): "wall/window_gated", ("n", 1): "wall/arched"}, DARK_STONE)
    b.door("s", -4.0, 2.6)
    b.put("clutter/trophy", 0.0, -5.35, y=2.3)
    b.put("clutter/trophy", -5.35, -3.6, HALF, y=2.3)
    b.put("clutter/trophy", 5.35, 3.2, -HALF, y=2.3)
    b.hang("n", -4.0, b.pick("banner/red", "banner/shield_red", "banner/blue"))
    b.hang("n", 4.0, b.pick("banner/red", "banner/shield_blue", "banner/green"))
    b.against("n", -2.2, "trunk/large")
    b.against("n", 2.2, "chest/plain")
    b.against("w", 0.4, "crate/large")
    b.put(b.pick("table/medium", "table/broken"), 3.4, -2.6, 0.3)
    b.near("barrel/small", 4.6, 0.4)
    b.near("crate/stack", 4.2, 4.2, 2.4)
    b.near("seat/stool", -3.6, 4.4)
    b.wall_lamp("n", 2.0)
    b.wall_lamp("w", -1.8)
    b.wall_lamp("e", -2.0)
    b.wall_lamp("s", 1.6)
    b.stand("ring_l", -1.9, 0.6, HALF)
    b.stand("ring_r", 0.9, 0.6, -HALF)
    b.stand("weapons", -1.5, -3.0, math.pi)
    b.stand("table", 1.6, -2.4, HALF)
    b.stand("watch", -2.9, 3.0, 2.2)
    b.stand("watch_r", 1.4, 3.4, -2.6)


def _crypt(b: RoomBuilder) -> None:
    b.floor(b.pick("floor/dirt", "floor/tile"), ("floor/dirt_rocky", "floor/tile_rocks"), 0.35)
    b.walls(
        ("wall/cracked", "wall/plain", "wall/arched"),
        {("n", 1): "wall/broken", ("w", 1): "wall/door", ("s", 2): "wall/window_gated"},
        b.pick(DARK_STONE, COOL_STONE),
    )
    b.door("w", 0.0)
    for x in (-3.3, 3.3):
        b.put("pillar/square", x, -2.4)
        b.put("pillar/square" if b.chance(0.5) else "pillar/low", x, 2.4)
    b.put("clutter/rubble", 1.2, -4.1, -0.05)
    b.put("pillar/low", -1.0, -4.4)
    b.near("chest/gold", -4.6, 4.4, 2.4)
    b.near("clutter/coins", -3.0, 4.6)
    b.near(b.pick("barrel/small", "crate/small"), 4.6, 4.5)
    b.wall_lamp("n", -4.6)
    b.wall_lamp("e", 0.2)
    b.wall_lamp("s", -1.0)
    b.wall_lamp("w", 3.4)
    b.stand("centre_l", -1.2, 0.1, HALF)
    b.stand("centre_r", 1.3, 0.3, -HALF)
    b.stand("treasure", -2.15, 3.35, -2.6)
    b.stand("rubble", 0.3, -2.2, math.pi)
    b.stand("south", 1.2, 3.6, math.pi)


def _stair_hall(b: RoomBuilder) -> None:
    b.floor("floor/wood" if b.chance(0.4) else "floor/tile")
    b.walls(
        ("wall/timber", "wall/plain", "wall/arched"),
        {("s", 2): "wall/door", ("w", 1): "wall/window", ("e", 2): "wall/window_closed"},
        b.pick((1.0, 1.0, 1.0), WARM_STONE, COOL_STONE),
    )
    b.door("s", 4.0)
    b.put(b.pick("stairs/stone", "stairs/wood"), -3.4, -5.4)
    b.hang("n", 0.0, b.pick(*GRAND_BANNERS))
    b.hang("n", 4.0, b.pick(*BANNERS))
    b.against("e", -3.4, b.pick("trunk/large", "chest/plain"))
    b.put("table/small", 4.4, 0.2)
    b.candle(4.4, 1.0, 0.2)
    b.near("barrel/large", -4.6, 4.2)
    b.wall_lamp("n", 1.9)
    b.wall_lamp("e", 3.0)
    b.wall_lamp("w", 3.2)
    b.wall_lamp("s", -1.8)
    b.stand("foot", -2.2, 1.9, 0.4)
    b.stand("hall_l", -0.3, -0.6, HALF)
    b.stand("hall_r", 2.1, -0.9, -HALF)
    b.stand("north", 1.0, -3.6, 0.2)
    b.stand("entry", 2.8, 3.6, -2.6)
    b.stand("south", -0.9, 3.9, 2.6)


def _guard_room(b: RoomBuilder) -> None:
    b.floor(b.pick("floor/tile", "floor/wood_dark"))
    b.walls(
        ("wall/plain", "wall/pillar", "wall/timber"),
        {("e", 1): "wall/door", ("n", 0): "wall/window_gated", ("w", 1): "wall/shelves"},
        b.pick((1.0, 1.0, 1.0), WARM_STONE),
    )
    b.door("e", 2.0)
    b.put("table/medium", -1.8, -0.6, 0.1)
    b.seat("seat_l", -3.4, -0.6, HALF)
    b.seat("seat_r", -0.2, -0.6, -HALF)
    b.candle(-1.6, 1.0, -0.8)
    b.put("clutter/plate_food", -2.2, -0.3, y=1.0, scale=0.7)
    b.put("bed/frame", 4.6, -1.8)
    b.near("trunk/medium", 3.2, -2.9)
    b.near("barrel/small", -4.8, 2.6)
    b.hang("n", 0.3, b.pick(*BANNERS))
    b.put("clutter/trophy", -1.0, 3.35, math.pi, y=2.4)
    b.wall_lamp("n", -2.0)
    b.wall_lamp("s", 1.8)
    b.wall_lamp("w", -2.0)
    b.stand("middle", 1.6, 0.9, -1.6)
    b.stand("bedside", 2.9, -0.9, -0.8)
    b.stand("south", -1.6, 1.9, 0.8)
    b.stand("west", -3.4, 1.8, 1.6)


def _bedchamber(b: RoomBuilder) -> None:
    b.floor(b.pick("floor/wood", "floor/wood_dark"))
    b.walls(
        ("wall/timber", "wall/plain"),
        {("s", 2): "wall/door", ("w", 0): "wall/window_arched", ("n", 2): "wall/shelves"},
        b.pick((1.0, 1.0, 1.0), WARM_STONE, COOL_STONE),
    )
    b.door("s", 4.0)
    b.put("bed/frame", -3.9, -1.9)
    b.put("table/small", -2.4, -2.9)
    b.candle(-2.4, 1.0, -2.9)
    b.against("n", 1.0, b.pick("chest/plain", "trunk/large"))
    b.put("table/medium_cloth", 3.6, -1.4)
    b.seat("desk", 3.6, 0.3, math.pi)
    b.hang("n", -3.9, b.pick(*GRAND_BANNERS))
    b.hang("w", 2.0, b.pick(*BANNERS))
    b.near("trunk/medium", -5.0, 2.7)
    b.wall_lamp("n", -1.2)
    b.wall_lamp("e", 1.6)
    b.wall_lamp("s", -2.0)
    b.stand("bedside", -2.2, -0.7, -1.2)
    b.stand("middle", 0.2, 0.7, -1.6)
    b.stand("middle_l", -1.6, 1.7, 1.6)
    b.stand("by_door", 2.6, 2.0, -2.4)


LAYOUTS: dict[str, Layout] = {
    "tavern": Layout(16, 12, _tavern),
    "throne_hall": Layout(12, 16, _throne_hall),
    "dungeon_cell": Layout(8, 8, _dungeon_cell),
    "library": Layout(12, 8, _library),
    "storeroom": Layout(12, 8, _storeroom),
    "courtyard": Layout(16, 12, _courtyard, open_air=True),
    "corridor": Layout(8, 16, _corridor),
    "chapel": Layout(12, 16, _chapel),
    "kitchen": Layout(12, 8, _kitchen),
    "armoury": Layout(12, 12, _armoury),
    "crypt": Layout(12, 12, _crypt),
    "stair_hall": Layout(12, 12, _stair_hall),
    "guard_room": Layout(12, 8, _guard_room),
    "bedchamber": Layout(12, 8, _bedchamber),
}
