"""Normals of meshes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from occnet_lib.types import Mesh


def vertex_normals(mesh: Mesh) -> NDArray[np.float32]:
    """(V, 3) float32 unit vertex normals: area-weighted means of the face normals; 0 at vertices of no face."""
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
