"""Consistent outward winding of a user's mesh, with the reason where it does not bound a solid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from occnet_lib.geometry.components import component_volumes, label_faces, submesh
from occnet_lib.geometry.repair import WatertightCheck, check_watertight, make_manifold, merge_vertices
from occnet_lib.geometry.topology import connected_components, edge_keys
from occnet_lib.types import Mesh


@dataclass(frozen=True)
class OrientedMesh:
    """A mesh and whether it bounds a solid.

    Attributes:
        mesh: the same surface; if it is closed, with coincident vertices merged and wound outward.
        defect: why it does not bound a solid; empty if it does.
        flipped: number of faces whose winding was reversed.
    """

    mesh: Mesh
    defect: str = ""
    flipped: int = 0

    @property
    def note(self) -> str:
        """Message about the defect or the flipped faces; empty if there are none."""
        if self.defect:
            return f"is not closed ({self.defect})"
        if self.flipped:
            return (
                f"has faces that point inward: {self.flipped} of {len(self.mesh.faces)}, which were flipped"
            )
        return ""


def orient_outward(mesh: Mesh) -> OrientedMesh:
    """Merge equal vertices where that closes the mesh, and wind its faces outward.

    Formats without shared vertices (STL) and exporters that duplicate vertices at seams leave a closed surface in
    pieces. Faces are wound consistently across every edge, then each component outward, or inward if it bounds a hollow.

    Args:
        mesh: any triangles.
    """
    if len(mesh.faces) == 0:
        return OrientedMesh(mesh, "it has no faces")
    check = check_watertight(mesh)
    if _defects(check):
        joined = _joined(mesh)
        if len(joined.faces) == 0:
            return OrientedMesh(mesh, "all its faces lie back to back")
        merged = check_watertight(joined)
        if _defects(merged) < _defects(check):
            mesh, check = joined, merged
    if _defects(check):
        return OrientedMesh(mesh, _reason(check))
    flip = _inconsistent(mesh) if check.flipped_edges else np.zeros(len(mesh.faces), dtype=bool)
    if flip is None:
        return OrientedMesh(mesh, "its faces have no common outside, as those of a Möbius strip")
    flip ^= _inward(mesh.flipped(flip))
    return OrientedMesh(mesh.flipped(flip), flipped=int(flip.sum()))


def _defects(check: WatertightCheck) -> int:
    return check.boundary_edges + check.nonmanifold_edges


def _reason(check: WatertightCheck) -> str:
    counts = {"edges of one face": check.boundary_edges, "of three or more": check.nonmanifold_edges}
    return ", ".join(f"{count} {words}" for words, count in counts.items() if count)


def _joined(mesh: Mesh) -> Mesh:
    """The mesh with equal vertices merged, and cut apart where it only touches itself."""
    joined = merge_vertices(mesh, exact=True)
    check = check_watertight(joined)
    return make_manifold(joined) if check.nonmanifold_edges and not check.boundary_edges else joined


def _inconsistent(mesh: Mesh) -> NDArray[np.bool_] | None:
    """Faces (F,) to be flipped for a consistent winding of each component; None if the mesh is not orientable.

    These follow from the components of the orientation double cover, which has each face with both windings, connected
    across its edges to the consistent windings of its neighbours.
    """
    count = len(mesh.faces)
    key, upwards = edge_keys(mesh.faces, len(mesh.vertices))
    first, second = np.argsort(key, kind="stable").reshape(-1, 2).T
    conflict = upwards[first] == upwards[second]
    one, two = first % count, second % count
    start = np.concatenate([one, one + count])
    end = np.concatenate([two + count * conflict, two + count * ~conflict])
    _, label = connected_components(start, end, 2 * count)
    as_is, reversed_ = label[:count], label[count:]
    if (as_is == reversed_).any():
        return None
    flip: NDArray[np.bool_] = as_is > reversed_
    return flip


def _inward(mesh: Mesh) -> NDArray[np.bool_]:
    """Faces (F,) of those components of a closed, consistently wound mesh that point into the solid."""
    from occnet_lib.geometry.occupancy import contains

    count, of_face = label_faces(mesh)
    wrong = component_volumes(mesh.transformed(-mesh.vertices.mean(axis=0), 1.0), of_face, count) < 0
    if count > 1:
        for piece in np.flatnonzero(wrong):
            others = submesh(mesh, of_face != piece)
            corner = mesh.vertices[mesh.faces[of_face == piece][0, :1]]
            wrong[piece] = not contains(others, corner)[0]  # the surface of a hollow points inward
    inward: NDArray[np.bool_] = wrong[of_face]
    return inward
