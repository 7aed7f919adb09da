"""Writes data sets: runs of frames of random performances, drawn by the stage, in resumable shards.

A run is four frames of one performance. Half of the runs have neighbouring frames, half skip one to seven frames each
time; about one run in ten has a cut inside, the others none.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from tqdm import tqdm

from cutscene_model.scene import Stage
from cutscene_model.training.director import Performance, direct
from cutscene_model.training.shards import SUFFIX, Record, Shard, write_shard

RUN_FRAMES = 4
RUNS_PER_SHARD = 50
RUNS_PER_PERFORMANCE = 2  # opening a stage costs as much as drawing three frames
CUT_CHANCE = 0.10
JPEG_QUALITY = 97
SIZE = (512, 288)


def choose_run(rng: np.random.Generator, performance: Performance) -> list[int]:
    """The frames of one run."""
    shots = performance.shots
    for _ in range(200):
        stride = 1 if rng.random() < 0.5 else int(rng.integers(2, 9))
        span = stride * (RUN_FRAMES - 1)
        if len(shots) > 1 and rng.random() < CUT_CHANCE:
            cut = shots[int(rng.integers(1, len(shots)))].start
            first = cut - stride * int(rng.integers(1, RUN_FRAMES)) + int(rng.integers(0, stride))
        else:
            lengths = np.array([max(0, shot.end - shot.start - span) for shot in shots], np.float64)
            if not lengths.sum():
                continue
            shot = shots[int(rng.choice(len(shots), p=lengths / lengths.sum()))]
            first = int(rng.integers(shot.start, shot.end - span))
        if first >= 0 and first + span < performance.frames:
            return [first + stride * k for k in range(RUN_FRAMES)]
    raise RuntimeError("no run fits the performance")


def capture_shard(renderer: Any, assets: Path, seed: int, number: int, runs: int, held_out: bool) -> Shard:
    """Directs and draws one shard. ``renderer`` is a ``StageRenderer``, imported only where frames are drawn."""
    stages: list[Stage] = []
    notes: list[dict[str, str | int]] = []
    records: list[Record] = []
    performance: Performance | None = None
    for run in range(runs):
        rng = np.random.default_rng([seed, number, run])
        if performance is None or run % RUNS_PER_PERFORMANCE == 0:
            performance_seed = (seed * 1_000_003 + number * RUNS_PER_SHARD + run) % 2**31
            performance = direct(assets, performance_seed, held_out=held_out)
            renderer.open(performance.stage)
            stages.append(performance.stage)
            notes.append(
                {
                    "seed": performance.seed,
                    "room": performance.room,
                    "variant": performance.variant,
                    "plot": performance.plot,
                    "preset": performance.preset,
                }
            )
        for frame in choose_run(rng, performance):
            state = performance.states(frame)
            shot = performance.shot_at(frame)
            jpeg = simplejpeg.encode_jpeg(renderer.render(state), JPEG_QUALITY, "RGB", "444")
            ids = zlib.compress(renderer.render_ids(state).tobytes(), 6) if held_out else b""
            place = performance.shots.index(shot)
            records.append(Record(len(stages) - 1, run, place, shot.kind, frame, state, jpeg, ids))
    return Shard(shard_name(seed, number), tuple(stages), tuple(notes), tuple(records))


def shard_name(seed: int, number: int) -> str:
    """Seeds may share a folder: a later capture adds to an earlier one."""
    return f"run-{seed:04d}-{number:05d}"


def _work(assets: Path, out: Path, seed: int, jobs: list[tuple[int, int]], held_out: bool, done: Any) -> None:
    from cutscene_model.training.stage import StageRenderer

    with StageRenderer(assets, *SIZE) as renderer:
        for number, runs in jobs:
            shard = capture_shard(renderer, assets, seed, number, runs, held_out)
            write_shard(out, shard)
            done.put(len(shard.records))


def capture(assets: Path, out: Path, runs: int, seed: int, held_out: bool, workers: int = 1) -> int:
    """Captures what a data set still lacks of ``runs`` runs. Returns the number of frames drawn now."""
    out.mkdir(parents=True, exist_ok=True)
    count = -(-runs // RUNS_PER_SHARD)
    jobs = [(number, min(RUNS_PER_SHARD, runs - number * RUNS_PER_SHARD)) for number in range(count)]
    missing = [job for job in jobs if not (out / f"{shard_name(seed, job[0])}{SUFFIX}").exists()]
    context = multiprocessing.get_context("spawn")  # a GL context does not survive a fork
    done = context.Queue()
    processes = [
        context.Process(target=_work, args=(assets, out, seed, missing[worker::workers], held_out, done))
        for worker in range(min(workers, len(missing)))
    ]
    for process in processes:
        process.start()
    drawn = 0
    finished = (sum(size for _, size in jobs) - sum(size for _, size in missing)) * RUN_FRAMES
    with tqdm(total=runs * RUN_FRAMES, initial=finished, unit="frame", smoothing=0.1, mininterval=5.0) as bar:
        for _ in missing:
            while done.empty():
                failed = [process.exitcode for process in processes if process.exitcode]
                if failed:
                    raise RuntimeError(f"a capture worker ended with code {failed[0]}")
                time.sleep(0.1)
            frames = done.get()
            drawn += frames
            bar.update(frames)
    for process in processes:
        process.join()
    return drawn


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="cutscene-train capture", description="Captures a data set.")
    parser.add_argument(
        "--assets",
        default=os.environ.get("CUTSCENE_ASSETS"),
        help="folder of the art packs, with adventurers/ and dungeon/",
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--split", choices=("train", "held-out"), default="train")
    parser.add_argument("--workers", type=int, choices=(1, 2), default=1)
    options = parser.parse_args(arguments)
    if not options.assets:
        parser.error("--assets or CUTSCENE_ASSETS must name the folder of the asset packs")
    held_out = options.split == "held-out"
    drawn = capture(Path(options.assets), options.out, options.runs, options.seed, held_out, options.workers)
    print(f"{drawn} frames drawn into {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
