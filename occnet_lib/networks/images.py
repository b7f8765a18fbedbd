"""From stored images to the encoder's input; training and inference differ in rounding only."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_LARGE = 112  # edge of the encoder's input in pixels above which stored images are mostly enlarged


def encoder_input(images: Tensor, size: int, windows: Tensor | None = None) -> Tensor:
    """Resize images, or windows of them, to the size the network was trained with.

    Bilinear with anti-aliasing, as ONet's `transforms.Resize` of a PIL image. On a CPU it rounds to 8 bits like
    Pillow, which is ten times as fast as in floats; results differ from a GPU's by up to 1/255.

    Args:
        images: (B, H, W, 3) uint8 sRGB, on the device to use.
        size: edge of the result in pixels.
        windows: (B, 4) left, top, width and height of the part of each image to use, as fractions of its width and height,
            rounded to whole pixels here; pixels outside of an image are white. (B, 5): with an angle in radians, by which
            the window's content is rotated clockwise about its centre. None or (0, …): the whole image.

    Returns:
        (B, 3, size, size) float32 in [0, 1], channels last in memory.
    """
    if windows is not None and len(windows):
        # In float32 also under autocast.
        device = images.device.type if images.device.type in ("cpu", "cuda") else "cpu"
        with torch.autocast(device, enabled=False):
            seen = _windows(images, size, windows)
    else:
        seen = _whole(images.permute(0, 3, 1, 2), size)
    return seen.clamp_(0.0, 1.0).contiguous(memory_format=torch.channels_last)


def pixel_boxes(windows: Tensor, height: int, width: int) -> Tensor:
    """Left, top, width and height in whole pixels, (B, 4) float32, of windows of images (`encoder_input`)."""
    left, top, across, down = windows[:, :4].unbind(1)
    boxes = torch.stack([left * width, top * height, across * width, down * height], dim=1).round()
    boxes[:, 2:].clamp_(min=1.0)
    return boxes


def _in_8_bits(pixels: Tensor) -> bool:
    """Whether images are resized as uint8, which CUDA does not support."""
    return pixels.device.type == "cpu"


def _whole(pixels: Tensor, size: int) -> Tensor:
    """(B, 3, size, size) float32 of (B, 3, H, W) uint8."""
    if _in_8_bits(pixels):
        pixels = _rounded(pixels, size)
    floats = pixels.to(torch.float32).div_(255.0)
    if floats.shape[-2:] != (size, size):
        shrinks = size < max(floats.shape[-2:])  # anti-aliasing has no effect when enlarging and costs time
        floats = functional.interpolate(floats, (size, size), mode="bilinear", antialias=shrinks)
    return floats


def _rounded(pixels: Tensor, size: int) -> Tensor:
    """(B, 3, size, size) uint8 of (B, 3, H, W) uint8."""
    if pixels.shape[-2:] == (size, size):
        return pixels
    return functional.interpolate(pixels, (size, size), mode="bilinear", antialias=True)


def _windows(images: Tensor, size: int, windows: Tensor) -> Tensor:
    """(B, 3, size, size) float32 of windows of (B, H, W, 3) uint8."""
    boxes = pixel_boxes(windows, *images.shape[1:3])
    resize = _cut if _in_8_bits(images) else _filtered
    if windows.shape[1] < 5:
        return resize(images, size, boxes)
    # Shrunk images are rotated at twice the final size, which avoids blur.
    finer = 2 if size < _LARGE else 1
    return _turned(resize(images, finer * size, boxes), windows[:, 4], finer)


def _cut(images: Tensor, size: int, boxes: Tensor) -> Tensor:
    """(B, 3, size, size) of boxes (B, 4) in pixels, each cut out and resized like a whole image."""
    resized = images.new_zeros((len(images), size, size, 3))
    for image, place, (left, top, across, down) in zip(images, resized, boxes.int().tolist(), strict=True):
        part = image[max(top, 0) : max(top + down, 0), max(left, 0) : max(left + across, 0)]
        if part.shape[:2] != (down, across):  # white outside of the image
            white = part.new_full((down, across, 3), 255)
            y, x = max(-top, 0), max(-left, 0)
            white[y : y + part.shape[0], x : x + part.shape[1]] = part
            part = white
        place.copy_(_rounded(part.permute(2, 0, 1)[None], size)[0].permute(1, 2, 0))
    return resized.permute(0, 3, 1, 2).to(torch.float32).div_(255.0)


def _filtered(images: Tensor, size: int, boxes: Tensor) -> Tensor:
    """The same for all images at once, in floats: one filter matrix for the rows and one for the columns."""
    batch, height, width, channels = images.shape
    left, top, across, down = boxes.unbind(1)
    darkness = images.reshape(batch, height, width * channels).to(torch.float32).div_(-255.0).add_(1.0)
    rows = _filter(top, down, height, size) @ darkness
    rows = rows.view(batch, size, width, channels).transpose(1, 2).reshape(batch, width, size * channels)
    both = _filter(left, across, width, size) @ rows
    return both.view(batch, size, size, channels).permute(0, 3, 2, 1).neg().add_(1.0)


def _filter(start: Tensor, extent: Tensor, length: int, size: int) -> Tensor:
    """(B, size, length) weights that resample the pixels of an axis to those of boxes (B,).

    Triangle filters as wide as a pixel of the result, or of the image if that is larger, within the box. Pixels outside of
    the image have darkness 0 and are omitted.
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
    """(B, size, 1) sums of the weights over all pixels of a box, including those outside of the image.

    On either side of a centre the weights are an arithmetic series; a loop would synchronise with the device.
    """
    middle = (centres - 0.5).floor()
    first = (torch.maximum(centres - support, low) - 0.5).ceil()
    last = (torch.minimum(centres + support, high) - 0.5).floor()
    before, after = (middle - first + 1).clamp(min=0.0), (last - middle).clamp(min=0.0)
    mean_before, mean_after = (first + middle + 1) / 2 - centres, (middle + last + 2) / 2 - centres
    return before * (1.0 + mean_before / support) + after * (1.0 - mean_after / support)


def _turned(images: Tensor, angles: Tensor, finer: int) -> Tensor:
    """(B, 3, S / finer, S / finer) of (B, 3, S, S), rotated clockwise by (B,) radians; white outside."""
    edge = images.shape[-1]
    cos, sin, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
    # Maps result pixels to source pixels; y points down.
    matrices = torch.stack([cos, sin, zero, -sin, cos, zero], dim=1).view(-1, 2, 3)
    grid = functional.affine_grid(
        matrices, [len(images), 3, edge // finer, edge // finer], align_corners=False
    )
    darkness = 1.0 - images.contiguous()
    if finer == 2:  # means of neighbours span a square smaller by one pixel
        darkness = darkness[:, :, :-1] + darkness[:, :, 1:]
        darkness = (darkness[..., :-1] + darkness[..., 1:]) / 4.0
        grid = grid * (edge / (edge - 1))
    return 1.0 - functional.grid_sample(darkness, grid, align_corners=False)
