"""Weights and manifests on disk: what loads, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from numba.core.dispatcher import Dispatcher
from safetensors.torch import load_file

from cutscene_model import composition, greybox, lighting, marks, shading, tracing
from cutscene_model.engine import draw_whole
from cutscene_model.errors import WeightsError
from cutscene_model.loading import SHIPPED_WEIGHTS, load_engine, write_model
from cutscene_model.manifest import ManifestError, read_manifest, weights_digest
from cutscene_model.scene import Box
from cutscene_model.volumes import no_volumes
from small_scenes import CRATE, FLOOR, stage, state


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED_WEIGHTS, tmp_path / "model"))


def test_the_shipped_model_is_whole_and_within_its_size(copy: Path) -> None:
    manifest = read_manifest(copy)
    assert weights_digest(copy, manifest.files) == manifest.digest
    assert sum((copy / name).stat().st_size for name in manifest.files) <= 40_000_000
    assert manifest.license
    assert manifest.quality


def test_a_flipped_byte_is_noticed(copy: Path) -> None:
    path = copy / read_manifest(copy).files[0]
    data = bytearray(path.read_bytes())
    data[-7] ^= 1
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="digest"):
        load_engine(copy)


def test_missing_files_and_malformed_manifests_are_named(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="nowhere"):
        load_engine(tmp_path / "nowhere")
    manifest = json.loads((copy / "manifest.json").read_text())
    for version, remedy in ((99, "a later one made"), (1, "adapt the model anew"), (None, "adapt the model anew")):
        (copy / "manifest.json").write_text(json.dumps({**manifest, "format_version": version}))
        with pytest.raises(ManifestError, match=rf"format_version: found {version}; .*{remedy}"):
            read_manifest(copy)
    (copy / "manifest.json").write_text(json.dumps({**manifest, "surprise": 1}))
    with pytest.raises(ManifestError, match="surprise"):
        read_manifest(copy)
    (copy / "manifest.json").write_text("{")
    with pytest.raises(ManifestError):
        read_manifest(copy)


def test_a_manifest_cannot_name_files_outside_its_folder(copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**manifest, "files": ["../outside.safetensors"]}))
    with pytest.raises(ManifestError, match="outside"):
        read_manifest(copy)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("greybox_shape", [72, 128]),
        ("width", 1024),
        ("latent_shape", [64, 18, 32]),
        ("default_tier", "splendid"),
        ("files", ["shapes.npz", "denoiser.safetensors"]),
    ],
)
def test_a_manifest_of_another_size_or_with_a_file_left_out_is_refused(copy: Path, name: str, value: object) -> None:
    manifest = json.loads((copy / "manifest.json").read_text()) | {name: value}
    manifest["digest"] = weights_digest(copy, tuple(manifest["files"]))
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(WeightsError, match=name):
        load_engine(copy)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sketched", ["drafty"]),
        ("contrast", {"standard": 1.0, "higher": 0.1}),
        ("contrast", {"standard": 2.5}),
        ("work", {"hgih": 1.25}),
        ("work", {"standard": 0.0}),
    ],
)
def test_what_a_manifest_says_of_tiers_is_of_its_own_and_within_limits(copy: Path, name: str, value: object) -> None:
    manifest = json.loads((copy / "manifest.json").read_text()) | {name: value}
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ManifestError, match=f"{name}: "):
        read_manifest(copy)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", None),
        ("latent_shape", 3),
        ("latent_shape", [64, 9]),
        ("costumes", None),
        ("looks", [1]),
        ("files", True),
        ("emotions", {"joy": 1}),
        ("window", -1),
        ("window", "3"),
        ("references", 1.5),
        ("tiers", {"standard": 1.5}),
        ("tiers", {"standard": -1}),
        ("contrast", {"high": "much"}),
        ("architecture", []),
        ("architecture", {"denoiser": {"nonsense": 1}}),
        ("architecture", {"denoiser": 3}),
    ],
)
def test_a_value_of_another_kind_is_refused_by_name(copy: Path, name: str, value: object) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**manifest, name: value}))
    with pytest.raises(WeightsError, match="model: |manifest.json: " + name):
        load_engine(copy)


def test_operations_are_shared_out_among_half_of_the_cores_unless_told() -> None:
    before = torch.get_num_threads()
    try:
        load_engine(threads=3)
        assert torch.get_num_threads() == 3
        load_engine()
        assert torch.get_num_threads() == max(1, (os.cpu_count() or 1) // 2)
    finally:
        torch.set_num_threads(before)


def test_what_a_tier_takes_is_as_measured_or_told_from_its_steps() -> None:
    shipped = load_engine().manifest
    assert shipped.relative_work["standard"] == 1.0
    assert shipped.relative_work["draft"] < 1 < shipped.relative_work["high"]
    unmeasured = dataclasses.replace(shipped, work={}, tiers={"draft": 1, "standard": 2, "high": 4})
    assert unmeasured.relative_work == {"draft": 0.75, "standard": 1.0, "high": 1.5}


def test_no_kernel_is_left_to_be_compiled_when_frames_are_drawn() -> None:
    engine = load_engine()
    kernels = {
        f"{module.__name__}.{name}": kernel
        for module in (composition, greybox, lighting, marks, shading, tracing)
        for name, kernel in vars(module).items()
        if isinstance(kernel, Dispatcher)
    }
    known = {name: len(kernel.signatures) for name, kernel in kernels.items()}
    assert known["cutscene_model.marks._find"] == known["cutscene_model.tracing.trace"] == 1
    crates = (CRATE, replace(CRATE, box=Box((-2.0, 0.5, 0.0), (0.5, 0.5, 0.5))), FLOOR)
    timeline = engine.begin(replace(stage(), elements=crates), 1)
    for tier in engine.manifest.tiers:
        draw_whole(timeline, state(), tier)
    assert {name: len(kernel.signatures) for name, kernel in kernels.items()} == known


def test_an_engine_that_was_just_loaded_has_seen_nothing() -> None:
    assert not any(load_engine().counters().values())


def test_a_rehearsal_says_what_a_frame_takes_and_leaves_nothing_behind() -> None:
    engine = load_engine()
    started_ns = time.monotonic_ns()
    frame_us = engine.rehearse()
    took_us = (time.monotonic_ns() - started_ns) / 1000
    assert 0 < 4 * frame_us < took_us  # half of eight frames at least took no less than the middle one
    assert not any(engine.counters().values())


def test_a_model_is_written_with_where_its_faces_may_be_marked(tmp_path: Path) -> None:
    engine = load_engine(precision="float32")
    faces = engine.autoencoder.surface.faces
    found = faces.marked.clone()
    faces.marked.fill_(1)
    write_model(tmp_path, engine.manifest, no_volumes(), engine.autoencoder, engine.denoiser)
    written = load_file(tmp_path / "autoencoder.safetensors")["surface.faces.marked"]
    assert 0 < written.float().mean() < 0.5
    assert (written == found).float().mean() > 0.999
