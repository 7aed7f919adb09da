"""The steps of ``cutscene-train`` for another game's look: their options, and what they print."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from cutscene_model.loading import SHIPPED_WEIGHTS, VOLUMES_FILE, load_engine
from cutscene_model.manifest import read_manifest
from cutscene_model.training.own_game.adapting import Adaptation, adapt, print_scores
from cutscene_model.training.own_game.capture_folder import census, read_capture
from cutscene_model.training.own_game.errors import OwnGameError
from cutscene_model.training.own_game.importing import import_capture, split_runs
from cutscene_model.training.own_game.meshes import fit_meshes, read_meshes
from cutscene_model.training.own_game.scored_runs import runs_to_score
from cutscene_model.training.own_game.scoring import score_runs, write_rows
from cutscene_model.volumes import read_volumes, write_volumes

Add = Callable[[str, object, str], argparse.ArgumentParser]


def add_steps(add: Add) -> None:
    """Adds ``import`` and ``adapt``."""
    one = add("import", run_import, "Check a game's capture, and write it as shards that training reads.")
    _add_capture(one)
    one.add_argument("--out", type=Path, help="folder of train/, held-out/ and vocabulary.json; without it: check only")

    one = add("adapt", run_adapt, "Adapt a model to a game's look: import, shapes, training, export, scores.")
    _add_capture(one)
    one.add_argument("--out", type=Path, required=True, help="folder of the new model")
    one.add_argument("--run", type=Path, help="folder of what is kept in between (default: OUT-run)")
    one.add_argument("--model", type=Path, default=SHIPPED_WEIGHTS, help="model to start from (default: shipped)")
    one.add_argument("--meshes", type=Path, help="list of the game's meshes, see docs/own-game.md")
    one.add_argument("--shapes", type=Path, help="fitted before, by cutscene-train shapes --meshes: not once more")
    one.add_argument("--minutes", type=float, default=30.0, help="of training (default: %(default)s); 0: none")
    one.add_argument("--name", default="my-game", help="of the new model (default: %(default)s)")
    one.add_argument("--version", default="1", help="of the new model (default: %(default)s)")
    one.add_argument("--license", default="", help="of the new model, for its manifest")
    one.add_argument("--batch", type=int, default=20, help="crops a step of the autoencoder's (default: %(default)s)")
    one.add_argument("--seed", type=int, default=5)
    one.add_argument(
        "--score-frames", type=int, default=48, help="of each held-out run (default: %(default)s); 0: no scores"
    )


def _add_capture(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--capture", type=Path, required=True, help="folder that the game recorded")
    parser.add_argument(
        "--held-out",
        action="append",
        default=[],
        metavar="RUN",
        help="a run to measure on; repeatable (default: every tenth)",
    )


def run_import(options: argparse.Namespace) -> int:
    """``cutscene-train import``."""
    try:
        runs = read_capture(options.capture)
        print(census(runs))
        if options.out:
            split = split_runs(runs, options.held_out)
            import_capture(split, options.out)
            print(f"{options.out}: {len(split.train)} runs to train on, {len(split.held_out)} held out")
    except OwnGameError as error:
        raise SystemExit(str(error)) from error
    return 0


def run_adapt(options: argparse.Namespace) -> int:
    """``cutscene-train adapt``."""
    try:
        job = _job(options)
        manifest = adapt(job)
    except OwnGameError as error:
        raise SystemExit(str(error)) from error
    print(f"{job.out}: {manifest.name} {manifest.version}, digest {manifest.digest[:16]}")
    print(f"cutscene-server --model {job.out}")
    return 0


def _job(options: argparse.Namespace) -> Adaptation:
    try:
        return Adaptation(
            options.capture, options.out, options.run or options.out.with_name(f"{options.out.name}-run"), options.name,
            options.version, options.model, options.meshes, options.shapes, tuple(options.held_out), options.minutes,
            options.license, options.seed, options.batch, score_frames=options.score_frames,
        )  # fmt: skip
    except ValueError as error:
        raise SystemExit(f"cutscene-train adapt: {error}") from error


def run_shapes(meshes: Path, out: Path, model: Path | None) -> int:
    """``cutscene-train shapes --meshes``."""
    try:
        volumes = fit_meshes(read_meshes(meshes), read_volumes((model or SHIPPED_WEIGHTS) / VOLUMES_FILE))
    except OwnGameError as error:
        raise SystemExit(str(error)) from error
    out.parent.mkdir(parents=True, exist_ok=True)
    write_volumes(out, volumes)
    print(f"{out}: {len(volumes.names)} shapes, {out.stat().st_size / 1e6:.1f} MB")
    return 0


def run_scores(options: argparse.Namespace) -> int:
    """``cutscene-train evaluate --capture``: runs of a capture that the model was not trained on, or with a warning, as
    JSON and a picture.
    """
    model = options.model or SHIPPED_WEIGHTS
    try:
        chosen = runs_to_score(read_capture(options.capture), read_manifest(model).data, options.held_out)
    except OwnGameError as error:
        raise SystemExit(str(error)) from error
    names = [run.name for run in chosen.runs]
    print(f"runs that are played: {', '.join(names)}")
    engine = load_engine(model, threads=options.threads)
    default = engine.manifest.default_tier
    tier = default if default in options.tiers else options.tiers[0]
    result = score_runs(engine, chosen.runs, tier, options.score_frames)
    options.out.mkdir(parents=True, exist_ok=True)
    name = f"{engine.manifest.name} {engine.manifest.version}"
    trained_on = None if chosen.trained_on is None else list(chosen.trained_on)
    plain = {
        "model_name": name,
        "digest": engine.manifest.digest,
        "tier": tier,
        "runs": names,
        "trained_on": trained_on,
    }
    (options.out / "scores.json").write_text(json.dumps(plain | result.to_plain(), indent=1) + "\n", encoding="utf-8")
    title = f"{name}: {result.figures['psnr_db']:.2f} dB"
    write_rows(
        options.out / "scores.png",
        ["the game", f"{title}; {chosen.warning}" if chosen.warning else title],
        [[one.reference for one in result.shown], [one.result for one in result.shown]],
    )
    print_scores({name: result})
    if chosen.warning:
        print(f"warning: {chosen.warning}")
    print(f"{options.out / 'scores.json'} and scores.png")
    return 0
