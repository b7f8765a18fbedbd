"""The merge tree of the distance to a surface (Carr, Snoeyink & Axen 2003): which pieces of free space meet where."""

from __future__ import annotations

import numpy as np
from numba import njit

from occnet_lib.geometry.fusion.bricks import neighbour

OUTSIDE = 1  # label of the basin that holds the border of the grid
WIDER = 2.0  # a basin smaller than the ball is a chamber if it is so many times as wide as its gap, otherwise a slot
COARSENESS = 0.9
"""Voxels; along a slot of constant width the distances at samples differ by up to sqrt(3) / 2."""
_BUCKETS = 1024


@njit(cache=True)
def falling_order(distance, label, width):  # type: ignore[no-untyped-def]
    """Indices of the samples without a label, by falling distance (to a bucket's width)."""
    count = np.zeros(_BUCKETS + 1, dtype=np.int64)
    scale = np.float32((_BUCKETS - 1) / width)
    for n in range(len(distance)):
        if label[n] == 0:
            count[_BUCKETS - 1 - np.int64(distance[n] * scale) + 1] += 1
    start = np.cumsum(count)
    order = np.zeros(start[-1], dtype=np.int32)
    for n in range(len(distance)):
        if label[n] == 0:
            bucket = _BUCKETS - 1 - np.int64(distance[n] * scale)
            order[start[bucket]] = n
            start[bucket] += 1
    return order


@njit(cache=True)
def _root(parent, n):  # type: ignore[no-untyped-def]
    while parent[n] != n:
        parent[n] = parent[parent[n]]
        n = parent[n]
    return n


@njit(cache=True)
def roots(parent):  # type: ignore[no-untyped-def]
    """(n,) int32 what each label was joined to."""
    out = np.zeros(len(parent), dtype=np.int32)
    for n in range(len(parent)):
        out[n] = _root(parent, n)
    return out


@njit(cache=True)
def replace_labels(label, root):  # type: ignore[no-untyped-def]
    """Give every sample the root of its label, in place."""
    for n in range(len(label)):
        label[n] = root[label[n]]


@njit(cache=True)
def join_basins(parent, depth, gap, a, b, here, radius):  # type: ignore[no-untyped-def]
    """Join two basins that meet where the distance is `here`, unless the gap between them closes."""
    a, b = _root(parent, a), _root(parent, b)
    if a == b:
        return
    a, b = min(a, b), max(a, b)
    chamber = depth[b] >= max(here + COARSENESS, min(radius, WIDER * here))
    if a == OUTSIDE and here < radius and chamber:
        gap[b] = max(gap[b], here)
        return
    parent[b] = a
    depth[a] = max(depth[a], depth[b])
    gap[a] = max(gap[a], gap[b])


@njit(cache=True)
def merge_basins(  # type: ignore[no-untyped-def]
    distance, cut, links, label, order, parent, depth, gap, n_labels, radius, width
):
    """Give every sample of `order` the label of its widest neighbour, and join basins that meet there.

    Returns:
        parent, depth and gap (`Basins`) of every label.
    """
    near = np.zeros(6, dtype=np.int64)
    for n in order:
        here = np.float64(distance[n])
        met, widest = 0, -1.0
        for axis in range(3):
            for forth in range(2):
                m = neighbour(links, n, axis, forth)
                if forth and (cut[n] >> axis) & 1:
                    continue
                if m < 0:
                    which, there = -m, width
                else:
                    if label[m] == 0 or (not forth and (cut[m] >> axis) & 1):
                        continue
                    which, there = np.int64(label[m]), np.float64(distance[m])
                near[met] = _root(parent, which)
                if there > widest:
                    widest = there
                    near[0], near[met] = near[met], near[0]
                met += 1
        if met == 0:
            if n_labels == len(parent):
                parent = np.concatenate((parent, np.arange(n_labels, 2 * n_labels)))
                depth = np.concatenate((depth, np.zeros_like(depth)))
                gap = np.concatenate((gap, np.zeros_like(gap)))
            label[n] = n_labels
            depth[n_labels] = here
            n_labels += 1
            continue
        label[n] = near[0]
        for other in range(1, met):
            if near[other] != near[0]:
                join_basins(parent, depth, gap, near[0], near[other], here, radius)
    return parent[:n_labels], depth[:n_labels], gap[:n_labels]


@njit(cache=True)
def meetings(distance, cut, links, label, width):  # type: ignore[no-untyped-def]
    """The widest places (half-width, label, label) where samples of different labels are joined."""
    widest = {(np.int64(0), np.int64(0)): np.float64(0.0)}
    for n in range(len(label)):
        a = np.int64(label[n])
        if a == 0:
            continue
        for axis in range(3):
            if (cut[n] >> axis) & 1:
                continue
            m = neighbour(links, n, axis, 1)
            b = -m if m < 0 else np.int64(label[m])
            if b == 0 or a == b:
                continue
            here = min(distance[n], width if m < 0 else distance[m])
            pair = (min(a, b), max(a, b))
            if pair not in widest or widest[pair] < here:
                widest[pair] = np.float64(here)
    return [(widest[pair], pair[0], pair[1]) for pair in widest if pair[0] > 0]
