"""A model is scored on runs that it was not trained on, or the scores say so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cutscene_model.training.__main__ import main
from cutscene_model.training.own_game.capture_folder import read_capture
from cutscene_model.training.own_game.errors import CaptureError
from cutscene_model.training.own_game.importing import split_runs
from cutscene_model.training.own_game.scored_runs import ScoredRuns, described_split, runs_to_score
from toy_game import record


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    return record(tmp_path / "capture", runs=4, frames=1)


def names(scored: ScoredRuns) -> list[str]:
    return [run.name for run in scored.runs]


def test_what_a_model_held_out_is_played_also_where_every_tenth_is_another(capture: Path) -> None:
    runs = read_capture(capture)
    data = {"capture": json.loads(json.dumps(described_split(split_runs(runs, ["run-1"]))))}
    assert [run.name for run in split_runs(runs).held_out] == ["run-3"]
    scored = runs_to_score(runs, data)
    assert names(scored) == ["run-1"]
    assert scored.trained_on == ()
    assert not scored.warning


def test_runs_that_were_trained_on_are_played_if_named_and_said_so(capture: Path) -> None:
    runs = read_capture(capture)
    data = {"capture": described_split(split_runs(runs, ["run-1"]))}
    scored = runs_to_score(runs, data, ["run-0", "run-1"])
    assert names(scored) == ["run-0", "run-1"]
    assert scored.trained_on == ("run-0",)
    assert "TRAINED ON run-0" in scored.warning


def test_of_another_capture_all_is_played_that_was_not_trained_on(capture: Path) -> None:
    runs = read_capture(capture)
    data = {"capture": described_split(split_runs(runs, ["run-3"]))}
    later = [run for run in runs if run.name != "run-3"]
    with pytest.raises(CaptureError, match="trained on every run"):
        runs_to_score(later, data)
    trained_on_one = {"capture": {"train": {"names": ["run-0"]}, "held_out": {"names": ["elsewhere"]}}}
    assert names(runs_to_score(later, trained_on_one)) == ["run-1", "run-2"]


@pytest.mark.parametrize("data", [{}, {"capture": {"train": {"runs": 2, "frames": 9}, "held_out": {"runs": 1}}}])
def test_a_model_that_does_not_say_is_scored_with_a_warning(capture: Path, data: dict[str, object]) -> None:
    runs = read_capture(capture)
    scored = runs_to_score(runs, data)
    assert names(scored) == ["run-3"]
    assert scored.trained_on is None
    assert "may have been" in scored.warning
    assert names(runs_to_score(runs[:1], data)) == ["run-0"]


def test_a_run_that_is_not_there_and_an_old_model_end_the_command_in_a_line(capture: Path, tmp_path: Path) -> None:
    score = ["evaluate", "--capture", str(capture), "--out", str(tmp_path / "scores")]
    with pytest.raises(SystemExit, match="held-out: there is no run run-9"):
        main([*score, "--held-out", "run-9"])
    (tmp_path / "manifest.json").write_text('{"format_version": 1}')
    with pytest.raises(SystemExit, match=r"format_version: found 1; .*adapt the model anew"):
        main([*score, "--model", str(tmp_path)])
