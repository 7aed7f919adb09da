"""Exports what ships with the client: clips as joints, rooms, looks and held things, in the client's own file forms.

The forms are told in ``cutscene_client.library``, which reads them with numpy and json alone. Equal sources give equal
bytes, so that a change of the library shows in review.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cutscene_model.scene import ElementClass
from cutscene_model.training.assets import ALL
from cutscene_model.training.costumes import grip
from cutscene_model.training.motion import Clip, Rig, load_rig
from cutscene_model.training.rooms import ROOMS, build, room_to_plain
from cutscene_model.training.transforms import matrix_quaternion
from cutscene_model.vocabulary import COSTUMES

FPS = 24
VARIANTS = {"": 0, "_2": 1}  # suffix of a room's name: the layout variant it is, both among those trained on
HAND_SLOTS = ("handslot.l", "handslot.r")
MOVING = ("Walking", "Running")


def sample_clip(rig: Rig, clip: Clip) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.float16]]:
    """(T, 19, 3) joints and (T, 2, 4) hand-slot rotations from the first to the last instant of a clip."""
    count = round(clip.duration * FPS) + 1
    joints, hands = [], []
    for time in np.linspace(0.0, clip.duration, count):
        # A looping clip wraps at its end: its last sample is taken just before.
        matrices = rig.pose(clip.name, max(0.0, min(float(time), clip.duration - 1e-6)))
        joints.append(rig.contract_joints(matrices))
        slots = [matrices[rig.index[name]][:3, :3] for name in HAND_SLOTS]
        hands.append([matrix_quaternion(slot / np.linalg.norm(slot, axis=0)) for slot in slots])
    return np.array(joints).astype(np.float16), np.array(hands).astype(np.float16)


def motion(rig: Rig) -> tuple[dict[str, npt.NDArray[np.float16]], dict[str, Any]]:
    """The arrays of ``motion.npz`` and the facts of ``motion.json``."""
    arrays: dict[str, npt.NDArray[np.float16]] = {}
    facts: dict[str, Any] = {}
    for name, clip in sorted(rig.clips.items()):
        joints, hands = sample_clip(rig, clip)
        arrays[f"{name}.joints"], arrays[f"{name}.hands"] = joints, hands
        facts[name] = {"looping": clip.looping, "duration": round(clip.duration, 6), "frames": len(joints)}
        if name.startswith(MOVING):
            facts[name]["stride_speed"] = round(rig.stride_speed(name), 3)
    return arrays, {"fps": FPS, "clips": facts}


def rooms() -> dict[str, Any]:
    """Every room in two variants, by name."""
    plain = {}
    for name in ROOMS:
        for suffix, variant in VARIANTS.items():
            plain[name + suffix] = {**room_to_plain(build(name, variant)), "name": name + suffix}
    return plain


def looks(assets: Path) -> dict[str, Any]:
    """The vocabulary with its boxes, the costumes, and how things are held."""
    held: dict[str, Any] = {}
    for look in ALL:
        if look.element_class is not ElementClass.WEAPON and look.name != "clutter/mug":
            continue
        slot, matrix = grip(assets, look.name)
        linear = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
        held[look.name] = {
            "hand": slot[-1],
            "offset": _rounded(matrix[:3, 3]),
            "rotation": _rounded(matrix_quaternion(linear), 6),
            "half_extent": _rounded(look.half_extent),
        }
    vocabulary = {
        look.name: {
            "class": look.element_class.name.lower(),
            "parts": [[_rounded(center), _rounded(half)] for center, half in look.parts],
        }
        for look in ALL
    }
    return {"looks": vocabulary, "costumes": list(COSTUMES), "weapons": held}


def _rounded(values: npt.ArrayLike, digits: int = 4) -> list[float]:
    return [round(float(value), digits) + 0.0 for value in np.asarray(values, np.float64)]


def export(assets: Path, out: Path) -> list[Path]:
    """Writes the four files. Returns their paths."""
    out.mkdir(parents=True, exist_ok=True)
    arrays, facts = motion(load_rig(assets))
    archive = out / "motion.npz"
    np.savez_compressed(archive, allow_pickle=False, **arrays)
    texts = {"motion.json": facts, "rooms.json": rooms(), "looks.json": looks(assets)}
    for name, plain in texts.items():
        (out / name).write_text(json.dumps(plain, separators=(",", ":")) + "\n", encoding="utf-8")
    return [archive, *(out / name for name in texts)]


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Exports the client's library of clips, rooms and looks.")
    parser.add_argument(
        "--assets",
        default=os.environ.get("CUTSCENE_ASSETS"),
        help="folder of the art packs, with adventurers/ and dungeon/",
    )
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    if not options.assets:
        parser.error("--assets or CUTSCENE_ASSETS must name the folder of the asset packs")
    for path in export(Path(options.assets), options.out):
        print(f"{path}: {path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
