"""``cutscene-train``: from art packs to a released model, one command a step.

  cutscene-train capture     --assets PACKS --out data/train --runs 4000 --seed 1
  cutscene-train capture     --assets PACKS --out data/held-out --runs 150 --seed 9 --split held-out
  cutscene-train faces       --assets PACKS --run runs/first
  cutscene-train autoencoder --shapes data/shapes.npz --data data/train --held-out data/held-out --run runs/first
  cutscene-train denoiser    --shapes data/shapes.npz --data data/train --held-out data/held-out --run runs/first
  cutscene-train finetune    --shapes data/shapes.npz --data data/train --held-out data/held-out --run runs/first
  cutscene-train grades      --shapes data/shapes.npz --data data/train --held-out data/held-out --run runs/first
  cutscene-train export      --shapes data/shapes.npz --run runs/first --out my-model --name my-game --version 1
  cutscene-train evaluate    --assets PACKS --model my-model --out out/report
  cutscene-train shapes      --assets PACKS --out data/shapes.npz
  cutscene-train library     --assets PACKS --out clients/python/cutscene_client/library

Another game's look, from what the game recorded (docs/own-game.md):

  cutscene-train import      --capture my-capture
  cutscene-train adapt       --capture my-capture --meshes my-meshes.toml --out my-model --minutes 30
  cutscene-train evaluate    --capture my-capture --model my-model --out out/scores

Every step is seeded, says how far it is, and goes on where it stopped when it is started again.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from cutscene_model.allocator import keep_freed_memory
from cutscene_model.errors import WeightsError
from cutscene_model.manifest import ManifestError
from cutscene_model.training import capture, library, volumes
from cutscene_model.training.autoencoder_training import AutoencoderRun, finish_autoencoder, train_autoencoder
from cutscene_model.training.denoiser_training import DenoiserRun, train_denoiser
from cutscene_model.training.evaluation_command import add_arguments, run_evaluation
from cutscene_model.training.export import describe_data, read_quality, release
from cutscene_model.training.faces_training import train_faces
from cutscene_model.training.grade_training import GradeRun, train_grades
from cutscene_model.training.own_game.commands import add_steps
from cutscene_model.training.own_game.errors import OwnGameError
from cutscene_model.training.own_game.importing import read_vocabulary
from cutscene_model.training.prepared import prepared_frames
from cutscene_model.training.shards import ShardError
from cutscene_model.vocabulary import SHIPPED, Vocabulary
from cutscene_model.volumes import VolumesError, read_volumes

FINISHED, FACES = "autoencoder-finished.safetensors", "faces.safetensors"


def main(arguments: list[str] | None = None) -> int:
    """Runs one step."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["capture"]:
        return capture.main(arguments[1:])
    if arguments[:1] == ["library"]:
        return library.main(arguments[1:])
    if arguments[:1] == ["shapes"]:
        return volumes.main(arguments[1:])
    options = _parser().parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    keep_freed_memory()
    # Gradients of texels that are hardly seen fade to denormal numbers, on which a CPU is many times slower.
    torch.set_flush_denormal(True)
    try:
        return int(options.step(options) or 0)
    except (ManifestError, WeightsError, VolumesError, ShardError, SafetensorError, OSError) as error:
        raise SystemExit(str(error)) from error
    finally:
        torch.set_flush_denormal(False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cutscene-train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    steps = parser.add_subparsers(required=True, metavar="STEP")

    def add(name: str, step: object, text: str) -> argparse.ArgumentParser:
        one = steps.add_parser(name, help=text, description=text)
        one.add_argument("--threads", type=int, help="CPU threads for torch (default: all)")
        one.set_defaults(step=step)
        return one

    steps.add_parser("capture", help="render performances of the stage to disk: see capture --help", add_help=False)
    steps.add_parser("shapes", help="fit shape volumes to looks and costumes", add_help=False)
    steps.add_parser("library", help="write the client's motion library, rooms and looks", add_help=False)

    one = add("faces", _faces, "Train the painter of faces on the stage's own faces; the autoencoder starts with it.")
    one.add_argument("--assets", type=Path, required=True, help="folder of the art packs")
    one.add_argument("--run", type=Path, required=True, help="run folder")
    one.add_argument("--steps", type=int, default=2000, help="batches in all (default 2000)")

    one = add("autoencoder", _autoencoder, "Train the autoencoder on captured frames.")
    _add_places(one)
    _add_rates(one, AutoencoderRun, steps=2200)
    one.add_argument("--start-from", type=Path, help="a checkpoint of another run, whose weights this one begins with")
    one.add_argument(
        "--hold-encoder",
        action="store_true",
        help="train the rest alone: latents stay as they are, but a denoiser must learn the new surface",
    )

    one = add("denoiser", _denoiser, "Train the denoiser on the autoencoder's latents.")
    _add_places(one)
    _add_rates(one, DenoiserRun, steps=2000)

    one = add("finetune", _finetune, "Train denoiser and autoencoder together, against the pictures themselves.")
    _add_places(one)
    _add_rates(one, DenoiserRun, steps=2000, batch=8, muon_rate=0.006, adam_rate=6e-4)

    one = add("grades", _grades, "Train the reader of reference pictures, which tells how colours are moved.")
    _add_data(one)
    _add_rates(one, GradeRun, steps=4000)

    one = add("export", _export, "Write a trained run as a model that cutscene-server can load.")
    one.add_argument("--run", type=Path, required=True)
    one.add_argument("--shapes", type=Path, required=True, help="the shape volumes that it was trained with")
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--name", required=True)
    one.add_argument("--version", required=True)
    one.add_argument("--data", type=Path, help="captured shards it was trained on, described in the manifest")
    one.add_argument("--note", action="append", default=[], metavar="KEY=VALUE", help="how it was trained; repeatable")
    _add_vocabulary(one)
    one.add_argument("--quality", type=Path, help="output of benchmarks/quality.py --json, kept in the manifest")

    one = add(
        "evaluate",
        run_evaluation,
        "Score a model on held-out performances against the stage's own render: an HTML report and JSON.",
    )
    add_arguments(one)
    add_steps(add)
    return parser


def _add_places(parser: argparse.ArgumentParser) -> None:
    _add_data(parser)
    _add_vocabulary(parser)


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--shapes", type=Path, required=True, help="shape volumes, from cutscene-train shapes")
    parser.add_argument("--data", type=Path, required=True, help="captured shards; prepared once, beside them")
    parser.add_argument("--held-out", type=Path, required=True, help="captured shards that are never trained on")
    parser.add_argument("--run", type=Path, required=True, help="run folder: checkpoints, logs, sample pictures")


def _add_vocabulary(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--vocabulary", type=_vocabulary, default=SHIPPED, metavar="FILE", help="names, from cutscene-train import"
    )


def _vocabulary(text: str) -> Vocabulary:
    try:
        return read_vocabulary(Path(text))
    except OwnGameError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _add_rates(parser: argparse.ArgumentParser, run: type, **defaults: float) -> None:
    """Options for the fields of ``run`` that are worth turning; what is not in ``defaults`` is as in ``run``."""
    fields = {field.name: field.default for field in dataclasses.fields(run)} | defaults
    for name, kind, text in (
        ("steps", int, "batches in all"),
        ("batch", int, "frames, or crops, a batch"),
        ("seed", int, "of batches and noise"),
        ("muon_rate", float, "learning rate of hidden weights"),
        ("adam_rate", float, "learning rate of the others"),
        ("decay_from", float, "share of the steps after which the rates fall"),
        ("save_minutes", float, "minutes between checkpoints"),
    ):
        option = "--" + name.replace("_", "-")
        parser.add_argument(option, type=kind, default=fields[name], help=f"{text} (default {fields[name]})")


def _rates(options: argparse.Namespace) -> dict[str, Any]:
    names = ("steps", "batch", "seed", "muon_rate", "adam_rate", "decay_from", "save_minutes")
    return {name: getattr(options, name) for name in names}


def _faces(options: argparse.Namespace) -> None:
    error = train_faces(options.assets, options.run / FACES, options.steps)
    print(f"{options.run / FACES}: mean error of coverage {error:.4f}")


def _autoencoder(options: argparse.Namespace) -> None:
    shapes, faces = read_volumes(options.shapes), options.run / FACES
    names = options.vocabulary
    painter = faces if faces.exists() else None
    frames, held_out = (
        prepared_frames(path, shapes, None, names, painter) for path in (options.data, options.held_out)
    )
    run = AutoencoderRun(
        shapes, frames, held_out, options.run, faces=painter, vocabulary=names, start_from=options.start_from,
        encoder=not options.hold_encoder, **_rates(options),
    )  # fmt: skip
    train_autoencoder(run)
    finished = finish_autoencoder(run)
    save_file({k: v.contiguous() for k, v in finished.state_dict().items()}, options.run / FINISHED)


def _denoiser(options: argparse.Namespace) -> None:
    train_denoiser(_denoiser_run(options))


def _finetune(options: argparse.Namespace) -> None:
    run = _denoiser_run(options)
    train_denoiser(dataclasses.replace(run, pictures=True, start_from=run.checkpoint))


def _denoiser_run(options: argparse.Namespace) -> DenoiserRun:
    finished, shapes = options.run / FINISHED, read_volumes(options.shapes)
    names = options.vocabulary
    painter = options.run / FACES if (options.run / FACES).exists() else None
    frames, held_out = (
        prepared_frames(path, shapes, finished, names, painter) for path in (options.data, options.held_out)
    )
    return DenoiserRun(
        shapes, frames, held_out, finished, options.run, vocabulary=names,
        **_rates(options),
    )  # fmt: skip


def _grades(options: argparse.Namespace) -> None:
    figures = train_grades(
        GradeRun(read_volumes(options.shapes), options.data, options.held_out, options.run, **_rates(options))
    )
    print(
        f"held-out frames under random looks: {figures['none_db']:.1f} dB without a reference, "
        f"{figures['read_db']:.1f} dB as one tells, {figures['strange_db']:.1f} dB as one of another performance does"
    )


def _export(options: argparse.Namespace) -> None:
    notes = dict(note.partition("=")[::2] for note in options.note)
    data = describe_data(options.data) if options.data else {}
    quality = read_quality(options.quality)
    shapes, names = read_volumes(options.shapes), options.vocabulary
    manifest = release(options.run, shapes, options.out, options.name, options.version, data, notes, quality, names)
    print(f"{options.out}: {manifest.name} {manifest.version}, digest {manifest.digest[:16]}")


if __name__ == "__main__":
    sys.exit(main())
