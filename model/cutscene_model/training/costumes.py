"""Costumes and held things as numpy meshes: skins an actor to a pose, and places a weapon in a hand."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cutscene_model.scene import CastMember, PropState
from cutscene_model.training.assets import BY_NAME
from cutscene_model.training.gltf import Glb, Mesh
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
    """All of one actor's triangles in bind space, with dense bone weights for one matrix product per frame."""

    positions: npt.NDArray[np.float32]  # (V, 4) homogeneous
    normals: npt.NDArray[np.float32]  # (V, 3)
    uvs: npt.NDArray[np.float32]  # (V, 2)
    triangles: npt.NDArray[np.int32]  # (T, 3)
    weights: npt.NDArray[np.float32]  # (V, J)
    tints: npt.NDArray[np.float32]  # (V, 3)
    inverse_binds: npt.NDArray[np.float32]  # (J, 4, 4)

    def posed(self, matrices: Array) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """(V, 3) positions and (V, 3) normals in the frame of the joint ``matrices`` (J, 4, 4)."""
        bones = (matrices @ self.inverse_binds)[:, :3].astype(np.float32).reshape(-1, 12)
        blended = (self.weights @ bones).reshape(-1, 3, 4)
        positions = np.einsum("vab,vb->va", blended, self.positions)
        normals = np.einsum("vab,vb->va", blended[:, :, :3], self.normals)
        return positions, normals


@functools.cache
def _glb(assets_dir: Path, name: str) -> Glb:
    return Glb(assets_dir / "kaykit" / "adventurers" / name)


def costume_glb(assets_dir: Path, costume: str) -> Glb:
    """The file a costume comes from, read once per process."""
    return _glb(assets_dir, FILES[costume])


def costume_mesh(assets_dir: Path, member: CastMember) -> CostumeMesh:
    """The triangles of a cast member: body, cape, and headgear if worn. The head keeps its own colours."""
    glb = costume_glb(assets_dir, member.costume)
    rig = load_rig(assets_dir)
    pieces: list[tuple[Mesh, npt.NDArray[np.float32], bool]] = []
    for index, node in enumerate(glb.nodes):
        if "mesh" not in node:
            continue
        mesh = glb.mesh(index)
        name: str = node["name"]
        if mesh.joints is not None and mesh.weights is not None:
            weights = np.zeros((len(mesh.positions), len(rig.names)), np.float32)
            rows = np.arange(len(weights))
            for column in range(4):
                np.add.at(weights, (rows, mesh.joints[:, column]), mesh.weights[:, column])
            pieces.append((mesh, weights, "_Head" not in name))
            continue
        bone = rig.index[glb.nodes[glb.parents[index]]["name"]]
        is_headgear = name == HEADGEAR.get(member.costume)
        if not (name.endswith("_Cape") or (is_headgear and member.headgear)):
            continue
        # Rigid pieces are moved into bind space and bound whole to their bone.
        bind = np.linalg.inv(rig.inverse_binds[bone])
        mesh = mesh.transformed(bind @ glb.local_matrix(index))
        weights = np.zeros((len(mesh.positions), len(rig.names)), np.float32)
        weights[:, bone] = 1.0
        pieces.append((mesh, weights, True))
    offsets = np.cumsum([0] + [len(mesh.positions) for mesh, _, _ in pieces[:-1]])
    positions = np.concatenate([mesh.positions for mesh, _, _ in pieces])
    tints = [np.tile(np.float32(member.tint if tinted else (1, 1, 1)), (len(w), 1)) for _, w, tinted in pieces]
    triangles = [mesh.triangles + offset for (mesh, _, _), offset in zip(pieces, offsets, strict=True)]
    return CostumeMesh(
        np.concatenate([positions, np.ones((len(positions), 1), np.float32)], axis=1),
        np.concatenate([mesh.normals for mesh, _, _ in pieces]),
        np.concatenate([mesh.uvs for mesh, _, _ in pieces]),
        np.concatenate(triangles).astype(np.int32),
        np.concatenate([weights for _, weights, _ in pieces]),
        np.concatenate(tints),
        rig.inverse_binds.astype(np.float32),
    )


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
