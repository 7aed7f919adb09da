"""``cutscene-train evaluate``: plays held-out performances and a long session, writes report.html and report.json."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from tqdm import tqdm

from cutscene_model.engine import TIERS
from cutscene_model.loading import load_engine
from cutscene_model.training.clips import SideBySide
from cutscene_model.training.director import FPS, Performance
from cutscene_model.training.evaluation import (
    describe_machine,
    frames_per_second,
    held_out_performances,
    play,
    scored,
    up_to,
)
from cutscene_model.training.figures import FIGURES
from cutscene_model.training.gallery import Gallery
from cutscene_model.training.long_session import LongSession, long_performance, plan, play_long_session
from cutscene_model.training.own_game.commands import run_scores
from cutscene_model.training.perceptual import load_lpips
from cutscene_model.training.report import WHO, report
from cutscene_model.training.results import PlayedPerformance, Results
from cutscene_model.training.scores import FrameScore, PictureMetric
from cutscene_model.training.stage import StageRenderer
from cutscene_model.training.steadiness import LEAST_LATE
from cutscene_model.transformer import TransformerEngine

PERFORMANCE_SECONDS = 20.0
WITHOUT_LPIPS = "LPIPS was left out: no local weights were named with --lpips, and none are ever fetched."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument(
        "--assets", type=Path, default=os.environ.get("CUTSCENE_ASSETS"), help="folder of the art packs"
    )
    parser.add_argument("--model", type=Path, help="model directory; default: the shipped weights")
    parser.add_argument("--out", type=Path, required=True, help="folder of report.html and report.json")
    parser.add_argument(
        "--seconds", type=_seconds, default=PERFORMANCE_SECONDS, help="of each performance (default and most: 20)"
    )
    parser.add_argument("--performances", type=_count, default=4, help="held-out performances (default: %(default)s)")
    parser.add_argument("--tiers", type=_tiers, default=TIERS, help="comma-separated (default: draft,standard,high)")
    parser.add_argument(
        "--drift-frames",
        type=drift_frames,
        default=1500,
        help="where drift is read; 0: no long session (default: %(default)s)",
    )
    parser.add_argument("--capture", type=Path, help="a game's own capture in place of the stage's performances")
    parser.add_argument(
        "--held-out",
        action="append",
        default=[],
        metavar="RUN",
        help="with --capture: a run to play; repeatable (default: those that the model held out, as its manifest says)",
    )
    parser.add_argument(
        "--score-frames", type=int, default=0, help="with --capture: of each run, at most (default: all)"
    )
    parser.add_argument("--lpips", type=Path, help="local weights of LPIPS, safetensors: see training/perceptual.py")


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= PERFORMANCE_SECONDS:
        raise argparse.ArgumentTypeError(f"performances last {PERFORMANCE_SECONDS:g} seconds; {text} is out of range")
    return value


def drift_frames(text: str) -> int:
    """An option's value: 0, or where drift is read."""
    value = int(text)
    if value and value < LEAST_LATE:
        raise argparse.ArgumentTypeError(f"0 or at least {LEAST_LATE}, not {text}")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"at least 1, not {text}")
    return value


def _tiers(text: str) -> tuple[str, ...]:
    tiers = tuple(text.split(","))
    if not tiers or any(tier not in TIERS for tier in tiers) or len(set(tiers)) < len(tiers):
        raise argparse.ArgumentTypeError(f"{text!r}: some of {', '.join(TIERS)}, each once")
    return tiers


def run_evaluation(options: argparse.Namespace) -> int:
    """Plays, scores, writes, and returns the exit code."""
    if options.capture:
        return run_scores(options)
    if options.assets is None:
        raise SystemExit("--assets or CUTSCENE_ASSETS must name the folder of the art packs")
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        perceptual = load_lpips(options.lpips) if options.lpips else None
    except ValueError as error:
        raise SystemExit(f"--lpips: {error}") from error
    results = _evaluate(options, Path(options.assets), perceptual)
    (options.out / "report.json").write_text(json.dumps(results.to_plain(), indent=1) + "\n", encoding="utf-8")
    (options.out / "report.html").write_text(report(results), encoding="utf-8")
    for verdict in results.verdicts():
        goal, figure = verdict.goal, FIGURES[verdict.goal.key]
        bound = f"{'at least' if goal.at_least else 'at most'} {goal.bound:g}"
        name = f"{WHO[goal.who]}: {figure.label}"
        print(f"{name:42}{figure.text(verdict.measured):>8}   {bound:15}{'met' if verdict.met else 'MISSED'}")
    print(f"{options.out / 'report.html'} and report.json")
    return 0


def _evaluate(options: argparse.Namespace, assets: Path, perceptual: PictureMetric | None) -> Results:
    machine = describe_machine()
    engine = load_engine(options.model, threads=options.threads)
    default = engine.manifest.default_tier
    gallery = Gallery(default if default in options.tiers else options.tiers[0])
    performances = list(held_out_performances(assets, options.performances, PERFORMANCE_SECONDS))
    with StageRenderer(assets) as renderer:
        fps = {tier: frames_per_second(engine, performances[0], tier) for tier in options.tiers}
        played = tuple(
            _perform(engine, renderer, performance, options, gallery, perceptual) for performance in performances
        )
        sessions = _long_sessions(engine, renderer, assets, options) if options.drift_frames else {}
    names = ("seconds", "performances", "drift_frames")
    settings = {name: getattr(options, name) for name in names} | {"tiers": ",".join(options.tiers)}
    left_out = () if perceptual else (WITHOUT_LPIPS,)
    return Results(
        engine.manifest, machine, settings, options.tiers, gallery.tier, played, fps, sessions, gallery, left_out
    )


def _perform(
    engine: TransformerEngine,
    renderer: StageRenderer,
    performance: Performance,
    options: argparse.Namespace,
    gallery: Gallery,
    perceptual: PictureMetric | None,
) -> PlayedPerformance:
    """Plays the asked-for seconds of one performance."""
    end = min(round(options.seconds * FPS), performance.frames)
    frames_of = up_to(end)
    clip, scores = SideBySide(FPS), list[FrameScore]()
    frames = play(engine, renderer, performance, options.tiers, frames_of)
    with tqdm(total=end, unit="frame", desc=f"performance {performance.seed}") as bar:
        for one, figures in scored(performance, frames, perceptual):
            clip.add(one.reference, one.pictures[gallery.tier])
            gallery.see(one, figures, frames_of(one.shot))
            scores.append(figures)
            bar.update()
    shots = tuple(shot for shot in performance.shots if shot.start < end)
    return PlayedPerformance(performance, shots, tuple(scores), clip.finish())


def _long_sessions(
    engine: TransformerEngine, renderer: StageRenderer, assets: Path, options: argparse.Namespace
) -> dict[str, LongSession]:
    """One at each tier."""
    performance = long_performance(assets)
    sessions = {}
    for tier in options.tiers:
        total = plan(performance, options.drift_frames).frames
        with tqdm(total=total, unit="frame", desc=f"long session, {tier}") as bar:
            sessions[tier] = play_long_session(engine, renderer, performance, tier, options.drift_frames, bar.update)
    return sessions
