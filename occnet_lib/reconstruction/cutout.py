"""Which pixels of a photo show the object: a transparent background, or a plain one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import ImageError
from occnet_lib.networks.framing import OBJECT_LEVEL

from .background import FAINT, SHARP, Background, connected, estimate_background, rejection_reason

MaskSource = Literal["auto", "alpha", "background"]
HINT = "give a PNG with a transparent background, or a photo of one object before a plain background"

_LEAST_FRACTION = 0.002  # of the image that the object must cover
_SPECK_FRACTION = 0.01  # parts smaller than this fraction of the largest are dirt
PLAIN, WHITE = "plain background", "white background"
_FRAME = ", frame cropped"
_CORNER = 0.2  # of a rectangle's shorter edge that its rounded corners may take
_HOLE = 0.02  # of a rectangle that shows the background where it is only an outline
_FLAW = 0.002  # of a rectangle that may be missing elsewhere
_THIN_FRAME = 0.05  # of the image's edge that a frame may take on each side to be cropped without a question
_PALE = 0.02  # of the longer edge of the object's box that may look like white background


Box = tuple[slice, slice]  # rows and columns


@dataclass(frozen=True)
class Cutout:
    """The object of a photo.

    Attributes:
        image: (H, W, 3) uint8 sRGB, the object on white; a border that shows nothing may be missing.
        method: how the object was separated from its background, for a log line.
        unchanged: whether `image` is the photo's own pixels, which showed the object on white already.
        touches_border: whether the object may go on beyond the photo.
        mask: (H, W) bool, where the object is; None where nobody looked.
    """

    image: NDArray[np.uint8]
    method: str
    unchanged: bool = False
    touches_border: bool = False
    mask: NDArray[np.bool_] | None = None


def cut_out(rgba: NDArray[np.uint8], mask: MaskSource = "auto") -> Cutout:
    """Put the object of a photo on white.

    An alpha channel is the mask if it looks like one: some of the photo is transparent, and what is opaque is
    not a rectangle. Rounded corners, a window with its shadow, a few transparent pixels or a constant alpha are
    those of a picture, whose background must be plain. A shadow with a soft edge, around an opaque or on a
    plain background, is removed.

    Args:
        rgba: (H, W, 4) uint8 sRGB and opacity.
        mask: which of the two to take; auto decides.

    Raises:
        ImageError: there is no object, the background is neither transparent nor plain, or the object may be
            a picture within the picture.
    """
    colour, alpha = rgba[..., :3], rgba[..., 3]
    if mask == "background":
        return _from_background(colour, np.ones(alpha.shape, bool), PLAIN)
    if mask == "alpha":
        if alpha.min() >= 128:
            raise ImageError("has no transparent background", hint="take --mask background")
        return _from_alpha(colour, alpha, "alpha")
    opaque = _without_specks(alpha >= 128)
    if alpha.min() >= 128:
        return _from_background(colour, np.ones(alpha.shape, bool), PLAIN)
    if not opaque.any():
        _require_object(opaque)
    cleaned, shadow = _without_alpha_shadow(colour, alpha)
    box = bounding_box(_without_specks(cleaned >= 128))
    inside = (cleaned >= 128)[box]
    if not _is_rectangle(inside):
        return _from_alpha(colour, cleaned, "alpha, soft shadow removed" if shadow else "alpha")
    if shadow or _margins(box, alpha.shape).count(0) >= 3:
        # Of antialiased corners nothing is taken.
        return _from_background(colour[box], _eroded(inside, 1), f"{PLAIN} of its opaque rectangle")
    if _shows_an_object(colour[box], _eroded(inside, 1)):
        raise ImageError(
            "what is opaque is a rectangle with something in it: a picture, or an object that is a rectangle",
            hint="--mask alpha takes the rectangle as the object, --mask background what is in it",
        )
    return _from_alpha(colour, cleaned, "alpha")


def as_training_view(rgba: NDArray[np.uint8], view_size: int) -> Cutout | None:
    """An image that looks like those which networks are trained with, untouched; None for any other.

    It is square, of their size and opaque, its border is exactly white, and something in it is dark.

    Args:
        rgba: (H, W, 4) uint8 sRGB and opacity.
        view_size: pixels along the edge of training images.
    """
    colour = rgba[..., :3]
    if rgba.shape[:2] != (view_size, view_size) or rgba[..., 3].min() < 255:
        return None
    dark = colour.min(axis=-1) <= OBJECT_LEVEL
    if not dark.any() or _outermost(colour.min(axis=-1) < 255).any():
        return None
    return Cutout(colour, WHITE, unchanged=True)


def darken_pale_object(cutout: Cutout) -> Cutout:
    """A cut-out whose object differs from white wherever its box ends.

    Framing looks for the object by its darkness (`networks.framing.object_box`), so that of a white mug it would see
    the print alone. Where parts of the object are lighter, all of it is darkened by one factor, of at least 0.8, as by a
    shorter exposure.
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
    method = f"{cutout.method}, darkened as it is nearly white"
    return replace(cutout, image=image, unchanged=False, method=method)


def _from_alpha(colour: NDArray[np.uint8], alpha: NDArray[np.uint8], method: str) -> Cutout:
    object_ = alpha >= 128
    _require_object(object_)
    return Cutout(_on_white(colour, alpha), method, mask=_without_specks(object_))


def _from_background(colour: NDArray[np.uint8], valid: NDArray[np.bool_], method: str) -> Cutout:
    """The object before a plain background, of which only `valid` pixels exist."""
    try:
        background = estimate_background(colour, valid)
    except ImageError as error:
        raise ImageError(error.message, hint=HINT) from error
    object_ = _object(background, valid)
    _require_object(object_)
    if inner := _picture_within(colour, valid, object_):
        if max(_margins(inner, object_.shape)) <= _THIN_FRAME * max(object_.shape) and _FRAME not in method:
            return _from_background(colour[inner], valid[inner], method + _FRAME)
        raise ImageError(
            "what differs from its border is a rectangle with something in it: a framed picture, or an object "
            "that is a rectangle",
            hint="crop the frame, or give a PNG whose background is transparent",
        )
    touches = _at_border(object_)
    own = background.is_white and not background.shadow.any() and method == PLAIN
    if own and not (background.difference[~_grown(object_)] >= SHARP).any():
        return Cutout(colour, WHITE, unchanged=True, touches_border=touches, mask=object_)
    if reason := rejection_reason(colour, background, object_):
        raise ImageError(reason, hint=HINT)
    notes = ", soft shadow removed" if background.shadow.any() else ""
    image = _before_white(colour, background, object_)
    return Cutout(image, method + notes, touches_border=touches, mask=object_)


def bounding_box(mask: NDArray[np.bool_]) -> Box:
    """Rows and columns of the least box around a mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _object(background: Background, valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W) where a photo does not show its background."""
    return _without_specks((background.difference >= SHARP) & valid & ~background.shadow)


def _before_white(
    colour: NDArray[np.uint8], background: Background, object_: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """(H, W, 3) uint8, a photo with white in place of its background.

    At the object's edge a pixel is a F + (1 - a) B of the object's and the background's colour; what is added is
    (1 - a) (white - B), with a from how much the pixel and the object next to it differ from B.
    """
    from scipy import ndimage

    difference = background.difference
    contrast = np.maximum(ndimage.maximum_filter(np.where(object_, difference, 0.0), 5), SHARP)
    opacity = np.clip((difference - FAINT) / (contrast - FAINT), 0.0, 1.0)
    opacity[ndimage.binary_erosion(object_)] = 1.0
    white = colour + (1.0 - opacity[..., None]) * (255.0 - background.colour)
    white[~_grown(object_) | background.shadow] = 255.0
    return white.clip(0.0, 255.0).round().astype(np.uint8)


def _without_specks(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Without small parts; those within the box of the large ones stay, as spokes seen between others."""
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


def _without_alpha_shadow(
    colour: NDArray[np.uint8], alpha: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], bool]:
    """The opacity without what is dark, half transparent and not the edge of what is opaque."""
    from scipy import ndimage

    edge = ndimage.binary_dilation(alpha >= 250)
    shadow = (alpha > 0) & (alpha < 250) & (colour.max(axis=-1) < 64) & ~edge
    if not edge.any() or shadow.mean() < 0.001:
        return alpha, False
    return np.where(shadow, 0, alpha).astype(np.uint8), True


def _is_rectangle(mask: NDArray[np.bool_]) -> bool:
    """Whether a mask fills its own box but for its corners."""
    height, width = mask.shape
    corner = max(1, int(_CORNER * min(height, width)))
    rows, columns = np.arange(height), np.arange(width)
    at_rows = np.minimum(rows, height - 1 - rows) < corner
    at_columns = np.minimum(columns, width - 1 - columns) < corner
    corners = at_rows[:, None] & at_columns
    return bool(
        (~mask & ~corners).sum() <= _FLAW * mask.size and (~mask & corners).sum() <= 0.25 * corners.sum()
    )


def _picture_within(
    colour: NDArray[np.uint8], valid: NDArray[np.bool_], object_: NDArray[np.bool_]
) -> Box | None:
    """The inside of a rectangle before the background that holds a picture, if that is what the object is."""
    from scipy import ndimage

    box = bounding_box(object_)
    inside = object_[box]
    if not _is_rectangle(ndimage.binary_fill_holes(inside)):
        return None
    if inside.mean() > 1 - _HOLE:  # solid; the edge of a picture may be mixed with its frame
        inner = _inner_box(box, 2)
        return inner if _shows_an_object(colour[inner], valid[inner]) else None
    # A frame on a background that goes on within it; a hole alone may be the object's own.
    outline = connected(_outermost(inside), inside)
    if (inside & ~outline).mean() < _LEAST_FRACTION:
        return None
    rows, columns = bounding_box(~outline)
    top, left = box[0].start, box[1].start
    return slice(top + rows.start, top + rows.stop), slice(left + columns.start, left + columns.stop)


def _shows_an_object(colour: NDArray[np.uint8], valid: NDArray[np.bool_]) -> bool:
    """Whether something stands on a plain background here."""
    try:
        return bool(_object(estimate_background(colour, valid), valid).mean() >= _LEAST_FRACTION)
    except ImageError:
        return False


def _inner_box(box: Box, margin: int) -> Box:
    rows, columns = (slice(side.start + margin, side.stop - margin) for side in box)
    return rows, columns


def _margins(box: Box, shape: tuple[int, ...]) -> list[int]:
    """Pixels between a box and the four sides of the image."""
    return [
        pixels for side, edge in zip(box, shape, strict=True) for pixels in (side.start, edge - side.stop)
    ]


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy import ndimage

    grown: NDArray[np.bool_] = ndimage.binary_dilation(mask, iterations=2)
    return grown


def _outermost(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels of a mask at the image's sides."""
    outermost = mask.copy()
    outermost[1:-1, 1:-1] = False
    return outermost


def _at_border(mask: NDArray[np.bool_]) -> bool:
    return bool(_outermost(mask).any())


def _eroded(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    from scipy import ndimage

    eroded: NDArray[np.bool_] = ndimage.binary_erosion(mask, iterations=pixels, border_value=1)
    return eroded


def _require_object(mask: NDArray[np.bool_]) -> None:
    if mask.mean() < _LEAST_FRACTION:
        raise ImageError(f"shows no object: {mask.mean():.2%} of it is not background", hint=HINT)


def _on_white(colour: NDArray[np.uint8], opacity: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 of colours of some opacity before white."""
    weight = opacity[..., None].astype(np.uint16)
    return ((colour * weight + 255 * (255 - weight) + 127) // 255).astype(np.uint8)
