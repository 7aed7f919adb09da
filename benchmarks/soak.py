"""Does anything leak? Churn against one real server for as long as one likes, and a look at what its processes hold.

    python benchmarks/soak.py --minutes 20 --json

Clients of every kind come and go, from a seed: they perform at all tiers and pacings, drop and resume, read slowly,
stop reading, say what may not be said, rewind, fork, replay, watch, hand in render jobs, move sessions, vanish. In the
warm-up the inference process is killed once. After the warm-up, and again at the end, every session is closed and time
is given for tidying: what is held then is compared. What is stored is kept for seconds (--keep), so that sweeping goes
on all the while. soak_growth.py says how growth is judged, and how small a leak is found.

  rss_rest_mb_per_hour      what front end and inference process hold at rest, after it less before it, by the time in
                            between; tolerated: --tolerance-front, --tolerance-inference. The pool of blocks, which
                            fills up to its budget and stays there, is left out here and in the next two
                            (it takes a third more than its own bytes: have it full by the warm-up's end, or that shows)
  rss_floor_mb_per_hour     slope of the least of each two minutes under churn, and its standard error; tolerated is as
                            much, exceeded by two errors
  rss_growth_mb_per_hour    slope of all samples, and its standard error: told, not judged, as memory swings under churn
  rss_settled_mb            what each holds at rest at the end, less what it held at rest after the warm-up; of that,
                            pool_settled_mb is the pool of blocks
  leaked_sessions           in memory at rest, more than after the warm-up
  leaked_stored             on disk, leaked_jobs among the render jobs: all are to be deleted by then
  leaked_blocks             frame blocks that some session still reads, likewise (the pool itself keeps to its budget)
  leaked_segments           blocks of shared memory, likewise, and those that are there after the server has stopped
  leaked_handles            open files and sockets of both processes; leaked_threads; leaked_children
  leaked_films_mb           in the directory of films
  unexpected_errors         answers that were none a client should get, and errors in the server's log
  churn                     how often each kind of thing was done

The exit code is 1 if anything leaked, grew beyond what is tolerated, or went wrong.
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
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DOUBLES = Path(__file__).resolve().parents[1] / "tests" / "doubles"
sys.path.insert(0, str(DOUBLES))  # the bare client, and the synthetic engine with its messages

from live import add_server_options, describe_machine, server_arguments, states_of  # noqa: E402
from proc_files import children_of, is_inference, text_of  # noqa: E402
from soak_churn import Churn, Play  # noqa: E402
from soak_clients import BEHAVING, LEAVING  # noqa: E402
from soak_growth import after_ramp, fitted, verdict  # noqa: E402
from soak_offenders import OFFENDING, SLOW  # noqa: E402
from soak_plot import plot  # noqa: E402
from soak_samples import KINDS, Row, Sampler  # noqa: E402
from tqdm import tqdm  # noqa: E402

import cutscene_client as cc  # noqa: E402
import messages  # noqa: E402
from cutscene_client import shipped  # noqa: E402

START_S = 180.0
WRITE_TIMEOUT_S = 4.0
KEEP_S = {"idle_timeout": 8, "closed_linger": 2, "sweep_period": 3}
SETTLE_S = 240.0  # the longest that may pass until everything is gone
LOOKS, LOOK_S = 6, 3.0  # at rest: a server gives back freed memory every ten seconds
THREADS_SPARE = (os.cpu_count() or 1) + 4  # a pool of asyncio's has at most so many, and makes them as they are needed
HANDLES_SPARE = 2  # that may be open just then: a scrape of the metrics, a connection that is being closed
EXPECTED_LOG = ("inference process 0 has ended",)  # of the kill in the warm-up

PANELS = (
    ("resident memory, MB: front end", ("front_rss_mb", "front_pss_mb")),
    ("resident memory, MB: inference process", ("inference_rss_mb", "inference_pss_mb")),
    ("open handles", ("front_handles", "inference_handles")),
    ("threads", ("front_threads", "inference_threads")),
    ("child processes, shared memory", ("children", "segments")),
    ("sessions in memory, with a client, that want a frame", ("sessions", "attached", "queued")),
    ("frame blocks in the pool, and read by sessions", ("blocks", "used_blocks")),
    ("stored, MB", ("disk_mb",)),
)


class Server:
    """The server under test, in a process of its own."""

    def __init__(self, directory: Path, options: argparse.Namespace) -> None:
        self.films = directory / "films"
        self.log_file = directory / "log"
        self.metrics_address = f"127.0.0.1:{_free_port()}"
        port_file = directory / "address"
        command = [
            sys.executable, "-m", "cutscene_server", "--listen", "127.0.0.1:0", "--port-file", str(port_file),
            "--data", str(directory / "data"), "--render-output", str(self.films), "--log-json",
            "--metrics-listen", self.metrics_address, "--max-sessions", str(3 * options.clients),
            "--write-timeout", str(WRITE_TIMEOUT_S), "--hold-place", "5", *server_arguments(options),
        ]  # fmt: skip
        keeping = {"keep_open": options.keep, "keep_closed": options.keep / 2}
        for name, seconds in {**KEEP_S, **keeping}.items():
            command += [f"--{name.replace('_', '-')}", str(seconds)]
        path = os.pathsep.join([str(DOUBLES), *filter(None, [os.environ.get("PYTHONPATH")])])
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": path})
        deadline = time.monotonic() + START_S
        while not port_file.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the server did not start:\n{self.log_file.read_text()[-2000:]}")
            time.sleep(0.05)
        self.address = port_file.read_text().strip()

    def kill_inference(self) -> None:
        """``kill -9`` of the inference process; another one takes its place."""
        for child in children_of(self.process.pid):
            if is_inference(child):
                with contextlib.suppress(OSError):  # it has just ended
                    os.kill(child, signal.SIGKILL)

    def stop(self) -> int:
        """Stops it in order. Returns how many of its processes are left."""
        children = children_of(self.process.pid)
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        time.sleep(1.0)
        return sum(" Z " not in text_of(child, "stat") and Path(f"/proc/{child}").exists() for child in children)

    def films_mb(self) -> float:
        """What the directory of films holds."""
        return sum(path.stat().st_size for path in self.films.rglob("*") if path.is_file()) / 2**20

    def log_errors(self) -> list[str]:
        """Lines of the log that should not be there."""
        found = []
        for line in self.log_file.read_text(errors="replace").splitlines():
            try:
                said = json.loads(line)
                wrong = said["level"] in ("ERROR", "CRITICAL") or "exception" in said
                text = f"{said['message']} {said.get('exception', '')[-1500:]}"
            except (ValueError, TypeError, KeyError):
                wrong, text = "Traceback" in line or "Error" in line, line
            if wrong and not any(expected in text for expected in EXPECTED_LOG):
                found.append(text)
        return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def play_of(options: argparse.Namespace) -> Play:
    """What clients perform: a shipped script with the model, the smallest messages with the synthetic engine."""
    if options.synthetic:
        states = [messages.scene_state(x=0.05 * number) for number in range(64)]
        return Play(messages.open_message(), states, ("draft", "standard"), fps=12.0)
    expansion = shipped.load_expansion(options.script)
    states = states_of(expansion, 240)
    return Play(expansion.open_request, states, ("draft", "draft", "draft", "standard", "high"), fps=4.0)


async def churning(churn: Churn, sampler: Sampler, options: argparse.Namespace, seconds: float, what: str) -> None:
    """Clients at work for so long; each that is at something then ends it."""
    ends_at = time.monotonic() + seconds

    async def client(number: int) -> None:
        chance = random.Random(f"{options.seed} {what} {number}")
        while time.monotonic() < ends_at:
            await churn.one(chance)

    async def look() -> None:
        with tqdm(total=round(seconds), desc=what, unit="s", mininterval=2.0) as bar:
            while True:
                row = await asyncio.to_thread(sampler.sample)
                bar.n = min(round(seconds), round(seconds - ends_at + time.monotonic()))
                bar.set_postfix_str(
                    f"front {row['front_rss_mb']:.0f} MB, inference {row['inference_rss_mb']:.0f} MB, "
                    f"{row['sessions']:.0f} sessions, {row['frames']:.0f} frames, {churn.problem_count} problems"
                )
                await asyncio.sleep(options.every)

    looking = asyncio.create_task(look())
    try:
        await asyncio.gather(*[client(number) for number in range(options.clients)])
    finally:
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking


async def at_rest(server: Server, churn: Churn, sampler: Sampler) -> Row:
    """Ends everything, waits until it is gone, and looks. What does not go is what leaks."""
    deadline = time.monotonic() + SETTLE_S
    async with cc.connect(server.address, timeout=30.0) as client:
        while time.monotonic() < deadline:
            await churn.end_all()
            stored, jobs = len(await client.sessions()), len(await client.renders())
            stats = await client.stats()
            if not (stored or jobs or stats.sessions_in_memory):
                break
            await asyncio.sleep(0.5)
        # The cache's figures are told while frames are drawn: the same short performance before each look.
        async with await client.open_request(churn.play.open) as session:
            for number in range(3):
                _ = [frame async for frame in session.perform(churn.play.turn(random.Random(number), 2))]
                await asyncio.sleep(1.1)
        while time.monotonic() < deadline and (await client.stats()).sessions_in_memory:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.2)
        stored, jobs = len(await client.sessions()), len(await client.renders())
        in_memory = (await client.stats()).sessions_in_memory  # the metric is some seconds old
    row = await asyncio.to_thread(sampler.settled, LOOKS, LOOK_S)
    # The probe itself may be stored still.
    return {**row, "sessions": in_memory, "stored": max(0, stored - 1), "jobs": jobs, "films_mb": server.films_mb()}


async def measure(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """The whole soak: see the module's docstring."""
    server = await asyncio.to_thread(Server, folder, options)
    sampler = Sampler(server.process.pid, server.metrics_address)
    try:
        kinds = {**BEHAVING, **LEAVING, **SLOW, **OFFENDING}
        churn = Churn(server.address, play_of(options), options.turn, WRITE_TIMEOUT_S, kinds)
        warm_s, whole_s = 60 * options.warm_up, 60 * options.minutes
        await churning(churn, sampler, options, warm_s / 2, "warm-up")
        if not options.no_kill:
            server.kill_inference()
        await churning(churn, sampler, options, warm_s / 2, "warm-up, after a kill")
        before = await at_rest(server, churn, sampler)
        started = len(sampler.rows)
        await churning(churn, sampler, options, whole_s, "soak")
        rows = sampler.rows[started:]
        after = await at_rest(server, churn, sampler)
    except BaseException:
        print("\n".join(["the server's log has:", *server.log_errors()[-10:]]), file=sys.stderr)
        raise
    finally:
        left = await asyncio.to_thread(server.stop)
    if options.plot:
        spans = [("warm-up", 0.0, before["at"]), ("soak", before["at"], rows[-1]["at"]),
                 ("all closed", rows[-1]["at"], sampler.rows[-1]["at"])]  # fmt: skip
        plot(sampler.rows, PANELS, spans, options.plot)
    if options.keep_log:
        options.keep_log.write_bytes(server.log_file.read_bytes())

    def more(series: str) -> float:
        return max(0.0, after[series] - before[series])

    verdicts = {kind: verdict(before, rows, after, series) for kind, series in KINDS.items()}
    handles = more("front_handles") + more("inference_handles")
    errors = server.log_errors()
    print_table(before, rows, after)
    for text in [*churn.problems, *errors][:40]:
        print(f"  unexpected: {text}")
    return {
        "minutes": options.minutes,
        "seed": options.seed,
        "engine": "synthetic" if options.synthetic else "model",
        "clients": options.clients,
        "frames": round(after["frames"] - before["frames"]),
        "rss_rest_mb_per_hour": {kind: round(found.rest_per_hour, 1) for kind, found in verdicts.items()},
        "rss_floor_mb_per_hour": {kind: found.floor.rounded for kind, found in verdicts.items()},
        "rss_growth_mb_per_hour": {kind: found.raw.rounded for kind, found in verdicts.items()},
        "growing": [kind for kind, found in verdicts.items() if found.leaks(tolerance_of(options, kind))],
        "rss_settled_mb": {kind: round(after[f"{kind}_rss_mb"] - before[f"{kind}_rss_mb"], 1) for kind in KINDS},
        "pool_settled_mb": round(after["blocks_mb"] - before["blocks_mb"], 1),
        "leaked_sessions": round(more("sessions")),
        "leaked_stored": round(after["stored"]),
        "leaked_jobs": round(after["jobs"]),
        "leaked_blocks": round(more("used_blocks")),
        "leaked_segments": round(more("segments")) + sampler.segments_left(),
        "leaked_handles": round(max(0.0, handles - HANDLES_SPARE)),
        "leaked_threads": round(max(0.0, more("front_threads") + more("inference_threads") - THREADS_SPARE)),
        "leaked_children": round(more("children")) + left,
        "leaked_films_mb": round(after["films_mb"], 2),
        "unexpected_errors": churn.problem_count + len(errors),
        "churn": dict(sorted(churn.counts.items())),
    }


def print_table(before: Row, rows: list[Row], after: Row) -> None:
    """Each series at rest before, under churn, and at rest after."""
    print(f"{'':20}{'at rest':>10}{'churn: least':>14}{'median':>10}{'most':>10}{'at rest after':>15}{'an hour':>18}")
    for series in rows[0]:
        if series == "at":
            continue
        values = sorted(row[series] for row in rows)
        middle = values[len(values) // 2]
        print(
            f"  {series:18}{before[series]:10.1f}{values[0]:14.1f}{middle:10.1f}{values[-1]:10.1f}"
            f"{after[series]:15.1f}{fitted(after_ramp(rows, series))!s:>18}"
        )


def tolerance_of(options: argparse.Namespace, kind: str) -> float:
    """MB an hour."""
    tolerance: float = getattr(options, f"tolerance_{kind}")
    return tolerance


def judged(figures: dict[str, object], options: argparse.Namespace) -> list[str]:
    """What is not as it should be."""
    wrong = [f"{name} {value}" for name, value in figures.items() if name.startswith("leaked_") and value]
    if figures["unexpected_errors"]:
        wrong.append(f"unexpected_errors {figures['unexpected_errors']}")
    growing = figures["growing"]
    assert isinstance(growing, list)
    for kind in growing:
        rest, floor = figures["rss_rest_mb_per_hour"], figures["rss_floor_mb_per_hour"]
        assert isinstance(rest, dict)
        assert isinstance(floor, dict)
        wrong.append(
            f"the {kind} process grows by {rest[kind]} MB an hour at rest, by {floor[kind][0]} with an error of "
            f"{floor[kind][1]} under churn; tolerated are {tolerance_of(options, kind):g}"
        )
    return wrong


def main() -> int:
    """Parses the command line, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0, help="of churn that count (default: %(default)s)")
    # With the model the pool of blocks takes some ten minutes to fill, and memory grows until it is full.
    parser.add_argument("--warm-up", type=float, default=10.0, help="minutes before those (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=6, help="at once (default: %(default)s)")
    parser.add_argument("--turn", type=int, default=6, help="frames of a turn, at most (default: %(default)s)")
    parser.add_argument("--every", type=float, default=4.0, help="seconds between samples (default: %(default)s)")
    parser.add_argument(
        "--keep", type=float, default=40.0, help="seconds that open sessions are stored (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--synthetic", action="store_true", help="a small engine that computes next to nothing")
    parser.add_argument("--no-kill", action="store_true", help="leave the inference process alone in the warm-up")
    parser.add_argument("--script", default="tavern_dialogue", help="whose states (default: %(default)s)")
    # A leak of this size takes days to matter; below it lies what allocators do with the same load for twenty minutes.
    parser.add_argument("--tolerance-front", type=float, default=25.0, help="MB an hour (default: %(default)s)")
    parser.add_argument("--tolerance-inference", type=float, default=90.0, help="MB an hour (default: %(default)s)")
    parser.add_argument("--plot", type=Path, help="write the curves here, as PNG")
    parser.add_argument("--keep-log", type=Path, help="write the server's log here")
    add_server_options(parser)
    options = parser.parse_args()
    if options.synthetic:
        options.engine = "synthetic_engine:load"
    print(describe_machine())
    played = "the synthetic engine" if options.synthetic else options.script
    print(
        f"{options.clients} clients, seed {options.seed}, {played}; {options.warm_up:g} + {options.minutes:g} minutes"
    )
    with tempfile.TemporaryDirectory(prefix="cutscene-") as folder:
        figures = asyncio.run(measure(options, Path(folder)))
    for name, value in figures.items():
        print(f"  {name:24} {value}")
    wrong = judged(figures, options)
    print("\n".join(f"NOT AS IT SHOULD BE: {text}" for text in wrong) or "nothing leaked")
    if options.json:
        print(json.dumps(figures))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
