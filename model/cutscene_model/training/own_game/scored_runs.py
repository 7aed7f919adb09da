"""Which runs of a capture a model is scored on, and whether it was trained on any of them.

A model of ``cutscene-train adapt`` names the runs that it was trained on and those that were held out. Every tenth run,
counted anew in a capture that has grown since, would be others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cutscene_model.training.own_game.capture_folder import CapturedRun
from cutscene_model.training.own_game.errors import CaptureError
from cutscene_model.training.own_game.importing import Split, split_runs

_PARTS = "train", "held_out"


@dataclass(frozen=True, slots=True)
class ScoredRuns:
    """What is played, and what the model's manifest says of it."""

    runs: tuple[CapturedRun, ...]
    trained_on: tuple[str, ...] | None  # those of them that bear the names of trained ones; None: it does not say

    @property
    def warning(self) -> str:
        """What a reader of the scores must know. Empty if nothing."""
        if self.trained_on is None:
            return "the model does not say which runs it was trained on: it may have been on these"
        if self.trained_on:
            return f"TRAINED ON {', '.join(self.trained_on)}: these scores are not of held-out runs"
        return ""


def described_split(split: Split) -> dict[str, Any]:
    """What a manifest says of a capture, as ``data["capture"]``."""
    return {
        part: {
            "runs": len(runs),
            "frames": sum(len(run.frames) for run in runs),
            "names": sorted(run.name for run in runs),
        }
        for part, runs in zip(_PARTS, (split.train, split.held_out), strict=True)
    }


def runs_to_score(runs: Sequence[CapturedRun], data: Mapping[str, Any], named: Sequence[str] = ()) -> ScoredRuns:
    """Those that are ``named``; else those that the model of a manifest with this ``data`` held out, or, of a capture
    without these, all that it was not trained on. Of a model that does not say, every tenth run, or the only one.

    Raises ``CaptureError`` if a name is not there, or no run is left.
    """
    folder, names = runs[0].folder.parent, [run.name for run in runs]
    told = [data.get("capture", {}).get(part, {}).get("names") for part in _PARTS]
    trained, held_out = (None if one is None else set(one) for one in told)
    if unknown := sorted(set(named) - set(names)):
        raise CaptureError(folder, "held-out", f"there is no run {', '.join(unknown)}; there are {names}")
    if named:
        wanted = set(named)
    elif trained is not None:
        wanted = (held_out or set()) & set(names) or set(names) - trained
        if not wanted:
            raise CaptureError(folder, "held-out", "the model was trained on every run; record one more to measure on")
    else:
        wanted = {run.name for run in (split_runs(runs).held_out if len(runs) > 1 else runs)}
    chosen = tuple(run for run in runs if run.name in wanted)
    return ScoredRuns(chosen, None if trained is None else tuple(sorted(trained & wanted)))
