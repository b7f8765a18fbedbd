"""Sharp edges of a closed mesh and points on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from occnet_lib.types import Mesh

from .topology import edge_groups


@dataclass(frozen=True)
class Edges:
    """Edges between two faces of a mesh.

    Attributes:
        ends: (E, 2) int64 vertices of each edge.
        faces: (E, 2) int64 the faces on its two sides.
        angle: (E,) float64 angle between the faces' normals in radians: 0 where they are in one plane.
        length: (E,) float64 in the unit of the mesh.
    """

    ends: NDArray[np.int64]
    faces: NDArray[np.int64]
    angle: NDArray[np.float64]
    length: NDArray[np.float64]


def edges_between_faces(mesh: Mesh) -> Edges:
    """All edges of exactly two faces, without those of a face without area."""
    order, first, size = edge_groups(mesh.faces, len(mesh.vertices))
    pairs = first[size == 2]
    side, face = np.divmod(order[np.stack([pairs, pairs + 1], axis=1)], len(mesh.faces))
    corners = np.sort(3 * face + side, axis=1)  # the face of the lower number gives an edge its direction
    corners = corners[(mesh.face_areas[corners // 3] > 0).all(axis=1)]
    faces = corners // 3
    ends = mesh.faces[corners[:, :1] // 3, (corners[:, :1] + np.arange(2)) % 3]
    a, b = np.moveaxis(mesh.face_normals[faces], 1, 0)
    # atan2 is exact near 0 and near pi, where arccos of a rounded dot product is not.
    angle = np.arctan2(np.linalg.norm(np.cross(a, b), axis=1), np.einsum("ek,ek->e", a, b))
    length = np.linalg.norm(mesh.vertices[ends[:, 0]] - mesh.vertices[ends[:, 1]], axis=1)
    return Edges(ends.astype(np.int64), faces.astype(np.int64), angle, length)


def sharp_edges(mesh: Mesh, limit: float, scale: float) -> Edges:
    """Edges at which the surface bends by more than a limit, at a given scale.

    Extracted and simplified meshes have thin faces with meaningless normals. An edge therefore counts only if the
    surface at the distance `scale` on its two sides bends by more than the limit, too.

    Args:
        mesh: closed.
        limit: smallest angle between the normals in degrees.
        scale: distance in the unit of the mesh; edges of thinner parts may be missed.
    """
    from .occupancy import closest_faces

    edges = edges_between_faces(mesh)
    edges = _selected(edges, edges.angle > np.radians(limit))
    middle = mesh.vertices[edges.ends].mean(axis=1)
    along = mesh.vertices[edges.ends[:, 1]] - mesh.vertices[edges.ends[:, 0]]
    inward = [_inward(mesh, edges.faces[:, side], middle, along) for side in (0, 1)]
    across = _unit(inward[0] - inward[1])
    normals = mesh.face_normals
    sides = [closest_faces(mesh, middle + sign * scale * across) for sign in (1.0, -1.0)]
    a, b = normals[sides[0]], normals[sides[1]]
    is_sharp = np.einsum("ek,ek->e", a, b) < np.cos(np.radians(limit))
    return _selected(edges, is_sharp)


def sample_edges(
    mesh: Mesh, edges: Edges, count: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points on edges, uniform by length.

    Returns:
        points (count, 3) float64 and unit normals (count, 3) float64, the mean of those of the two faces.
    """
    cumulative = np.cumsum(edges.length)
    edge = np.searchsorted(cumulative, rng.random(count) * cumulative[-1], side="right")
    edge = np.minimum(edge, len(cumulative) - 1)
    at = rng.random((count, 1))
    ends = mesh.vertices[edges.ends[edge]]
    normals = mesh.face_normals
    return (1 - at) * ends[:, 0] + at * ends[:, 1], _unit(normals[edges.faces[edge]].sum(axis=1))


def curvature_weights(mesh: Mesh) -> NDArray[np.float64]:
    """(F,) integral of absolute mean curvature that each face carries: half of |angle| length / 2 of its edges.

    The integral of mean curvature over an edge of a polyhedron is angle times length over 2 (Cohen-Steiner and
    Morvan 2003, "Restricted Delaunay triangulations and normal cycle").
    """
    edges = edges_between_faces(mesh)
    value = np.repeat(edges.angle * edges.length / 4.0, 2)
    return np.bincount(edges.faces.ravel(), value, minlength=len(mesh.faces)).astype(np.float64)


def _selected(edges: Edges, which: NDArray[np.bool_]) -> Edges:
    return Edges(edges.ends[which], edges.faces[which], edges.angle[which], edges.length[which])


def _inward(
    mesh: Mesh, faces: NDArray[np.int64], middle: NDArray[np.float64], along: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(E, 3) unit vectors from each edge into a face, perpendicular to the edge."""
    into = mesh.vertices[mesh.faces[faces]].mean(axis=1) - middle
    axis = _unit(along)
    return _unit(into - np.einsum("ek,ek->e", into, axis)[:, None] * axis)


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)
