"""The regular grid of sample points that a field is stored on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Grid:
    """Sample points `origin + step * (i, j, k)` in a box; arrays over it are indexed [i, j, k] = [x, y, z].

    Attributes:
        origin: (3,) float64 position of sample (0, 0, 0), unit frame.
        step: distance between neighbours ("a voxel").
        shape: samples along x, y, z.
    """

    origin: NDArray[np.float64]
    step: float
    shape: tuple[int, int, int]

    def to_index(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(…, 3) positions of the unit frame in units of voxels from sample (0, 0, 0)."""
        return (points - self.origin) / self.step

    def to_unit(self, indices: NDArray[np.floating]) -> NDArray[np.float64]:
        """(…, 3) float64: the inverse of `to_index`."""
        return np.asarray(indices, dtype=np.float64) * self.step + self.origin


# The box's faces are often those of the shape. Were they right at samples, the field would be zero there, and a rod two
# samples wide would have but one sample inside; so the grid is shifted by these parts of a step.
_SHIFT = np.array([0.29, 0.37, 0.43])


def grid_around(low: NDArray[np.float64], high: NDArray[np.float64], resolution: int, margin: int) -> Grid:
    """The grid that has `resolution` samples along the longest edge of the box [low, high], margins included.

    Args:
        low, high: (3,) corners of the box to hold.
        resolution: samples along the longest edge.
        margin: samples beyond each face of the box, at the least.
    """
    extent = high - low
    step = float(extent.max()) / (resolution - 2 - 2 * margin)
    cells = np.ceil(extent / step - 1e-9).astype(int)
    shape = cells + 2 + 2 * margin
    origin = (low + high) / 2.0 - step * (cells / 2.0 + margin + _SHIFT)
    return Grid(origin, step, (int(shape[0]), int(shape[1]), int(shape[2])))
