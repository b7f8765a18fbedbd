"""Positional encoding of points, which lets smooth decoders represent fine detail."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def encoded_dim(frequencies: int) -> int:
    """Number of channels of a point after `encode`."""
    return 3 + 6 * frequencies


def encode(points: Tensor, frequencies: int) -> Tensor:
    """Points and the sine and cosine of 2^k π p for k < frequencies (Mildenhall et al. 2020, equation 4).

    Args:
        points: (..., 3), unit frame.
        frequencies: number of frequencies; 0 returns the points unchanged.

    Returns:
        (..., 3 + 6 * frequencies).
    """
    if frequencies == 0:
        return points
    scales = math.pi * 2.0 ** torch.arange(frequencies, device=points.device, dtype=points.dtype)
    angles = (points.unsqueeze(-2) * scales[:, None]).flatten(-2)
    return torch.cat([points, angles.sin(), angles.cos()], dim=-1)
