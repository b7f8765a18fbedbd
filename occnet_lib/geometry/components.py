"""Connected pieces of a mesh."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from occnet_lib.geometry.repair import signed_volume
from occnet_lib.records import Mesh


def label_faces(mesh: Mesh) -> tuple[int, NDArray[np.int32]]:
    """Number of pieces, and the piece (F,) int32 of every face; faces that share a vertex are in one piece."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(mesh.vertices)
    start, end = mesh.faces[:, [0, 1]].ravel(), mesh.faces[:, [1, 2]].ravel()
    graph = coo_array((np.ones(len(start), dtype=np.int8), (start, end)), shape=(n, n))
    _, of_vertex = connected_components(graph, directed=False)
    kept, of_face = np.unique(of_vertex[mesh.faces[:, 0]], return_inverse=True)
    return len(kept), of_face.astype(np.int32)


def compact(mesh: Mesh) -> Mesh:
    """The mesh without the vertices that no face uses."""
    used = np.zeros(len(mesh.vertices), dtype=bool)
    used[mesh.faces] = True
    number = np.cumsum(used, dtype=np.int32) - np.int32(1)
    return Mesh(mesh.vertices[used], number[mesh.faces])


def remove_specks(mesh: Mesh, min_share: float) -> tuple[Mesh, int]:
    """Remove closed pieces, and closed hollows, of less than a share of the whole's volume.

    Args:
        mesh: closed, wound outward.
        min_share: of the volume of the whole.

    Returns:
        the mesh and the number of pieces removed.
    """
    pieces, of_face = label_faces(mesh)
    if pieces <= 1:
        return mesh, 0
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    parts = np.einsum("ij,ij->i", a, np.cross(b, c)) / 6.0
    volume = np.abs(np.bincount(of_face, weights=parts, minlength=pieces))
    keep = (volume >= min_share * abs(signed_volume(mesh))) | (volume == volume.max())
    if keep.all():
        return mesh, 0
    return compact(Mesh(mesh.vertices, mesh.faces[keep[of_face]])), int((~keep).sum())
