"""The hosts from the side of their clients, and what is measured of each: see ``benchmarks/peers.py``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import statistics
import time
from typing import Protocol

import cutscene_client as cc
from cutscene_client.errors import ResourceExhausted
from peers_hosts.figures import Figures, TurnTimes, free_figures, paced_figures
from peers_hosts.peer_clients import HttpClient, PeerPlayer, WebSocketClient
from peers_hosts.playing import Material, OurPlayer, Player
from peers_hosts.process import HostEnded, HostProcess

OURS = "ours"
REST_S = 0.3  # before what is timed, so that it begins on a host with nothing left to do
LATENCY_S = 0.3  # that a paced frame may take beside its frame time: the server's own default
OPENING_FRAMES = 40  # of one session's first turn, before its later turns
LATER_TURNS, LATER_FRAMES = 3, 4
PACED_TURNS = 2


class Side(Protocol):
    """One host, from the side of its clients."""

    @property
    def name(self) -> str:
        """What it goes by in the figures."""

    async def join(self, seed: int, fps: float = 0.0) -> Player:
        """One more client with a performance of its own."""


class OurSide:
    """This project's server."""

    name = OURS

    def __init__(self, client: cc.Client, material: Material) -> None:
        self._client, self._material = client, material

    async def join(self, seed: int, fps: float = 0.0) -> Player:
        """See ``Side``."""
        return await OurPlayer.open(self._client, self._material, seed, fps)


class PeerSide:
    """A peer."""

    def __init__(self, host: HostProcess, material: Material, stack: contextlib.AsyncExitStack) -> None:
        self.name = host.peer
        self.host = host
        self._material, self._stack = material, stack
        self._http: HttpClient | None = None

    async def join(self, seed: int, fps: float = 0.0) -> PeerPlayer:
        """See ``Side``."""
        if self.name == "fastapi":  # a connection a client
            socket = await WebSocketClient.connect(self.host.port)
            return PeerPlayer(socket.answers, self._material, seed, fps, leave=socket.close)
        if self._http is None:
            self._http = HttpClient(self.host.port, as_json=self.name == "litserve")
            self._stack.push_async_callback(self._http.close)
        return PeerPlayer(self._http.answers, self._material, seed, fps)


class Bench:
    """The measurements of one side; seeds are never used twice, so that nobody finds an old block."""

    def __init__(self, options: argparse.Namespace, material: Material) -> None:
        self._options = options
        self._material = material
        self._seeds = itertools.count(1000)

    async def free(self, side: Side, count: int) -> Figures:
        """``count`` sessions at once, as fast as there is room."""
        players = [await side.join(next(self._seeds)) for _ in range(count)]
        await asyncio.gather(*[player.turn(self._material.window + 1) for player in players])
        await asyncio.sleep(REST_S)
        turns = await asyncio.gather(*[player.turn(self._options.frames) for player in players])
        await asyncio.gather(*[player.close() for player in players])
        return free_figures(turns)

    async def paced(self, side: Side, count: int) -> Figures:
        """``count`` sessions at once whose states come at a cadence."""
        fps = self._options.paced_total / count
        frames = max(2, round(fps * self._options.paced_seconds / PACED_TURNS))
        players: list[Player] = []
        for _ in range(count):
            with contextlib.suppress(ResourceExhausted):
                players.append(await side.join(next(self._seeds), fps))

        async def play(player: Player) -> list[TurnTimes]:
            await player.turn(1)
            return [await player.turn(frames) for _ in range(PACED_TURNS)]

        turns = await asyncio.gather(*map(play, players))
        await asyncio.gather(*[player.close() for player in players])
        return paced_figures(list(itertools.chain(*turns)), fps, LATENCY_S, count - len(players))

    async def later(self, side: Side) -> Figures:
        """One session's later turns."""
        player = await side.join(next(self._seeds))
        await player.turn(OPENING_FRAMES)
        figures = {"later_turn_ms": await self._first_frames(player)}
        if isinstance(player, PeerPlayer):
            player.redraw = True
            figures["later_turn_redraw_ms"] = await self._first_frames(player)
        await player.close()
        return figures

    async def _first_frames(self, player: Player) -> float:
        firsts = []
        for _ in range(LATER_TURNS):
            await asyncio.sleep(REST_S)
            firsts.append((await player.turn(LATER_FRAMES)).first_frame)
        return 1000 * statistics.median(firsts)


async def pictures(side: Side) -> list[bytes]:
    """The same two turns of everybody, to be compared."""
    player = await side.join(1)
    found = []
    for frames in (6, 4):
        await player.turn(frames)
        found += player.pictures
    await player.close()
    return found


async def first_pictures(side: PeerSide, deadline: float) -> list[bytes]:
    """A peer's, as soon as it answers. Raises ``HostEnded`` if it does not."""
    while True:
        side.host.check()
        try:
            return await pictures(side)
        except OSError as error:
            if time.monotonic() > deadline:
                raise HostEnded(f"{side.name} did not answer in time: {error}") from error
            await asyncio.sleep(0.5)
