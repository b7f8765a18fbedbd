"""A user's image as the networks expect it: the object alone, on white, of the usual size."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from occnet_lib.errors import ImageError
from occnet_lib.networks.framing import object_box

from .cutout import Cutout, MaskSource, as_training_view, cut_out, darken_pale_object
from .image_file import read_image

if TYPE_CHECKING:
    from occnet_lib.geometry.cameras import Camera

logger = logging.getLogger(__name__)

AS_IS = "the image as it is"
OBJECT_FRACTION = 0.64
"""Longer edge of the object's bounding box as a fraction of the image's edge: the median over 1,152 views
of 48 shapes under the cameras of Choy et al. (5 % to 95 %: 0.45 to 0.85)."""

# Of a training view's edge: object's size, distance of its middle.
_VIEW_FRACTIONS, _VIEW_OFFSET = (0.4, 0.9), 0.12


def load_photo(path: str | Path, mask: MaskSource = "auto", view_size: int = 0) -> Cutout:
    """Read a photo and put its object on white (`cutout.cut_out`); logs the method and warns if the object is cut off.

    Args:
        path: any image that Pillow reads, HEIC with pillow-heif; its EXIF orientation is followed.
        mask: where the object is taken from; with auto, what looks like a training view stays as it is.
        view_size: pixels along the edge of training views; 0: none is known.

    Raises:
        ImageError: the file is not an image, shows no object, or its background is neither transparent nor plain.
    """
    try:
        rgba = read_image(path)
        view = as_training_view(rgba, view_size) if mask == "auto" else None
        cutout = replace(view or darken_pale_object(cut_out(rgba, mask)), photo_size=rgba.shape[:2])
    except ImageError as error:
        raise ImageError(error.message, path=error.path or path, hint=error.hint) from error
    logger.info("%s: object from %s", path, cutout.method)
    if cutout.touches_border:
        logger.warning("%s: the object touches the border: what is beyond it is missing", path)
    return cutout


class FramedPhoto(NamedTuple):
    """A photo as a network is given it, and where it is in the photo.

    Attributes:
        image: (H, W, 3) uint8 sRGB.
        steps: what was done, for a log line.
        window: left, top, width and height of the part of the upright photo that `image` shows, as fractions of the
            photo's width and height.
    """

    image: NDArray[np.uint8]
    steps: str
    window: tuple[float, float, float, float]

    def projection(self, camera: Camera) -> NDArray[np.float64]:
        """(3, 4) projection of the unit frame into `image`, by the camera of the photo."""
        return self.into_image(camera.projection)

    def into_image(self, projection: NDArray[np.float64]) -> NDArray[np.float64]:
        """(3, 4) projection into `image` of one into the photo."""
        left, top, width, height = self.window
        into = np.array([[1 / width, 0, -left / width], [0, 1 / height, -top / height], [0, 0, 1]])
        return np.asarray(into @ projection)

    def camera(self, projection: NDArray[np.float64]) -> Camera:
        """The camera of the photo by the projection (3, 4) of the unit frame into `image`."""
        from occnet_lib.geometry.cameras import camera_of

        left, top, width, height = self.window
        back = np.array([[width, 0, left], [0, height, top], [0, 0, 1]])
        shown = self.image.shape
        return camera_of(back @ projection, shown[1] / width, shown[0] / height)


def framed_photo(
    photo: str | Path, framing: str, view_size: int, mask: MaskSource = "auto", as_is: bool = False
) -> FramedPhoto:
    """A photo as the image that a network is given, which then frames it as all images (`Reconstructor.seen`).

    A network of framing `object` looks for the object itself. One of `camera` was trained with whole images, in
    which objects stand where the cameras put them: a square image on white that is of the training views' size,
    or whose object is about as large and as near to the middle as theirs, is taken as it is; in any other photo
    the object is put in the middle at their median size (`centred`).

    Args:
        photo: file.
        framing: of the network, object or camera.
        view_size: pixels along the edge of the images it was trained with.
        mask: where the object is taken from.
        as_is: neither cut the object out nor move it; transparency becomes white.

    Raises:
        ImageError: as `load_photo`.
    """
    if not as_is:
        return framed(load_photo(photo, mask, view_size), framing, view_size)
    rgba = read_image(photo)
    (height, width, _), edge = rgba.shape, max(rgba.shape[:2])
    left, top = -((edge - width) // 2), -((edge - height) // 2)
    return FramedPhoto(_square(rgba), AS_IS, (left / width, top / height, edge / width, edge / height))


def framed(cutout: Cutout, framing: str, view_size: int) -> FramedPhoto:
    """A cut-out object as `framed_photo` returns it."""
    rows, columns = cutout.box or (slice(0, 0), slice(0, 0))
    left, top, image = columns.start, rows.start, cutout.image
    down, across, _ = image.shape
    height, width = cutout.photo_size or (down, across)
    if framing == "object":
        done = "framed by its box"
    elif _like_a_view(cutout, view_size):
        done = "framed as the image is, which is like a training view"
    else:
        done = f"put in the middle at {OBJECT_FRACTION:g} of the edge"
        x, y, across = _centred_square(image)
        left, top, down, image = left + x, top + y, across, centred(image, view_size)
    steps = f"object from {cutout.method}; {done}"
    return FramedPhoto(image, steps, (left / width, top / height, across / width, down / height))


def _square(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(E, E, 3) of (H, W, 4), on white and with white beside it."""
    height, width, _ = rgba.shape
    white = Image.new("RGBA", (max(height, width),) * 2, (255, 255, 255, 255))
    white.alpha_composite(
        Image.fromarray(rgba), ((max(height, width) - width) // 2, (max(height, width) - height) // 2)
    )
    return np.array(white.convert("RGB"))


def _like_a_view(cutout: Cutout, view_size: int) -> bool:
    """Whether a cut-out image looks like a training view of a network with framing `camera`."""
    height, width, _ = cutout.image.shape
    if height != width:
        return False
    if cutout.unchanged and width == view_size:
        return True
    left, top, right, bottom = object_box(cutout.image)
    off = max(abs(left + right - width), abs(top + bottom - height)) / 2
    low, high = _VIEW_FRACTIONS
    return low <= max(right - left, bottom - top) / width <= high and off <= _VIEW_OFFSET * width


def centred(image: NDArray[np.uint8], size: int = 137) -> NDArray[np.uint8]:
    """The object in the middle of a white square, with the margin that the training views have.

    Args:
        image: (H, W, 3) uint8 sRGB, an object on white.
        size: pixels along the edge of the result (`views.image_size` of the training data).

    Returns:
        (size, size, 3) uint8 sRGB.
    """
    left, top, edge = _centred_square(image)
    square = Image.new("RGB", (edge, edge), (255, 255, 255))
    square.paste(Image.fromarray(image), (-left, -top))
    method = Image.Resampling.BOX if edge >= size else Image.Resampling.BICUBIC
    return np.array(square.resize((size, size), method))


def _centred_square(image: NDArray[np.uint8]) -> tuple[int, int, int]:
    """Left, top and edge in pixels of the square with the object in its middle."""
    box = object_box(image)
    low, high = np.array(box[:2]), np.array(box[2:])
    edge = float((high - low).max()) / OBJECT_FRACTION
    corner = (low + high) / 2.0 - edge / 2.0
    return round(corner[0]), round(corner[1]), int(np.ceil(edge))
