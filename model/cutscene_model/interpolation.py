"""A raster from a quarter of its rays: what the others meet is taken from the rays around them.

Every other ray of every other row is cast; then those in the middle of four of these are filled in, then the rest, each
in the middle of four that are known by then ("pixel-selected ray tracing", Akimoto et al. 1991). Where the four lie on
one surface of one primitive the ray meets it too, where the planes that they lie on are, and what is seen there is
looked up as for any other; elsewhere it sees what most of the four see. So surfaces are nearly as fine as if all rays
were cast, and edges half as fine. The rays that are cast meet what they would meet if all were.
"""

from __future__ import annotations

import numpy as np

from cutscene_model.bands import in_bands, kernel
from cutscene_model.primitives import Primitives
from cutscene_model.raycast import Hits, RaySource, View
from cutscene_model.volumes import Volumes

_CAST, _DIAGONAL, _STRAIGHT = 1, 2, 3  # how a ray comes to what it meets
_BEND = 0.05  # by which depths may differ on one surface between rays, at most
_ALIGNED = 0.8  # cosine between normals on one surface, at least


def cast_sparsely(primitives: Primitives, view: View, volumes: Volumes) -> Hits:
    """As ``raycast.cast_rays`` of a perspective view of even sides, from a quarter of the rays."""
    hits = Hits.nothing(view.height, view.width)
    source = RaySource(primitives, view, volumes)
    ways = np.zeros((view.height, view.width), np.uint8)
    ways[::2, ::2] = _CAST
    source.trace(hits, ways, _CAST)
    lens = (view.half_width, view.half_height, np.ascontiguousarray(view.rotation))
    for way in (_DIAGONAL, _STRAIGHT):
        given = (way, ways, *lens, hits.primitive, hits.depth, hits.grid, hits.normal, hits.sample)
        in_bands(view.height, lambda first, last: _between(first, last, *given))  # noqa: B023
        source.look_up(hits, ways, way)
    return hits


@kernel
def _between(  # type: ignore[no-untyped-def]
    first_row, last_row, way, ways, half_width, half_height, rotation, primitive, depth, grid, normal, sample
):
    """Enters primitive and depth where all four rays around meet one, else all that most of them see."""
    height, width = ways.shape
    weights = np.empty(4, np.int64)
    for row in range(first_row, last_row):
        if way == _DIAGONAL and row & 1 == 0:
            continue
        for column in range(1 if way == _DIAGONAL else 1 - (row & 1), width, 2):
            # The last row and column have no neighbours beyond.
            above, below = row - 1 if row > 0 else row + 1, row + 1 if row < height - 1 else row - 1
            left, right = column - 1 if column > 0 else column + 1, column + 1 if column < width - 1 else column - 1
            if way == _DIAGONAL:
                around = ((above, left), (above, right), (below, left), (below, right))
            else:
                around = ((above, column), (row, left), (row, right), (below, column))
            for i in range(4):
                weights[i] = 0
                for j in range(4):
                    weights[i] += primitive[around[i]] == primitive[around[j]]
            chosen = 0
            for i in range(1, 4):
                # Of equals the nearer, so that what is thin does not fall apart.
                if weights[i] > weights[chosen] or (
                    weights[i] == weights[chosen] and depth[around[i]] < depth[around[chosen]]
                ):
                    chosen = i
            n = primitive[around[chosen]]
            if n < 0:
                continue
            at = around[chosen]
            uneven = 0
            for i in range(4):
                other = around[i]
                aligned = np.float32(0)
                for axis in range(3):
                    aligned += normal[other][axis] * normal[at][axis]
                apart = abs(depth[other] - depth[at]) > _BEND * depth[at]
                if primitive[other] != n or aligned < _ALIGNED or apart:
                    uneven += 1
            if uneven:
                primitive[row, column], depth[row, column], sample[row, column] = n, depth[at], sample[at]
                for axis in range(3):
                    grid[row, column, axis], normal[row, column, axis] = grid[at][axis], normal[at][axis]
                continue
            u, v = _slant(row, column, width, height, half_width, half_height)
            total = np.float32(0)
            for i in range(4):
                at = around[i]
                # The inverse of depth where the plane through what is seen there meets this ray.
                nx, ny, nz = normal[at]
                a = rotation[0, 0] * nx + rotation[1, 0] * ny + rotation[2, 0] * nz
                b = rotation[0, 1] * nx + rotation[1, 1] * ny + rotation[2, 1] * nz
                c = rotation[0, 2] * nx + rotation[1, 2] * ny + rotation[2, 2] * nz
                p, q = _slant(at[0], at[1], width, height, half_width, half_height)
                there, here = a * p + b * q - c, a * u + b * v - c
                ratio = here / there if there < -1e-3 else np.float32(1)
                total += min(max(ratio, np.float32(1 - _BEND)), np.float32(1 + _BEND)) / depth[at]
            ways[row, column] = way
            primitive[row, column], depth[row, column] = n, 4 / total


@kernel
def _slant(row, column, width, height, half_width, half_height):  # type: ignore[no-untyped-def]
    u = np.float32(((column + 0.5) / width * 2 - 1) * half_width)
    return u, np.float32((1 - (row + 0.5) / height * 2) * half_height)
