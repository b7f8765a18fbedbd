"""Operations on boolean masks of images, (H, W)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Box = tuple[slice, slice]
"""Rows and columns."""

_SPECK_FRACTION = 0.01  # parts smaller than this fraction of the largest are specks


def bounding_box(mask: NDArray[np.bool_]) -> Box:
    """Rows and columns of the bounding box of a mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def without_specks(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask without small components, except those within the bounding box of the large ones (e.g. spokes)."""
    from scipy import ndimage

    parts, count = ndimage.label(mask, np.ones((3, 3)))
    if count < 2:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    large = sizes >= max(4, _SPECK_FRACTION * sizes.max())
    near = np.zeros_like(mask)
    near[bounding_box(large[parts])] = True
    kept: NDArray[np.bool_] = large[parts] | (mask & near & (sizes >= 4)[parts])
    return kept


def grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask dilated by two pixels."""
    from scipy import ndimage

    dilated: NDArray[np.bool_] = ndimage.binary_dilation(mask, iterations=2)
    return dilated


def outermost(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask's pixels on the image's border."""
    border = mask.copy()
    border[1:-1, 1:-1] = False
    return border


def at_border(mask: NDArray[np.bool_]) -> bool:
    """Whether the mask reaches the image's border."""
    return bool(outermost(mask).any())


def eroded(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """The mask eroded by a number of pixels, but not from the image's border."""
    from scipy import ndimage

    core: NDArray[np.bool_] = ndimage.binary_erosion(mask, iterations=pixels, border_value=1)
    return core


def connected(seeds: NDArray[np.bool_], region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The connected components of a region that contain a seed."""
    from scipy import ndimage

    parts, count = ndimage.label(region)
    kept = np.zeros(count + 1, bool)
    kept[parts[seeds]] = True
    kept[0] = False
    whole: NDArray[np.bool_] = kept[parts]
    return whole
