"""Data sets: whole shards, captured once, again the same, and readable without the engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import simplejpeg

pytest.importorskip("panda3d")

from cutscene_model.training.capture import RUN_FRAMES, capture, choose_run
from cutscene_model.training.director import direct
from cutscene_model.training.shards import read_shard, shard_paths


def test_a_capture_resumes_and_repeats(assets: Path, tmp_path: Path) -> None:
    drawn = capture(assets, tmp_path, runs=2, seed=3, held_out=True)
    assert drawn == 2 * RUN_FRAMES
    (path,) = shard_paths(tmp_path)
    first = path.read_bytes()
    assert capture(assets, tmp_path, runs=2, seed=3, held_out=True) == 0, "a whole shard is not drawn again"
    path.unlink()
    assert capture(assets, tmp_path, runs=2, seed=3, held_out=True) == drawn
    assert path.read_bytes() == first, "the same seed gives the same shard"

    shard = read_shard(path)
    assert len(shard.records) == drawn
    assert {record.run for record in shard.records} == {0, 1}
    for record in shard.records:
        assert simplejpeg.decode_jpeg(record.jpeg).shape == (288, 512, 3)
        assert record.ids
        assert record.stage < len(shard.stages)


def test_runs_are_four_frames_in_order_with_few_cuts(assets: Path) -> None:
    performance = direct(assets, 12)
    rng = np.random.default_rng(0)
    strides, cuts = [], 0
    for _ in range(400):
        frames = choose_run(rng, performance)
        steps = set(np.diff(frames).tolist())
        assert len(frames) == RUN_FRAMES
        assert len(steps) == 1
        assert 0 <= frames[0] < frames[-1] < performance.frames
        strides.append(steps.pop())
        cuts += performance.shot_at(frames[0]) is not performance.shot_at(frames[-1])
    assert 0.4 < np.mean(np.array(strides) == 1) < 0.6
    assert max(strides) <= 8
    assert 0.04 < cuts / 400 < 0.18
