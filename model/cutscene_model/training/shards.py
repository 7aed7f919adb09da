"""Captured data on disk: shards of (scene state, reference picture) records.

A shard is one msgpack file, written temp-rename so that a stopped capture leaves only whole shards. Pictures are
JPEG at quality 97 without chroma subsampling: a twentieth of the raw size, and far below the autoencoder's own error.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack

from cutscene_model.scene import SceneState, Stage
from cutscene_model.scene_codec import stage_from_plain, stage_to_plain, state_from_plain, state_to_plain

SHARD_VERSION = 1
SUFFIX = ".shard"


class ShardError(ValueError):
    """Captured data is missing or damaged."""


@dataclass(frozen=True, slots=True)
class Record:
    """One frame."""

    stage: int  # index into the shard's stages
    run: int  # records of one run are consecutive and follow each other in time
    shot: int  # number of the shot in its performance: a run may hold a cut
    kind: str  # of shot
    frame_index: int  # in its performance
    state: SceneState
    jpeg: bytes  # 512 x 288 RGB
    ids: bytes  # zlib of (288, 512) uint8 object ids; empty where they were not captured


@dataclass(frozen=True, slots=True)
class Shard:
    """Some runs with the stages they play on."""

    name: str
    stages: tuple[Stage, ...]
    notes: tuple[dict[str, str | int], ...]  # of each stage: performance seed, room, variant, plot, preset
    records: tuple[Record, ...]


def write_shard(directory: Path, shard: Shard) -> None:
    """Writes ``directory/NAME.shard`` atomically."""
    plain = {
        "version": SHARD_VERSION,
        "stages": [stage_to_plain(stage) for stage in shard.stages],
        "notes": list(shard.notes),
        "records": [
            [r.stage, r.run, r.shot, r.kind, r.frame_index, state_to_plain(r.state), r.jpeg, r.ids]
            for r in shard.records
        ],
    }
    path = directory / f"{shard.name}{SUFFIX}"
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(msgpack.packb(plain))
    os.replace(temporary, path)


def read_shard(path: Path) -> Shard:
    """Reads one shard. Raises ``ShardError`` if it is not one, or not whole."""
    try:
        plain = msgpack.unpackb(path.read_bytes())
        if not isinstance(plain, dict) or plain.get("version") != SHARD_VERSION:
            raise ValueError(f"not a shard of version {SHARD_VERSION}")
        return _shard(path, plain)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, msgpack.UnpackException) as error:
        raise ShardError(f"{path}: is no whole shard: {error}") from error


def _shard(path: Path, plain: dict[str, Any]) -> Shard:
    return Shard(
        path.stem,
        tuple(stage_from_plain(stage) for stage in plain["stages"]),
        tuple(plain["notes"]),
        tuple(
            Record(stage, run, shot, kind, frame, state_from_plain(state), jpeg, ids)
            for stage, run, shot, kind, frame, state, jpeg, ids in plain["records"]
        ),
    )


def shard_paths(directory: Path) -> list[Path]:
    """The whole shards below ``directory``, in order."""
    return sorted(directory.glob(f"*{SUFFIX}"))


def open_shards(directory: Path) -> list[Shard]:
    """All shards of a directory; some 60 kB of memory a frame, pictures included."""
    return [read_shard(path) for path in shard_paths(directory)]
