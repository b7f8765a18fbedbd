"""Space carving: a sample is free if some view sees through it (Kutulakos & Seitz 2000, with depth maps).

Most of space is decided in blocks: the least and greatest depth over the tiles that a block covers show whether all
of it is free in a view or all of it hidden; only samples of the blocks that remain are compared one by one.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from occnet_lib.geometry.fusion.depth_maps import TILE, DepthMaps, tile_bounds
from occnet_lib.geometry.grid import Grid

COARSE, FINE = 32, 8  # samples along the edges of the blocks


def view_axes(maps: DepthMaps, grid: Grid) -> NDArray[np.float64]:
    """(n, 3, 4) affine maps from grid indices to (column + shift, row + shift, depth)."""
    axes = maps.axes.copy()
    axes[:, :, 3] += maps.axes[:, :, :3] @ grid.origin
    axes[:, :, :3] *= grid.step
    axes[:, :2, 3] += maps.shift
    return axes


def carve(maps: DepthMaps, grid: Grid) -> NDArray[np.bool_]:
    """Which samples lie in front of the surface in at least one view.

    Args:
        maps: depth maps of `nearest_of_four`, so that inclined surfaces carve nothing away.
        grid: samples, unit frame.

    Returns:
        (grid.shape) bool; what no view sees, such as an inner cavity, is False.
    """
    low, high = tile_bounds(maps)
    free = np.zeros(grid.shape, dtype=bool)
    _carve(view_axes(maps, grid), maps.depth, low, high, free)
    return free


@njit(cache=True)
def block_depths(axes, low, high, size, start, stop):  # type: ignore[no-untyped-def]
    """What one view knows of a block of samples [start, stop).

    Returns:
        least and greatest depth of the block's samples, least and greatest depth of the map where they project.
    """
    bounds = np.zeros((3, 2))
    for c in range(3):
        middle, half = axes[c, 3], 0.0
        for k in range(3):
            middle += axes[c, k] * (start[k] + stop[k] - 1) * 0.5
            half += abs(axes[c, k]) * (stop[k] - 1 - start[k]) * 0.5
        bounds[c, 0], bounds[c, 1] = middle - half - 1e-9, middle + half + 1e-9
    least, greatest = np.float32(np.inf), np.float32(-np.inf)
    outside = bounds[0, 0] < 0 or bounds[1, 0] < 0 or bounds[0, 1] >= size or bounds[1, 1] >= size
    if outside:
        greatest = np.float32(np.inf)
    c0, c1 = max(0, math.floor(bounds[0, 0])) // TILE, min(size - 1, math.floor(bounds[0, 1])) // TILE
    r0, r1 = max(0, math.floor(bounds[1, 0])) // TILE, min(size - 1, math.floor(bounds[1, 1])) // TILE
    for r in range(r0, r1 + 1):
        for c in range(c0, c1 + 1):
            least, greatest = min(least, low[r, c]), max(greatest, high[r, c])
    return bounds[2, 0], bounds[2, 1], least, greatest


@njit(cache=True)
def _sift(axes, low, high, size, start, stop, views):  # type: ignore[no-untyped-def]
    """Whether one of the views sees all of a block; those that see some of it, but not all."""
    kept, n = np.zeros(len(views), dtype=np.int64), 0
    for v in views:
        front, back, least, greatest = block_depths(axes[v], low[v], high[v], size, start, stop)
        if back < least:
            return True, kept[:0]
        if front < greatest:
            kept[n] = v
            n += 1
    return False, kept[:n]


@njit(cache=True)
def _carve_block(axes, depth, start, stop, views, free):  # type: ignore[no-untyped-def]
    """Compare the samples of a block with each undecided view in turn, as long as no view has seen them.

    One view at a time, so that the few pixels that a block covers stay in the cache.
    """
    size = depth.shape[1]
    left, remaining = np.zeros((FINE**3, 3), dtype=np.int32), 0
    for i in range(start[0], stop[0]):
        for j in range(start[1], stop[1]):
            for k in range(start[2], stop[2]):
                left[remaining, 0], left[remaining, 1], left[remaining, 2] = i, j, k
                remaining += 1
    for v in views:
        a, image = axes[v], depth[v]
        a00, a01, a02, a03 = a[0, 0], a[0, 1], a[0, 2], a[0, 3]
        a10, a11, a12, a13 = a[1, 0], a[1, 1], a[1, 2], a[1, 3]
        a20, a21, a22, a23 = a[2, 0], a[2, 1], a[2, 2], a[2, 3]
        kept = 0
        for m in range(remaining):
            i, j, k = left[m, 0], left[m, 1], left[m, 2]
            column = a00 * i + a01 * j + a02 * k + a03
            row = a10 * i + a11 * j + a12 * k + a13
            z = a20 * i + a21 * j + a22 * k + a23
            in_image = column >= 0.0 and row >= 0.0 and column < size and row < size
            if not in_image or z < image[np.uint32(row), np.uint32(column)]:
                free[i, j, k] = True
            else:
                left[kept, 0], left[kept, 1], left[kept, 2] = i, j, k
                kept += 1
        remaining = kept


@njit(cache=True)
def blocks(lower, upper, edge):  # type: ignore[no-untyped-def]
    """(n, 3) first samples of the blocks of that edge that cover the samples [lower, upper)."""
    count = (upper - lower + edge - 1) // edge
    corners = np.zeros((count[0] * count[1] * count[2], 3), dtype=np.int64)
    n = 0
    for i in range(lower[0], upper[0], edge):
        for j in range(lower[1], upper[1], edge):
            for k in range(lower[2], upper[2], edge):
                corners[n, 0], corners[n, 1], corners[n, 2] = i, j, k
                n += 1
    return corners


@njit(cache=True)
def _carve(axes, depth, low, high, free):  # type: ignore[no-untyped-def]
    size, shape = depth.shape[1], np.array(free.shape)
    for big in blocks(np.zeros(3, dtype=np.int64), shape, COARSE):
        end = np.minimum(big + COARSE, shape)
        is_free, some = _sift(axes, low, high, size, big, end, np.arange(len(depth)))
        if is_free:
            free[big[0] : end[0], big[1] : end[1], big[2] : end[2]] = True
        if len(some) == 0:
            continue
        for start in blocks(big, end, FINE):
            stop = np.minimum(start + FINE, end)
            is_free, few = _sift(axes, low, high, size, start, stop, some)
            if is_free:
                free[start[0] : stop[0], start[1] : stop[1], start[2] : stop[2]] = True
            elif len(few):
                _carve_block(axes, depth, start, stop, few, free)
