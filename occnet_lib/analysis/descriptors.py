"""Descriptors of shapes, and pairs of shapes that may be the same one scaled, rotated or mirrored.

Descriptors do not depend on scale, rotation and reflection: quantiles of the distances of surface points to their centroid
and to one another (D1 and D2 of Osada et al. 2002, "Shape distributions") and the eigenvalues of their covariance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from occnet_lib import seeds
from occnet_lib.evaluation.alignment import surface_moments
from occnet_lib.geometry.sampling import sample_surface
from occnet_lib.storage.packs import Shard
from occnet_lib.types import Mesh, ShapeKey

QUANTILES = np.linspace(0.05, 0.95, 25)
_CLOSE = 0.03  # largest difference of two descriptors of near-duplicates
_NEIGHBOURS = 8
_PAIRED = 25_000  # surface points whose distances to one another are in the descriptor

Place = tuple[Shard, int]


class Described(NamedTuple):
    """Shapes and their descriptors.

    Attributes:
        places: shard and number of each shape.
        descriptors: (n, D) float64.
        centres, scales, axes: (n, 3) centroids, (n,) root mean square distances to them, and (n, 3, 3) principal axes
            (columns), unit frame.
    """

    places: list[Place]
    descriptors: NDArray[np.float64]
    centres: NDArray[np.float64]
    scales: NDArray[np.float64]
    axes: NDArray[np.float64]

    def key(self, index: int) -> ShapeKey:
        """A shape."""
        shard, i = self.places[index]
        return shard.keys[i]


def describe(shards: Sequence[Shard]) -> Described:
    """Descriptors of all shapes that have a mesh; imported ones may have none."""
    places, rows = [], []
    for shard in shards:
        for i in range(len(shard)):
            mesh = shard.mesh(i)
            if len(mesh.faces) and mesh.face_areas.any():
                places.append((shard, i))
                rows.append(_describe(mesh, _surface(shard, i, mesh)))
    if not rows:
        return Described([], np.zeros((0, 1)), np.zeros((0, 3)), np.zeros(0), np.zeros((0, 3, 3)))
    return Described(places, *(np.array(column) for column in zip(*rows, strict=True)))


def _surface(shard: Shard, i: int, mesh: Mesh) -> NDArray[np.float64]:
    """Surface points of a shape: its own, or of its mesh where these are too few for quantiles without noise."""
    points = shard.surface_points(i).astype(np.float64)
    if len(points) >= _PAIRED:
        return points
    return sample_surface(mesh, _PAIRED, seeds.rng(0, "duplicates", shard.keys[i].name))[0]


def _describe(
    mesh: Mesh, points: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float, NDArray[np.float64]]:
    """Descriptor, centroid, root mean square distance to it and principal axes; the last three are exact."""
    centre, second = surface_moments(mesh)
    values, axes = np.linalg.eigh(second)
    scale = float(np.sqrt(values.sum()))
    columns = np.ascontiguousarray(points.T)
    some = columns[:, :_PAIRED]
    shifts = [some.shape[1] // part for part in (2, 3, 5, 7)]
    pairs = np.concatenate([some - np.roll(some, shift, axis=1) for shift in shifts], axis=1)
    quantiles = [sorted_quantiles(_lengths(each) / scale) for each in (columns - centre[:, None], pairs)]
    return np.concatenate([*quantiles, values / scale**2]), centre, scale, axes


def _lengths(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) Euclidean norms of vectors (3, N); equal to those of `np.linalg.norm`, at a quarter of the cost."""
    x, y, z = columns
    return np.sqrt(x * x + y * y + z * z)


def sorted_quantiles(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """`np.quantile(values, QUANTILES)`, bit for bit: one sort costs a third of its selection of 50 order statistics."""
    ordered = np.sort(values)
    place = QUANTILES * (len(ordered) - 1)
    below = place.astype(np.intp)
    part = place - below
    low, high = ordered[below], ordered[np.minimum(below + 1, len(ordered) - 1)]
    gap = high - low
    return np.where(part < 0.5, low + gap * part, high - gap * (1.0 - part))


def candidate_pairs(descriptors: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Pairs of shapes with nearly equal descriptors (n, D), the most similar first; at most 8 others of a shape."""
    from scipy.spatial import cKDTree

    if len(descriptors) < 2:
        return []
    tree = cKDTree(descriptors)
    count = min(_NEIGHBOURS + 1, len(descriptors))
    gaps, others = tree.query(descriptors, k=count, p=np.inf, distance_upper_bound=_CLOSE)
    pairs = {
        (min(i, j), max(i, j)): gap
        for i, (row, near) in enumerate(
            zip(np.asarray(gaps).tolist(), np.asarray(others).tolist(), strict=True)
        )
        for gap, j in zip(row, near, strict=True)
        if j != i and np.isfinite(gap)
    }
    return sorted(pairs, key=lambda pair: (pairs[pair], pair))
