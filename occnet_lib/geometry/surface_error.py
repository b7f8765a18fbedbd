"""The error of a surface at every place of it: signed distance to a closed one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from occnet_lib.types import Mesh

from .occupancy import signed_distance


def surface_error(mesh: Mesh, ground_truth: Mesh, longest_edge: float) -> tuple[Mesh, NDArray[np.float64]]:
    """Signed distance of a surface to the ground truth at its vertices, dense enough to be interpolated between them.

    A large face may be exact at its corners and wrong between them, so faces are divided first.

    Args:
        mesh: the surface, in the frame of the ground truth.
        ground_truth: closed mesh.
        longest_edge: of the divided faces, in units of the unit cube; of a mesh larger than that, a fraction of its extent.

    Returns:
        the mesh with divided faces, without colours, and (V,) float64 errors of its vertices in the units of both meshes:
        positive outside the ground truth, negative inside.
    """
    from trimesh.remesh import subdivide_to_size

    if not len(mesh.faces):
        return Mesh(mesh.vertices, mesh.faces), np.zeros(len(mesh.vertices))
    low, high = mesh.bounds
    limit = longest_edge * max(1.0, float((high - low).max()))
    vertices, faces = subdivide_to_size(mesh.vertices, mesh.faces, limit)
    divided = Mesh(np.asarray(vertices, np.float64), np.asarray(faces, np.int32))
    return divided, signed_distance(ground_truth, divided.vertices)
