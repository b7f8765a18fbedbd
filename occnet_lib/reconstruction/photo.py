"""A user's photo as the networks know pictures: the object alone, on white, of the usual size."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from occnet_lib import seeds
from occnet_lib.config import Config
from occnet_lib.errors import ImageError

from .cutout import HINT, Cutout, MaskSource, cut_out
from .image_file import read_image

if TYPE_CHECKING:
    from .reconstruct import Reconstruction

logger = logging.getLogger(__name__)

OBJECT_SHARE = 0.64
"""Longer edge of the object's bounding box, as a share of the picture's edge: the median over 1,152 views
of 48 shapes under the cameras of Choy et al. (5 % to 95 %: 0.45 to 0.85)."""

_OBJECT_LEVEL = (
    204  # of 255, the darkest channel of a pixel that shows the object: darker than white by a fifth
)


def load_photo(path: str | Path, mask: MaskSource = "auto") -> Cutout:
    """Read a photo and put its object on white (`cutout.cut_out`); says in a log how, and warns of one cut off.

    Args:
        path: any image that Pillow reads, HEIC with pillow-heif; its EXIF orientation is followed.
        mask: where the object is taken from.

    Raises:
        ImageError: the file is not an image, shows no object, or its background is neither transparent nor plain.
    """
    try:
        cutout = cut_out(read_image(path), mask)
    except ImageError as error:
        raise ImageError(error.message, path=error.path or path, hint=error.hint) from error
    logger.info("%s: object from %s", path, cutout.method)
    if cutout.touches_border:
        logger.warning("%s: the object touches the border: what is beyond it is missing", path)
    return cutout


def mesh_of_photo(
    photo: str | Path | Sequence[str | Path],
    checkpoint: str | Path,
    config: Config | None = None,
    mask: MaskSource = "auto",
) -> Reconstruction:
    """A photo, or several of one object, to a closed mesh with vertex normals.

    Args:
        photo: file, or files whose logits are averaged; see `load_photo`.
        checkpoint: best.ckpt of a training run.
        config: `reconstruct` and `seed` are used.
        mask: as in `load_photo`.

    Returns:
        The mesh, in the unit frame, and what it took; `save` writes it. Status `failed` where the network
        sees no surface.

    Raises:
        ImageError: a photo shows no object.
        DataError: the checkpoint is missing or broken.
    """
    from .network_field import Reconstructor

    config = config or Config()
    photos = [photo] if isinstance(photo, str | Path) else list(photo)
    images = np.stack([centred(load_photo(path, mask).image) for path in photos])
    drawing = seeds.rng(config.seed, "reconstruct", Path(photos[0]).stem)
    return Reconstructor(checkpoint, config.reconstruct)(images, drawing, normals=True)


def centred(image: NDArray[np.uint8], size: int = 137) -> NDArray[np.uint8]:
    """The object in the middle of a white square, with the margin that the training views have.

    Args:
        image: (H, W, 3) uint8 sRGB, an object on white.
        size: pixels along the edge of the result (`views.image_size` of the training data).

    Returns:
        (size, size, 3) uint8 sRGB.

    Raises:
        ImageError: the object is as white as the background.
    """
    object_ = image.min(axis=-1) <= _OBJECT_LEVEL
    if not object_.any():
        raise ImageError("shows an object as white as the background", hint=HINT)
    rows, columns = np.flatnonzero(object_.any(axis=1)), np.flatnonzero(object_.any(axis=0))
    low, high = np.array([columns[0], rows[0]]), np.array([columns[-1], rows[-1]]) + 1
    edge = float((high - low).max()) / OBJECT_SHARE
    corner = (low + high) / 2.0 - edge / 2.0
    square = Image.new("RGB", (int(np.ceil(edge)),) * 2, (255, 255, 255))
    square.paste(Image.fromarray(image), (-round(corner[0]), -round(corner[1])))
    return np.array(
        square.resize((size, size), Image.Resampling.BOX if edge >= size else Image.Resampling.BICUBIC)
    )
