"""This project's server against the same model hosted without it: LitServe, Ray Serve, and FastAPI with a WebSocket.

    pip install -e '.[client,server,peers]'
    python benchmarks/peers.py --json

Each host runs in processes of its own on a free loopback port and draws the same states of a shipped script with the
same model package: same weights, compiled passes, precision, threads, three-stage pipeline and JPEG quality. The
pictures are compared byte by byte before anything is timed. What is installed of the peers is run; what is not is
named. A run takes some six minutes on a quiet machine; measurements of the hosts take turns, round by round.

What a peer must do that keeps no sessions: every request is one turn and carries cast, set, seed, the turn's states and
the last frames that the model attends to (its window). The host opens the model anew: it computes the anchors of cast
and set, and makes the blocks of the window again. There are two ways to the window, and both are measured:

  latents  every turn's last frames come back with their latents, which the client sends with its next turn; the host
           makes blocks of them. The cheapest way there is, and exact: the pictures are those of an unbroken session. It
           is taken wherever nothing else is said.
  redraw   the client sends the states alone; the host draws the window again (without decoding it), then goes on. So
           somebody would do it who does not hand out the inside of the model. The pictures differ a little.

Nothing else is held back from them. Not there, and not asked of them: frames on disk before they are told, digests,
checked requests, resuming, rewinding, forks, tiers that move, credit. Ours does all of these while it is measured.
benchmarks/peers_hosts/ has each host; its docstring says which settings were chosen and why.

Unpaced, for each count of sessions at once, after an untimed opening turn each:
  fps                        frames of all sessions over the time from the first turn's sending to the last frame
  gap_p50_ms, gap_p99_ms     between two frames of one turn
  later_turn_first_frame_ms  from sending that later turn to its first frame, all sessions at once, median
Paced, the sessions together at --paced-total frames/s, each turn after turn; states are not drawn before their time:
  paced_misses, paced_frames a frame is due a frame time and 0.3 s after its state's time; a late one puts off the rest
  paced_refused              sessions that our server did not promise the cadence to, and that did not play
One session alone, a turn of 40 frames and later turns after a rest:
  later_turn_ms              from sending a later turn to its first frame, median; later_turn_redraw_ms: likewise

Every figure is the median of its rounds. Ratios are ours over the best peer's: best_peer_fps_ratio (more is better for
us), best_peer_p99_ratio and best_peer_later_turn_ratio (less is). They stand under "ratios" for each count, and at the
top level for 4 sessions (or the count nearest to it that was run: "top_level_sessions").
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Protocol

from live import add_server_options, describe_machine, server_arguments
from peers_hosts.figures import Figures, TurnTimes, free_figures, medians, paced_figures, ratios
from peers_hosts.peer_clients import HttpClient, PeerPlayer, WebSocketClient
from peers_hosts.playing import Material, OurPlayer, Player, load_material
from peers_hosts.process import INSTALL, NEEDS, HostEnded, HostProcess, hosted, missing_modules

import cutscene_client as cc
from cutscene_client.errors import ResourceExhausted
from cutscene_client.frames import TIERS
from cutscene_client.local_server import local_server

OURS = "ours"
START_S = 150.0  # for all hosts together to load the model and draw a first turn
REST_S = 0.3  # before what is timed, so that it begins on a host with nothing left to do
LATENCY_S = 0.3  # that a paced frame may take beside its frame time: the server's own default
WANTED_COUNT = 4  # whose ratios stand at the top level
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


# ---- what is measured -----------------------------------------------------------------------------------------------


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


# ---- the run --------------------------------------------------------------------------------------------------------


def host_arguments(options: argparse.Namespace) -> list[str]:
    """What the hosts must share with our server."""
    arguments = ["--engine", options.engine]
    arguments += ["--model", str(options.model.resolve())] if options.model else []
    arguments += ["--threads", str(options.threads)] if options.threads else []
    return arguments + (["--keep-blocks"] if options.keep_blocks else [])


def installed(options: argparse.Namespace) -> Iterator[str]:
    """The peers that can be run; says which cannot, and why."""
    for peer in options.peers:
        missing = missing_modules(peer)
        if missing:
            print(f"{peer}: not run, {', '.join(missing)} not installed; to have it: {INSTALL}")
        else:
            yield peer


@contextlib.asynccontextmanager
async def sides(options: argparse.Namespace, material: Material) -> AsyncIterator[tuple[list[Side], dict[str, str]]]:
    """Every host that can be had, warm, and what became of the others. All are stopped when the block ends."""
    failed: dict[str, str] = {}
    async with contextlib.AsyncExitStack() as stack:
        found = [
            PeerSide(stack.enter_context(hosted(peer, host_arguments(options))), material, stack)
            for peer in installed(options)
        ]
        print(f"starting {', '.join([side.name for side in found] + [OURS])}", flush=True)
        begun = time.monotonic()
        address = stack.enter_context(local_server(server_arguments(options)))
        ours = OurSide(await stack.enter_async_context(cc.connect(address)), material)
        wanted = await pictures(ours)
        able: list[Side] = [ours]
        for side in found:
            try:
                same = await first_pictures(side, begun + START_S) == wanted
            except HostEnded as error:
                failed[side.name] = str(error)
                print(error)
                continue
            print(f"  {side.name} answers; its pictures are {'the same bytes as ours' if same else 'NOT ours'}")
            if not same:
                failed[side.name] = "draws other pictures"
                continue
            able.append(side)
        print(f"  ready after {time.monotonic() - begun:.0f} s", flush=True)
        yield able, failed


async def measure(options: argparse.Namespace) -> dict[str, object]:
    """Runs everything and returns the figures."""
    material = load_material(options.script, options.model, options.tier, options.jpeg_quality)
    bench = Bench(options, material)
    by_count: dict[str, dict[int, list[Figures]]] = {}
    alone: dict[str, list[Figures]] = {}
    async with sides(options, material) as (able, failed):
        for number in range(options.rounds):
            for side in able if number % 2 == 0 else able[::-1]:  # nobody always comes first
                print(f"round {number + 1} of {options.rounds}, {side.name}:", end="", flush=True)
                alone.setdefault(side.name, []).append(await bench.later(side))
                print(f" later turn {alone[side.name][-1]['later_turn_ms']:.0f} ms;", end="", flush=True)
                for count in options.sessions:
                    figures = await bench.free(side, count)
                    print(f" {count}: {figures['fps']:.1f} frames/s", end="", flush=True)
                    if number == options.rounds - 1:
                        figures |= await bench.paced(side, count)
                        late, frames = figures["paced_misses"], figures["paced_frames"]
                        print(f" (paced {late:.0f} of {frames:.0f} late)", end="", flush=True)
                    by_count.setdefault(side.name, {}).setdefault(count, []).append(figures)
                print()
    whole = {
        name: {
            **{str(count): medians(rounds) for count, rounds in by_count[name].items()},
            **medians(alone[name]),
        }
        for name in by_count
    }
    return {
        **whole,
        **compared(by_count),
        "failed": failed,
        "not_installed": {peer: missing_modules(peer) for peer in options.peers if missing_modules(peer)},
        "paced_total_fps": options.paced_total,
        "frames": options.frames,
        "rounds": options.rounds,
        "tier": options.tier,
        "blocks_kept_by_peers": options.keep_blocks,
    }


def compared(by_count: dict[str, dict[int, list[Figures]]]) -> dict[str, object]:
    """Ours over the best peer's, by count, and for the count that stands for all."""
    found = {
        count: ratios(
            medians(rounds), {name: medians(by_count[name][count]) for name in by_count if name != OURS}
        )
        for count, rounds in by_count[OURS].items()
    }  # fmt: skip
    chosen = min(found, key=lambda count: abs(count - WANTED_COUNT))
    return {
        "ratios": {str(count): values for count, values in found.items()},
        "top_level_sessions": chosen,
        **found[chosen],
    }


def print_table(figures: dict[str, object], options: argparse.Namespace) -> None:
    """One row a host and count."""
    print(f"\n{'host':<9} {'sessions':>8} {'frames/s':>9} {'gap p50':>8} {'gap p99':>8} {'later turn':>11} "
          f"{'paced late':>11}")  # fmt: skip
    names = [name for name in (OURS, *NEEDS) if name in figures]
    for count in map(str, options.sessions):
        for name in names:
            row = figures[name][count]  # type: ignore[index]
            late = f"{row['paced_misses']:.0f}/{row['paced_frames']:.0f}"
            late += f" -{row['paced_refused']:.0f}" if row["paced_refused"] else ""
            print(f"{name:<9} {count:>8} {row['fps']:>9.2f} {row['gap_p50_ms']:>8.1f} {row['gap_p99_ms']:>8.1f} "
                  f"{row['later_turn_first_frame_ms']:>11.1f} {late:>11}")  # fmt: skip
    print(f"\none session alone, first frame of a later turn after {OPENING_FRAMES} frames (ms):")
    for name in names:
        host: Figures = figures[name]  # type: ignore[assignment]
        redraw = f", {host['later_turn_redraw_ms']:.1f} by redraw" if "later_turn_redraw_ms" in host else ""
        print(f"  {name:<9} {host['later_turn_ms']:.1f}{redraw}")
    for count, found in figures["ratios"].items():  # type: ignore[attr-defined]
        if found["best_peer_fps_ratio"] is not None:
            print(f"{count} sessions, ours over the best peer: {found['best_peer_fps_ratio']} of the frames/s of "
                  f"{found['best_peer_fps_ratio_peer']}, {found['best_peer_p99_ratio']} of the p99 of "
                  f"{found['best_peer_p99_ratio_peer']}, {found['best_peer_later_turn_ratio']} of a later turn's "
                  f"first frame of {found['best_peer_later_turn_ratio_peer']}")  # fmt: skip


def counts(text: str) -> list[int]:
    """Comma-separated counts of sessions."""
    found = [int(part) for part in text.split(",")]
    if not all(1 <= count <= 32 for count in found):
        raise argparse.ArgumentTypeError("counts are from 1 to 32")
    return found


def peers(text: str) -> list[str]:
    """Comma-separated names of peers."""
    found = [part for part in text.split(",") if part]
    if unknown := sorted(set(found) - set(NEEDS)):
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: known are {', '.join(NEEDS)}")
    return found


def main() -> int:
    """Parses the command line, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=counts, default=[1, 4, 8], help="at once (default: 1,4,8)")
    parser.add_argument("--peers", type=peers, default=list(NEEDS), help=f"to run (default: {','.join(NEEDS)})")
    parser.add_argument("--rounds", type=int, default=3, help="of all measurements (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=20, help="of a timed turn (default: %(default)s)")
    parser.add_argument(
        "--paced-total", type=float, default=12.0, help="frames/s of all paced sessions together (default: %(default)s)"
    )
    parser.add_argument(
        "--paced-seconds", type=float, default=5.0, help="of states of each paced session (default: %(default)s)"
    )
    parser.add_argument("--script", default="tavern_dialogue", help="whose states (default: %(default)s)")
    parser.add_argument("--tier", default="standard", choices=list(TIERS))
    parser.add_argument("--jpeg-quality", type=int, default=90, help="1 to 100 (default: %(default)s)")
    parser.add_argument("--keep-blocks", action="store_true", help="let the peers keep frame blocks between turns")
    add_server_options(parser)
    options = parser.parse_args()
    print(describe_machine())
    print(f"{options.tier} tier, JPEG {options.jpeg_quality}, turns of {options.frames} frames of {options.script}, "
          f"{options.rounds} rounds, medians")  # fmt: skip
    begun = time.monotonic()
    figures = asyncio.run(measure(options))
    print_table(figures, options)
    print(f"{time.monotonic() - begun:.0f} s in all")
    if options.json:
        print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
