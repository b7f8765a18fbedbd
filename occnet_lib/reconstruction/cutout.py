"""Segmentation of the object in an image with a transparent or plain background."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import ImageError
from occnet_lib.networks.framing import OBJECT_LEVEL

from .background import FAINT, SHARP, Background, estimate_background, rejection_reason
from .masks import Box, at_border, bounding_box, connected, eroded, grown, outermost, without_specks

MaskSource = Literal["auto", "alpha", "background"]
HINT = "give a PNG with a transparent background, or a photo of one object before a plain background"

_LEAST_FRACTION = 0.002  # of the image that the object must cover
PLAIN, WHITE = "plain background", "white background"
_FRAME = ", frame cropped"
_CORNER = 0.2  # of a rectangle's shorter edge, maximum radius of rounded corners
_HOLE = 0.02  # of a rectangle that shows background if it is only an outline
_FLAW = 0.002  # of a rectangle's pixels that may be missing elsewhere
_THIN_FRAME = 0.05  # of the image's edge, maximum width of a frame that is cropped without an error
_PALE = 0.02  # of the longer edge of the object's box that may be as light as the background


@dataclass(frozen=True)
class Cutout:
    """The segmented object of an image.

    Attributes:
        image: (H, W, 3) uint8 sRGB, the object on white; an empty border may be cropped.
        method: how the object was separated from its background, for a log line.
        unchanged: whether `image` has the input's own pixels, which show the object on white.
        touches_border: whether the object may extend beyond the image.
        mask: (H, W) bool, the object's pixels; None if not computed.
        box: rows and columns of the input that `image` has; None: all.
        photo_size: height and width of the input, where `image` may be smaller.
    """

    image: NDArray[np.uint8]
    method: str
    unchanged: bool = False
    touches_border: bool = False
    mask: NDArray[np.bool_] | None = None
    box: Box | None = None
    photo_size: tuple[int, ...] = ()


def cut_out(rgba: NDArray[np.uint8], mask: MaskSource = "auto") -> Cutout:
    """Put the object of an image on white.

    An alpha channel is used as the mask if part of the image is transparent and the opaque part is not a rectangle.
    Rounded corners, a window with its shadow, a few transparent pixels or a constant alpha do not make a mask; the
    background must then be plain. Soft shadows around opaque objects and on plain backgrounds are removed.

    Args:
        rgba: (H, W, 4) uint8 sRGB and opacity.
        mask: which of the two to use; auto decides.

    Raises:
        ImageError: there is no object, the background is neither transparent nor plain, or the object may be
            an image within the image.
    """
    colour, alpha = rgba[..., :3], rgba[..., 3]
    if mask == "background":
        return _from_background(colour, np.ones(alpha.shape, bool), PLAIN)
    if mask == "alpha":
        if alpha.min() >= 128:
            raise ImageError("has no transparent background", hint="take --mask background")
        return _from_alpha(colour, alpha, "alpha")
    opaque = without_specks(alpha >= 128)
    if alpha.min() >= 128:
        return _from_background(colour, np.ones(alpha.shape, bool), PLAIN)
    if not opaque.any():
        _require_object(opaque)
    cleaned, shadow = _without_alpha_shadow(colour, alpha)
    box = bounding_box(without_specks(cleaned >= 128))
    inside = (cleaned >= 128)[box]
    if not _is_rectangle(inside):
        return _from_alpha(colour, cleaned, "alpha, soft shadow removed" if shadow else "alpha")
    if shadow or _margins(box, alpha.shape).count(0) >= 3:
        # Antialiased corners are excluded.
        cutout = _from_background(colour[box], eroded(inside, 1), f"{PLAIN} of its opaque rectangle")
        return replace(cutout, box=_placed(box, cutout.box))
    if _shows_an_object(colour[box], eroded(inside, 1)):
        raise ImageError(
            "the opaque part is a rectangle with contents: an image, or a rectangular object",
            hint="--mask alpha takes the rectangle as the object, --mask background its contents",
        )
    return _from_alpha(colour, cleaned, "alpha")


def as_training_view(rgba: NDArray[np.uint8], view_size: int) -> Cutout | None:
    """An image that looks like a training view, unchanged; None for any other.

    Training views are square, of a fixed size and opaque, their border is exactly white, and some pixels are dark.

    Args:
        rgba: (H, W, 4) uint8 sRGB and opacity.
        view_size: edge of the training images in pixels.
    """
    colour = rgba[..., :3]
    if rgba.shape[:2] != (view_size, view_size) or rgba[..., 3].min() < 255:
        return None
    dark = colour.min(axis=-1) <= OBJECT_LEVEL
    if not dark.any() or outermost(colour.min(axis=-1) < 255).any():
        return None
    return Cutout(colour, WHITE, unchanged=True)


def darken_pale_object(cutout: Cutout) -> Cutout:
    """Darken an object whose box cannot be seen on white.

    Framing finds the object by its darkness (`networks.framing.object_box`); of a white mug it would find only the print.
    If the object's outer parts are lighter, all of it is darkened by one factor of at least 0.8, as by a shorter exposure.
    """
    if cutout.mask is None:
        return cutout
    lightness = cutout.image.min(axis=-1)
    dark = cutout.mask & (lightness <= OBJECT_LEVEL)
    whole = bounding_box(cutout.mask)
    if dark.any():
        missing = max(
            max(seen.start - side.start, side.stop - seen.stop)
            for side, seen in zip(whole, bounding_box(dark), strict=True)
        )
        if missing <= max(1.0, _PALE * max(side.stop - side.start for side in whole)):
            return cutout
    image = cutout.image.copy()
    factor = OBJECT_LEVEL / lightness[cutout.mask].max()
    image[cutout.mask] = (image[cutout.mask] * factor).astype(np.uint8)
    method = f"{cutout.method}, darkened because it is nearly white"
    return replace(cutout, image=image, unchanged=False, method=method)


def _from_alpha(colour: NDArray[np.uint8], alpha: NDArray[np.uint8], method: str) -> Cutout:
    object_ = alpha >= 128
    _require_object(object_)
    return Cutout(_on_white(colour, alpha), method, mask=without_specks(object_))


def _from_background(colour: NDArray[np.uint8], valid: NDArray[np.bool_], method: str) -> Cutout:
    """Segment an object on a plain background; only `valid` pixels exist."""
    try:
        background = estimate_background(colour, valid)
    except ImageError as error:
        raise ImageError(error.message, hint=HINT) from error
    object_ = _object(background, valid)
    _require_object(object_)
    if inner := _image_within(colour, valid, object_):
        if max(_margins(inner, object_.shape)) <= _THIN_FRAME * max(object_.shape) and _FRAME not in method:
            cutout = _from_background(colour[inner], valid[inner], method + _FRAME)
            return replace(cutout, box=_placed(inner, cutout.box))
        raise ImageError(
            "the object is a rectangle with contents: a framed image, or a rectangular object",
            hint="crop the frame, or give a PNG with a transparent background",
        )
    touches = at_border(object_)
    own = background.is_white and not background.shadow.any() and method == PLAIN
    if own and not (background.difference[~grown(object_)] >= SHARP).any():
        return Cutout(colour, WHITE, unchanged=True, touches_border=touches, mask=object_)
    if reason := rejection_reason(colour, background, object_):
        raise ImageError(reason, hint=HINT)
    notes = ", soft shadow removed" if background.shadow.any() else ""
    image = _before_white(colour, background, object_)
    return Cutout(image, method + notes, touches_border=touches, mask=object_)


def _object(background: Background, valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) pixels that do not show the background."""
    return without_specks((background.difference >= SHARP) & valid & ~background.shadow)


def _before_white(
    colour: NDArray[np.uint8], background: Background, object_: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """(H, W, 3) uint8, the image with its background replaced by white.

    At the object's edge a pixel is a F + (1 - a) B of the object's and the background's colour; the function
    adds (1 - a) (white - B), with a estimated from the differences of the pixel and the adjacent object from B.
    """
    from scipy import ndimage

    difference = background.difference
    contrast = np.maximum(ndimage.maximum_filter(np.where(object_, difference, 0.0), 5), SHARP)
    opacity = np.clip((difference - FAINT) / (contrast - FAINT), 0.0, 1.0)
    opacity[ndimage.binary_erosion(object_)] = 1.0
    white = colour + (1.0 - opacity[..., None]) * (255.0 - background.colour)
    white[~grown(object_) | background.shadow] = 255.0
    return white.clip(0.0, 255.0).round().astype(np.uint8)


def _without_alpha_shadow(
    colour: NDArray[np.uint8], alpha: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], bool]:
    """The opacity without dark, semi-transparent pixels away from opaque edges, and whether there were any."""
    from scipy import ndimage

    edge = ndimage.binary_dilation(alpha >= 250)
    shadow = (alpha > 0) & (alpha < 250) & (colour.max(axis=-1) < 64) & ~edge
    if not edge.any() or shadow.mean() < 0.001:
        return alpha, False
    return np.where(shadow, 0, alpha).astype(np.uint8), True


def _is_rectangle(mask: NDArray[np.bool_]) -> bool:
    """Whether a mask fills its bounding box except for the corners."""
    height, width = mask.shape
    corner = max(1, int(_CORNER * min(height, width)))
    rows, columns = np.arange(height), np.arange(width)
    at_rows = np.minimum(rows, height - 1 - rows) < corner
    at_columns = np.minimum(columns, width - 1 - columns) < corner
    corners = at_rows[:, None] & at_columns
    return bool(
        (~mask & ~corners).sum() <= _FLAW * mask.size and (~mask & corners).sum() <= 0.25 * corners.sum()
    )


def _image_within(
    colour: NDArray[np.uint8], valid: NDArray[np.bool_], object_: NDArray[np.bool_]
) -> Box | None:
    """The inside of a rectangular object that holds an image; None for other objects."""
    from scipy import ndimage

    box = bounding_box(object_)
    inside = object_[box]
    if not _is_rectangle(ndimage.binary_fill_holes(inside)):
        return None
    if inside.mean() > 1 - _HOLE:  # solid; the image's edge may be blended with its frame
        inner = _inner_box(box, 2)
        return inner if _shows_an_object(colour[inner], valid[inner]) else None
    # A frame whose inside shows background; a single hole may belong to the object.
    outline = connected(outermost(inside), inside)
    if (inside & ~outline).mean() < _LEAST_FRACTION:
        return None
    rows, columns = bounding_box(~outline)
    top, left = box[0].start, box[1].start
    return slice(top + rows.start, top + rows.stop), slice(left + columns.start, left + columns.stop)


def _shows_an_object(colour: NDArray[np.uint8], valid: NDArray[np.bool_]) -> bool:
    """Whether an object on a plain background is visible."""
    if not valid.size:
        return False
    try:
        return bool(_object(estimate_background(colour, valid), valid).mean() >= _LEAST_FRACTION)
    except ImageError:
        return False


def _inner_box(box: Box, margin: int) -> Box:
    rows, columns = (slice(side.start + margin, side.stop - margin) for side in box)
    return rows, columns


def _placed(outer: Box, inner: Box | None) -> Box:
    """A box within a box, in the coordinates of the outer one's image; None: the whole of it."""
    if inner is None:
        return outer
    rows, columns = (slice(a.start + b.start, a.start + b.stop) for a, b in zip(outer, inner, strict=True))
    return rows, columns


def _margins(box: Box, shape: tuple[int, ...]) -> list[int]:
    """Distances in pixels between a box and the four sides of the image."""
    return [
        pixels for side, edge in zip(box, shape, strict=True) for pixels in (side.start, edge - side.stop)
    ]


def _require_object(mask: NDArray[np.bool_]) -> None:
    if mask.mean() < _LEAST_FRACTION:
        raise ImageError(f"shows no object: {mask.mean():.2%} of the image is not background", hint=HINT)


def _on_white(colour: NDArray[np.uint8], opacity: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8, semi-transparent colours composited on white."""
    weight = opacity[..., None].astype(np.uint16)
    return ((colour * weight + 255 * (255 - weight) + 127) // 255).astype(np.uint8)
