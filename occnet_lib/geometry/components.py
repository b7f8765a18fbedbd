"""Connected components of a mesh."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from occnet_lib.geometry.topology import connected_components
from occnet_lib.types import Mesh


def label_faces(mesh: Mesh) -> tuple[int, NDArray[np.int32]]:
    """Number of components, and the component (F,) int32 of each face; faces with a common vertex are connected."""
    start, end = mesh.faces[:, [0, 1]].ravel(), mesh.faces[:, [1, 2]].ravel()
    _, of_vertex = connected_components(start, end, len(mesh.vertices))
    labels, of_face = np.unique(of_vertex[mesh.faces[:, 0]], return_inverse=True)
    return len(labels), of_face.astype(np.int32)


def component_volumes(mesh: Mesh, of_face: NDArray[np.int32], count: int) -> NDArray[np.float64]:
    """(count,) signed volumes of the components of a closed mesh; negative for one wound inward."""
    a, b, c = (mesh.vertices[corner] for corner in mesh.faces.T)
    volumes = np.einsum("fk,fk->f", a, np.cross(b, c)) / 6.0
    return np.bincount(of_face, weights=volumes, minlength=count).astype(np.float64)


def submesh(mesh: Mesh, faces: NDArray[np.bool_]) -> Mesh:
    """The chosen faces (F,) of an untextured mesh, with the vertices that they use."""
    return replace(mesh, faces=mesh.faces[faces]).compact()


def remove_small_components(mesh: Mesh, min_fraction: float) -> tuple[Mesh, int, int]:
    """Fill closed hollows and remove small components.

    A hollow that is not connected to the outside cannot have been seen in a view: it was carved by a few rays through
    a narrow hole. Components within a hollow are removed with it.

    Args:
        mesh: closed, wound outward; hollows are wound inward.
        min_fraction: components below this fraction of the total volume are removed.

    Returns:
        the mesh, the number of components removed for their size, the number of hollows filled.
    """
    count, of_face = label_faces(mesh)
    if count <= 1:
        return mesh, 0, 0
    volume = component_volumes(mesh, of_face, count)
    hollow = volume < 0
    small = ~hollow & (volume < min_fraction * abs(volume.sum())) & (volume < volume.max())
    keep = ~hollow & ~small
    if hollow.any() and keep.any():
        keep &= ~_within_hollows(mesh, of_face, hollow, volume)
    if keep.all() or not keep.any():
        return mesh, 0, 0
    return submesh(mesh, keep[of_face]), int(small.sum()), int(hollow.sum())


def _within_hollows(
    mesh: Mesh, of_face: NDArray[np.int32], hollow: NDArray[np.bool_], volume: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which components lie in a hollow that is larger than they are."""
    from occnet_lib.geometry.occupancy import contains

    _, some_face = np.unique(of_face, return_index=True)
    corner = mesh.vertices[mesh.faces[some_face, 0]]  # one of each component
    within = np.zeros(len(hollow), dtype=bool)
    for component in np.flatnonzero(hollow & (-volume > volume[~hollow].min())):
        solid = submesh(mesh, of_face == component).flipped()
        within |= contains(solid, corner) & (volume < -volume[component])
    return within & ~hollow
