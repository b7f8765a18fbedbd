"""A user's photo as the networks know pictures: the object alone, on white, of the usual size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from occnet_lib import seeds
from occnet_lib.config import Config
from occnet_lib.errors import ImageError

if TYPE_CHECKING:
    from .reconstruct import Reconstruction

OBJECT_SHARE = 0.64
"""Longer edge of the object's bounding box, as a share of the picture's edge: the median over 1,152 views
of 48 shapes under the cameras of Choy et al. (5 % to 95 %: 0.45 to 0.85)."""

_HINT = "give a PNG with a transparent background, or a photo of one object before a plain background"
_PLAIN_SHARE = 0.9  # of the border that must have the border's own median colour
_BACKGROUND, _OBJECT = 12.0, 30.0  # largest channel difference from the background's colour, of 255
_LEAST_SHARE = 0.002  # of the picture that the object must cover
_SPECK_SHARE = 0.01  # parts smaller than this share of the largest part are dirt
_MOST_PIXELS = 64_000_000


def load_photo(path: str | Path, size: int = 137) -> NDArray[np.uint8]:
    """Read a photo and cut its object out.

    A transparent background is taken as the mask. An opaque picture must have a plain background: what
    differs from the colour of its border is the object. Either way the object is put on white in the
    middle of a square with the margin that the training views have.

    Args:
        path: any image that Pillow reads; its EXIF orientation is followed.
        size: pixels along the edge of the result (`views.image_size` of the training data).

    Returns:
        (size, size, 3) uint8 sRGB.

    Raises:
        ImageError: the file is no image, shows no object, or its background is neither transparent nor plain.
    """
    rgba = _read(Path(path))
    colour, alpha = rgba[..., :3], rgba[..., 3]
    if alpha.min() == 255:
        alpha = _cut_out(colour, path)
    object_ = alpha >= 128
    if object_.mean() < _LEAST_SHARE:
        raise ImageError(
            f"shows no object: {object_.mean():.2%} of it is not background", path=path, hint=_HINT
        )
    return _centred(np.dstack([colour, alpha]), object_, size)


def mesh_of_photo(
    photo: str | Path | Sequence[str | Path], checkpoint: str | Path, config: Config | None = None
) -> Reconstruction:
    """A photo, or several of one object, to a closed mesh with vertex normals.

    Args:
        photo: file, or files whose logits are averaged; see `load_photo`.
        checkpoint: best.ckpt of a training run.
        config: `reconstruct` and `seed` are used.

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
    images = np.stack([load_photo(path) for path in photos])
    drawing = seeds.rng(config.seed, "reconstruct", Path(photos[0]).stem)
    return Reconstructor(checkpoint, config.reconstruct)(images, drawing, normals=True)


def _read(path: Path) -> NDArray[np.uint8]:
    """(H, W, 4) uint8 sRGB and opacity."""
    try:
        with Image.open(path) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise ImageError(
                    f"has {image.width} x {image.height} pixels", path=path, hint="make it smaller"
                )
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith(("I", "F")):
                return _from_deep_grey(np.asarray(upright, dtype=np.float64))
            return np.array(upright.convert("RGBA"), dtype=np.uint8)
    except FileNotFoundError as error:
        raise ImageError("no such file", path=path) from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ImageError("cannot be read as an image", path=path, hint="PNG and JPEG are fine") from error


def _from_deep_grey(grey: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Grey values of 16 bits or more, which Pillow would clip at 255."""
    most = 65535.0 if grey.max() > 255 else 255.0
    level = np.clip(grey * (255.0 / most), 0, 255).round().astype(np.uint8)
    return np.dstack([level, level, level, np.full_like(level, 255)])


def _cut_out(colour: NDArray[np.uint8], path: str | Path) -> NDArray[np.uint8]:
    """(H, W) uint8 opacity of what is not of the border's colour."""
    from scipy import ndimage

    border = np.concatenate([colour[0], colour[-1], colour[:, 0], colour[:, -1]])
    background = np.median(border, axis=0)
    if (_difference(border, background) < _OBJECT).mean() < _PLAIN_SHARE:
        raise ImageError(
            "the background is not plain, or the object touches the border", path=path, hint=_HINT
        )
    difference = _difference(colour, background)
    parts, count = ndimage.label(difference >= _OBJECT)
    if count == 0:
        return np.zeros(colour.shape[:2], np.uint8)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    kept = (sizes >= max(4, _SPECK_SHARE * sizes.max()))[parts]
    near = ndimage.binary_dilation(kept, iterations=2)
    opacity = np.clip((difference - _BACKGROUND) / (_OBJECT - _BACKGROUND), 0.0, 1.0)
    return np.where(near, opacity * 255.0, 0.0).round().astype(np.uint8)


def _difference(colour: NDArray[np.uint8], background: NDArray[np.float64]) -> NDArray[np.float64]:
    difference: NDArray[np.float64] = np.abs(colour - background).max(axis=-1)
    return difference


def _centred(rgba: NDArray[np.uint8], object_: NDArray[np.bool_], size: int) -> NDArray[np.uint8]:
    """The object in the middle of a white square, (size, size, 3) uint8."""
    rows, columns = np.flatnonzero(object_.any(axis=1)), np.flatnonzero(object_.any(axis=0))
    low = np.array([columns[0], rows[0]])
    high = np.array([columns[-1], rows[-1]]) + 1
    edge = float((high - low).max()) / OBJECT_SHARE
    corner = (low + high) / 2.0 - edge / 2.0
    white = Image.new("RGBA", (rgba.shape[1], rgba.shape[0]), (255, 255, 255, 255))
    flat = Image.alpha_composite(white, Image.fromarray(rgba)).convert("RGB")
    whole = (int(np.ceil(edge)),) * 2
    square = Image.new("RGB", whole, (255, 255, 255))
    square.paste(flat, (-round(corner[0]), -round(corner[1])))
    return np.array(
        square.resize((size, size), Image.Resampling.BOX if edge >= size else Image.Resampling.BICUBIC)
    )
