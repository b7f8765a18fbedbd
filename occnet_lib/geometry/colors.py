"""Colour spaces."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Grey, for meshes and parts without a colour.
DEFAULT_COLOR = 0.7


def linear_to_srgb(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """sRGB of linear light, both in [0, 1] (IEC 61966-2-1)."""
    values = np.clip(values, 0.0, 1.0)
    return np.where(values <= 0.0031308, 12.92 * values, 1.055 * values ** (1 / 2.4) - 0.055).astype(
        np.float32
    )


def srgb_to_linear(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Linear light of sRGB, both in [0, 1] (IEC 61966-2-1)."""
    values = np.clip(values, 0.0, 1.0)
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4).astype(np.float32)
