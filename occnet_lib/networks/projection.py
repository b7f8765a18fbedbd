"""Projection of points into the encoder's input, through the window that the encoder sees.

A projection is a (3, 4) matrix that maps homogeneous points of the unit frame to homogeneous image coordinates; the third is
the depth along the camera's axis in units of the unit frame. Cameras of images are in fractions of the width and height from
the upper left corner (`geometry.cameras.image_projection`). Those of the encoder's input are in [-1, 1], the convention of
`grid_sample` with `align_corners=False`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from .images import pixel_boxes

_NEAREST = 0.05
"""Least depth in units of the unit frame: points of the cube beside or behind a very near camera are moved before it."""


def product(matrices: Tensor, others: Tensor) -> Tensor:
    """Matrix product (…, N, K) of (…, N, M) and (…, M, K) that autocast does not round."""
    return (matrices.unsqueeze(-1) * others.unsqueeze(-3)).sum(-2)


def window_matrices(windows: Tensor, count: int, height: int, width: int) -> Tensor:
    """(B, 3, 3) from fractions of images to [-1, 1] of the encoder's input.

    Args:
        windows: (B, 4), (B, 5) or (0, …) as in `images.encoder_input`, which rounds them to pixels alike.
        count: number of images, B.
        height, width: of the images in pixels.
    """
    matrices = torch.zeros(count, 3, 3, device=windows.device)
    matrices[:, 2, 2] = 1.0
    if not len(windows):
        matrices[:, 0, 0] = matrices[:, 1, 1] = 2.0
        matrices[:, :2, 2] = -1.0
        return matrices
    size = torch.tensor([width, height], device=windows.device, dtype=torch.float32)
    boxes = pixel_boxes(windows, height, width)
    scale = 2.0 / (boxes[:, 2:] / size)
    matrices[:, 0, 0], matrices[:, 1, 1] = scale.unbind(1)
    matrices[:, :2, 2] = -1.0 - scale * boxes[:, :2] / size
    if windows.shape[1] > 4:  # clockwise, y down
        turns = torch.zeros_like(matrices)
        cos, sin = windows[:, 4].cos(), windows[:, 4].sin()
        turns[:, 0, 0] = turns[:, 1, 1] = cos
        turns[:, 1, 0], turns[:, 0, 1] = sin, -sin
        turns[:, 2, 2] = 1.0
        matrices = product(turns, matrices)
    return matrices


def principal_points(matrices: Tensor) -> Tensor:
    """(B, 2) of the image's centre in [-1, 1] of the encoder's input, by `window_matrices` (B, 3, 3)."""
    return matrices[:, :2, :2].sum(-1) / 2.0 + matrices[:, :2, 2]


def project(points: Tensor, projections: Tensor) -> tuple[Tensor, Tensor]:
    """Image coordinates (B, T, 2) and depths (B, T) of points (B, T, 3) under projections (B, 3, 4).

    Sums of products and not a matrix product, for which autocast would round the points.
    """
    linear, offset = projections[:, None, :, :3], projections[:, None, :, 3]
    image = (linear * points.unsqueeze(2)).sum(-1) + offset
    depth = image[..., 2]
    return image[..., :2] / depth.clamp(min=_NEAREST).unsqueeze(-1), depth


def rotations_of(projections: Tensor) -> Tensor:
    """(…, 3, 3) rotations, unit frame to camera, of projections (…, 3, 4) without skew."""
    along = functional.normalize(projections[..., 2:, :3], dim=-1)
    rows = projections[..., :2, :3]
    rows = rows - (rows * along).sum(-1, keepdim=True) * along
    return torch.cat([functional.normalize(rows, dim=-1), along], dim=-2)


def intrinsics_of(projections: Tensor) -> Tensor:
    """(…, 4) focal lengths along x and y and principal point of projections (…, 3, 4) without skew."""
    along = functional.normalize(projections[..., 2:, :3], dim=-1)
    rows = projections[..., :2, :3]
    principal = (rows * along).sum(-1)
    focal = (rows - principal.unsqueeze(-1) * along).norm(dim=-1)
    scale = projections[..., 2, :3].norm(dim=-1, keepdim=True)
    return torch.cat([focal, principal], dim=-1) / scale


class Taps(NamedTuple):
    """Pixels of several maps around places, and their weights in bilinear interpolation with its derivatives.

    Attributes:
        rows: (N, 4 L) int64 indices into the L maps' pixels, the maps one after the other, each row by row.
        weights: (N, 4 L).
        along_x, along_y, mixed: if requested, (N, 4 L) derivatives of the weights with respect to x, y and both; between
            four pixels bilinear interpolation is a polynomial.
    """

    rows: Tensor
    weights: Tensor
    along_x: Tensor | None = None
    along_y: Tensor | None = None
    mixed: Tensor | None = None


def bilinear_taps(places: Tensor, sizes: Tensor, derivatives: bool = False) -> Taps:
    """The four pixels of each of several maps between which places lie.

    The interpolation is that of `grid_sample` with border padding and `align_corners=False`.

    Args:
        places: (N, 2) x and y in [-1, 1]; outside of it the border's value continues.
        sizes: (L, 2) int64 width and height of each map.
        derivatives: whether to compute those of the weights.
    """
    scale = sizes.to(places.dtype) / 2.0
    last = sizes.to(places.dtype) - 1.0
    free = (places.detach().unsqueeze(1) + 1.0) * scale - 0.5
    at = torch.minimum(free.clamp(min=0.0), last)
    low = torch.minimum(at.floor(), (last - 1.0).clamp(min=0.0))
    x, y = (at - low).unbind(-1)
    ends_x, ends_y = torch.stack([1 - x, x], -1), torch.stack([1 - y, y], -1)
    pairs = [(ends_x, ends_y)]
    if derivatives:
        dx, dy = (scale * (free == at)).unbind(-1)
        gradients_x, gradients_y = torch.stack([-dx, dx], -1), torch.stack([-dy, dy], -1)
        pairs += [(gradients_x, ends_y), (ends_x, gradients_y), (gradients_x, gradients_y)]
    weights = [(down.unsqueeze(-1) * across.unsqueeze(-2)).flatten(1) for across, down in pairs]
    column, row = low.long().unbind(-1)
    width, height = sizes.unbind(1)
    starts = (width * height).cumsum(0) - width * height
    right, below = (width > 1).long(), width * (height > 1)
    steps = torch.stack([torch.zeros_like(width), right, below, below + right], dim=1)
    rows = ((starts + row * width + column).unsqueeze(-1) + steps).flatten(1)
    return Taps(rows, *weights)
