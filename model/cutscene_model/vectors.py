"""Quaternions and frames in numpy: the little linear algebra that the greybox needs."""

from __future__ import annotations

import numpy as np

from cutscene_model.scene import FloatArray


def rotation_matrix(quaternions: FloatArray) -> FloatArray:
    """Turns unit quaternions (..., 4) x y z w into rotation matrices (..., 3, 3) whose columns are the local axes."""
    x, y, z, w = (quaternions[..., axis] for axis in range(4))
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    matrix: FloatArray = np.stack([np.stack(row, axis=-1) for row in rows], axis=-2).astype(np.float32)
    return matrix


def unit(vectors: FloatArray) -> FloatArray:
    """Scales vectors (..., 3) to unit length; a vector of length zero stays zero."""
    length = np.sqrt((vectors * vectors).sum(axis=-1, keepdims=True))
    return (vectors / np.maximum(length, 1e-9)).astype(np.float32)


def cross(a: FloatArray, b: FloatArray) -> FloatArray:
    """The cross product of vectors (..., 3): as numpy's, which looks for axes for longer than it multiplies."""
    (ax, ay, az), (bx, by, bz) = ((v[..., 0], v[..., 1], v[..., 2]) for v in (a, b))
    product: FloatArray = np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=-1)
    return product


def frame_along(axis: FloatArray, forward: FloatArray) -> FloatArray:
    """Right-handed frames (..., 3, 3), columns x y z: y along ``axis``, z as near to ``forward`` as it can be.

    Both are (..., 3) and need not be of unit length. Where they are nearly parallel, or ``axis`` is zero, a fixed
    direction stands in, so that the result is always a rotation.
    """
    y = unit(axis)
    y = np.where((y * y).sum(axis=-1, keepdims=True) < 0.5, np.array([0, 1, 0], np.float32), y)
    z = forward - (forward * y).sum(axis=-1, keepdims=True) * y
    # The axis least along y is never parallel to it.
    spare = np.eye(3, dtype=np.float32)[np.abs(y).argmin(axis=-1)]
    spare = spare - (spare * y).sum(axis=-1, keepdims=True) * y
    short = (z * z).sum(axis=-1, keepdims=True) < 1e-5  # less, and its direction is what rounding left of it
    z = unit(np.where(short, spare, z).astype(np.float32))
    return np.stack([cross(y, z), y, z], axis=-1).astype(np.float32)


def shortest_turn(start: FloatArray, end: FloatArray) -> FloatArray:
    """The smallest rotations (..., 3, 3) that carry the directions of ``start`` (..., 3) to those of ``end``.

    The identity where either is zero; half a turn about some axis where they are opposite.
    """
    a, b = unit(start), unit(end)
    b = np.where(a.any(axis=-1, keepdims=True) & b.any(axis=-1, keepdims=True), b, a)
    cosine = (a * b).sum(axis=-1)[..., None, None]
    outer = b[..., :, None] * a[..., None, :]
    cross = outer - np.swapaxes(outer, -1, -2)
    turn = np.eye(3, dtype=np.float32) + cross + cross @ cross / np.maximum(1 + cosine, 1e-4)
    opposite = cosine < -0.9999
    if opposite.any():
        axis = frame_along(a, np.zeros_like(a))[..., :, 2]
        turn = np.where(opposite, 2 * axis[..., :, None] * axis[..., None, :] - np.eye(3), turn)
    return turn.astype(np.float32)
