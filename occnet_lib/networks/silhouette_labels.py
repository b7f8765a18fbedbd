"""What pixels of an image say about the rays through them: background, object, or neither."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from .arrays import tensor_of
from .rays import rays_of, within_cube

BACKGROUND, OBJECT, NEITHER = 0, 1, 2
WHITE_LEVEL = 250
"""Least value, of 255, of the darkest channel of a background pixel: white up to the noise of JPEG."""
_HALF = 0.5  # of a pixel that the object covers, from which on its middle counts as covered


class Pixels(NamedTuple):
    """Places of pixel middles with a label, a random choice of at most as many of each as requested.

    Attributes:
        hits: (P, 2) float32, of the object, as fractions of the image's width and height.
        free: (P, 2) float32, of the background, whose rays meet the cube.
        fraction: the object's fraction of all labelled pixels whose rays meet the cube.
    """

    hits: NDArray[np.float32]
    free: NDArray[np.float32]
    fraction: float


def coverage_of(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W) float32, estimated fraction of each pixel that an object on white covers.

    A pixel's darkness relative to the darkest of its neighbourhood of 3 x 3: at a silhouette colours are blended with
    white, within the object they vary little. 0 is certain but for objects as white as the background.

    Args:
        image: (H, W, 3) uint8 sRGB on white.
    """
    darkness = 255 - image.min(axis=2)
    darkness[darkness <= 255 - WHITE_LEVEL] = 0
    around = np.pad(darkness, 1)
    rows = np.maximum(np.maximum(around[:-2], around[1:-1]), around[2:])
    largest = np.maximum(np.maximum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
    return darkness / np.maximum(largest, 1).astype(np.float32)


def labels_of(coverage: NDArray[np.floating]) -> NDArray[np.uint8]:
    """(H, W) uint8 of pixels that an object covers by a fraction (H, W).

    What is not covered at all is BACKGROUND. What is covered by half or more is OBJECT: the ray through its middle hits,
    or passes within half a pixel. A ray through any other pixel may hit or not, so it is NEITHER.
    """
    labels = np.full(coverage.shape, NEITHER, np.uint8)
    labels[coverage <= 0] = BACKGROUND
    labels[coverage >= _HALF] = OBJECT
    return labels


def choose_pixels(
    labels: NDArray[np.uint8],
    projection: NDArray[np.floating],
    edge: float,
    count: int,
    rng: np.random.Generator,
) -> Pixels:
    """A random choice of labelled pixels; of an image without object pixels none, because it says nothing.

    Args:
        labels: (H, W) of `labels_of`.
        projection: (3, 4) of the unit frame into fractions of the image.
        edge: of the cube that rays of the background have to meet.
        count: largest number of pixels of each label.
        rng: generator.
    """
    height, width = labels.shape
    flat = labels.ravel()
    hits, free = np.flatnonzero(flat == OBJECT), np.flatnonzero(flat == BACKGROUND)
    if len(hits) == 0:
        return Pixels(np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32), 0.0)
    total, available = len(hits), len(free)
    hits = rng.permutation(hits)[:count]
    # Twice as many candidates, because some rays miss the cube.
    free = rng.permutation(free)[: 2 * count]

    def middles(pixels: NDArray[np.intp]) -> NDArray[np.float32]:
        rows, columns = np.divmod(pixels, width)
        return np.stack([(columns + 0.5) / width, (rows + 0.5) / height], axis=1).astype(np.float32)

    places = middles(free)
    rays = rays_of(tensor_of(projection, dtype=torch.float32), torch.from_numpy(places))
    entry, leave = within_cube(*rays, edge)
    meeting = (leave > entry).numpy()
    met = available * meeting.mean() if len(meeting) else 0.0
    return Pixels(middles(hits), places[meeting][:count], float(total / (total + met)))
