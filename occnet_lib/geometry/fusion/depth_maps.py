"""Depth maps of a mesh from many directions: a two-sided orthographic rasteriser.

Both sides of a triangle are seen, so the winding of the faces does not matter (unlike in OpenGL with culling).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from occnet_lib.geometry.cameras import orthonormal_frames

TILE = 8  # pixels along the edge of a tile of the min/max pyramid


@dataclass(frozen=True)
class DepthMaps:
    """Orthographic depth maps of n views.

    Pixel centres are at whole numbers. A point p projects to column, row and depth `axes[view] @ (p, 1)`.

    Attributes:
        depth: (n, S, S) float32, indexed [view, row, column]; +inf where nothing was hit.
        axes: (n, 3, 4) float64, affine maps from the unit frame to (column, row, depth).
        shift: a point's depth is looked up at floor(column + shift), floor(row + shift).
    """

    depth: NDArray[np.float32]
    axes: NDArray[np.float64]
    shift: float = 0.5


def render_depth(triangles: NDArray[np.float64], directions: NDArray[np.float64], size: int) -> DepthMaps:
    """Render depth maps that all hold the whole mesh.

    Args:
        triangles: (F, 3, 3), unit frame.
        directions: (n, 3) directions of view.
        size: pixels along an image's edge.

    Returns:
        maps whose depth is `directions[view] · p` of the first surface hit at the pixel's centre.
    """
    frames = orthonormal_frames(directions)
    radius = float(np.sqrt((triangles.reshape(-1, 3) ** 2).sum(axis=1).max()))
    pixels = (size - 4) / 2.0 / max(radius, 1e-9)  # two pixels of background all around
    axes = np.zeros((len(frames), 3, 4))
    axes[:, :, :3] = frames
    axes[:, :2, :3] *= pixels
    axes[:, :2, 3] = (size - 1) / 2.0
    depth = np.full((len(frames), size, size), np.inf, dtype=np.float32)
    _rasterise(np.ascontiguousarray(triangles, dtype=np.float64), axes, depth)
    return DepthMaps(depth, axes)


def nearest_of_four(maps: DepthMaps) -> DepthMaps:
    """Replace each depth by the least of the 2×2 pixels whose centres surround a point (changes `maps`).

    A point that lies behind a flat surface is then never taken to be in front of it, however inclined.
    """
    for image in maps.depth:
        of_two = np.minimum(image[:-1], image[1:])
        np.minimum(of_two[:, :-1], of_two[:, 1:], out=image[:-1, :-1])
    return DepthMaps(maps.depth, maps.axes, shift=0.0)


def tile_bounds(maps: DepthMaps) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Least and greatest depth of tiles of `TILE`² pixels, (n, T, T) float32 each."""
    starts = np.arange(0, maps.depth.shape[1], TILE)
    low, high = (
        extreme.reduceat(extreme.reduceat(maps.depth, starts, axis=1), starts, axis=2)
        for extreme in (np.minimum, np.maximum)
    )
    return low, high


@njit(cache=True)
def _rasterise(triangles, axes, depth):  # type: ignore[no-untyped-def]
    """Scan-convert every triangle into every view; a pixel is hit if its centre is inside or on an edge."""
    size = depth.shape[1]
    corner = np.zeros((3, 3))
    for view in range(len(axes)):
        image = depth[view]
        a = axes[view]
        for f in range(len(triangles)):
            for k in range(3):
                x, y, z = triangles[f, k, 0], triangles[f, k, 1], triangles[f, k, 2]
                for c in range(3):
                    corner[k, c] = a[c, 0] * x + a[c, 1] * y + a[c, 2] * z + a[c, 3]
            x0, y0, z0 = corner[0, 0], corner[0, 1], corner[0, 2]
            x1, y1, z1 = corner[1, 0], corner[1, 1], corner[1, 2]
            x2, y2, z2 = corner[2, 0], corner[2, 1], corner[2, 2]
            nearest, farthest = min(z0, z1, z2), max(z0, z1, z2)
            area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
            gx, gy = 0.0, 0.0
            if abs(area) > 1e-9:
                gx = ((z1 - z0) * (y2 - y0) - (z2 - z0) * (y1 - y0)) / area
                gy = ((z2 - z0) * (x1 - x0) - (z1 - z0) * (x2 - x0)) / area
            first = max(0, math.ceil(min(y0, y1, y2) - 1e-6))
            last = min(size - 1, math.floor(max(y0, y1, y2) + 1e-6))
            for row in range(first, last + 1):
                left, right = row_span(x0, y0, x1, y1, x2, y2, row)
                start = max(0, math.ceil(left - 1e-6))
                stop = min(size - 1, math.floor(right + 1e-6))
                z = np.float32(z0 + gx * (start - x0) + gy * (row - y0))
                gradient, low, high = np.float32(gx), np.float32(nearest), np.float32(farthest)
                line = image[row, start : stop + 1]
                for column in range(len(line)):
                    # Seen edge-on, the gradient is huge; the depth never leaves the triangle's own range.
                    here = min(max(z + gradient * np.float32(column), low), high)
                    line[column] = min(line[column], here)


@njit(cache=True)
def row_span(x0, y0, x1, y1, x2, y2, y):  # type: ignore[no-untyped-def]
    """Where a triangle of the plane meets the line of constant y: its least and greatest x (inf, -inf: nowhere).

    y may lie outside of the triangle by rounding; it is then moved to the nearest corner.
    """
    y = min(max(y, min(y0, y1, y2)), max(y0, y1, y2))
    left, right = np.inf, -np.inf
    for edge in range(3):
        if edge == 0:
            ax, ay, bx, by = x0, y0, x1, y1
        elif edge == 1:
            ax, ay, bx, by = x1, y1, x2, y2
        else:
            ax, ay, bx, by = x2, y2, x0, y0
        if ay > by:  # the same order from both triangles of an edge, so that no crack opens between them
            ax, ay, bx, by = bx, by, ax, ay
        if ay <= y <= by:
            if by > ay:
                x = ax + (y - ay) / (by - ay) * (bx - ax)
                left, right = min(left, x), max(right, x)
            else:
                left, right = min(left, ax, bx), max(right, ax, bx)
    return left, right
