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
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from live import add_server_options, describe_machine, server_arguments
from peers_hosts.figures import Figures, medians, ratios
from peers_hosts.measuring import OURS, Bench, OurSide, PeerSide, Side, first_pictures, pictures
from peers_hosts.playing import Material, load_material
from peers_hosts.process import INSTALL, NEEDS, HostEnded, hosted, missing_modules
from peers_hosts.table import print_table

import cutscene_client as cc
from cutscene_client.frames import TIERS
from cutscene_client.local_server import local_server

START_S = 150.0  # for all hosts together to load the model and draw a first turn
WANTED_COUNT = 4  # whose ratios stand at the top level


def host_arguments(options: argparse.Namespace) -> list[str]:
    """What the hosts must share with our server."""
    arguments = ["--engine", options.engine]
    arguments += ["--model", str(options.model.resolve())] if options.model else []
    arguments += ["--threads", str(options.threads)] if options.threads else []
    return arguments + (["--keep-blocks"] if options.keep_blocks else [])


def installed(options: argparse.Namespace) -> Iterator[str]:
    """The peers that can be run; says which cannot, and why."""
    for peer in options.peers:
        missing = missing_modules(NEEDS[peer])
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
    rounds: dict[str, list[Round]] = {}
    async with sides(options, material) as (able, failed):
        for number in range(options.rounds):
            for side in able if number % 2 == 0 else able[::-1]:  # nobody always comes first
                if side.name in failed:
                    continue
                print(f"round {number + 1} of {options.rounds}, {side.name}:", end="", flush=True)
                try:
                    rounds.setdefault(side.name, []).append(
                        await one_round(bench, side, options.sessions, paced=number == options.rounds - 1)
                    )
                except Exception as error:
                    if side.name == OURS:
                        raise
                    failed[side.name] = f"{type(error).__name__}: {error}"
                    rounds.pop(side.name)
                    print(f" failed, and is left out: {failed[side.name]}")
    hosts = {name: summed_up(found) for name, found in rounds.items()}
    return {
        **hosts,
        **compared(hosts, options.sessions),
        "failed": failed,
        "not_installed": {peer: gone for peer in options.peers if (gone := missing_modules(NEEDS[peer]))},
        "paced_total_fps": options.paced_total,
        "frames": options.frames,
        "rounds": options.rounds,
        "tier": options.tier,
        "blocks_kept_by_peers": options.keep_blocks,
    }


@dataclass(frozen=True, slots=True)
class Round:
    """One host's figures of one round."""

    alone: Figures
    by_count: dict[int, Figures]


async def one_round(bench: Bench, side: Side, sessions: Sequence[int], *, paced: bool) -> Round:
    """All measurements of one host, and a line on them as they are made."""
    found = Round(await bench.later(side), {})
    print(f" later turn {found.alone['later_turn_ms']:.0f} ms;", end="", flush=True)
    for count in sessions:
        figures = await bench.free(side, count)
        print(f" {count}: {figures['fps']:.1f} frames/s", end="", flush=True)
        if paced:
            figures |= await bench.paced(side, count)
            print(f" (paced {figures['paced_misses']:.0f} of {figures['paced_frames']:.0f} late)", end="", flush=True)
        found.by_count[count] = figures
    print()
    return found


def summed_up(rounds: Sequence[Round]) -> dict[str, Any]:
    """One host's figures: those of a lone session, and by count of sessions those of many."""
    counts = {str(count): medians([one.by_count[count] for one in rounds]) for count in rounds[0].by_count}
    return {**counts, **medians([one.alone for one in rounds])}


def compared(hosts: dict[str, dict[str, Any]], sessions: Sequence[int]) -> dict[str, object]:
    """Ours over the best peer's, by count, and for the count that stands for all."""
    found = {
        count: ratios(hosts[OURS][str(count)], {name: hosts[name][str(count)] for name in hosts if name != OURS})
        for count in sessions
    }
    chosen = min(found, key=lambda count: abs(count - WANTED_COUNT))
    return {
        "ratios": {str(count): values for count, values in found.items()},
        "top_level_sessions": chosen,
        **found[chosen],
    }


def whole(lowest: int, highest: int | None = None) -> Callable[[str], int]:
    """Whole numbers of an option, both bounds included."""

    def read(text: str) -> int:
        number = int(text)
        if number < lowest or (highest is not None and number > highest):
            allowed = f"at least {lowest}" if highest is None else f"{lowest} to {highest}"
            raise argparse.ArgumentTypeError(f"{number} is not {allowed}")
        return number

    return read


def above_zero(text: str) -> float:
    """A number above 0."""
    number = float(text)
    if not 0 < number < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


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
    parser.add_argument("--rounds", type=whole(1), default=3, help="of all measurements (default: %(default)s)")
    parser.add_argument("--frames", type=whole(2), default=20, help="of a timed turn (default: %(default)s)")
    parser.add_argument(
        "--paced-total",
        type=above_zero,
        default=12.0,
        help="frames/s of paced sessions together (default: %(default)s)",
    )
    parser.add_argument(
        "--paced-seconds", type=above_zero, default=5.0, help="of states of each paced session (default: %(default)s)"
    )
    parser.add_argument("--script", default="tavern_dialogue", help="whose states (default: %(default)s)")
    parser.add_argument("--tier", default="standard", choices=list(TIERS))
    parser.add_argument("--jpeg-quality", type=whole(1, 100), default=90, help="1 to 100 (default: %(default)s)")
    parser.add_argument("--keep-blocks", action="store_true", help="let the peers keep frame blocks between turns")
    add_server_options(parser)
    options = parser.parse_args()
    # Whoever stops this script by a signal has every host stopped too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print(describe_machine())
    print(f"{options.tier} tier, JPEG {options.jpeg_quality}, turns of {options.frames} frames of {options.script}, "
          f"{options.rounds} rounds, medians")  # fmt: skip
    begun = time.monotonic()
    try:
        figures = asyncio.run(measure(options))
    except KeyboardInterrupt:
        print("\nstopped, and every host with it")
        return 130
    print_table(figures, options)
    print(f"{time.monotonic() - begun:.0f} s in all")
    if options.json:
        print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
