"""Decimation of planar regions: most faces of an isosurface of many samples lie in planes.

A vertex whose faces lie in one plane is removed by collapsing one of its edges onto the other end. This needs neither
quadrics nor a queue, takes a tenth of the time of quadric edge collapse, and leaves a small mesh for it.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from occnet_lib.geometry.half_edges import HalfEdges, after, before, half_edges
from occnet_lib.types import Mesh

VALENCE = 16  # largest number of faces at a vertex that a collapse may leave
SHAPE = 0.03  # smallest twice the area of a new face relative to the square of its longest edge; 0.87: equilateral
PASSES = 6
GAIN = 0.05  # fraction of the faces that a pass has to remove for another one
_RING = 24  # largest number of faces at a vertex that is removed


def decimate_planar(mesh: Mesh, tolerance: float, edges: HalfEdges | None = None) -> Mesh:
    """Remove vertices within planar regions. Borders, edges, corners, curved parts and the topology stay.

    Args:
        mesh: without texture. Vertices next to open edges or to edges of more than two faces stay.
        tolerance: distance that the surface may move by, in the unit of the mesh. The distances by which collapses move it
            add up at the vertices that remain.
        edges: `half_edges` of the mesh, if known.

    Returns:
        the mesh with fewer faces, whose vertices are some of those of `mesh`.
    """
    edges = edges or half_edges(mesh.faces, len(mesh.vertices))
    faces = np.array(mesh.faces, dtype=np.int32)
    fixed = edges.pinched.copy()
    fixed[faces.ravel()[edges.opposite < 0]] = True
    gone = _decimate(
        np.ascontiguousarray(mesh.vertices, dtype=np.float64),
        faces.ravel(),
        edges.opposite.copy(),
        edges.leaving.copy(),
        edges.degree.copy(),
        fixed,
        float(tolerance),
    )
    return Mesh(mesh.vertices, faces[~gone]).compact()


@njit(cache=True)
def _decimate(points, corners, opposite, leaving, degree, fixed, tolerance):  # type: ignore[no-untyped-def]
    """Collapse edges in place (corners, opposite, leaving, degree); returns which faces (F,) are gone."""
    done = fixed | (leaving < 0)  # removed, or never to be
    moved = np.zeros(len(points), dtype=np.float32)  # distance that the surface has moved by
    mark = np.full(len(points), -1, dtype=np.int32)
    ring, spoke = np.zeros(_RING, dtype=np.int32), np.zeros(_RING, dtype=np.int32)
    beside, flat = np.zeros((_RING, 3)), np.zeros((_RING, 2))
    gone = np.zeros(len(corners) // 3, dtype=np.bool_)
    left = len(gone)
    for _ in range(PASSES):
        at_start = left
        for v in range(len(points)):
            if done[v] or degree[v] > _RING:
                continue
            _collect(points, corners, opposite, leaving, degree, v, ring, spoke, beside)
            height = _flatten(beside, flat, degree[v])
            if moved[v] + height > tolerance:
                done[v] = True  # a larger ring later on will not be flatter
                continue
            k = _target(flat, ring, degree, fixed, v)
            if k < 0 or not _stays_manifold(corners, opposite, leaving, degree, v, ring, k, mark):
                continue
            for j in range(degree[v]):
                moved[ring[j]] = max(moved[ring[j]], np.float32(moved[v] + height))
            gone[spoke[k] // 3] = gone[opposite[spoke[k]] // 3] = True
            _collapse(corners, opposite, leaving, degree, v, ring[k], spoke, k)
            done[v] = True
            left -= 2
        if at_start - left < GAIN * at_start:
            break
    return gone


@njit(cache=True)
def _collect(points, corners, opposite, leaving, degree, v, ring, spoke, beside):  # type: ignore[no-untyped-def]
    """The neighbours of v in order, the half-edges to them, and where they are relative to v."""
    h = leaving[v]
    for k in range(degree[v]):
        u = corners[after(h)]
        ring[k], spoke[k] = u, h
        for c in range(3):
            beside[k, c] = points[u, c] - points[v, c]
        h = opposite[before(h)]


@njit(cache=True)
def _flatten(beside, flat, n):  # type: ignore[no-untyped-def]
    """Project neighbours to the mean plane of the faces; returns their largest distance from it."""
    nx, ny, nz = 0.0, 0.0, 0.0
    for k in range(n):
        ax, ay, az = beside[k]
        bx, by, bz = beside[k + 1 if k + 1 < n else 0]
        nx += ay * bz - az * by
        ny += az * bx - ax * bz
        nz += ax * by - ay * bx
    size = math.sqrt(nx * nx + ny * ny + nz * nz)
    if size < 1e-30:
        return np.inf
    nx, ny, nz = nx / size, ny / size, nz / size
    if abs(nx) < 0.6:
        scale = 1.0 / math.sqrt(ny * ny + nz * nz)
        ux, uy, uz = 0.0, nz * scale, -ny * scale
    else:
        scale = 1.0 / math.sqrt(nx * nx + nz * nz)
        ux, uy, uz = -nz * scale, 0.0, nx * scale
    vx, vy, vz = ny * uz - nz * uy, nz * ux - nx * uz, nx * uy - ny * ux
    height = 0.0
    for k in range(n):
        x, y, z = beside[k]
        flat[k, 0] = x * ux + y * uy + z * uz
        flat[k, 1] = x * vx + y * vy + z * vz
        height = max(height, abs(x * nx + y * ny + z * nz))
    return height


@njit(cache=True)
def _target(flat, ring, degree, fixed, v):  # type: ignore[no-untyped-def]
    """Number of the neighbour onto which to collapse v, that of the best shaped new faces; -1: none will do."""
    n = degree[v]
    best, best_shape = -1, SHAPE
    for k in range(n):
        if fixed[ring[k]] or degree[ring[k]] + n - 4 > VALENCE:
            continue
        worst = np.inf
        for j in range(1, n - 1):
            p = k + j if k + j < n else k + j - n
            q = p + 1 if p + 1 < n else 0
            ax, ay = flat[p, 0] - flat[k, 0], flat[p, 1] - flat[k, 1]
            bx, by = flat[q, 0] - flat[k, 0], flat[q, 1] - flat[k, 1]
            longest = max(ax * ax + ay * ay, bx * bx + by * by, (bx - ax) ** 2 + (by - ay) ** 2)
            area = ax * by - ay * bx
            worst = min(worst, area / longest if area > 0.0 else -1.0)
            if worst <= best_shape:
                break
        if worst > best_shape:
            best, best_shape = k, worst
    return best


@njit(cache=True)
def _stays_manifold(corners, opposite, leaving, degree, v, ring, k, mark):  # type: ignore[no-untyped-def]
    """The link condition (Dey et al. 1999): v and the target have two common neighbours, which keep three faces."""
    n, u = degree[v], ring[k]
    if degree[ring[k - 1 if k else n - 1]] <= 3 or degree[ring[k + 1 if k + 1 < n else 0]] <= 3:
        return False
    if degree[u] + n - 4 < 3:
        return False
    for j in range(n):
        mark[ring[j]] = v
    common, h = 0, leaving[u]
    for _ in range(degree[u]):
        common += mark[corners[after(h)]] == v
        h = opposite[before(h)]
    return common == 2


@njit(cache=True)
def _collapse(corners, opposite, leaving, degree, v, u, spoke, k):  # type: ignore[no-untyped-def]
    """Move v onto u, which removes the faces at the edge between them, of half-edges h and t."""
    h = spoke[k]
    t = opposite[h]
    a, b = corners[before(h)], corners[before(t)]  # the third corners of the two faces
    a_to_u, v_to_a = opposite[after(h)], opposite[before(h)]
    b_to_v, u_to_b = opposite[after(t)], opposite[before(t)]
    for j in range(degree[v]):
        corners[spoke[j]] = u
    opposite[a_to_u], opposite[v_to_a] = v_to_a, a_to_u
    opposite[b_to_v], opposite[u_to_b] = u_to_b, b_to_v
    leaving[u], leaving[a], leaving[b] = v_to_a, a_to_u, b_to_v
    degree[u] += degree[v] - 4
    degree[a] -= 1
    degree[b] -= 1
