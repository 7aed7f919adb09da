"""How near the model's frames come to the reference render, on held-out rooms, casts and seeds.

    CUTSCENE_ASSETS=/path/to/packs python benchmarks/quality.py --sheet out/quality.png --json

Needs the training extra and the art packs, since the reference is rendered anew. All figures are defined where they are
computed, in ``cutscene_model.training``: ``metrics``, ``regions``, ``steadiness``, ``identity``.

  model, autoencoder, shots      means over the first --frames of every shot of --performances, at --tier
  draft, standard, high          psnr_db on the same frames; fps of the engine alone, on this machine, as busy as it is
  flicker_ratio                  false change from frame to frame over true change, on the same frames; 0 is steady
  drift_db                       PSNR lost from frame 50 to frame --drift-frames of one uncut session, same states
  identity_error                 dE76 of actors' pixels in that session, a third further on and several cuts later

The defaults trade length for breadth: eight performances, but half a second of each shot, where a shot's history is
short and a scene has hardly moved; and one long session at one tier. ``cutscene-train evaluate`` plays whole
performances at all tiers and writes a report. Nine minutes beside a training run on the same two cores; the long
session is nearly half of that, and --drift-frames 0 leaves it out.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cutscene_model.engine import TIERS
from cutscene_model.loading import load_engine
from cutscene_model.training.evaluation import (
    describe_machine,
    first_frames,
    frames_per_second,
    held_out_performances,
    play,
    scored,
)
from cutscene_model.training.evaluation_command import drift_frames
from cutscene_model.training.long_session import LongSession, long_performance, plan, play_long_session
from cutscene_model.training.scores import AUTOENCODER, FrameScore, by_kind, of, summary
from cutscene_model.training.sheets import Comparison, write_sheet
from cutscene_model.training.stage import StageRenderer
from cutscene_model.transformer import TransformerEngine


def score_shots(
    engine: TransformerEngine, renderer: StageRenderer, options: argparse.Namespace
) -> tuple[list[FrameScore], list[Comparison]]:
    """Scores the first frames of every shot; the last of them goes to the sheet, for its history is longest."""
    scores: list[FrameScore] = []
    last: dict[tuple[int, int], Comparison] = {}  # by performance and shot's start
    with tqdm(unit="frame", desc="scoring") as bar:
        for performance in held_out_performances(options.assets, options.performances):
            frames = play(engine, renderer, performance, TIERS, first_frames(options.frames))
            for played, figures in scored(performance, frames):
                scores.append(figures)
                place = performance.seed, played.shot.start
                last[place] = Comparison(played.shot.kind, played.reference, played.pictures[options.tier])
                bar.update()
    return scores, list(last.values())


def play_long(engine: TransformerEngine, renderer: StageRenderer, options: argparse.Namespace) -> LongSession:
    """The session of drift and identity."""
    performance = long_performance(options.assets)
    with tqdm(total=plan(performance, options.drift_frames).frames, unit="frame", desc="long session") as bar:
        return play_long_session(engine, renderer, performance, options.tier, options.drift_frames, bar.update)


def main() -> int:
    """Parses the command line, scores, prints."""
    options = _parser().parse_args()
    if options.assets is None:
        raise SystemExit("--assets or CUTSCENE_ASSETS must name the folder of the art packs")
    options.assets = Path(options.assets)
    print(describe_machine())
    engine = load_engine(options.model)
    speed = next(held_out_performances(options.assets, 1))
    tiers: dict[str, dict[str, float]] = {
        tier: {"fps": round(frames_per_second(engine, speed, tier), 2)} for tier in TIERS
    }
    with StageRenderer(options.assets) as renderer:
        scores, sheet = score_shots(engine, renderer, options)
        long = play_long(engine, renderer, options) if options.drift_frames else None
    if options.sheet:
        write_sheet(options.sheet, sheet)
    for tier in TIERS:
        tiers[tier]["psnr_db"] = summary(of(scores, tier))["psnr_db"]
    kinds = {kind: _both(some, options.tier) for kind, some in by_kind(scores).items()}
    overall = _both(scores, options.tier)
    print(f"{engine.manifest.name} {engine.manifest.version}, {options.tier} tier, "
          f"{len(scores)} frames of {len(sheet)} held-out shots")  # fmt: skip
    _print_table({**kinds, "all": overall})
    for tier, figures in tiers.items():
        print(f"{tier:9} {figures['psnr_db']:.2f} dB, {figures['fps']:.1f} frames/s (engine alone)")
    result: dict[str, Any] = {"tier": options.tier, "frames": len(scores), **overall, "shots": kinds, **tiers}
    result["flicker_ratio"] = overall["model"].get("flicker_ratio")
    print(f"flicker {result['flicker_ratio']} of the reference's own change (0 is steady, a frozen picture has 1)")
    if long is not None:
        result |= {
            "drift_db": round(long.drift_db, 4),
            "identity_error": round(long.identity_error(long.plan.last), 4),
        }
        _print_session(long)
    if options.json:
        print(json.dumps(result))
    return 0


def _print_session(long: LongSession) -> None:
    places, last = long.plan.places, long.plan.last
    print(f"drift {long.drift_db:.4f} dB from frame {places.early} to {places.late} (wanted: at most 0.5)")
    before, after, without = long.colors_at(places.early), long.colors_at(last), long.forgotten
    print(f"identity error {long.identity_error(places.early):.2f} dE at frame {places.early}, "
          f"{long.identity_error(last):.2f} at frame {last}, {len(long.plan.cuts)} cuts later")  # fmt: skip
    for actor, color in before.items():
        tint = f", {without[actor].shift:.2f} were the tint forgotten" if actor in without else ""
        print(f"  actor {actor}: mean colour off by {color.shift:.2f}, then {after[actor].shift:.2f} dE{tint}")


def _both(scores: list[FrameScore], tier: str) -> dict[str, dict[str, float]]:
    return {"model": summary(of(scores, tier)), AUTOENCODER: summary(of(scores, AUTOENCODER))}


def _print_table(rows: dict[str, dict[str, dict[str, float]]]) -> None:
    columns = {"PSNR": "psnr_db", "p10": "psnr_p10_db", "SSIM": "ssim", "actors": "actor_psnr_db",
               "faces": "face_psnr_db", "edges": "edge_psnr_db", "grad.": "gradient_energy_ratio"}  # fmt: skip
    ceiling = {"PSNR": "psnr_db", "p10": "psnr_p10_db", "SSIM": "ssim"}
    head = "".join(f"{name:>8}" for name in columns)
    print(f"{'shots':22}{head}   autoencoder:{''.join(f'{name:>8}' for name in ceiling)}")
    for kind, figures in rows.items():
        model, coder = figures["model"], figures[AUTOENCODER]
        line = "".join(f"{model.get(key, float('nan')):8.2f}" for key in columns.values())
        print(f"{kind:22}{line}{'':15}{''.join(f'{coder[key]:8.2f}' for key in ceiling.values())}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    assets = os.environ.get("CUTSCENE_ASSETS")
    parser.add_argument("--assets", type=Path, default=assets, help="folder of the art packs")
    parser.add_argument("--model", type=Path, help="model directory; default: the shipped weights")
    parser.add_argument("--tier", default="standard", choices=TIERS, help="of what is not said by tier")
    parser.add_argument("--performances", type=int, default=8, help="held-out performances (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=12, help="frames scored of each shot (default: %(default)s)")
    parser.add_argument(
        "--drift-frames", type=drift_frames, default=1500, help="where drift is read; 0: not (default: %(default)s)"
    )
    parser.add_argument("--sheet", type=Path, help="write a PNG of pairs here, reference above result")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    return parser


if __name__ == "__main__":
    sys.exit(main())
