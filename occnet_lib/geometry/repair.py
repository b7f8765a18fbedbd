"""Tests whether a mesh is watertight, and repairs meshes that are not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import MeshError
from occnet_lib.geometry.topology import connected_components, edge_groups, edge_keys, without_collapsed
from occnet_lib.types import Mesh

# Readers merge vertices that 32-bit or 8-digit numbers cannot distinguish, in any frame near the origin.
MERGE_DISTANCE = 1e-6
_CROWD = 16  # mean number of coincident vertices above which their pairs would fill memory


@dataclass(frozen=True)
class WatertightCheck:
    """Defects that keep a mesh from bounding a solid.

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
    def manifold(self) -> bool:
        """No boundary, no edge of three faces, consistently wound."""
        return not (self.boundary_edges or self.nonmanifold_edges or self.flipped_edges)

    @property
    def closed(self) -> bool:
        """Manifold, and wound outward."""
        return self.manifold and self.volume > 0


def check_watertight(mesh: Mesh) -> WatertightCheck:
    """Count the defects that keep a mesh from being closed."""
    key, upwards = edge_keys(mesh.faces, len(mesh.vertices))
    both = np.sort(2 * key + upwards)  # sorting values is several times faster than sorting indices
    key = both >> 1
    up = both & 1
    first = np.flatnonzero(np.diff(key, prepend=-1))
    count = np.diff(first, append=len(key))
    ups = np.add.reduceat(up, first) if len(first) else np.zeros(0, dtype=np.int64)
    return WatertightCheck(
        boundary_edges=int((count == 1).sum()),
        nonmanifold_edges=int((count > 2).sum()),
        flipped_edges=int(((count == 2) & (ups != 1)).sum()),
        euler=int(mesh.used_vertices.sum()) - len(first) + len(mesh.faces),
        volume=mesh.volume,
    )


def any_coincident(vertices: NDArray[np.float64]) -> bool:
    """Whether two vertices are within `MERGE_DISTANCE` of each other: quicker than `coincident_labels`."""
    # Distances along any direction are no larger, and along this one few vertices of axis-parallel planes are close.
    along = vertices @ np.array([0.5257, 0.6180, 0.5845])
    order = np.argsort(along, kind="stable")
    along, points = along[order], vertices[order]
    first = np.arange(len(order))
    for step in range(1, len(order)):
        first = first[: np.searchsorted(first, len(order) - step)]
        first = first[along[first + step] - along[first] <= 1.01 * MERGE_DISTANCE]
        if not len(first):
            break
        if (((points[first] - points[first + step]) ** 2).sum(axis=1) <= MERGE_DISTANCE**2).any():
            return True
    return False


def coincident_labels(vertices: NDArray[np.float64]) -> NDArray[np.int32]:
    """(V,) a label for each position; vertices within `MERGE_DISTANCE` of each other coincide."""
    from scipy.spatial import cKDTree

    # Equal vertices first, to avoid the many pairs of crowded positions.
    distinct, number = np.unique(vertices, axis=0, return_inverse=True)
    tree = cKDTree(distinct)
    if tree.count_neighbors(tree, MERGE_DISTANCE) > _CROWD * len(distinct):
        # A few stray vertices span the frame of a small shape: vertices in one cell coincide.
        cells, cell = np.unique(np.round(distinct * (2.0 / MERGE_DISTANCE)), axis=0, return_inverse=True)
        number, tree = cell.reshape(-1)[number.reshape(-1)], cKDTree(cells * (MERGE_DISTANCE / 2.0))
    start, end = tree.query_pairs(MERGE_DISTANCE, output_type="ndarray").T
    _, place = connected_components(start, end, tree.n)
    return place[number.reshape(-1)]


def merge_vertices(mesh: Mesh, *, exact: bool = False) -> Mesh:
    """One vertex for each of `coincident_labels` (with `exact` for each position); faces that collapse are removed."""
    if exact:
        number = np.unique(mesh.vertices, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int32)
    else:
        number = coincident_labels(mesh.vertices)
    _, first = np.unique(number, return_index=True)
    return Mesh(mesh.vertices[first], without_collapsed(number[mesh.faces]))


def make_manifold(mesh: Mesh, *, keep_walls: bool = False) -> Mesh:
    """Cut a closed mesh where it touches itself, so that every edge has two faces and every vertex one fan.

    Faces that lie back to back on the same three vertices are removed. Around an edge of four or more faces, the two
    faces that bound the same wedge of the inside are joined; a vertex whose faces then form several fans is duplicated
    for each of them (cutting, Guéziec et al. 2001). The surface does not move.

    Args:
        mesh: closed, coincident vertices merged.
        keep_walls: keep back-to-back faces, as walls between two bodies that each have their own.

    Returns:
        the mesh with new vertex indices; open edges stay open.
    """
    faces = mesh.faces if keep_walls else _without_fins(mesh.faces)
    joined = _edge_pairs(mesh.vertices, faces, keep_walls)
    n = len(faces)
    parted = _split_fans(Mesh(mesh.vertices, faces), joined % n, joined // n)
    return parted if keep_walls else _part_double_edges(parted)


def _edge_pairs(
    vertices: NDArray[np.float64], faces: NDArray[np.int32], keep_walls: bool = False
) -> NDArray[np.intp]:
    """(E, 2) half-edges to be joined."""
    order, first, size = edge_groups(faces, len(vertices))
    two = first[size == 2]
    pairs = [np.stack([order[two], order[two + 1]], axis=1)]
    for start, many in zip(first[size > 2], size[size > 2], strict=True):
        pairs.append(_wedges(vertices, faces, order[start : start + many], keep_walls))
    return np.concatenate(pairs)


def _part_double_edges(mesh: Mesh) -> Mesh:
    """Where two edges have the same two vertices, split one of them at its midpoint."""
    vertices, faces = mesh.vertices, mesh.faces
    while True:
        order, first, size = edge_groups(faces, len(vertices))
        added: list[NDArray[np.float64]] = []
        changed: dict[int, list[tuple[int, int, int]]] = {}
        taken: set[int] = set()
        for start, many in zip(first[size > 2], size[size > 2], strict=True):
            pairs = _wedges(vertices, faces, order[start : start + many])
            touched = set((pairs % len(faces)).ravel().tolist())
            if len(pairs) < 2 or touched & taken:
                continue  # open, or processed in the next round
            taken |= touched
            middle = len(vertices) + len(added)
            for half in pairs[0]:
                face, side = half % len(faces), half // len(faces)
                a, b, c = np.roll(faces[face], -side)
                changed[int(face)] = [(a, middle, c), (middle, b, c)]
            added.append((vertices[a] + vertices[b]) / 2.0)
        if not added:
            return Mesh(vertices, faces)
        kept = np.delete(faces, list(changed), axis=0)
        new = np.array([f for two in changed.values() for f in two], dtype=np.int32)
        vertices = np.concatenate([vertices, added])
        faces = np.concatenate([kept, new])


def _without_fins(faces: NDArray[np.int32]) -> NDArray[np.int32]:
    """The faces without collapsed ones and without those that lie back to back with another one."""
    faces = without_collapsed(faces)
    corners = np.sort(faces, axis=1)
    even = (np.argmin(faces, axis=1)[:, None] + np.arange(3)) % 3
    rotated = np.take_along_axis(faces, even, axis=1)
    side = np.where(rotated[:, 1] < rotated[:, 2], 1, -1)
    _, group = np.unique(corners, axis=0, return_inverse=True)
    balance = np.bincount(group, weights=side)
    # Keep the surplus of one winding over the other in each group.
    order = np.lexsort((side, group))
    rank = np.arange(len(faces)) - np.searchsorted(group[order], group[order])
    last_first = np.bincount(group)[group[order]] - 1 - rank
    surplus = balance[group[order]]
    kept = np.where(surplus > 0, last_first < surplus, rank < -surplus)
    return faces[np.sort(order[kept])]


def _wedges(
    vertices: NDArray[np.float64], faces: NDArray[np.int32], edges: NDArray[np.intp], keep_walls: bool = False
) -> NDArray[np.intp]:
    """Pairs (k, 2) of half-edges at one edge, with the inside between the two faces of a pair.

    Two back-to-back faces form a pair; with `keep_walls`, each belongs to the wedge on its own side.
    """
    n = len(faces)
    face, side = edges % n, edges // n
    start, end = faces[face, side], faces[face, (side + 1) % 3]
    up = start < end
    low, high = min(start[0], end[0]), max(start[0], end[0])
    axis = vertices[high] - vertices[low]
    axis = axis / max(float(np.linalg.norm(axis)), 1e-300)
    apex = vertices[faces[face, (side + 2) % 3]] - vertices[low]
    across = np.eye(3)[np.argmin(np.abs(axis))]
    u = np.cross(axis, across)
    v = np.cross(axis, u)
    angle = np.round(np.arctan2(apex @ v, apex @ u), 9)
    order = np.lexsort((~up if keep_walls else up, angle))
    # The inside is at greater angles than a face that runs down the edge, at smaller ones than one that runs up.
    pairs: list[tuple[int, int]] = []
    waiting: list[int] = []
    done: set[int] = set()
    for k in np.concatenate([order, order]).tolist():  # twice around the edge
        if k in done:
            continue
        if not up[k]:
            waiting.append(k)
            done.add(k)
        elif waiting:
            pairs.append((edges[waiting.pop()], edges[k]))
            done.add(k)
    return np.array(pairs, dtype=np.intp).reshape(-1, 2)


def _split_fans(mesh: Mesh, face: NDArray[np.intp], side: NDArray[np.intp]) -> Mesh:
    """Give each fan of faces its own vertex.

    Args:
        mesh: faces.
        face, side: (E, 2) which two faces meet at an edge, and which of their edges (0: corners 01, 1: 12, 2: 20).
    """
    # Corners of a face are numbered 3 face + corner; an edge joins the corners at either end.
    start = 3 * face + side
    end = 3 * face + (side + 1) % 3
    fans, of_corner = connected_components(
        np.concatenate([start[:, 0], end[:, 0]]),
        np.concatenate([end[:, 1], start[:, 1]]),
        3 * len(mesh.faces),
    )
    vertices = np.zeros((fans, 3))
    vertices[of_corner] = mesh.vertices[mesh.faces.ravel()]
    return Mesh(vertices, of_corner.reshape(-1, 3).astype(np.int32))


def repair(mesh: Mesh) -> Mesh:
    """Close a mesh by MeshFix (Attene 2010, "A lightweight approach to repairing digitized polygon meshes").

    Raises:
        MeshError: the mesh could not be closed.
    """
    from pymeshfix import MeshFix

    fixer = MeshFix(mesh.vertices, mesh.faces, verbose=False)
    fixer.repair(joincomp=False, remove_smallest_components=False)
    fixed = Mesh(np.asarray(fixer.points, dtype=np.float64), np.asarray(fixer.faces, dtype=np.int32))
    if len(fixed.faces) and fixed.volume < 0:
        fixed = fixed.flipped()
    if not len(fixed.faces) or not check_watertight(fixed).closed:
        raise MeshError("the surface could not be closed")
    return fixed
