"""The walk of docs/own-game.md, block by block as it stands there, only shorter."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from cutscene_client.client import DEFAULT_ADDRESS
from cutscene_client.local_server import local_server
from cutscene_model.manifest import read_manifest
from cutscene_model.scene import JOINTS
from small_meshes import CUBE, SIDES, write_glb
from small_scenes import actor

PAGE = Path(__file__).resolve().parents[2] / "docs" / "own-game.md"
WALK = re.compile(r"^```(python|sh|toml) walk\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHORTER = {"--minutes 30": "--minutes 0.001 --batch 1 --score-frames 2 --threads 1"}


def run(folder: Path, command: list[str]) -> str:
    """One command in the walker's folder."""
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": tools}, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def export_meshes(folder: Path, listed: str) -> None:
    """The two files that the page's list names."""
    names = {
        name: one if isinstance(one, str) else f"{name}_end" for name, one in tomllib.loads(listed)["joints"].items()
    }
    assert set(names) == set(JOINTS)
    write_glb(folder / "crate.glb", 0.5 * CUBE, SIDES)
    write_glb(folder / "corsair.glb", 0.3 * CUBE + actor().joints[2] + (0, 0.3, 0), SIDES, names)


@pytest.mark.slow
def test_the_walk_leads_from_a_game_to_a_server_of_its_look(tmp_path: Path) -> None:
    blocks = WALK.findall(PAGE.read_text(encoding="utf-8"))
    assert [language for language, _ in blocks] == ["python", "sh", "toml", "sh", "sh", "python"]
    record, check, listed, adapt, score, play = (text for _, text in blocks)

    (tmp_path / "my_game.py").write_text(record)
    assert "harbour-2: 6 frames" in run(tmp_path, [sys.executable, "my_game.py"])
    assert "costume corsair: 18 frames" in run(tmp_path, ["sh", "-e", "-c", check])
    (tmp_path / "my-meshes.toml").write_text(listed)
    export_meshes(tmp_path, listed)
    for long, short in SHORTER.items():
        assert long in adapt
        adapt = adapt.replace(long, short)
    said = run(tmp_path, ["sh", "-e", "-c", adapt])
    assert "harbour/planks" in said  # has no mesh
    assert "cutscene-server --model my-model" in said
    assert "grad." in run(tmp_path, ["sh", "-e", "-c", score])
    for name in ("my-model-run/before-after.png", "scores/scores.json", "scores/scores.png"):
        assert (tmp_path / name).stat().st_size > 100

    manifest = read_manifest(tmp_path / "my-model")
    assert manifest.costumes == ("corsair",)
    assert manifest.looks == ("harbour/crate", "harbour/planks")
    assert manifest.data["capture"]["train"] == {"runs": 2, "frames": 12, "names": ["harbour-0", "harbour-1"]}
    scores = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert scores["runs"] == ["harbour-2"]
    assert scores["trained_on"] == []
    assert set(manifest.quality) == {"before", "after"}
    assert manifest.training["autoencoder_steps"] >= 4

    again = run(tmp_path, ["sh", "-e", "-c", adapt])  # all of it is there
    assert "fitting" not in again
    assert read_manifest(tmp_path / "my-model").digest == manifest.digest

    with local_server(["--model", str(tmp_path / "my-model"), "--data", str(tmp_path / "sessions")]) as address:
        shown = run(tmp_path, [sys.executable, "-c", play.replace(DEFAULT_ADDRESS, address)])
    assert "2 (288, 512, 3)" in shown
