"""Occupancies by the visual hull: labels of points from the silhouettes of a shape's own views.

The visual hull is the largest solid with given silhouettes (Laurentini 1994): what no view shows as background. It contains
the shape. Loss of silhouettes along rays alone is content with any solid that has them, a thin shell included.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from occnet_lib import seeds
from occnet_lib.networks.silhouette_labels import BACKGROUND, labels_of
from occnet_lib.storage.hdf5 import unpack_bits

from .silhouettes import FREE_EDGE

if TYPE_CHECKING:
    from .shape_set import ShapeSet

logger = logging.getLogger(__name__)

POINTS = 16_384
"""Points per shape, of a common supply, so that only their occupancies are kept."""
_SUPPLY = 16 * POINTS


def shown(
    points: NDArray[np.floating], labels: NDArray[np.uint8], projection: NDArray[np.floating]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(N,) bool each: which of points (N, 3), unit frame, a view shows, and which of them as background.

    Args:
        points: unit frame.
        labels: (H, W) of the view (`networks.silhouette_labels.labels_of`).
        projection: (3, 4) into fractions of the image.
    """
    height, width = labels.shape
    places, matrix = points.astype(np.float32, copy=False), projection.astype(np.float32)
    u, v, depth = (places @ row[:3] + row[3] for row in matrix)
    ahead = depth > 0
    depth = np.where(ahead, depth, 1.0)
    column, row = np.floor(u / depth * width), np.floor(v / depth * height)
    within = ahead & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    pixels = np.where(within, row * width + column, 0).astype(np.intp)
    return within, within & (labels.ravel()[pixels] == BACKGROUND)


def in_hull(
    points: NDArray[np.floating],
    labels: Sequence[NDArray[np.uint8]],
    projections: Sequence[NDArray[np.floating]],
) -> NDArray[np.bool_]:
    """(N,) bool: which of points (N, 3), unit frame, are in at least one view and background in none.

    A view says nothing about points outside of its image or behind its camera.

    Args:
        points: unit frame.
        labels: (H, W) of each view (`networks.silhouette_labels.labels_of`).
        projections: (3, 4) of each view, into fractions of the image.
    """
    inside, seen = np.ones(len(points), bool), np.zeros(len(points), bool)
    places = points.astype(np.float32)
    for view, projection in zip(labels, projections, strict=True):
        within, background = shown(places, view, projection)
        inside &= ~background
        seen |= within
    return inside & seen


class HullLabels:
    """Points of shapes and whether they are in the visual hulls of all views that show the shapes.

    Args:
        shapes: the set.
        seed: of the training.
    """

    def __init__(self, shapes: ShapeSet, seed: int) -> None:
        self._shapes, self._seed = shapes, seed
        rng = seeds.rng(seed, "visual hull", "points")
        self._supply = (FREE_EDGE * (rng.random((_SUPPLY, 3), np.float32) - 0.5)).astype(np.float16)
        self._bits: dict[int, NDArray[np.uint8]] = {}

    def points(self, shape: int, start: int, count: int) -> tuple[NDArray[np.float16], NDArray[np.bool_]]:
        """(count, 3) float16, unit frame, and (count,) bool from `start` on, repeated if there are fewer.

        Where no view shows the shape, no point is occupied, with a warning.
        """
        offset = int(seeds.rng(self._seed, "visual hull", str(shape)).integers(_SUPPLY - POINTS))
        points = self._supply[offset : offset + POINTS]
        if shape not in self._bits:
            self._bits[shape] = np.packbits(self._labelled(shape, points))
        first, shift = divmod(start, 8)
        points = points[start : start + count]
        occupied = unpack_bits(self._bits[shape][first : (start + count + 7) // 8], len(points), shift)
        return np.resize(points, (count, 3)), np.resize(occupied, count)

    def _labelled(self, shape: int, points: NDArray[np.float16]) -> NDArray[np.bool_]:
        views = [
            (labels, self._shapes.camera(shape, view))
            for view in range(self._shapes.views(shape))
            if (labels := labels_of(self._shapes.coverage(shape, view))).any()
        ]
        if not views:
            name = self._shapes.names[shape]
            logger.warning("no view of %s shows an object: all its points count as free", name)
            return np.zeros(len(points), bool)
        return in_hull(points, [labels for labels, _ in views], [camera for _, camera in views])
