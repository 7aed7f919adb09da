"""From a capture to shards: whole runs held out, names taken from the data, nothing written twice."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import cutscene_client as cc
from cutscene_model.engine import draw_whole
from cutscene_model.loading import load_engine
from cutscene_model.manifest import read_manifest
from cutscene_model.training.__main__ import main
from cutscene_model.training.own_game.capture_folder import read_capture
from cutscene_model.training.own_game.errors import CaptureError
from cutscene_model.training.own_game.importing import import_capture, read_vocabulary, split_runs
from cutscene_model.training.shards import open_shards, shard_paths
from cutscene_model.volumes import write_volumes
from small_scenes import ball_volume
from toy_game import CAST, ROOM, instant, picture, record


def test_runs_become_shards_with_the_capture_s_names(tmp_path: Path) -> None:
    split = split_runs(read_capture(record(tmp_path / "capture")), ["run-1"])
    vocabulary = import_capture(split, tmp_path / "data")
    assert vocabulary.costumes == ("knight", "toy/corsair")
    assert vocabulary.looks == ("crate/large", "toy/lamp", "toy/planks")
    assert read_vocabulary(tmp_path / "data" / "vocabulary.json") == vocabulary
    train, held = (open_shards(tmp_path / "data" / part) for part in ("train", "held-out"))
    assert [shard.name.rpartition("-")[0] for shard in train] == ["run-0-000000", "run-2-000000"]
    assert [shard.name.rpartition("-")[0] for shard in held] == ["run-1-000000"]
    record_of = train[0].records[2]
    assert (record_of.frame_index, record_of.shot, record_of.state.actors[0].emotion) == (2, 1, 1)
    assert record_of.ids
    assert not train[1].records[0].ids


def test_a_run_that_has_grown_is_imported_anew_and_the_others_stay(tmp_path: Path) -> None:
    data = tmp_path / "data"
    record(tmp_path / "capture")
    import_capture(split_runs(read_capture(tmp_path / "capture"), ["run-1"]), data)
    kept, grown = shard_paths(data / "train")
    written = kept.stat().st_mtime_ns
    (data / "train" / "prepared" / grown.stem).mkdir(parents=True)
    with cc.capture(tmp_path / "capture", cast=CAST, set=ROOM, run="run-2") as capture:
        capture.add(instant(), picture(2))
    import_capture(split_runs(read_capture(tmp_path / "capture"), ["run-1"]), data)
    assert [len(shard.records) for shard in open_shards(data / "train")] == [4, 5]
    assert kept.stat().st_mtime_ns == written
    assert not grown.exists()
    assert not (data / "train" / "prepared" / grown.stem).exists()


def test_a_run_that_was_recorded_again_replaces_the_one_before(tmp_path: Path) -> None:
    """The same states with other pictures: a game's makers have changed its look, and play their script again."""
    data, capture = tmp_path / "data", tmp_path / "capture"
    import_capture(split_runs(read_capture(record(capture)), ["run-1"]), data)
    shutil.rmtree(capture / "runs" / "run-0")
    with cc.capture(capture, cast=CAST, set=ROOM, run="run-0") as again:
        for frame in range(4):
            again.add(instant(0.1 * frame), picture(77))
    import_capture(split_runs(read_capture(capture), ["run-1"]), data)
    first = open_shards(data / "train")[0]
    assert [record.jpeg for record in first.records] == [frame.jpeg() for frame in read_capture(capture)[0].frames]


def test_every_tenth_run_is_held_out_and_never_all(tmp_path: Path) -> None:
    runs = read_capture(record(tmp_path, runs=12, frames=1))
    split = split_runs(runs)
    assert (len(split.train), len(split.held_out)) == (11, 1)
    assert len(split_runs(runs[:2]).held_out) == 1
    with pytest.raises(CaptureError, match="one run only"):
        split_runs(runs[:1])
    with pytest.raises(CaptureError, match="no run nowhere"):
        split_runs(runs, ["nowhere"])
    with pytest.raises(CaptureError, match="nothing is left"):
        split_runs(runs, [run.name for run in runs])


@pytest.mark.slow
def test_a_model_is_trained_from_nothing_under_a_capture_s_names(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "model"
    main(["import", "--capture", str(record(tmp_path / "capture")), "--held-out", "run-1", "--out", str(data)])
    write_volumes(tmp_path / "shapes.npz", ball_volume("crate/large"))
    named = ["--shapes", str(tmp_path / "shapes.npz"), "--vocabulary", str(data / "vocabulary.json")]
    named += ["--run", str(tmp_path / "run")]
    for step in ("autoencoder", "denoiser"):
        where = ["--data", str(data / "train"), "--held-out", str(data / "held-out")]
        main([step, *named, *where, "--steps", "1", "--batch", "1"])
    main(["export", *named, "--out", str(out), "--name", "toy", "--version", "1"])
    manifest = read_manifest(out)
    assert manifest.costumes == ("knight", "toy/corsair")
    assert not manifest.license
    stage = read_capture(tmp_path / "capture")[0].stage
    frames = open_shards(data / "train")[0].records
    assert draw_whole(load_engine(out).begin(stage, 1), frames[0].state, "draft")[1].shape == (288, 512, 3)


def test_a_picture_that_is_none_stops_the_import(tmp_path: Path) -> None:
    record(tmp_path / "capture")
    (tmp_path / "capture/runs/run-0/000001.jpg").write_bytes(b"\xff\xd8 nothing")
    with pytest.raises(CaptureError, match=r"000001\.jpg"):
        import_capture(split_runs(read_capture(tmp_path / "capture"), ["run-1"]), tmp_path / "data")
    with pytest.raises(CaptureError, match="vocabulary"):
        read_vocabulary(tmp_path / "data" / "vocabulary.json")
