"""Grid of logits to closed mesh."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from occnet_lib.geometry.grid import Grid
from occnet_lib.geometry.isosurface import isosurface
from occnet_lib.records import Mesh


def empty_mesh() -> Mesh:
    """A mesh of nothing."""
    return Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int32))


def threshold_logit(threshold: float) -> float:
    """log(t / (1 - t)) of a probability t in (0, 1)."""
    return float(np.log(threshold) - np.log1p(-threshold))


def surface(logits: NDArray[np.float32], level: float, box: float = 1.1) -> Mesh:
    """The closed surface of a grid as `mise` gives it; without faces where nothing is inside.

    Args:
        logits: (n+1, n+1, n+1) float32; inside is above `level`.
        level: logit of the surface.
        box: edge of the cube that the grid spans.

    Returns:
        Mesh of the unit frame, faces outward. Where the inside reaches the border of the box the surface
        is closed less than a cell beyond it.
    """
    if not (logits > level).any():
        return empty_mesh()
    n = logits.shape[0]
    return isosurface(np.float32(level) - logits, Grid(np.full(3, -box / 2.0), box / (n - 1), (n, n, n)))


def is_closed(mesh: Mesh) -> bool:
    """Whether every edge belongs to exactly two faces that run along it in opposite directions."""
    if len(mesh.faces) == 0:
        return False
    faces = mesh.faces.astype(np.int64)
    start, end = faces.reshape(-1), np.roll(faces, -1, axis=1).reshape(-1)
    there, back = start * len(mesh.vertices) + end, end * len(mesh.vertices) + start
    there.sort()
    back.sort()
    return bool((np.diff(there) > 0).all() and (there == back).all() and (start != end).all())


def simplify(mesh: Mesh, max_faces: int) -> Mesh:
    """Quadric simplification (Garland and Heckbert 1997) to at most about `max_faces`, kept closed.

    Where the simplified mesh is not closed, one with more faces is tried; the mesh given is the last resort.

    Args:
        mesh: closed.
        max_faces: wanted number of faces; 0 means as they are.
    """
    import fast_simplification

    target = max_faces
    while 0 < target < len(mesh.faces):
        vertices, faces = fast_simplification.simplify(
            mesh.vertices.astype(np.float32), mesh.faces, target_count=target
        )
        candidate = Mesh(vertices.astype(np.float64), faces.astype(np.int32))
        if is_closed(candidate):
            return candidate
        target *= 2
    return mesh
