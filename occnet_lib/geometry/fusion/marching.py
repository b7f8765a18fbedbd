"""Marching cubes (Lorensen & Cline 1987) of a field in bricks.

The table of cases is made so that the surface is always closed and manifold: on a face of a cell with two inside corners
at opposite ends, the signs of the bilinear interpolation decide whether these are joined (the asymptotic decider, Nielson &
Hamann 1991), on both sides of the face alike, and no triangle has an edge across a face, where the neighbouring cell could
have the same one. Without the decision, oblique sheets hardly thicker than a voxel would be perforated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from occnet_lib.errors import MeshError
from occnet_lib.geometry.fusion.bricks import Bricks
from occnet_lib.geometry.fusion.marching_cases import CENTRE, FACES, case_table
from occnet_lib.types import Mesh

# Values closer to zero are moved away from it: vertices would otherwise fall together at a sample.
CLEARANCE = 1e-3
WITHIN = 3  # instead of an axis: the vertex is not on a grid edge


@dataclass(frozen=True)
class GridSurface:
    """Surface of a field, with what each part of it comes from.

    Attributes:
        mesh: closed, in voxels from sample (0, 0, 0), wound outward.
        owner: (V,) int32 stored sample at the lower end of the grid edge of each vertex, or at the lowest corner of the cell
            that the vertex is in.
        axis: (V,) uint8 direction of that edge; `WITHIN`: the vertex is in a cell.
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
    small = np.abs(field) < CLEARANCE
    field[small] = np.where(field[small] < 0, -CLEARANCE, CLEARANCE)
    slot = np.where(bricks.slot >= 0, bricks.slot, np.where(far_outside, -1, -2)).astype(np.int32)
    slot = np.pad(slot, ((0, 1), (0, 1), (0, 1)), constant_values=-1)
    table = case_table()
    mixed = _mixed(field, slot, bricks.corner)
    rank = (np.cumsum(mixed) - 1).astype(np.int32)
    mask = np.zeros(512 * int(mixed.sum()), dtype=np.uint8)
    first = np.zeros(len(mask), dtype=np.int32)
    n_on_edges, n_within, n_faces = _count(field, slot, bricks.corner, mixed, rank, table, mask, first)
    if n_faces == 0:
        raise MeshError("the field has no inside: the shape is too thin for the grid, or empty")
    n_vertices = n_on_edges + n_within
    vertices, faces = np.zeros((n_vertices, 3)), np.zeros((n_faces, 3), dtype=np.int32)
    owner, axis = np.zeros(n_vertices, dtype=np.int32), np.full(n_vertices, WITHIN, dtype=np.uint8)
    cell = np.zeros(n_faces, dtype=np.int32)
    places = (vertices, owner, axis)
    _fill(field, slot, bricks.corner, mixed, rank, table, mask, first, places, faces, cell, n_on_edges)
    if n_within:
        _centre(vertices, faces, n_on_edges)
    return GridSurface(Mesh(vertices, faces), owner, axis, cell)


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
def _row(cube, x, y, z, case, table):  # type: ignore[no-untyped-def]
    """Row of the table of a cell: inside corners of an ambiguous face are joined if the saddle between them is inside."""
    row, digit = np.int64(table.first[case]), 1
    if table.ambiguous[case]:
        value = np.zeros(4)
        for face in range(6):
            if not (table.ambiguous[case] >> face) & 1:
                continue
            for k in range(4):
                c = FACES[face, k]
                value[k] = cube[x + (c >> 2), y + (c >> 1 & 1), z + (c & 1)]
            one, other = value[0] * value[2], value[1] * value[3]  # exact: both cells of a face have to agree
            if (one > other) if value[0] < 0.0 else (other > one):
                row += digit
            digit *= 2
    return row


def _centre(vertices: NDArray[np.float64], faces: NDArray[np.int32], n_on_edges: int) -> None:
    """Place the vertices within cells at the means of their neighbours; their faces have them last."""
    beside, _, within = faces[faces[:, 2] >= n_on_edges].T
    np.add.at(vertices, within, vertices[beside])
    vertices[n_on_edges:] /= np.bincount(within - n_on_edges)[:, None]


@njit(cache=True)
def _count(field, slot, corner, mixed, rank, table, mask, first):  # type: ignore[no-untyped-def]
    """Number the vertices: mask has a bit for every axis along which a sample's edge has one."""
    cube = np.zeros((9, 9, 9), dtype=np.float32)
    n_vertices, n_within, n_faces = 0, 0, 0
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
            row = _row(cube, x, y, z, case, table)
            triangles = table.rows[row, 0]
            n_faces += triangles
            # A fan around a vertex is the only polygon of its cell that has one, and the last vertex of its triangles.
            for t in range(triangles):
                if table.rows[row, 3 * t + 3] == CENTRE:
                    n_within += 1
                    break
    return n_vertices, n_within, n_faces


@njit(cache=True)
def _fill(field, slot, corner, mixed, rank, table, mask, first, places, faces, cell, n_on_edges):  # type: ignore[no-untyped-def]
    vertices, owner, axis = places
    cube = np.zeros((9, 9, 9), dtype=np.float32)
    f, within = 0, n_on_edges
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
            row = _row(cube, x, y, z, case, table)
            has_centre = False
            for t in range(table.rows[row, 0]):
                for side in range(3):
                    edge = np.int64(table.rows[row, 1 + 3 * t + side])
                    if edge == CENTRE:
                        faces[f, side], has_centre = within, True
                        continue
                    c, along = edge // 3, edge % 3
                    u, v, w = x + (c >> 2), y + (c >> 1 & 1), z + (c & 1)
                    s = slot[i + (u >> 3), j + (v >> 3), k + (w >> 3)]
                    m = (np.int64(rank[s]) << 9) | (u & 7) << 6 | (v & 7) << 3 | (w & 7)
                    below = mask[m] & ((1 << along) - 1)
                    faces[f, side] = first[m] + (below & 1) + (below >> 1)
                cell[f] = (b << 9) | local
                f += 1
            if has_centre:
                owner[within] = (b << 9) | local
                within += 1
