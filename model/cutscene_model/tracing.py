"""The kernels that follow rays: through boxes, capsules and shape volumes, and what is seen where they end.

Volumes are sphere-traced (Hart 1996): a stored distance says how far a ray may go without meeting anything. Places
are in a primitive's own grid, a volume's at whole numbers of its samples.

All that call one another stay in this file: Numba keeps compiled kernels by the file of the outermost one.
"""

from __future__ import annotations

import numpy as np

from cutscene_model.bands import kernel
from cutscene_model.volumes import DISTANCE_STEPS

NEAR = 0.05  # metres; nothing nearer to the camera is drawn
_BEFORE = 0.4  # spacings before a volume's surface at which its colour and normal are read
_RAY = 12  # kept of a ray: origin, direction, depth, end, and what its march needs
_STEPS = 96  # at most, along one ray through one volume
_TOUCH = 0.04  # spacings from the surface at which it counts as met
_LEAST_STEP = 0.2  # spacings that a ray goes on at least
_EAGER = 1.6  # how far a ray goes at first, for the distance that is safe


@kernel
def trace(  # type: ignore[no-untyped-def]
    order, rectangles, first_row, last_row, width, height,
    half_width, half_height, parallel, wanted, which, within, limited,
    view_to_grid, eye, low, high, to_grid, kind, size, first, distance, normal,
    out_primitive, out_depth, out_grid, out_normal, out_sample, only_depth,
):  # fmt: skip
    """Traces the rows from ``first_row`` to ``last_row`` (excluded), nearest primitives first."""
    near = 0.0 if parallel else NEAR
    rays = np.empty((_RAY, width), np.float32)
    columns = np.empty(width, np.int64)
    for n in order:
        # Scalars all the way in: a slice of an array in the inner loop costs more than the ray it serves.
        m = view_to_grid[n]
        m00, m01, m02 = m[0, 0], m[0, 1], m[0, 2]
        m10, m11, m12 = m[1, 0], m[1, 1], m[1, 2]
        m20, m21, m22 = m[2, 0], m[2, 1], m[2, 2]
        lx, ly, lz, hx, hy, hz = low[n, 0], low[n, 1], low[n, 2], high[n, 0], high[n, 1], high[n, 2]
        sx, sy, sz, at = size[n, 0], size[n, 1], size[n, 2], first[n]
        ox, oy, oz = eye[n, 0], eye[n, 1], eye[n, 2]
        dx, dy, dz = -m02, -m12, -m22
        for row in range(max(rectangles[n, 1], first_row), min(rectangles[n, 3], last_row)):
            v = np.float32((1 - (row + 0.5) / height * 2) * half_height)
            count = 0
            for column in range(rectangles[n, 0], rectangles[n, 2]):
                if wanted[row, column] != which:
                    continue
                begin, end = np.float32(near), out_depth[row, column]
                if limited:
                    begin = max(begin, within[0, row >> 1, column >> 1])
                    end = min(end, within[1, row >> 1, column >> 1])
                    if end <= begin:
                        continue
                u = np.float32(((column + 0.5) / width * 2 - 1) * half_width)
                if parallel:
                    ox = eye[n, 0] + m00 * u + m01 * v
                    oy = eye[n, 1] + m10 * u + m11 * v
                    oz = eye[n, 2] + m20 * u + m21 * v
                else:
                    dx, dy, dz = m00 * u + m01 * v - m02, m10 * u + m11 * v - m12, m20 * u + m21 * v - m22
                ix = 1 / dx if abs(dx) > 1e-12 else np.float32(1e12)
                iy = 1 / dy if abs(dy) > 1e-12 else np.float32(1e12)
                iz = 1 / dz if abs(dz) > 1e-12 else np.float32(1e12)
                ax, bx, ay, by, az, bz = (
                    (lx - ox) * ix, (hx - ox) * ix, (ly - oy) * iy, (hy - oy) * iy, (lz - oz) * iz, (hz - oz) * iz,
                )  # fmt: skip
                nx, ny, nz = min(ax, bx), min(ay, by), min(az, bz)
                enter = max(nx, ny, nz)
                leave = min(max(ax, bx), max(ay, by), max(az, bz), end)
                if leave <= max(enter, begin):
                    continue
                columns[count] = column
                rays[0, count], rays[1, count], rays[2, count] = ox, oy, oz
                rays[3, count], rays[4, count], rays[5, count] = dx, dy, dz
                # Only what is marched along may begin later: a box or a capsule is met where its ray enters it.
                rays[6, count], rays[7, count] = max(enter, begin) if kind[n] == 2 else enter, leave
                rays[8, count] = 0 if enter == nx else 1 if enter == ny else 2
                count += 1
            if kind[n] == 2:
                count = _march(rays, columns, count, near, sx, sy, sz, at, distance)
            for ray in range(count):
                column = columns[ray]
                ox, oy, oz, dx, dy, dz = (
                    rays[0, ray],
                    rays[1, ray],
                    rays[2, ray],
                    rays[3, ray],
                    rays[4, ray],
                    rays[5, ray],
                )
                t, leave = rays[6, ray], rays[7, ray]
                gx, gy, gz = 0.0, 0.0, 0.0
                if kind[n] == 0:
                    if t <= near:  # a box around the camera is not drawn
                        continue
                    if rays[8, ray] == 0:
                        gx = -np.sign(dx)
                    elif rays[8, ray] == 1:
                        gy = -np.sign(dy)
                    else:
                        gz = -np.sign(dz)
                elif kind[n] == 1:
                    half = high[n, 1] - 1
                    t = _capsule(ox, oy, oz, dx, dy, dz, half)
                    if t <= near or t >= leave:
                        continue
                    gx, gz = ox + t * dx, oz + t * dz
                    y = oy + t * dy
                    gy = y - min(max(y, -half), half)
                out_depth[row, column] = t
                if only_depth:
                    continue
                out_primitive[row, column] = n
                _enter(
                    row, column, n, ox, oy, oz, dx, dy, dz, t, gx, gy, gz,
                    to_grid, kind, size, first, distance, normal, out_grid, out_normal, out_sample,
                )  # fmt: skip


@kernel
def look_up(  # type: ignore[no-untyped-def]
    first_row, last_row, width, height, half_width, half_height, wanted, which,
    view_to_grid, eye, low, high, to_grid, kind, size, first, distance, normal,
    primitive, depth, out_grid, out_normal, out_sample,
):  # fmt: skip
    """Enters what diverging rays see of the primitive that they are known to meet at a known depth."""
    for row in range(first_row, last_row):
        v = np.float32((1 - (row + 0.5) / height * 2) * half_height)
        for column in range(width):
            if wanted[row, column] != which:
                continue
            u = np.float32(((column + 0.5) / width * 2 - 1) * half_width)
            n, t = primitive[row, column], depth[row, column]
            m = view_to_grid[n]
            dx = m[0, 0] * u + m[0, 1] * v - m[0, 2]
            dy = m[1, 0] * u + m[1, 1] * v - m[1, 2]
            dz = m[2, 0] * u + m[2, 1] * v - m[2, 2]
            ox, oy, oz = eye[n, 0], eye[n, 1], eye[n, 2]
            x, y, z = ox + t * dx, oy + t * dy, oz + t * dz
            gx, gy, gz = 0.0, 0.0, 0.0
            if kind[n] == 0:
                if abs(x) >= abs(y) and abs(x) >= abs(z):
                    gx = np.sign(x)
                elif abs(y) >= abs(z):
                    gy = np.sign(y)
                else:
                    gz = np.sign(z)
            elif kind[n] == 1:
                half = high[n, 1] - 1
                gx, gy, gz = x, y - min(max(y, -half), half), z
            _enter(
                row, column, n, ox, oy, oz, dx, dy, dz, t, gx, gy, gz,
                to_grid, kind, size, first, distance, normal, out_grid, out_normal, out_sample,
            )  # fmt: skip


@kernel
def _enter(  # type: ignore[no-untyped-def]
    row, column, n, ox, oy, oz, dx, dy, dz, t, gx, gy, gz,
    to_grid, kind, size, first, distance, normal, out_grid, out_normal, out_sample,
):  # fmt: skip
    """Enters what a ray (origin, direction, in the grid of primitive ``n``) meets at depth ``t``.

    ``gx``, ``gy`` and ``gz`` are the normal in the grid of a box or a capsule.
    """
    x, y, z = ox + t * dx, oy + t * dy, oz + t * dz
    sample = -1
    if kind[n] == 2:
        sx, sy, sz = size[n, 0], size[n, 1], size[n, 2]
        sample, px, py, pz = _sample(x, y, z, dx, dy, dz, sx, sy, sz, first[n], normal)
        gx, gy, gz = _normal(px, py, pz, sx, sy, sz, first[n], normal)
        if abs(gx) + abs(gy) + abs(gz) < 40:  # no normals here, or opposite ones
            gx, gy, gz = _slope(x, y, z, sx, sy, sz, first[n], distance)
    # Normals map by the transpose of the inverse, which is here the transpose of the map to the grid.
    if gx * dx + gy * dy + gz * dz > 0:
        gx, gy, gz = -gx, -gy, -gz
    g = to_grid[n]
    nx = g[0, 0] * gx + g[1, 0] * gy + g[2, 0] * gz
    ny = g[0, 1] * gx + g[1, 1] * gy + g[2, 1] * gz
    nz = g[0, 2] * gx + g[1, 2] * gy + g[2, 2] * gz
    scale = 1 / max(np.sqrt(nx * nx + ny * ny + nz * nz), 1e-12)
    out_grid[row, column, 0] = x
    out_grid[row, column, 1] = y
    out_grid[row, column, 2] = z
    out_normal[row, column, 0] = nx * scale
    out_normal[row, column, 1] = ny * scale
    out_normal[row, column, 2] = nz * scale
    out_sample[row, column] = sample


@kernel
def _sample(x, y, z, dx, dy, dz, sx, sy, sz, first, normal):  # type: ignore[no-untyped-def]
    """The sample that is seen where a ray meets a volume, and the place in the grid that it is read at.

    That is a little before the surface, where the closest triangle is one that can be seen: a thin cloth, and not the
    table below. A first look along the ray says which way "before" is.
    """
    length = _BEFORE / max(np.sqrt(dx * dx + dy * dy + dz * dz), 1e-12)
    px, py, pz = x - dx * length, y - dy * length, z - dz * length
    i, j, k = _nearest(px, py, pz, sx, sy, sz)
    at = first + (i * sy + j) * sz + k
    nx, ny, nz = np.float32(normal[at, 0]), np.float32(normal[at, 1]), np.float32(normal[at, 2])
    if abs(nx) + abs(ny) + abs(nz) > 40:
        # How far it lies outward by then: hardly, where the ray grazes.
        facing = (nx * dx + ny * dy + nz * dz) * length / np.float32(126)
        lacking = max(np.float32(_BEFORE) - abs(facing), np.float32(0)) / np.float32(126)
        if facing > 0:
            lacking = -lacking
        px, py, pz = px + nx * lacking, py + ny * lacking, pz + nz * lacking
        i, j, k = _nearest(px, py, pz, sx, sy, sz)
        at = first + (i * sy + j) * sz + k
    return at, px, py, pz


@kernel
def _nearest(x, y, z, sx, sy, sz):  # type: ignore[no-untyped-def]
    return (
        min(max(int(x + 0.5), 0), sx - 1), min(max(int(y + 0.5), 0), sy - 1), min(max(int(z + 0.5), 0), sz - 1)
    )  # fmt: skip


@kernel
def _capsule(ox, oy, oz, dx, dy, dz, half):  # type: ignore[no-untyped-def]
    """Where a ray enters a capsule of unit radius along y; -1 if it misses (Quilez, "capsule intersection")."""
    a = max(dx * dx + dz * dz, 1e-12)
    b = ox * dx + oz * dz
    h = b * b - a * (ox * ox + oz * oz - 1)
    side = (-b - np.sqrt(max(h, 0.0))) / a
    y = oy + side * dy
    if h >= 0 and abs(y) <= half:
        return side
    # Past the ends of the side, only the cap on that end can be met first.
    cy = oy - half if y >= 0 else oy + half
    dd = a + dy * dy
    b = b + cy * dy
    h = b * b - dd * (ox * ox + cy * cy + oz * oz - 1)
    return (-b - np.sqrt(h)) / dd if h >= 0 else -1.0


@kernel
def _distance(x, y, z, sx, sy, sz, first, distance):  # type: ignore[no-untyped-def]
    """The distance at a place in a volume's grid, in spacings, interpolated between the eight samples around."""
    x = min(max(x, 0.0), sx - 1.001)
    y = min(max(y, 0.0), sy - 1.001)
    z = min(max(z, 0.0), sz - 1.001)
    i, j, k = int(x), int(y), int(z)
    x, y, z = x - i, y - j, z - k
    row, slab = sz, sy * sz
    at = first + i * slab + j * row + k
    a = distance[at] * (1 - z) + distance[at + 1] * z
    b = distance[at + row] * (1 - z) + distance[at + row + 1] * z
    c = distance[at + slab] * (1 - z) + distance[at + slab + 1] * z
    d = distance[at + slab + row] * (1 - z) + distance[at + slab + row + 1] * z
    a = a * (1 - y) + b * y
    c = c * (1 - y) + d * y
    return (a * (1 - x) + c * x) / DISTANCE_STEPS


@kernel
def _march(rays, columns, count, near, sx, sy, sz, first, distance):  # type: ignore[no-untyped-def]
    """Where the first ``count`` rays meet the surface between two depths, coming from outside; keeps those that do.

    Steps are longer than is safe, and taken back where the spheres of two steps do not touch (Keinert et al. 2014).
    All rays take a step in turn: a step waits for its eight loads and what is reckoned from them, and the steps of
    different rays can wait together.
    """
    for ray in range(count):
        dx, dy, dz = rays[3, ray], rays[4, ray], rays[5, ray]
        rays[6, ray] = max(rays[6, ray], near)
        rays[8, ray] = 1 / max(np.sqrt(dx * dx + dy * dy + dz * dz), 1e-12)  # spacings to depth
        rays[9, ray] = -1  # the distance at the last place outside; before there is one, negative
        rays[10, ray], rays[11, ray] = 0, _EAGER
    alive = np.arange(count)
    living = count
    for _ in range(_STEPS):
        kept = 0
        for place in range(living):
            ray = alive[place]
            t, end, spacing = rays[6, ray], rays[7, ray], rays[8, ray]
            last, step, eager = rays[9, ray], rays[10, ray], rays[11, ray]
            x, y, z = rays[0, ray] + t * rays[3, ray], rays[1, ray] + t * rays[4, ray], rays[2, ray] + t * rays[5, ray]
            d = _distance(x, y, z, sx, sy, sz, first, distance)
            outside = last >= 0
            if outside and eager > 1 and max(d, np.float32(0)) + last < step:
                # A way back also from inside: within a shape, other surfaces may seem near that nobody can see.
                rays[6, ray] = t - (step - last) * spacing
                rays[10, ray], rays[11, ray] = last, 1.0
                alive[kept] = ray
                kept += 1
                continue
            if d < _TOUCH:
                if outside:
                    if d < 0:  # it went a little too far: the surface lies between this place and the last
                        t -= step * spacing * -d / (last - d)
                    rays[6, ray] = t if t < end else -1.0
                    continue
                step = max(-d, 0.3)  # inside from the start, as a camera in a wall: go on until outside
            else:
                outside, last = True, d
                step = max(d * eager, _LEAST_STEP)
            t += step * spacing
            if t >= end:
                # The last step may have been too long: what lies within reach of the last place is still to be seen.
                if not outside or eager == 1 or t - (step - last) * spacing >= end:
                    rays[6, ray] = -1.0
                    continue
                t -= (step - last) * spacing
                step, eager = last, 1.0
            rays[6, ray], rays[9, ray], rays[10, ray], rays[11, ray] = t, last, step, eager
            alive[kept] = ray
            kept += 1
        living = kept
        if living == 0:
            break
    for place in range(living):
        rays[6, alive[place]] = -1.0
    met = 0
    for ray in range(count):
        if rays[6, ray] >= 0:
            columns[met] = columns[ray]
            for k in range(7):
                rays[k, met] = rays[k, ray]
            met += 1
    return met


@kernel
def _slope(x, y, z, sx, sy, sz, first, distance):  # type: ignore[no-untyped-def]
    """The gradient of the distance."""
    e = 0.5
    gx = _distance(x + e, y, z, sx, sy, sz, first, distance) - _distance(x - e, y, z, sx, sy, sz, first, distance)
    gy = _distance(x, y + e, z, sx, sy, sz, first, distance) - _distance(x, y - e, z, sx, sy, sz, first, distance)
    gz = _distance(x, y, z + e, sx, sy, sz, first, distance) - _distance(x, y, z - e, sx, sy, sz, first, distance)
    return gx, gy, gz


@kernel
def _normal(x, y, z, sx, sy, sz, first, normal):  # type: ignore[no-untyped-def]
    """The stored normal at a place in a volume's grid, mixed between the eight samples around; not of unit length."""
    x = min(max(x, 0.0), sx - 1.001)
    y = min(max(y, 0.0), sy - 1.001)
    z = min(max(z, 0.0), sz - 1.001)
    i, j, k = int(x), int(y), int(z)
    x, y, z = x - i, y - j, z - k
    nx, ny, nz = 0.0, 0.0, 0.0
    for a in range(2):
        for b in range(2):
            for c in range(2):
                at = first + ((i + a) * sy + j + b) * sz + k + c
                share = (x if a else 1 - x) * (y if b else 1 - y) * (z if c else 1 - z)
                nx += share * normal[at, 0]
                ny += share * normal[at, 1]
                nz += share * normal[at, 2]
    return nx, ny, nz
