"""The plain background of an image: its colour at every pixel, and soft shadows on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import ImageError

from .masks import connected

FAINT, SHARP = 12.0, 30.0
"""Largest channel difference from the background, of 255: below the first a pixel shows the background, above the
second the object."""

_PLAIN_FRACTION = 0.9  # of the border that must show the background
_WHITE_FRACTION = 0.75  # of the border that is exactly 255 if the background is exact white
_MANY_CROSSINGS = 4  # components of the border that show something else: lines or clutter, not one object
_SAMPLES = 8000  # pixels used to fit the colour
_LIGHT = 40.0  # background colour below which shadows are not visible
_SAME_HUE = 0.08  # maximum channel spread of a shadow's brightness relative to the background
_DEEPEST = 0.15  # minimum relative brightness of a shadow
_GENTLE, _GENTLE_RATE = 4.0, 0.8  # see `_soft`
_SMALL = 200  # edge in pixels of images on exact white below which shadows are not detected
_LEAST_SHADOW = 0.001  # of the image
# Fractions above which a cut-out is rejected; correct ones had at most 0.22, 0.25 and 0.27, wrong ones more.
_MOST_SEAM, _MOST_VAGUE, _MOST_BLURRED = 0.25, 0.5, 0.4


@dataclass(frozen=True)
class Background:
    """The background of an image without the object.

    Attributes:
        colour: (H, W, 3) float32, sRGB of 255; in a shadow, that of the shadow.
        difference: (H, W) float32, largest channel difference between the image and `colour`.
        shadow: (H, W), pixels of soft shadows.
        is_white: whether nearly all of the border is exactly white.
    """

    colour: NDArray[np.float32]
    difference: NDArray[np.float32]
    shadow: NDArray[np.bool_]
    is_white: bool


def estimate_background(colour: NDArray[np.uint8], valid: NDArray[np.bool_]) -> Background:
    """Estimate a plain background from the border of an image.

    The colour may vary as a polynomial of the position (a gradient, a vignette): one of degree 2 is fitted robustly to the
    border, then one of degree 4 to all connected pixels that match it.

    Args:
        colour: (H, W, 3) uint8 sRGB.
        valid: (H, W), the pixels that exist.

    Raises:
        ImageError: the border does not show one smoothly varying colour.
    """
    from scipy import ndimage

    pixels = colour.astype(np.float32)
    border = valid & ~ndimage.binary_erosion(valid, iterations=2)
    is_white = bool((colour[border] == 255).all(axis=-1).mean() >= _WHITE_FRACTION)
    model = np.full_like(pixels, 255.0) if is_white else _fit(pixels, border, degree=2, robust=True)
    unlike = border & (_difference(pixels, model) >= SHARP)
    if not is_white and _is_cluttered(unlike, border):
        raise ImageError("the background is not plain, or the object touches the border")
    smooth = _smoothed(pixels)
    around = connected(border & ~unlike, valid & (_difference(smooth, model) < FAINT))
    for _ in range(2):
        model = model if is_white else _fit(pixels, around, degree=4)
        around = connected(border & ~unlike, valid & (_difference(smooth, model) < FAINT))
    shadow = np.zeros_like(valid)
    # In a small image on exact white (a rendering) the edge of a pale face is as wide as a penumbra.
    if not is_white or max(valid.shape) > _SMALL:
        shadow = _shadow(smooth, model, around, valid)
    if shadow.any():
        model = _with_shadow(model, smooth, shadow, around)
    return Background(model, _difference(pixels, model), shadow, is_white)


def _is_cluttered(unlike: NDArray[np.bool_], border: NDArray[np.bool_]) -> bool:
    """Whether too much of the border, or too many components of it, differ from its colour."""
    from scipy import ndimage

    pieces = np.bincount(ndimage.label(unlike, np.ones((3, 3)))[0].ravel())[1:]
    return bool(unlike.sum() > (1 - _PLAIN_FRACTION) * border.sum() or (pieces >= 3).sum() >= _MANY_CROSSINGS)


def rejection_reason(colour: NDArray[np.uint8], background: Background, object_: NDArray[np.bool_]) -> str:
    """Why a cut-out is probably wrong; empty if it is plausible.

    Args:
        colour: (H, W, 3) uint8 sRGB.
        background: of `estimate_background`.
        object_: (H, W), not empty.
    """
    from scipy import ndimage

    reach = _reach(object_)
    smooth = _smoothed(colour.astype(np.float32))
    if background.shadow.any():
        # If the shadow region has spread into the object, only thin lines are left between the two.
        around = ~object_ & ~background.shadow
        seam = object_ & _near(around, reach) & _near(background.shadow, reach)
        if seam.sum() > _MOST_SEAM * object_.sum():
            return "a shadow cannot be distinguished from the object"
    differs = (_difference(smooth, background.colour) >= FAINT) & ~background.shadow
    vague = differs & ~ndimage.binary_dilation(object_, iterations=4)
    if vague.sum() > _MOST_VAGUE * object_.sum():
        return "the object hardly differs from the background, or the background is not plain"
    outline = object_ & ~ndimage.binary_erosion(object_)
    window = round(0.06 * max(object_.shape)) | 1
    contrast = ndimage.maximum_filter(np.where(object_, background.difference, 0.0), window)
    gradient = np.max([_gradient(smooth[..., k]) for k in range(3)], axis=0)
    blurred = outline & (contrast > 2.5 * gradient)  # edges wider than 2.5 % of the image's
    if blurred.sum() > _MOST_BLURRED * outline.sum():
        return "the outline is blurred: a shadow, or an object out of focus"
    return ""


def _smoothed(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W, 3) with less noise."""
    from scipy import ndimage

    sigma = _sigma(pixels[..., 0])
    smooth: NDArray[np.float32] = ndimage.gaussian_filter(pixels, (sigma, sigma, 0.0))
    return smooth


def _sigma(plane: NDArray[np.generic]) -> float:
    """Standard deviation, in pixels, of the smoothing."""
    return max(0.5, 0.003 * max(plane.shape))


def _reach(plane: NDArray[np.generic]) -> int:
    """Distance in pixels over which smoothing spreads an edge."""
    return int(np.ceil(4 * _sigma(plane))) + 1


def _near(mask: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Pixels at most `reach` away from a mask."""
    from scipy import ndimage

    near: NDArray[np.bool_] = ndimage.distance_transform_edt(~mask) <= reach
    return near


def _gradient(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Gradient magnitude, in levels of 255 per hundredth of the image's longer edge."""
    from scipy import ndimage

    gradient: NDArray[np.float32] = np.hypot(ndimage.sobel(plane, axis=0), ndimage.sobel(plane, axis=1))
    return gradient * (max(plane.shape) / 800.0)  # Sobel's weights add up to 8


def _difference(pixels: NDArray[np.float32], model: NDArray[np.float32]) -> NDArray[np.float32]:
    difference: NDArray[np.float32] = np.abs(pixels - model).max(axis=-1)
    return difference


def _fit(
    pixels: NDArray[np.float32], where: NDArray[np.bool_], degree: int, robust: bool = False
) -> NDArray[np.float32]:
    """(H, W, 3) polynomial of the position, fitted to the given pixels; `robust`: by least absolute deviations."""
    height, width = where.shape
    y, x = np.linspace(-1.0, 1.0, height), np.linspace(-1.0, 1.0, width)
    powers = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
    rows, columns = np.nonzero(where)
    step = max(1, len(rows) // _SAMPLES)
    rows, columns = rows[::step], columns[::step]
    basis = np.stack([y[rows] ** i * x[columns] ** j for i, j in powers], axis=1)
    values = pixels[rows, columns].astype(np.float64)
    weights = np.ones(len(rows))
    for _ in range(20 if robust else 1):
        root = np.sqrt(weights)[:, None]
        solution = np.linalg.lstsq(basis * root, values * root, rcond=None)[0]
        weights = 1.0 / np.maximum(np.abs(values - basis @ solution).max(axis=1), 1.0)
    coefficients = np.zeros((degree + 1, degree + 1, 3))
    for (i, j), row in zip(powers, solution, strict=True):
        coefficients[i, j] = row
    y_powers, x_powers = np.vander(y, degree + 1, increasing=True), np.vander(x, degree + 1, increasing=True)
    planes = [y_powers @ coefficients[..., k] @ x_powers.T for k in range(3)]
    return np.stack(planes, axis=-1).clip(0.0, 255.0).astype(np.float32)


def _shadow(
    smooth: NDArray[np.float32],
    model: NDArray[np.float32],
    around: NDArray[np.bool_],
    valid: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Where the background is darker, of the same hue, and joins the rest without an edge."""
    if np.median(model[around].min(axis=-1)) < _LIGHT:
        return np.zeros_like(around)
    relative = smooth / np.maximum(model, 1.0)
    same_hue = relative.max(axis=-1) - relative.min(axis=-1) < _SAME_HUE
    shade = relative.mean(axis=-1)
    candidates = valid & same_hue & (shade > _DEEPEST) & (shade < 1.02) & _soft(smooth, model, around)
    shadow: NDArray[np.bool_] = connected(around, around | candidates) & ~around
    return shadow if shadow.mean() >= _LEAST_SHADOW else np.zeros_like(shadow)


def _soft(
    smooth: NDArray[np.float32], model: NDArray[np.float32], around: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Where brightness changes slowly enough for a penumbra.

    One of contrast C and width w (10 % to 90 %, in per cent of the image's edge) has its largest gradient, about
    C / w, where it is C / 2 dark. With w = 4 that is half of the darkness there; at the edge of an object in focus
    w is less than 1.
    """
    brightness = smooth.mean(axis=-1)
    darkness = np.maximum(model.mean(axis=-1) - brightness, 0.0)
    steps = _largest_step(brightness) * (max(brightness.shape) / 100.0)
    noise = float(np.median(steps[around]))
    soft: NDArray[np.bool_] = steps <= _GENTLE + 4.0 * noise + _GENTLE_RATE * darkness
    return soft


def _largest_step(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """The largest difference between a pixel and its four neighbours."""
    down, across = np.abs(np.diff(plane, axis=0)), np.abs(np.diff(plane, axis=1))
    sides = [np.pad(down, (side, (0, 0))) for side in ((1, 0), (0, 1))]
    sides += [np.pad(across, ((0, 0), side)) for side in ((1, 0), (0, 1))]
    return np.maximum.reduce(sides)


def _with_shadow(
    model: NDArray[np.float32],
    smooth: NDArray[np.float32],
    shadow: NDArray[np.bool_],
    around: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """The background's colour with the shadow, extended to the object's edge."""
    from scipy import ndimage

    shaded = np.where(shadow[..., None], smooth, model)
    distance, nearest = ndimage.distance_transform_edt(~shadow, return_indices=True)
    rim = (distance <= _reach(shadow)) & ~shadow & ~around
    shaded[rim] = smooth[tuple(axis[rim] for axis in nearest)]
    return shaded
