"""A capture as shards that training reads: ``cutscene-train import``.

Whole runs are held out, not frames: neighbours of a trained frame tell nothing. What is written once stays; of
a capture that has grown since, or of which some was recorded again, only that is written.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgpack
from tqdm import tqdm

from cutscene_model.scene_codec import stage_to_plain, state_to_plain
from cutscene_model.training.own_game.capture_folder import CapturedRun
from cutscene_model.training.own_game.errors import CaptureError
from cutscene_model.training.prepared import PREPARED
from cutscene_model.training.shards import SUFFIX, Record, Shard, shard_paths, write_shard
from cutscene_model.vocabulary import Vocabulary

SHARD_FRAMES = 200
HELD_OUT_EVERY = 10  # runs
TRAIN, HELD_OUT, VOCABULARY = "train", "held-out", "vocabulary.json"


@dataclass(frozen=True, slots=True)
class Split:
    """Which runs are trained on and which only measured."""

    train: tuple[CapturedRun, ...]
    held_out: tuple[CapturedRun, ...]


def split_runs(runs: Sequence[CapturedRun], held_out: Sequence[str] = ()) -> Split:
    """Holds out the runs that are named, else every tenth by name, at least one.

    Raises ``CaptureError`` if a name is not there, or nothing would be left to train on.
    """
    names = [run.name for run in runs]
    folder = runs[0].folder.parent
    unknown = set(held_out) - set(names)
    if unknown:
        raise CaptureError(folder, "held-out", f"there is no run {', '.join(sorted(unknown))}; there are {names}")
    if not held_out:
        if len(runs) < 2:
            raise CaptureError(folder, "held-out", "there is one run only; record at least two, one to measure on")
        held_out = names[HELD_OUT_EVERY // 2 :: HELD_OUT_EVERY] or names[-1:]
    split = Split(
        tuple(run for run in runs if run.name not in held_out), tuple(run for run in runs if run.name in held_out)
    )
    if not split.train:
        raise CaptureError(folder, "held-out", "nothing is left to train on")
    return split


def vocabulary_of(runs: Sequence[CapturedRun]) -> Vocabulary:
    """The names that a capture uses, in alphabetical order."""
    costumes = {member.costume for run in runs for member in run.stage.cast}
    looks = {element.look for run in runs for element in run.stage.elements}
    looks |= {prop.look for run in runs for prop in run.stage.props}
    return Vocabulary(tuple(sorted(costumes)), tuple(sorted(looks)))


def import_capture(split: Split, out: Path) -> Vocabulary:
    """Writes ``out/train``, ``out/held-out`` and ``out/vocabulary.json``. Raises ``CaptureError``.

    Shards of an earlier import that are not of this split go, with what was prepared of them; those that are, stay.
    """
    vocabulary = vocabulary_of((*split.train, *split.held_out))
    for part, runs in ((TRAIN, split.train), (HELD_OUT, split.held_out)):
        folder = out / part
        folder.mkdir(parents=True, exist_ok=True)
        wanted = {
            _shard_name(run, first): (run, first) for run in runs for first in range(0, len(run.frames), SHARD_FRAMES)
        }
        for path in shard_paths(folder):
            if path.stem not in wanted:
                path.unlink()
                shutil.rmtree(folder / PREPARED / path.stem, ignore_errors=True)
        for name, (run, first) in tqdm(wanted.items(), unit="shard", desc=f"importing {part}"):
            if not (folder / f"{name}{SUFFIX}").exists():
                write_shard(folder, _shard(name, run, first))
    plain = {"costumes": list(vocabulary.costumes), "looks": list(vocabulary.looks)}
    (out / VOCABULARY).write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    return vocabulary


def read_vocabulary(path: Path) -> Vocabulary:
    """An imported capture's ``vocabulary.json``. Raises ``CaptureError``."""
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        return Vocabulary(tuple(plain["costumes"]), tuple(plain["looks"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CaptureError(path, "", f"not an imported capture's vocabulary: {error}") from error


def _shard(name: str, run: CapturedRun, first: int) -> Shard:
    records = []
    for frame in run.frames[first : first + SHARD_FRAMES]:
        ids = frame.object_ids()
        packed = b"" if ids is None else zlib.compress(ids.tobytes(), 6)
        frame.rgb()  # whether it is a picture of the right size
        records.append(Record(0, 0, frame.shot, "captured", frame.number, frame.state, frame.jpeg(), packed))
    note: dict[str, str | int] = {"seed": 0, "room": run.name, "variant": 0, "plot": "", "preset": ""}
    return Shard(name, (run.stage,), (note,), tuple(records))


def _shard_name(run: CapturedRun, first: int) -> str:
    """With a digest of what it is made of: where a run has grown, or was recorded again, that shard is another one.

    Pictures count by their sizes and times of change, for to read them all takes as long as to write the shard.
    """
    made_of = hashlib.blake2b(msgpack.packb(stage_to_plain(run.stage)), digest_size=6)
    for frame in run.frames[first : first + SHARD_FRAMES]:
        made_of.update(msgpack.packb([frame.number, frame.shot, state_to_plain(frame.state)]))
        for path in (frame.picture, frame.ids):
            told = None if path is None else path.stat()
            made_of.update(msgpack.packb(None if told is None else [told.st_size, told.st_mtime_ns]))
    return f"{run.name}-{first:06d}-{made_of.hexdigest()}"
