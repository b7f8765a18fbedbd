"""Last corrections of a closed mesh: separation of coincident vertices, and removal of self-intersections.

Both move vertices by a fraction of a voxel and keep the faces.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from occnet_lib.geometry.intersections import intersecting_pairs
from occnet_lib.geometry.repair import any_coincident, coincident_labels
from occnet_lib.types import Mesh

APART = 0.01  # voxels between vertices that would coincide
STEP = 0.3  # voxels, largest displacement of a vertex in a round
ROUNDS = 32
SLIDE = 8  # rounds in which vertices stay in their planes and edges; afterwards they move freely
WIDEN = 4  # rounds of either kind after which the neighbours of tangled vertices move, too
CELLS = 128  # of a grid along the longest edge, by which the faces near moved ones are looked up
RANK = 0.02  # fraction of the trace below which a direction is free to slide: an edge has one, a corner none


def separate_vertices(mesh: Mesh, voxel: float) -> Mesh:
    """Separate coincident vertices, each moved towards the inside of its own faces.

    Most readers merge equal vertices, which would turn contacts of parts into edges of four faces.

    Args:
        mesh: closed, each fan of faces with a vertex of its own.
        voxel: unit of `APART`.

    Returns:
        the mesh with distinct vertices that float32 represents exactly.
    """
    vertices = _as_stored(mesh.vertices)
    for attempt in range(1, 9):
        repeated = _repeated(vertices)
        if not len(repeated):
            break
        inward = -Mesh(vertices, mesh.faces).vertex_normals[repeated]
        # A fan without a direction, and any further attempt, needs one that no other vertex has.
        noise = np.random.default_rng(attempt).normal(size=inward.shape)
        inward += noise * (0.1 * (attempt - 1) + (np.abs(inward).max(axis=1, keepdims=True) == 0))
        vertices = vertices.copy()
        vertices[repeated] += inward * (attempt * APART * voxel)
        vertices = _as_stored(vertices)
    return Mesh(vertices, mesh.faces)


def untangle(mesh: Mesh, voxel: float) -> tuple[Mesh, int]:
    """Smooth the vertices of intersecting faces until no faces intersect (umbrella operator, Taubin 1995).

    Vertices slide within flat parts and along edges; only where that does not suffice, they move freely.

    Args:
        mesh: closed, a result of `separate_vertices`.
        voxel: unit of `STEP`.

    Returns:
        the mesh, the number of faces that still intersect others.
    """
    pairs = intersecting_pairs(mesh)
    best, least = mesh, len(np.unique(pairs))
    for round_ in range(ROUNDS):
        if not len(pairs):
            break
        tangled = np.zeros(len(mesh.vertices), dtype=bool)
        tangled[mesh.faces[pairs]] = True
        if round_ % SLIDE >= WIDEN:
            tangled[mesh.faces[tangled[mesh.faces].any(axis=1)]] = True
        moved = _smoothed(mesh, tangled, STEP * voxel, slide=round_ < SLIDE)
        mesh = Mesh(moved, mesh.faces)
        # Only faces that moved, and those near them, can intersect now.
        some = _near(mesh, np.any(tangled[mesh.faces], axis=1))
        pairs = some[intersecting_pairs(Mesh(mesh.vertices, mesh.faces[some]))]
        left = len(np.unique(pairs))
        if left < least and not len(_repeated(mesh.vertices)):
            best, least = mesh, left
    return best, least


def _as_stored(vertices: NDArray[np.float64]) -> NDArray[np.float64]:
    """The vertices rounded to float32, so that labels are those of the stored mesh."""
    return vertices.astype(np.float32).astype(np.float64)


def _repeated(vertices: NDArray[np.float64]) -> NDArray[np.intp]:
    """All but the first of the vertices at each position."""
    if not any_coincident(vertices):
        return np.zeros(0, dtype=np.intp)
    repeated = np.ones(len(vertices), dtype=bool)
    repeated[np.unique(coincident_labels(vertices), return_index=True)[1]] = False
    return np.flatnonzero(repeated)


def _smoothed(mesh: Mesh, chosen: NDArray[np.bool_], limit: float, *, slide: bool) -> NDArray[np.float64]:
    """The vertices (V, 3), the chosen ones moved half-way to the mean of their neighbours, by at most `limit`."""
    around = mesh.faces[chosen[mesh.faces].any(axis=1)]
    # A closed mesh has each edge in both directions.
    start, end = around.ravel(), np.roll(around, -1, axis=1).ravel()
    count = np.bincount(start, minlength=len(mesh.vertices))[chosen]
    mean = [np.bincount(start, mesh.vertices[end, a], len(mesh.vertices))[chosen] / count for a in range(3)]
    vertices = mesh.vertices.copy()
    step = 0.5 * (np.stack(mean, axis=1) - vertices[chosen])
    if slide:
        step = _along_surface(mesh, around, chosen, step)
    length = np.linalg.norm(step, axis=1, keepdims=True)
    vertices[chosen] += step * np.minimum(1.0, limit / np.maximum(length, 1e-30))
    return _as_stored(vertices)


def _along_surface(
    mesh: Mesh, around: NDArray[np.int32], chosen: NDArray[np.bool_], step: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Steps (k, 3) of the chosen vertices, projected to the planes of their faces."""
    cross = Mesh(mesh.vertices, around).area_vectors
    length = np.linalg.norm(cross, axis=1, keepdims=True)
    outer = np.einsum("fi,fj->fij", cross, cross / np.maximum(length, 1e-30)).reshape(-1, 9)
    n = len(mesh.vertices)
    spread = [np.bincount(around.ravel(), np.repeat(outer[:, k], 3), n)[chosen] for k in range(9)]
    value, vector = np.linalg.eigh(np.stack(spread, axis=1).reshape(-1, 3, 3))
    free = value <= RANK * value.sum(axis=1, keepdims=True)
    return np.asarray(np.einsum("vij,vj,vkj,vk->vi", vector, free, vector, step))


def _near(mesh: Mesh, chosen: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Faces in a cell of a grid that a chosen one is in, by their bounding boxes."""
    low, high = mesh.bounds
    cell = max(float(np.ptp(mesh.vertices, axis=0).max()) / CELLS, 1e-12)
    shape = ((high - low) / cell).astype(np.int64) + 1
    return np.asarray(_in_cells(mesh.vertices, mesh.faces, chosen, low, cell, np.zeros(shape, dtype=bool)))


@njit(cache=True)
def _in_cells(vertices, faces, chosen, origin, cell, marked):  # type: ignore[no-untyped-def]
    near = np.zeros(len(faces), dtype=np.bool_)
    first, last = np.zeros(3, dtype=np.int64), np.zeros(3, dtype=np.int64)
    for marking in (True, False):
        for f in range(len(faces)):
            if marking and not chosen[f]:
                continue
            a, b, c = faces[f]
            for k in range(3):
                x, y, z = vertices[a, k], vertices[b, k], vertices[c, k]
                first[k] = int((min(x, y, z) - origin[k]) / cell)
                last[k] = int((max(x, y, z) - origin[k]) / cell)
            for i in range(first[0], last[0] + 1):
                for j in range(first[1], last[1] + 1):
                    for k in range(first[2], last[2] + 1):
                        if marking:
                            marked[i, j, k] = True
                        elif marked[i, j, k]:
                            near[f] = True
    return np.flatnonzero(near)
