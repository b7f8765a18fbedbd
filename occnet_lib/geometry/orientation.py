"""A user's mesh as a solid: vertices joined, faces wound outward, and a reason where it does not bound one."""

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
        mesh: the same surface; where it is closed, with one vertex a place, wound outward.
        defect: why it does not bound a solid; empty where it does.
        flipped: number of faces whose winding was reversed.
    """

    mesh: Mesh
    defect: str = ""
    flipped: int = 0

    @property
    def note(self) -> str:
        """What a user must know about the mesh; empty where all is well."""
        if self.defect:
            return f"is not closed ({self.defect})"
        if self.flipped:
            return (
                f"has faces that point inward: {self.flipped} of {len(self.mesh.faces)}, which were flipped"
            )
        return ""


def orient_outward(mesh: Mesh) -> OrientedMesh:
    """Join vertices at the same place where that closes the mesh, and wind its faces outward.

    Formats without shared vertices (STL) and exporters that repeat vertices at seams leave a closed surface in pieces.
    Faces are wound alike across every edge, then each piece outward, or inward where it bounds a hollow of others.

    Args:
        mesh: any triangles.
    """
    if len(mesh.faces) == 0:
        return OrientedMesh(mesh, "it has no faces")
    sound = check_watertight(mesh)
    if sound.boundary_edges or sound.nonmanifold_edges:
        joined = _joined(mesh)
        mesh, sound = min(
            (mesh, sound), (joined, check_watertight(joined)), key=lambda pair: _faults(pair[1])
        )
    if _faults(sound):
        return OrientedMesh(mesh, _reason(sound))
    flip = _unlike(mesh) if sound.flipped_edges else np.zeros(len(mesh.faces), dtype=bool)
    if flip is None:
        return OrientedMesh(mesh, "its faces have no common outside, as those of a Möbius strip")
    flip ^= _inward(mesh.flipped(flip))
    return OrientedMesh(mesh.flipped(flip), flipped=int(flip.sum()))


def _faults(sound: WatertightCheck) -> int:
    return sound.boundary_edges + sound.nonmanifold_edges


def _reason(sound: WatertightCheck) -> str:
    counts = {"edges of one face": sound.boundary_edges, "of three or more": sound.nonmanifold_edges}
    return ", ".join(f"{count} {words}" for words, count in counts.items() if count)


def _joined(mesh: Mesh) -> Mesh:
    """The mesh with equal vertices merged, and cut apart where it only touches itself."""
    joined = merge_vertices(mesh, exact=True)
    sound = check_watertight(joined)
    return make_manifold(joined) if sound.nonmanifold_edges and not sound.boundary_edges else joined


def _unlike(mesh: Mesh) -> NDArray[np.bool_] | None:
    """Which faces (F,) are to be turned so that all of a piece are wound alike; None where there is no such choice.

    Components of the orientation double cover: every face is there with both windings, and joined across its edges
    with those windings of its neighbours that fit.
    """
    count = len(mesh.faces)
    key, upwards = edge_keys(mesh.faces, len(mesh.vertices))
    first, second = np.argsort(key, kind="stable").reshape(-1, 2).T
    unlike = upwards[first] == upwards[second]
    one, two = first % count, second % count
    start = np.concatenate([one, one + count])
    end = np.concatenate([two + count * unlike, two + count * ~unlike])
    _, label = connected_components(start, end, 2 * count)
    as_is, turned = label[:count], label[count:]
    if (as_is == turned).any():
        return None
    flip: NDArray[np.bool_] = as_is > turned
    return flip


def _inward(mesh: Mesh) -> NDArray[np.bool_]:
    """Faces (F,) of the pieces of a closed mesh, wound alike, that point into the solid."""
    from occnet_lib.geometry.occupancy import contains

    count, of_face = label_faces(mesh)
    wrong = component_volumes(mesh.transformed(-mesh.vertices.mean(axis=0), 1.0), of_face, count) < 0
    if count > 1:
        for piece in np.flatnonzero(wrong):
            others = submesh(mesh, of_face != piece)
            corner = mesh.vertices[mesh.faces[of_face == piece][0, :1]]
            wrong[piece] = not contains(others, corner)[0]  # a hollow's surface points inward rightly
    inward: NDArray[np.bool_] = wrong[of_face]
    return inward
