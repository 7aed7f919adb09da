"""What are reference pictures worth? Held-out frames under looks that only a still of another moment tells of.

    python benchmarks/references.py --data data/held-out --json

The data are captured shards (`cutscene-train capture --split held-out`). A look is laid over the captured pictures, as
a colourist would: each of those named in `cutscene_model.training.color_grades.LOOKS`, none of which the model was
trained with. Frames are drawn alone, without history, from equal noise, and compared with the picture under that look:

  without   no reference picture: how far the look is from the model's own
  own       pictures under the look of another run of the same performance: the same cast and set, another moment
  stranger  pictures under the look of another performance, as a mood board would have them

Row `none` is what references cost where nothing is to be changed: pictures as they were captured. Gains are paired by
frame, averaged by performance, and told with the standard error over performances, for frames of one are alike.
References pay if `own` gains over `without`, all looks together, by more than two standard errors. PSNR in dB, over
all pixels. With --picture a sheet: three rows of stills, wanted, drawn without and drawn with a reference, and the
references below. Needs the training extra, and a model that takes references.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import simplejpeg
import torch
from tqdm import tqdm

from cutscene_model.engine import TIERS, Pixels
from cutscene_model.loading import load_engine
from cutscene_model.training.color_grades import LOOKS
from cutscene_model.training.evaluation import as_tensor, describe_machine
from cutscene_model.training.metrics import psnr
from cutscene_model.training.own_game.scoring import write_rows
from cutscene_model.training.shards import Record, Shard, read_shard, shard_paths
from cutscene_model.transformer import TransformerEngine

WAYS = ("without", "own", "stranger")
NONE = "none"
Values = dict[str, dict[str, float]]  # PSNR by look and way


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


def under(look: str, pixels: Pixels) -> Pixels:
    """The picture under the look of that name."""
    if look == NONE:
        return pixels
    shown = LOOKS[look](as_tensor(pixels)[None])[0]
    levels: Pixels = (shown.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    return levels


def draw(engine: TransformerEngine, case: Case, target: Record, pictures: Sequence[Pixels], tier: str) -> Pixels:
    """The target's frame in a session with those references."""
    stage = replace(case.shard.stages[case.stage], references=tuple(engine.encode(each).tobytes() for each in pictures))
    timeline = engine.begin(stage, 0, target.frame_index)
    prepared = timeline.prepare(target.state, tier)
    pixels = timeline.decode(prepared, timeline.draw(prepared, tier).latent)
    timeline.close()
    return pixels


def play(engine: TransformerEngine, case: Case, target: Record, tier: str) -> Values:
    """One target's figures under each look in each way."""
    plain, truth = draw(engine, case, target, (), tier), picture(target)
    values: Values = {}
    for look in (NONE, *LOOKS):
        wanted = as_tensor(under(look, truth))
        values[look] = {"without": psnr(as_tensor(plain), wanted)}
        for way, pictures in (("own", case.own), ("stranger", case.stranger)):
            result = draw(engine, case, target, [under(look, each) for each in pictures], tier)
            values[look][way] = psnr(as_tensor(result), wanted)
    return values


def mean_of_looks(values: Mapping[str, Mapping[str, float]], way: str) -> float:
    """Over all that are looks."""
    return float(np.mean([values[look][way] for look in LOOKS]))


def gain(performances: Sequence[Sequence[Values]], look: str | None, way: str) -> tuple[float, float]:
    """Over ``without``, under one look or all: the mean over performances of their frames' mean, its standard error."""

    def one(values: Values, which: str) -> float:
        return mean_of_looks(values, which) if look is None else values[look][which]

    means = [float(np.mean([one(frame, way) - one(frame, "without") for frame in frames])) for frames in performances]
    return float(np.mean(means)), float(np.std(means, ddof=1) / math.sqrt(len(means)))


def level(performances: Sequence[Sequence[Values]], look: str | None, way: str) -> float:
    """The mean over all frames."""
    frames = [frame for frames in performances for frame in frames]
    return float(np.mean([mean_of_looks(f, way) if look is None else f[look][way] for f in frames]))


def write_sheet(engine: TransformerEngine, chosen: Sequence[Case], tier: str, path: Path) -> None:
    """One column a look, each from another performance."""
    columns = []
    for look, case in zip(LOOKS, chosen, strict=False):
        target, told = case.targets[len(case.targets) // 2], under(look, case.own[0])
        columns.append(
            (
                under(look, picture(target)),
                draw(engine, case, target, (), tier),
                draw(engine, case, target, [told], tier),
                told,
            )
        )
    titles = [
        "wanted, never shown to the model: " + ", ".join(LOOKS),
        "the model's frames without a reference picture",
        "the model's frames, each with one reference picture, the still below it",
        "the references: another moment of the same performance under the look",
    ]
    write_rows(path, titles, [list(row) for row in zip(*columns, strict=True)])


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
        print(f"{manifest.name} {manifest.version} takes {manifest.references or 'no'} reference pictures; "
              "cutscene-train grades trains a model to see them", file=sys.stderr)  # fmt: skip
        return 1
    chosen = []
    for case in cases(paths, options.frames, options.references):
        chosen.append(case)
        if len(chosen) == options.performances:
            break
    if len(chosen) < 2:
        print("these shards have too few performances of two runs or more", file=sys.stderr)
        return 1
    if options.picture:
        write_sheet(engine, chosen[:: max(1, len(chosen) // len(LOOKS))], options.tier, options.picture)
        print(f"{options.picture}: a sheet of stills")
    performances = [
        [play(engine, case, target, options.tier) for target in case.targets]
        for case in tqdm(chosen, unit="performance", mininterval=5.0)
    ]
    return _report(performances, engine, options)


def _report(performances: list[list[Values]], engine: TransformerEngine, options: argparse.Namespace) -> int:
    frames = sum(map(len, performances))
    name = f"{engine.manifest.name} {engine.manifest.version}"
    print(f"{name}, {options.tier} tier, {options.references} reference(s): {frames} frames of {len(performances)} "
          "held-out performances, each without history; PSNR in dB")  # fmt: skip
    print(f"{'':16}{'without':>10}{'own':>10}{'stranger':>10}{'own - without':>20}{'stranger - without':>22}")
    result: dict[str, object] = {
        "model": name, "tier": options.tier, "references": options.references, "frames": frames,
        "performances": len(performances),
    }  # fmt: skip
    for look in (None, *LOOKS, NONE):
        levels = {way: level(performances, look, way) for way in WAYS}
        gains = {way: gain(performances, look, way) for way in WAYS[1:]}
        told = "".join(f"{f'{mean:+.2f} +- {error:.2f}':>21}" for mean, error in gains.values())
        title = "all looks" if look is None else look
        print(f"{title:16}{''.join(f'{value:10.2f}' for value in levels.values())}{told}")
        result[title] = {way: round(value, 3) for way, value in levels.items()} | {
            f"{way}_gain": {"mean": round(mean, 3), "error": round(error, 3)} for way, (mean, error) in gains.items()
        }
    mean, error = gain(performances, None, "own")
    result["gain_db"], result["pays"] = round(mean, 3), mean > 2 * error
    print("reference pictures pay: own ones gain more than two standard errors" if result["pays"]
          else "reference pictures do not pay: no gain beyond two standard errors")  # fmt: skip
    if options.json:
        print(json.dumps(result))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of captured shards, held out from training")
    parser.add_argument("--model", type=Path, help="model directory; default: the shipped weights")
    parser.add_argument("--tier", default="standard", choices=TIERS)
    parser.add_argument("--references", type=int, default=1, choices=range(1, 5), help="a frame (default: %(default)s)")
    parser.add_argument("--performances", type=int, default=30, help="at most; 0: all (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=3, help="of each performance (default: %(default)s)")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="write a sheet of stills, a PNG")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    return parser


if __name__ == "__main__":
    sys.exit(main())
