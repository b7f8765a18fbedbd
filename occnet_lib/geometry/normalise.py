"""Into the unit cube and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
        raise MeshError(f"a face names a vertex outside 0..{len(mesh.vertices) - 1}")
    used = np.zeros(len(mesh.vertices), dtype=bool)
    used[mesh.faces] = True
    vertices = mesh.vertices[used]
    if not np.isfinite(vertices).all():
        raise MeshError("a vertex is not finite")
    return vertices.min(axis=0), vertices.max(axis=0)


def to_unit(points: ArrayLike, loc: ArrayLike, scale: float) -> NDArray[np.float64]:
    """(N, 3) points of the source frame in the unit frame: (x - loc) / scale."""
    return (np.asarray(points, dtype=np.float64) - np.asarray(loc)) / scale


def from_unit(points: ArrayLike, loc: ArrayLike, scale: float) -> NDArray[np.float64]:
    """(N, 3) points of the unit frame in the source frame: scale x + loc."""
    return np.asarray(points, dtype=np.float64) * scale + np.asarray(loc)


def unit_cube(mesh: Mesh) -> tuple[Mesh, NDArray[np.float64], float]:
    """Move a mesh so that its bounding box is centred at 0 and has a longest edge of 1.

    Vertices that no face uses are dropped, so that they cannot shift the frame (onet.md: ONet's `loc` and
    `scale`, of the original mesh).

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
    used, faces = np.unique(mesh.faces, return_inverse=True)
    colors = None if mesh.colors is None else mesh.colors[used]
    unit = replace(
        mesh,
        vertices=to_unit(mesh.vertices[used], loc, scale),
        faces=faces.reshape(-1, 3).astype(np.int32),
        colors=colors,
    )
    return unit, loc, scale


def to_source(mesh: Mesh, loc: ArrayLike, scale: float) -> Mesh:
    """A mesh of the unit frame in the source frame: the inverse of `unit_cube`."""
    return replace(mesh, vertices=from_unit(mesh.vertices, loc, scale))
