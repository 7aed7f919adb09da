"""From a capture to a model of that look: ``cutscene-train adapt``. What a step made is kept, and not made twice.

- import: the capture's runs as shards, some of them held out, in RUN/data
- shapes: volumes of the game's meshes, and of the base's for names that they share, in RUN/shapes.npz
- start: the base's weights under the game's names, RUN/start.safetensors, and as a model of its own in RUN/before
- plan: how many steps the minutes are worth on this machine, RUN/minutes-30/plan.json
- train: the autoencoder, then everything together, RUN/minutes-30
- export: a folder that cutscene-server loads, OUT
- score: the held-out runs before and after, in OUT/manifest.json and RUN/before-after.png

Other minutes make another training, from the same preparation.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tqdm import tqdm

from cutscene_model.autoencoder import Autoencoder
from cutscene_model.loading import SHIPPED_WEIGHTS, VOLUMES_FILE, load_engine, load_reader, write_model
from cutscene_model.manifest import Manifest, read_manifest
from cutscene_model.training.autoencoder_training import AutoencoderRun, train_autoencoder
from cutscene_model.training.denoiser_training import Both, DenoiserRun, train_denoiser
from cutscene_model.training.own_game.capture_folder import census, read_capture
from cutscene_model.training.own_game.errors import MeshesError, OwnGameError
from cutscene_model.training.own_game.importing import HELD_OUT, TRAIN, Split, import_capture, split_runs, vocabulary_of
from cutscene_model.training.own_game.meshes import MeshList, fit_meshes, read_meshes, volumes_for
from cutscene_model.training.own_game.scored_runs import described_split
from cutscene_model.training.own_game.scoring import CaptureScore, score_runs, write_rows
from cutscene_model.training.own_game.warm_start import fit_plain_colors, plain_colors, warm_model
from cutscene_model.training.prepared import PREPARED, PreparedFrames, prepare_greyboxes, prepared_frames, shapes_tag
from cutscene_model.training.progress import load_average, load_checkpoint, read_step
from cutscene_model.training.shards import read_shard, shard_paths
from cutscene_model.vocabulary import Vocabulary
from cutscene_model.volumes import Volumes, no_volumes, read_volumes, write_volumes

FINETUNE_SHARE = 0.5  # of the minutes, that goes to everything together; the rest to the autoencoder
PROBE_STEPS = 4
LEAST_STEPS = 4


@dataclass(frozen=True, slots=True)
class Adaptation:
    """What determines an adaptation. The rates are lower than a fresh training's: most of what is known still holds."""

    capture: Path
    out: Path
    run: Path
    name: str
    version: str = "1"
    model: Path = SHIPPED_WEIGHTS  # a released model to start from
    meshes: Path | None = None  # my-meshes.toml
    shapes: Path | None = None  # volumes fitted before, so that the meshes need not be; neither: boxes and capsules
    held_out: tuple[str, ...] = ()  # runs; none: every tenth
    minutes: float = 30.0  # of training; 0: none
    license: str = ""
    seed: int = 5
    batch: int = 20  # crops of the autoencoder's
    finetune_batch: int = 8
    muon_rate: float = 0.008
    adam_rate: float = 8e-4
    score_frames: int = 48  # of each held-out run; 0: no scores

    def __post_init__(self) -> None:
        """Raises ``ValueError``."""
        for name, low, high in (("minutes", 0, 6000), ("batch", 1, 1024), ("finetune_batch", 1, 1024)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name}: found {getattr(self, name)}; allowed are {low} to {high}")
        if self.score_frames < 0:
            raise ValueError(f"score_frames: found {self.score_frames}; allowed are whole numbers from 0")

    @property
    def training(self) -> Path:
        """Where checkpoints and logs are."""
        return self.run / f"minutes-{self.minutes:g}"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What training starts from."""

    split: Split
    base: Manifest
    vocabulary: Vocabulary
    volumes: Volumes
    like: dict[str, str]


def adapt(job: Adaptation) -> Manifest:
    """Does what is still to be done. Raises ``OwnGameError``, ``ValueError`` for what cannot be used."""
    ready = prepare(job)
    start = _start(job, ready)
    after = start if not job.minutes else _trained(job, ready)
    data = {"capture": described_split(ready.split), "base": f"{ready.base.name} {ready.base.version}"}
    training = {"base_digest": ready.base.digest, "minutes": job.minutes, **_steps(job)}
    manifest = dataclasses.replace(
        ready.base, name=job.name, version=job.version, costumes=ready.vocabulary.costumes,
        looks=ready.vocabulary.looks, license=job.license, data=data, training=training, quality={},
    )  # fmt: skip
    # What looks do to colours it knows from paint, whoever's it is: so the base's reader serves as it is.
    reader = load_reader(job.model) if ready.base.references else None
    before = write_model(job.run / "before", manifest, ready.volumes, start.autoencoder, start.denoiser, reader)
    manifest = write_model(job.out, manifest, ready.volumes, after.autoencoder, after.denoiser, reader)
    if job.score_frames:
        manifest = dataclasses.replace(manifest, quality=_scored(job, ready.split, before != manifest))
        manifest.write(job.out)
    return manifest


def prepare(job: Adaptation) -> Prepared:
    """Capture, vocabulary and shapes. Raises ``OwnGameError`` if the run folder was made from others."""
    runs = read_capture(job.capture)
    print(census(runs))
    split = split_runs(runs, job.held_out)
    vocabulary, base = vocabulary_of((*split.train, *split.held_out)), read_manifest(job.model)
    meshes = read_meshes(job.meshes) if job.meshes else None
    if meshes is not None:
        _check_like(meshes, vocabulary, base)
    inputs = {
        "base": base.digest,
        "costumes": list(vocabulary.costumes),
        "looks": list(vocabulary.looks),
        "meshes": _digest(job.meshes),
        "shapes": _digest(job.shapes),
        "held_out": sorted(run.name for run in split.held_out),  # else scores would be of what was trained on
    }
    job.run.mkdir(parents=True, exist_ok=True)
    _same_inputs(job.run / "inputs.json", inputs)
    import_capture(split, job.run / "data")
    volumes = _volumes(job, vocabulary, meshes)
    return Prepared(split, base, vocabulary, volumes, meshes.like if meshes else {})


def _check_like(meshes: MeshList, vocabulary: Vocabulary, base: Manifest) -> None:
    """Before shapes are fitted, which takes minutes."""
    for kind, names, known in (
        ("costumes", vocabulary.costumes, base.costumes),
        ("looks", vocabulary.looks, base.looks),
    ):
        for name in set(names) & set(meshes.like):
            if meshes.like[name] not in known:
                field = f"{kind}.{name}.like"
                raise MeshesError(meshes.path, field, f"{base.name} has no {meshes.like[name]!r}: {', '.join(known)}")


def _volumes(job: Adaptation, vocabulary: Vocabulary, meshes: MeshList | None) -> Volumes:
    path = job.run / VOLUMES_FILE
    if not path.exists():
        base = read_volumes(job.model / VOLUMES_FILE)
        own = no_volumes()
        if job.shapes:
            own = read_volumes(job.shapes)
        elif meshes is not None:
            own = fit_meshes(meshes, base)
        write_volumes(path, volumes_for(vocabulary, own, base))
    volumes = read_volumes(path)
    shaped = {name.partition(":")[0] for name in volumes.names}
    bare = [name for name in (*vocabulary.costumes, *vocabulary.looks) if name not in shaped]
    if bare:
        print(f"without shapes, so boxes or capsules of one colour: {', '.join(bare)}")
    return volumes


def _same_inputs(path: Path, inputs: dict[str, Any]) -> None:
    """What a run folder was made from must stay, or half of it would belong to something else."""
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        for key, value in inputs.items():
            if found.get(key, value) != value:
                raise OwnGameError(path, key, "is not what this run was begun with; give another folder with --run")
    path.write_text(json.dumps(inputs, indent=1) + "\n", encoding="utf-8")


def _digest(path: Path | None) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest() if path else ""


# ---- weights --------------------------------------------------------------------------------------------------------


def _frames(job: Adaptation, ready: Prepared, part: str, finished: Path | None = None) -> PreparedFrames:
    return prepared_frames(job.run / "data" / part, ready.volumes, finished, ready.vocabulary)


def _some_frames(job: Adaptation, ready: Prepared, shards: int = 12) -> PreparedFrames:
    """Those of some shards, without latents: enough to tell colours from."""
    folder = job.run / "data" / TRAIN
    paths = shard_paths(folder)
    chosen = [read_shard(path) for path in paths[:: max(1, len(paths) // shards)]]
    shapes = shapes_tag(ready.volumes, ready.vocabulary)
    for shard in tqdm(chosen, unit="shard", desc="preparing some frames"):
        prepare_greyboxes(shard, folder / PREPARED / shard.name, ready.volumes, ready.vocabulary, shapes)
    return PreparedFrames(folder / PREPARED, None, chosen)


def _start(job: Adaptation, ready: Prepared) -> Both:
    """The base's weights under the game's names."""
    path = job.run / "start.safetensors"
    model = warm_model(job.model, ready.base, ready.vocabulary, ready.volumes, ready.like)
    if not path.exists():
        frames = _some_frames(job, ready)
        fit_plain_colors(model.autoencoder, frames, plain_colors(frames))
        _save(path, {f"module.{name}": value for name, value in model.state_dict().items()}, "0")
    load_checkpoint(path, model)
    return model


def _trained(job: Adaptation, ready: Prepared) -> Both:
    """The autoencoder trained on, then everything together."""
    job.training.mkdir(exist_ok=True)
    start, parts = job.run / "start.safetensors", {}
    model = Both(Autoencoder(*ready.vocabulary.sizes, ready.volumes))
    load_checkpoint(start, model)
    for name, prefix in (("autoencoder", "autoencoder."), ("denoiser", "")):
        wanted = {k: v for k, v in model.state_dict().items() if k.startswith(f"{name}.")}
        parts[name] = job.run / f"start-{name}.safetensors"
        _save(parts[name], {f"module.{k.removeprefix(prefix)}": v for k, v in wanted.items()}, "0")

    first = AutoencoderRun(
        ready.volumes, _frames(job, ready, TRAIN), _frames(job, ready, HELD_OUT), job.training, 0, job.batch, job.seed,
        muon_rate=job.muon_rate, adam_rate=job.adam_rate, start_from=parts["autoencoder"], vocabulary=ready.vocabulary,
    )  # fmt: skip
    steps = _planned(job, "autoencoder", 1 - FINETUNE_SHARE, lambda n, out: train_autoencoder(
        dataclasses.replace(first, steps=n, out=out)
    ))  # fmt: skip
    train_autoencoder(dataclasses.replace(first, steps=steps))

    finished = job.training / "autoencoder-finished.safetensors"
    if not finished.exists():
        # The statistics of latents stay the base's, for its denoiser knows latents by them.
        autoencoder = Autoencoder(*ready.vocabulary.sizes, ready.volumes)
        load_average(job.training / "autoencoder.safetensors", autoencoder)
        _save(finished, autoencoder.state_dict(), "0")
    second = DenoiserRun(
        ready.volumes, _frames(job, ready, TRAIN, finished), _frames(job, ready, HELD_OUT, finished), finished,
        job.training, 0, True, job.finetune_batch, job.seed, 0.75 * job.muon_rate, 0.75 * job.adam_rate,
        start_from=parts["denoiser"], vocabulary=ready.vocabulary,
    )  # fmt: skip
    steps = _planned(job, "finetune", FINETUNE_SHARE, lambda n, out: train_denoiser(
        dataclasses.replace(second, steps=n, out=out)
    ))  # fmt: skip
    train_denoiser(dataclasses.replace(second, steps=steps))
    load_average(second.checkpoint, model)
    return model


def _planned(job: Adaptation, part: str, share: float, train: Callable[[int, Path], None]) -> int:
    """How many steps a share of the minutes is worth; measured once, so that what was stopped goes on alike."""
    path = job.training / "plan.json"
    plan = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if part not in plan:
        seconds = []
        for steps in (1, 1 + PROBE_STEPS):  # what is not steps costs both alike
            with tempfile.TemporaryDirectory(dir=job.training) as scratch:
                begun = time.monotonic()
                train(steps, Path(scratch))
                seconds.append(time.monotonic() - begun)
        each = max((seconds[1] - seconds[0]) / PROBE_STEPS, 1e-3)
        plan[part] = max(LEAST_STEPS, round(60 * job.minutes * share / each))
        path.write_text(json.dumps(plan, indent=1) + "\n", encoding="utf-8")
        print(f"{part}: {plan[part]} steps of {each:.2f} s")
    return int(plan[part])


def _steps(job: Adaptation) -> dict[str, int]:
    files = {"autoencoder_steps": "autoencoder.safetensors", "finetune_steps": "finetuned.safetensors"}
    return {key: read_step(job.training / name) for key, name in files.items() if (job.training / name).exists()}


def _save(path: Path, tensors: dict[str, torch.Tensor], step: str) -> None:
    temporary = path.with_suffix(".tmp")
    save_file({name: value.contiguous() for name, value in tensors.items()}, temporary, metadata={"step": step})
    temporary.replace(path)


# ---- figures --------------------------------------------------------------------------------------------------------


def _scored(job: Adaptation, split: Split, twice: bool) -> dict[str, Any]:
    """Plays the held-out runs before and after; a picture of both beside the game's own."""
    scores: dict[str, CaptureScore] = {}
    for who, folder in (("before", job.run / "before"), ("after", job.out)):
        if twice or who == "after":
            scores[who] = score_runs(load_engine(folder), split.held_out, most=job.score_frames)
    last = scores["after"].shown
    titles, rows = ["the game"], [[one.reference for one in last]]
    for who, one in scores.items():
        titles.append(f"{who}: {one.figures['psnr_db']:.2f} dB over {one.frames} held-out frames")
        rows.append([shown.result for shown in one.shown])
    write_rows(job.run / "before-after.png", titles, rows)
    print_scores(scores)
    return {who: one.to_plain() for who, one in scores.items()}


def print_scores(scores: dict[str, CaptureScore]) -> None:
    """A table."""
    columns = {"PSNR": "psnr_db", "SSIM": "ssim", "actors": "actor_psnr_db", "faces": "face_psnr_db",
               "edges": "edge_psnr_db", "grad.": "gradient_energy_ratio", "flicker": "flicker_ratio"}  # fmt: skip
    print(f"{'':24}{''.join(f'{name:>9}' for name in columns)}")
    for who, one in scores.items():
        for kind, figures in ((who, one.figures), (f"{who}, autoencoder", one.autoencoder)):
            print(f"{kind:24}{''.join(f'{figures.get(key, math.nan):9.2f}' for key in columns.values())}")
