"""Which refinement a mesh gets: towards the field's surface, by corrected face normals, or both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from occnet_lib.config import Refinement
from occnet_lib.errors import ConfigError
from occnet_lib.geometry.face_graph import bilateral_normals, face_neighbours
from occnet_lib.geometry.intersections import self_intersecting
from occnet_lib.types import Mesh

from .refine import Refined, apply_moves

FaceNormals = Callable[[Mesh], NDArray[np.floating]]
"""Corrected normals (F, 3), unit, of the faces of a mesh of the unit frame; 0 where there is none."""


def refined(
    mesh: Mesh,
    refinement: Refinement,
    towards_field: Callable[[Mesh], Refined] | None = None,
    face_normals: FaceNormals | None = None,
) -> Refined:
    """The mesh after the configured refinement, with the same faces.

    Args:
        mesh: unit frame.
        refinement: gradient: `towards_field`; graph: the vertices follow `face_normals`; both: in this order; bilateral: the
            vertices follow the filtered normals of the mesh; none.
        towards_field: refinement by the field's gradient (`refine`); None: left out.
        face_normals: predicts normals.

    Raises:
        ConfigError: graph or both without `face_normals`.
    """
    result = Refined(mesh, float("nan"), float("nan"), False, 0)
    if refinement in ("gradient", "both") and towards_field is not None:
        result = towards_field(mesh)
    if refinement == "bilateral":
        face_normals = bilateral_normals
    elif refinement not in ("graph", "both"):
        return result
    if face_normals is None:
        raise no_graph_network(refinement)
    followed = follow_normals(result.mesh, face_normals(result.mesh))
    rejected_moves = result.rejected_moves + followed.rejected_moves
    return replace(result, mesh=followed.mesh, improved=True, rejected_moves=rejected_moves)


def no_graph_network(refinement: Refinement) -> ConfigError:
    """The error of a refinement that needs a graph network and has none."""
    hint = "give graph.ckpt of `occnet train_refinement`, or use gradient, bilateral or none"
    return ConfigError(f"reconstruct.refinement is {refinement}, which needs a graph network", hint=hint)


def defects(mesh: Mesh) -> str:
    """What limits the refinement of a mesh by face normals: open edges, faces without area; empty where nothing does."""
    neighbours = face_neighbours(mesh.faces, len(mesh.vertices))
    counts = {
        "edges without a second face": int((neighbours == np.arange(len(mesh.faces))[:, None]).sum()),
        "faces without area": int((mesh.face_areas == 0).sum()),
    }
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


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

    Sun et al., "Fast and effective feature-preserving mesh denoising", TVCG 2007: the paper's
    vertex update, iterated: v ← v + 1/|F_v| Σ_f n_f (n_f · (c_f - v)) over the faces f at the vertex v, with the
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
