"""Which frames training shows as reference pictures, and that samples without any do not see their neighbours'."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cutscene_model.denoiser import REFERENCE_CELLS, Denoiser
from cutscene_model.scene import Stage
from cutscene_model.training.denoiser_training import read_memory
from cutscene_model.training.prepared import HISTORY, REFERENCES, PreparedFrames, prepare_greyboxes
from cutscene_model.training.shards import Record, Shard
from cutscene_model.volumes import no_volumes
from small_scenes import stage, state

# Of every frame its stage and its run. Stage 2 has one run of one frame, stage 1 one of two.
FRAMES = ((0, 0), (0, 0), (1, 1), (1, 1), (0, 2), (0, 2), (2, 3))


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> PreparedFrames:
    """Two shards of those frames, whose latents are their numbers."""
    directory = tmp_path_factory.mktemp("prepared")
    stages: tuple[Stage, ...] = (stage(2), stage(1), stage(2))
    shards = []
    for number in range(2):
        records = [
            Record(of, run, 0, "wide", row, state(0.1 * row, actors=len(stages[of].cast)), b"", b"")
            for row, (of, run) in enumerate(FRAMES)
        ]
        shard = Shard(f"s{number}", stages, ({},) * 3, tuple(records))
        prepare_greyboxes(shard, directory / shard.name, no_volumes())
        latents = np.zeros((len(FRAMES), 64, 9, 16), np.float16)
        latents[:] = 100 * number + np.arange(len(FRAMES))[:, None, None, None]
        _save(directory / shard.name, latent_t=latents, coarse_t=np.zeros((len(FRAMES), 256, 9, 16), np.float16))
        shards.append(shard)
    return PreparedFrames(directory, "t", shards)


def _save(folder: Path, **arrays: np.ndarray[tuple[int, ...], np.dtype[np.float16]]) -> None:
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


def test_companions_are_of_the_same_cast_and_set_and_of_another_run_if_there_is_one(frames: PreparedFrames) -> None:
    second = len(FRAMES)
    for first in (0, second):
        assert frames.companions(first) == [first + 4, first + 5]
        assert frames.companions(first + 5) == [first, first + 1]
        assert frames.companions(first + 2) == [first + 3]  # its own run, for want of another
        assert frames.companions(first + 6) == []
    assert frames.latents([3, second + 4]).mean(dim=(1, 2, 3)).tolist() == [3.0, 104.0]


def test_a_share_of_samples_has_one_or_two_companions(frames: PreparedFrames) -> None:
    indices = np.arange(len(FRAMES)).repeat(40)
    item = frames.sample(indices, np.random.default_rng(1), False, 0, references=0.5)
    share = {row: item.referenced[indices == row].any(dim=1).float().mean().item() for row in range(len(FRAMES))}
    assert share.pop(6) == 0  # nothing to show
    assert all(0.25 < each < 0.75 for each in share.values())
    counts = item.referenced.sum(dim=1)
    assert set(counts[indices == 0].tolist()) == {0, 1, 2}
    assert set(counts[indices == 2].tolist()) == {0, 1}
    shown = item.references.mean(dim=(2, 3, 4))
    for index, row, present in zip(indices, shown, item.referenced, strict=True):
        numbers = row[present].tolist()
        assert set(numbers) <= set(map(float, frames.companions(int(index))))
        assert len(set(numbers)) == len(numbers)
        assert not row[~present].any()


def test_without_references_samples_are_what_they_were(frames: PreparedFrames) -> None:
    indices = np.arange(len(FRAMES))
    random = np.random.default_rng(1)
    item = frames.sample(indices, random, False, HISTORY)
    same = np.random.default_rng(1)
    same.integers(0, HISTORY + 1, len(indices))
    assert not item.referenced.any()
    assert [int(random.integers(0, 1 << 30))] == [int(same.integers(0, 1 << 30))]


def test_a_sample_without_references_is_as_it_would_be_alone(frames: PreparedFrames) -> None:
    torch.manual_seed(0)
    denoiser = Denoiser(references=True)
    torch.nn.init.normal_(denoiser.leave.weight)
    for block in denoiser.blocks:
        torch.nn.init.normal_(block.out.weight, std=0.1)  # type: ignore[union-attr,arg-type]
    item = frames.sample(np.array([0, 0]), np.random.default_rng(0), False, 0, references=1.0)
    first, slots = torch.tensor([[True, False], [False, False]]), torch.randn(1, 65, 64).expand(2, -1, -1)
    mixed = replace(item, referenced=first)

    def predicted(sample: object) -> torch.Tensor:
        memory, mask = read_memory(denoiser, slots, sample, torch.zeros(()))  # type: ignore[arg-type]
        conditioning = denoiser.condition(item.greybox.globals, torch.zeros(2, 256, 9, 16))
        with torch.no_grad():
            clean: torch.Tensor = denoiser(torch.ones(2, 64, 9, 16), torch.ones(2), conditioning, memory, mask)
        return clean

    with_one, with_none = predicted(mixed), predicted(replace(item, referenced=torch.zeros_like(first)))
    torch.testing.assert_close(with_one[1], with_none[1], rtol=0, atol=1e-3)  # of values of some 10
    assert (with_one[0] - with_none[0]).abs().max() > 0.1
    memory, mask = read_memory(denoiser, slots, mixed, torch.zeros(()))
    assert memory.keys.shape[3] == 66 + REFERENCES * REFERENCE_CELLS
    assert mask.shape[-1] == 144 + memory.keys.shape[3]
