"""The photos of one browser tab: files, masks, corrected masks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from occnet_lib.errors import ImageError
from occnet_lib.reconstruction.cutout import Cutout, MaskSource
from occnet_lib.reconstruction.image_file import read_image
from occnet_lib.reconstruction.photo import load_photo

from .masks import corrected, mask_of, overlay, strokes, with_mask

BORDER = "the object touches the border: what is beyond it is missing"


@dataclass(frozen=True)
class Photo:
    """An uploaded photo.

    Attributes:
        name: of the user's file.
        file: a copy of the upload, of that name.
        upload: path of the upload, by which it is known again.
        rgba: (H, W, 4) uint8, upright and reduced; None if the file is not readable.
        mask: (H, W) pixels of the object; none where no object was cut out.
        original: the mask before corrections.
        soft: whether the opacity of the photo is its mask.
        cutout: the object on white; None if there is none.
        problem: why there is none, as the command line prints it.
        corrected_file: PNG whose opacity is the corrected mask; None without corrections.
    """

    name: str
    file: Path
    rgba: NDArray[np.uint8] | None = None
    mask: NDArray[np.bool_] | None = None
    original: NDArray[np.bool_] | None = None
    soft: bool = False
    cutout: Cutout | None = None
    problem: str = ""
    corrected_file: Path | None = None
    upload: str = ""

    @property
    def note(self) -> str:
        """One line: how the object was cut out, or why it was not."""
        if self.cutout is None:
            return self.problem
        how = "your mask" if self.corrected_file else f"object from {self.cutout.method}"
        return f"{self.name}: {how}" + (f"; {BORDER}" if self.cutout.touches_border else "")

    @property
    def can_be_corrected(self) -> bool:
        """Whether there is an image to paint on."""
        return self.rgba is not None

    def preview(self) -> NDArray[np.uint8]:
        """(H, W, 3) the photo with its mask.

        Raises:
            ImageError: the file is not readable.
        """
        if self.rgba is None or self.mask is None:
            raise ImageError(self.problem)
        return overlay(self.rgba, self.mask)


def open_photo(file: Path, name: str, view_size: int, mask: MaskSource = "auto", upload: str = "") -> Photo:
    """Read a photo and cut its object out, as `occnet reconstruct` does.

    Args:
        file: the file.
        name: how messages call it.
        view_size: of the network (`Reconstructor.view_size`).
        mask: where the object is taken from.
        upload: path of the upload.

    Returns:
        the photo; where the command line would refuse it, with its message in `problem`.
    """
    photo = Photo(name, file, upload=upload)
    try:
        rgba = read_image(file)
        height, width, _ = rgba.shape
        empty = np.zeros((height, width), bool)
        photo = replace(photo, rgba=rgba, mask=empty, original=empty)
        cutout = load_photo(file, mask, view_size)
    except ImageError as error:
        return replace(photo, problem=_renamed(error, name))
    original = mask_of(cutout, (height, width))
    return replace(
        photo, mask=original, original=original, cutout=cutout, soft=cutout.method.startswith("alpha")
    )


def paint(
    photo: Photo, layers: list[NDArray[np.uint8]], view_size: int, folder: Path, fill: bool = True
) -> Photo:
    """The photo with the mask that brush strokes give it.

    The corrected mask becomes the transparency of a PNG, which is read like any photo with `--mask alpha`.

    Args:
        photo: the photo.
        layers: (h, w, 4) uint8, what was painted; without strokes the photo stays as it is.
        view_size: as in `open_photo`.
        folder: where the PNG is written, under the photo's stem.
        fill: whether closed lines count for what they enclose.
    """
    if photo.rgba is None or photo.mask is None or photo.original is None:
        return photo
    added, removed = strokes(layers, photo.mask.shape)
    if not (added | removed).any():
        return photo
    mask = corrected(photo.mask, added, removed, fill)
    file = folder / f"{photo.file.stem}.png"
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(with_mask(photo.rgba, photo.original, mask, photo.soft)).save(file)
    painted = replace(photo, mask=mask, corrected_file=file, cutout=None)
    if mask.all():
        text = "the mask covers the whole image"
        return replace(painted, problem=str(ImageError(text, path=photo.name, hint="paint background red")))
    try:
        return replace(painted, cutout=load_photo(file, "alpha", view_size), problem="")
    except ImageError as error:
        return replace(painted, problem=_renamed(error, photo.name))


def _renamed(error: ImageError, name: str) -> str:
    """The line of an error with the user's name of the file."""
    return str(ImageError(error.message, path=name, hint=error.hint))
