"""Bilateral filter of face normals (Zheng et al., "Bilateral normal filtering for mesh denoising", TVCG 2011)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from occnet_lib.types import Mesh

from .face_graph import faces_at_vertices


def bilateral_normals(mesh: Mesh, sigma: float = 0.35, iterations: int = 5) -> NDArray[np.float64]:
    """Face normals that are smoothed within smooth parts, while edges stay sharp.

    The paper's local iterative scheme over the faces that have a common vertex:
    n_i ← normalise Σ_j A_j exp(-|c_i - c_j|² / 2σ_c²) exp(-|n_i - n_j|² / 2σ²) n_j, with the area A, the centroid c, and
    σ_c the mean distance of neighbouring centroids.

    Args:
        mesh: consistently wound; need not be closed.
        sigma: σ, a distance of unit normals (0.35 is about 20°).
        iterations: number of passes.

    Returns:
        (F, 3) unit normals; 0 for faces without area and without neighbours that have one.
    """
    if len(mesh.faces) == 0:
        return np.zeros((0, 3))
    i, j = faces_at_vertices(mesh)
    normals, centroids = mesh.face_normals, mesh.triangles.mean(axis=1)
    distance = np.linalg.norm(centroids[i] - centroids[j], axis=1)
    scale = max(float(distance.mean()), 1e-300) if len(distance) else 1.0
    areas = mesh.face_areas
    spatial = areas[j] * np.exp(-(distance**2) / (2.0 * scale**2))
    for _ in range(iterations):
        difference = ((normals[i] - normals[j]) ** 2).sum(axis=1)
        weights = (spatial * np.exp(-difference / (2.0 * sigma**2)))[:, None]
        sums = areas[:, None] * normals  # a face is its own neighbour at distance 0
        for axis in range(3):
            sums[:, axis] += np.bincount(i, weights[:, 0] * normals[j, axis], len(normals))
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        normals = np.where(length > 0.0, sums / np.where(length > 0.0, length, 1.0), normals)
    return np.asarray(normals)
