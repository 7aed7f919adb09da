"""Rooms by name, which of them are held out, and their plain form for the client's library."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from cutscene_model.scene import Lights, SetElement
from cutscene_model.training.layouts import LAYOUTS
from cutscene_model.training.room_builder import Mark, Room, RoomBuilder

__all__ = ["HELD_OUT_ROOMS", "ROOMS", "TRAINING_ROOMS", "Mark", "Room", "build", "room_to_plain"]

ROOMS: tuple[str, ...] = tuple(LAYOUTS)
HELD_OUT_ROOMS: tuple[str, ...] = ("guard_room", "bedchamber")
"""Never captured for training: they measure what the model does in rooms it has not seen."""
TRAINING_ROOMS: tuple[str, ...] = tuple(name for name in ROOMS if name not in HELD_OUT_ROOMS)


@functools.lru_cache(maxsize=256)
def build(name: str, variant: int = 0) -> Room:
    """The room of that name; equal variants are equal rooms, in every process."""
    layout = LAYOUTS[name]
    builder = RoomBuilder(name, layout.width, layout.depth, np.random.default_rng([ROOMS.index(name), variant]))
    builder.open_air = layout.open_air
    layout.furnish(builder)
    return builder.finish(variant)


def room_to_plain(room: Room) -> dict[str, Any]:
    """A room for JSON, numbers to the millimetre."""
    return {
        "name": room.name,
        "variant": room.variant,
        "camera_area": [round(value, 3) for value in room.camera_area],
        "elements": [_element_to_plain(element) for element in room.elements],
        "marks": [_mark_to_plain(mark) for mark in room.marks],
        "lights": {name: _lights_to_plain(lights) for name, lights in room.lights.items()},
    }


def _element_to_plain(element: SetElement) -> list[Any]:
    """[look, part, center, half_extent, rotation, tint]; the class follows from the look."""
    box = element.box
    return [
        element.look,
        element.part,
        _rounded(box.center),
        _rounded(box.half_extent),
        _rounded(box.rotation, 5),
        _rounded(element.tint),
    ]


def _mark_to_plain(mark: Mark) -> dict[str, Any]:
    return {"name": mark.name, "kind": mark.kind, "position": _rounded(mark.position), "yaw": round(mark.yaw, 4)}


def _lights_to_plain(lights: Lights) -> dict[str, Any]:
    return {
        "ambient": _rounded(lights.ambient),
        "sun_direction": _rounded(lights.sun_direction, 6),
        "sun_color": _rounded(lights.sun_color),
        "background": _rounded(lights.background),
        "points": [
            {"position": _rounded(point.position), "color": _rounded(point.color), "range": point.range}
            for point in lights.points
        ],
    }


def _rounded(values: tuple[float, ...], digits: int = 3) -> list[float]:
    return [round(float(value), digits) + 0.0 for value in values]
