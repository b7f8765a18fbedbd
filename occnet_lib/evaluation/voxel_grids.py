"""Occupancy grids of many shapes, one bit per voxel: means, clusters and IoU."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from occnet_lib.geometry.grid import Grid, isosurface
from occnet_lib.storage.packs import Shard
from occnet_lib.types import Mesh

_THRESHOLDS = np.linspace(0.05, 0.95, 19)
_BLOCK = 512  # grids unpacked at a time
_SEEDING = 2048  # shapes from which the initial centres are drawn
_ROUNDS = 30


class Grids(Sequence[NDArray[np.bool_]]):
    """(R, R, R) bool grids, kept as bits: 4 KB a shape at 32³, 125 MB for all training shapes of ShapeNet.

    Args:
        bits: (n, R³ / 8) uint8 of np.packbits.
        resolution: R.
    """

    def __init__(self, bits: NDArray[np.uint8], resolution: int) -> None:
        self.bits, self.resolution = bits, resolution

    @classmethod
    def of(cls, shards: Sequence[Shard], categories: Collection[str] = ()) -> tuple[Grids, list[str]]:
        """The non-empty grids and their shapes' names of shards, optionally of some categories only."""
        bits, names, resolution = [], [], 0
        for shard in shards:
            for i, key in enumerate(shard.keys):
                if not categories or key.category in categories:
                    grid = shard.voxels(i)
                    if grid.any():
                        resolution = len(grid)
                        bits.append(np.packbits(grid.reshape(-1)))
                        names.append(key.name)
        packed = np.stack(bits) if bits else np.zeros((0, 0), np.uint8)
        return cls(packed, resolution), names

    def __len__(self) -> int:
        return len(self.bits)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        """A grid for a number, `Grids` for anything else that numpy takes."""
        if isinstance(index, int | np.integer):
            return (
                np.unpackbits(self.bits[index], count=self.resolution**3)
                .view(bool)
                .reshape((self.resolution,) * 3)
            )
        return Grids(self.bits[index], self.resolution)

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Runs of grids with their values, (b, R³) float32 of 0 and 1."""
        for start in range(0, len(self), _BLOCK):
            part = slice(start, start + _BLOCK)
            yield part, np.unpackbits(self.bits[part], axis=1, count=self.resolution**3).astype(np.float32)

    def iou(self, grid: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(n,) IoU of every grid with one, not both empty."""
        bits, other = self.bits, np.packbits(grid.reshape(-1))
        if len(other) % 8 == 0:  # eight bytes at a time
            bits, other = bits.view(np.uint64), other.view(np.uint64)
        common = np.bitwise_count(bits & other).sum(axis=1, dtype=np.int64)
        either = np.bitwise_count(bits | other).sum(axis=1, dtype=np.int64)
        return np.asarray(common / either)


class ClassMean(NamedTuple):
    """Mean occupancy of a group of shapes.

    Attributes:
        mean: (R, R, R) float64.
        threshold: occupied fraction of shapes above which the mean shape is occupied.
        mesh: its closed surface.
    """

    mean: NDArray[np.float64]
    threshold: float
    mesh: Mesh


def class_mean(voxels: Sequence[NDArray[np.bool_]]) -> ClassMean:
    """The mean of occupancy grids, thresholded where its mean IoU with them is highest.

    Args:
        voxels: (R, R, R) bool grids of the unit cube, voxel i centred at (i + 0.5) / R - 0.5; at least one of
            them with an occupied voxel. Iterated twice.
    """
    total = np.zeros(voxels[0].shape)
    for shape in voxels:
        total += shape
    mean = total / len(voxels)
    bins = len(_THRESHOLDS)
    level = np.searchsorted(_THRESHOLDS, mean.reshape(-1))  # number of thresholds below the mean
    size = _above(np.bincount(level, minlength=bins + 1))
    score = np.zeros(bins)
    for shape in voxels:
        occupied = shape.reshape(-1)
        common = _above(np.bincount(level[occupied], minlength=bins + 1))
        union = size + np.count_nonzero(occupied) - common
        score += common / np.maximum(union, 1)
    threshold = float(_THRESHOLDS[np.argmax(np.where(size > 0, score, -1.0))])
    if mean.max() <= threshold:  # thin shapes without a common voxel
        threshold = float(mean.max() / 2.0)
    return ClassMean(mean, threshold, mean_surface(mean, threshold))


def mean_surface(mean: NDArray[np.floating], threshold: float) -> Mesh:
    """The closed surface around where a mean occupancy (R, R, R) of the unit cube is above a threshold."""
    r = mean.shape[0]
    grid = Grid(np.full(3, 0.5 / r - 0.5), 1.0 / r, (r, r, r))
    return isosurface(np.asarray(threshold - mean, dtype=np.float32), grid, unit=threshold)


def cluster(grids: Grids, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """(n,) numbers of clusters by k-means on the occupancies (Lloyd 1982, seeded by Arthur and Vassilvitskii 2007).

    Grids are unpacked in blocks, so memory does not grow with their number (scikit-learn's would hold them all as floats).
    Ends when no label changes, or after 30 rounds.

    Args:
        grids: n of them.
        count: number of clusters, at most n; clusters may be empty.
        rng: draws the first centres.
    """
    centres = _first_centres(grids, count, rng)
    labels = np.full(len(grids), -1)
    for _ in range(_ROUNDS):
        sums, sizes, changed = np.zeros_like(centres), np.zeros(len(centres)), 0
        norms = (centres**2).sum(axis=1)
        for part, values in grids.blocks():
            nearest = (norms - 2.0 * (values @ centres.T)).argmin(axis=1)
            changed += int(np.count_nonzero(nearest != labels[part]))
            labels[part] = nearest
            member = (nearest == np.arange(len(centres))[:, None]).astype(np.float32)
            sums += member @ values
            sizes += member.sum(axis=1)
        if not changed:
            break
        centres = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], centres).astype(
            np.float32
        )
    return labels


def _first_centres(grids: Grids, count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """(count, R³) grids drawn one after the other with probability ~ squared distance to those before."""
    among = np.sort(rng.permutation(len(grids))[: max(_SEEDING, count)])
    values = np.concatenate([block for _, block in grids[among].blocks()])
    size = values.sum(axis=1, dtype=np.float64)
    chosen = [int(rng.integers(len(values)))]
    gap = np.full(len(values), np.inf)
    while len(chosen) < count:
        last = values[chosen[-1]]
        gap = np.minimum(gap, np.maximum(size + last.sum() - 2.0 * (values @ last), 0.0))
        total = gap.sum()
        chance = gap / total if total > 0 else np.full(len(values), 1.0 / len(values))
        chosen.append(int(rng.choice(len(values), p=chance)))
    return values[chosen]


def _above(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of voxels above each threshold, of the counts by level."""
    above: NDArray[np.int64] = counts[::-1].cumsum()[::-1][1:]
    return above
