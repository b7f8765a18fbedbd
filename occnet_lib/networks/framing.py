"""Framing: which part of an image the encoder sees, in training, validation, evaluation and for photos alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .arrays import tensor_of
from .images import encoder_input
from .projection import product, window_matrices

OBJECT_LEVEL = 204
"""Maximum value, of 255, of the darkest channel of an object pixel; lighter pixels may be noise or JPEG colour bleeding."""


def object_box(image: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Bounding box (left, top, right, bottom) in pixels of everything darker than the white background.

    The box is that of all pixels whose darkest channel is at most `OBJECT_LEVEL`; without any it is the
    whole image. Masks stored in a pack are not used because photos have none.

    Args:
        image: (H, W, 3) uint8 sRGB on white.
    """
    height, width, _ = image.shape
    # Minima over contiguous axes are ten times as fast as one over the channels first.
    rows = np.flatnonzero(image.reshape(height, -1).min(axis=1) <= OBJECT_LEVEL)
    columns = np.flatnonzero(image.min(axis=0).min(axis=1) <= OBJECT_LEVEL)
    if len(rows) == 0:
        return 0, 0, width, height
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def object_window(image: NDArray[np.uint8], fill: float) -> NDArray[np.float32]:
    """The square window centred on the object; its box's longer edge is `fill` of the window's.

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
    """A window in which the object appears shifted, scaled and rotated.

    Args:
        window: (4,) centred on the object.
        shift: (2,) to the right and down, as fractions of the window.
        scale: enlargement of the object.
        roll: clockwise rotation in radians; None if no image is rotated.

    Returns:
        (5,) float32, the window and the roll, or (4,).
    """
    extent = window[2:] / scale
    middle = window[:2] + window[2:] / 2 - shift * extent
    turn = [] if roll is None else [roll]
    return np.concatenate([middle - extent / 2, extent, turn]).astype(np.float32)


def within(window: NDArray[np.float32], crop: NDArray[np.floating]) -> NDArray[np.float32]:
    """The part of a window selected by a crop (edge, left and top as fractions of the window)."""
    corner, extent = window[:2] + crop[1:] * window[2:4], crop[0] * window[2:4]
    return np.concatenate([corner, extent, window[4:]]).astype(np.float32)


def framing_of(options: dict[str, Any]) -> tuple[str, float]:
    """Framing and fill of a network by the options in its file; files without them use `camera`."""
    images = options.get("images", {})
    return images.get("framing", "camera"), images.get("fill", 1.0)


def image_size_of(options: dict[str, Any]) -> int:
    """Edge of a network's input in pixels by the options in its file, whose `train` is flat in older files."""
    train = options["train"]
    return int(train.get("data", train)["image_size"])


def network_input(images: NDArray[np.uint8], options: dict[str, Any], device: str) -> Tensor:
    """Encoder input of images with the framing that a network was trained with.

    Args:
        images: (B, H, W, 3) uint8 sRGB on white.
        options: in the network's file.
        device: of the result.

    Returns:
        (B, 3, size, size) float32, as `images.encoder_input`.
    """
    pixels = tensor_of(images, device)
    return encoder_input(pixels, image_size_of(options), _input_windows(images, options, device))


def input_projections(
    cameras: NDArray[np.floating], images: NDArray[np.uint8], options: dict[str, Any], device: str
) -> Tensor:
    """Projections into the `network_input` of images.

    Args:
        cameras: (B, 3, 4), of the unit frame into the images (`geometry.cameras.image_projection`).
        images: (B, H, W, 3) uint8 sRGB on white.
        options: in the network's file.
        device: of the result.

    Returns:
        (B, 3, 4) float32 in [-1, 1] of the encoder's input.
    """
    return product(input_matrices(images, options, device), tensor_of(cameras, device, torch.float32))


def input_matrices(images: NDArray[np.uint8], options: dict[str, Any], device: str) -> Tensor:
    """(B, 3, 3) from fractions of images (B, H, W, 3) to [-1, 1] of the `network_input`."""
    windows = _input_windows(images, options, device)
    return window_matrices(windows, len(images), *images.shape[1:3])


def _input_windows(images: NDArray[np.uint8], options: dict[str, Any], device: str) -> Tensor:
    """(B, 4) windows of images that the network sees; (0, …) for whole images."""
    framing, fill = framing_of(options)
    windows = [object_window(image, fill) for image in images] if framing == "object" else []
    return torch.as_tensor(np.array(windows, np.float32), device=device)
