"""Grid of logits to closed mesh."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from occnet_lib.records import Mesh

_OUTSIDE = np.float32(-1e6)
_NOT_ZERO = np.float32(-1e-6)


def empty_mesh() -> Mesh:
    """A mesh of nothing."""
    return Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int32))


def threshold_logit(threshold: float) -> float:
    """log(t / (1 - t)) of a probability t in (0, 1)."""
    return float(np.log(threshold) - np.log1p(-threshold))


def isosurface(logits: NDArray[np.float32], level: float, box: float = 1.1) -> Mesh:
    """Marching cubes (Lewiner et al. 2003), closed where the inside reaches the border of the box.

    Only the bounding box of the inside is looked at.

    Args:
        logits: (n+1, n+1, n+1) float32 as `mise` gives them; inside is above `level`.
        level: logit of the surface.
        box: edge of the cube that the grid spans.

    Returns:
        Mesh of the unit frame, faces outward; without faces where nothing is inside.
    """
    from skimage.measure import marching_cubes

    inside = logits > level
    spans = [np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    if spans[0].size == 0:
        return empty_mesh()
    low = np.array([max(span[0] - 1, 0) for span in spans])
    high = [span[-1] + 2 for span in spans]
    values = logits[low[0] : high[0], low[1] : high[1], low[2] : high[2]] - np.float32(level)
    # A corner exactly on the surface would make vertices of several edges coincide.
    values[np.abs(values) < -_NOT_ZERO] = _NOT_ZERO
    values = np.pad(values, 1, constant_values=_OUTSIDE)
    vertices, faces, _, _ = marching_cubes(values, 0.0, gradient_direction="ascent")
    cells = logits.shape[0] - 1
    unit = box * ((vertices.astype(np.float64) + (low - 1)) / cells - 0.5)
    return Mesh(unit, np.ascontiguousarray(faces, dtype=np.int32))


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


def vertex_normals(mesh: Mesh) -> NDArray[np.float32]:
    """(V, 3) float32 unit normals, those of the faces around weighted by area; 0 at vertices of no face."""
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    cross = np.cross(b - a, c - a)
    total = np.stack(
        [
            np.bincount(mesh.faces.reshape(-1), np.repeat(cross[:, k], 3), minlength=len(mesh.vertices))
            for k in range(3)
        ],
        axis=1,
    )
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return (total / np.where(length > 0, length, 1.0)).astype(np.float32)
