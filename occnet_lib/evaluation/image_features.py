"""Image features without a network: silhouette and darkness."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

EDGE = 32
_WHITE = 250  # a pixel with a channel below this shows the object


def image_features(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(B, 2 · 32²) uint8: silhouette and darkness of every image.

    The object is cropped to the square around its silhouette, since the cameras' distance varies; both
    layers are averaged over areas. Grey values are darkness, so that the background is 0 in both.

    Args:
        images: (B, H, W, 3) uint8 sRGB on white.
    """
    return np.array([_features(image) for image in images], dtype=np.uint8).reshape(-1, 2 * EDGE**2)


def _features(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    silhouette = image.min(axis=2) < _WHITE
    if not silhouette.any():
        return np.zeros(2 * EDGE**2, np.uint8)
    rows, columns = np.flatnonzero(silhouette.any(axis=1)), np.flatnonzero(silhouette.any(axis=0))
    low = np.array([columns[0], rows[0]], dtype=float)
    high = np.array([columns[-1], rows[-1]], dtype=float) + 1.0
    centre, half = (low + high) / 2.0, (high - low).max() / 2.0
    box = tuple(np.round(np.concatenate([centre - half, centre + half])).astype(int).tolist())
    darkness = 255 - image.astype(np.uint16).sum(axis=2) // 3
    layers = []
    for layer in (silhouette * 255, np.where(silhouette, darkness, 0)):
        square = Image.fromarray(layer.astype(np.uint8)).crop(box)  # beyond the border Pillow gives 0
        layers.append(np.asarray(square.resize((EDGE,) * 2, Image.Resampling.BOX)))
    return np.stack(layers).reshape(-1)
