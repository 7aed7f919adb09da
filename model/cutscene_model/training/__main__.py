"""``cutscene-train``: from art packs to a released model, one command a step.

  cutscene-train capture     --assets PACKS --out data/train --runs 4000 --seed 1
  cutscene-train capture     --assets PACKS --out data/held-out --runs 150 --seed 9 --split held-out
  cutscene-train autoencoder --data data/train --held-out data/held-out --out runs/first --steps 1500
  cutscene-train prepare     --data data/train --out data/prepared --run runs/first
  cutscene-train prepare     --data data/held-out --out data/prepared-held-out --run runs/first
  cutscene-train denoiser    --data data/train --held-out data/held-out --prepared data/prepared \\
                             --prepared-held-out data/prepared-held-out --run runs/first --steps 4000
  cutscene-train export      --run runs/first --out my-model --name my-game --version 1
  cutscene-train evaluate    --assets PACKS --model my-model
  cutscene-train library     --assets PACKS --out clients/python/cutscene_client/library

Every step is seeded, says how far it is, and goes on where it stopped when it is started again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from cutscene_model.allocator import keep_freed_memory
from cutscene_model.autoencoder import Autoencoder
from cutscene_model.training import capture, library
from cutscene_model.training.autoencoder_training import AutoencoderRun, finish_autoencoder, train_autoencoder
from cutscene_model.training.denoiser_training import DenoiserRun, train_denoiser
from cutscene_model.training.evaluation_command import add_arguments, run_evaluation
from cutscene_model.training.export import describe_data, read_quality, release
from cutscene_model.training.prepared import PreparedFrames, prepare_greyboxes, prepare_latents
from cutscene_model.training.shards import open_shards

FINISHED = "autoencoder-finished.safetensors"
TAG = "first"


def main(arguments: list[str] | None = None) -> int:
    """Runs one step."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["capture"]:
        return capture.main(arguments[1:])
    if arguments[:1] == ["library"]:
        return library.main(arguments[1:])
    options = _parser().parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    keep_freed_memory()
    return int(options.step(options) or 0)


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
    steps.add_parser("library", help="write the client's motion library, rooms and looks", add_help=False)

    one = add("autoencoder", _autoencoder, "Train the autoencoder on captured pictures.")
    one.add_argument("--data", type=Path, required=True, help="captured shards")
    one.add_argument("--held-out", type=Path, required=True, help="captured shards that are never trained on")
    one.add_argument("--out", type=Path, required=True, help="run folder: checkpoint, log, sample pictures")
    one.add_argument("--steps", type=int, default=1500, help="batches in all (default 1500)")
    one.add_argument("--seed", type=int, default=1)

    one = add("prepare", _prepare, "Rasterise greyboxes and encode pictures, once the autoencoder is trained.")
    one.add_argument("--data", type=Path, required=True, help="captured shards")
    one.add_argument("--out", type=Path, required=True, help="folder for the prepared arrays, about 0.4 MB a frame")
    one.add_argument("--run", type=Path, help="the autoencoder's run folder; without it only greyboxes are made")

    one = add("denoiser", _denoiser, "Train the denoiser on prepared frames.")
    one.add_argument("--data", type=Path, required=True, help="captured shards")
    one.add_argument("--held-out", type=Path, required=True, help="captured shards that are never trained on")
    one.add_argument("--prepared", type=Path, required=True, help="prepared arrays of --data")
    one.add_argument("--prepared-held-out", type=Path, required=True, help="prepared arrays of --held-out")
    one.add_argument("--run", type=Path, required=True, help="run folder that holds the autoencoder")
    one.add_argument("--steps", type=int, default=4000, help="batches in all (default 4000)")
    one.add_argument("--decoded-from", type=float, default=0.75, help="share of the steps after which pictures count")
    one.add_argument("--decay-from", type=float, default=0.4, help="share of the steps after which the rates fall")
    one.add_argument("--muon-rate", type=float, default=0.015)
    one.add_argument("--adam-rate", type=float, default=1e-3)
    one.add_argument("--start-from", type=Path, help="a checkpoint whose weights a new run begins with")
    one.add_argument("--batch", type=int, default=16, help="frames a batch (default 16; half of it with pictures)")
    one.add_argument("--seed", type=int, default=2)

    one = add("export", _export, "Write a trained run as a model that cutscene-server can load.")
    one.add_argument("--run", type=Path, required=True)
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--name", required=True)
    one.add_argument("--version", required=True)
    one.add_argument("--data", type=Path, help="captured shards it was trained on, described in the manifest")
    one.add_argument("--note", action="append", default=[], metavar="KEY=VALUE", help="how it was trained; repeatable")
    one.add_argument("--quality", type=Path, help="output of benchmarks/quality.py --json, kept in the manifest")

    one = add("evaluate", run_evaluation, "Score a model on held-out performances against the stage's own render.")
    add_arguments(one)
    return parser


def _autoencoder(options: argparse.Namespace) -> None:
    train_autoencoder(AutoencoderRun(options.data, options.held_out, options.out, options.steps, seed=options.seed))
    finished = finish_autoencoder(options.out, options.data)
    save_file({k: v.contiguous() for k, v in finished.state_dict().items()}, options.out / FINISHED)


def _prepare(options: argparse.Namespace) -> None:
    shards = open_shards(options.data)
    coder = None
    if options.run is not None:
        coder = Autoencoder()
        coder.load_state_dict(load_file(options.run / FINISHED))
    for shard in tqdm(shards, unit="shard", desc="preparing"):
        prepare_greyboxes(shard, options.out / shard.name)
        if coder is not None:
            prepare_latents(shard, options.out / shard.name, coder, TAG)


def _denoiser(options: argparse.Namespace) -> None:
    train_denoiser(
        DenoiserRun(
            PreparedFrames(options.prepared, TAG, open_shards(options.data)),
            PreparedFrames(options.prepared_held_out, TAG, open_shards(options.held_out)),
            options.run / FINISHED,
            options.run,
            options.steps,
            batch=options.batch,
            seed=options.seed,
            decoded_from=options.decoded_from,
            decay_from=options.decay_from,
            muon_rate=options.muon_rate,
            adam_rate=options.adam_rate,
            start_from=options.start_from,
        )
    )


def _export(options: argparse.Namespace) -> None:
    notes = dict(note.partition("=")[::2] for note in options.note)
    data = describe_data(options.data) if options.data else {}
    quality = read_quality(options.quality)
    manifest = release(options.run, options.out, options.name, options.version, data, notes, quality)
    print(f"{options.out}: {manifest.name} {manifest.version}, digest {manifest.digest[:16]}")


if __name__ == "__main__":
    sys.exit(main())
