"""ONet's rule: the mean over the views of truncated depth differences (mesh-fusion; Curless & Levoy 1996, weight 1).

Kept for parity with the data that the field was trained on. It is biased outwards by about 1.5 voxels, because the
depths are moved towards the camera to keep thin parts. Whole blocks of one sign are passed over, as in `carve`.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from occnet_lib.geometry.fusion.carving import COARSE, FINE, block_depths, blocks, view_axes
from occnet_lib.geometry.fusion.depth_maps import DepthMaps, tile_bounds
from occnet_lib.geometry.grid import Grid

OFFSET = 1.5  # voxels by which depths are moved towards the camera
TRUNCATION = 10.0  # voxels


def tsdf_field(maps: DepthMaps, grid: Grid) -> NDArray[np.float32]:
    """Mean of the truncated signed distances along the views.

    A sample counts in a view if it lies at most `TRUNCATION` behind the surface; what no view counts is inside.

    Args:
        maps: depth maps of `depth_maps.render_depth`; moved and eroded (3×3) in place.
        grid: samples, unit frame.

    Returns:
        (grid.shape) float32 in voxels, negative inside; exact wherever a neighbour has the other sign, elsewhere
        only of the right sign.
    """
    from scipy.ndimage import minimum_filter

    maps.depth[...] -= np.float32(OFFSET * grid.step)
    for image in maps.depth:
        minimum_filter(image, 3, output=image, mode="nearest")
    low, high = tile_bounds(maps)
    axes = view_axes(maps, grid)
    axes[:, 2] /= grid.step
    for image in (maps.depth, low, high):
        image /= np.float32(grid.step)
    field = np.zeros(grid.shape, dtype=np.float32)
    _fuse(axes, maps.depth, low, high, TRUNCATION, field)
    return field


@njit(cache=True)
def _mean_bounds(axes, low, high, size, truncation, start, stop):  # type: ignore[no-untyped-def]
    """Sign of the mean over a whole block and its neighbours: 1, -1, or 0 if the tiles do not show it."""
    n = len(axes)
    sum_low, sum_high, counted, maybe = 0.0, 0.0, 0, 0
    for v in range(n):
        front, back, least, greatest = block_depths(axes[v], low[v], high[v], size, start, stop)
        if greatest - front < -truncation:
            continue
        near, far = min(least - back, truncation), min(greatest - front, truncation)
        if near >= -truncation:
            counted += 1
        else:
            maybe += 1
            near = min(0.0, -truncation)
            far = max(0.0, far)
        sum_low += near
        sum_high += far
    if counted > 0 and sum_low > 0.0:
        return 1
    if counted + maybe == 0 or (counted > 0 and sum_high < 0.0):
        return -1
    return 0


@njit(cache=True)
def _fuse_block(axes, depth, truncation, start, stop, field):  # type: ignore[no-untyped-def]
    n, size, _ = depth.shape
    for i in range(start[0], stop[0]):
        for j in range(start[1], stop[1]):
            for k in range(start[2], stop[2]):
                total, count = 0.0, 0
                for v in range(n):
                    a = axes[v]
                    c = math.floor(a[0, 0] * i + a[0, 1] * j + a[0, 2] * k + a[0, 3])
                    r = math.floor(a[1, 0] * i + a[1, 1] * j + a[1, 2] * k + a[1, 3])
                    difference = truncation
                    if 0 <= c < size and 0 <= r < size:
                        z = a[2, 0] * i + a[2, 1] * j + a[2, 2] * k + a[2, 3]
                        difference = depth[v, r, c] - z
                    if difference >= -truncation:
                        total += min(difference, truncation)
                        count += 1
                field[i, j, k] = total / count if count > 0 else -truncation


@njit(cache=True)
def _fuse(axes, depth, low, high, truncation, field):  # type: ignore[no-untyped-def]
    size, shape = depth.shape[1], np.array(field.shape)
    for big in blocks(np.zeros(3, dtype=np.int64), shape, COARSE):
        end = np.minimum(big + COARSE, shape)
        beyond = np.minimum(end + 1, shape)
        sign = _mean_bounds(axes, low, high, size, truncation, big - 1, beyond)
        if sign != 0:
            field[big[0] : end[0], big[1] : end[1], big[2] : end[2]] = sign * truncation
            continue
        for start in blocks(big, end, FINE):
            stop = np.minimum(start + FINE, end)
            beyond = np.minimum(stop + 1, shape)
            sign = _mean_bounds(axes, low, high, size, truncation, start - 1, beyond)
            if sign != 0:
                field[start[0] : stop[0], start[1] : stop[1], start[2] : stop[2]] = sign * truncation
            else:
                _fuse_block(axes, depth, truncation, start, stop, field)
