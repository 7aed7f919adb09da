"""Writes a directed performance as a captured script for the client: the file and its YAML.

The form of the file is told in ``cutscene_client.captured``, which reads it.

    python -m cutscene_model.training.captured --assets PACKS --seed 25 --out FOLDER --name chapel_talk --title "..."
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from cutscene_model.scene import SceneState, Stage
from cutscene_model.training.director import Performance, direct

MAX_POINTS = 4


def write_captured(performance: Performance, folder: Path, name: str, title: str, about: str) -> tuple[Path, Path]:
    """Writes ``name.npz`` and ``name.yaml`` into ``folder``. Returns both paths."""
    states = [performance.states(frame) for frame in range(performance.frames)]
    facts = {
        **_stage_to_plain(performance.stage),
        "shots": [[shot.kind.replace("_", " "), shot.start, shot.end] for shot in performance.shots],
        "seed": performance.seed,
    }
    hips = np.stack([np.stack([actor.joints[0] for actor in state.actors]) for state in states])
    joints = np.stack([np.stack([actor.joints for actor in state.actors]) for state in states])
    archive = folder / f"{name}.npz"
    held = len(performance.stage.props)
    np.savez_compressed(
        archive,
        facts=np.frombuffer(json.dumps(facts, separators=(",", ":")).encode(), np.uint8),
        camera=np.array([[*s.camera.position, *s.camera.rotation, s.camera.vertical_fov] for s in states], np.float32),
        hips=hips.astype(np.float32),
        joints=(joints - hips[:, :, None]).astype(np.float16),
        emotion=np.array([[actor.emotion for actor in s.actors] for s in states], np.uint8),
        face=np.array([[(actor.intensity, actor.mouth_open) for actor in s.actors] for s in states], np.float16),
        props=np.array([_props(s, held) for s in states], np.float32).reshape(len(states), held, 7),
        lights=np.array([_lights(s) for s in states], np.float32),
        points=np.array([_points(s) for s in states], np.float32),
    )
    script = folder / f"{name}.yaml"
    script.write_text(
        f"# Recorded from the training stage: director seed {performance.seed}, room {performance.room}.\n"
        f"title: {json.dumps(title)}\nabout: {json.dumps(about)}\ncaptured: {archive.name}\n",
        encoding="utf-8",
    )
    return archive, script


def _stage_to_plain(stage: Stage) -> dict[str, Any]:
    return {
        "cast": [
            {"id": m.id, "costume": m.costume, "headgear": m.headgear, "tint": _short(m.tint)} for m in stage.cast
        ],
        "elements": [
            [
                e.element_class.name.lower(),
                e.look,
                e.part,
                _short(e.box.center),
                _short(e.box.half_extent),
                _short(e.box.rotation, 6),
                _short(e.tint),
            ]
            for e in stage.elements
        ],
        "props": [
            {
                "id": p.id,
                "class": p.element_class.name.lower(),
                "look": p.look,
                "half_extent": _short(p.half_extent),
                "tint": _short(p.tint),
            }
            for p in stage.props
        ],
    }


def _short(values: tuple[float, ...], digits: int = 3) -> list[float]:
    return [round(float(value), digits) + 0.0 for value in values]


def _props(state: SceneState, count: int) -> list[list[float]]:
    places = {prop.prop_index: [*prop.position, *prop.rotation] for prop in state.props}
    return [places[index] for index in range(count)]


def _lights(state: SceneState) -> list[float]:
    lights = state.lights
    return [*lights.ambient, *lights.sun_direction, *lights.sun_color, *lights.background]


def _points(state: SceneState) -> list[list[float]]:
    points = [[*point.position, *point.color, point.range] for point in state.lights.points]
    return points + [[0.0] * 7] * (MAX_POINTS - len(points))


def main(arguments: list[str] | None = None) -> int:
    """Directs one performance and writes it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--assets", type=Path, required=True, help="folder of the art packs, with adventurers/ and dungeon/"
    )
    parser.add_argument("--seed", type=int, required=True, help="the director's seed")
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    parser.add_argument("--name", required=True, help="name of both files")
    parser.add_argument("--title", required=True)
    parser.add_argument("--about", default="")
    options = parser.parse_args(arguments)
    performance = direct(options.assets, options.seed)
    for path in write_captured(performance, options.out, options.name, options.title, options.about):
        print(f"{path}: {path.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
