"""Colour spaces."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Float = TypeVar("Float", np.float32, np.float64)

DEFAULT_COLOR = 0.7  # grey, for meshes and parts without a colour


def linear_to_srgb(values: NDArray[Float]) -> NDArray[Float]:
    """sRGB of linear light, both in [0, 1] (IEC 61966-2-1)."""
    values = np.clip(values, 0.0, 1.0)
    return np.where(values <= 0.0031308, 12.92 * values, 1.055 * values ** (1 / 2.4) - 0.055)


def srgb_to_linear(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Linear light of sRGB, both in [0, 1] (IEC 61966-2-1)."""
    values = np.clip(values, 0.0, 1.0)
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)
