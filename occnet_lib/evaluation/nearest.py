"""Nearest neighbours between two sampled surfaces.

A k-d tree's cells are as deep as wide, so a query far from the surface must search many of them. Tight boxes around
neighbouring points are flat like the surface: between distant surfaces this is ten times as fast (benchmarks/metrics.py).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

_LEAF = 16  # maximum points per box of the lowest level
_BLOCK = 16  # queries that descend the tree together
_BITS = 21  # of a cell's number along each axis, in a 63 bit code


def along_curve(points: NDArray[np.float64]) -> NDArray[np.intp]:
    """(N,) order of points (N, 3) along the Morton curve, which keeps neighbours together (Morton 1966)."""
    low = points.min(axis=0)
    edge = max(float((points.max(axis=0) - low).max()), 1e-300)
    return np.argsort(_codes(points, low, (2**_BITS - 1) / edge), kind="stable")


def nearest(
    reference: NDArray[np.float64], query: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """The point of `reference` nearest to each of `query`, exactly.

    Both should be in the order of `along_curve`: any order is correct, this one is fast.

    Args:
        reference: (N, 3) float64, at least one point.
        query: (M, 3) float64.

    Returns:
        distance (M,) float64, Euclidean, and index (M,) of the nearest point.
    """
    leaves = 1
    while leaves * _LEAF < len(reference):
        leaves *= 2
    return _search(reference, _boxes(reference, leaves), leaves, query)


@njit(cache=True)
def _codes(points, low, scale):  # type: ignore[no-untyped-def]
    """Numbers of the points' cells with the bits of their coordinates interleaved."""
    codes = np.zeros(len(points), np.int64)
    for i in range(len(points)):
        for k in range(3):
            x = np.int64((points[i, k] - low[k]) * scale)
            x = (x | (x << 32)) & 0x1F00000000FFFF
            x = (x | (x << 16)) & 0x1F0000FF0000FF
            x = (x | (x << 8)) & 0x100F00F00F00F00F
            x = (x | (x << 4)) & 0x10C30C30C30C30C3
            x = (x | (x << 2)) & 0x1249249249249249
            codes[i] |= x << k
    return codes


@njit(cache=True)
def _boxes(points, leaves):  # type: ignore[no-untyped-def]
    """(2 leaves - 1, 6) bounds of a binary tree over runs of points; the children of box i are 2i + 1, 2i + 2."""
    n = len(points)
    box = np.zeros((2 * leaves - 1, 6))
    box[:, :3], box[:, 3:] = np.inf, -np.inf
    for leaf in range(leaves):
        here = leaves - 1 + leaf
        for i in range(leaf * n // leaves, (leaf + 1) * n // leaves):
            for k in range(3):
                box[here, k] = min(box[here, k], points[i, k])
                box[here, k + 3] = max(box[here, k + 3], points[i, k])
    for here in range(leaves - 2, -1, -1):
        for k in range(3):
            box[here, k] = min(box[2 * here + 1, k], box[2 * here + 2, k])
            box[here, k + 3] = max(box[2 * here + 1, k + 3], box[2 * here + 2, k + 3])
    return box


@njit(cache=True, inline="always")
def _gap(box, i, low, high):  # type: ignore[no-untyped-def]
    """Squared distance between box i and the box from low to high."""
    a = max(box[i, 0] - high[0], low[0] - box[i, 3], 0.0)
    b = max(box[i, 1] - high[1], low[1] - box[i, 4], 0.0)
    c = max(box[i, 2] - high[2], low[2] - box[i, 5], 0.0)
    return a * a + b * b + c * c


@njit(cache=True, inline="always")
def _square(a, b):  # type: ignore[no-untyped-def]
    return (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2


@njit(cache=True)
def _search(points, box, leaves, query):  # type: ignore[no-untyped-def]
    """Depth first, the nearer child first; a block of queries starts with the result of its predecessor."""
    last = 0
    squares, index = np.zeros(len(query)), np.zeros(len(query), np.intp)
    stack, gaps = np.zeros(64, np.int64), np.zeros(64)
    low, high = np.zeros(3), np.zeros(3)
    for start in range(0, len(query), _BLOCK):
        end = min(start + _BLOCK, len(query))
        low[:], high[:], worst = query[start], query[start], 0.0
        for i in range(start, end):
            for k in range(3):
                low[k], high[k] = min(low[k], query[i, k]), max(high[k], query[i, k])
            squares[i], index[i] = _square(points[last], query[i]), last
            worst = max(worst, squares[i])
        stack[0], gaps[0], top = 0, 0.0, 1
        while top:
            top -= 1
            if gaps[top] >= worst:
                continue
            here = stack[top]
            while here < leaves - 1:
                near, far = 2 * here + 1, 2 * here + 2
                near_gap, far_gap = _gap(box, near, low, high), _gap(box, far, low, high)
                if far_gap < near_gap:
                    near, far, near_gap, far_gap = far, near, far_gap, near_gap
                if far_gap < worst:
                    stack[top], gaps[top] = far, far_gap
                    top += 1
                here = near
                if near_gap >= worst:
                    break
            else:
                worst = _leaf(points, box, leaves, here, query, start, end, squares, index)
        last = index[end - 1]
    return np.sqrt(squares), index


@njit(cache=True)
def _leaf(points, box, leaves, here, query, start, end, squares, index):  # type: ignore[no-untyped-def]
    """Compare the points of a leaf box with queries start to end; returns the largest remaining distance."""
    n, worst = len(points), 0.0
    leaf = here - (leaves - 1)
    first, behind = leaf * n // leaves, (leaf + 1) * n // leaves
    for i in range(start, end):
        if _gap(box, here, query[i], query[i]) < squares[i]:
            for j in range(first, behind):
                square = _square(points[j], query[i])
                if square < squares[i]:
                    squares[i], index[i] = square, j
        worst = max(worst, squares[i])
    return worst
