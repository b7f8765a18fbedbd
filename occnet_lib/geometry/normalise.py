"""Bounding box and unit frame of a mesh."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import MeshError
from occnet_lib.types import Mesh


def bounding_box(mesh: Mesh) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper corner, (3,) float64 each, of the vertices that some face uses.

    Raises:
        MeshError: no faces, an index outside the vertices, a vertex that is not finite.
    """
    if len(mesh.faces) == 0:
        raise MeshError("the mesh has no faces")
    if mesh.faces.min() < 0 or mesh.faces.max() >= len(mesh.vertices):
        raise MeshError(f"a face refers to a vertex outside 0..{len(mesh.vertices) - 1}")
    vertices = mesh.vertices[mesh.used_vertices]
    if not np.isfinite(vertices).all():
        raise MeshError("a vertex is not finite")
    return vertices.min(axis=0), vertices.max(axis=0)


def unit_cube(mesh: Mesh) -> tuple[Mesh, NDArray[np.float64], float]:
    """Move and scale a mesh so that its bounding box is centred at 0 and has a longest edge of 1.

    Vertices that no face uses are dropped and do not affect the frame. `loc` and `scale` are those that ONet stores
    of the original mesh.

    Returns:
        the mesh in the unit frame, loc (3,) float64 and scale, with x_source = scale * x_unit + loc.

    Raises:
        MeshError: no faces, a bad index, a vertex that is not finite, no extent.
    """
    low, high = bounding_box(mesh)
    with np.errstate(over="ignore"):
        scale = float((high - low).max())
    if not np.isfinite(scale):
        raise MeshError("the mesh is too large for floating point numbers")
    if scale <= 1e-12 * max(1.0, float(np.abs(low).max()), float(np.abs(high).max())):
        raise MeshError("the mesh has no extent: all its vertices are at one place")
    loc = low / 2.0 + high / 2.0
    return mesh.compact().to_unit(loc, scale), loc, scale
