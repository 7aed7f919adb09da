"""Do reference pictures help? Frames of held-out performances drawn without, with their own and with a stranger's.

    python benchmarks/references.py --data data/held-out --model my-model --json

The data are captured shards (`cutscene-train capture --split held-out`), with pictures and object ids. Frames are drawn
alone, without history, from equal noise, and compared with the captured picture, three times:

  without   no reference picture
  own       pictures of another run of the same performance: the same cast and set, another moment, often another camera
  stranger  pictures of another performance: whether it matters who and what is on them

Gains are paired by frame against `without`, averaged by performance, and told with the standard error over
performances, for frames of one are alike. References pay if `own` gains PSNR by more than two standard errors, over
`without` and over `stranger`. PSNR in dB; identity_error and color_shift in dE76 of actors' pixels, where less is
better (see `cutscene_model.training.identity`). Needs the training extra, and a model trained with references.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import simplejpeg
from tqdm import tqdm

from cutscene_model.engine import TIERS, Pixels
from cutscene_model.loading import load_engine
from cutscene_model.training.evaluation import as_tensor, describe_machine
from cutscene_model.training.regions import regions_of
from cutscene_model.training.scores import score
from cutscene_model.training.shards import Record, Shard, read_shard, shard_paths
from cutscene_model.transformer import TransformerEngine

WAYS = ("without", "own", "stranger")
FIGURES = ("psnr_db", "actor_psnr_db", "face_psnr_db", "identity_error", "color_shift")
Values = dict[str, dict[str, float]]  # by way and figure


@dataclass(frozen=True)
class Case:
    """One performance's frames to draw, and what they may be shown."""

    shard: Shard
    stage: int
    targets: tuple[Record, ...]
    own: tuple[Pixels, ...]
    stranger: tuple[Pixels, ...]


def cases(paths: Sequence[Path], frames: int, references: int) -> Iterator[Case]:
    """Every performance with two runs or more. Targets are spread over its first run, references over the others."""
    for path in paths:
        shard = read_shard(path)
        by_stage = [[r for r in shard.records if r.stage == stage] for stage in range(len(shard.stages))]
        for stage, records in enumerate(by_stage):
            first = [r for r in records if r.run == records[0].run] if records else []
            others = [r for r in records if r.run != records[0].run] if records else []
            seed = shard.notes[stage].get("seed")
            strangers = [
                records for other, records in enumerate(by_stage) if records and shard.notes[other].get("seed") != seed
            ]
            if others and strangers:
                far = strangers[stage % len(strangers)]
                yield Case(
                    shard, stage, tuple(spread(first, frames)),
                    tuple(map(picture, spread(others, references))), tuple(map(picture, spread(far, references))),
                )  # fmt: skip


def spread(records: Sequence[Record], count: int) -> list[Record]:
    """At most ``count`` of them, from first to last."""
    chosen = np.linspace(0, len(records) - 1, min(count, len(records)))
    return [records[int(index)] for index in chosen]


def picture(record: Record) -> Pixels:
    """(288, 512, 3)"""
    pixels: Pixels = simplejpeg.decode_jpeg(record.jpeg)
    return pixels


def object_ids(record: Record) -> npt.NDArray[np.uint8]:
    """(288, 512)"""
    if not record.ids:
        raise SystemExit("these shards have no object ids; capture them with --split held-out")
    return np.frombuffer(zlib.decompress(record.ids), np.uint8).reshape(288, 512)


def play(engine: TransformerEngine, case: Case, tier: str) -> list[Values]:
    """Each target's figures in every way."""
    stage = case.shard.stages[case.stage]
    shown = {"without": (), "own": case.own, "stranger": case.stranger}
    timelines = {
        way: engine.begin(replace(stage, references=tuple(engine.encode(each).tobytes() for each in pictures)), 0)
        for way, pictures in shown.items()
    }
    results = []
    for target in case.targets:
        reference, regions = as_tensor(picture(target)), regions_of(target.state, object_ids(target))
        values: Values = {}
        for way, timeline in timelines.items():
            timeline.go_to(target.frame_index, ())
            prepared = timeline.prepare(target.state, tier)
            pixels = timeline.decode(prepared, timeline.draw(prepared, tier).latent)
            figures = score(as_tensor(pixels), reference, regions)
            values[way] = {name: getattr(figures, name) for name in FIGURES}
        results.append(values)
    for timeline in timelines.values():
        timeline.close()
    return results


def gains(performances: Sequence[Sequence[Values]], figure: str, way: str, over: str) -> tuple[float, float]:
    """The mean over performances of the mean paired difference of their frames, and its standard error."""
    means = []
    for frames in performances:
        differences = [frame[way][figure] - frame[over][figure] for frame in frames]
        known = [value for value in differences if not math.isnan(value)]  # frames without actors have no such figure
        if known:
            means.append(float(np.mean(known)))
    if len(means) < 2:
        return math.nan, math.nan
    return float(np.mean(means)), float(np.std(means, ddof=1) / math.sqrt(len(means)))


def level(performances: Sequence[Sequence[Values]], figure: str, way: str) -> float:
    """The mean over all frames that have the figure."""
    values = [frame[way][figure] for frames in performances for frame in frames]
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan


def main() -> int:
    """Parses the command line, draws, prints."""
    options = _parser().parse_args()
    paths = shard_paths(options.data)
    if not paths:
        print(f"{options.data}: no shards; make some with cutscene-train capture --split held-out", file=sys.stderr)
        return 1
    print(describe_machine())
    engine = load_engine(options.model)
    manifest = engine.manifest
    if manifest.references < options.references:
        print(f"{manifest.name} {manifest.version} takes {manifest.references or 'no'} reference pictures; train one "
              "with cutscene-train denoiser --references 0.5, and name it with --model", file=sys.stderr)  # fmt: skip
        return 1
    performances: list[list[Values]] = []
    with tqdm(total=options.performances or None, unit="performance", mininterval=5.0) as bar:
        for case in cases(paths, options.frames, options.references):
            performances.append(play(engine, case, options.tier))
            bar.update()
            if len(performances) == options.performances:
                break
    if len(performances) < 2:
        print("these shards have too few performances of two runs or more", file=sys.stderr)
        return 1
    return _report(performances, engine, options)


def _report(performances: list[list[Values]], engine: TransformerEngine, options: argparse.Namespace) -> int:
    frames = sum(map(len, performances))
    print(f"{engine.manifest.name} {engine.manifest.version}, {options.tier} tier, {options.references} reference(s): "
          f"{frames} frames of {len(performances)} held-out performances, each without history")  # fmt: skip
    result: dict[str, object] = {
        "model": f"{engine.manifest.name} {engine.manifest.version}", "tier": options.tier,
        "references": options.references, "frames": frames, "performances": len(performances),
    }  # fmt: skip
    print(f"{'':16}{'without':>10}{'own':>10}{'stranger':>10}{'own - without':>22}{'own - stranger':>22}")
    for figure in FIGURES:
        levels = {way: level(performances, figure, way) for way in WAYS}
        over = {other: gains(performances, figure, "own", other) for other in ("without", "stranger")}
        told = "".join(f"{f'{mean:+.4f} +- {error:.4f}':>22}" for mean, error in over.values())
        print(f"{figure:16}{''.join(f'{value:10.3f}' for value in levels.values())}{told}")
        result[figure] = {way: _rounded(value) for way, value in levels.items()} | {
            f"own_over_{other}": {"gain": _rounded(mean), "error": _rounded(error)}
            for other, (mean, error) in over.items()
        }
    pays = all(
        mean > 2 * error
        for mean, error in (gains(performances, "psnr_db", "own", other) for other in ("without", "stranger"))
    )
    result["pays"] = pays
    print("reference pictures pay: own ones gain more than two standard errors" if pays
          else "reference pictures do not pay: no gain beyond two standard errors over both others")  # fmt: skip
    if options.json:
        print(json.dumps(result))
    return 0


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 5)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of captured shards, held out from training")
    parser.add_argument("--model", type=Path, help="model directory; default: the shipped weights")
    parser.add_argument("--tier", default="standard", choices=TIERS)
    parser.add_argument("--references", type=int, default=1, choices=range(1, 5), help="a frame (default: %(default)s)")
    parser.add_argument("--performances", type=int, default=60, help="at most; 0: all (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=4, help="of each performance (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    return parser


if __name__ == "__main__":
    sys.exit(main())
