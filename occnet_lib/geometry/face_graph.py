"""The dual graph of a triangle mesh: which faces are neighbours, angles between them, a filter of normals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from occnet_lib.types import Mesh

from .topology import edge_groups


def face_neighbours(faces: NDArray[np.integer], n_vertices: int) -> NDArray[np.int64]:
    """(F, 3) the face across the edge from corner k of a face to the next one; the face itself where there is none.

    An edge of one face (open mesh) or of more than two (not manifold) has no neighbour.
    """
    half_edges, first, size = edge_groups(faces, n_vertices)
    a, b = half_edges[first[size == 2]], half_edges[first[size == 2] + 1]
    n = len(faces)
    neighbours = np.repeat(np.arange(n)[:, None], 3, axis=1)
    neighbours[a % n, a // n], neighbours[b % n, b // n] = b % n, a % n
    return neighbours


def dihedral_angles(mesh: Mesh, neighbours: NDArray[np.int64]) -> NDArray[np.float64]:
    """(F, 3) signed angles between a face's normal and its neighbours': 0 where flat, positive at convex edges.

    Args:
        mesh: consistently wound.
        neighbours: of `face_neighbours`.

    Returns:
        radians from -π to π; 0 without a neighbour, and with a face without area.
    """
    normals, corners = mesh.face_normals, mesh.triangles
    edges = np.roll(corners, -1, axis=1) - corners
    edges /= np.maximum(np.linalg.norm(edges, axis=2, keepdims=True), 1e-300)
    own, other = normals[:, None, :], normals[neighbours]
    sine = (np.cross(np.broadcast_to(own, other.shape), other) * edges).sum(axis=2)
    return np.asarray(np.arctan2(sine, (own * other).sum(axis=2)))


def faces_at_vertices(mesh: Mesh) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pairs of different faces with a common vertex, each in both orders and once: (P,) and (P,), sorted."""
    from scipy.sparse import coo_array

    n = len(mesh.faces)
    corner = np.repeat(np.arange(n), 3), mesh.faces.ravel()
    incidence = coo_array((np.ones(3 * n), corner), shape=(n, len(mesh.vertices))).tocsr()
    pairs = (incidence @ incidence.T).tocoo()
    a, b = pairs.coords
    order = np.lexsort((b, a))
    order = order[a[order] != b[order]]
    return a[order].astype(np.int64), b[order].astype(np.int64)


def bilateral_normals(mesh: Mesh, sigma: float = 0.35, iterations: int = 5) -> NDArray[np.float64]:
    """Face normals that are smoothed within smooth parts, while edges stay sharp.

    Zheng et al., "Bilateral normal filtering for mesh denoising", TVCG 2011: the paper's
    local iterative scheme over the faces that have a common vertex:
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
