"""A second game, to try the way of docs/own-game.md on: another set, another cast, drawn in another manner.

    python benchmarks/second_look.py --assets PACKS --out look
    cutscene-train adapt --capture look/capture --meshes look/my-meshes.toml --out my-model --minutes 30
    cutscene-train evaluate --capture look/shipped-names --model model/cutscene_model/weights --out out/before

The game is the training stage with other art: the packs' textures in other colours, props that the shipped look has not
in place of those that it has, bodies of another build, no capes on two of them; and over the picture ink along outlines
and a colour grade, which no mesh tells. It says all names anew and records through the client's capture call.
``look/shipped-names`` has the held-out runs once more under the names of the shipped model, for the figures of a game
that makes do with these.
"""

from __future__ import annotations

import argparse
import colorsys
import functools
import io
import json
import os
import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage
from tqdm import tqdm

import cutscene_client as cc
from cutscene_client import scene as say
from cutscene_model.scene import EMOTIONS, SceneState, Stage
from cutscene_model.training.assets import ALL
from cutscene_model.training.capture import choose_run
from cutscene_model.training.costumes import FILES, HEADGEAR, head_origin, without_features
from cutscene_model.training.director import Performance, direct
from cutscene_model.training.gltf import Glb
from cutscene_model.training.motion import FACE_OFFSET, HEAD_TOP_OFFSET, RIG_JOINTS, load_rig
from cutscene_model.training.stage import StageRenderer
from cutscene_model.training.volumes import BONE_MEMBERS
from cutscene_proto.v1 import scene_pb2 as spb

Pixels = npt.NDArray[np.uint8]

COSTUMES = {
    "knight": "warden",
    "mage": "seer",
    "rogue": "diver",
    "rogue_hooded": "shade",
    "barbarian": "harpooner",
}
HUES = {"Knight": 0.50, "Mage": 0.36, "Rogue": 0.64, "Rogue_Hooded": 0.64, "Barbarian": 0.80}  # turns of the wheel
DUNGEON_HUE = 0.46
BUILDS = {"Knight": 1.22, "Mage": 0.86, "Rogue": 0.84, "Rogue_Hooded": 0.90, "Barbarian": 1.16}  # across, of the bodies
WITHOUT_CAPES = ("Knight", "Rogue")
SWAPS = {
    "barrel_large": "barrel_large_decorated",
    "keg": "keg_decorated",
    "table_medium": "table_medium_decorated_A",
    "table_long": "table_long_decorated_C",
    "table_small": "table_small_decorated_A",
    "bed_frame": "bed_decorated",
    "box_small": "box_small_decorated",
    "trunk_large_A": "trunk_large_C",
    "trunk_medium_B": "trunk_medium_C",
    "wall_arched": "wall_window_closed_scaffold",
    "banner_blue": "banner_patternC_blue",
    "banner_red": "banner_patternC_red",
    "banner_green": "banner_patternC_green",
    "banner_white": "banner_patternC_white",
    "banner_shield_red": "banner_shield_yellow",
    "banner_shield_blue": "banner_shield_white",
    "banner_triple_red": "banner_triple_yellow",
    "banner_triple_green": "banner_triple_white",
    "bottle_A_green": "bottle_A_labeled_green",
    "bottle_B_brown": "bottle_C_brown",
    "coin_stack_medium": "coin_stack_large",
    "sword_shield": "sword_shield_gold",
}  # a prop of the shipped look -> what stands there in this game
BURSTS = 5  # of four frames, of each performance
SHOT_FRAMES = 8  # of each shot that is held out


def look_name(look: str) -> str:
    """What this game calls a look of the packs."""
    return "reef/" + look.replace("/", "_")


# ---- the game's art -------------------------------------------------------------------------------------------------


class EditedGlb:
    """A binary glTF file whose numbers and picture can be changed."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        length = struct.unpack_from("<I", data, 12)[0]
        self.document: dict[str, Any] = json.loads(data[20 : 20 + length])
        self.binary = bytearray(data[28 + length :])

    def accessor(self, number: int, kind: Any) -> npt.NDArray[Any]:
        """A view of an accessor's numbers, to be written to."""
        spec = self.document["accessors"][number]
        view = self.document["bufferViews"][spec["bufferView"]]
        start = view.get("byteOffset", 0) + spec.get("byteOffset", 0)
        width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}[spec["type"]]
        return np.frombuffer(self.binary, kind, spec["count"] * width, start).reshape(-1, width)

    def replace_picture(self, change: Callable[[bytes], bytes]) -> None:
        """Puts ``change`` of the file's picture, a PNG, in its place."""
        spec = self.document["images"][0]
        view = self.document["bufferViews"][spec["bufferView"]]
        start = view.get("byteOffset", 0)
        changed = change(bytes(self.binary[start : start + view["byteLength"]]))
        spec["bufferView"], spec["mimeType"] = len(self.document["bufferViews"]), "image/png"
        self.binary += b"\0" * (-len(self.binary) % 4)
        self.document["bufferViews"].append({"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(changed)})
        self.binary += changed

    def write(self, path: Path) -> None:
        """Writes the file."""
        binary = bytes(self.binary) + b"\0" * (-len(self.binary) % 4)
        self.document["buffers"][0]["byteLength"] = len(binary)
        text = json.dumps(self.document).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
        chunks += struct.pack("<II", len(binary), 0x004E4942) + binary
        path.write_bytes(struct.pack("<III", 0x46546C67, 2, 12 + len(chunks)) + chunks)


def turned(hue: float, grey: tuple[float, float, float]) -> Callable[[bytes], bytes]:
    """A change of a texture, PNG to PNG: hues go round by ``hue`` turns, and what is grey takes on a colour."""
    axis = np.linspace(0, 1, 33)
    table = np.empty((33, 33, 33, 3))
    for i, r in enumerate(axis):
        for j, g in enumerate(axis):
            for k, b in enumerate(axis):
                h, s, v = colorsys.rgb_to_hsv(r, g, b)
                color = np.array(colorsys.hsv_to_rgb((h + hue) % 1, min(1.0, s * 1.15), v**0.9))
                table[i, j, k] = color * (s + (1 - s) * np.array(grey))

    @functools.cache  # most files of a pack have the same picture
    def change(png: bytes) -> bytes:
        picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
        at = picture.reshape(-1, 3).T / 255 * 32
        channels = [ndimage.map_coordinates(table[..., c], at, order=1) for c in range(3)]
        changed = (np.stack(channels, axis=-1).reshape(picture.shape).clip(0, 1) * 255 + 0.5).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(changed).save(file, "PNG")
        return file.getvalue()

    return change


def make_art(packs: Path, art: Path) -> None:
    """Writes the game's art, in the folders and under the names that the stage looks for."""
    for folder in ("adventurers", "dungeon"):
        (art / folder).mkdir(parents=True, exist_ok=True)
    paint = turned(DUNGEON_HUE, (0.80, 0.98, 1.0))
    for path in tqdm(sorted((packs / "dungeon").glob("*.glb")), desc="set", unit="file"):
        stem, _, suffix = path.name.partition(".")
        glb = EditedGlb(path.with_name(f"{SWAPS[stem]}.{suffix}") if stem in SWAPS else path)
        glb.replace_picture(paint)
        glb.write(art / "dungeon" / path.name)
    for path in tqdm(sorted((packs / "adventurers").glob("*.glb")), desc="cast", unit="file"):
        glb = EditedGlb(path)
        glb.replace_picture(turned(HUES[path.stem], (1.0, 0.95, 0.85)))
        for node in glb.document["nodes"]:
            if node["name"].endswith("_Cape") and path.stem in WITHOUT_CAPES:
                del node["mesh"]
            elif node["name"].endswith("_Body"):
                primitive = glb.document["meshes"][node["mesh"]]["primitives"][0]
                points = glb.accessor(primitive["attributes"]["POSITION"], np.float32)
                points[:, [0, 2]] *= np.float32(BUILDS[path.stem])
        glb.write(art / "adventurers" / path.name)


def export_meshes(art: Path, folder: Path) -> None:
    """What a game's tools export for ``cutscene-train shapes``: meshes without moving faces, and the list of them."""
    folder.mkdir(parents=True, exist_ok=True)
    origin = head_origin(load_rig(art))
    for path in sorted((art / "adventurers").glob("*.glb")):
        glb, read = EditedGlb(path), Glb(path)
        for at, node in enumerate(read.nodes):
            if "mesh" in node and "_Head" in node["name"]:
                primitive = glb.document["meshes"][node["mesh"]]["primitives"][0]
                whole = read.mesh(at)
                kept = {tuple(corners) for corners in without_features(whole, origin).triangles.tolist()}
                kind = {5123: np.uint16, 5125: np.uint32}[
                    glb.document["accessors"][primitive["indices"]]["componentType"]
                ]
                index = glb.accessor(primitive["indices"], kind).reshape(-1, 3)
                index[[tuple(corners) not in kept for corners in whole.triangles.tolist()]] = whole.triangles[0, 0]
        glb.write(folder / path.name)
    for path in (art / "dungeon").glob("*.glb"):
        shutil.copy(path, folder / path.name)


def write_list(art: Path, path: Path, meshes: str) -> None:
    """Writes ``my-meshes.toml``."""
    joints = {name: f'"{joint}"' for name, joint in RIG_JOINTS.items()}
    for name, offset in (("head_top", HEAD_TOP_OFFSET), ("face", FACE_OFFSET)):
        joints[name] = f'{{joint = "head", offset = {list(offset)}}}'
    lines = ["[joints]", *(f"{name} = {joint}" for name, joint in joints.items()), "", "[bones]"]
    lines += [f"{bone} = {json.dumps(list(names))}" for bone, names in BONE_MEMBERS.items()]
    for costume, name in COSTUMES.items():
        glb = Glb(art / "adventurers" / FILES[costume])
        nodes = [node["name"] for node in glb.nodes if "mesh" in node]
        bodily = [node for node in nodes if "_Arm" in node or "_Leg" in node or node.endswith(("_Body", "_Cape"))]
        bodily += [node for node in nodes if "_Head" in node or node == HEADGEAR.get(costume)]
        lines += [
            "", f"[costumes.{name}]", f'file = "{meshes}/{FILES[costume]}"', f'like = "{costume}"',
            f"untinted = {json.dumps([node for node in nodes if '_Head' in node])}",
            f"sheets = {json.dumps([node for node in nodes if node.endswith('_Cape')])}",
            f"leave_out = {json.dumps([node for node in nodes if node not in bodily])}",
        ]  # fmt: skip
        if costume in HEADGEAR:
            lines.append(f'headgear = ["{HEADGEAR[costume]}"]')
    for look in ALL:
        file, _, node = look.source.partition("#")
        (center, half), whole = look.parts[0], [list(look.low), list(look.high)]
        box = [(np.array(center) + sign * np.array(half)).round(4).tolist() for sign in (-1, 1)]
        lines += [
            "",
            f'[looks."{look_name(look.name)}"]',
            f'file = "{meshes}/{Path(file).name}"',
            f'like = "{look.name}"',
        ]
        lines += [f"box = {box}", f"prop_box = {whole}", *([f'node = "{node}"'] if node else [])]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


# ---- the game at play -----------------------------------------------------------------------------------------------


def graded(picture: Pixels, ids: Pixels) -> Pixels:
    """Ink along outlines, harder contrast, teal shadows and warm lights: this game's manner."""
    levels = picture.astype(np.float32) / 255
    levels = levels + 0.35 * (levels - 0.5) * (1 - np.abs(2 * levels - 1))
    bright = levels.mean(axis=-1, keepdims=True)
    levels = levels + (1 - bright) * np.array([-0.03, 0.02, 0.05]) + bright * np.array([0.04, 0.01, -0.05])
    outline = ndimage.maximum_filter(ids, 3) != ndimage.minimum_filter(ids, 3)
    ink = ndimage.gaussian_filter(outline.astype(np.float32), 0.6)[..., None]
    result: Pixels = ((levels * (1 - 0.75 * ink.clip(0, 1))).clip(0, 1) * 255 + 0.5).astype(np.uint8)
    return result


def said_once(stage: Stage, shipped: bool = False) -> tuple[list[spb.CastMember], spb.Set]:
    """Cast and set as the game says them."""
    name = (lambda look: look) if shipped else look_name
    cast = [
        say.cast_member(m.id, m.costume if shipped else COSTUMES[m.costume], tint=m.tint, bare_headed=not m.headgear)
        for m in stage.cast
    ]
    elements = [
        say.box(e.element_class.name.lower(), name(e.look), e.box.center, e.box.half_extent,
                rotation=e.box.rotation, part=e.part, tint=e.tint)
        for e in stage.elements
    ]  # fmt: skip
    props = [
        say.prop(_plain(p.id), p.element_class.name.lower(), name(p.look), p.half_extent, tint=p.tint)
        for p in stage.props
    ]
    return cast, say.stage_set(elements, props)


def said_of(stage: Stage, state: SceneState) -> spb.SceneState:
    """One instant as the game says it."""
    camera, lights = state.camera, state.lights
    actors = [
        say.actor(stage.cast[a.cast_index].id, a.joints, emotion=EMOTIONS[a.emotion], intensity=a.intensity,
                  mouth_open=a.mouth_open)
        for a in state.actors
    ]  # fmt: skip
    props = [say.prop_state(_plain(stage.props[p.prop_index].id), p.position, p.rotation) for p in state.props]
    points = [say.point_light(p.position, p.color, p.range) for p in lights.points]
    light = say.lights(ambient=lights.ambient, sun_direction=lights.sun_direction, sun_color=lights.sun_color,
                       background_srgb=lights.background, points=points)  # fmt: skip
    view = say.camera(camera.position, rotation=camera.rotation, fov_degrees=float(np.degrees(camera.vertical_fov)))
    return say.state(view, light, actors, props)


def _plain(prop_id: str) -> str:
    return prop_id.replace("/", "-")


def chosen_frames(performance: Performance, held_out: bool) -> list[int]:
    """Bursts of four to train on; the first frames of each shot to measure on."""
    if held_out:
        return [f for shot in performance.shots for f in range(shot.start, min(shot.end, shot.start + SHOT_FRAMES))]
    rng, frames = np.random.default_rng(performance.seed), list[int]()
    for burst in sorted((choose_run(rng, performance) for _ in range(BURSTS)), key=lambda burst: burst[0]):
        if not frames or burst[0] > frames[-1]:
            frames += burst
    return frames


def record(renderer: StageRenderer, performance: Performance, folder: Path, run: str, held_out: bool) -> None:
    """One performance as one run."""
    cast, room = said_once(performance.stage)
    with cc.capture(folder, cast=cast, set=room, fps=performance.fps, run=run) as capture:
        renderer.open(performance.stage)
        last = None
        for place, frame in enumerate(chosen_frames(performance, held_out)):
            shot = performance.shot_at(frame)
            if last is not None and (shot is not last or (not held_out and place % 4 == 0)):
                capture.cut()
            last = shot
            if place < capture.frames:
                continue  # was recorded in an earlier sitting
            state = performance.states(frame)
            ids = renderer.render_ids(state)
            capture.add(said_of(performance.stage, state), graded(renderer.render(state), ids), ids=ids, frame=frame)


def rename_for_shipped(folder: Path, out: Path, run: str, stage: Stage) -> None:
    """The same run under the shipped model's own names."""
    target = out / "runs" / run
    if target.exists():
        return
    cast, room = said_once(stage, shipped=True)
    cc.capture(out, cast=cast, set=room, run=run).close()
    for path in (folder / "runs" / run).iterdir():
        if path.name != "open.json":
            (target / path.name).unlink(missing_ok=True)
            os.link(path, target / path.name)


def main() -> int:
    """Makes the game's art and records it at play."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    assets = os.environ.get("CUTSCENE_ASSETS")
    parser.add_argument("--assets", type=Path, default=assets, help="folder of the art packs")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=120, help="performances to train on (default: %(default)s)")
    parser.add_argument("--held-out", type=int, default=6, help="performances to measure on (default: %(default)s)")
    options = parser.parse_args()
    if options.assets is None:
        raise SystemExit("--assets or CUTSCENE_ASSETS must name the folder of the art packs")
    art, folder = options.out / "art", options.out / "capture"
    if not (options.out / "my-meshes.toml").exists():
        make_art(Path(options.assets), art)
        export_meshes(art, options.out / "meshes")
        write_list(art, options.out / "my-meshes.toml", "meshes")
    jobs = [("held-out", seed) for seed in range(options.held_out)] + [("play", seed) for seed in range(options.runs)]
    with StageRenderer(art) as renderer:
        for kind, seed in tqdm(jobs, unit="run", desc="recording"):
            performance = direct(art, 70_000 + seed, held_out=kind == "held-out")
            run = f"{kind}-{seed:03d}"
            record(renderer, performance, folder, run, kind == "held-out")
            if kind == "held-out":
                rename_for_shipped(folder, options.out / "shipped-names", run, performance.stage)
    print(f"{folder}: {len(jobs)} runs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
