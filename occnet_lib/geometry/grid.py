"""The regular grid of sample points that a field is stored on, and the surface of the field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import MeshError
from occnet_lib.types import Mesh


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


# Values closer to the level than this fraction of the field's unit are moved away from it. Otherwise vertices of
# marching cubes would coincide at a sample, which makes edges with more than two faces.
_CLEARANCE = 1e-3


def isosurface(field: NDArray[np.float32], grid: Grid, *, unit: float = 1.0) -> Mesh:
    """Marching cubes (Lewiner et al. 2003) of a field that is negative inside.

    Args:
        field: (X, Y, Z) float32. Its border counts as outside regardless of its values.
        grid: where its samples are.
        unit: size of a typical difference between neighbouring samples (1 for distances in voxels).

    Returns:
        closed mesh in the frame of the grid, wound outward.

    Raises:
        MeshError: no sample is inside.
    """
    from skimage.measure import marching_cubes

    inside = field < 0
    if not inside.any():
        raise MeshError("the field has no inside: the shape is too thin for the grid, or empty")
    box = []
    for axis in range(3):
        hit = np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis)))
        box.append(slice(max(hit[0] - 1, 0), hit[-1] + 2))
    part = field[tuple(box)]
    # One layer of outside around everything closes the surface at the border.
    padded = np.pad(part, 1, constant_values=np.float32(unit))
    small = np.abs(padded) < _CLEARANCE * unit
    padded[small] = np.where(padded[small] < 0, -_CLEARANCE * unit, _CLEARANCE * unit)
    vertices, faces, _, _ = marching_cubes(padded, 0.0, gradient_direction="descent")
    corner = np.array([b.start for b in box]) - 1
    return Mesh(grid.to_unit(vertices.astype(np.float64) + corner), faces.astype(np.int32))
