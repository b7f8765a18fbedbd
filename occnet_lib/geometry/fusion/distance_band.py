"""Exact distances near a surface, and which grid edges the surface cuts.

Both are made from the triangles themselves, so that a field built of them has none of the bias of depth maps. They are
stored in bricks (`bricks`); `distance_band` and `cut_edges` give whole arrays.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from occnet_lib.geometry.fusion.bricks import SIDE, Bricks, address, brick_counts, store
from occnet_lib.geometry.fusion.depth_maps import row_span


def near_bricks(
    triangles: NDArray[np.float64], shape: tuple[int, int, int], width: float
) -> NDArray[np.bool_]:
    """(bx, by, bz) which bricks of a grid may have a sample within `width` voxels of a triangle (arguments: below)."""
    half = (SIDE - 1) / 2.0
    reach = (width + half * math.sqrt(3.0)) / SIDE  # from the middle of a brick, in bricks
    return distance_band((triangles - half) / SIDE, brick_counts(shape), reach)[1] >= 0


def stored_distance(
    triangles: NDArray[np.float64], bricks: Bricks, width: float
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """`distance_band` at the stored samples, both flat (bricks.samples,)."""
    distance = np.full(bricks.samples, width, dtype=np.float32)
    nearest = np.full(bricks.samples, -1, dtype=np.int32)
    size = SIDE * np.array(bricks.slot.shape)
    soup = np.ascontiguousarray(triangles, dtype=np.float64)
    _splat(soup, float(width), size, bricks.slot, distance, nearest)
    return distance, nearest


def distance_band(
    triangles: NDArray[np.float64], shape: tuple[int, int, int], width: float
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Unsigned distance of grid samples to a triangle soup, where it is less than `width`.

    Args:
        triangles: (F, 3, 3) in voxels from sample (0, 0, 0).
        shape: samples along x, y, z.
        width: in voxels.

    Returns:
        distance (shape) float32 in voxels, `width` beyond the band; nearest triangle (shape) int32, -1 there.
    """
    bricks = store(shape, np.ones(brick_counts(shape), dtype=bool))
    distance, nearest = stored_distance(triangles, bricks, width)
    return bricks.to_dense(distance, width), bricks.to_dense(nearest, -1)


def stored_cuts(triangles: NDArray[np.float64], bricks: Bricks) -> NDArray[np.uint8]:
    """`cut_edges` of the stored samples, flat (bricks.samples,)."""
    cut = np.zeros(bricks.samples, dtype=np.uint8)
    for axis in range(3):
        order = np.array([(axis + 1) % 3, (axis + 2) % 3, axis])
        turned = np.ascontiguousarray(triangles[:, :, order])
        _mark_cuts(turned, order, SIDE * np.array(bricks.slot.shape), bricks.slot, cut)
    return cut


def cut_edges(triangles: NDArray[np.float64], shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Which edges between neighbouring grid samples meet a triangle.

    Returns:
        (shape) uint8; bit a of [i, j, k] is set if the edge from there to the next sample along axis a is cut.
    """
    bricks = store(shape, np.ones(brick_counts(shape), dtype=bool))
    return bricks.to_dense(stored_cuts(triangles, bricks), 0)


@njit(cache=True)
def _mark_cuts(triangles, order, size, slot, cut):  # type: ignore[no-untyped-def]
    """Mark where lines through grid samples cross triangles; order: the axes of their coordinates, the lines' last."""
    rows, columns, layers = size[order[0]], size[order[1]], size[order[2]]
    bit = np.uint8(1 << order[2])
    cell = np.zeros(3, dtype=np.int64)
    for f in range(len(triangles)):
        t = triangles[f]
        y0, x0, z0 = t[0, 0], t[0, 1], t[0, 2]
        y1, x1, z1 = t[1, 0], t[1, 1], t[1, 2]
        y2, x2, z2 = t[2, 0], t[2, 1], t[2, 2]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-9:
            continue  # parallel to the lines: the neighbouring triangles or another axis see the surface
        gx = ((z1 - z0) * (y2 - y0) - (z2 - z0) * (y1 - y0)) / area
        gy = ((z2 - z0) * (x1 - x0) - (z1 - z0) * (x2 - x0)) / area
        low, high = min(z0, z1, z2), max(z0, z1, z2)
        for row in range(
            max(0, math.ceil(min(y0, y1, y2) - 1e-6)), min(rows - 1, math.floor(max(y0, y1, y2) + 1e-6)) + 1
        ):
            left, right = row_span(x0, y0, x1, y1, x2, y2, row)
            for column in range(
                max(0, math.ceil(left - 1e-6)), min(columns - 1, math.floor(right + 1e-6)) + 1
            ):
                z = min(max(z0 + gx * (column - x0) + gy * (row - y0), low), high)
                layer = math.floor(z)
                if 0 <= layer < layers:
                    cell[order[0]], cell[order[1]], cell[order[2]] = row, column, layer
                    n = address(slot, cell[0], cell[1], cell[2])
                    if n >= 0:
                        cut[n] |= bit


@njit(cache=True)
def _splat(triangles, width, shape, slot, distance, nearest):  # type: ignore[no-untyped-def]
    """For every triangle visit the samples within `width` of its plane and of its shadow along its main axis."""
    normal, corner, middle = np.zeros(3), np.zeros((3, 3)), np.zeros(3)
    cell = np.zeros(3, dtype=np.int64)
    for f in range(len(triangles)):
        t = triangles[f]
        e, g = t[1] - t[0], t[2] - t[0]
        normal[0] = e[1] * g[2] - e[2] * g[1]
        normal[1] = e[2] * g[0] - e[0] * g[2]
        normal[2] = e[0] * g[1] - e[1] * g[0]
        size = math.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2)
        if size < 1e-12:
            continue
        main = 0
        for axis in range(1, 3):
            if abs(normal[axis]) > abs(normal[main]):
                main = axis
        a, b = (main + 1) % 3, (main + 2) % 3
        for k in range(3):
            corner[k, 0], corner[k, 1], corner[k, 2] = t[k, a], t[k, b], t[k, main]
        sa, sb = -normal[a] / normal[main], -normal[b] / normal[main]
        steep = abs(normal[main]) / size
        reach = width / steep
        steep *= 1.0 - 1e-6  # rounding must not hide a sample that float32 distances would count
        radius = _sphere(corner, middle)
        low, high = corner[:, 2].min() - width, corner[:, 2].max() + width
        first = max(0, math.ceil(corner[:, 0].min() - width))
        last = min(shape[a] - 1, math.floor(corner[:, 0].max() + width))
        for i in range(first, last + 1):
            left, right = _strip_span(corner, i - width, i + width)
            start = max(0, math.ceil(left - width))
            stop = min(shape[b] - 1, math.floor(right + width))
            for j in range(start, stop + 1):
                plane = corner[0, 2] + sa * (i - corner[0, 0]) + sb * (j - corner[0, 1])
                bottom = max(0, math.ceil(max(low, plane - reach)))
                top = min(shape[main] - 1, math.floor(min(high, plane + reach)))
                for k in range(bottom, top + 1):
                    cell[a], cell[b], cell[main] = i, j, k
                    x, y, z = cell[0], cell[1], cell[2]
                    n = address(slot, x, y, z)
                    if n < 0:
                        continue
                    # Neither the plane nor the sphere around the triangle is farther than the triangle.
                    if abs(k - plane) * steep >= distance[n]:
                        continue
                    off = (i - middle[0]) ** 2 + (j - middle[1]) ** 2 + (k - middle[2]) ** 2
                    if off >= (distance[n] + radius) ** 2:
                        continue
                    cx, cy, cz = closest_point(t, float(x), float(y), float(z))
                    d = np.float32(math.sqrt((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2))
                    if d < distance[n]:
                        distance[n] = d
                        nearest[n] = f


@njit(cache=True)
def _sphere(corner, middle):  # type: ignore[no-untyped-def]
    """Radius of a sphere around a triangle; writes its centre."""
    for c in range(3):
        middle[c] = (
            min(corner[0, c], corner[1, c], corner[2, c]) + max(corner[0, c], corner[1, c], corner[2, c])
        ) / 2
    largest = 0.0
    for k in range(3):
        dx, dy, dz = corner[k, 0] - middle[0], corner[k, 1] - middle[1], corner[k, 2] - middle[2]
        largest = max(largest, dx * dx + dy * dy + dz * dz)
    return math.sqrt(largest) + 1e-4


@njit(cache=True)
def _strip_span(corner, low, high):  # type: ignore[no-untyped-def]
    """Least and greatest second coordinate of a triangle where its first is in [low, high]."""
    left, right = np.inf, -np.inf
    for k in range(3):
        px, py = corner[k, 0], corner[k, 1]
        qx, qy = corner[(k + 1) % 3, 0], corner[(k + 1) % 3, 1]
        if low <= px <= high:
            left, right = min(left, py), max(right, py)
        if (px < low) != (qx < low):
            y = py + (low - px) / (qx - px) * (qy - py)
            left, right = min(left, y), max(right, y)
        if (px < high) != (qx < high):
            y = py + (high - px) / (qx - px) * (qy - py)
            left, right = min(left, y), max(right, y)
    return left, right


@njit(cache=True)
def closest_point(t, x, y, z):  # type: ignore[no-untyped-def]
    """The point of a triangle closest to (x, y, z) (Ericson, Real-Time Collision Detection, 5.1.5)."""
    ax, ay, az = t[0, 0], t[0, 1], t[0, 2]
    bx, by, bz = t[1, 0] - ax, t[1, 1] - ay, t[1, 2] - az
    cx, cy, cz = t[2, 0] - ax, t[2, 1] - ay, t[2, 2] - az
    px, py, pz = x - ax, y - ay, z - az
    bb, bc, cc = bx * bx + by * by + bz * bz, bx * cx + by * cy + bz * cz, cx * cx + cy * cy + cz * cz
    pb, pc = px * bx + py * by + pz * bz, px * cx + py * cy + pz * cz
    if pb <= 0.0 and pc <= 0.0:
        return ax, ay, az
    if pb >= bb and pc - bc <= pb - bb:
        return t[1, 0], t[1, 1], t[1, 2]
    if pc >= cc and pb - bc <= pc - cc:
        return t[2, 0], t[2, 1], t[2, 2]
    # Barycentric weights, all times bb cc - bc²
    v = pb * cc - pc * bc
    w = pc * bb - pb * bc
    if w <= 0.0 and 0.0 <= pb <= bb:
        u = pb / bb
        return ax + u * bx, ay + u * by, az + u * bz
    if v <= 0.0 and 0.0 <= pc <= cc:
        u = pc / cc
        return ax + u * cx, ay + u * cy, az + u * cz
    det = bb * cc - bc * bc
    if v + w >= det:
        u = ((pc - bc) - (pb - bb)) / (bb - 2.0 * bc + cc)
        u = min(max(u, 0.0), 1.0)
        return ax + bx + u * (cx - bx), ay + by + u * (cy - by), az + bz + u * (cz - bz)
    v, w = v / det, w / det
    return ax + v * bx + w * cx, ay + v * by + w * cy, az + v * bz + w * cz
