"""Stages and scene states as bytes: how they are stored, and how they travel to the inference process (msgpack)."""

from __future__ import annotations

import msgpack

from cutscene_model import scene_codec
from cutscene_model.scene import SceneState, Stage


def pack_stage(stage: Stage) -> bytes:
    packed: bytes = msgpack.packb(scene_codec.stage_to_plain(stage))
    return packed


def unpack_stage(packed: bytes) -> Stage:
    """The stage that ``pack_stage`` packed. Raises ``ValueError``."""
    return scene_codec.stage_from_plain(msgpack.unpackb(packed))


def pack_state(state: SceneState) -> bytes:
    packed: bytes = msgpack.packb(scene_codec.state_to_plain(state))
    return packed


def unpack_state(packed: bytes) -> SceneState:
    """The state that ``pack_state`` packed. Raises ``ValueError``."""
    return scene_codec.state_from_plain(msgpack.unpackb(packed))
