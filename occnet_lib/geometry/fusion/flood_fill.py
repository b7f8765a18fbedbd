"""Outside and inside of a triangle soup: a flood of the free space that stops at gaps narrower than a set width.

Samples are joined along the grid edges that no triangle cuts. They are visited by falling distance to the surface, which
builds the merge tree of the distance (Carr, Snoeyink & Axen 2003): two basins meet at the narrowest place between them,
and the distance there is half the width of the gap. A basin that meets the outside through a gap too narrow for its size
stays apart, so that the gap closes at its narrowest place. A slot with nothing wider behind it is open, however narrow,
and so is a basin that is seen from all around, like a cage.

The grid is refined from `BASE` samples on by factors of two. The coarsest level decides about gaps; on the finer ones
only samples next to the surface are new, and all others have the label of a coarser sample that they can be joined to.
What only a fine grid resolves, like a narrow slot, is decided there by the same rule. All levels are stored in bricks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from occnet_lib.geometry.fusion.bricks import SIDE, Bricks, address, brick_counts, store
from occnet_lib.geometry.fusion.distance_band import near_bricks, stored_cuts, stored_distance
from occnet_lib.geometry.fusion.merge_tree import (
    OUTSIDE,
    falling_order,
    join_basins,
    meetings,
    merge_basins,
    replace_labels,
    roots,
)

# Fraction of all directions, averaged over a basin, that lead out of it: at most 0.02 behind the slits of drawers, doors and
# cushions, 0.3 and more behind bars and slats.
SEEN = 0.1
PLACES = 64  # samples of a basin from which that is measured
BASE = 192  # samples along the longest edge that the coarsest level has at least (at most twice as many)
# Voxels within which a refined level is stored. A sample farther than sqrt(3) has the label of the coarser one in its
# cell, and all its neighbours have to be stored for those nearer than that.
REACH = 2.75

Seen = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass
class Basins:
    """Pieces of free space, on one level of the grid.

    Attributes:
        bricks: which samples are stored.
        distance, nearest: of `distance_band.stored_distance`, in voxels.
        label: (bricks.samples,) int32 basin of every stored sample; `OUTSIDE` is what is joined to the border.
        far: (bx, by, bz) int32 basin of all samples of a brick that is not stored.
        depth: (n,) float64 voxels, greatest distance to the surface in a basin, at most that stored.
        gap: (n,) float64 half-width in voxels of the widest gap between a basin and the outside; 0 without a gap.
    """

    bricks: Bricks
    distance: NDArray[np.float32]
    nearest: NDArray[np.int32]
    label: NDArray[np.int32]
    far: NDArray[np.int32]
    depth: NDArray[np.float64]
    gap: NDArray[np.float64]


def levels_of(shape: tuple[int, int, int]) -> int:
    """How often a grid is halved for the coarsest level."""
    return max(0, math.floor(math.log2(max(shape) / BASE)))


def find_basins(
    triangles: NDArray[np.float64], shape: tuple[int, int, int], radius: float, least: float, seen: Seen
) -> Basins:
    """Divide the samples of a grid into the outside and the basins apart from it.

    Args:
        triangles: (F, 3, 3) in voxels from sample (0, 0, 0).
        shape: samples along x, y, z.
        radius: half-width in voxels below which gaps close; 0: none does.
        least: voxels up to which distances are needed.
        seen: fraction of the open that is visible from places (n, 3), in voxels.
    """
    halvings = levels_of(shape)
    scale = 2.0**-halvings
    basins = _coarsest(triangles * scale, _halved(shape, halvings), radius * scale, least)
    _open_visible(basins, lambda places: seen(places / scale))
    for level in range(halvings - 1, -1, -1):
        scale = 2.0**-level
        basins = _refined(basins, triangles * scale, _halved(shape, level), radius * scale, least)
        _open_visible(basins, lambda places: seen(places / scale))  # noqa: B023 (called at once)
    return basins


def _halved(shape: tuple[int, int, int], times: int) -> tuple[int, int, int]:
    """Samples of a grid of which every second one is left out, so many times."""
    x, y, z = ((n - 1 >> times) + 1 for n in shape)
    return x, y, z


def _coarsest(
    triangles: NDArray[np.float64], shape: tuple[int, int, int], radius: float, least: float
) -> Basins:
    """Basins from the distance alone."""
    from scipy.ndimage import label as label_pieces

    width = max(least, radius + 1.0)
    near = near_bricks(triangles, shape, width + 1.0)
    bricks = store(shape, near)
    distance, nearest = stored_distance(triangles, bricks, width)
    cut = stored_cuts(triangles, bricks)
    # Whole bricks beyond the distances are free; beyond the grid there is one more layer of them.
    pieces, count = label_pieces(np.pad(~near, 1, constant_values=True))
    number = np.arange(count + 1, dtype=np.int32)
    number[[OUTSIDE, pieces[0, 0, 0]]] = number[[pieces[0, 0, 0], OUTSIDE]]
    far: NDArray[np.int32] = number[pieces[1:-1, 1:-1, 1:-1]]
    label = np.zeros(bricks.samples, dtype=np.int32)
    basins = Basins(bricks, distance, nearest, label, far, np.full(count + 1, width), np.zeros(count + 1))
    return _merged(basins, cut, radius, width)


def _refined(
    coarse: Basins, triangles: NDArray[np.float64], shape: tuple[int, int, int], radius: float, least: float
) -> Basins:
    """Basins on a grid of half the spacing."""
    width = max(least, REACH - 1.0)
    counts = brick_counts(shape)
    chosen = near_bricks(triangles, shape, max(width, REACH))
    far = np.zeros(counts, dtype=np.int32)
    _inherit_bricks(coarse.bricks.slot, coarse.label, coarse.far, chosen, far)
    far[chosen] = 0
    bricks = store(shape, chosen)
    distance, nearest = stored_distance(triangles, bricks, width)
    cut = stored_cuts(triangles, bricks)
    label = np.zeros(bricks.samples, dtype=np.int32)
    _inherit(coarse.bricks.slot, coarse.label, coarse.far, bricks.corner, distance, label)
    basins = Basins(bricks, distance, nearest, label, far, 2.0 * coarse.depth, 2.0 * coarse.gap)
    return _merged(basins, cut, radius, width)


def _merged(basins: Basins, cut: NDArray[np.uint8], radius: float, width: float) -> Basins:
    """The basins after those were joined that meet, and samples without a label got one (`stored_cuts`: cut)."""
    distance, label, n = basins.distance, basins.label, len(basins.gap)
    parent = np.arange(n + 1024)
    depth = np.pad(basins.depth, (0, 1024), constant_values=width)
    gap = np.pad(basins.gap, (0, 1024))
    links = basins.bricks.links(basins.far)
    for here, a, b in sorted(meetings(distance, cut, links, label, width), reverse=True):
        join_basins(parent, depth, gap, int(a), int(b), here, radius)
    order = falling_order(distance, label, width)
    parent, basins.depth, basins.gap = merge_basins(
        distance, cut, links, label, order, parent, depth, gap, n, radius, width
    )
    return _settled(basins, parent)


def _settled(basins: Basins, parent: NDArray[np.int64]) -> Basins:
    """The basins with the labels of what they were joined to."""
    root = roots(parent)
    basins.gap[root != np.arange(len(root))] = 0.0
    basins.gap[OUTSIDE] = 0.0
    if (root != np.arange(len(root))).any():
        replace_labels(basins.label, root)
        basins.far = root[basins.far]
    return basins


def _open_visible(basins: Basins, seen: Seen) -> None:
    """Join to the outside what a closed gap keeps apart from it but the open is seen from."""
    apart = np.flatnonzero(basins.gap > 0)
    if not len(apart):
        return
    rank = np.full(len(basins.gap), -1, dtype=np.int64)
    rank[apart] = np.arange(len(apart))
    index = _pick(basins.label, rank, np.zeros(len(apart), dtype=np.int64))
    whole = _pick(basins.far.reshape(-1), rank, np.zeros(len(apart), dtype=np.int64))
    middle = np.stack(np.unravel_index(whole, basins.far.shape), axis=1) * SIDE + (SIDE - 1) / 2.0
    places = np.concatenate([basins.bricks.positions(index).astype(np.float64), middle])
    of = np.concatenate([rank[basins.label[index]], rank[basins.far.reshape(-1)[whole]]])
    # A brick counts for all of its samples.
    weight = np.concatenate([np.ones(len(index)), np.full(len(whole), float(SIDE**3))])
    n = len(apart)
    fraction = np.bincount(of, weight * seen(places), n) / np.maximum(np.bincount(of, weight, n), 1.0)
    opened = apart[fraction >= SEEN]
    if len(opened):
        parent = np.arange(len(basins.gap))
        parent[opened] = OUTSIDE
        _settled(basins, parent)


@njit(cache=True)
def _pick(label, rank, size):  # type: ignore[no-untyped-def]
    """At most `PLACES` entries of each label that has a rank, evenly spaced in memory."""
    for n in range(len(label)):
        if rank[label[n]] >= 0:
            size[rank[label[n]]] += 1
    stride = np.maximum((size + PLACES - 1) // PLACES, 1)
    met = np.zeros(len(size), dtype=np.int64)
    out = np.zeros(PLACES * len(size), dtype=np.int64)
    n_out = 0
    for n in range(len(label)):
        which = rank[label[n]]
        if which < 0:
            continue
        if met[which] % stride[which] == stride[which] // 2:
            out[n_out] = n
            n_out += 1
        met[which] += 1
    return out[:n_out]


@njit(cache=True, inline="always")
def _coarse_label(slot, label, far, x, y, z):  # type: ignore[no-untyped-def]
    n = address(slot, x, y, z)
    return label[n] if n >= 0 else far[x >> 3, y >> 3, z >> 3]


@njit(cache=True)
def _inherit_bricks(slot, label, far, chosen, fine_far):  # type: ignore[no-untyped-def]
    """Choose the bricks in which, or next to which, coarse labels differ; the others get the label."""
    shape = chosen.shape
    size = (8 * slot.shape[0], 8 * slot.shape[1], 8 * slot.shape[2])
    for i in range(shape[0]):
        for j in range(shape[1]):
            for k in range(shape[2]):
                first = _coarse_label(slot, label, far, 4 * i, 4 * j, 4 * k)
                fine_far[i, j, k] = first
                if chosen[i, j, k] or slot[i >> 1, j >> 1, k >> 1] < 0:
                    continue
                for x in range(max(0, 4 * i - 1), min(size[0], 4 * i + 5)):
                    for y in range(max(0, 4 * j - 1), min(size[1], 4 * j + 5)):
                        for z in range(max(0, 4 * k - 1), min(size[2], 4 * k + 5)):
                            if _coarse_label(slot, label, far, x, y, z) != first:
                                chosen[i, j, k] = True


@njit(cache=True)
def _inherit(slot, label, far, corner, distance, fine):  # type: ignore[no-untyped-def]
    """Label the samples whose distance to the surface is larger than that to the coarse sample in their cell."""
    for brick in range(len(corner)):
        # All coarse samples of a brick are in one brick of the coarser level.
        i, j, k = corner[brick] >> 4
        coarse, whole = np.int64(slot[i, j, k]), far[i, j, k]
        x0, y0, z0 = (corner[brick] >> 1) & 7
        for local in range(512):
            x, y, z = local >> 6, local >> 3 & 7, local & 7
            away = (x & 1) + (y & 1) + (z & 1)
            n = (brick << 9) | local
            if away == 0 or distance[n] * distance[n] > away + 0.01:
                if coarse < 0:
                    fine[n] = whole
                else:
                    fine[n] = label[
                        coarse << 9 | (x0 + (x >> 1)) << 6 | (y0 + (y >> 1)) << 3 | (z0 + (z >> 1))
                    ]
