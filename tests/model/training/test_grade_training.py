"""Which frames teach the reader of grades, and that it learns from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import simplejpeg
import torch

from cutscene_model.training.color_grades import LOOKS, random_grades
from cutscene_model.training.grade_training import CoarsePictures, GradeRun, sample, train_grades
from cutscene_model.training.shards import Record, Shard, read_shard, shard_paths, write_shard
from cutscene_model.volumes import Volumes
from small_scenes import ball_volume, stage, state

# Of every frame its stage and its run. Stage 2 has one run of one frame, stage 1 one of two.
FRAMES = ((0, 0), (0, 0), (1, 1), (1, 1), (0, 2), (0, 2), (2, 3))


@pytest.fixture(scope="module")
def volumes() -> Volumes:
    return ball_volume("crate/large")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards of those frames, each of blocks of colours."""
    directory = tmp_path_factory.mktemp("shards")
    random = np.random.default_rng(1)
    for number in range(2):
        stages = (stage(2), stage(1), stage(2))
        records = []
        for row, (of, run) in enumerate(FRAMES):
            blocks = random.integers(40, 216, (9, 16, 3), np.uint8).repeat(32, axis=0).repeat(32, axis=1)
            jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(blocks), 95)
            records.append(Record(of, run, 0, "wide", row, state(actors=len(stages[of].cast)), jpeg, b""))
        write_shard(directory, Shard(f"s{number}", stages, ({},) * 3, tuple(records)))
    return directory


@pytest.fixture(scope="module")
def frames(data: Path, volumes: Volumes) -> CoarsePictures:
    return CoarsePictures(data, volumes)


def test_companions_are_of_the_same_cast_and_set_and_of_another_run_if_there_is_one(frames: CoarsePictures) -> None:
    for first in (0, len(FRAMES)):
        assert frames.companions(first).tolist() == [first + 4, first + 5]
        assert frames.companions(first + 5).tolist() == [first, first + 1]
        assert frames.companions(first + 2).tolist() == [first + 3]  # its own run, for want of another
        assert frames.companions(first + 6).tolist() == []


def test_pictures_are_averaged_and_palettes_padded(frames: CoarsePictures, data: Path) -> None:
    pictures = frames.pictures([0, 6])
    assert pictures.shape == (2, 3, 72, 128)
    (record, *_) = read_shard(shard_paths(data)[0]).records
    cells = simplejpeg.decode_jpeg(record.jpeg).reshape(72, 4, 128, 4, 3).mean(axis=(1, 3)).round()
    assert np.array_equal(pictures[0].permute(1, 2, 0).numpy() * 255, cells)
    assert 0.1 < pictures.min() < pictures.max() < 0.9
    told, used = frames.palettes(np.array([0, 2]))
    assert used.sum(dim=1).tolist() == [4, 3], "cast, floor and crate"
    assert not told[0, 4:].any()


def test_targets_and_references_are_under_one_look_and_some_under_none(frames: CoarsePictures) -> None:
    item = sample(frames, 200, np.random.default_rng(3), 2, 0.2)
    assert item.seen.shape == (200, 2, 6, 9, 16)
    assert 0.05 < item.ungraded.float().mean() < 0.3
    torch.testing.assert_close(item.plain[item.ungraded], item.wanted[item.ungraded])
    changed = (item.plain - item.wanted).abs().mean(dim=(1, 2, 3))[~item.ungraded]
    assert (changed > 0).float().mean() > 0.9
    again = sample(frames, 200, np.random.default_rng(3), 2, 0.2)
    torch.testing.assert_close(again.seen, item.seen, rtol=0, atol=0)


def test_strange_references_are_of_another_stage(frames: CoarsePictures) -> None:
    random = np.random.default_rng(5)
    seen = {int(stage) for _ in range(60) for stage in frames.stage[frames.strangers(0, random)]}
    assert seen == {1, 2, 3, 4, 5}


def test_frames_that_cannot_be_references_of_one_another_are_refused(volumes: Volumes, tmp_path: Path) -> None:
    jpeg = simplejpeg.encode_jpeg(np.full((288, 512, 3), 90, np.uint8), 95)
    records = tuple(Record(of, of, 0, "wide", 0, state(actors=1), jpeg, b"") for of in range(2))
    write_shard(tmp_path, Shard("s", (stage(1), stage(1)), ({}, {}), records))
    with pytest.raises(ValueError, match="no two of the captured frames"):
        sample(CoarsePictures(tmp_path, volumes), 1, np.random.default_rng(1), 1, 0.0)


def test_looks_stay_within_what_can_be_shown_and_differ() -> None:
    picture = torch.rand(1, 3, 9, 16)
    shown = {name: look(picture) for name, look in LOOKS.items()}
    for result in (*shown.values(), random_grades(50, torch.Generator().manual_seed(1))(picture)):
        assert 0 <= result.min() <= result.max() <= 1
    assert len({result.numpy().tobytes() for result in shown.values()}) == len(LOOKS)
    grey = shown["noir"]
    torch.testing.assert_close(grey[:, 0], grey[:, 2], rtol=0, atol=1e-6)


def test_training_learns_and_goes_on_where_it_stopped(data: Path, volumes: Volumes, tmp_path: Path) -> None:
    def run(out: str, steps: int) -> dict[str, float]:
        return train_grades(GradeRun(volumes, data, data, tmp_path / out, steps, batch=16))

    figures = run("whole", 60)
    assert figures["read_db"] > figures["none_db"], "an untrained reader moves nothing"
    assert run("whole", 60) == figures, "there is nothing left to do"
    stopped = run("parts", 30)
    assert stopped != figures


def test_a_folder_without_shards_is_refused(tmp_path: Path, volumes: Volumes) -> None:
    with pytest.raises(ValueError, match="no captured shards"):
        CoarsePictures(tmp_path, volumes)
