"""Costumes and held things as numpy meshes: what an actor is drawn from, and where a weapon lies in a hand."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse import csgraph

from cutscene_model.scene import CastMember, PropState
from cutscene_model.training.assets import BY_NAME
from cutscene_model.training.gltf import Glb, Mesh, merge
from cutscene_model.training.motion import Rig, load_rig
from cutscene_model.training.transforms import Array, affine, matrix_quaternion, vec3

FILES: dict[str, str] = {
    "knight": "Knight.glb",
    "mage": "Mage.glb",
    "rogue": "Rogue.glb",
    "rogue_hooded": "Rogue_Hooded.glb",
    "barbarian": "Barbarian.glb",
}
HEADGEAR: dict[str, str] = {"knight": "Knight_Helmet", "mage": "Mage_Hat", "barbarian": "Barbarian_Hat"}


@dataclass(frozen=True, slots=True)
class CostumeMesh:
    """All of one actor's triangles in bind space, each vertex bound to up to four bones."""

    positions: npt.NDArray[np.float32]  # (V, 3)
    normals: npt.NDArray[np.float32]  # (V, 3)
    uvs: npt.NDArray[np.float32]  # (V, 2)
    triangles: npt.NDArray[np.int32]  # (T, 3)
    bones: npt.NDArray[np.float32]  # (V, 4) joint indices
    weights: npt.NDArray[np.float32]  # (V, 4)
    tints: npt.NDArray[np.float32]  # (V, 3)


@functools.cache
def _glb(assets_dir: Path, name: str) -> Glb:
    return Glb(assets_dir / "adventurers" / name)


def costume_glb(assets_dir: Path, costume: str) -> Glb:
    """The file a costume comes from, read once per process."""
    return _glb(assets_dir, FILES[costume])


def costume_mesh(assets_dir: Path, member: CastMember) -> CostumeMesh:
    """The triangles of a cast member: body, cape, and headgear if worn. The head keeps its own colours."""
    glb = costume_glb(assets_dir, member.costume)
    rig = load_rig(assets_dir)
    meshes: list[Mesh] = []
    bones: list[npt.NDArray[np.float32]] = []
    weights: list[npt.NDArray[np.float32]] = []
    tints: list[npt.NDArray[np.float32]] = []
    for index, node in enumerate(glb.nodes):
        if "mesh" not in node:
            continue
        mesh = glb.mesh(index)
        name: str = node["name"]
        count = len(mesh.positions)
        tinted = "_Head" not in name
        if mesh.joints is not None and mesh.weights is not None:
            bones.append(mesh.joints.astype(np.float32))
            weights.append(mesh.weights)
            if not tinted:
                mesh = without_features(mesh, head_origin(rig))
        else:
            is_headgear = name == HEADGEAR.get(member.costume)
            if not (name.endswith("_Cape") or (is_headgear and member.headgear)):
                continue
            # Rigid pieces are moved into bind space and bound whole to their bone.
            bone = rig.index[glb.nodes[glb.parents[index]]["name"]]
            mesh = mesh.transformed(np.linalg.inv(rig.inverse_binds[bone]) @ glb.local_matrix(index))
            bones.append(np.tile(np.array([bone, 0, 0, 0], np.float32), (count, 1)))
            weights.append(np.tile(np.array([1, 0, 0, 0], np.float32), (count, 1)))
        meshes.append(mesh)
        tints.append(np.tile(np.array(member.tint if tinted else (1.0, 1.0, 1.0), np.float32), (count, 1)))
    whole = merge(meshes)
    return CostumeMesh(
        whole.positions,
        whole.normals,
        whole.uvs,
        whole.triangles,
        np.concatenate(bones),
        np.concatenate(weights),
        np.concatenate(tints),
    )


def head_origin(rig: Rig) -> Array:
    """(3,) where the head bone lies in bind space."""
    origin: Array = np.linalg.inv(rig.inverse_binds[rig.index["head"]])[:3, 3]
    return origin


def without_features(head: Mesh, origin: Array) -> Mesh:
    """The head without its modelled brows and eyes: the face draws its own, that can move."""
    return replace(head, triangles=head.triangles[~np.isin(islands(head), feature_islands(head, origin))])


def islands(mesh: Mesh) -> npt.NDArray[np.int32]:
    """(T,) which connected piece each triangle belongs to, vertices at one place counted as one."""
    _, welded = np.unique(mesh.positions.round(4), axis=0, return_inverse=True)
    corners = welded.ravel()[mesh.triangles]
    count = int(corners.max()) + 1
    starts, ends = corners[:, [0, 1]].ravel(), corners[:, [1, 2]].ravel()
    links = sparse.coo_matrix((np.ones(len(starts), np.int8), (starts, ends)), shape=(count, count))
    _, labels = csgraph.connected_components(links, directed=False)
    result: npt.NDArray[np.int32] = labels[corners[:, 0]]
    return result


def feature_islands(head: Mesh, origin: Array) -> list[int]:
    """The pieces of a head mesh that are brows or eyes: small, in front, left or right of the nose."""
    found = []
    labels = islands(head)
    for label in np.unique(labels):
        points = head.positions[np.unique(head.triangles[labels == label])] - origin
        low, high = points.min(axis=0), points.max(axis=0)
        beside_nose = low[0] > 0.04 or high[0] < -0.04
        if beside_nose and low[2] > 0.2 and low[1] > 0.25 and high[1] < 0.65:
            found.append(int(label))
    return found


@functools.cache
def grip(assets_dir: Path, look: str) -> tuple[str, Array]:
    """The hand-slot bone that holds a look, and the (4, 4) transform of the prop's box centre in that slot."""
    source = BY_NAME[look].source
    file, node_name = source.removeprefix("adventurers/").split("#")
    glb = _glb(assets_dir, file)
    node = glb.node_index[node_name]
    slot = str(glb.nodes[glb.parents[node]]["name"])
    return slot, glb.local_matrix(node) @ affine(np.eye(3), BY_NAME[look].center)


def held_state(assets_dir: Path, rig: Rig, prop_index: int, look: str, matrices: Array) -> PropState:
    """Where a held prop is when its holder's world joint ``matrices`` are these."""
    slot, local = grip(assets_dir, look)
    world = matrices[rig.index[slot]] @ local
    linear = world[:3, :3] / np.linalg.norm(world[:3, :3], axis=0)
    return PropState(prop_index, vec3(world[:3, 3]), matrix_quaternion(linear))
