"""Mirror images: of points, rotations and cameras."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MIRROR = np.array([-1, 1, 1], np.float16)
"""Factors of x, y and z by which points of the unit frame become those of the shape mirrored from left to right, and
points of a camera's frame those of what its mirrored image shows."""

FLIP = np.array([[-1, 0, 1], [0, 1, 0], [0, 0, 1]], np.float32)
"""Fractions of an image's width and height to those in its mirror image, homogeneous."""


def mirrored(camera: NDArray[np.float32]) -> NDArray[np.float32]:
    """The camera (3, 4) of the mirrored shape in the mirrored image."""
    return FLIP @ camera * np.append(MIRROR, 1).astype(np.float32)
