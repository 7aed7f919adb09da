"""Reads a released model from disk: manifest, digest check, weights. No pickle anywhere."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from cutscene_model.allocator import keep_few_primitives, keep_freed_memory
from cutscene_model.autoencoder import Autoencoder
from cutscene_model.block_pool import BlockPool
from cutscene_model.denoiser import LATENT_COLUMNS, LATENT_ROWS, Denoiser
from cutscene_model.errors import EngineError, WeightsError
from cutscene_model.grading import TONE_SHAPE, GradeReader
from cutscene_model.greybox import HEIGHT, WIDTH
from cutscene_model.manifest import Manifest, ManifestError, read_manifest, weights_digest
from cutscene_model.precision import picture_dtype, set_picture_dtype
from cutscene_model.rehearsal import draw_each_tier, small_scene
from cutscene_model.scene import MAX_REFERENCES
from cutscene_model.surface import CELL
from cutscene_model.transformer import TransformerEngine
from cutscene_model.volumes import Volumes, VolumesError, read_volumes, write_volumes

SHIPPED_WEIGHTS = Path(__file__).parent / "weights"
VOLUMES_FILE, AUTOENCODER_FILE, DENOISER_FILE = "shapes.npz", "autoencoder.safetensors", "denoiser.safetensors"
GRADES_FILE = "grades.safetensors"  # of a model that takes reference pictures


def load_engine(
    directory: Path | None = None, device: str = "cpu", threads: int | None = None, precision: str = "auto"
) -> TransformerEngine:
    """Loads the model in ``directory``, or the one that ships with this package.

    ``device`` is a torch device ("cpu", "cuda:0"). ``threads`` is how many an operation on the CPU is shared out among:
    by default half of the cores, for two stages of frames go on at once (see ``pipeline``). ``precision`` is one of
    ``PRECISIONS``. On the CPU the process is told what memory to keep (see ``allocator``). Raises
    ``WeightsError`` if the files are missing, damaged, or not those that the manifest describes, ``EngineError`` for a
    device that there is not, ``ValueError`` for an unknown precision.
    """
    dtype = picture_dtype(precision, _usable(device))
    directory = SHIPPED_WEIGHTS if directory is None else directory
    # Said even where it is torch's own choice: until it is, MKL may take fewer at times, and then it rounds otherwise.
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2) if threads is None else threads)
    if device == "cpu":
        keep_freed_memory()
        keep_few_primitives()
    try:
        manifest = read_manifest(directory)
        found = weights_digest(directory, manifest.files)
    except (ManifestError, OSError) as error:
        raise WeightsError(f"no model in {directory}: {error}") from error
    if found != manifest.digest:
        raise WeightsError(f"{directory}: the weights' digest is {found}, the manifest says {manifest.digest}")
    _check(directory, manifest)
    try:
        volumes = read_volumes(directory / VOLUMES_FILE)
        autoencoder, denoiser = build(manifest, volumes)
        for module, name in ((autoencoder, AUTOENCODER_FILE), (denoiser, DENOISER_FILE)):
            _load_weights(module, directory / name)
        reader = load_reader(directory) if manifest.references else None
    # TypeError and ValueError: the manifest's ``architecture`` is what constructors are given.
    except (SafetensorError, VolumesError, RuntimeError, OSError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(f"{directory}: {error}") from error
    set_picture_dtype(autoencoder, denoiser, dtype)
    engine = TransformerEngine(manifest, volumes, autoencoder, denoiser, torch.device(device), reader)
    if device == "cpu":
        draw_each_tier(engine, *small_scene(manifest, volumes.rest_joints))
        engine.pool = BlockPool()  # which has seen nothing yet
    return engine


def _usable(device: str) -> torch.device:
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch without CUDA asserts that it has it
        raise EngineError(f"device: {device!r} cannot be used: {str(error).splitlines()[0]}") from error


def _check(directory: Path, manifest: Manifest) -> None:
    """Raises ``WeightsError`` if the manifest leaves a file out of its digest, or tells of another size than this
    package draws: the networks would fit, and the pictures would not be what was said.
    """
    needed = {VOLUMES_FILE, AUTOENCODER_FILE, DENOISER_FILE} | ({GRADES_FILE} if manifest.references else set())
    if missing := needed - set(manifest.files):
        raise WeightsError(f"{directory}: files: {', '.join(sorted(missing))} is not among them")
    for name, found, drawn in (
        ("height and width", (manifest.height, manifest.width), (HEIGHT * CELL, WIDTH * CELL)),
        ("greybox_shape", manifest.greybox_shape, (HEIGHT, WIDTH)),
        ("latent_shape", manifest.latent_shape[1:], (LATENT_ROWS, LATENT_COLUMNS)),
        ("reference_shape", manifest.reference_shape, TONE_SHAPE if manifest.references else ()),
    ):
        if found != drawn:
            raise WeightsError(f"{directory}: {name}: found {found}; this version draws {drawn}")


def build(manifest: Manifest, volumes: Volumes) -> tuple[Autoencoder, Denoiser]:
    """The networks that ``manifest`` describes, with random weights."""
    latent = manifest.latent_shape[0]
    return Autoencoder(len(manifest.costumes), len(manifest.looks), volumes, latent), Denoiser(
        latent, **manifest.architecture.get("denoiser", {})
    )


def load_reader(directory: Path) -> GradeReader:
    """The reader of reference pictures in the model's folder ``directory``. Raises ``OSError``, ``SafetensorError``,
    ``RuntimeError``."""
    reader = GradeReader()
    _load_weights(reader, directory / GRADES_FILE)
    return reader.eval()


def _load_weights(module: nn.Module, path: Path) -> None:
    weights = load_file(path)
    module.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in weights.items()})


def write_model(
    directory: Path,
    manifest: Manifest,
    volumes: Volumes,
    autoencoder: Autoencoder,
    denoiser: Denoiser,
    reader: GradeReader | None = None,
) -> Manifest:
    """Writes shape volumes, weights as float16 and the manifest with their digest; returns that manifest.

    A model without a ``reader`` takes no reference pictures, and its manifest says so.
    """
    directory.mkdir(parents=True, exist_ok=True)
    autoencoder.surface.faces.find_marks()
    modules: dict[str, nn.Module] = {AUTOENCODER_FILE: autoencoder, DENOISER_FILE: denoiser}
    if reader is not None:
        modules[GRADES_FILE] = reader
    for name, module in modules.items():
        weights = {k: v.half() if v.is_floating_point() else v for k, v in module.state_dict().items()}
        save_file({k: v.contiguous() for k, v in weights.items()}, directory / name)
    write_volumes(directory / VOLUMES_FILE, volumes)
    files = (VOLUMES_FILE, *modules)
    written = dataclasses.replace(
        manifest, files=files, digest=weights_digest(directory, files),
        references=MAX_REFERENCES if reader else 0, reference_shape=TONE_SHAPE if reader else (),
    )  # fmt: skip
    written.write(directory)
    return written
