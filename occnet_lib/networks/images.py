"""From stored images to the encoder's input, the same for training and for inference but for rounding."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_LARGE = 112  # pixels along the encoder's input above which stored images are enlarged more than shrunk


def encoder_input(images: Tensor, size: int, windows: Tensor | None = None) -> Tensor:
    """Resize images, or windows of them, to the size the network was trained with.

    Bilinear with anti-aliasing, as ONet's `transforms.Resize` of a PIL image. On a CPU it rounds to 8 bits as Pillow
    does, ten times as fast as in floats: up to a level of 255 from what a GPU gives.

    Args:
        images: (B, H, W, 3) uint8 sRGB, on the device where the resizing is to happen.
        size: pixels along the edge of the result.
        windows: (B, 4) left, top, width and height of what is taken of each image, as fractions of its width and
            height, rounded to whole pixels here; what lies outside of an image is white. (B, 5): with an angle in
            radians, by which the window's content is turned clockwise about its middle. None or (0, …): all of it.

    Returns:
        (B, 3, size, size) float32 in [0, 1], channels last in memory.
    """
    if windows is not None and len(windows):
        # In the precision of floats also where the network around computes in less.
        device = images.device.type if images.device.type in ("cpu", "cuda") else "cpu"
        with torch.autocast(device, enabled=False):
            seen = _windows(images, size, windows)
    else:
        seen = _whole(images.permute(0, 3, 1, 2), size)
    return seen.clamp_(0.0, 1.0).contiguous(memory_format=torch.channels_last)


def _in_8_bits(pixels: Tensor) -> bool:
    """Whether images are resized without becoming floats first, of which CUDA knows nothing."""
    return pixels.device.type == "cpu"


def _whole(pixels: Tensor, size: int) -> Tensor:
    """(B, 3, size, size) float32 of (B, 3, H, W) uint8."""
    if _in_8_bits(pixels):
        pixels = _rounded(pixels, size)
    floats = pixels.to(torch.float32).div_(255.0)
    if floats.shape[-2:] != (size, size):
        shrinks = size < max(floats.shape[-2:])  # enlarging, anti-aliasing changes nothing but the time
        floats = functional.interpolate(floats, (size, size), mode="bilinear", antialias=shrinks)
    return floats


def _rounded(pixels: Tensor, size: int) -> Tensor:
    """(B, 3, size, size) uint8 of (B, 3, H, W) uint8."""
    if pixels.shape[-2:] == (size, size):
        return pixels
    return functional.interpolate(pixels, (size, size), mode="bilinear", antialias=True)


def _windows(images: Tensor, size: int, windows: Tensor) -> Tensor:
    """(B, 3, size, size) float32 of windows of (B, H, W, 3) uint8."""
    height, width = images.shape[1:3]
    left, top, across, down = windows[:, :4].unbind(1)
    boxes = torch.stack([left * width, top * height, across * width, down * height], dim=1).round()
    boxes[:, 2:].clamp_(min=1.0)
    resize = _cut if _in_8_bits(images) else _filtered
    if windows.shape[1] < 5:
        return resize(images, size, boxes)
    # Where images shrink, turning them at their last size would blur them.
    finer = 2 if size < _LARGE else 1
    return _turned(resize(images, finer * size, boxes), windows[:, 4], finer)


def _cut(images: Tensor, size: int, boxes: Tensor) -> Tensor:
    """(B, 3, size, size) of boxes (B, 4) in pixels, each cut out and resized like a whole image."""
    resized = images.new_zeros((len(images), size, size, 3))
    for image, place, (left, top, across, down) in zip(images, resized, boxes.int().tolist(), strict=True):
        part = image[max(top, 0) : max(top + down, 0), max(left, 0) : max(left + across, 0)]
        if part.shape[:2] != (down, across):  # beyond the image it is white
            white = part.new_full((down, across, 3), 255)
            y, x = max(-top, 0), max(-left, 0)
            white[y : y + part.shape[0], x : x + part.shape[1]] = part
            part = white
        place.copy_(_rounded(part.permute(2, 0, 1)[None], size)[0].permute(1, 2, 0))
    return resized.permute(0, 3, 1, 2).to(torch.float32).div_(255.0)


def _filtered(images: Tensor, size: int, boxes: Tensor) -> Tensor:
    """The same of all images at once, in floats: the filter is a matrix for the rows and one for the columns."""
    batch, height, width, channels = images.shape
    left, top, across, down = boxes.unbind(1)
    darkness = images.reshape(batch, height, width * channels).to(torch.float32).div_(-255.0).add_(1.0)
    rows = _filter(top, down, height, size) @ darkness
    rows = rows.view(batch, size, width, channels).transpose(1, 2).reshape(batch, width, size * channels)
    both = _filter(left, across, width, size) @ rows
    return both.view(batch, size, size, channels).permute(0, 3, 2, 1).neg().add_(1.0)


def _filter(start: Tensor, extent: Tensor, length: int, size: int) -> Tensor:
    """(B, size, length) weights by which pixels of an axis become those of boxes (B,).

    Triangles as wide as a pixel of the result, or of the image if that is larger, within the box. Weights of pixels
    outside of the image are missing: what is darkness 0 there need not be summed.
    """
    step = (extent / size)[:, None, None]
    steps = torch.arange(size, device=start.device, dtype=torch.float32) + 0.5
    centres = start[:, None, None] + step * steps[:, None]
    pixels = torch.arange(length, device=start.device, dtype=torch.float32) + 0.5
    weights = (1.0 - (pixels - centres).abs() / step.clamp(min=1.0)).clamp_(min=0.0)
    low, high = start[:, None, None], (start + extent)[:, None, None]
    weights = weights * ((pixels > low) & (pixels < high))
    return weights / _sums(centres, step.clamp(min=1.0), low, high)


def _sums(centres: Tensor, support: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """(B, size, 1) sums of the weights over all pixels of a box, also those outside of the image.

    On either side of a centre they are an arithmetic series; a loop would have to wait for the device's numbers.
    """
    middle = (centres - 0.5).floor()
    first = (torch.maximum(centres - support, low) - 0.5).ceil()
    last = (torch.minimum(centres + support, high) - 0.5).floor()
    before, behind = (middle - first + 1).clamp(min=0.0), (last - middle).clamp(min=0.0)
    mean_before, mean_behind = (first + middle + 1) / 2 - centres, (middle + last + 2) / 2 - centres
    return before * (1.0 + mean_before / support) + behind * (1.0 - mean_behind / support)


def _turned(images: Tensor, angles: Tensor, finer: int) -> Tensor:
    """(B, 3, S / finer, S / finer) of (B, 3, S, S), turned clockwise by (B,) radians; white from outside."""
    edge = images.shape[-1]
    cos, sin, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
    # Where a pixel of the result comes from; y points down.
    matrices = torch.stack([cos, sin, zero, -sin, cos, zero], dim=1).view(-1, 2, 3)
    grid = functional.affine_grid(
        matrices, [len(images), 3, edge // finer, edge // finer], align_corners=False
    )
    darkness = 1.0 - images.contiguous()
    if finer == 2:  # means of neighbours, which lie within a square that is smaller by a pixel
        darkness = darkness[:, :, :-1] + darkness[:, :, 1:]
        darkness = (darkness[..., :-1] + darkness[..., 1:]) / 4.0
        grid = grid * (edge / (edge - 1))
    return 1.0 - functional.grid_sample(darkness, grid, align_corners=False)
