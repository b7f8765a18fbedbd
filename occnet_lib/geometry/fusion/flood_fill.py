"""Outside and inside of a triangle soup: a flood of the free space that stops at gaps narrower than a set width.

Samples are joined along the grid edges that no triangle cuts. They are visited by falling distance to the surface, which
builds the merge tree of the distance (Carr, Snoeyink & Axen 2003): two basins meet at the narrowest place between them,
and the distance there is half the width of the gap. A basin that meets the outside through a gap too narrow for its size
stays apart, so that the gap closes at its narrowest place. A slot with nothing wider behind it is open, however narrow,
and so is a basin that is seen from all around, like a cage.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from occnet_lib.geometry.fusion.visibility import visible_fraction

OUTSIDE = 1  # label of the basin that holds the border of the grid
WIDER = 2.0  # a basin smaller than the ball is a chamber if it is so many times as wide as its gap, otherwise a slot
COARSENESS = (
    0.9  # voxels; along a slot of constant width the distances at samples differ by up to sqrt(3) / 2
)
# Fraction of all directions, averaged over a basin, that lead out of it: at most 0.02 behind the slits of drawers, doors and
# cushions, 0.3 and more behind bars and slats.
SEEN = 0.1
PLACES = 64  # samples of a basin from which that is measured
_BUCKETS = 1024


@dataclass(frozen=True)
class Basins:
    """Free space in pieces.

    Attributes:
        labels: (X, Y, Z) int32 basin of every sample; `OUTSIDE` is what is joined to the border.
        gap: (n,) float64 half-width in voxels of the widest gap between a basin and the outside; 0 without a gap.
    """

    labels: NDArray[np.int32]
    gap: NDArray[np.float64]


@dataclass(frozen=True)
class Outside:
    """The outside of a triangle soup.

    Attributes:
        free: (X, Y, Z) bool, the samples outside.
        gaps_closed: number of basins that a closed gap keeps apart from the outside.
        widest_gap: voxels, width of the widest of these gaps; 0 without any.
    """

    free: NDArray[np.bool_]
    gaps_closed: int
    widest_gap: float


def find_outside(
    triangles: NDArray[np.float64],
    distance: NDArray[np.float32],
    cut: NDArray[np.uint8],
    radius: float,
    directions: NDArray[np.float64],
) -> Outside:
    """Decide which samples of a grid are outside.

    Args:
        triangles: (F, 3, 3) in voxels from sample (0, 0, 0).
        distance: of `distance_band.distance_band` in voxels, right up to `radius` + 1.
        cut: of `distance_band.cut_edges`.
        radius: half-width in voxels below which gaps close; 0: none does.
        directions: (n, 3) in which the view out of a basin is tested.
    """
    basins = find_basins(distance, cut, radius)
    apart = np.flatnonzero(basins.gap > 0)
    is_outside = np.zeros(len(basins.gap), dtype=bool)
    is_outside[OUTSIDE] = True
    if len(apart):
        places, of = _places(basins.labels, apart, len(basins.gap))
        seen = np.bincount(of, visible_fraction(triangles, places, directions)) / np.bincount(of)
        is_outside[apart] = seen >= SEEN
        apart = apart[~is_outside[apart]]
    widest = 2.0 * float(basins.gap[apart].max(initial=0.0))
    return Outside(is_outside[basins.labels], len(apart), widest)


def find_basins(distance: NDArray[np.float32], cut: NDArray[np.uint8], radius: float) -> Basins:
    """Divide the samples of a grid into the outside and the basins apart from it (arguments: see `find_outside`)."""
    labels = np.zeros(distance.shape, dtype=np.int32)
    width = distance.max()  # that of the band
    greatest = _label_far(distance, width, labels)
    order = _falling(distance, labels, width)
    parent, gap = _merge(distance, cut, labels, order, greatest, float(radius), width)
    _resolve(labels, parent)
    return Basins(labels, gap)


def _places(
    labels: NDArray[np.int32], chosen: NDArray[np.intp], count: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """At most `PLACES` samples (n, 3) of each chosen basin, evenly spaced in memory, and the basin's place in `chosen`."""
    rank = np.full(count, -1, dtype=np.int64)
    rank[chosen] = np.arange(len(chosen))
    index = _pick(labels, rank, np.zeros(len(chosen), dtype=np.int64))
    places = np.stack(np.unravel_index(index, labels.shape), axis=1)
    return places.astype(np.float64), rank[labels.ravel()[index]]


@njit(cache=True)
def _pick(labels, rank, size):  # type: ignore[no-untyped-def]
    flat = labels.reshape(-1)
    for n in range(len(flat)):
        if rank[flat[n]] >= 0:
            size[rank[flat[n]]] += 1
    stride = (size + PLACES - 1) // PLACES
    met = np.zeros(len(size), dtype=np.int64)
    out = np.zeros(PLACES * len(size), dtype=np.int64)
    n_out = 0
    for n in range(len(flat)):
        which = rank[flat[n]]
        if which < 0:
            continue
        if met[which] % stride[which] == stride[which] // 2:
            out[n_out] = n
            n_out += 1
        met[which] += 1
    return out[:n_out]


@njit(cache=True)
def _label_far(distance, width, labels):  # type: ignore[no-untyped-def]
    """Label the connected pieces beyond the band of distances; those at the border are `OUTSIDE`.

    Returns:
        the greatest label.
    """
    nx, ny, nz = labels.shape
    stack = np.zeros((1024, 3), dtype=np.int32)
    greatest = OUTSIDE
    for border in (True, False):
        for i in range(nx):
            for j in range(ny):
                whole = not border or i == 0 or j == 0 or i == nx - 1 or j == ny - 1
                for k in range(0, nz, 1 if whole else max(1, nz - 1)):
                    if labels[i, j, k] != 0:
                        continue
                    if distance[i, j, k] < width:
                        if border:
                            labels[i, j, k] = OUTSIDE
                        continue
                    label = OUTSIDE
                    if not border:
                        greatest += 1
                        label = greatest
                    stack[0, 0], stack[0, 1], stack[0, 2] = i, j, k
                    stack = _fill(distance, width, labels, label, stack)
    return greatest


@njit(cache=True)
def _fill(distance, width, labels, label, stack):  # type: ignore[no-untyped-def]
    """Label one piece, by whole runs along the last axis; the stack holds one sample of each run still to fill."""
    nx, ny, nz = labels.shape
    top = 1
    while top > 0:
        top -= 1
        x, y, z = stack[top]
        if labels[x, y, z] != 0:
            continue
        first = z
        while first > 0 and labels[x, y, first - 1] == 0 and distance[x, y, first - 1] >= width:
            first -= 1
        last = z
        while last < nz - 1 and labels[x, y, last + 1] == 0 and distance[x, y, last + 1] >= width:
            last += 1
        labels[x, y, first : last + 1] = label
        for side in range(4):
            u = x + (side == 0) - (side == 1)
            v = y + (side == 2) - (side == 3)
            if u < 0 or v < 0 or u >= nx or v >= ny:
                continue
            in_run = False
            for w in range(first, last + 1):
                wanted = labels[u, v, w] == 0 and distance[u, v, w] >= width
                if wanted and not in_run:
                    if top == len(stack):
                        stack = np.concatenate((stack, np.zeros_like(stack)))
                    stack[top, 0], stack[top, 1], stack[top, 2] = u, v, w
                    top += 1
                in_run = wanted
    return stack


@njit(cache=True)
def _falling(distance, labels, width):  # type: ignore[no-untyped-def]
    """Flat indices of the samples without a label, by falling distance (to a bucket's width)."""
    flat, label = distance.reshape(-1), labels.reshape(-1)
    count = np.zeros(_BUCKETS + 1, dtype=np.int64)
    scale = np.float32((_BUCKETS - 1) / width)
    for n in range(len(flat)):
        if label[n] == 0:
            count[_BUCKETS - 1 - np.int64(flat[n] * scale) + 1] += 1
    start = np.cumsum(count)
    order = np.zeros(start[-1], dtype=np.int64)
    for n in range(len(flat)):
        if label[n] == 0:
            bucket = _BUCKETS - 1 - np.int64(flat[n] * scale)
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
def _merge(distance, cut, labels, order, greatest, radius, width):  # type: ignore[no-untyped-def]
    """Give every sample of `order` the label of its widest neighbour, and join basins that meet there.

    Returns:
        parent of every label, half-width of the widest gap between it and the outside.
    """
    _, ny, nz = distance.shape
    stride = (ny * nz, nz, 1)
    flat, walls, label = distance.reshape(-1), cut.reshape(-1), labels.reshape(-1)
    size = greatest + 1 + 1024
    parent = np.arange(size)
    depth = np.full(size, np.float32(width))
    gap = np.zeros(size)
    n_labels = greatest + 1
    near = np.zeros(6, dtype=np.int64)
    for n in order:
        here = flat[n]
        found, widest = 0, -1.0
        for axis in range(3):
            for forth in range(2):
                step = stride[axis]
                m = n + step if forth else n - step
                wall = walls[n] if forth else walls[m]
                if (wall >> axis) & 1 or label[m] == 0:
                    continue
                root = _root(parent, np.int64(label[m]))
                near[found] = root
                if flat[m] > widest:
                    widest = flat[m]
                    near[found] = near[0]
                    near[0] = root
                found += 1
        if found == 0:
            if n_labels == len(parent):
                parent = np.concatenate((parent, np.arange(n_labels, 2 * n_labels)))
                depth = np.concatenate((depth, np.zeros_like(depth)))
                gap = np.concatenate((gap, np.zeros_like(gap)))
            label[n] = n_labels
            depth[n_labels] = here
            n_labels += 1
            continue
        label[n] = near[0]
        for other in range(1, found):
            a, b = _root(parent, near[0]), _root(parent, near[other])
            if a == b:
                continue
            a, b = min(a, b), max(a, b)
            chamber = depth[b] >= max(here + COARSENESS, min(radius, WIDER * here))
            if a == OUTSIDE and here < radius and chamber:
                gap[b] = max(gap[b], here)
                continue
            parent[b] = a
            depth[a] = max(depth[a], depth[b])
            gap[a] = max(gap[a], gap[b])
    gap[OUTSIDE] = 0.0
    for n in range(n_labels):
        if parent[n] != n:
            gap[n] = 0.0
    return parent[:n_labels], gap[:n_labels]


@njit(cache=True)
def _resolve(labels, parent):  # type: ignore[no-untyped-def]
    label = labels.reshape(-1)
    for n in range(len(label)):
        label[n] = _root(parent, np.int64(label[n]))
