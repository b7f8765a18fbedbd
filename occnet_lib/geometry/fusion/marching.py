"""Marching cubes (Lorensen & Cline 1987) of a field in bricks.

The table of cases is made so that the surface is always closed: whether a face of a cell joins two inside corners at
opposite ends is decided by its four values, for both of its cells alike. No triangle has an edge across a face, where the
neighbouring cell could have the same one, but in rare polygons that have no other triangles; `repair.make_manifold` parts
the edges of four faces that these can make.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from occnet_lib.errors import MeshError
from occnet_lib.geometry.fusion.bricks import Bricks
from occnet_lib.types import Mesh

# Values closer to zero are moved away from it: vertices would otherwise fall together at a sample.
CLEARANCE = 1e-3
_ACROSS = 1000.0
_LONGEST = 12 * 3  # numbers in a row of the table


@dataclass(frozen=True)
class GridSurface:
    """Surface of a field, with what each part of it comes from.

    Attributes:
        mesh: closed (see the module), in voxels from sample (0, 0, 0), wound outward.
        owner: (V,) int32 stored sample at the lower end of the grid edge of each vertex.
        axis: (V,) uint8 direction of that edge.
        cell: (F,) int32 stored sample at the lowest corner of the cell of each face.
    """

    mesh: Mesh
    owner: NDArray[np.int32]
    axis: NDArray[np.uint8]
    cell: NDArray[np.int32]


def surface(field: NDArray[np.float32], bricks: Bricks, far_outside: NDArray[np.bool_]) -> GridSurface:
    """The zero set of a field.

    Args:
        field: (bricks.samples,) voxels, negative inside; values close to zero are changed.
        far_outside: (bx, by, bz) sign of the bricks that are not stored. A stored sample beside one of these has its sign.

    Raises:
        MeshError: no sample is inside.
    """
    _clear(field)
    slot = np.where(bricks.slot >= 0, bricks.slot, np.where(far_outside, -1, -2)).astype(np.int32)
    slot = np.pad(slot, ((0, 1), (0, 1), (0, 1)), constant_values=-1)
    table = _table()
    mixed = _mixed(field, slot, bricks.corner)
    rank = (np.cumsum(mixed) - 1).astype(np.int32)
    mask = np.zeros(512 * int(mixed.sum()), dtype=np.uint8)
    first = np.zeros(len(mask), dtype=np.int32)
    n_vertices, n_faces = _count(field, slot, bricks.corner, mixed, rank, table, mask, first)
    if n_faces == 0:
        raise MeshError("the field has no inside: the shape is too thin for the grid, or empty")
    vertices, faces = np.zeros((n_vertices, 3)), np.zeros((n_faces, 3), dtype=np.int32)
    owner, axis = np.zeros(n_vertices, dtype=np.int32), np.zeros(n_vertices, dtype=np.uint8)
    cell = np.zeros(n_faces, dtype=np.int32)
    places = (vertices, owner, axis)
    _fill(field, slot, bricks.corner, mixed, rank, table, mask, first, places, faces, cell)
    return GridSurface(Mesh(vertices, faces), owner, axis, cell)


# The corners of each face of a cell, counterclockwise from outside it; corner 4 x + 2 y + z.
_RINGS = tuple(
    tuple(corner + bit * high for corner in ((0, u, u + v, v) if high else (0, v, u + v, u)))
    for bit, u, v in ((4, 2, 1), (2, 1, 4), (1, 4, 2))
    for high in (0, 1)
)


@cache
def _table() -> tuple[NDArray[np.int8], NDArray[np.int16], NDArray[np.uint8], NDArray[np.int64]]:
    """The triangles of every case of inside corners (bit number of a corner: itself) and joined faces.

    Returns:
        (n, 37) int8 number of triangles, then their vertices as grid edges 3 corner + axis; (256, 64) int16 its row for a
        case and the faces that join their inside corners; (256,) uint8 which faces have two inside corners at opposite
        ends; (6, 4) int64 corners of the faces.
    """
    rows: list[list[int]] = []
    row = np.zeros((256, 64), dtype=np.int16)
    opposite = np.zeros(256, dtype=np.uint8)
    for case in range(256):
        faces = [
            f
            for f, ring in enumerate(_RINGS)
            if [case >> c & 1 for c in ring] in ([1, 0, 1, 0], [0, 1, 0, 1])
        ]
        opposite[case] = sum(1 << f for f in faces)
        for joined in range(64):
            if joined & ~int(opposite[case]):
                continue
            row[case, joined] = len(rows)
            triangles = [t for loop in _loops(case, joined) for t in _triangulate(tuple(loop))[1]]
            numbers = [3 * min(edge) + (2, 1, 0)[(edge[0] ^ edge[1]) >> 1] for t in triangles for edge in t]
            rows.append([len(triangles), *numbers, *[-1] * (_LONGEST - len(numbers))])
    return np.array(rows, dtype=np.int8), row, opposite, np.array(_RINGS, dtype=np.int64)


Edge = tuple[int, int]


def _loops(case: int, joined: int) -> list[list[Edge]]:
    """The polygons that part the inside corners of a cell from the others, as grid edges in order."""
    after: dict[Edge, Edge] = {}
    for face, ring in enumerate(_RINGS):
        inside = [case >> corner & 1 for corner in ring]
        # Where the ring enters the inside and where it leaves it next.
        enter = [(ring[k - 1], ring[k]) for k in range(4) if inside[k] and not inside[k - 1]]
        leave = [(ring[k - 1], ring[k]) for k in range(4) if inside[k - 1] and not inside[k]]
        for edge in enter:
            start = ring.index(edge[1])
            ends = sorted(leave, key=lambda e: (ring.index(e[0]) - start) % 4)
            after[_sorted(edge)] = _sorted(ends[-1 if joined >> face & 1 else 0])
    loops = []
    while after:
        edge = next(iter(after))
        loop = []
        while edge in after:
            loop.append(edge)
            edge = after.pop(edge)
        loops.append(loop)
    return loops


def _sorted(edge: Edge) -> Edge:
    return (min(edge), max(edge))


def _on_one_face(a: Edge, b: Edge) -> bool:
    both = (*a, *b)
    return any(len({corner & bit for corner in both}) == 1 for bit in (4, 2, 1))


def _length(a: Edge, b: Edge) -> float:
    """Squared distance between the middles of two grid edges."""
    middle = [[sum(corner >> bit & 1 for corner in edge) / 2 for bit in range(3)] for edge in (a, b)]
    return sum((p - q) ** 2 for p, q in zip(*middle, strict=True))


@cache
def _triangulate(loop: tuple[Edge, ...]) -> tuple[float, tuple[tuple[Edge, Edge, Edge], ...]]:
    """Triangles of a polygon with the least sum of squared edges, and that sum.

    An edge across a face of the cell counts for more than all others.
    """
    if len(loop) < 3:
        return 0.0, ()
    a, b = loop[0], loop[-1]
    best: tuple[float, tuple[tuple[Edge, Edge, Edge], ...]] = (math.inf, ())
    for k in range(1, len(loop) - 1):
        c = loop[k]
        left, right = _triangulate(loop[: k + 1]), _triangulate(loop[k:])
        cost = left[0] + right[0]
        for inner, p, q in ((k > 1, a, c), (k < len(loop) - 2, c, b)):
            cost += inner * (_length(p, q) + _ACROSS * _on_one_face(p, q))
        if cost < best[0] - 1e-9:
            best = cost, (*left[1], (a, c, b), *right[1])
    return best


@njit(cache=True)
def _clear(field):  # type: ignore[no-untyped-def]
    for n in range(len(field)):
        if abs(field[n]) < CLEARANCE:
            field[n] = -CLEARANCE if field[n] < 0 else CLEARANCE


@njit(cache=True)
def _mixed(field, slot, corner):  # type: ignore[no-untyped-def]
    """Which stored bricks have cells of both signs."""
    sign = np.zeros(len(corner), dtype=np.int8)  # bit 0: some outside, bit 1: some inside
    for b in range(len(corner)):
        for n in range(512 * b, 512 * b + 512):
            sign[b] |= 2 if field[n] < 0 else 1
            if sign[b] == 3:
                break
    out = np.zeros(len(corner), dtype=np.bool_)
    for b in range(len(corner)):
        i, j, k = corner[b, 0] >> 3, corner[b, 1] >> 3, corner[b, 2] >> 3
        both = 0
        for side in range(8):
            s = slot[i + (side >> 2), j + (side >> 1 & 1), k + (side & 1)]
            both |= sign[s] if s >= 0 else -s
        out[b] = both == 3
    return out


@njit(cache=True)
def _load(field, slot, corner, cube):  # type: ignore[no-untyped-def]
    """The values of a brick and of the next samples along x, y, z into cube (9, 9, 9)."""
    i, j, k = corner[0] >> 3, corner[1] >> 3, corner[2] >> 3
    for side in range(8):
        a, b, c = side >> 2, side >> 1 & 1, side & 1
        s = slot[i + a, j + b, k + c]
        for x in range(1 if a else 8):
            for y in range(1 if b else 8):
                for z in range(1 if c else 8):
                    if s >= 0:
                        here = field[(np.int64(s) << 9) | (x << 6) | (y << 3) | z]
                    else:
                        here = np.float32(1.0) if s == -1 else np.float32(-1.0)
                    cube[x + 8 * a, y + 8 * b, z + 8 * c] = here


@njit(cache=True, inline="always")
def _case(cube, x, y, z):  # type: ignore[no-untyped-def]
    case = 0
    for c in range(8):
        if cube[x + (c >> 2), y + (c >> 1 & 1), z + (c & 1)] < 0:
            case |= 1 << c
    return case


@njit(cache=True)
def _joined(cube, x, y, z, case, opposite, rings):  # type: ignore[no-untyped-def]
    """The faces on which the bilinear field joins the inside corners (Nielson & Hamann 1991, asymptotic decider)."""
    out = 0
    for f in range(6):
        if (opposite >> f) & 1:
            inside, outside = np.float64(1.0), np.float64(1.0)
            for k in range(4):
                c = rings[f, k]
                value = np.float64(cube[x + (c >> 2), y + (c >> 1 & 1), z + (c & 1)])
                if (case >> c) & 1:
                    inside *= value
                else:
                    outside *= value
            if inside > outside:
                out |= 1 << f
    return out


@njit(cache=True)
def _count(field, slot, corner, mixed, rank, table, mask, first):  # type: ignore[no-untyped-def]
    """Number the vertices: mask has a bit for every axis along which a sample's edge has one."""
    triangles, row, opposite, rings = table
    cube = np.zeros((9, 9, 9), dtype=np.float32)
    n_vertices, n_faces = 0, 0
    for b in range(len(corner)):
        if not mixed[b]:
            continue
        _load(field, slot, corner[b], cube)
        for local in range(512):
            x, y, z = local >> 6, local >> 3 & 7, local & 7
            case = _case(cube, x, y, z)
            if case == 0 or case == 255:
                continue
            n = (np.int64(rank[b]) << 9) | local
            here = case & 1
            bits = (here ^ (case >> 4 & 1)) | (here ^ (case >> 2 & 1)) << 1 | (here ^ (case >> 1 & 1)) << 2
            mask[n], first[n] = bits, n_vertices
            n_vertices += (bits & 1) + (bits >> 1 & 1) + (bits >> 2)
            joined = _joined(cube, x, y, z, case, opposite[case], rings) if opposite[case] else 0
            n_faces += triangles[row[case, joined], 0]
    return n_vertices, n_faces


@njit(cache=True)
def _fill(field, slot, corner, mixed, rank, table, mask, first, places, faces, cell):  # type: ignore[no-untyped-def]
    vertices, owner, axis = places
    triangles, row, opposite, rings = table
    cube = np.zeros((9, 9, 9), dtype=np.float32)
    f = 0
    for b in range(len(corner)):
        if not mixed[b]:
            continue
        _load(field, slot, corner[b], cube)
        i, j, k = corner[b, 0] >> 3, corner[b, 1] >> 3, corner[b, 2] >> 3
        for local in range(512):
            x, y, z = local >> 6, local >> 3 & 7, local & 7
            case = _case(cube, x, y, z)
            if case == 0 or case == 255:
                continue
            here = cube[x, y, z]
            n = (np.int64(rank[b]) << 9) | local
            at = first[n]
            for a in range(3):
                if (mask[n] >> a) & 1:
                    there = cube[x + (a == 0), y + (a == 1), z + (a == 2)]
                    vertices[at, 0], vertices[at, 1] = corner[b, 0] + x, corner[b, 1] + y
                    vertices[at, 2] = corner[b, 2] + z
                    vertices[at, a] += np.float64(here) / (np.float64(here) - np.float64(there))
                    owner[at], axis[at] = (b << 9) | local, a
                    at += 1
            joined = _joined(cube, x, y, z, case, opposite[case], rings) if opposite[case] else 0
            entry = triangles[row[case, joined]]
            for t in range(entry[0]):
                for side in range(3):
                    edge = np.int64(entry[1 + 3 * t + side])
                    c, along = edge // 3, edge % 3
                    u, v, w = x + (c >> 2), y + (c >> 1 & 1), z + (c & 1)
                    s = slot[i + (u >> 3), j + (v >> 3), k + (w >> 3)]
                    m = (np.int64(rank[s]) << 9) | (u & 7) << 6 | (v & 7) << 3 | (w & 7)
                    below = mask[m] & ((1 << along) - 1)
                    faces[f, side] = first[m] + (below & 1) + (below >> 1)
                cell[f] = (b << 9) | local
                f += 1
