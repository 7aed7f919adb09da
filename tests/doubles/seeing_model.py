"""The shipped model with random weights to see reference pictures with, which the shipped weights lack."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from safetensors.torch import load_file

from cutscene_model.loading import AUTOENCODER_FILE, DENOISER_FILE, SHIPPED_WEIGHTS, VOLUMES_FILE, build, write_model
from cutscene_model.manifest import read_manifest
from cutscene_model.volumes import read_volumes


def write_seeing_model(directory: Path, references: int = 2, *, telling: bool = False) -> Path:
    """Writes the model into ``directory``, to be loaded like any other.

    ``telling``: its latents say a lot; the shipped denoiser's are nearly nil, and round to the same pixels whatever it
    sees.
    """
    manifest = dataclasses.replace(read_manifest(SHIPPED_WEIGHTS), name="seeing", references=references)
    volumes = read_volumes(SHIPPED_WEIGHTS / VOLUMES_FILE)
    torch.manual_seed(0)
    autoencoder, denoiser = build(manifest, volumes)
    autoencoder.load_state_dict(load_file(SHIPPED_WEIGHTS / AUTOENCODER_FILE))
    lacking = denoiser.load_state_dict(load_file(SHIPPED_WEIGHTS / DENOISER_FILE), strict=False)
    assert all(name.startswith("reference.") for name in lacking.missing_keys)
    torch.nn.init.ones_(denoiser.reference.norm.weight)  # type: ignore[union-attr]  # so that they say more than a little
    with torch.no_grad():
        denoiser.leave.weight.mul_(100 if telling else 1)
    write_model(directory, manifest, volumes, autoencoder, denoiser)
    return directory
