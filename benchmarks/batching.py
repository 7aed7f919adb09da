"""Whether drawing frames of several sessions in one forward pass would pay, and what it would do to their pixels.

    python benchmarks/batching.py --json

Takes the denoiser and the decoder of the shipped weights, and what they are given for the next frame of 1, 2 and 4
sessions of a shipped script (full windows, states far apart). Each of these ways is timed turn and turn about:

  after_one_another  a forward pass for each frame, on one thread: how the server does it, where the other core is busy
                     with another stage of another frame
  in_one             one forward pass for all frames, on one thread
  after_on_cores     as the first, each operation shared out among all cores
  in_one_on_cores    as the second, likewise
  side_by_side       two threads, each with half of the frames, one after another, on one thread each

Milliseconds a frame, medians; ``cpu``: of processor time, which says more on a machine with other work. ``saved`` is
the part of ``after_one_another`` that ``in_one`` saves, ``saved_on_cores`` the same of the two on all cores, which are
timed less often: on a machine with other work they wait for one another. ``identical`` says whether frames come out of
one forward pass, or of two threads, with the very bits that they have alone. Of the decoder its network is timed; what
turns its terms into pixels goes frame by frame in any case. Needs the server extra.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from live import describe_machine, states_of
from torch import Tensor

from cutscene_client import shipped
from cutscene_model.denoiser import Conditioning, Memory
from cutscene_model.loading import load_engine
from cutscene_model.surface import Lacking, Surface
from cutscene_server.wire.scene import names_of, read_stage, read_state
from cutscene_server.wire.violations import Violations

APART = 5  # states between two sessions
WARM = 3  # passes that do not count
RARELY = 8  # one pass in so many is timed of the ways that take all cores

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DenoiserInput:
    """What the denoiser is given for B frames."""

    noisy: Tensor
    level: Tensor
    conditioning: Conditioning
    memory: Memory


@dataclass(frozen=True, slots=True)
class DecoderInput:
    """What the decoder is given for B frames."""

    latents: Tensor
    surface: Surface


def inputs(options: argparse.Namespace, count: int) -> tuple[Any, list[DenoiserInput], list[DecoderInput]]:
    """The engine, and what it gives its two networks for one frame of each of ``count`` sessions."""
    engine = load_engine(options.model, threads=1, precision=options.precision)
    expansion = shipped.load_expansion(options.script)
    violations = Violations()
    stage = read_stage(violations, expansion.open_request, engine.manifest)
    names = names_of(stage, engine.manifest)
    window = engine.manifest.window
    told = states_of(expansion, APART * count + window + 1)
    states = [read_state(violations, "state", state, names) for state in told]
    violations.raise_if_any()
    seen: list[DenoiserInput] = []

    def note(_module: object, given: tuple[Any, ...]) -> None:
        seen.append(DenoiserInput(*given[:4]))

    denoising, decoding = [], []
    for session in range(count):
        timeline = engine.begin(stage, session)
        for state in states[APART * session :][: window + 1]:
            hook = engine.denoiser.register_forward_pre_hook(note)
            prepared = timeline.prepare(state, options.tier)
            latent = torch.tensor(timeline.draw(prepared, options.tier).latent)[None].float()
            hook.remove()
        denoising.append(seen[-1])  # of the last frame, whose window is full
        coder = engine.autoencoder
        latent = latent.contiguous(memory_format=torch.channels_last) * coder.std + coder.mean
        decoding.append(DecoderInput(latent, prepared.surface))
    return engine, denoising, decoding


def batched_denoising(frames: Sequence[DenoiserInput]) -> DenoiserInput:
    """One input of B frames."""
    return DenoiserInput(
        torch.cat([frame.noisy for frame in frames]),
        torch.cat([frame.level for frame in frames]),
        Conditioning(
            torch.cat([frame.conditioning.tokens for frame in frames]),
            torch.cat([frame.conditioning.scene for frame in frames]),
        ),
        Memory(
            torch.cat([frame.memory.keys for frame in frames], dim=1),
            torch.cat([frame.memory.values for frame in frames], dim=1),
        ),
    )


def batched_decoding(frames: Sequence[DecoderInput]) -> DecoderInput:
    """One input of B frames."""
    surfaces = [frame.surface for frame in frames]
    lacking = [surface.lacking for surface in surfaces]
    blocks = surfaces[0].levels[0][0, 0].numel()  # of a frame
    refined = [
        (each.pixels[: len(each.block)], each.block + blocks * place)
        for place, each in enumerate(lacking)
        if each is not None and each.block is not None
    ]
    levels = zip(*[surface.levels for surface in surfaces], strict=True)
    return DecoderInput(
        torch.cat([frame.latents for frame in frames]).contiguous(memory_format=torch.channels_last),
        Surface(
            torch.cat([surface.shaded for surface in surfaces]),
            torch.cat([surface.background for surface in surfaces]),
            tuple(torch.cat(level) for level in levels),
            Lacking(*(torch.cat(every) for every in zip(*refined, strict=True))) if refined else None,
        ),
    )


Run = Callable[[Any], Tensor]


def compare(
    run: Run, frames: Sequence[Any], batch: Any, options: argparse.Namespace, pool: ThreadPoolExecutor
) -> Figures:
    """Times every way of making ``frames``, of which ``batch`` is one input for all."""
    cores = os.cpu_count() or 1
    half = (len(frames) + 1) // 2

    def one_thread(part: Sequence[Any]) -> list[Tensor]:
        with torch.inference_mode():
            return [run(frame) for frame in part]

    def together() -> list[Tensor]:
        return [made for part in pool.map(one_thread, (frames[:half], frames[half:])) for made in part]

    ways: dict[str, tuple[int, Callable[[], list[Tensor]]]] = {
        "after_one_another": (1, lambda: one_thread(frames)),
        "in_one": (1, lambda: apart(one_thread([batch])[0])),
        "after_on_cores": (cores, lambda: one_thread(frames)),
        "in_one_on_cores": (cores, lambda: apart(one_thread([batch])[0])),
        "side_by_side": (1, together),
    }
    times: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    made: dict[str, list[Tensor]] = {}
    for number in range(options.repeats + WARM):
        for way, (threads, make) in ways.items():
            if threads > 1 and number % RARELY:
                continue
            torch.set_num_threads(threads)
            begun, cpu_begun = time.perf_counter(), time.process_time()
            made[way] = make()
            if number >= WARM:
                taken = time.perf_counter() - begun, time.process_time() - cpu_begun
                times[way].append((1000 * taken[0] / len(frames), 1000 * taken[1] / len(frames)))
    torch.set_num_threads(1)
    ms = {way: statistics.median(wall for wall, _ in each) for way, each in times.items()}
    cpu = {way: statistics.median(cpu for _, cpu in each) for way, each in times.items()}
    alone = made["after_one_another"]
    differ = [(one - other).abs().max().item() for one, other in zip(alone, made["in_one"], strict=True)]
    return {
        **{way: round(each, 3) for way, each in ms.items()},
        **{f"{way}_cpu": round(each, 3) for way, each in cpu.items()},
        "saved": round(1 - ms["in_one"] / ms["after_one_another"], 3),
        "saved_cpu": round(1 - cpu["in_one"] / cpu["after_one_another"], 3),
        "saved_on_cores": round(1 - ms["in_one_on_cores"] / ms["after_on_cores"], 3),
        "saved_side_by_side": round(1 - ms["side_by_side"] / ms["after_one_another"], 3),
        "identical_in_one": equal(alone, made["in_one"]),
        "identical_side_by_side": equal(alone, made["side_by_side"]),
        "largest_difference_in_one": max(differ),
    }


def apart(batch: Tensor) -> list[Tensor]:
    """The frames of a batch, each as a batch of one."""
    return [batch[number : number + 1] for number in range(len(batch))]


def equal(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    """Whether all of it is the same bit by bit."""
    return all(torch.equal(left, right) for left, right in zip(one, other, strict=True))


def measure(options: argparse.Namespace) -> dict[str, object]:
    """Runs everything and returns the figures."""
    engine, denoising, decoding = inputs(options, max(options.sessions))

    def denoise(given: DenoiserInput) -> Tensor:
        made: Tensor = engine.denoiser(given.noisy, given.level, given.conditioning, given.memory)
        return made

    def decode(given: DecoderInput) -> Tensor:
        return torch.cat(engine.autoencoder.decoder.terms(given.latents, given.surface), dim=1)

    figures: dict[str, object] = {
        "repeats": options.repeats,
        "tier": options.tier,
        "precision": str(next(engine.autoencoder.decoder.parameters()).dtype).removeprefix("torch."),
    }
    with ThreadPoolExecutor(2, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for name, run, frames, join in (
            ("denoiser", denoise, denoising, batched_denoising),
            ("decoder", decode, decoding, batched_decoding),
        ):
            for count in options.sessions:
                found = compare(run, frames[:count], join(frames[:count]), options, pool)  # type: ignore[arg-type]
                figures[f"{name}_{count}"] = found
                print(f"  {name}, {count} sessions: " + ", ".join(f"{way} {value}" for way, value in found.items()))
    return figures


def main() -> int:
    """Parses the command line, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 2, 4], help="(default: 1 2 4)")
    parser.add_argument("--repeats", type=int, default=60, help="of each way (default: %(default)s)")
    parser.add_argument("--script", default="tavern_dialogue", help="whose states (default: %(default)s)")
    parser.add_argument("--tier", default="standard", help="(default: %(default)s)")
    parser.add_argument("--model", type=Path, help="directory of the model (default: the shipped weights)")
    parser.add_argument("--precision", default="auto", help="of the picture's layers (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    options = parser.parse_args()
    print(describe_machine())
    figures = measure(options)
    for name in ("denoiser", "decoder"):
        if isinstance(found := figures.get(f"{name}_2"), dict):
            same = "the same bits" if found["identical_in_one"] else "other bits than alone"
            beside = "the same bits" if found["identical_side_by_side"] else "other bits than alone"
            print(f"{name}: two sessions' frames in one pass save {100 * found['saved']:.0f} % of the time on one "
                  f"thread ({100 * found['saved_cpu']:.0f} % of processor time), "
                  f"{100 * found['saved_on_cores']:.0f} % on all cores, with {same}; two threads side by side save "
                  f"{100 * found['saved_side_by_side']:.0f} %, with {beside}")  # fmt: skip
    if options.json:
        print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
