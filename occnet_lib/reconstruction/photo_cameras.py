"""Cameras of photos that their EXIF orientation turns.

COLMAP does not follow the EXIF orientation, nor does nerfstudio as it loads photos: their cameras are those of the pixels as
they are stored (colmap/colmap#1406, nerfstudio-project/nerfstudio#2516). `read_image` follows it, and so do tools that save
photos upright. Where the two images differ in width and height, the camera's image size shows which one is meant.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from occnet_lib.errors import DataError
from occnet_lib.geometry.cameras import Camera
from occnet_lib.storage.cameras import read_camera, turned
from occnet_lib.storage.transforms import SAVE_UPRIGHT, check_aspect, has_aspect

from .image_file import image_size, quarter_turns, stored_size

Pixels = Literal["shown", "stored", "either"]


def pixels_of(size: tuple[float, float] | None, photo: Path) -> Pixels:
    """Whether a camera is that of a photo as shown or as stored; either, where the size of its image does not say it.

    Args:
        size: width and height of the camera's image; None: not stated.
        photo: the image file.

    Raises:
        ImageError: the photo is missing or not an image.
    """
    if quarter_turns(photo) == 0:
        return "shown"
    shown, stored = (
        size is None or has_aspect(size, each) for each in (image_size(photo), stored_size(photo))
    )
    return "either" if shown and stored else "stored" if stored else "shown"


def turns_of_stored(photo: Path) -> int:
    """The quarter turns by which a camera of the stored pixels becomes that of the photo as shown.

    Raises:
        DataError: the EXIF orientation mirrors the photo.
    """
    quarters = quarter_turns(photo)
    if quarters is None:
        raise DataError("its EXIF orientation mirrors it", path=photo, hint=SAVE_UPRIGHT)
    return quarters


def read_photo_camera(file: Path, photo: Path) -> Camera:
    """The camera of a photo as shown: of a camera file (`read_camera`), turned if it is that of the stored pixels.

    Raises:
        DataError: as `read_camera`, or the photo has another shape than the camera's image.
        ImageError: the photo is missing or not an image.
    """
    camera = read_camera(file)
    size = camera.width, camera.height
    if pixels_of(size, photo) == "stored":
        return turned(camera, turns_of_stored(photo))
    check_aspect(size, image_size(photo), photo)
    return camera
