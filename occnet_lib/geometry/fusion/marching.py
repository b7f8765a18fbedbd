"""Marching cubes (Lorensen & Cline 1987) of a field in bricks.

The table of cases is made so that the surface is always closed and manifold: on a face of a cell with two inside corners
at opposite ends these are kept apart, on both sides of the face alike, and no triangle has an edge across a face, where
the neighbouring cell could have the same one.
"""

from __future__ import annotations

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
_LONGEST = 12 * 3  # numbers in a row of the table


@dataclass(frozen=True)
class GridSurface:
    """Surface of a field, with what each part of it comes from.

    Attributes:
        mesh: closed, in voxels from sample (0, 0, 0), wound outward.
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


@cache
def _table() -> NDArray[np.int8]:
    """(256, 37) per case of inside corners: number of triangles, then their vertices as grid edges 3 corner + axis.

    Corner 4 x + 2 y + z of a cell is bit number 4 x + 2 y + z of the case.
    """
    table = np.full((256, _LONGEST + 1), -1, dtype=np.int8)
    for case in range(256):
        triangles = [t for loop in _loops(case) for t in _triangles(loop) or _triangles(loop, False) or []]
        numbers = [3 * min(edge) + (2, 1, 0)[(edge[0] ^ edge[1]) >> 1] for t in triangles for edge in t]
        table[case, 0] = len(triangles)
        table[case, 1 : 1 + len(numbers)] = numbers
    return table


Edge = tuple[int, int]


def _loops(case: int) -> list[list[Edge]]:
    """The polygons that part the inside corners of a cell from the others, as grid edges in order."""
    after: dict[Edge, Edge] = {}
    for bit in (4, 2, 1):
        u, v = {4: (2, 1), 2: (1, 4), 1: (4, 2)}[bit]
        for high in (False, True):
            ring = [0, u, u + v, v] if high else [0, v, u + v, u]  # counterclockwise from outside the cell
            ring = [corner + bit * high for corner in ring]
            inside = [bool(case >> corner & 1) for corner in ring]
            for start in range(4):
                if inside[start] and not inside[start - 1]:
                    end = start
                    while inside[(end + 1) % 4]:
                        end += 1
                    enter = (ring[start - 1], ring[start])
                    leave = (ring[end % 4], ring[(end + 1) % 4])
                    after[_sorted(enter)] = _sorted(leave)
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


def _triangles(loop: list[Edge], strict: bool = True) -> list[tuple[Edge, Edge, Edge]] | None:
    """Triangles of a polygon, none with an edge across a face of the cell; None if there are no such."""
    if len(loop) < 3:
        return []
    a, b = loop[0], loop[-1]
    for k in range(1, len(loop) - 1):
        c = loop[k]
        if strict and ((k > 1 and _on_one_face(a, c)) or (k < len(loop) - 2 and _on_one_face(c, b))):
            continue
        left, right = _triangles(loop[: k + 1], strict), _triangles(loop[k:], strict)
        if left is not None and right is not None:
            return [*left, (a, c, b), *right]
    return None


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
def _count(field, slot, corner, mixed, rank, table, mask, first):  # type: ignore[no-untyped-def]
    """Number the vertices: mask has a bit for every axis along which a sample's edge has one."""
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
            n_faces += table[case, 0]
    return n_vertices, n_faces


@njit(cache=True)
def _fill(field, slot, corner, mixed, rank, table, mask, first, places, faces, cell):  # type: ignore[no-untyped-def]
    vertices, owner, axis = places
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
            for t in range(table[case, 0]):
                for side in range(3):
                    edge = np.int64(table[case, 1 + 3 * t + side])
                    c, along = edge // 3, edge % 3
                    u, v, w = x + (c >> 2), y + (c >> 1 & 1), z + (c & 1)
                    s = slot[i + (u >> 3), j + (v >> 3), k + (w >> 3)]
                    m = (np.int64(rank[s]) << 9) | (u & 7) << 6 | (v & 7) << 3 | (w & 7)
                    below = mask[m] & ((1 << along) - 1)
                    faces[f, side] = first[m] + (below & 1) + (below >> 1)
                cell[f] = (b << 9) | local
                f += 1
