"""The mask of an object over its photo, and corrections of it by brush strokes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from occnet_lib.reconstruction.cutout import Cutout

ADD, REMOVE = "#00e05a", "#ff1f3d"
"""Colours of the brush for pixels of the object and of the background."""

_OUTLINE = (255, 0, 200)
_EDGE = 768  # longer edge, in pixels, of the image in the editor: brushes have one size for all photos
_TILE = 16  # edge of the chequerboard's squares, in these pixels
_PAINTED = 64  # opacity from which a pixel of a stroke counts
_LEAST_COVERAGE = 26  # of 255, of a pixel of the photo, so that thin lines stay closed


def mask_of(cutout: Cutout, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W) pixels of the object in the image that was cut out.

    Args:
        cutout: of `load_photo`; without a mask (a training view) the object is what is not white.
        shape: height and width of the image.
    """
    mask = np.zeros(shape, bool)
    rows, columns = cutout.box or (slice(None), slice(None))
    part = cutout.mask if cutout.mask is not None else cutout.image.min(axis=-1) < 255
    mask[rows, columns] = part
    return mask


def overlay(rgba: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The image to paint on: background faint on a chequerboard, the mask's outline; without a mask the photo itself.

    Args:
        rgba: (H, W, 4) uint8 sRGB and opacity.
        mask: (H, W) pixels of the object.

    Returns:
        (h, w, 3) uint8, the longer edge 768 pixels.
    """
    from scipy import ndimage

    scale = _EDGE / max(mask.shape)
    width, height = (max(1, round(edge * scale)) for edge in mask.shape[::-1])
    white = Image.new("RGBA", mask.shape[::-1], (255, 255, 255, 255))
    white.alpha_composite(Image.fromarray(rgba))
    image = np.asarray(white.convert("RGB").resize((width, height), Image.Resampling.BICUBIC))
    if not mask.any():
        return image
    large = np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
    y, x = np.mgrid[:height, :width] // _TILE
    board = np.where((x + y) % 2 == 0, 205.0, 235.0)[..., None]
    shown = np.where(large[..., None], image, 0.3 * image + 0.7 * board)
    shown[ndimage.binary_dilation(large, iterations=2) & ~large] = _OUTLINE
    return shown.round().astype(np.uint8)


def strokes(
    layers: Sequence[NDArray[np.uint8]], shape: tuple[int, int]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Pixels (H, W) painted as object, and as background.

    Args:
        layers: (h, w, 4) uint8 each, what was painted over the image; of another size it is scaled.
        shape: height and width of the image.
    """
    added, removed = np.zeros(shape, bool), np.zeros(shape, bool)
    for layer in layers:
        painted = layer[..., 3] >= _PAINTED
        is_green = layer[..., 1] > layer[..., 0]
        green, red = (_coverage(painted & part, shape) for part in (is_green, ~is_green))
        new_added = (green >= _LEAST_COVERAGE) & (green >= red)
        new_removed = (red >= _LEAST_COVERAGE) & (red > green)
        added = (added & ~new_removed) | new_added
        removed = (removed & ~new_added) | new_removed
    return added, removed


def _coverage(mask: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W) how much of each pixel of another size a mask covers, 0 to 255."""
    image = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(image.resize(shape[::-1], Image.Resampling.BOX))


def corrected(
    mask: NDArray[np.bool_], added: NDArray[np.bool_], removed: NDArray[np.bool_], fill: bool = True
) -> NDArray[np.bool_]:
    """The mask with the strokes.

    Args:
        mask: (H, W) pixels of the object.
        added, removed: (H, W) of `strokes`.
        fill: whether a closed line counts for what it encloses; lines of both colours together enclose a region for the
            colour that has more of its outer border.
    """
    from scipy import ndimage

    if fill:
        lines = added | removed
        parts, _ = ndimage.label(ndimage.binary_fill_holes(lines) & ~lines)
        mask = mask.copy()
        for number, box in enumerate(ndimage.find_objects(parts), 1):
            window = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in box)
            part = parts[window] == number
            whole = ndimage.binary_fill_holes(part)
            border = ndimage.binary_dilation(whole, np.ones((3, 3), bool)) & ~whole
            mask[window][part] = (border & added[window]).sum() >= (border & removed[window]).sum()
    result: NDArray[np.bool_] = (mask | added) & ~removed
    return result


def with_mask(
    rgba: NDArray[np.uint8], before: NDArray[np.bool_], mask: NDArray[np.bool_], soft: bool
) -> NDArray[np.uint8]:
    """(H, W, 4) photo whose opacity is the mask.

    Args:
        rgba: (H, W, 4) uint8 sRGB and opacity.
        before: (H, W) mask of the photo itself.
        mask: (H, W) the corrected one.
        soft: whether the photo's opacity is its mask, and stays where the mask has not changed.
    """
    hard = np.where(mask, np.uint8(255), np.uint8(0))
    alpha = np.where(mask == before, rgba[..., 3], hard) if soft else hard
    return np.dstack([rgba[..., :3], alpha])
