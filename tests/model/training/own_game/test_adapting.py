"""An adaptation is refused before anything takes time, if it cannot be meant so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cutscene_model.training.own_game.adapting import Adaptation, prepare
from cutscene_model.training.own_game.errors import MeshesError, OwnGameError
from cutscene_model.training.shards import shard_paths
from small_meshes import CUBE, SIDES, write_glb
from toy_game import record


def job(folder: Path, **changes: Any) -> Adaptation:
    return Adaptation(folder / "capture", folder / "out", folder / "run", "toy", **changes)


@pytest.mark.parametrize(
    ("name", "value"), [("minutes", -1.0), ("minutes", float("nan")), ("batch", 0), ("score_frames", -1)]
)
def test_what_cannot_be_meant_is_refused_by_name(tmp_path: Path, name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name}: found {value}"):
        job(tmp_path, **{name: value})


def test_a_name_that_is_like_none_of_the_base_is_refused_before_shapes_are_fitted(tmp_path: Path) -> None:
    record(tmp_path / "capture", runs=2, frames=1)
    write_glb(tmp_path / "planks.glb", CUBE, SIDES)
    meshes = tmp_path / "my-meshes.toml"
    meshes.write_text('[looks."toy/planks"]\nfile = "planks.glb"\nlike = "floor/marble"\n')
    with pytest.raises(MeshesError, match="floor/marble") as caught:
        prepare(job(tmp_path, meshes=meshes))
    assert caught.value.field == "looks.toy/planks.like"
    assert not (tmp_path / "run" / "shapes.npz").exists()


def test_what_was_trained_on_is_never_measured_on_after_all(tmp_path: Path) -> None:
    record(tmp_path / "capture", runs=3, frames=1)
    first = prepare(job(tmp_path, held_out=("run-0",)))
    assert [run.name for run in first.split.held_out] == ["run-0"]
    with pytest.raises(OwnGameError, match="another folder") as caught:
        prepare(job(tmp_path, held_out=("run-1",)))
    assert caught.value.field == "held_out"
    assert [path.name[:5] for path in shard_paths(tmp_path / "run" / "data" / "held-out")] == ["run-0"]
    prepare(job(tmp_path, held_out=("run-0",)))
