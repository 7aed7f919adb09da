"""Fits a shape volume to every look's mesh and every bone of every costume: ``cutscene-train shapes``.

Distances are exact near the surface. What is inside is told by the generalized winding number (Jacobson et al. 2013),
since the packs' meshes are open where nobody looks; sheets thinner than the grid become shells one sample thick.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np
import numpy.typing as npt
from scipy import ndimage
from tqdm import tqdm

from cutscene_model.scene import CastMember, FloatArray
from cutscene_model.skeleton import BONE_JOINTS
from cutscene_model.training.assets import ALL, Look
from cutscene_model.training.costumes import HEADGEAR, CostumeMesh, costume_glb, costume_mesh
from cutscene_model.training.motion import Rig, load_rig
from cutscene_model.training.pose_prior import fit_prior
from cutscene_model.training.set_mesh import COSTUME_LAYERS, SetMeshes, texture_layers
from cutscene_model.training.transforms import Array
from cutscene_model.vocabulary import COSTUMES
from cutscene_model.volumes import DISTANCE_STEPS, GLOWS, UNTINTED, Volumes, write_volumes

FINEST = 0.012  # metres between samples, at least
ALONG = 118  # samples along the longest side, at most
SAMPLES = 400_000  # in a look's bounds, at most, or nearly so
HEAD_SPACING = 0.0145
SKULL_SPACING = 0.01  # of heads themselves, which are seen close and carry a hairline
BAND = 3.0  # spacings around the surface in which distances are exact
COLORED = 2.2  # spacings around the surface in which samples have colours
NORMAL_LEVELS = 21  # of each of a normal's components to either side of zero: fewer deflate better
MARGIN = 2  # empty samples around the mesh
LEAST_SHARE = 0.35  # of a corner's weight that a bone must have for the triangle to be its
BONE_MEMBERS: dict[str, tuple[str, ...]] = {
    "head": ("head",),
    "hips": ("hips",),
    "spine": ("spine",),
    "chest": ("chest",),
    **{f"upper_arm_{s}": (f"upperarm.{s}",) for s in "lr"},
    **{f"forearm_{s}": (f"lowerarm.{s}", f"wrist.{s}") for s in "lr"},
    **{f"hand_{s}": (f"hand.{s}", f"handslot.{s}") for s in "lr"},
    **{f"thigh_{s}": (f"upperleg.{s}",) for s in "lr"},
    **{f"shin_{s}": (f"lowerleg.{s}",) for s in "lr"},
    **{f"foot_{s}": (f"foot.{s}", f"toes.{s}") for s in "lr"},
}


@dataclass(frozen=True, slots=True)
class Solid:
    """A mesh to be fitted, in its volume's own frame."""

    name: str
    corners: npt.NDArray[np.float64]  # (T, 3, 3)
    normals: npt.NDArray[np.float64]  # (T, 3, 3) at the corners
    uvs: npt.NDArray[np.float64]  # (T, 3, 2) origin top left
    texture: npt.NDArray[np.uint8]  # (H, W, 3)
    flags: npt.NDArray[np.uint8]  # (T,)
    sheet: npt.NDArray[np.bool_]  # (T,) has no inside: cloth
    spacing: float
    element_box: tuple[float, ...]
    prop_box: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Fitted:
    """One volume."""

    low: npt.NDArray[np.float64]
    distance: npt.NDArray[np.int8]  # (x, y, z)
    normal: npt.NDArray[np.int8]  # (x, y, z, 3)
    paint: npt.NDArray[np.uint8]  # (x, y, z, 4)


@numba.njit(cache=True)
def _closest(p, a, b, c):  # type: ignore[no-untyped-def]
    """Squared distance from p to a triangle and the closest point's weights of b and c (Ericson 2005, 5.1.5)."""
    ab, ac, ap = b - a, c - a, p - a
    d1, d2 = ab @ ap, ac @ ap
    if d1 <= 0 and d2 <= 0:
        return ap @ ap, 0.0, 0.0
    bp = p - b
    d3, d4 = ab @ bp, ac @ bp
    if d3 >= 0 and d4 <= d3:
        return bp @ bp, 1.0, 0.0
    vc = d1 * d4 - d3 * d2
    if vc <= 0 and d1 >= 0 and d3 <= 0:
        v = d1 / max(d1 - d3, 1e-30)
        q = ap - v * ab
        return q @ q, v, 0.0
    cp = p - c
    d5, d6 = ab @ cp, ac @ cp
    if d6 >= 0 and d5 <= d6:
        return cp @ cp, 0.0, 1.0
    vb = d5 * d2 - d1 * d6
    if vb <= 0 and d2 >= 0 and d6 <= 0:
        w = d2 / max(d2 - d6, 1e-30)
        q = ap - w * ac
        return q @ q, 0.0, w
    va = d3 * d6 - d5 * d4
    if va <= 0 and d4 - d3 >= 0 and d5 - d6 >= 0:
        w = (d4 - d3) / max((d4 - d3) + (d5 - d6), 1e-30)
        q = bp - w * (c - b)
        return q @ q, 1 - w, w
    scale = 1 / max(va + vb + vc, 1e-30)
    v, w = vb * scale, vc * scale
    q = ap - v * ab - w * ac
    return q @ q, v, w


@numba.njit(cache=True)
def _splat(corners, size, reach, squared, owner, weights):  # type: ignore[no-untyped-def]
    """Lowers ``squared`` distances around each triangle (in samples), keeping whose and where the closest point is."""
    for t in range(len(corners)):
        a, b, c = corners[t, 0], corners[t, 1], corners[t, 2]
        lo = np.empty(3, np.int64)
        hi = np.empty(3, np.int64)
        for k in range(3):
            lo[k] = max(int(np.floor(min(a[k], b[k], c[k]) - reach)), 0)
            hi[k] = min(int(np.ceil(max(a[k], b[k], c[k]) + reach)) + 1, size[k])
        p = np.empty(3)
        for x in range(lo[0], hi[0]):
            for y in range(lo[1], hi[1]):
                for z in range(lo[2], hi[2]):
                    p[0], p[1], p[2] = x, y, z
                    d, v, w = _closest(p, a, b, c)
                    if d < squared[x, y, z]:
                        squared[x, y, z] = d
                        owner[x, y, z] = t
                        weights[x, y, z, 0] = v
                        weights[x, y, z, 1] = w


@numba.njit(cache=True, fastmath=True)
def _winding(points, corners):  # type: ignore[no-untyped-def]
    """How often the mesh winds around each point: the sum of signed solid angles (van Oosterom and Strackee 1983)."""
    result = np.zeros(len(points))
    for i in range(len(points)):
        x, y, z = points[i]
        total = 0.0
        for t in range(len(corners)):
            ax, ay, az = corners[t, 0, 0] - x, corners[t, 0, 1] - y, corners[t, 0, 2] - z
            bx, by, bz = corners[t, 1, 0] - x, corners[t, 1, 1] - y, corners[t, 1, 2] - z
            cx, cy, cz = corners[t, 2, 0] - x, corners[t, 2, 1] - y, corners[t, 2, 2] - z
            la = np.sqrt(ax * ax + ay * ay + az * az)
            lb = np.sqrt(bx * bx + by * by + bz * bz)
            lc = np.sqrt(cx * cx + cy * cy + cz * cz)
            det = ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
            div = (
                la * lb * lc
                + (ax * bx + ay * by + az * bz) * lc
                + (bx * cx + by * cy + bz * cz) * la
                + (cx * ax + cy * ay + cz * az) * lb
            )
            total += np.arctan2(det, div)
        result[i] = total / (2 * np.pi)
    return result


def fit(solid: Solid) -> Fitted:
    """The volume of one mesh."""
    points = solid.corners.reshape(-1, 3)
    low = points.min(axis=0) - MARGIN * solid.spacing
    size = np.ceil((points.max(axis=0) - low) / solid.spacing).astype(np.int64) + 1 + MARGIN
    corners = np.ascontiguousarray((solid.corners - low) / solid.spacing)
    squared = np.full(tuple(size), np.inf)
    owner = np.full(tuple(size), -1, np.int64)
    weights = np.zeros((*size, 2))
    _splat(corners, size, BAND, squared, owner, weights)
    distance = np.sqrt(squared)
    near = distance < BAND

    inside = np.zeros(tuple(size), np.bool_)
    closed = np.ascontiguousarray(corners[~solid.sheet])
    inside[near] = _winding(np.argwhere(near).astype(np.float64), closed) > 0.5
    # Away from the surface a whole region is inside or outside at once: ask at one of its samples.
    regions, count = ndimage.label(~near)
    if count:
        samples = np.asarray(ndimage.maximum_position(np.ones_like(regions), regions, np.arange(1, count + 1)))
        deep = _winding(samples.astype(np.float64), closed) > 0.5
        inside[~near] = np.concatenate([[False], deep])[regions[~near]]
    far = ndimage.distance_transform_edt(~near) + BAND - 1.5
    signed = np.where(near, distance, far) * np.where(inside, -1, 1)

    thin = solid.sheet | _not_captured(signed, corners)
    if thin.any():
        shell = np.full(tuple(size), np.inf)
        _splat(np.ascontiguousarray(corners[thin]), size, BAND, shell, np.full(tuple(size), -1), np.zeros((*size, 2)))
        signed = np.minimum(signed, np.sqrt(shell) - 0.5)

    colored = distance < COLORED
    whose, (v, w) = owner[colored], weights[colored].T
    uv, bent = (
        corner[whose, 0]
        + v[:, None] * (corner[whose, 1] - corner[whose, 0])
        + w[:, None] * (corner[whose, 2] - corner[whose, 0])
        for corner in (solid.uvs, solid.normals)
    )
    height, width, _ = solid.texture.shape
    column = np.clip((uv[:, 0] * width).astype(int), 0, width - 1)
    row = np.clip((uv[:, 1] * height).astype(int), 0, height - 1)
    paint = np.zeros((*size, 4), np.uint8)
    paint[colored, :3] = solid.texture[row, column]
    paint[colored, 3] = solid.flags[whose]
    normal = np.zeros((*size, 3), np.int8)
    bent /= np.maximum(np.linalg.norm(bent, axis=1, keepdims=True), 1e-9)
    normal[colored] = np.round(bent * NORMAL_LEVELS) * (127 // NORMAL_LEVELS)
    # Seen through a crack, or where the mesh is open, a surface may be far from every triangle: the closest colours it.
    cell = ndimage.distance_transform_edt(~colored, return_distances=False, return_indices=True)
    border = ndimage.binary_dilation(signed < 0, iterations=2) & ndimage.binary_dilation(signed >= 0, iterations=2)
    around = ~colored & (border | (np.abs(signed) < COLORED))
    paint[around] = paint[tuple(cell[:, around])]
    stored = np.clip(np.round(signed * DISTANCE_STEPS), -127, 127).astype(np.int8)
    return Fitted(low, stored, normal, paint)


def _not_captured(signed: npt.NDArray[np.float64], corners: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """(T,) which triangles have no inside on either side: sheets that fall between the samples."""
    middle = corners.mean(axis=1)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    votes = np.zeros(len(corners))
    for corner in range(3):
        point = 0.5 * (middle + corners[:, corner])
        sides = [ndimage.map_coordinates(signed, (point + s * normal).T, order=1) for s in (-1.0, -0.5, 0.0, 0.5, 1.0)]
        votes += np.min(sides, axis=0) > 0
    result: npt.NDArray[np.bool_] = votes >= 2
    return result


def look_solid(look: Look, meshes: SetMeshes, textures: list[npt.NDArray[np.uint8]]) -> Solid:
    """What is fitted for a look: its mesh in the asset's own frame."""
    mesh, layer, glowing = meshes.look_mesh(look.name)
    size = np.array(look.high) - look.low
    spacing = max(float(size.max()) / ALONG, float(np.cbrt(size.prod() / SAMPLES)), FINEST)
    return Solid(
        look.name,
        mesh.positions[mesh.triangles].astype(np.float64),
        mesh.normals[mesh.triangles].astype(np.float64),
        mesh.uvs[mesh.triangles].astype(np.float64),
        textures[layer],
        np.where(glowing[mesh.triangles].mean(axis=1) > 0.5, GLOWS, 0).astype(np.uint8),
        np.zeros(len(mesh.triangles), np.bool_),
        spacing,
        (*look.parts[0][0], *look.parts[0][1]),
        (*look.center, *look.half_extent),
    )


def _costume_solids(assets: Path, costume: str, rig: Rig, textures: list[npt.NDArray[np.uint8]]) -> Iterator[Solid]:
    """One solid a bone, about the bone's first joint, with the axes of the bind pose."""
    rest = _rest(rig)
    marked = CastMember("", costume, headgear=True, tint=(0.5, 0.5, 0.5))
    mesh = costume_mesh(assets, marked)
    bare = len(costume_mesh(assets, CastMember("", costume, headgear=False)).triangles)
    worn = _worn(assets, costume) if costume in HEADGEAR else np.zeros(len(mesh.triangles), np.bool_)
    if int((~worn).sum()) != bare:
        raise ValueError(f"{costume}: the headgear's triangles were not found")
    texture = textures[COSTUME_LAYERS[costume]]
    sheets = _cape(assets, costume, mesh)
    flags = np.where((mesh.tints[mesh.triangles[:, 0]] == 1).all(axis=1), UNTINTED, 0).astype(np.uint8)
    for bone, joints in BONE_JOINTS.items():
        members = BONE_MEMBERS["head" if bone == "headgear" else bone]
        numbers = [rig.index[name] for name in members]
        share = (np.isin(mesh.bones, numbers) * mesh.weights).sum(axis=1)
        mine = (share[mesh.triangles] >= LEAST_SHARE).any(axis=1) & (worn == (bone == "headgear"))
        if not mine.any():
            continue
        chosen = mesh.triangles[mine]
        corners = mesh.positions[chosen].astype(np.float64) - rest[joints[0]]
        size = float(np.ptp(corners.reshape(-1, 3), axis=0).max())
        if bone == "head":
            spacing = SKULL_SPACING
        else:
            spacing = HEAD_SPACING if bone == "headgear" else float(np.clip(size / 50, FINEST, 0.016))
        normals, uvs = mesh.normals[chosen].astype(np.float64), mesh.uvs[chosen].astype(np.float64)
        nothing = (0.0,) * 6
        yield Solid(
            f"{costume}:{bone}", corners, normals, uvs, texture, flags[mine], sheets[mine], spacing, nothing, nothing
        )


def _rest(rig: Rig) -> FloatArray:
    """(19, 3) the contract's joints in the bind pose."""
    binds: Array = np.linalg.inv(rig.inverse_binds).astype(np.float64)
    return rig.contract_joints(binds)


def _worn(assets: Path, costume: str) -> npt.NDArray[np.bool_]:
    """(T,) which triangles of a dressed costume are its headgear."""
    dressed = costume_mesh(assets, CastMember("", costume, headgear=True))
    bare = costume_mesh(assets, CastMember("", costume, headgear=False))
    known = {corners.tobytes() for corners in bare.positions[bare.triangles]}
    return np.array([corners.tobytes() not in known for corners in dressed.positions[dressed.triangles]])


def _cape(assets: Path, costume: str, mesh: CostumeMesh) -> npt.NDArray[np.bool_]:
    """(T,) which triangles of a costume are its cape: a sheet that is open towards the wearer."""
    glb, rig = costume_glb(assets, costume), load_rig(assets)
    known: set[bytes] = set()
    for index, node in enumerate(glb.nodes):
        if "mesh" in node and str(node["name"]).endswith("_Cape"):
            bone = rig.index[glb.nodes[glb.parents[index]]["name"]]
            cape = glb.mesh(index).transformed(np.linalg.inv(rig.inverse_binds[bone]) @ glb.local_matrix(index))
            known |= {corners.tobytes() for corners in cape.positions[cape.triangles]}
    return np.array([corners.tobytes() in known for corners in mesh.positions[mesh.triangles]])


def fit_all(assets: Path) -> Volumes:
    """Volumes of all looks and costumes."""
    meshes, textures, rig = SetMeshes(assets), texture_layers(assets), load_rig(assets)
    solids = [look_solid(look, meshes, textures) for look in ALL]
    for costume in COSTUMES:
        solids += _costume_solids(assets, costume, rig, textures)
    with multiprocessing.get_context("spawn").Pool() as pool:
        fitted = list(tqdm(pool.imap(fit, solids), total=len(solids), unit="shape", desc="fitting"))

    def column(values: list[object]) -> FloatArray:
        return np.asarray(values, np.float32)

    return Volumes(
        tuple(solid.name for solid in solids),
        np.asarray([one.distance.shape for one in fitted], np.int32),
        column([one.low for one in fitted]),
        column([solid.spacing for solid in solids]),
        column([solid.element_box for solid in solids]),
        column([solid.prop_box for solid in solids]),
        _rest(rig),
        np.concatenate([one.distance.ravel() for one in fitted]),
        np.concatenate([one.normal.reshape(-1, 3) for one in fitted]),
        np.concatenate([one.paint.reshape(-1, 4) for one in fitted]),
        fit_prior(rig, _rest(rig), BONE_MEMBERS),
    )


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="cutscene-train shapes", description=__doc__)
    parser.add_argument(
        "--assets",
        default=os.environ.get("CUTSCENE_ASSETS"),
        help="folder of the art packs, with adventurers/ and dungeon/",
    )
    parser.add_argument("--out", type=Path, required=True, help="the .npz file to write")
    parser.add_argument("--meshes", type=Path, help="a game's own meshes in place of the packs', see docs/own-game.md")
    parser.add_argument("--model", type=Path, help="with --meshes: the model that they join (default: the shipped one)")
    options = parser.parse_args(arguments)
    if options.meshes:
        from cutscene_model.training.own_game.commands import run_shapes  # which builds on this module

        return run_shapes(options.meshes, options.out, options.model)
    if not options.assets:
        parser.error("--assets or CUTSCENE_ASSETS must name the folder of the asset packs")
    volumes = fit_all(Path(options.assets))
    write_volumes(options.out, volumes)
    megabytes = options.out.stat().st_size / 1e6
    print(f"{options.out}: {len(volumes.names)} shapes, {len(volumes.distance):,} samples, {megabytes:.1f} MB")
    return 0
