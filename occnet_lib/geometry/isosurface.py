"""The surface of a field on a grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import MeshError
from occnet_lib.geometry.grid import Grid
from occnet_lib.types import Mesh

# Values closer to the level than this fraction of the field's unit are moved away from it. Otherwise vertices of
# marching cubes would coincide at a sample, which makes edges with more than two faces.
_CLEARANCE = 1e-3


def isosurface(field: NDArray[np.float32], grid: Grid, *, unit: float = 1.0) -> Mesh:
    """The surface of `marching_cubes` in the frame of the grid (arguments as there; grid: where samples are)."""
    mesh = marching_cubes(field, unit=unit)
    return Mesh(grid.to_unit(mesh.vertices), mesh.faces)


def marching_cubes(field: NDArray[np.float32], *, unit: float = 1.0) -> Mesh:
    """Marching cubes (Lewiner et al. 2003) of a field that is negative inside.

    Args:
        field: (X, Y, Z) float32. Its border counts as outside regardless of its values.
        unit: size of a typical difference between neighbouring samples (1 for distances in voxels).

    Returns:
        closed mesh in voxels from sample (0, 0, 0), wound outward.

    Raises:
        MeshError: no sample is inside.
    """
    from skimage.measure import marching_cubes as lewiner

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
    vertices, faces, _, _ = lewiner(padded, 0.0, gradient_direction="descent")
    corner = np.array([b.start for b in box]) - 1
    return Mesh(vertices.astype(np.float64) + corner, faces.astype(np.int32))
