"""From stored pictures to the encoder's input, the same for training and for inference but for rounding."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def encoder_input(images: Tensor, size: int, crops: Tensor | None = None) -> Tensor:
    """Resize pictures to the size the network was trained with.

    Bilinear with anti-aliasing, as ONet's `transforms.Resize` of a PIL image. On a CPU without crops it rounds to 8
    bits as Pillow does, ten times as fast as in floats: up to a level of 255 from what a GPU or a crop of everything gives.

    Args:
        images: (B, H, W, 3) uint8 sRGB, on the device where the resizing is to happen.
        size: pixels along the edge of the result.
        crops: (B, 3) edge, left and top of the square that is taken of each picture, as shares of its width
            and height; None: all of it.

    Returns:
        (B, 3, size, size) float32 in [0, 1], channels last in memory.
    """
    pixels = images.permute(0, 3, 1, 2)
    if crops is None and _in_8_bits(pixels) and pixels.shape[-2:] != (size, size):
        pixels = functional.interpolate(pixels, (size, size), mode="bilinear", antialias=True)
    floats = pixels.to(torch.float32).div_(255.0)
    if crops is not None:
        height, width = (max(size, edge) for edge in floats.shape[-2:])
        floats = _cropped(floats, crops, height, width)
    if floats.shape[-2:] != (size, size):
        shrinks = size < max(floats.shape[-2:])  # enlarging, anti-aliasing changes nothing but the time
        floats = functional.interpolate(floats, (size, size), mode="bilinear", antialias=shrinks)
    return floats.clamp_(0.0, 1.0).contiguous(memory_format=torch.channels_last)


def _in_8_bits(pixels: Tensor) -> bool:
    """Whether pictures are resized without becoming floats first, of which CUDA knows nothing."""
    return pixels.device.type == "cpu"


def _cropped(images: Tensor, crops: Tensor, height: int, width: int) -> Tensor:
    """(B, 3, height, width) of squares of (B, 3, H, W), bilinear."""
    edge, left, top = crops.unbind(1)
    x = (torch.arange(width, device=crops.device) + 0.5) / width
    y = (torch.arange(height, device=crops.device) + 0.5) / height
    columns, rows = left[:, None] + edge[:, None] * x, top[:, None] + edge[:, None] * y
    size = (len(images), height, width)
    # In grid_sample's coordinates the outer edges of the picture are at -1 and 1.
    grid = torch.stack([columns[:, None, :].expand(size), rows[:, :, None].expand(size)], dim=-1) * 2 - 1
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
