"""From captured shards to a model that draws: every training command on a tiny data set, stopped and resumed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import simplejpeg
import torch

from cutscene_model.engine import draw_whole
from cutscene_model.loading import load_engine
from cutscene_model.training.__main__ import main
from cutscene_model.training.prepared import PREPARED, prepared_frames
from cutscene_model.training.progress import Losses, read_step
from cutscene_model.training.shards import Record, Shard, ShardError, open_shards, write_shard
from cutscene_model.volumes import no_volumes, write_volumes
from small_scenes import ball_volume, stage, state


def tiny_shard(name: str, seed: int) -> Shard:
    """Two runs of three frames: flat colours stand in for pictures."""
    random = np.random.default_rng(seed)
    records = []
    for run in range(2):
        for frame in range(3):
            color = np.broadcast_to(random.integers(0, 255, 3).astype(np.uint8), (288, 512, 3))
            jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(color), 97)
            records.append(Record(0, run, 0, "wide", frame, state(0.1 * frame), jpeg, b""))
    note: dict[str, str | int] = {"seed": seed, "room": "test", "variant": 0, "plot": "none", "preset": "day"}
    return Shard(name, (stage(),), (note,), tuple(records))


@pytest.mark.slow
def test_the_commands_lead_from_shards_to_a_model_that_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, held, run = tmp_path / "data", tmp_path / "held", tmp_path / "run"
    for folder, seed in ((data, 1), (held, 2)):
        folder.mkdir()
        write_shard(folder, tiny_shard("s0", seed))
    write_volumes(tmp_path / "shapes.npz", ball_volume("crate/large"))
    shapes = ["--shapes", str(tmp_path / "shapes.npz")]
    where = [*shapes, "--data", str(data), "--held-out", str(held), "--run", str(run)]

    for steps in (1, 3):  # the second call goes on where the first stopped
        main(["autoencoder", *where, "--steps", str(steps), "--batch", "2"])
        assert read_step(run / "autoencoder.safetensors") == steps
    for steps in (1, 3):  # without history and with it
        main(["denoiser", *where, "--steps", str(steps), "--batch", "4"])
        assert read_step(run / "denoiser.safetensors") == steps
    for steps in (1, 2):
        main(["finetune", *where, "--steps", str(steps), "--batch", "4"])
        assert read_step(run / "finetuned.safetensors") == steps
    for name in ("autoencoder", "denoiser", "finetuned"):
        assert (run / f"{name}.png").stat().st_size > 1000

    out = tmp_path / "model"
    export = ["export", *shapes, "--run", str(run), "--out", str(out), "--name", "tiny", "--version", "0"]
    main(export)
    assert load_engine(out).manifest.references == 0
    for steps in (1, 2):
        main(["grades", *where, "--steps", str(steps), "--batch", "4"])
        assert read_step(run / "grades.safetensors") == steps
    assert "held-out frames under random looks" in capsys.readouterr().out
    main([*export, "--data", str(data)])
    engine = load_engine(out)
    assert engine.manifest.data["frames"] == 6
    trained = {"autoencoder_steps": 3, "denoiser_steps": 3, "finetune_steps": 2, "grades_steps": 2}
    assert engine.manifest.training == trained
    frame, pixels = draw_whole(engine.begin(stage(), 1), state(), "standard")
    assert pixels.shape == (288, 512, 3)
    assert engine.manifest.references == 4
    referring = replace(stage(), references=(engine.encode(pixels).tobytes(),))
    assert draw_whole(engine.begin(referring, 1), state(), "standard")[0].latent.tobytes() == frame.latent.tobytes()


def test_a_shard_reads_back_as_it_was_written(tmp_path: Path) -> None:
    shard = tiny_shard("s0", 1)
    write_shard(tmp_path, shard)
    (back,) = open_shards(tmp_path)
    assert back.stages == shard.stages
    assert [r.jpeg for r in back.records] == [r.jpeg for r in shard.records]
    np.testing.assert_array_equal(back.records[1].state.actors[0].joints, shard.records[1].state.actors[0].joints)


def test_what_is_not_a_shard_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.shard").write_bytes(b"\x81\xa7version\x63")
    with pytest.raises(ShardError, match=r"x\.shard: is no whole shard: not a shard of version"):
        open_shards(tmp_path)
    write_shard(tmp_path, tiny_shard("x", 1))
    whole = (tmp_path / "x.shard").read_bytes()
    for size in (0, 1, 40, len(whole) // 2, len(whole) - 1):
        (tmp_path / "x.shard").write_bytes(whole[:size])
        with pytest.raises(ShardError, match=r"x\.shard: is no whole shard"):
            open_shards(tmp_path)
    (tmp_path / "x.shard").write_bytes(b"\x81\xa7version\x01")
    with pytest.raises(ShardError, match="stages"):
        open_shards(tmp_path)


def test_preparing_that_was_stopped_half_way_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shard(tmp_path, tiny_shard("s0", 1))
    save = np.save

    def torn(path: Path, values: npt.NDArray[np.generic]) -> None:
        if "time" in str(path):
            Path(path).write_bytes(b"half of a file")
            raise OSError("no space left on device")
        save(path, values)

    monkeypatch.setattr(np, "save", torn)
    with pytest.raises(OSError, match="no space"):
        prepared_frames(tmp_path, no_volumes())
    monkeypatch.undo()
    assert len(prepared_frames(tmp_path, no_volumes())) == len(tiny_shard("s0", 1).records)


def test_what_was_prepared_with_other_shapes_is_prepared_anew(tmp_path: Path) -> None:
    write_shard(tmp_path, tiny_shard("s0", 1))
    folder = tmp_path / PREPARED / "s0"
    prepared_frames(tmp_path, no_volumes())
    boxes = np.load(folder / "sample.npy")
    (folder / "latent_of_these_boxes.npy").write_bytes(b"")
    prepared_frames(tmp_path, no_volumes())
    assert (folder / "latent_of_these_boxes.npy").exists()
    prepared_frames(tmp_path, ball_volume("crate/large"))
    assert not (folder / "latent_of_these_boxes.npy").exists()
    assert (np.load(folder / "sample.npy") != boxes).any()


def test_a_folder_without_shards_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="no captured shards"):
        prepared_frames(tmp_path, no_volumes())


def test_losses_are_means_of_the_steps_that_there_were() -> None:
    losses = Losses("one", "two")
    for value in (1.0, 2.0, 6.0):
        losses.add(torch.tensor(value), torch.tensor(2 * value))
    assert losses.report() == [("one", 3.0), ("two", 6.0)]
    losses.add(torch.tensor(5.0), torch.tensor(7.0))
    assert losses.report() == [("one", 5.0), ("two", 7.0)]
