"""Captured scripts: a performance recorded frame by frame, in one small file that nothing gets unpickled from.

The file is a ``.npz`` of plain arrays (``cutscene_model.training.captured`` writes it from the stage's director):

    facts    JSON as bytes: "cast", "elements", "props", "shots" (name, first frame, one past the last), "seed"
    camera   (F, 8) float32: position, rotation, vertical field of view in radians
    hips     (F, A, 3) float32, and joints (F, A, 19, 3) float16 relative to them: a millimetre is kept
    emotion  (F, A) uint8, index into the contract's emotions from neutral; face (F, A, 2) float16: intensity, mouth
    props    (F, P, 7) float32: position, rotation
    lights   (F, 12) float32: ambient, sun direction, sun colour, background
    points   (F, K, 7) float32: position, colour, range; a range of 0 means that there is none
"""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import numpy as np
import numpy.typing as npt

from cutscene_client import scene
from cutscene_client.expand import ExpandedShot, Expansion
from cutscene_client.rotations import unit
from cutscene_client.script import FPS, Script, ScriptError
from cutscene_proto.v1 import cutscene_pb2 as pb
from cutscene_proto.v1 import scene_pb2 as spb

SHAPES: dict[str, tuple[int, ...]] = {
    "camera": (8,),
    "hips": (0, 3),
    "joints": (0, len(scene.JOINTS), 3),
    "emotion": (0,),
    "face": (0, 2),
    "props": (0, 7),
    "lights": (12,),
    "points": (0, 7),
}
"""Each array's shape after its frames; 0 stands for any number."""

Arrays = dict[str, npt.NDArray[Any]]


def load_captured(script: Script, data: bytes, source: str) -> Expansion:
    """A captured file as requests. Raises ``ScriptError`` if the file is not one."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays: Arrays = {name: archive[name] for name in (*SHAPES, "facts")}
        facts = json.loads(arrays.pop("facts").tobytes())
        _check(arrays)
        return _expansion(script, facts, arrays)
    except (ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError) as error:
        raise ScriptError(source, [f"not a captured file: {error}"]) from error


def _check(arrays: Arrays) -> None:
    frames = len(arrays["camera"])
    for name, expected in SHAPES.items():
        shape = arrays[name].shape
        fits = len(shape) == len(expected) + 1 and shape[0] == frames
        if not fits or any(want not in (0, have) for want, have in zip(expected, shape[1:], strict=True)):
            raise ValueError(f"{name} has the shape {shape}, expected (frames, {', '.join(map(str, expected))})")
        if not np.isfinite(arrays[name].astype(np.float64)).all():
            raise ValueError(f"{name} holds numbers that are not finite")


def _expansion(script: Script, facts: dict[str, Any], arrays: Arrays) -> Expansion:
    cast = [
        scene.cast_member(m["id"], m["costume"], tint=m["tint"], bare_headed=not m["headgear"]) for m in facts["cast"]
    ]
    elements = [
        scene.box(class_, look, center, half, rotation=rotation, part=part, tint=tint)
        for class_, look, part, center, half, rotation, tint in facts["elements"]
    ]
    props = [scene.prop(p["id"], p["class"], p["look"], p["half_extent"], tint=p["tint"]) for p in facts["props"]]
    request = pb.Open(fps=FPS, cast=cast, set=scene.stage_set(elements, props), seed=script.seed or facts["seed"])
    ids = [member.id for member in cast]
    prop_ids = [prop.id for prop in props]
    shots = tuple(
        ExpandedShot(name, tuple(_state(arrays, frame, ids, prop_ids) for frame in range(first, end)))
        for name, first, end in facts["shots"]
    )
    return Expansion(script.title, request, shots)


def _state(arrays: Arrays, frame: int, ids: list[str], prop_ids: list[str]) -> spb.SceneState:
    camera = arrays["camera"][frame].astype(np.float64)
    names = list(scene.EMOTIONS)
    actors = []
    for index, cast_id in enumerate(ids):
        joints = arrays["joints"][frame, index].astype(np.float32) + arrays["hips"][frame, index]
        intensity, mouth = (float(value) for value in arrays["face"][frame, index])
        emotion = names[int(arrays["emotion"][frame, index])]
        actors.append(scene.actor(cast_id, joints, emotion=emotion, intensity=intensity, mouth_open=mouth))
    placed = [
        scene.prop_state(prop_id, place[:3], unit(place[3:]))
        for prop_id, place in zip(prop_ids, arrays["props"][frame], strict=True)
    ]
    ambient, sun_direction, sun_color, background = arrays["lights"][frame].reshape(4, 3)
    points = [scene.point_light(p[:3], p[3:6], float(p[6])) for p in arrays["points"][frame] if p[6] > 0.0]
    lights = scene.lights(
        ambient=ambient,
        sun_direction=sun_direction,
        sun_color=sun_color,
        background_srgb=np.clip(background, 0.0, 1.0),
        points=points,
    )
    view = scene.camera(camera[:3], rotation=unit(camera[3:7]), fov_degrees=float(np.degrees(camera[7])))
    return scene.state(view, lights, actors, placed)
