"""Compression of random points by sorting them, with a fixed shuffle that restores a random order.

The order of independent random points has no information but takes log2(N!) bits: 15 of the 40 bits of a point at
N = 100,000. So points are stored sorted, as differences, and read in an order given by a fixed permutation of N numbers.
Points that were brought into `mixed_order` first are read in the order they had. Others keep their order, too, but take
more space.

Own code: stored float16 points take 25 bits each, which no general codec reaches on unsorted points.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)
_RUN_LENGTH, _MIN_RUN_LENGTH = 2048, 64  # points
_CELLS = 4  # along an edge
_FAR, _CHANCE = 8.0, 4.0  # standard errors, and points, which matters if few are occupied


def mixed_order(points: NDArray[np.float16]) -> NDArray[np.intp]:
    """(N,) row numbers: `points[order]` depends on the set of points alone, and is in random order.

    Args:
        points: (N, 3) float16.
    """
    x, y, z = _ordinals(points).astype(np.int64).T + 2**15
    return np.argsort((x << 32) | (y << 16) | z, kind="stable")[_shuffle(len(points))]


def runs_are_random_samples(points: NDArray[np.float16], occupancies: NDArray[np.bool_]) -> bool:
    """Whether runs of points are random samples of all points, which training relies on because it reads runs.

    Means of coordinates, of squared distances from the middle and of occupancies over runs of up to 2,048 points are
    compared with the means over all points: in random order none deviates by eight standard errors. Fewer than 512 points
    are not tested.
    ONet's sample_mesh.py with `--points_uniform_ratio` below 1 writes uniform points before those near the surface.

    Args:
        points: (N, 3) float16.
        occupancies: (N,) bool.
    """
    run = min(_RUN_LENGTH, len(points) // 8)
    if run < _MIN_RUN_LENGTH:
        return True
    columns = points.astype(np.float64)
    numbers = np.column_stack([columns, (columns**2).sum(axis=1), occupancies])
    runs = numbers[: len(numbers) // run * run].reshape(-1, run, numbers.shape[1])
    away = np.abs(runs.mean(axis=1) - numbers.mean(axis=0))
    return bool((away <= _FAR * numbers.std(axis=0) / np.sqrt(run) + _CHANCE / run).all())


def is_uniform(points: NDArray[np.float16]) -> bool:
    """Whether points are uniform in their bounding box, by Pearson's chi-squared test over its 4³ cells.

    The threshold is eight standard deviations. Fewer than 4,096 points are not tested.

    Args:
        points: (N, 3) float16.
    """
    cells = _CELLS**3
    if len(points) < 64 * cells:
        return True
    at = points.astype(np.float64)
    low, extent = at.min(axis=0), np.ptp(at, axis=0)
    index = (_CELLS * (at - low) / np.where(extent > 0, extent, 1.0)).astype(np.int64).clip(0, _CELLS - 1)
    counts = np.bincount(index @ [_CELLS**2, _CELLS, 1], minlength=cells)
    expected = len(points) / cells
    chi_squared = float(((counts - expected) ** 2).sum() / expected)
    return chi_squared <= cells - 1 + _FAR * (2.0 * (cells - 1)) ** 0.5


def encode(points: NDArray[np.float16]) -> NDArray[np.int16]:
    """(3, N) int16: in the stored order, as ordinals of the float16 values, x and y as differences to the previous point."""
    columns = np.ascontiguousarray(_ordinals(unshuffled(points)).T)
    columns[:2, 1:] = np.diff(columns[:2])  # wraps around, as the cumulative sum does
    return columns


def decode(columns: NDArray[np.int16]) -> NDArray[np.float16]:
    """The inverse of `encode`: (N, 3) float16, bit for bit."""
    ordinals = columns.copy()
    np.cumsum(columns[:2], axis=1, dtype=np.int16, out=ordinals[:2])
    bits = np.where(ordinals < 0, ~ordinals ^ np.int16(-(2**15)), ordinals)
    return shuffled(np.ascontiguousarray(bits.T)).view(np.float16)


def shuffled(rows: NDArray[T]) -> NDArray[T]:
    """Rows in stored order, brought into random order."""
    return rows[_shuffle(len(rows))]


def unshuffled(rows: NDArray[T]) -> NDArray[T]:
    """The inverse of `shuffled`."""
    stored = np.zeros_like(rows)
    stored[_shuffle(len(rows))] = rows
    return stored


def _ordinals(points: NDArray[np.float16]) -> NDArray[np.int16]:
    """Ordinals: integers in the order of the float16 values, one per bit pattern."""
    bits = np.ascontiguousarray(points).view(np.int16)
    return np.where(bits < 0, ~(bits & np.int16(2**15 - 1)), bits)


@lru_cache(maxsize=8)
def _shuffle(count: int) -> NDArray[np.intp]:
    """A fixed permutation of `count` numbers: sorted by SplitMix64 (Steele et al. 2014), which has no ties.

    Not a generator of numpy, whose stream may change with its version and with it the order in which files are read.
    """
    z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    order = np.argsort(z ^ (z >> np.uint64(31)))
    order.setflags(write=False)
    return order
