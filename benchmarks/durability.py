"""What survives ``kill -9``, how fast sessions come back, and what it costs on disk and in memory.

    python benchmarks/durability.py --json

A real server in a process of its own on a fresh data directory, and real clients that play a shipped script's states.
Inference process and whole server are killed in turn, at random moments, while the clients play; the clients come back
by themselves. What they got is compared, digest by digest, with undisturbed runs of the same sessions.

  crashes_injected, crashes_survived   kills, and those after which every client had its next frame
  frames_lost, digest_mismatches       against the undisturbed runs; both are to be 0
  resume_ms_p50, resume_ms_p99         from a kill to a client's next frame, the server's restart included
  bytes_per_frame                      on disk
  fork_bytes, fork_rss_kb              on disk, and of the server's memory, for each of --forks forks of one session
  restore_ms, replay_ms                first frame of a parked session's next turn; drawing its whole past again instead
  sessions, sessions_mb                sessions that were opened, drawn for and left open; what the server's processes
                                       then hold in memory, and (``sessions_mb_before``) what they held before
  session_open_ms, session_back_ms     medians: opening one and its first frame; the next frame of one of them, any one
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from live import add_server_options, describe_machine, server_arguments, states_of
from tqdm import tqdm

import cutscene_client as cc
from cutscene_client import scene, shipped
from cutscene_client.expand import Expansion
from cutscene_client.frames import TIERS
from cutscene_proto.v1 import cutscene_pb2 as pb

CLIENTS = 2
TURN_FRAMES = 24
START_S = 120.0
SETTLED_S = 0.15  # after a kill, frames that were under way may still come


class Server:
    """A server that can be killed and started again where it was."""

    def __init__(self, directory: Path, arguments: list[str]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.data = directory / "data"
        self._port_file = directory / "address"
        self._command = [
            sys.executable, "-m", "cutscene_server", "--listen", self.address, "--port-file", str(self._port_file),
            "--data", str(self.data), *arguments,
        ]  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Returns once it is healthy."""
        self._port_file.unlink(missing_ok=True)
        self.process = await asyncio.to_thread(subprocess.Popen, self._command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_S
        while not await asyncio.to_thread(self._port_file.exists):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the server did not start")
            await asyncio.sleep(0.02)

    async def kill(self) -> None:
        """``kill -9`` of the front end; the inference process follows it."""
        assert self.process is not None
        self.process.kill()
        await asyncio.to_thread(self.process.wait)

    def kill_inference(self) -> bool:
        """``kill -9`` of the inference process. False if there was none just then."""
        assert self.process is not None
        killed = False
        for thread in Path(f"/proc/{self.process.pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                with contextlib.suppress(OSError):
                    if "multiprocessing.spawn" in Path(f"/proc/{child}/cmdline").read_text():
                        os.kill(int(child), signal.SIGKILL)
                        killed = True
        return killed

    def memory_kb(self) -> int:
        """Resident memory of the server and its inference process."""
        assert self.process is not None
        total = 0
        processes = [str(self.process.pid)]
        for thread in Path(f"/proc/{self.process.pid}/task").iterdir():
            processes += (thread / "children").read_text().split()
        for process in processes:
            with contextlib.suppress(OSError):
                lines = Path(f"/proc/{process}/status").read_text().splitlines()
                total += sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
        return total


class Player:
    """A client that plays turns until it is told to stop, and notes what it gets and when."""

    def __init__(self, server: Server, expansion: Expansion, options: argparse.Namespace, seed: int) -> None:
        self._server, self._expansion, self._options, self.seed = server, expansion, options, seed
        self.digests: list[bytes] = []
        self.arrivals: list[float] = []
        self.stop = False
        self._arrived = asyncio.Event()

    def turns(self, frames: int) -> list[pb.Turn]:
        states = states_of(self._expansion, frames)
        starts = range(0, frames, TURN_FRAMES)
        return [scene.lockstep_turn(states[start : start + TURN_FRAMES]) for start in starts]

    async def play(self, turns: list[pb.Turn]) -> None:
        request = pb.Open()
        request.CopyFrom(self._expansion.open_request)
        request.seed, request.tier = self.seed, TIERS[self._options.tier]
        connection = cc.connect(self._server.address)
        async with connection as client, await client.open_request(request, patience=START_S) as session:
            for turn in turns:
                async for frame in session.perform(turn):
                    self.digests.append(frame.digest)
                    self.arrivals.append(time.monotonic())
                    self._arrived.set()
                if self.stop:
                    return

    async def next_frame(self, after: float) -> float:
        """When the first frame after that moment came."""
        while not self.arrivals or self.arrivals[-1] <= after:
            self._arrived.clear()
            await self._arrived.wait()
        return next(arrival for arrival in self.arrivals if arrival > after)


async def crashes(server: Server, expansion: Expansion, options: argparse.Namespace) -> dict[str, object]:
    """Kills, and what the clients made of it."""
    randomness = random.Random(options.seed)
    players = [Player(server, expansion, options, seed) for seed in range(CLIENTS)]
    turns = players[0].turns(TURN_FRAMES * 4000)
    playing = [asyncio.create_task(player.play(turns)) for player in players]
    survived = 0
    resumed_ms: list[float] = []
    for number in tqdm(range(options.crashes), desc="killing", unit="crash"):
        for player in players:
            await player.next_frame(time.monotonic())
        await asyncio.sleep(randomness.random())
        killed = time.monotonic()
        if number % 2 or not server.kill_inference():
            await server.kill()
            await server.start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_S):
                nexts = [await player.next_frame(killed + SETTLED_S) for player in players]
                resumed_ms += [1000 * (moment - killed) for moment in nexts]
                survived += 1
        await asyncio.sleep(options.between)
    for player in players:
        player.stop = True
    await asyncio.gather(*playing)
    lost = mismatches = 0
    for player in tqdm(players, desc="comparing with undisturbed runs", unit="session"):
        undisturbed = Player(server, expansion, options, player.seed)
        await undisturbed.play(turns[: len(player.digests) // TURN_FRAMES])
        lost += abs(len(undisturbed.digests) - len(player.digests))
        mismatches += sum(a != b for a, b in zip(undisturbed.digests, player.digests, strict=False))
    return {
        "crashes_injected": options.crashes,
        "crashes_survived": survived,
        "frames_played": sum(len(player.digests) for player in players),
        "frames_lost": lost,
        "digest_mismatches": mismatches,
        "resume_ms_p50": round(statistics.median(resumed_ms)),
        "resume_ms_p99": round(statistics.quantiles(resumed_ms, n=100, method="inclusive")[98]),
    }


async def storage(server: Server, expansion: Expansion, options: argparse.Namespace) -> dict[str, object]:
    """What a frame and a fork cost, and what coming back from disk saves."""
    request = pb.Open()
    request.CopyFrom(expansion.open_request)
    request.tier = TIERS[options.tier]
    states = states_of(expansion, options.frames + TURN_FRAMES)
    async with cc.connect(server.address) as client:
        session = await client.open_request(request)
        before = disk_bytes(server.data)
        started = time.perf_counter()
        async for _ in session.perform(scene.lockstep_turn(states[: options.frames])):
            pass
        replay_ms = 1000 * (time.perf_counter() - started)
        per_frame = (disk_bytes(server.data) - before) / options.frames
        before_disk, before_memory = disk_bytes(server.data), server.memory_kb()
        for _ in tqdm(range(options.forks), desc="forking", unit="fork"):
            await client.fork(session.id, session.token, options.frames)
        fork_bytes = (disk_bytes(server.data) - before_disk) / options.forks
        fork_kb = (server.memory_kb() - before_memory) / options.forks
        session.detach()
        restores = []
        for number in range(5):
            fork_id, token = await client.fork(session.id, session.token, options.frames)
            started = time.perf_counter()
            fork = await client.resume(fork_id, token, options.frames)
            frames = fork.perform(scene.lockstep_turn(states[-TURN_FRAMES + number :][:2]))
            await anext(frames)
            restores.append(1000 * (time.perf_counter() - started))
            fork.detach()
    return {
        "bytes_per_frame": round(per_frame),
        "forks": options.forks,
        "fork_bytes": round(fork_bytes),
        "fork_rss_kb": round(fork_kb, 2),
        "restored_frames": options.frames,
        "restore_ms": round(statistics.median(restores), 1),
        "replay_ms": round(replay_ms, 1),
    }


async def crowd(server: Server, expansion: Expansion, options: argparse.Namespace) -> dict[str, object]:
    """Many sessions at once, all open: nearly all of them wait on disk."""
    request = pb.Open()
    request.CopyFrom(expansion.open_request)
    request.tier = TIERS[options.tier]
    states = states_of(expansion, TURN_FRAMES)
    kept: list[tuple[str, str]] = []
    opened, came_back = [], []
    async with cc.connect(server.address) as client:
        before_mb = server.memory_kb() / 1024
        for number in tqdm(range(options.sessions), desc="opening", unit="session"):
            request.seed = number
            started = time.perf_counter()
            session = await client.open_request(request)
            await anext(session.perform(scene.lockstep_turn([states[number % len(states)]])))
            opened.append(1000 * (time.perf_counter() - started))
            session.detach()
            kept.append((session.id, session.token))
        after_mb = server.memory_kb() / 1024
        found = sum(info.status != "closed" for info in await client.sessions())
        if found != options.sessions:
            raise SystemExit(f"{options.sessions} sessions were opened, {found} are there")
        for number in random.Random(options.seed).sample(range(len(kept)), min(40, len(kept))):
            started = time.perf_counter()
            session = await client.resume(*kept[number], 1)
            await anext(session.perform(scene.lockstep_turn([states[(number + 1) % len(states)]])))
            came_back.append(1000 * (time.perf_counter() - started))
            session.detach()
    return {
        "sessions": options.sessions,
        "sessions_mb": round(after_mb),
        "sessions_mb_before": round(before_mb),
        "session_open_ms": round(statistics.median(opened), 1),
        "session_back_ms": round(statistics.median(came_back), 1),
    }


def disk_bytes(directory: Path) -> int:
    """What a directory's files hold."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


async def measure(options: argparse.Namespace) -> dict[str, object]:
    """All parts, each on a data directory of its own."""
    expansion = shipped.load_expansion(options.script)
    figures: dict[str, object] = {}
    for part in (crashes, storage, crowd):
        with tempfile.TemporaryDirectory(prefix="cutscene-") as folder:
            server = Server(Path(folder), server_arguments(options))
            await server.start()
            try:
                figures |= await part(server, expansion, options)
            finally:
                await server.kill()
    return {**figures, "tier": options.tier, "engine": options.engine}


def main() -> int:
    """Parses the command line, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crashes", type=int, default=24, help="default: %(default)s")
    parser.add_argument("--between", type=float, default=3.0, help="seconds of play after each (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=240, help="of the session that is forked (default: %(default)s)")
    parser.add_argument("--forks", type=int, default=1000, help="default: %(default)s")
    parser.add_argument("--sessions", type=int, default=2000, help="opened and left open (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments (default: %(default)s)")
    parser.add_argument("--script", default="tavern_dialogue", help="whose states (default: %(default)s)")
    parser.add_argument("--tier", default="draft", choices=list(TIERS))
    add_server_options(parser)
    options = parser.parse_args()
    print(describe_machine())
    figures = asyncio.run(measure(options))
    for name, value in figures.items():
        print(f"  {name:20} {value}")
    if options.json:
        print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
