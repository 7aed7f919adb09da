"""The kernels that follow rays: through boxes, capsules and shape volumes, and what is seen where they end.

Volumes are sphere-traced (Hart 1996): a stored distance says how far a ray may go without meeting anything. Places
are in a primitive's own grid, a volume's at whole numbers of its samples.

Rays of one primitive go in batches, row after row of arrays: arithmetic in loops without branches, which compile to
vector instructions, and what is read from all over the volumes in loops of their own. Sums are single precision
throughout, so constants are too: one double among them would make all of it double.

All that call one another stay in this file: Numba keeps compiled kernels by the file of the outermost one.
"""

from __future__ import annotations

import numpy as np

from cutscene_model.bands import kernel
from cutscene_model.volumes import DISTANCE_STEPS

NEAR = 0.05  # metres; nothing nearer to the camera is drawn
_STEPS = 96  # at most, along one ray through one volume
_BATCH = 512  # rays at least that go together
_PADDING = 16  # between rows of a batch, lest they fall on the same cache lines

_ZERO, _HALF, _ONE, _TINY, _FAR = (np.float32(number) for number in (0, 0.5, 1, 1e-12, 1e12))
_BEFORE = np.float32(0.4)  # spacings before a volume's surface at which its colour and normal are read
_TOUCH = np.float32(0.04)  # spacings from the surface at which it counts as met
_LEAST_STEP = np.float32(0.2)  # spacings that a ray goes on at least
_INWARD_STEP = np.float32(0.3)  # the same inside a shape
_EAGER = np.float32(1.6)  # how far a ray goes at first, for the distance that is safe
_LAST = np.float32(1.001)  # samples from a volume's end that places are kept, so that there is always a next one
_PER_STEP, _PER_NORMAL = np.float32(1 / DISTANCE_STEPS), np.float32(1 / 126)
_FAINT = np.float32(40)  # of 126: a stored normal shorter than that is none, or a mean of opposite ones

# What is kept of every ray of a batch: origin and direction, depth, where it ends, and what its march needs.
_OX, _OY, _OZ, _DX, _DY, _DZ, _T, _END, _SPACING, _OUTSIDE, _STEP, _EAGERNESS, _D, _X, _Y, _Z = range(16)
_UNDER_WAY, _MET, _MISSED = range(3)
_U, _V, _AXIS = _SPACING, _OUTSIDE, _STEP  # before it marches
_RAY = 16
# And of every ray that has met the primitive: a normal, and where colour and normal are read, in place of the march's.
_NX, _NY, _NZ, _PX, _PY, _PZ, _LENGTH = _SPACING, _OUTSIDE, _STEP, _EAGERNESS, _D, _X, _Y


@kernel
def trace(  # type: ignore[no-untyped-def]
    order, rectangles, first_row, last_row, width, height,
    half_width, half_height, parallel, columns, starts, within, limited,
    view_to_grid, eye, low, high, to_grid, kind, size, first, distance, normal,
    out_primitive, out_depth, out_grid, out_normal, out_sample, only_depth,
):  # fmt: skip
    """Traces the rows from ``first_row`` to ``last_row`` (excluded), nearest primitives first.

    Of row ``r``, the rays in ``columns[starts[r] : starts[r + 1]]``, which ascend. What is known of each ray stands at
    its place among them.
    """
    near = _ZERO if parallel else np.float32(NEAR)
    room = max(width, _BATCH)
    rays, places, found, found_places, bytes_, at = _batch(room)
    for n in order:
        left, right = rectangles[n, 0], rectangles[n, 2]
        row, end_row = max(rectangles[n, 1], first_row), min(rectangles[n, 3], last_row)
        while row < end_row:
            count = 0
            while row < end_row and count + right - left <= room:
                v = _across(row, height, -np.float32(half_height))
                for place in range(
                    starts[row] + np.searchsorted(columns[starts[row] : starts[row + 1]], left), starts[row + 1]
                ):
                    column = columns[place]
                    if column >= right:
                        break
                    begin, end = near, out_depth[place]
                    if limited:
                        begin, end = max(begin, within[0, place]), min(end, within[1, place])
                        if end <= begin:
                            continue
                    rays[_U, count], rays[_V, count] = _across(column, width, np.float32(half_width)), v
                    rays[_T, count], rays[_END, count] = begin, end
                    places[count] = place
                    count += 1
                row += 1
            _aim(count, rays, view_to_grid[n], eye[n], parallel)
            count = _bounded(count, rays, places, low[n], high[n], kind[n])
            if kind[n] == 2:
                met = _march(count, rays, places, near, size[n], first[n], distance, found, found_places, bytes_, at)
            else:
                met = _solid(count, rays, places, near, kind[n], high[n, 1] - _ONE, found, found_places)
            for ray in range(met):
                out_depth[found_places[ray]] = found[_T, ray]
            if not only_depth:
                for ray in range(met):
                    out_primitive[found_places[ray]] = n
                _enter(
                    met, found, found_places, bytes_, at, to_grid[n], kind[n], size[n], first[n], distance, normal,
                    out_grid, out_normal, out_sample,
                )  # fmt: skip


@kernel
def _batch(room):  # type: ignore[no-untyped-def]
    """Memory for rays and their places, for those that met something, and for what is read from volumes."""
    length = room + _PADDING
    return (
        np.empty((_RAY, length), np.float32), np.empty(room, np.int32),
        np.empty((_RAY, length), np.float32), np.empty(room, np.int32),
        np.empty((24, length + 4 * _PADDING), np.int8), np.empty(room, np.int32),
    )  # fmt: skip


@kernel
def _across(index, count, half):  # type: ignore[no-untyped-def]
    """Where the middle of a row or column lies, from -half to half."""
    return ((np.float32(index) + _HALF) / np.float32(count) * np.float32(2) - _ONE) * half


@kernel
def _aim(count, rays, m, eye, parallel):  # type: ignore[no-untyped-def]
    """Origins and directions of rays in a grid, ``m`` being the view's axes in it, from where they cross the view."""
    m00, m01, m02 = m[0, 0], m[0, 1], m[0, 2]
    m10, m11, m12 = m[1, 0], m[1, 1], m[1, 2]
    m20, m21, m22 = m[2, 0], m[2, 1], m[2, 2]
    ex, ey, ez = eye[0], eye[1], eye[2]
    if parallel:
        for ray in range(count):
            u, v = rays[_U, ray], rays[_V, ray]
            rays[_OX, ray] = ex + m00 * u + m01 * v
            rays[_OY, ray] = ey + m10 * u + m11 * v
            rays[_OZ, ray] = ez + m20 * u + m21 * v
            rays[_DX, ray], rays[_DY, ray], rays[_DZ, ray] = -m02, -m12, -m22
    else:
        for ray in range(count):
            u, v = rays[_U, ray], rays[_V, ray]
            rays[_DX, ray] = m00 * u + m01 * v - m02
            rays[_DY, ray] = m10 * u + m11 * v - m12
            rays[_DZ, ray] = m20 * u + m21 * v - m22
            rays[_OX, ray], rays[_OY, ray], rays[_OZ, ray] = ex, ey, ez


@kernel
def _bounded(count, rays, places, low, high, kind):  # type: ignore[no-untyped-def]
    """Keeps the rays that pass through a box before they end; ``_T`` and ``_END`` are then where they do."""
    lx, ly, lz, hx, hy, hz = low[0], low[1], low[2], high[0], high[1], high[2]
    for ray in range(count):
        dx, dy, dz = rays[_DX, ray], rays[_DY, ray], rays[_DZ, ray]
        ox, oy, oz = rays[_OX, ray], rays[_OY, ray], rays[_OZ, ray]
        ix = _ONE / dx if abs(dx) > _TINY else _FAR
        iy = _ONE / dy if abs(dy) > _TINY else _FAR
        iz = _ONE / dz if abs(dz) > _TINY else _FAR
        ax, bx, ay, by = (lx - ox) * ix, (hx - ox) * ix, (ly - oy) * iy, (hy - oy) * iy
        az, bz = (lz - oz) * iz, (hz - oz) * iz
        nx, ny, nz = min(ax, bx), min(ay, by), min(az, bz)
        enter = max(nx, ny, nz)
        rays[_AXIS, ray] = _ZERO if enter == nx else _ONE if enter == ny else np.float32(2)
        begin = max(enter, rays[_T, ray])
        rays[_END, ray] = min(max(ax, bx), max(ay, by), max(az, bz), rays[_END, ray])
        rays[_D, ray] = begin
        # Only what is marched along may begin later: a box or a capsule is met where its ray enters it.
        rays[_T, ray] = begin if kind == 2 else enter
    kept = 0
    for ray in range(count):
        if rays[_END, ray] > rays[_D, ray]:
            for row in (_OX, _OY, _OZ, _DX, _DY, _DZ, _T, _END, _AXIS):
                rays[row, kept] = rays[row, ray]
            places[kept] = places[ray]
            kept += 1
    return kept


@kernel
def _solid(count, rays, places, near, kind, half, found, found_places):  # type: ignore[no-untyped-def]
    """Enters in ``found`` the rays that meet a box, or a capsule ``half`` as long between its ends; how many."""
    met = 0
    for ray in range(count):
        ox, oy, oz, dx, dy, dz = (
            rays[_OX, ray], rays[_OY, ray], rays[_OZ, ray], rays[_DX, ray], rays[_DY, ray], rays[_DZ, ray],
        )  # fmt: skip
        t = rays[_T, ray]
        if kind == 1:
            t = _capsule(ox, oy, oz, dx, dy, dz, half)
            if t >= rays[_END, ray]:
                continue
        if t <= near:  # a box around the camera is not drawn
            continue
        gx, gy, gz = _ZERO, _ZERO, _ZERO
        if kind == 1:
            y = oy + t * dy
            gx, gy, gz = ox + t * dx, y - min(max(y, -half), half), oz + t * dz
        elif rays[_AXIS, ray] == 0:
            gx = -np.sign(dx)
        elif rays[_AXIS, ray] == 1:
            gy = -np.sign(dy)
        else:
            gz = -np.sign(dz)
        _keep(rays, ray, t, found, met)
        found[_NX, met], found[_NY, met], found[_NZ, met] = gx, gy, gz
        found_places[met] = places[ray]
        met += 1
    return met


@kernel
def _keep(rays, ray, t, found, met):  # type: ignore[no-untyped-def]
    for row in (_OX, _OY, _OZ, _DX, _DY, _DZ):
        found[row, met] = rays[row, ray]
    found[_T, met] = t


@kernel
def _reached(rays, ray):  # type: ignore[no-untyped-def]
    """Where a ray is at its depth."""
    t = rays[_T, ray]
    return (
        rays[_OX, ray] + t * rays[_DX, ray], rays[_OY, ray] + t * rays[_DY, ray], rays[_OZ, ray] + t * rays[_DZ, ray]
    )  # fmt: skip


@kernel
def _capsule(ox, oy, oz, dx, dy, dz, half):  # type: ignore[no-untyped-def]
    """Where a ray enters a capsule of unit radius along y; -1 if it misses (Quilez, "capsule intersection")."""
    a = max(dx * dx + dz * dz, _TINY)
    b = ox * dx + oz * dz
    h = b * b - a * (ox * ox + oz * oz - _ONE)
    side = (-b - np.sqrt(max(h, _ZERO))) / a
    y = oy + side * dy
    if h >= 0 and abs(y) <= half:
        return side
    # Past the ends of the side, only the cap on that end can be met first.
    cy = oy - half if y >= 0 else oy + half
    dd = a + dy * dy
    b = b + cy * dy
    h = b * b - dd * (ox * ox + cy * cy + oz * oz - _ONE)
    return (-b - np.sqrt(h)) / dd if h >= 0 else -_ONE


@kernel
def _march(  # type: ignore[no-untyped-def]
    count, rays, places, near, size, first, distance, found, found_places, bytes_, at
):
    """Enters in ``found`` the rays that meet the surface between two depths, coming from outside; how many.

    Steps are longer than is safe, and taken back where the spheres of two steps do not touch (Keinert et al. 2014).
    """
    for ray in range(count):
        dx, dy, dz = rays[_DX, ray], rays[_DY, ray], rays[_DZ, ray]
        rays[_T, ray] = max(rays[_T, ray], near)
        rays[_SPACING, ray] = _ONE / max(np.sqrt(dx * dx + dy * dy + dz * dz), _TINY)  # spacings to depth
        rays[_OUTSIDE, ray] = -_ONE  # the distance at the last place outside; before there is one, negative
        rays[_STEP, ray], rays[_EAGERNESS, ray] = _ZERO, _EAGER
    met, living = 0, count
    states = np.empty(count, np.int32)
    for _ in range(_STEPS):
        if living == 0:
            break
        _distances(living, rays, size, first, distance, bytes_, at)
        _step(living, rays, states)
        for ray in range(living - 1, -1, -1):
            if states[ray] == _UNDER_WAY:
                continue
            if states[ray] == _MET:
                _keep(rays, ray, rays[_T, ray], found, met)
                found_places[met] = places[ray]
                met += 1
            living -= 1
            if ray < living:  # the last, which had its turn, takes the place of the one that is gone
                for row in range(_D):
                    rays[row, ray] = rays[row, living]
                places[ray] = places[living]
    return met


@kernel
def _step(count, rays, states):  # type: ignore[no-untyped-def]
    """Lets rays go on from where they are, by the distance there; ``states`` says which have met something, or nothing.

    Every ray has all that could happen to it reckoned, and what does not is dropped: that compiles without branches.
    """
    for ray in range(count):
        t, end, spacing, d = rays[_T, ray], rays[_END, ray], rays[_SPACING, ray], rays[_D, ray]
        last, step, eager = rays[_OUTSIDE, ray], rays[_STEP, ray], rays[_EAGERNESS, ray]
        outside, touches = last >= _ZERO, d < _TOUCH
        # A way back also from inside: within a shape, other surfaces may seem near that nobody can see.
        back = outside & (eager > _ONE) & (max(d, _ZERO) + last < step)
        met = touches & outside & ~back
        # It went a little too far: the surface lies between this place and the last.
        t_met = t + min(d, _ZERO) * step * spacing / max(last - d, _TINY)
        # Inside from the start, as a camera in a wall, it goes on until it is outside.
        ahead = max(-d, _INWARD_STEP) if touches else max(d * eager, _LEAST_STEP)
        safe = last if touches else d
        t_ahead = t + ahead * spacing
        # The last step may have been too long: what is in reach of the last place is still to be seen.
        t_safe = t_ahead - (ahead - safe) * spacing
        past = t_ahead >= end
        over = past & ((safe < _ZERO) | (eager == _ONE) | (t_safe >= end))
        rays[_T, ray] = t - (step - last) * spacing if back else t_met if met else t_safe if past else t_ahead
        rays[_OUTSIDE, ray] = last if back else safe
        rays[_STEP, ray] = last if back else safe if past else ahead
        rays[_EAGERNESS, ray] = _ONE if back | past else eager
        ends = (met & (t_met >= end)) | (over & ~back & ~met)
        states[ray] = _MISSED if ends else _MET if met else _UNDER_WAY


@kernel
def _distances(count, rays, size, first, distance, bytes_, at):  # type: ignore[no-untyped-def]
    """The distance where each ray is, in spacings, mixed between the eight samples around."""
    row, slab = np.int32(size[2]), np.int32(size[1] * size[2])
    hx, hy, hz = np.float32(size[0]) - _LAST, np.float32(size[1]) - _LAST, np.float32(size[2]) - _LAST
    for ray in range(count):
        t = rays[_T, ray]
        x = min(max(rays[_OX, ray] + t * rays[_DX, ray], _ZERO), hx)
        y = min(max(rays[_OY, ray] + t * rays[_DY, ray], _ZERO), hy)
        z = min(max(rays[_OZ, ray] + t * rays[_DZ, ray], _ZERO), hz)
        i, j, k = np.int32(x), np.int32(y), np.int32(z)
        rays[_X, ray], rays[_Y, ray], rays[_Z, ray] = x - np.float32(i), y - np.float32(j), z - np.float32(k)
        at[ray] = i * slab + j * row + k
    for ray in range(count):
        a = np.uint64(first) + np.uint64(at[ray])
        b, c = a + np.uint64(row), a + np.uint64(slab)
        d = c + np.uint64(row)
        one = np.uint64(1)
        bytes_[0, ray], bytes_[1, ray] = distance[a], distance[a + one]
        bytes_[2, ray], bytes_[3, ray] = distance[b], distance[b + one]
        bytes_[4, ray], bytes_[5, ray] = distance[c], distance[c + one]
        bytes_[6, ray], bytes_[7, ray] = distance[d], distance[d + one]
    for ray in range(count):
        x, y, z = rays[_X, ray], rays[_Y, ray], rays[_Z, ray]
        a, b = _mixed(bytes_[0, ray], bytes_[1, ray], z), _mixed(bytes_[2, ray], bytes_[3, ray], z)
        c, d = _mixed(bytes_[4, ray], bytes_[5, ray], z), _mixed(bytes_[6, ray], bytes_[7, ray], z)
        rays[_D, ray] = _mixed(_mixed(a, b, y), _mixed(c, d, y), x) * _PER_STEP


@kernel
def _mixed(a, b, share):  # type: ignore[no-untyped-def]
    return np.float32(a) + (np.float32(b) - np.float32(a)) * share


@kernel
def _enter(  # type: ignore[no-untyped-def]
    count, met, places, bytes_, at, to_grid, kind, size, first, distance, normal, out_grid, out_normal, out_sample
):
    """Enters what rays that have ``met`` a primitive see of it. Of a box or a capsule they bring the normal."""
    if kind == 2:
        _read_volume(count, met, places, bytes_, at, size, first, distance, normal, out_sample)
    g00, g01, g02 = to_grid[0, 0], to_grid[0, 1], to_grid[0, 2]
    g10, g11, g12 = to_grid[1, 0], to_grid[1, 1], to_grid[1, 2]
    g20, g21, g22 = to_grid[2, 0], to_grid[2, 1], to_grid[2, 2]
    for ray in range(count):
        dx, dy, dz = met[_DX, ray], met[_DY, ray], met[_DZ, ray]
        gx, gy, gz = met[_NX, ray], met[_NY, ray], met[_NZ, ray]
        # Normals map by the transpose of the inverse, which is here the transpose of the map to the grid.
        nx, ny, nz = g00 * gx + g10 * gy + g20 * gz, g01 * gx + g11 * gy + g21 * gz, g02 * gx + g12 * gy + g22 * gz
        scale = _ONE / max(np.sqrt(nx * nx + ny * ny + nz * nz), _TINY)
        scale = -scale if gx * dx + gy * dy + gz * dz > 0 else scale
        met[_NX, ray], met[_NY, ray], met[_NZ, ray] = nx * scale, ny * scale, nz * scale
    for ray in range(count):
        place = places[ray]
        out_grid[place, 0], out_grid[place, 1], out_grid[place, 2] = _reached(met, ray)
        out_normal[place, 0], out_normal[place, 1], out_normal[place, 2] = met[_NX, ray], met[_NY, ray], met[_NZ, ray]
        if kind != 2:
            out_sample[place] = -1


@kernel
def _read_volume(  # type: ignore[no-untyped-def]
    count, met, places, bytes_, at, size, first, distance, normal, out_sample
):
    """The samples and normals that are seen where rays meet a volume.

    They are read a little before the surface, where the closest triangle is one that can be seen: a thin cloth, and
    not the table below. A first look along the ray says which way "before" is.
    """
    row, slab = np.int32(size[2]), np.int32(size[1] * size[2])
    ex, ey, ez = np.float32(size[0] - 1), np.float32(size[1] - 1), np.float32(size[2] - 1)
    for ray in range(count):
        dx, dy, dz = met[_DX, ray], met[_DY, ray], met[_DZ, ray]
        length = _BEFORE / max(np.sqrt(dx * dx + dy * dy + dz * dz), _TINY)
        t = met[_T, ray] - length
        x, y, z = met[_OX, ray] + t * dx, met[_OY, ray] + t * dy, met[_OZ, ray] + t * dz
        met[_PX, ray], met[_PY, ray], met[_PZ, ray], met[_LENGTH, ray] = x, y, z, length
        at[ray] = _nearest(x, ex) * slab + _nearest(y, ey) * row + _nearest(z, ez)
    for ray in range(count):
        place = np.uint64(first) + np.uint64(at[ray])
        bytes_[0, ray], bytes_[1, ray], bytes_[2, ray] = normal[place, 0], normal[place, 1], normal[place, 2]
    for ray in range(count):
        nx, ny, nz = np.float32(bytes_[0, ray]), np.float32(bytes_[1, ray]), np.float32(bytes_[2, ray])
        # How far it lies outward by then: hardly, where the ray grazes.
        facing = (nx * met[_DX, ray] + ny * met[_DY, ray] + nz * met[_DZ, ray]) * met[_LENGTH, ray] * _PER_NORMAL
        lacking = max(_BEFORE - abs(facing), _ZERO) * _PER_NORMAL
        lacking = -lacking if facing > 0 else lacking
        lacking = lacking if abs(nx) + abs(ny) + abs(nz) > _FAINT else _ZERO
        x, y, z = met[_PX, ray] + nx * lacking, met[_PY, ray] + ny * lacking, met[_PZ, ray] + nz * lacking
        met[_PX, ray], met[_PY, ray], met[_PZ, ray] = x, y, z
        at[ray] = _nearest(x, ex) * slab + _nearest(y, ey) * row + _nearest(z, ez)
    for ray in range(count):
        out_sample[places[ray]] = first + at[ray]
    _normals(count, met, bytes_, at, size, first, normal)
    for ray in range(count):
        if abs(met[_NX, ray]) + abs(met[_NY, ray]) + abs(met[_NZ, ray]) < _FAINT:
            x, y, z = _reached(met, ray)
            met[_NX, ray], met[_NY, ray], met[_NZ, ray] = _slope(x, y, z, size[0], size[1], size[2], first, distance)


@kernel
def _nearest(x, end):  # type: ignore[no-untyped-def]
    return np.int32(min(max(x, _ZERO), end) + _HALF)


@kernel
def _normals(count, met, bytes_, at, size, first, normal):  # type: ignore[no-untyped-def]
    """The stored normals, mixed between the eight samples around the places to read; not of unit length."""
    row, slab = np.int32(size[2]), np.int32(size[1] * size[2])
    hx, hy, hz = np.float32(size[0]) - _LAST, np.float32(size[1]) - _LAST, np.float32(size[2]) - _LAST
    for ray in range(count):
        x, y, z = (
            min(max(met[_PX, ray], _ZERO), hx), min(max(met[_PY, ray], _ZERO), hy), min(max(met[_PZ, ray], _ZERO), hz)
        )  # fmt: skip
        i, j, k = np.int32(x), np.int32(y), np.int32(z)
        met[_PX, ray], met[_PY, ray], met[_PZ, ray] = x - np.float32(i), y - np.float32(j), z - np.float32(k)
        at[ray] = i * slab + j * row + k
    for ray in range(count):
        a = np.uint64(first) + np.uint64(at[ray])
        one = np.uint64(1)
        for edge in range(4):
            b = a + np.uint64((edge >> 1) * slab + (edge & 1) * row)
            for axis in range(3):
                bytes_[6 * edge + axis, ray] = normal[b, axis]
                bytes_[6 * edge + 3 + axis, ray] = normal[b + one, axis]
    for axis in range(3):
        for ray in range(count):
            x, y, z = met[_PX, ray], met[_PY, ray], met[_PZ, ray]
            a, b = (
                _mixed(bytes_[axis, ray], bytes_[3 + axis, ray], z),
                _mixed(bytes_[6 + axis, ray], bytes_[9 + axis, ray], z),
            )
            c, d = (
                _mixed(bytes_[12 + axis, ray], bytes_[15 + axis, ray], z),
                _mixed(bytes_[18 + axis, ray], bytes_[21 + axis, ray], z),
            )
            met[_NX + axis, ray] = _mixed(_mixed(a, b, y), _mixed(c, d, y), x)


@kernel
def _slope(x, y, z, sx, sy, sz, first, distance):  # type: ignore[no-untyped-def]
    """The gradient of the distance."""
    e = _HALF
    gx = _distance(x + e, y, z, sx, sy, sz, first, distance) - _distance(x - e, y, z, sx, sy, sz, first, distance)
    gy = _distance(x, y + e, z, sx, sy, sz, first, distance) - _distance(x, y - e, z, sx, sy, sz, first, distance)
    gz = _distance(x, y, z + e, sx, sy, sz, first, distance) - _distance(x, y, z - e, sx, sy, sz, first, distance)
    return gx, gy, gz


@kernel
def _distance(x, y, z, sx, sy, sz, first, distance):  # type: ignore[no-untyped-def]
    """``_distances`` of one place."""
    x = min(max(x, _ZERO), np.float32(sx) - _LAST)
    y = min(max(y, _ZERO), np.float32(sy) - _LAST)
    z = min(max(z, _ZERO), np.float32(sz) - _LAST)
    i, j, k = np.int32(x), np.int32(y), np.int32(z)
    x, y, z = x - np.float32(i), y - np.float32(j), z - np.float32(k)
    row, slab = sz, sy * sz
    at = first + i * slab + j * row + k
    a = _mixed(distance[at], distance[at + 1], z)
    b = _mixed(distance[at + row], distance[at + row + 1], z)
    c = _mixed(distance[at + slab], distance[at + slab + 1], z)
    d = _mixed(distance[at + slab + row], distance[at + slab + row + 1], z)
    return _mixed(_mixed(a, b, y), _mixed(c, d, y), x) * _PER_STEP
