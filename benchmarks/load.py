"""The scheduler and the service against load: a real server process, and clients in this one.

    python benchmarks/load.py --json
    python benchmarks/load.py --only model --counts 1 4

**Model.** Sessions of the shipped weights. One session's rate with nothing to hold it back is measured first, and four
sessions' together, turn and turn about. Then 1 to 16 sessions with pacing "lockstep", each at an equal part of
``--share`` of that rate; then sessions of one rate, opened one after another until one is refused, and ``--past`` more.

  miss_rate      of frames with a deadline those that were ready too late, in the worse of the two ramps (lockstep and
                 live), over the sessions' whole lives, past the limit included
  jitter_one     p99 over p50 of the inter-frame time with one session at ``--share`` of its rate
  jitter_limit   the same of all sessions of the lockstep ramp together, once no more are taken
  limit          sessions that were taken before the first refusal; refusals: how many attempts were refused
  four_over_one  frames a second of four sessions together over those of one, both without pacing; median of the rounds
  rows, ramps    what each measurement saw, tiers among it

*Inter-frame time* is the time between two frames' arrivals at the client: in a process of its own, on a uvloop loop,
stamped when the whole message has been read and before any picture is decoded. The sessions are paced, play without a
pause, and their phases are drawn at random (always alike), as unrelated clients' are. The first ``--warm-up`` seconds
do not count; a time between frames does if both lie in the window. The client holds nothing back; the server does so
for a moment, in lockstep (``scheduling.Evenness``). A client that holds frames back for as long as the server has
promised (``1 / fps + opened.latency_us``) sees ``jitter_after_buffer``, which is above 1 only if a frame came later.

**Clockwork** (``clockwork``, the same figures). The same with a model that takes ``--draw-ms`` for each frame (of the
standard tier; three quarters of it at draft), asleep, as on a device of its own: how well promises are kept if costs
are what they were, whatever else this machine does.

**Service** (``synthetic``). The model's place is taken by pictures that are ready: frames that the model drew just
before. All else is as it is always: states are checked and unpacked, frames go through the inference process, the
ring, the digest, the JPEG codec and the journal (latents of the shipped model's size; each frame is durable before it
is sent).

  streams      the largest of ``--streams`` (searched by halves, so in some five measurements) whose p99_ms is under 50,
               at ``--stream-fps`` each (lockstep), beside ``idle`` open sessions that draw nothing
  p99_ms       of delivery: from a frame's time (its turn's being sent + k / fps, so that the turn's way to the server
               counts as well) to its arrival; a frame that did not come counts as infinitely late
  echo_ratio   messages a second of ``--echo-streams`` streams that take what they get, over those of a bare grpc.aio
               echo of one such message in as many streams; medians of rounds, turn and turn about
  echo_ratio_encoded  the same over an echo that, instead of giving a message back, digests and JPEG-encodes one of the
                 pictures for it, in two threads: the same arithmetic and the same bytes, with no sessions, no states to
                 read, no inference process, nothing on disk and nothing acknowledged
  encoder_ms   digest and JPEG of one picture, of one core: what the service cannot do without
  cpu_us         processor time of a frame in the service's processes (``frame``), of which digest and JPEG alone and a
                 message of the bare echo's host are taken off: ``rest`` is what sessions, storage, the inference
                 process and the ways between them take. Clients are not in it
  cores        processor time over a measurement, by who took it; cpu_ms_a_frame: all of it for one frame, clients'
               included, so that the cores there are over this is what no tuning of waits can exceed

The clients are on the same machine and take their part of it. Needs the client and server extras.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Mapping

from live import add_server_options, describe_machine, server_arguments
from load_model import measure_model, pictures
from load_service import measure_service, ready_server

from cutscene_client.frames import DIGESTS, TIERS
from cutscene_client.local_server import local_server
from cutscene_server.__main__ import loop_factory


async def measure(options: argparse.Namespace) -> dict[str, object]:
    """Runs what was asked for and returns the figures."""
    figures: dict[str, object] = {}
    most = max([options.most_sessions, *options.counts]) + 4  # some that have just ended are still there
    with local_server([*server_arguments(options), "--max-sessions", str(most)]) as address:
        ready = await pictures(address, options)
        print(f"pictures of {ready.shape[2]}x{ready.shape[1]}, {options.tier} tier down to {options.lowest_tier}")
        if options.only in (None, "model"):
            figures |= await measure_model(address, options)
    if options.only in (None, "clockwork"):
        draw_ms = {"draft": 0.75 * options.draw_ms, "standard": options.draw_ms, "high": 1.5 * options.draw_ms}
        print(f"clockwork, {options.draw_ms:g} ms a frame")
        with ready_server(ready, most, draw_ms) as address:
            figures["clockwork"] = await measure_model(address, options)
    if options.only in (None, "service"):
        print("service")
        figures["synthetic"] = await measure_service(options, ready)
    return figures


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--only", choices=["model", "clockwork", "service"], help="one part (default: all)")
    found.add_argument("--rounds", type=int, default=3, help="of what is compared in turns (default: %(default)s)")
    found.add_argument("--warm-up", type=float, default=3.0, help="seconds left out (default: %(default)s)")
    found.add_argument("--script", default="tavern_dialogue", help="whose states (default: %(default)s)")
    model = found.add_argument_group("model")
    model.add_argument("--counts", type=int, nargs="+", default=[1, 2, 4, 8, 16], help="sessions side by side")
    model.add_argument("--share", type=float, default=0.7, help="of one session's free rate (default: %(default)s)")
    model.add_argument("--seconds", type=float, default=30.0, help="of each measurement (default: %(default)s)")
    model.add_argument("--free-seconds", type=float, default=8.0, help="of each free rate (default: %(default)s)")
    model.add_argument("--ramp-fps", type=float, help="of each session of the ramps (default: an eighth of the rate)")
    model.add_argument("--ramp-step", type=float, default=2.0, help="seconds between two (default: %(default)s)")
    model.add_argument("--past", type=int, default=4, help="attempts after the first refusal (default: %(default)s)")
    model.add_argument("--most-sessions", type=int, default=32, help="attempts in all (default: %(default)s)")
    model.add_argument("--draw-ms", type=float, default=40.0, help="of the clockwork (default: %(default)s)")
    model.add_argument("--tier", default="standard", choices=list(TIERS))
    model.add_argument("--lowest-tier", default="draft", choices=list(TIERS))
    model.add_argument("--pictures", type=int, default=24, help="drawn for the service's part (default: %(default)s)")
    service = found.add_argument_group("service")
    service.add_argument(
        "--streams", type=int, nargs="+", default=[25, 50, 75, 100, 125, 150, 175, 200, 250, 300, 350, 400, 450, 500],
        help="counts that are tried (default: 25 to 500)",
    )  # fmt: skip
    service.add_argument("--stream-fps", type=float, default=5.0, help="of each stream (default: %(default)s)")
    service.add_argument("--stream-seconds", type=float, default=15.0, help="of each count (default: %(default)s)")
    service.add_argument(
        "--digest", default="blake3", choices=list(DIGESTS), help="that frames carry (default: %(default)s)"
    )
    service.add_argument("--idle", type=int, default=2000, help="sessions held beside (default: %(default)s)")
    service.add_argument("--echo-streams", type=int, default=32, help="(default: %(default)s)")
    service.add_argument("--echo-seconds", type=float, default=5.0, help="of each round (default: %(default)s)")
    add_server_options(found)
    return found


def main() -> int:
    """Parses the command line, measures, prints."""
    options = parser().parse_args()
    print(describe_machine())
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        figures = runner.run(measure(options))
    for name in ("model", "clockwork"):
        found = figures if name == "model" else figures.get(name, {})
        if isinstance(found, dict) and "miss_rate" in found:
            print(promised(name, found))
    if isinstance(found := figures.get("synthetic"), dict):
        print(f"service: {found['streams']} streams at {found['stream_fps']:g} frames/s with p99 {found['p99_ms']} ms "
              f"(wanted: 500 under 50) beside {found['idle']} idle sessions (wanted: 2000); "
              f"{found['frames_per_s']} frames/s at most, {found['echo_ratio']} of a bare echo's messages "
              f"(wanted: at least 0.7), {found['echo_ratio_encoded']} of those of one that encodes as well; a frame "
              f"takes {found['cpu_us']} us of processor time; the encoder alone would take "
              f"{found['encoder_cores_at_goal']} cores for all streams asked for, of {os.cpu_count()}")  # fmt: skip
    if options.json:
        print(json.dumps(figures))
    return 0


def promised(name: str, found: Mapping[str, object]) -> str:
    """What became of promised cadences, as a line."""
    return (
        f"{name}: {found['limit']} sessions taken, {found['refusals']} attempts refused, "
        f"{100 * float(str(found['miss_rate'])):.2f} % of deadlines missed (wanted: under 1); "
        f"jitter {found['jitter_one']} with one session (wanted: at most 1.3), {found['jitter_limit']} at the limit "
        f"(wanted: at most 1.6); four sessions draw {found['four_over_one']} times as much as one "
        f"(wanted: at least 1.2)"
    )


if __name__ == "__main__":
    sys.exit(main())
