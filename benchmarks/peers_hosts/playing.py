"""What is played to every host, and who plays it: one face for a session of this project's and a peer's client."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import cutscene_client as cc
from cutscene_client import scene, shipped
from cutscene_client.frames import PACINGS, TIERS
from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_proto.v1 import scene_pb2 as spb
from cutscene_server.packed_scene import pack_stage, pack_state
from peers_hosts.figures import TurnTimes


@dataclass(frozen=True)
class Material:
    """What is played: the same for everybody, in the contract's words and in the model's."""

    request: pb.Open
    states: tuple[spb.SceneState, ...]
    stage: bytes
    plain_states: tuple[bytes, ...]
    tier: str
    jpeg_quality: int
    window: int  # frames that the model attends to

    def places(self, start: int, count: int) -> list[int]:
        """Which states frames ``start`` and on show: over again from the first where there are no more."""
        return [frame % len(self.states) for frame in range(start, start + count)]


def load_material(script: str, model: Path | None, tier: str, jpeg_quality: int) -> Material:
    """A script's states, read and checked as the server does it."""
    from cutscene_model.loading import SHIPPED_WEIGHTS
    from cutscene_model.manifest import read_manifest
    from cutscene_server.wire.scene import names_of, read_stage, read_state
    from cutscene_server.wire.violations import Violations

    manifest = read_manifest(model or SHIPPED_WEIGHTS)
    expansion, violations = shipped.load_expansion(script), Violations()
    states = tuple(state for shot in expansion.shots for state in shot.states)
    stage = read_stage(violations, expansion.open_request, manifest)
    names = names_of(stage, manifest)
    plain = tuple(pack_state(read_state(violations, "state", state, names)) for state in states)
    violations.raise_if_any()
    return Material(expansion.open_request, states, pack_stage(stage), plain, tier, jpeg_quality, manifest.window)


class Player(Protocol):
    """One client with one performance, who plays turn after turn."""

    pictures: list[bytes]  # of the last turn, JPEG

    async def turn(self, frames: int) -> TurnTimes:
        """Plays the script's next ``frames`` states as one turn."""

    async def close(self) -> None:
        """Ends the performance."""


class OurPlayer:
    """A session of the real client."""

    def __init__(self, session: cc.Session, material: Material) -> None:
        self._session, self._material, self._next = session, material, 0
        self.pictures: list[bytes] = []

    @classmethod
    async def open(cls, client: cc.Client, material: Material, seed: int, fps: float) -> Self:
        """Opens a session; with ``fps``, one whose frames keep that cadence, at one tier throughout."""
        request = pb.Open()
        request.CopyFrom(material.request)
        request.seed, request.tier = seed, TIERS[material.tier]
        request.video.jpeg_quality = material.jpeg_quality
        if fps:
            request.fps, request.pacing = fps, PACINGS["lockstep"]
        return cls(await client.open_request(request), material)

    async def turn(self, frames: int) -> TurnTimes:
        """See ``Player``."""
        states = self._material.states
        turn = scene.lockstep_turn(states[place] for place in self._material.places(self._next, frames))
        self._next += frames
        self.pictures = []
        arrivals, sent = [], time.perf_counter()
        async for frame in self._session.perform(turn):
            arrivals.append(time.perf_counter())
            self.pictures.append(frame.data)
        return TurnTimes(sent, tuple(arrivals))

    async def close(self) -> None:
        """See ``Player``."""
        await self._session.close()
