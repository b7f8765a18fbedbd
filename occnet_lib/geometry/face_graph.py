"""The dual graph of a triangle mesh: which faces are neighbours, and the angles between them."""

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
