"""Folders of captures: one folder of photos per object, and the files of their cameras."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib.config import Config
from occnet_lib.errors import DataError, ImageError
from occnet_lib.reconstruction.image_file import image_size, stored_size
from occnet_lib.reconstruction.photo_cameras import pixels_of, read_photo_camera, turns_of_stored
from occnet_lib.storage import transforms
from occnet_lib.storage.cameras import read_camera
from occnet_lib.storage.dataset.catalogue import scan
from occnet_lib.storage.dataset.listing import UNCATEGORISED, Listing, ShapeLocation
from occnet_lib.storage.transforms import Frame
from occnet_lib.types import ShapeKey

logger = logging.getLogger(__name__)
LAYOUT = "<object>/transforms.json or <object>/<photo>.json beside its photos, also in folders of categories"
_OTHER_CAMERAS = {  # files and folders of cameras in other forms: the way out
    "transforms_*.json": f"put all frames of an object into one {transforms.NAME}",
    "sparse": f"nerfstudio's ns-process-data and instant-ngp's colmap2nerf.py convert COLMAP's model to {transforms.NAME}",
}
Source = tuple[Path, Mapping[str, Any] | Path]
"""A photo, and the values of its camera in transforms.json or its own camera file."""
Box = tuple[NDArray[np.float64], float]
"""Centre (3,) and longest edge of an object's bounding box, in the cameras' world."""


def holds_captures(root: Path) -> bool:
    """Whether a folder has objects in the layout of captures.

    Raises:
        DataError: it is itself the folder of one object, or its cameras are in files that are not read.
    """
    if root.is_dir() and _is_object(root):
        raise DataError("is the folder of one object", path=root, hint="give the folder that contains it")
    if any(_is_object(root / name) or _objects_in(root / name) for name in _folders(root)):
        return True
    for name, way_out in _OTHER_CAMERAS.items():
        if file := next((file for depth in ("", "*/", "*/*/") for file in root.glob(depth + name)), None):
            raise DataError(f"cameras are read from {transforms.NAME} only", path=file, hint=way_out)
    return False


def objects_below(config: Config, root: Path) -> list[ShapeKey]:
    """The objects of a folder, with split and shard; their `path` is their folder relative to `root`.

    Folders of photos without cameras are objects, too, so that they are reported as failed.

    Raises:
        DataError: as `catalogue.scan`.
    """
    return scan(config, root, Listing(_objects(root)))


def _objects(root: Path) -> list[ShapeLocation]:
    locations = []
    for name in _folders(root):
        folder = root / name
        if not _is_object(folder) and _objects_in(folder):
            inner = [object_ for object_ in _folders(folder) if _has_photos(folder / object_)]
            locations += [ShapeLocation(name, object_, f"{name}/{object_}", name) for object_ in inner]
        elif _has_photos(folder):
            locations.append(ShapeLocation(UNCATEGORISED, name, name))
    return locations


def _objects_in(folder: Path) -> list[str]:
    """Names of the folders in a folder that have cameras."""
    return [name for name in _folders(folder) if _is_object(folder / name)]


def _folders(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(e.name for e in os.scandir(folder) if e.is_dir() and not e.name.startswith("."))


def _is_object(folder: Path) -> bool:
    return (folder / transforms.NAME).is_file() or any(
        photo.with_suffix(".json").is_file() for photo in _images(folder)
    )


def _has_photos(folder: Path) -> bool:
    """Whether a folder is an object, or has images in it or in its folders."""
    return _is_object(folder) or any(map(_images, (folder, *(folder / name for name in _folders(folder)))))


def _images(folder: Path) -> list[Path]:
    names = sorted(e.name for e in os.scandir(folder) if e.is_file() and not e.name.startswith("."))
    return [folder / name for name in names if os.path.splitext(name)[1].lower() in transforms.SUFFIXES]


def photos_of(folder: Path) -> list[Source]:
    """The photos of an object, in order, with their cameras; images without a camera are left out, with a warning.

    Raises:
        DataError: there are no cameras, or transforms.json cannot be read or lists no photos.
    """
    if not _is_object(folder):
        hint = f"expected {transforms.NAME}, or <photo>.json beside each photo"
        raise DataError("has photos without cameras", path=folder, hint=hint)
    if inner := _objects_in(folder):
        text = "%s: has cameras, so those in its folders are not read (%s)"
        logger.warning(text, folder, ", ".join(inner[:3]) + ", …" * (len(inner) > 3))
    if (file := folder / transforms.NAME).is_file():
        frames = transforms.read_frames(file)
        if any("mask_path" in frame for frame in frames):
            text = "%s: mask_path is not read; save masks as the transparency of the photos"
            logger.warning(text, file)
        sources: list[Source] = [(transforms.image_of(frame, folder), frame) for frame in frames]
        return _once(sorted(sources, key=lambda each: each[0]), folder)
    images = _images(folder)
    if missing := [photo for photo in images if not photo.with_suffix(".json").is_file()]:
        text = "%s: %d of %d photos have no camera file and are left out, e.g. %s"
        logger.warning(text, folder, len(missing), len(images), missing[0].name)
    return _once([(photo, photo.with_suffix(".json")) for photo in images if photo not in missing], folder)


def _once(sources: list[Source], folder: Path) -> list[Source]:
    """The sources without further ones of the same photo, or of the same camera file, which are logged."""
    first: dict[Path, Source] = {}
    for source in sources:
        path, camera = source
        used = first.setdefault((camera if isinstance(camera, Path) else path).resolve(), source)
        if used is not source:
            same = "" if isinstance(camera, Path) or camera == used[1] else ", with another camera there"
            text = "%s: %s is the photo %s once more%s: left out"
            logger.warning(text, folder, path.name, used[0].name, same)
    return list(first.values())


def is_ambiguous(source: Source) -> bool:
    """Whether a photo's EXIF orientation turns it and its camera may be that of the turned or of the stored pixels.

    A camera file is documented to be that of the turned ones (docs/photos.md); a photo that cannot be read is not ambiguous.
    """
    path, camera = source
    try:
        return not isinstance(camera, Path) and pixels_of(transforms.stated_size(camera), path) == "either"
    except ImageError:
        return False


def frame_of(source: Source, stored: bool = True) -> Frame:
    """The camera of a photo as it is shown, turned by its EXIF orientation.

    Args:
        source: the photo and its camera.
        stored: whether an ambiguous camera (`is_ambiguous`) is that of the pixels as they are stored.

    Raises:
        DataError: it is not a camera, or not one of this photo.
        ImageError: the photo is missing or not an image.
    """
    path, camera = source
    if not isinstance(camera, Path):
        pixels = pixels_of(transforms.stated_size(camera), path)
        if pixels == "shown" or (pixels == "either" and not stored):
            return transforms.frame_of(camera, path, image_size(path))
        frame = transforms.frame_of(camera, path, stored_size(path))
        return transforms.turned(frame, turns_of_stored(path))
    known = read_photo_camera(camera, path)
    if known.camera_mat[0, 1]:
        raise DataError("camera_mat has skew, which photos do not have", path=camera)
    (fx, _, cx), (_, fy, cy), _ = known.camera_mat.tolist()
    return Frame(path, known.world_mat, (fx, fy, cx, cy), (known.width, known.height), np.zeros(5))


def stated_box(sources: Sequence[Source]) -> Box | None:
    """The object's place by `loc` and `scale` of its camera files; None where these do not state it.

    Raises:
        DataError: the files of one object state different places.
    """
    boxes = []
    for _, camera in sources:
        if isinstance(camera, Path) and _states_place(camera):
            known = read_camera(camera)
            boxes.append((known.loc, known.scale, camera))
    for loc, scale, path in boxes[1:]:
        if not np.allclose([*loc, scale], [*boxes[0][0], boxes[0][1]], rtol=1e-6, atol=1e-9):
            raise DataError("has another loc or scale than other cameras of this object", path=path)
    return boxes[0][:2] if boxes else None


def _states_place(path: Path) -> bool:
    """Whether a camera file has the object's place; one that cannot be read has none."""
    try:
        return bool({"loc", "scale"} & json.loads(path.read_text(encoding="utf-8")).keys()) and bool(
            read_camera(path)
        )
    except (DataError, OSError, ValueError, AttributeError):
        return False
