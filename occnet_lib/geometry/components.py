"""Connected pieces of a mesh."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from occnet_lib.types import Mesh


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


def remove_small_components(mesh: Mesh, min_share: float) -> tuple[Mesh, int, int]:
    """Fill closed hollows and remove small pieces.

    A hollow that is not joined to the outside is nothing that a view can have seen: it is what a few rays through a
    narrow hole have carved. Pieces within a hollow go with it.

    Args:
        mesh: closed, wound outward; hollows are wound inward.
        min_share: pieces of less than this share of the whole's volume are removed.

    Returns:
        the mesh, the number of pieces removed for their size, the number of hollows filled.
    """
    count, of_face = label_faces(mesh)
    if count <= 1:
        return mesh, 0, 0
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    parts = np.einsum("ij,ij->i", a, np.cross(b, c)) / 6.0
    volume: NDArray[np.float64] = np.bincount(of_face, weights=parts, minlength=count).astype(np.float64)
    hollow = volume < 0
    small = ~hollow & (volume < min_share * abs(volume.sum())) & (volume < volume.max())
    keep = ~hollow & ~small
    if hollow.any() and keep.any():
        keep &= ~_within_hollows(mesh, of_face, hollow, volume)
    if keep.all() or not keep.any():
        return mesh, 0, 0
    return compact(Mesh(mesh.vertices, mesh.faces[keep[of_face]])), int(small.sum()), int(hollow.sum())


def _within_hollows(
    mesh: Mesh, of_face: NDArray[np.int32], hollow: NDArray[np.bool_], volume: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which pieces lie in a hollow that is larger than they are."""
    from occnet_lib.geometry.occupancy import contains

    _, some_face = np.unique(of_face, return_index=True)
    corner = mesh.vertices[mesh.faces[some_face, 0]]  # one of each piece
    within = np.zeros(len(hollow), dtype=bool)
    for piece in np.flatnonzero(hollow & (-volume > volume[~hollow].min())):
        inward = compact(Mesh(mesh.vertices, mesh.faces[of_face == piece]))
        within |= contains(Mesh(inward.vertices, inward.faces[:, ::-1]), corner) & (volume < -volume[piece])
    return within & ~hollow
