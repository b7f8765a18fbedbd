"""Vertices follow corrected face normals (Sun et al., "Fast and effective feature-preserving mesh denoising", TVCG 2007)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from occnet_lib.geometry.intersections import self_intersecting
from occnet_lib.types import Mesh

from .refine import apply_moves

ROUNDS = 10
"""Default number of rounds."""


class Followed(NamedTuple):
    """A mesh whose vertices follow normals.

    Attributes:
        mesh: the input's faces with moved vertices.
        rejected_moves: how often a vertex was kept in place, or returned, so that no face turns over or intersects another.
    """

    mesh: Mesh
    rejected_moves: int


def follow_normals(mesh: Mesh, normals: NDArray[np.floating], rounds: int = ROUNDS) -> Followed:
    """Move the vertices so that the faces get given normals; the faces themselves do not change.

    The paper's vertex update, iterated: v ← v + 1/|F_v| Σ_f n_f (n_f · (c_f - v)) over the faces f at the vertex v, with the
    given normal n and the present centroid c. Moves that would turn a face by more than a right angle, in a round or in
    all, are left out, as in `refine`; in the end, vertices return to where they were until no face intersects another one
    that did not before.

    Args:
        mesh: need not be closed.
        normals: (F, 3) unit; 0 for faces that have no effect.
        rounds: number of rounds.
    """
    import torch

    from occnet_lib.networks.arrays import tensor_of

    if len(mesh.faces) == 0 or rounds == 0:
        return Followed(mesh, 0)
    vertices, target = (tensor_of(array, dtype=torch.float64) for array in (mesh.vertices, normals))
    faces = tensor_of(mesh.faces, dtype=torch.int64)
    effective = (target.square().sum(1) > 0).double().repeat_interleave(3)
    corners = faces.reshape(-1)
    count = torch.zeros(len(vertices), dtype=torch.float64).index_add_(0, corners, effective).clamp_min(1.0)
    first = tensor_of(mesh.area_vectors, dtype=torch.float64)
    rejected_moves = 0
    for _ in range(rounds):
        triangles = vertices[faces]
        gap = triangles.mean(1, keepdim=True) - triangles
        per_corner = target[:, None, :] * (gap * target[:, None, :]).sum(2, keepdim=True)
        move = torch.zeros_like(vertices).index_add_(0, corners, per_corner.reshape(-1, 3))
        vertices, rejected = apply_moves(vertices, move / count[:, None], faces, first)
        rejected_moves += rejected
    followed, returned = _without_new_intersections(mesh, vertices.numpy())
    return Followed(followed, rejected_moves + returned)


def _without_new_intersections(mesh: Mesh, vertices: NDArray[np.float64]) -> tuple[Mesh, int]:
    """The mesh with moved vertices (V, 3), without those whose moves cause intersections, and their number."""
    before, first = self_intersecting(mesh), mesh.area_vectors
    returned = np.zeros(len(vertices), dtype=bool)
    while True:
        moved = Mesh(np.where(returned[:, None], mesh.vertices, vertices), mesh.faces, mesh.colors)
        turned = (moved.area_vectors * first).sum(axis=1) < 0  # a face with some of its vertices returned
        bad = (self_intersecting(moved) & ~before) | turned
        bad &= ~returned[mesh.faces].all(axis=1)
        if not bad.any():
            return moved, int(returned.sum())
        returned[mesh.faces[bad]] = True
