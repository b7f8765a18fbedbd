"""Random points on a surface."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import MeshError
from occnet_lib.types import Mesh


def sample_surface(
    mesh: Mesh, n: int, rng: np.random.Generator, weights: NDArray[np.floating] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]]:
    """Draw points uniformly by area, or by other weights of the faces.

    A point is (1 - √r) a + √r (1 - s) b + √r s c of a face drawn by its area (Osada et al. 2002, eq. 1).

    Args:
        mesh: any mesh with area.
        n: number of points.
        rng: draws everything.
        weights: (F,) not negative; faces are drawn in proportion to them in place of their areas.

    Returns:
        points (n, 3) float64, unit face normals there (n, 3) float64, faces (n,) intp, in random order.

    Raises:
        MeshError: the mesh has no area.
    """
    weights = mesh.face_areas if weights is None else weights
    cumulative = np.cumsum(weights)
    if len(cumulative) == 0 or not cumulative[-1] > 0:
        raise MeshError("the mesh has no surface area to draw points from")
    # side="right" never picks a face without area; the largest deviate stays below the sum.
    face = np.searchsorted(cumulative, rng.random(n) * cumulative[-1], side="right")
    face = np.minimum(face, int(np.flatnonzero(weights)[-1]))
    root = np.sqrt(rng.random(n))
    s = rng.random(n)
    drawn = Mesh(mesh.vertices, mesh.faces[face])
    points = np.einsum(
        "nk,nkd->nd", np.stack([1.0 - root, root * (1.0 - s), root * s], axis=1), drawn.triangles
    )
    return points, drawn.face_normals, face
