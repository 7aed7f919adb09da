"""Shape volumes from a game's own meshes: ``cutscene-train shapes --meshes my-meshes.toml``.

The list names a binary glTF file for each costume and look, and says once how the skins' joints are called; its form is
told in ``docs/own-game.md``. Costumes of another build are brought into the rest pose of the volumes they join, so that
one set of bones carries them all.
"""

from __future__ import annotations

import multiprocessing
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from cutscene_model.scene import JOINTS, FloatArray
from cutscene_model.skeleton import BONE_JOINTS, BONES, bone_lengths, bone_rotations
from cutscene_model.training.own_game.errors import MeshesError
from cutscene_model.training.own_game.glb_reader import Floats, GlbFile, Triangles
from cutscene_model.training.volumes import (
    ALONG,
    FINEST,
    HEAD_SPACING,
    LEAST_SHARE,
    SAMPLES,
    Fitted,
    Solid,
    fit,
)
from cutscene_model.vocabulary import NAME, Vocabulary
from cutscene_model.volumes import GLOWS, UNTINTED, Volumes

MAX_BONE, MAX_LOOK = 5.0, 200.0  # metres: what is larger was exported in other units
SAME_REST = 0.03  # metres that joints may lie apart for the pose prior of other volumes to be believed
_ATLAS = ("distance", "normal", "paint")
_NODES = ("headgear", "untinted", "sheets", "leave_out")
_BY_NAME = ("sizes", "low", "spacing", "element_box", "prop_box")


@dataclass(frozen=True, slots=True)
class CostumeFile:
    """Where a costume's triangles come from."""

    name: str
    file: Path
    headgear: tuple[str, ...]  # nodes that are its helmet, hat or hood
    untinted: tuple[str, ...]  # nodes that a tint leaves as they are: usually the head
    sheets: tuple[str, ...]  # nodes that are open cloth, such as capes
    leave_out: tuple[str, ...]  # nodes that are not drawn, such as weapons


@dataclass(frozen=True, slots=True)
class LookFile:
    """Where a look's triangles come from."""

    name: str
    file: Path
    node: str | None  # None: all of the file
    box: tuple[Floats, Floats] | None  # low and high of the box that a set element sends; None: the mesh's bounds
    prop_box: tuple[Floats, Floats] | None  # ... and of the box of a prop
    glows: bool


@dataclass(frozen=True, slots=True)
class MeshList:
    """A ``my-meshes.toml``."""

    path: Path
    joints: dict[str, tuple[str, Floats]]  # the contract's joint -> a skin's joint, and an offset in its frame
    bones: dict[str, tuple[str, ...]]  # the contract's bone -> the joints that move it
    costumes: tuple[CostumeFile, ...]
    looks: tuple[LookFile, ...]
    like: dict[str, str]  # a name -> the shipped name whose weights it starts from


# ---- the list -------------------------------------------------------------------------------------------------------


def read_meshes(path: Path) -> MeshList:
    """Reads the list. Raises ``MeshesError`` naming the entry."""
    try:
        plain = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MeshesError(path, "", str(error)) from error
    reader = _Reader(path, plain)
    return reader.read()


class _Reader:
    def __init__(self, path: Path, plain: dict[str, Any]) -> None:
        self._path, self._plain = path, plain
        self._like: dict[str, str] = {}

    def _fail(self, field: str, description: str) -> MeshesError:
        return MeshesError(self._path, field, description)

    def read(self) -> MeshList:
        parts = ("joints", "bones", "costumes", "looks")
        for name, part in self._plain.items():
            if name not in parts or not isinstance(part, dict):
                raise self._fail(name, f"is not a part of this file; its tables are {', '.join(parts)}")
        costumes = tuple(self._costume(name, one) for name, one in self._plain.get("costumes", {}).items())
        looks = tuple(self._look(name, one) for name, one in self._plain.get("looks", {}).items())
        joints = self._joints() if costumes else {}
        bones = self._bones() if costumes else {}
        return MeshList(self._path, joints, bones, costumes, looks, self._like)

    def _joints(self) -> dict[str, tuple[str, Floats]]:
        given = self._plain.get("joints", {})
        if set(given) != set(JOINTS):
            missing, strange = sorted(set(JOINTS) - set(given)), sorted(set(given) - set(JOINTS))
            raise self._fail("joints", f"missing: {_listed(missing)}; unknown: {_listed(strange)}")
        found: dict[str, tuple[str, Floats]] = {}
        for name, one in given.items():
            said = {"joint": one, "offset": [0.0, 0.0, 0.0]} if isinstance(one, str) else one
            if not isinstance(said, dict) or set(said) != {"joint", "offset"} or not isinstance(said["joint"], str):
                raise self._fail(f"joints.{name}", "a joint's name is wanted, or a table of joint and offset")
            found[name] = said["joint"], self._three(f"joints.{name}.offset", said["offset"])
        return found

    def _bones(self) -> dict[str, tuple[str, ...]]:
        given = self._plain.get("bones", {})
        allowed = [bone for bone in BONES if bone != "headgear"]
        strange = set(given) - set(allowed)
        if strange or "head" not in given:
            raise self._fail("bones", f"head is wanted, allowed are {', '.join(allowed)}")
        return {bone: self._texts(f"bones.{bone}", names) for bone, names in given.items()}

    def _costume(self, name: str, one: dict[str, Any]) -> CostumeFile:
        field = f"costumes.{name}"
        self._check(field, name, one, {"file", *_NODES, "like"})
        nodes = [
            self._texts(f"{field}.{key}", one.get(key, [])) for key in ("headgear", "untinted", "sheets", "leave_out")
        ]
        return CostumeFile(name, self._file(field, one), *nodes)

    def _look(self, name: str, one: dict[str, Any]) -> LookFile:
        field = f"looks.{name}"
        self._check(field, name, one, {"file", "node", "box", "prop_box", "glows", "like"})
        boxes = [self._box(f"{field}.{key}", one.get(key)) for key in ("box", "prop_box")]
        node, glows = one.get("node"), one.get("glows", False)
        if not (node is None or isinstance(node, str)):
            raise self._fail(f"{field}.node", "the name of a node is wanted")
        if not isinstance(glows, bool):
            raise self._fail(f"{field}.glows", "true or false is wanted")
        return LookFile(name, self._file(field, one), node, boxes[0], boxes[1], glows)

    def _check(self, field: str, name: str, one: object, allowed: set[str]) -> None:
        if not NAME.fullmatch(name):
            raise self._fail(field, "the name: allowed are 1 to 64 characters of [A-Za-z0-9_./-]")
        if not isinstance(one, dict):
            raise self._fail(field, f"a table is wanted: {', '.join(sorted(allowed))}")
        strange = set(one) - allowed
        if strange:
            raise self._fail(f"{field}.{strange.pop()}", f"is not known; allowed are {', '.join(sorted(allowed))}")
        if "like" in one:
            (self._like[name],) = self._texts(f"{field}.like", [one["like"]])

    def _file(self, field: str, one: dict[str, Any]) -> Path:
        path = self._path.parent / str(one.get("file", ""))
        if not path.is_file():
            raise self._fail(f"{field}.file", f"there is no {path}")
        return path

    def _texts(self, field: str, names: object) -> tuple[str, ...]:
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise self._fail(field, "a list of names is wanted")
        return tuple(names)

    def _three(self, field: str, numbers: object) -> Floats:
        array = np.asarray(numbers, np.float64) if isinstance(numbers, (list, tuple)) else np.zeros(0)
        if array.shape != (3,) or not np.isfinite(array).all():
            raise self._fail(field, "three numbers are wanted, metres")
        return array

    def _box(self, field: str, corners: object) -> tuple[Floats, Floats] | None:
        if corners is None:
            return None
        if not isinstance(corners, list) or len(corners) != 2:
            raise self._fail(field, "two corners are wanted: [[x, y, z], [x, y, z]]")
        low, high = (self._three(field, corner) for corner in corners)
        if not (high > low).all():
            raise self._fail(field, "the second corner must lie above the first in each axis")
        return low, high


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"


# ---- solids ---------------------------------------------------------------------------------------------------------


def _look_solid(path: Path, look: LookFile) -> Solid:
    glb = GlbFile(look.file)
    pieces = glb.still(look.node)
    uvs, texture = glb.painted(pieces)
    corners = np.concatenate([one.corners for one in pieces])
    low, high = (bound(corners.reshape(-1, 3), axis=0) for bound in (np.min, np.max))
    size = np.maximum(high - low, 1e-3)
    _check_size(path, f"looks.{look.name}", "it", float(size.max()), MAX_LOOK)
    spacing = max(float(size.max()) / ALONG, float(np.cbrt(size.prod() / SAMPLES)), FINEST)
    whole = low, high
    return Solid(
        look.name, corners, np.concatenate([one.normals for one in pieces]), uvs, texture,
        np.full(len(corners), GLOWS if look.glows else 0, np.uint8), np.zeros(len(corners), np.bool_), spacing,
        _center_and_half(look.box or whole), _center_and_half(look.prop_box or whole),
    )  # fmt: skip


def _check_size(path: Path, field: str, what: str, size: float, most: float) -> None:
    if size > most:
        raise MeshesError(path, field, f"{what} is {size:.3g} m large; at most {most:g} m. Is the file in metres?")


def _center_and_half(box: tuple[Floats, Floats]) -> tuple[float, ...]:
    low, high = box
    return (*((low + high) / 2).tolist(), *((high - low) / 2).tolist())


def rest_joints(meshes: MeshList, glb: GlbFile) -> FloatArray:
    """(19, 3) metres: the contract's joints in a file's bind pose. Raises ``MeshesError``."""
    binds, names = glb.bind_matrices(), glb.names()
    found = np.empty((len(JOINTS), 3), np.float32)
    for row, contract in enumerate(JOINTS):
        name, offset = meshes.joints[contract]
        if names.get(name) not in binds:
            raise MeshesError(meshes.path, f"joints.{contract}", f"{glb.path} has no joint {name!r}")
        matrix = binds[names[name]]
        found[row] = matrix[:3, :3] @ offset + matrix[:3, 3]
    return found


def _costume_solids(meshes: MeshList, costume: CostumeFile, rest: FloatArray) -> Iterator[Solid]:
    """One solid a bone, about the bone's first joint, in the axes of the rest pose ``rest``."""
    glb = GlbFile(costume.file)
    whole = glb.skinned()
    known = {one.node for one in whole}
    for key in _NODES:
        strange = set(getattr(costume, key)) - known
        if strange:
            field = f"costumes.{costume.name}.{key}"
            raise MeshesError(meshes.path, field, f"no mesh of {costume.file.name} hangs on {strange.pop()!r}")
    pieces = [one for one in whole if one.node not in costume.leave_out]
    if not pieces:
        raise MeshesError(meshes.path, f"costumes.{costume.name}.leave_out", "nothing would be left")
    uvs, texture = glb.painted(pieces)
    corners = np.concatenate([one.corners for one in pieces])
    normals = np.concatenate([one.normals for one in pieces])
    bound, weights = (np.concatenate([_bound(glb, one)[k] for one in pieces]) for k in (0, 1))
    worn, sheets, plain = (
        np.concatenate([np.full(len(one.corners), one.node in nodes) for one in pieces])
        for nodes in (costume.headgear, costume.sheets, costume.untinted)
    )
    flags = np.where(plain, UNTINTED, 0).astype(np.uint8)
    own = rest_joints(meshes, glb)
    turns, stretch = bone_rotations(rest, own), bone_lengths(rest) / np.maximum(bone_lengths(own), 1e-3)
    names = glb.names()
    for number, (bone, (first, last)) in enumerate(BONE_JOINTS.items()):
        members = [
            names[name] for name in meshes.bones.get("head" if bone == "headgear" else bone, ()) if name in names
        ]
        share = (np.isin(bound, members) * weights).sum(axis=-1)
        mine = (share >= LEAST_SHARE).any(axis=1) & (worn == (bone == "headgear"))
        if not mine.any():
            continue
        along = (own[last] - own[first]).astype(np.float64)
        along /= max(float(np.linalg.norm(along)), 1e-9)
        outer = np.outer(along, along)
        matrix = turns[number].astype(np.float64) @ (np.eye(3) - outer + float(stretch[number]) * outer)
        placed = (corners[mine] - own[first]) @ matrix.T
        bent = normals[mine] @ np.linalg.inv(matrix)
        size = float(np.ptp(placed.reshape(-1, 3), axis=0).max())
        _check_size(meshes.path, f"costumes.{costume.name}", f"its {bone}", size, MAX_BONE)
        spacing = (
            max(HEAD_SPACING, size / ALONG)
            if bone in ("head", "headgear")
            else float(np.clip(size / 50, FINEST, 0.016))
        )
        nothing = (0.0,) * 6
        yield Solid(
            f"{costume.name}:{bone}",
            placed,
            bent,
            uvs[mine],
            texture,
            flags[mine],
            sheets[mine],
            spacing,
            nothing,
            nothing,
        )


def _bound(glb: GlbFile, piece: Triangles) -> tuple[npt.NDArray[np.int64], Floats]:
    if piece.joints is None or piece.weights is None:
        raise glb.error(piece.node, "is skinned, but its corners name no joints")
    return piece.joints, piece.weights


# ---- volumes --------------------------------------------------------------------------------------------------------


def fit_meshes(meshes: MeshList, base: Volumes, processes: int | None = None) -> Volumes:
    """Volumes of all meshes in the list, in the rest pose of ``base``, with its pose prior if the builds agree.

    Where ``base`` has no volumes, the first costume's bind pose is everybody's. Raises ``MeshesError``.
    """
    files = [GlbFile(costume.file) for costume in meshes.costumes]
    known = {name for glb in files for name in glb.names()}
    for bone, joints in meshes.bones.items():
        if strange := [name for name in joints if name not in known]:
            raise MeshesError(meshes.path, f"bones.{bone}", f"no costume's file has a joint {strange[0]!r}")
    rests = [rest_joints(meshes, glb) for glb in files]
    rest = base.rest_joints if len(base.names) or not rests else rests[0]
    solids = [_look_solid(meshes.path, look) for look in meshes.looks]
    for costume in meshes.costumes:
        solids += _costume_solids(meshes, costume, rest)
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        fitted: list[Fitted] = list(tqdm(pool.imap(fit, solids), total=len(solids), unit="shape", desc="fitting"))
    alike = all(float(np.abs(one - rest).max()) <= SAME_REST for one in rests)

    def column(values: Sequence[object], width: int) -> FloatArray:
        return np.asarray(values, np.float32).reshape(-1, width)

    return Volumes(
        tuple(solid.name for solid in solids),
        np.asarray([one.distance.shape for one in fitted], np.int32).reshape(-1, 3),
        column([one.low for one in fitted], 3),
        np.asarray([solid.spacing for solid in solids], np.float32),
        column([solid.element_box for solid in solids], 6),
        column([solid.prop_box for solid in solids], 6),
        rest,
        np.concatenate([np.zeros(0, np.int8), *(one.distance.ravel() for one in fitted)]),
        np.concatenate([np.zeros((0, 3), np.int8), *(one.normal.reshape(-1, 3) for one in fitted)]),
        np.concatenate([np.zeros((0, 4), np.uint8), *(one.paint.reshape(-1, 4) for one in fitted)]),
        base.pose_prior if alike else None,
    )


def volumes_for(vocabulary: Vocabulary, own: Volumes, base: Volumes) -> Volumes:
    """The game's own volumes, and those of ``base`` whose names the vocabulary has and the game has no mesh for."""
    wanted = {*vocabulary.costumes, *vocabulary.looks}
    owned = {_owner(name) for name in own.names}
    taken = [at for at, name in enumerate(base.names) if _owner(name) in wanted - owned]
    kept = [at for at, name in enumerate(own.names) if _owner(name) in wanted]
    parts = [(own, kept), (base, taken)]
    columns: dict[str, Any] = {}
    for field in fields(Volumes):
        if field.name in _BY_NAME:
            columns[field.name] = np.concatenate([getattr(one, field.name)[rows] for one, rows in parts])
        elif field.name in _ATLAS:
            pieces = [getattr(one, field.name)[:0] for one, _ in parts]
            for one, rows in parts:
                ends = one.first + one.sizes.astype(np.int64).prod(axis=-1)
                pieces += [getattr(one, field.name)[one.first[at] : ends[at]] for at in rows]
            columns[field.name] = np.concatenate(pieces)
    names = tuple(one.names[at] for one, rows in parts for at in rows)
    whose = own if own.names else base
    return Volumes(names, **columns, rest_joints=whose.rest_joints, pose_prior=whose.pose_prior)


def _owner(volume: str) -> str:
    """The look, or the costume, that a volume belongs to."""
    return re.sub(r":[a-z_]+$", "", volume)
