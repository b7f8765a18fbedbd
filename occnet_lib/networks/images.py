"""From stored pictures to the encoder's input, the same for training and for inference."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def encoder_input(images: Tensor, size: int) -> Tensor:
    """Resize pictures to the size the network was trained with.

    Bilinear with anti-aliasing, as ONet's `transforms.Resize` of a PIL image.

    Args:
        images: (B, H, W, 3) uint8 sRGB, on the device where the resizing is to happen.
        size: pixels along the edge of the result.

    Returns:
        (B, 3, size, size) float32 in [0, 1], channels last in memory.
    """
    floats = images.permute(0, 3, 1, 2).to(torch.float32).div_(255.0)
    if floats.shape[-2:] != (size, size):
        shrinks = size < max(floats.shape[-2:])  # enlarging, anti-aliasing changes nothing but the time
        floats = functional.interpolate(floats, (size, size), mode="bilinear", antialias=shrinks)
    return floats.clamp_(0.0, 1.0).contiguous(memory_format=torch.channels_last)
