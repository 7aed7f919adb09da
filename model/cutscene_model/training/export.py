"""Writes a trained model as a release: float16 weights and a manifest that says what they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cutscene_model.autoencoder import Autoencoder
from cutscene_model.greybox import HEIGHT, WIDTH
from cutscene_model.loading import write_model
from cutscene_model.manifest import Manifest
from cutscene_model.scene import EMOTIONS
from cutscene_model.training.denoiser_training import Both
from cutscene_model.training.grade_training import GRADES, averaged
from cutscene_model.training.prepared import HISTORY
from cutscene_model.training.progress import load_average, read_step
from cutscene_model.training.refinement import CONTRAST
from cutscene_model.training.shards import read_shard, shard_paths
from cutscene_model.vocabulary import SHIPPED, Vocabulary
from cutscene_model.volumes import Volumes

WORK = {"draft": 0.5, "standard": 1.0, "high": 1.25}  # a frame's processor time, as measured with version 0.8
LICENSE = (
    "MIT (weights); trained on renders of KayKit Adventurers and KayKit Dungeon Remastered by Kay Lousberg, CC0 1.0"
)


def release(
    run: Path,
    volumes: Volumes,
    out: Path,
    name: str,
    version: str,
    data: dict[str, Any],
    training: dict[str, Any],
    quality: dict[str, Any],
    vocabulary: Vocabulary = SHIPPED,
) -> Manifest:
    """Exports the averaged weights of the run's finetuning, or before that of its denoiser, with a manifest.

    A run that trained a reader of grades makes a model that takes reference pictures.
    """
    steps = {
        f"{name}_steps": read_step(run / file)
        for name, file in (
            ("autoencoder", "autoencoder.safetensors"),
            ("denoiser", "denoiser.safetensors"),
            ("finetune", "finetuned.safetensors"),
            ("grades", GRADES),
        )
        if (run / file).exists()
    }
    checkpoint = run / ("finetuned.safetensors" if "finetune_steps" in steps else "denoiser.safetensors")
    model = Both(Autoencoder(*vocabulary.sizes, volumes))
    load_average(checkpoint, model)
    manifest = Manifest(
        name=name,
        version=version,
        digest="",
        width=512,
        height=288,
        latent_shape=(64, 9, 16),
        greybox_shape=(HEIGHT, WIDTH),
        # Steps have given nothing that could be measured (TRAINING.md): tiers differ in decoder and rays.
        tiers={"draft": 0, "standard": 1, "high": 1},
        contrast=CONTRAST,
        # Before that nothing has taught the draft tier's own decoder.
        sketched=("draft",) if "finetune_steps" in steps else (),
        work=WORK,
        default_tier="standard",
        window=HISTORY,
        costumes=vocabulary.costumes,
        looks=vocabulary.looks,
        emotions=EMOTIONS,
        files=(),
        license=LICENSE if vocabulary == SHIPPED else "",
        data=data,
        training={**steps, **training},
        quality=quality,
    )
    reader = averaged(run / GRADES) if "grades_steps" in steps else None
    return write_model(out, manifest, volumes, model.autoencoder, model.denoiser, reader)


def read_quality(path: Path | None) -> dict[str, Any]:
    """The last line of a ``benchmarks/quality.py --json`` run that was kept in a file."""
    if path is None:
        return {}
    figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8").strip().splitlines()[-1])
    return figures


def describe_data(directory: Path) -> dict[str, Any]:
    """What a folder of captured shards holds: frames, performances and rooms."""
    frames, seeds, rooms = 0, set(), set()
    for path in shard_paths(directory):
        shard = read_shard(path)
        frames += len(shard.records)
        seeds |= {(note["seed"], note["room"]) for note in shard.notes}
        rooms |= {str(note["room"]) for note in shard.notes}
    return {
        "packs": "KayKit Adventurers 1.0, KayKit Dungeon Remastered 1.0 (CC0), rendered by the training stage",
        "frames": frames,
        "performances": len(seeds),
        "rooms": sorted(rooms),
    }
