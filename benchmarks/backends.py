"""Which way the model's networks run fastest on this CPU: torch's own, ONNX Runtime's, OpenVINO's; and how exactly.

    pip install -e '.[client,server,backends]'      # without the extra, torch's own ways alone
    python benchmarks/backends.py --json

One session's next frame (full window, a shipped script) is captured once. Then each way has a process of its own, for
some of these libraries slow each other down in one, and all are timed turn and turn about, with 1 thread (as the server
gives each stage of a frame) and with 2:

  denoiser             one pass over the frame's latent, with anchors and window
  levels               the surface's feature levels, which denoiser and decoder read
  decoder              the decoder's terms: all but its last step, which is a compiled kernel

  eager_float32        torch as it is; what all others are compared with
  eager_bfloat16       weights and activations in bfloat16; shipped for levels and decoder where the processor has it
  compile_*            torch.compile by inductor, weights frozen; needs a C++ compiler
  dynamic_int8         torch's dynamic quantisation of linear layers, and of the decoder's 1 x 1 convolutions
  onnxruntime_*        float32, and int8 calibrated on --calibration frames that are not the timed one
  openvino_*           float32, bfloat16, and int8 by NNCF, likewise calibrated

``ms`` are medians by the clock, ``cpu_ms`` of processor time, which says more on a machine with other work. The error
of denoiser and levels is relative to float32's output; the decoder's is the PSNR of its picture against float32's.

``frame`` is a whole frame as shipped: greybox, surface, denoiser, decoder, one stage after another. ``saved`` is what
it would save if all networks that a way can run were run that way; ``best_mix`` takes for each network the cheapest way
that stays near float32 (45 dB, 2 %). A way wins if it does and saves more than 15 % of a frame's processor time.

With more threads than free cores torch's wait for one another by spinning, up to forty times as long; a row of
``threads`` that shows it is marked ``crowded``, and nothing wins there.

Ways that cannot be run are named with the reason. Two to four minutes, most of it for compiling and quantising; beside
other work compiling may take more than --limit allows.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from backend_ways.figures import Saving, Times, best_mix, is_crowded, medians, psnr_db, relative_error, saving, winners
from backend_ways.known import NETWORKS, REFERENCE, WAYS, lacking
from backend_ways.networks import capture, write_frames
from backend_ways.processes import WayFailed, WayProcess, export
from live import describe_machine, states_of
from tqdm import tqdm

from cutscene_client import shipped as scripts
from cutscene_model.compiled import composed
from cutscene_model.loading import load_engine
from cutscene_model.precision import picture_dtype, set_picture_dtype
from cutscene_model.surface import Surface
from cutscene_server.wire.scene import names_of, read_stage, read_state
from cutscene_server.wire.violations import Violations

LEAST = 2  # rounds, however long they take
APART = 7  # states between two captured frames, so that they differ
EXPORT_S = 120.0  # for the networks to be written
FRAMES = 3  # whole frames a round


class Shipped:
    """The engine as it is shipped, which makes whole frames to compare with, and what its networks are given."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        engine = load_engine(options.model, threads=1, precision="float32")
        manifest = engine.manifest
        self.name, self.steps, self._tier = (
            f"{manifest.name} {manifest.version}",
            manifest.tiers[options.tier],
            options.tier,
        )
        expansion = scripts.load_expansion(options.script)
        violations = Violations()
        stage = read_stage(violations, expansion.open_request, manifest)
        names = names_of(stage, manifest)
        told = states_of(expansion, APART * (options.calibration + 1 + manifest.window))[::APART]
        states = [read_state(violations, "state", state, names) for state in told]
        violations.raise_if_any()
        frames, self._timeline, prepared = capture(engine, stage, states, options.tier, manifest.window)
        write_frames(folder, frames)
        self._surface: Surface = prepared.surface
        self._state = states[-1]
        dtype = picture_dtype("auto", torch.device("cpu"))
        self.precision = str(dtype).removeprefix("torch.")
        set_picture_dtype(engine.autoencoder, engine.denoiser, dtype)
        self.ways = dict.fromkeys(NETWORKS, f"eager_{self.precision}")
        self.counts = {"denoiser": self.steps, "levels": 1, "decoder": 1}

    def time(self, threads: int, frames: int = FRAMES) -> Times:
        """Milliseconds a whole frame, by the clock and of processor time."""
        torch.set_num_threads(threads)
        begun, cpu_begun = time.perf_counter(), time.process_time()
        for _ in range(frames):
            prepared = self._timeline.prepare(self._state, self._tier)
            self._timeline.decode(prepared, self._timeline.draw(prepared, self._tier).latent)
        wall, cpu = time.perf_counter() - begun, time.process_time() - cpu_begun
        return {"ms": 1000 * wall / frames, "cpu_ms": 1000 * cpu / frames}

    def picture(self, terms: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.uint8]:
        """The timed frame's pixels from a decoder's terms."""
        logits, detail = (torch.tensor(term).contiguous(memory_format=torch.channels_last) for term in terms)
        return composed((logits, detail), self._surface)


def begin(options: argparse.Namespace, folder: Path, running: ExitStack) -> tuple[list[WayProcess], dict[str, str]]:
    """The ways that come up, and why the others do not."""
    failed = {way: reason for way in options.ways if (reason := lacking(way))}
    for way, reason in failed.items():
        print(f"{way}: not run, {reason}")
    wanted = [way for way in options.ways if way not in failed]
    if any(WAYS[way].reads_onnx for way in wanted):
        print("writing the networks as ONNX", flush=True)
        try:
            export(folder, options.model, EXPORT_S)
        except WayFailed as error:
            failed |= {way: str(error) for way in wanted if WAYS[way].reads_onnx}
            print(f"no ONNX: {error}")
    wanted = sorted((way for way in wanted if way not in failed), key=lambda way: not WAYS[way].compiler)
    # As many at a time as there are cores, and those first that take longest.
    up: dict[str, WayProcess] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool, ExitStack() as interrupted:
        coming = {pool.submit(come_up, way, options, folder, interrupted): way for way in wanted}
        interrupted.callback(pool.shutdown, wait=False, cancel_futures=True)
        for number, done in enumerate(as_completed(coming), start=1):
            way = coming[done]
            try:
                up[way] = process = done.result()
            except WayFailed as error:
                failed[way] = str(error)
                print(f"[{number}/{len(wanted)}] {way} failed: {error}", flush=True)
                continue
            print(f"[{number}/{len(wanted)}] {way} ready after {process.seconds:.0f} s", flush=True)
        interrupted.pop_all()
    for process in up.values():
        running.push(process)
    return [up[way] for way in options.ways if way in up], failed


def come_up(way: str, options: argparse.Namespace, folder: Path, interrupted: ExitStack) -> WayProcess:
    """One way's process, once it is ready; ``interrupted`` ends it if that is not waited for. Raises ``WayFailed``."""
    process = WayProcess(way, folder, options.model, options.threads, options.limit)
    interrupted.push(process)
    return process.__enter__()


def rounds(
    options: argparse.Namespace, shipped: Shipped, processes: list[WayProcess]
) -> tuple[int, dict[int, Times], Any]:
    """Times everything turn and turn about: rounds, the frame by threads, passes by threads, way and network."""
    seen: dict[tuple[int, str, str], list[Times]] = defaultdict(list)
    shipped.time(1, 1)
    begun = time.monotonic()
    for number in tqdm(range(options.rounds), desc="rounds", unit="round"):
        if number >= LEAST and time.monotonic() - begun > options.seconds:
            break
        for threads in options.threads:
            jobs: list[tuple[tuple[int, str, str], Callable[[], Times]]] = [
                ((threads, "shipped", "frame"), lambda threads=threads: shipped.time(threads))  # type: ignore[misc]
            ]
            for process in processes:
                for network in process.networks:
                    given = (network, threads, options.passes)
                    key = threads, process.way, network
                    jobs.append((key, lambda process=process, given=given: process.time(*given)))  # type: ignore[misc]
            for key, job in jobs if number % 2 == 0 else reversed(jobs):
                seen[key].append(job())
    found: dict[int, Any] = {threads: defaultdict(dict) for threads in options.threads}
    frame: dict[int, Times] = {}
    for (threads, way, network), times in seen.items():
        if network == "frame":
            frame[threads] = medians(times)
        else:
            found[threads][way][network] = medians(times)
    return max(map(len, seen.values())), frame, found


def errors_of(shipped: Shipped, folder: Path, processes: list[WayProcess]) -> dict[str, dict[str, Times]]:
    """How far each way's outputs are from float32's."""

    def made(way: str, network: str) -> list[npt.NDArray[np.float32]]:
        with np.load(folder / f"made-{way}-{network}.npz", allow_pickle=False) as archive:
            return [archive[name] for name in archive.files]

    right = {network: made(REFERENCE, network) for network in NETWORKS}
    picture = shipped.picture(right["decoder"])
    found: dict[str, dict[str, Times]] = {}
    for process in processes:
        found[process.way] = {}
        for network in process.networks:
            output = made(process.way, network)
            error = {"relative_error": round(relative_error(output, right[network]), 6)}
            if network == "decoder":
                # Equal pictures have no finite PSNR; 99 dB is a thousandth of a level.
                error["psnr_db"] = round(min(psnr_db(shipped.picture(output), picture), 99.0), 2)
            found[process.way][network] = error
    return found


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Runs everything and returns the figures."""
    with tempfile.TemporaryDirectory(prefix="cutscene-backends-") as name, ExitStack() as running:
        folder = Path(name)
        shipped = Shipped(options, folder)
        print(f"{shipped.name}, {options.tier} tier, {shipped.steps} denoiser pass(es) a frame; "
              f"shipped: denoiser in float32, levels and decoder in {shipped.precision}; "
              f"up to {options.rounds} rounds of {options.passes} passes")  # fmt: skip
        processes, failed = begin(options, folder, running)
        if not any(process.way == REFERENCE for process in processes):
            raise SystemExit(f"{REFERENCE} did not come up: {failed[REFERENCE]}")
        done, frame, found = rounds(options, shipped, processes)
        errors = errors_of(shipped, folder, processes)
    figures: dict[str, Any] = {
        "model": shipped.name, "tier": options.tier, "precision": shipped.precision, "rounds": done,
        "passes": options.passes, "denoiser_passes": shipped.steps, "versions": versions(),
        "load": [round(x, 1) for x in os.getloadavg()], "not_run": failed, "errors": errors,
        "shipped_ways": shipped.ways, "threads": {},
    }  # fmt: skip
    base = {network: way if way in errors else REFERENCE for network, way in shipped.ways.items()}
    for threads in options.threads:
        mixes = {way: dict.fromkeys(errors[way], way) for way in errors}
        mixes["best_mix"] = best_mix(found[threads], errors, NETWORKS)
        cost = frame[threads]["cpu_ms"]
        crowded = is_crowded(frame[threads], frame[options.threads[0]])
        saved = {way: saving(mix, found[threads], errors, base, shipped.counts, cost) for way, mix in mixes.items()}
        figures["threads"][str(threads)] = {
            "frame": frame[threads], "ways": found[threads], "best_mix": mixes["best_mix"],
            "saved": {way: asdict(each) for way, each in saved.items()},
            "winners": [] if crowded else winners(saved), "crowded": crowded,
        }  # fmt: skip
        print_table(threads, frame[threads], found[threads], errors, saved, mixes["best_mix"], crowded)
    return figures


def versions() -> dict[str, str]:
    """Of what is measured, where it is installed."""
    found = {"python": platform.python_version()}
    for package in ("torch", "onnxruntime", "openvino", "nncf"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def print_table(
    threads: int, frame: Times, found: dict[str, dict[str, Times]], errors: dict[str, dict[str, Times]],
    saved: dict[str, Saving], mix: dict[str, str], crowded: bool,
) -> None:  # fmt: skip
    """One row a way."""
    print(
        f"\n{threads} thread(s): a frame as shipped takes {frame['ms']:.1f} ms, {frame['cpu_ms']:.1f} of processor time"
    )
    print(f"{'ms (of processor time)':22}" + "".join(f"{network:>16}" for network in NETWORKS)
          + f"{'latent off':>12}{'levels off':>12}{'picture':>10}{'saves of a frame':>18}")  # fmt: skip
    for way, networks in found.items():
        times = "".join(
            f"{networks[n]['ms']:7.2f} ({networks[n]['cpu_ms']:6.2f})" if n in networks else f"{'-':>16}"
            for n in NETWORKS
        )
        off = [f"{errors[way][n]['relative_error']:12.2%}" if n in networks else f"{'-':>12}" for n in NETWORKS[:2]]
        picture = f"{errors[way]['decoder']['psnr_db']:7.1f} dB" if "decoder" in networks else f"{'-':>10}"
        far = "" if saved[way].near else ", too far off"
        print(f"{way:22}{times}{''.join(off)}{picture}{saved[way].cpu_ms:9.1f} ms{saved[way].cpu_share:7.1%}{far}")
    best = saved["best_mix"]
    print(f"best of each near float32: {', '.join(f'{network} {way}' for network, way in mix.items())}; "
          f"saves {best.cpu_ms:.1f} ms, {best.cpu_share:.1%} of a frame's processor time")  # fmt: skip
    if crowded:
        print("CROWDED: the threads found no free cores and spun, so these times say nothing of a quiet machine")
        return
    won = winners(saved)
    print(
        f"worth a change (over 15 %): {', '.join(won)}"
        if won
        else "none saves more than 15 % of a frame: stay as shipped"
    )


def _names(text: str) -> list[str]:
    found = [part for part in text.split(",") if part]
    if unknown := sorted(set(found) - set(WAYS)):
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: known are {', '.join(WAYS)}")
    return list(dict.fromkeys([REFERENCE, *found]))  # what all others are compared with


def _threads(text: str) -> list[int]:
    found = sorted({int(part) for part in text.split(",")})
    if not all(1 <= count <= 64 for count in found):
        raise argparse.ArgumentTypeError("threads are from 1 to 64")
    return found


def _whole(most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        number = int(text)
        if not 1 <= number <= most:
            raise argparse.ArgumentTypeError(f"{number} is not 1 to {most}")
        return number

    return read


def main() -> int:
    """Parses the command line, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ways", type=_names, default=list(WAYS), help="comma-separated (default: all)")
    parser.add_argument("--threads", type=_threads, default=[1, 2], help="comma-separated (default: 1,2)")
    parser.add_argument("--rounds", type=_whole(1000), default=9, help="of all ways (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=_whole(86400), default=75, help="after which no further round begins (default: %(default)s)"
    )
    parser.add_argument("--passes", type=_whole(1000), default=4, help="a round (default: %(default)s)")
    parser.add_argument(
        "--calibration", type=_whole(64), default=12, help="frames that int8 is calibrated on (default: %(default)s)"
    )
    parser.add_argument(
        "--limit", type=_whole(3600), default=100, help="seconds for a way to come up, or it is left out (default: 100)"
    )
    parser.add_argument("--script", default="tavern_dialogue", help="whose states (default: %(default)s)")
    parser.add_argument("--tier", default="standard", help="(default: %(default)s)")
    parser.add_argument("--model", type=Path, help="directory of the model (default: the shipped weights)")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    options = parser.parse_args()
    # Whoever stops this script by a signal has every process stopped too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print(describe_machine())
    begun = time.monotonic()
    try:
        figures = measure(options)
    except KeyboardInterrupt:
        print("\nstopped, and every way's process with it")
        return 130
    print(f"medians of {figures['rounds']} rounds; {time.monotonic() - begun:.0f} s in all")
    if options.json:
        print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
