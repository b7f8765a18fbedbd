"""Sharp edges and corners, which marching cubes cuts off (Kobbelt et al. 2001, "Feature sensitive surface extraction").

Vertices of marching cubes lie on grid edges. They are first moved to where the input crosses those edges. A cell in
which the input's normals there differ much gets a new vertex where the tangent planes meet; then edges are flipped so
that these vertices are joined to one another.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from occnet_lib.geometry.fusion.bricks import SignedBand, neighbour
from occnet_lib.geometry.fusion.marching import WITHIN, GridSurface
from occnet_lib.geometry.fusion.rays import Scene
from occnet_lib.geometry.topology import connected_components, edge_keys
from occnet_lib.types import Mesh

SHARP = 0.9
"""Cosine of the angle between normals from which a cell has a feature (Kobbelt et al. 2001, sec. 3.1)."""
RANK = 0.05  # fraction of the greatest eigenvalue below which a direction is free: an edge has one, a corner none
RAYS = 1_000_000  # cast at a time
CLEARANCE = 1e-3  # voxels that a vertex keeps from the ends of its grid edge
OUTSIDE = 0.5  # voxels by which a feature may lie outside of the cell that makes it
RESIDUAL = 0.1  # voxels by which a feature may miss the planes that make it


def sharpen(surface: GridSurface, band: SignedBand, scene: Scene, lowered: NDArray[np.bool_]) -> Mesh:
    """Put the features of the input back into a surface of marching cubes.

    Args:
        surface: of the band, in voxels from sample (0, 0, 0).
        band: the field.
        scene: the input, in the same frame.
        lowered: (bricks.samples,) bool, samples at which the field is not the distance to the input (thickened
            sheets); the surface there stays as it is.

    Returns:
        closed mesh of the same connectivity but for the cells with features.
    """
    mesh, bricks = surface.mesh, band.bricks
    normals, exact = _cross(surface, band, scene, lowered)
    sharp = _sharp(mesh.faces, normals, exact)
    if not sharp.any():
        return mesh
    wanted = np.zeros(bricks.samples, dtype=bool)
    wanted[surface.cell[sharp]] = True
    patch_faces = np.flatnonzero(wanted[surface.cell])
    cell = surface.cell[patch_faces].astype(np.int64)
    patch = _label_patches(mesh.faces[patch_faces], cell, len(mesh.vertices))
    return _insert(mesh, normals, exact, bricks.positions(cell), patch_faces, patch)


def _cross(
    surface: GridSurface, band: SignedBand, scene: Scene, lowered: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Move the vertices to where the input first crosses their grid edges, seen from outside.

    Returns:
        outward unit normals (V, 3), 0 where nothing is crossed; whether a crossing was found (V,) bool.
    """
    points = surface.mesh.vertices
    normals, exact = np.zeros(points.shape, dtype=np.float32), np.zeros(len(points), dtype=bool)
    links = band.bricks.links(np.ones(band.bricks.slot.shape, dtype=np.int32))
    wanted = _on_input(links, surface.owner, surface.axis, band.nearest, lowered)
    for start in range(0, len(wanted), RAYS):
        some = wanted[start : start + RAYS]
        origin, direction = _edges(surface, band, some)
        t, normal = scene.cast(origin, direction)
        facing = -np.einsum("vi,vi->v", normal, direction)
        hit = (t <= 1.0) & (np.abs(facing) > 1e-3)
        good = some[hit]
        points[good] = origin[hit] + np.clip(t[hit], CLEARANCE, 1.0 - CLEARANCE)[:, None] * direction[hit]
        normals[good] = normal[hit] * np.sign(facing[hit])[:, None]
        exact[good] = True
    return normals, exact


@njit(cache=True)
def _on_input(links, owner, axis, nearest, lowered):  # type: ignore[no-untyped-def]
    """The vertices whose grid edges lie next to the input, where the field is the distance to it."""
    out = np.zeros(len(owner), dtype=np.int64)
    count = 0
    for v in range(len(owner)):
        if axis[v] == WITHIN:
            continue
        n = np.int64(owner[v])
        m = neighbour(links, n, np.int64(axis[v]), 1)
        if m >= 0 and nearest[n] >= 0 and nearest[m] >= 0 and not (lowered[n] or lowered[m]):
            out[count] = v
            count += 1
    return out[:count]


def _edges(
    surface: GridSurface, band: SignedBand, some: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Outside ends (n, 3) of the grid edges of some vertices and the steps to their inside ends."""
    owner, along = surface.owner[some], (np.arange(len(some)), surface.axis[some])
    origin, direction = band.bricks.positions(owner).astype(np.float64), np.zeros((len(some), 3))
    inside = band.distance[owner] < 0
    origin[along] += inside
    direction[along] = np.where(inside, -1.0, 1.0)
    return origin, direction


@njit(cache=True)
def _sharp(faces, normals, exact):  # type: ignore[no-untyped-def]
    """(F,) bool: faces whose corners' normals differ much."""
    out = np.zeros(len(faces), dtype=np.bool_)
    for f in range(len(faces)):
        a, b, c = faces[f]
        if not (exact[a] and exact[b] and exact[c]):
            continue
        ab, bc, ca = np.float32(0.0), np.float32(0.0), np.float32(0.0)
        for k in range(3):
            ab += normals[a, k] * normals[b, k]
            bc += normals[b, k] * normals[c, k]
            ca += normals[c, k] * normals[a, k]
        out[f] = min(ab, bc, ca) < SHARP
    return out


def _label_patches(faces: NDArray[np.int32], key: NDArray[np.int64], n_vertices: int) -> NDArray[np.int64]:
    """Number the connected pieces that the faces of each cell make, (F,) int64."""
    edge, _ = edge_keys(faces, n_vertices)
    face = np.tile(np.arange(len(faces)), 3)
    order = np.argsort(edge, kind="stable")
    same = (edge[order][1:] == edge[order][:-1]) & (key[face[order]][1:] == key[face[order]][:-1])
    one, two = face[order][1:][same], face[order][:-1][same]
    return connected_components(one, two, len(faces))[1].astype(np.int64)


def _insert(
    mesh: Mesh,
    normals: NDArray[np.floating],
    exact: NDArray[np.bool_],
    cell: NDArray[np.int64],
    patch_faces: NDArray[np.intp],
    patch: NDArray[np.int64],
) -> Mesh:
    """Replace the patches that have a feature by fans around it."""
    n_v, count = len(mesh.vertices), int(patch.max()) + 1
    faces = mesh.faces[patch_faces]
    corner = _distinct(np.repeat(patch, 3) * n_v + faces.ravel())
    of, vertex = corner // n_v, corner % n_v
    low = np.zeros((count, 3))
    low[patch] = cell
    place, good = _meeting_points(mesh.vertices[vertex], normals[vertex], exact[vertex], of, count, low)
    # Only discs are replaced: V - E + F = 1, where inner edges count for two half-edges.
    edge, _ = edge_keys(faces, n_v)
    half = np.tile(patch, 3)
    n_edges = np.bincount(_distinct(half * (n_v * n_v) + edge) // (n_v * n_v), minlength=count)
    euler = np.bincount(of, minlength=count) - n_edges + np.bincount(patch, minlength=count)
    good &= euler == 1
    number = np.cumsum(good) - 1 + n_v
    fans, rim = _fans(faces, patch, good, number, n_v)
    fans = _flip(fans, rim, normals, number[good])
    kept = np.ones(len(mesh.faces), dtype=bool)
    kept[patch_faces[good[patch]]] = False
    vertices = np.concatenate([mesh.vertices, place[good]])
    return Mesh(vertices, np.concatenate([mesh.faces[kept], fans]).astype(np.int32))


def _distinct(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """np.unique, by a sort of values, which is faster for so many."""
    values = np.sort(values)
    return values[np.flatnonzero(np.diff(values, prepend=values[:1] - 1))]


def _meeting_points(
    points: NDArray[np.float64],
    normals: NDArray[np.floating],
    exact: NDArray[np.bool_],
    of: NDArray[np.int64],
    count: int,
    low: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The point of each patch that is closest to all its tangent planes, and whether it is a feature to use.

    Least squares from the mean of the points, along the directions that the planes fix (eq. 2 of the paper).
    """
    size = np.bincount(of, minlength=count)
    mean = np.stack([np.bincount(of, points[:, a], count) for a in range(3)], axis=1) / size[:, None]
    away = np.einsum("vi,vi->v", normals, points - mean[of])
    matrix = np.zeros((count, 3, 3))
    right = np.zeros((count, 3))
    for a in range(3):
        right[:, a] = np.bincount(of, normals[:, a] * away, count)
        for b in range(3):
            matrix[:, a, b] = np.bincount(of, normals[:, a] * normals[:, b], count)
    value, vector = np.linalg.eigh(matrix)
    fixed = value > RANK * value[:, -1:]
    inverse = np.where(fixed, 1.0 / np.where(fixed, value, 1.0), 0.0)
    step = np.einsum("pij,pj,pkj,pk->pi", vector, inverse, vector, right)
    place = mean + step
    miss = np.zeros(count)
    np.maximum.at(miss, of, np.abs(np.einsum("vi,vi->v", normals, place[of] - points)))
    outside = np.maximum(low - place, place - low - 1.0).max(axis=1)
    good = (np.bincount(of, ~exact, count) == 0) & (fixed.sum(axis=1) >= 2)
    good &= (miss <= RESIDUAL) & (outside <= OUTSIDE)
    return place, good


def _fans(
    faces: NDArray[np.int32],
    patch: NDArray[np.int64],
    good: NDArray[np.bool_],
    number: NDArray[np.int64],
    n_vertices: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Faces (n, 3) from the rim of each good patch to its feature, (rim start, rim end, feature); rim keys (n,)."""
    use = good[patch]
    faces, patch = faces[use].astype(np.int64), patch[use]
    key, _ = edge_keys(faces, n_vertices)
    of = np.tile(patch, 3)
    start = faces.T.ravel()
    end = np.roll(faces, -1, axis=1).T.ravel()
    _, inverse, often = np.unique(of * n_vertices**2 + key, return_inverse=True, return_counts=True)
    rim = often[inverse] == 1
    return np.stack([start[rim], end[rim], number[of[rim]]], axis=1), key[rim]


def _flip(
    fans: NDArray[np.int64],
    rim: NDArray[np.int64],
    normals: NDArray[np.floating],
    features: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Join the features of neighbouring cells: flip the rim edge between them where it crosses the feature line."""
    order = np.argsort(rim, kind="stable")
    pair = np.flatnonzero(rim[order][1:] == rim[order][:-1])
    one, two = order[pair], order[pair + 1]
    across = np.einsum("vi,vi->v", normals[fans[one, 0]], normals[fans[one, 1]]) < SHARP
    one, two = one[across], two[across]
    # Two features can be joined only once.
    span = int(features.max()) + 1 if len(features) else 1
    joint = np.minimum(fans[one, 2], fans[two, 2]) * span + np.maximum(fans[one, 2], fans[two, 2])
    _, inverse, often = np.unique(joint, return_inverse=True, return_counts=True)
    once = (often[inverse] == 1) & (fans[one, 2] != fans[two, 2])
    one, two = one[once], two[once]
    a, b, f, g = fans[one, 0], fans[one, 1], fans[one, 2], fans[two, 2]
    fans[one] = np.stack([f, a, g], axis=1)
    fans[two] = np.stack([g, b, f], axis=1)
    return fans
