"""Image files to pixels: orientation, HEIC, 16-bit grey, and large images in little memory."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from occnet_lib.errors import ImageError
from occnet_lib.storage.meshes.suffixes import known_suffix

WORKING_EDGE = 1024
"""Pixels along the longer edge to which larger images are reduced as they are read: an object that covers a
quarter of such an image still has more pixels than the encoder sees of it."""

_MOST_PIXELS = 64_000_000
_FEWEST_PIXELS = 8  # along the shorter edge
_ORIENTATION = 0x0112  # EXIF tag
_QUARTER_TURNS = {6: 1, 3: 2, 8: 3}  # clockwise, by its value
_MIRRORED, _SIDEWAYS = (2, 4, 5, 7), (5, 6, 7, 8)
_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Read an image, upright and reduced to at most `WORKING_EDGE`.

    Args:
        path: any file that Pillow reads; HEIC with the package pillow-heif. Of several frames the first is read.

    Returns:
        (H, W, 4) uint8 sRGB and opacity, which is 255 where the file has none.

    Raises:
        ImageError: the file is missing, broken, too large or not an image.
    """
    path = Path(path)
    try:
        _prepare_heif(path)
        with Image.open(path) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise ImageError(
                    f"has {image.width} x {image.height} pixels, more than {_MOST_PIXELS:,}",
                    path=path,
                    hint="save it smaller",
                )
            if min(image.size) < _FEWEST_PIXELS:
                text = f"has {image.width} x {image.height} pixels, too few to show an object"
                raise ImageError(text, path=path)
            return _pixels(image)
    except _ERRORS as error:
        raise _unreadable(path, error) from error


def image_size(path: str | Path) -> tuple[int, int]:
    """Width and height in pixels of an image file, upright as `read_image` reads it but not reduced; raises as it does."""
    (width, height), orientation = _size_and_orientation(path)
    return (height, width) if orientation in _SIDEWAYS else (width, height)


def stored_size(path: str | Path) -> tuple[int, int]:
    """Width and height of an image file as its pixels are stored, not turned; raises as `read_image`."""
    return _size_and_orientation(path)[0]


def quarter_turns(path: str | Path) -> int | None:
    """By how many quarter turns clockwise an image file's EXIF orientation turns its pixels, 0 to 3; None: it mirrors them.

    0 for HEIC, whose reader turns the pixels without a record of it. Raises as `read_image`.
    """
    orientation = _size_and_orientation(path)[1]
    return None if orientation in _MIRRORED else _QUARTER_TURNS.get(orientation, 0)


def _size_and_orientation(path: str | Path) -> tuple[tuple[int, int], int]:
    """Width and height as stored, and the EXIF orientation."""
    path = Path(path)
    try:
        _prepare_heif(path)
        with Image.open(path) as image:
            orientation = image.getexif().get(_ORIENTATION, 1)
            # Pillow states the size of a TIFF as shown.
            swapped = image.format == "TIFF" and orientation in _SIDEWAYS
            width, height = image.size
            return (height, width) if swapped else (width, height), orientation
    except _ERRORS as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ImageError:
    """What an error of reading an image means for the user."""
    if isinstance(error, FileNotFoundError):
        return ImageError("no such file", path=path)
    if isinstance(error, IsADirectoryError):
        return ImageError("is a folder, not a photo", path=path, hint=f"give the photos in it: {path}/*.png")
    if known_suffix(path.name):
        return ImageError("is a mesh, not a photo", path=path, hint="occnet watertight closes a mesh")
    return ImageError("cannot be read as an image", path=path, hint="PNG and JPEG are fine")


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I;16"):
        image = image.convert("I")
        top = 65535.0
    else:
        top = 0.0
    if image.mode in ("P", "PA", "1") or "transparency" in image.info:
        image = image.convert("RGBA")  # palette indices and transparent colours cannot be interpolated
    # A JPEG is decoded at a fraction of its size.
    image.thumbnail((WORKING_EDGE, WORKING_EDGE), Image.Resampling.BOX, reducing_gap=2.0)
    image = _in_srgb(ImageOps.exif_transpose(image))
    if image.mode in ("I", "F"):
        return _from_deep_grey(np.asarray(image, dtype=np.float64), top)
    return np.array(image.convert("RGBA"), dtype=np.uint8)


def _in_srgb(image: Image.Image) -> Image.Image:
    """An image with its colour profile applied, Display P3 of phones for example; as it is if that is not possible."""
    from PIL import ImageCms

    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "RGBA", "CMYK"):
        return image
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC  # white stays white
    try:
        source, target = ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, source, target, intent, mode) or image
    except (OSError, ImageCms.PyCMSError):
        return image


def _from_deep_grey(grey: NDArray[np.float64], top: float) -> NDArray[np.uint8]:
    """(H, W, 4) of grey values that Pillow would clip at 255; `top`: white level; 0: the smallest usual one that fits."""
    grey = np.nan_to_num(grey, posinf=0.0, neginf=0.0)
    largest = float(grey.max())
    top = top or next((white for white in (1.0, 255.0, 65535.0) if largest <= white), largest)
    level = np.clip(grey * (255.0 / top), 0, 255).round().astype(np.uint8)
    return np.dstack([level, level, level, np.full_like(level, 255)])


def _prepare_heif(path: Path) -> None:
    """Register the HEIC reader with Pillow if the file is HEIC."""
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] != b"ftyp" or head[8:12] not in _HEIF_BRANDS:
        return
    try:
        from pillow_heif import register_heif_opener  # an optional extra
    except ImportError as error:
        raise ImageError(
            "is a HEIC image, which needs the package pillow-heif",
            path=path,
            hint="`pip install pillow-heif`, or save the photo as JPEG",
        ) from error
    register_heif_opener()
