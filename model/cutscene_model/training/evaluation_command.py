"""The command that scores a model: figures by kind of shot, a sheet of pictures, one line of JSON."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from tqdm import tqdm

from cutscene_model.loading import load_engine
from cutscene_model.training.evaluation import by_kind, evaluate, summary
from cutscene_model.training.sheets import write_sheet


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument(
        "--assets", type=Path, default=os.environ.get("CUTSCENE_ASSETS"), help="folder of the art packs"
    )
    parser.add_argument("--model", type=Path, help="model directory; default: the shipped weights")
    parser.add_argument("--tier", default="standard", choices=("draft", "standard", "high"))
    parser.add_argument("--performances", type=int, default=8, help="held-out performances to play (default 8)")
    parser.add_argument("--frames", type=int, default=12, help="frames scored of each shot (default 12)")
    parser.add_argument("--sheet", type=Path, help="write a PNG of pairs here, reference above result")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def run_evaluation(options: argparse.Namespace) -> int:
    """Scores, prints, and returns the exit code."""
    if options.assets is None:
        raise SystemExit("--assets or CUTSCENE_ASSETS must name the folder of the art packs")
    engine = load_engine(options.model)
    with tqdm(unit="frame", desc="scoring") as bar:
        scores, sheet = evaluate(
            engine, Path(options.assets), options.tier, options.performances, options.frames, bar.update
        )
    if options.sheet:
        write_sheet(options.sheet, sheet)
    kinds = by_kind(scores)
    overall = summary(scores)
    manifest = engine.manifest
    print(
        f"{manifest.name} {manifest.version}, {options.tier} tier, {len(scores)} frames of {len(sheet)} held-out shots"
    )
    print(f"{'shots':22}{'PSNR':>8}{'SSIM':>8}{'actors':>8}{'grad.':>8}   autoencoder: {'PSNR':>6}{'SSIM':>8}")
    for kind, figures in [*kinds.items(), ("all", overall)]:
        model, coder = figures["model"], figures["autoencoder"]
        print(
            f"{kind:22}{model['psnr_db']:8.2f}{model['ssim']:8.3f}{model['actor_psnr_db']:8.2f}"
            f"{model['gradient_energy_ratio']:8.2f}{coder['psnr_db']:22.2f}{coder['ssim']:8.3f}"
        )
    if options.json:
        print(json.dumps({"tier": options.tier, "frames": len(scores), **overall, "shots": kinds}))
    return 0
