"""Is a mesh closed and sound, and the last resort where it is not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import MeshError
from occnet_lib.records import Mesh


@dataclass(frozen=True)
class Soundness:
    """What keeps a mesh from bounding a solid.

    Attributes:
        boundary_edges: edges with one face.
        nonmanifold_edges: edges with three or more faces.
        flipped_edges: edges whose two faces run along them in the same direction.
        euler: vertices in use - edges + faces.
        volume: signed, of the tetrahedra from the origin; positive if wound outward.
    """

    boundary_edges: int
    nonmanifold_edges: int
    flipped_edges: int
    euler: int
    volume: float

    @property
    def closed(self) -> bool:
        """No boundary, no edge of three faces, consistently wound, and outward."""
        return not (self.boundary_edges or self.nonmanifold_edges or self.flipped_edges) and self.volume > 0


def edge_keys(faces: NDArray[np.integer], n_vertices: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """A number for each undirected edge of each face, and whether the face runs along it upwards.

    Returns:
        (3 F,) int64 `low * n_vertices + high`, in the order of the edges 01 of all faces, then 12, then 20;
        (3 F,) bool.
    """
    faces = np.asarray(faces, dtype=np.int64)
    start = np.concatenate([faces[:, 0], faces[:, 1], faces[:, 2]])
    end = np.concatenate([faces[:, 1], faces[:, 2], faces[:, 0]])
    return np.minimum(start, end) * n_vertices + np.maximum(start, end), start < end


def signed_volume(mesh: Mesh) -> float:
    """Volume of a closed mesh, negative if it is wound inward."""
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6.0)


def soundness(mesh: Mesh) -> Soundness:
    """Count what keeps a mesh from being closed."""
    key, upwards = edge_keys(mesh.faces, len(mesh.vertices))
    order = np.argsort(key, kind="stable")
    key, upwards = key[order], upwards[order]
    first = np.flatnonzero(np.diff(key, prepend=-1))
    count = np.diff(first, append=len(key))
    ups = np.add.reduceat(upwards.astype(np.int64), first) if len(first) else np.zeros(0, dtype=np.int64)
    return Soundness(
        boundary_edges=int((count == 1).sum()),
        nonmanifold_edges=int((count > 2).sum()),
        flipped_edges=int(((count == 2) & (ups != 1)).sum()),
        euler=len(np.unique(mesh.faces)) - len(first) + len(mesh.faces),
        volume=signed_volume(mesh),
    )


def repair(mesh: Mesh) -> Mesh:
    """Close a mesh by force (Attene 2010, "A lightweight approach to repairing digitized polygon meshes").

    Raises:
        MeshError: it could not be closed.
    """
    from pymeshfix import MeshFix

    fixer = MeshFix(mesh.vertices, mesh.faces, verbose=False)
    fixer.repair(joincomp=False, remove_smallest_components=False)
    fixed = Mesh(np.asarray(fixer.points, dtype=np.float64), np.asarray(fixer.faces, dtype=np.int32))
    if len(fixed.faces) and signed_volume(fixed) < 0:
        fixed = Mesh(fixed.vertices, np.ascontiguousarray(fixed.faces[:, ::-1]))
    if not len(fixed.faces) or not soundness(fixed).closed:
        raise MeshError("the surface could not be closed")
    return fixed
