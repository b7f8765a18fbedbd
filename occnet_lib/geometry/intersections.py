"""Self-intersections of a mesh."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from occnet_lib.types import Mesh

# Signed volumes below this fraction of the product of the three lengths are zero: rounding, or contact without crossing.
# It does not cover faces that are coplanar only to within the rounding of float32 (1e-7). Real meshes need none: with
# 1e-14 or 1e-7 instead, the same of 61 inputs bound solids, and the same faces of 36 closed meshes at 256³ intersect.
_FLAT = 1e-10
_PARALLEL = 1e-4  # sine of the angle below which planes count as coplanar
_ENTRIES = 16  # largest mean number of cells of a face
_CELLS = 64  # largest number for each face: small cells between distant tiny faces would fill gigabytes


def self_intersecting(mesh: Mesh) -> NDArray[np.bool_]:
    """Which faces (F,) cross or overlap another one.

    Faces with a common corner intersect if they also meet elsewhere; faces with a common edge, if one is folded onto the
    other. Faces that only touch do not intersect.

    Args:
        mesh: coincident corners count as common, whether or not they are one vertex.
    """
    if len(mesh.faces) == 0:
        return np.zeros(0, dtype=bool)
    first, second = intersecting_pairs(mesh).T
    hit = np.zeros(len(mesh.faces), dtype=bool)
    hit[first] = hit[second] = True
    return hit


def intersecting_pairs(mesh: Mesh) -> NDArray[np.int64]:
    """(n, 2) indices of the faces that intersect (see `self_intersecting`), the lower one first."""
    triangles = np.ascontiguousarray(mesh.triangles, dtype=np.float64)
    low, high = triangles.min(axis=1), triangles.max(axis=1)
    first, last = _cells(low, high)
    pairs = _test_cells(triangles, low, high, first, last)
    pairs.sort(axis=1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def _cells(
    low: NDArray[np.float64], high: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last cell (F, 3) of a grid that the boxes [low, high] are in.

    Cells are a little larger than most faces; they are doubled while faces are in too many of them, or while there are
    too many for memory.
    """
    origin = low.min(axis=0)
    cell = max(float(np.median((high - low).max(axis=1))), float(np.ptp(high, axis=0).max()) / 500, 1e-12)
    while True:
        first = ((low - origin) / cell).astype(np.int64)
        last = ((high - origin) / cell).astype(np.int64)
        entries, cells = (last - first + 1).prod(axis=1).sum(), (last.max(axis=0) + 1).prod()
        if entries <= _ENTRIES * len(low) + 100_000 and cells <= _CELLS * len(low) + 1_000_000:
            return first, last
        cell *= 2.0


@njit(cache=True)
def _test_cells(triangles, low, high, first, last):  # type: ignore[no-untyped-def]
    """Test the pairs of faces with a common cell, each in the first cell that both are in."""
    shape = (last[:, 0].max() + 1, last[:, 1].max() + 1, last[:, 2].max() + 1)
    # Entries of a cell, then where its list starts, then where it ends.
    place = np.zeros(shape[0] * shape[1] * shape[2], dtype=np.int32)
    for filling in range(2):
        if filling:
            total = 0
            for c in range(len(place)):
                entries = place[c]
                place[c] = total
                total += entries
            member = np.zeros(total, dtype=np.int32)
        for f in range(len(triangles)):
            for i in range(first[f, 0], last[f, 0] + 1):
                for j in range(first[f, 1], last[f, 1] + 1):
                    for k in range(first[f, 2], last[f, 2] + 1):
                        c = (i * shape[1] + j) * shape[2] + k
                        if filling:
                            member[place[c]] = f
                        place[c] += 1
    pairs = np.zeros((64, 2), dtype=np.int64)
    count = 0
    for c in range(len(place)):
        for m in range(place[c - 1] if c else 0, place[c]):
            f = member[m]
            for n in range(m + 1, place[c]):
                g = member[n]
                if (
                    low[f, 0] > high[g, 0]
                    or low[g, 0] > high[f, 0]
                    or low[f, 1] > high[g, 1]
                    or low[g, 1] > high[f, 1]
                    or low[f, 2] > high[g, 2]
                    or low[g, 2] > high[f, 2]
                ):
                    continue
                i = max(first[f, 0], first[g, 0])
                j = max(first[f, 1], first[g, 1])
                k = max(first[f, 2], first[g, 2])
                if (i * shape[1] + j) * shape[2] + k != c or not _intersect(triangles[f], triangles[g]):
                    continue
                if count == len(pairs):
                    pairs = np.concatenate((pairs, np.zeros_like(pairs)))
                pairs[count, 0], pairs[count, 1] = f, g
                count += 1
    return pairs[:count]


@njit(cache=True)
def _height(a, b, c, p):  # type: ignore[no-untyped-def]
    """Six times the signed volume of the tetrahedron (a, b, c, p): proportional to p's height over the plane of a, b, c."""
    ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    wx, wy, wz = p[0] - a[0], p[1] - a[1], p[2] - a[2]
    volume = (uy * vz - uz * vy) * wx + (uz * vx - ux * vz) * wy + (ux * vy - uy * vx) * wz
    u, v, w = ux * ux + uy * uy + uz * uz, vx * vx + vy * vy + vz * vz, wx * wx + wy * wy + wz * wz
    return 0.0 if abs(volume) <= _FLAT * np.sqrt(u * v * w) else volume


@njit(cache=True)
def _intersect(s, t):  # type: ignore[no-untyped-def]
    shared, sum_s, sum_t = 0, 0, 0
    for i in range(3):
        for j in range(3):
            if s[i, 0] == t[j, 0] and s[i, 1] == t[j, 1] and s[i, 2] == t[j, 2]:
                shared += 1
                sum_s += i
                sum_t += j
    if shared >= 3:
        return True
    if shared == 2:
        # Folded: in one plane, with the third corners on the same side of the edge.
        in_s, in_t = 3 - sum_s, 3 - sum_t
        if _height(s[0], s[1], s[2], t[in_t]) != 0.0:
            return False
        return _same_side(s[(in_s + 1) % 3], s[(in_s + 2) % 3], s[in_s], t[in_t])
    t0, t1, t2 = (
        _height(s[0], s[1], s[2], t[0]),
        _height(s[0], s[1], s[2], t[1]),
        _height(s[0], s[1], s[2], t[2]),
    )
    if t0 == 0.0 and t1 == 0.0 and t2 == 0.0:
        return _overlap(s, t)
    if min(t0, t1, t2) >= 0.0 or max(t0, t1, t2) <= 0.0:
        return False
    s0, s1, s2 = (
        _height(t[0], t[1], t[2], s[0]),
        _height(t[0], t[1], t[2], s[1]),
        _height(t[0], t[1], t[2], s[2]),
    )
    if min(s0, s1, s2) >= 0.0 or max(s0, s1, s2) <= 0.0:
        return False
    # Each crosses the other's plane: compare where, along the line that the planes share (Möller 1997).
    one, two = np.cross(s[1] - s[0], s[2] - s[0]), np.cross(t[1] - t[0], t[2] - t[0])
    line = np.cross(one, two)
    if (line**2).sum() < _PARALLEL**2 * (one**2).sum() * (two**2).sum():
        return _overlap(s, t)  # the line of almost equal planes is noise
    low_s, high_s = _interval(line, s, s0, s1, s2, s[0])
    low_t, high_t = _interval(line, t, t0, t1, t2, s[0])
    return min(high_s, high_t) - max(low_s, low_t) > 1e-6 * max(high_s - low_s, high_t - low_t)


@njit(cache=True)
def _interval(line, t, h0, h1, h2, origin):  # type: ignore[no-untyped-def]
    """Interval on a line, from `origin`, in which a triangle with these heights over a plane crosses that plane."""
    height = (h0, h1, h2)
    low, high = np.inf, -np.inf
    for i in range(3):
        j = (i + 1) % 3
        if height[i] != 0.0 and height[i] * height[j] >= 0.0:
            continue
        at = 0.0 if height[i] == 0.0 else height[i] / (height[i] - height[j])
        x = 0.0
        for c in range(3):
            x += line[c] * (t[i, c] + at * (t[j, c] - t[i, c]) - origin[c])
        low, high = min(low, x), max(high, x)
    return low, high


@njit(cache=True)
def _same_side(a, b, p, q):  # type: ignore[no-untyped-def]
    """Whether p and q, coplanar with the line a b, lie on the same side of it."""
    e = b - a
    u, v = np.cross(e, p - a), np.cross(e, q - a)
    return u[0] * v[0] + u[1] * v[1] + u[2] * v[2] > 0.0


@njit(cache=True)
def _overlap(s, t):  # type: ignore[no-untyped-def]
    """Whether two coplanar triangles overlap by an area (separating axes in the plane)."""
    normal = np.cross(s[1] - s[0], s[2] - s[0])
    if normal[0] == 0.0 and normal[1] == 0.0 and normal[2] == 0.0:
        return False
    for which in range(2):
        a = s if which == 0 else t
        for k in range(3):
            axis = np.cross(normal, a[(k + 1) % 3] - a[k])
            s0, s1, t0, t1 = np.inf, -np.inf, np.inf, -np.inf
            for c in range(3):
                x = axis[0] * s[c, 0] + axis[1] * s[c, 1] + axis[2] * s[c, 2]
                s0, s1 = min(s0, x), max(s1, x)
                x = axis[0] * t[c, 0] + axis[1] * t[c, 1] + axis[2] * t[c, 2]
                t0, t1 = min(t0, x), max(t1, x)
            reach = 1e-9 * max(s1 - s0, t1 - t0)
            if s1 <= t0 + reach or t1 <= s0 + reach:
                return False
    return True
