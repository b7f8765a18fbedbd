"""Where in an image the encoder looks: one rule for training, validation, evaluation and photos."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .arrays import tensor_of
from .images import encoder_input

OBJECT_LEVEL = 204
"""Darkest channel, of 255, of a pixel that counts as the object: what is lighter may be noise or
colour bleeding of a JPEG."""


def object_box(image: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is darker than the white background, in pixels.

    The box is that of all pixels whose darkest channel is at most `OBJECT_LEVEL`; where there are none it is the
    whole image. Masks that a pack may hold beside its images are not used, as photos have none.

    Args:
        image: (H, W, 3) uint8 sRGB on white.
    """
    height, width, _ = image.shape
    # Minima over contiguous axes take a tenth of the time of one over the channels first.
    rows = np.flatnonzero(image.reshape(height, -1).min(axis=1) <= OBJECT_LEVEL)
    columns = np.flatnonzero(image.min(axis=0).min(axis=1) <= OBJECT_LEVEL)
    if len(rows) == 0:
        return 0, 0, width, height
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def object_window(image: NDArray[np.uint8], fill: float) -> NDArray[np.float32]:
    """The square window in whose middle the object is, its box's longer edge `fill` of the window's.

    Args:
        image: (H, W, 3) uint8 sRGB on white.
        fill: `images.fill`.

    Returns:
        (4,) float32: left, top, width, height as fractions of the image's width and height: a row of the argument
        `windows` of `images.encoder_input`. It may extend beyond the image.
    """
    left, top, right, bottom = object_box(image)
    height, width, _ = image.shape
    edge = max(right - left, bottom - top) / fill
    x, y = (left + right - edge) / 2.0, (top + bottom - edge) / 2.0
    return np.array([x / width, y / height, edge / width, edge / height], np.float32)


def moved(
    window: NDArray[np.float32], shift: NDArray[np.floating], scale: float, roll: float | None
) -> NDArray[np.float32]:
    """A window in which the object appears moved.

    Args:
        window: (4,) of an object in its middle.
        shift: (2,) to the right and down, as fractions of the window.
        scale: by which the object is larger.
        roll: by which it is turned clockwise, in radians; None where none is turned.

    Returns:
        (5,) float32, the window and the roll, or (4,).
    """
    extent = window[2:] / scale
    middle = window[:2] + window[2:] / 2 - shift * extent
    turn = [] if roll is None else [roll]
    return np.concatenate([middle - extent / 2, extent, turn]).astype(np.float32)


def within(window: NDArray[np.float32], crop: NDArray[np.floating]) -> NDArray[np.float32]:
    """The part of a window that a crop (edge, left and top as fractions of it) takes."""
    corner, extent = window[:2] + crop[1:] * window[2:4], crop[0] * window[2:4]
    return np.concatenate([corner, extent, window[4:]]).astype(np.float32)


def framing_of(options: dict[str, Any]) -> tuple[str, float]:
    """Framing and fill of a network by the options in its file; files without them are of `camera`."""
    images = options.get("images", {})
    return images.get("framing", "camera"), images.get("fill", 1.0)


def image_size_of(options: dict[str, Any]) -> int:
    """Edge of a network's input in pixels by the options in its file, whose `train` is flat in older files."""
    train = options["train"]
    return int(train.get("data", train)["image_size"])


def network_input(images: NDArray[np.uint8], options: dict[str, Any], device: str) -> Tensor:
    """Images as a network was trained to see them.

    Args:
        images: (B, H, W, 3) uint8 sRGB on white.
        options: in the network's file.
        device: where the input is wanted.

    Returns:
        (B, 3, size, size) float32, as `images.encoder_input`.
    """
    framing, fill = framing_of(options)
    windows = [object_window(image, fill) for image in images] if framing == "object" else []
    pixels = tensor_of(images, device)
    at = torch.as_tensor(np.array(windows, np.float32), device=device)
    return encoder_input(pixels, image_size_of(options), at)
