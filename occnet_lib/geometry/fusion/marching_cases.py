"""The cases of marching cubes: which triangles part the inside corners of a cell from the others."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CENTRE = 36  # number of a vertex within the cell; those on grid edges are 3 corner + axis
_LONGEST = 12 * 3  # numbers in a row of the table


class CaseTable(NamedTuple):
    """Triangles of every case of inside corners, of every choice of joined faces (a tuple, for numba).

    Corner 4 x + 2 y + z of a cell is bit number 4 x + 2 y + z of the case. Joined faces are counted as binary digits, the
    first ambiguous one lowest.

    Attributes:
        rows: (n, 37) int8, number of triangles, then their vertices as grid edges 3 corner + axis.
        first: (256,) int16 row of each case in which no face is joined.
        ambiguous: (256,) uint8 mask of the faces of which opposite corners are inside.
    """

    rows: NDArray[np.int8]
    first: NDArray[np.int16]
    ambiguous: NDArray[np.uint8]


# (6, 4) the corners of each face of a cell, counterclockwise from outside it
FACES = np.array(
    [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]], dtype=np.int8
)


@cache
def case_table() -> CaseTable:
    """The table, made once."""
    rows: list[NDArray[np.int8]] = []
    first, ambiguous = np.zeros(256, dtype=np.int16), np.zeros(256, dtype=np.uint8)
    for case in range(256):
        faces = [f for f in range(6) if _is_ambiguous(case, f)]
        first[case], ambiguous[case] = len(rows), sum(1 << f for f in faces)
        for choice in range(1 << len(faces)):
            joined = {f for digit, f in enumerate(faces) if choice >> digit & 1}
            row = np.full(_LONGEST + 1, -1, dtype=np.int8)
            numbers = [n for loop in _loops(case, joined) for n in _numbers(tuple(loop))]
            row[0] = len(numbers) // 3
            row[1 : 1 + len(numbers)] = numbers
            rows.append(row)
    return CaseTable(np.stack(rows), first, ambiguous)


def _is_ambiguous(case: int, face: int) -> bool:
    a, b, c, d = (case >> int(corner) & 1 for corner in FACES[face])
    return a == c and b == d and a != b


Edge = tuple[int, int]


def _loops(case: int, joined: set[int]) -> list[list[Edge]]:
    """The polygons that part the inside corners of a cell from the others, as grid edges in order."""
    after: dict[Edge, Edge] = {}
    for face in range(6):
        ring = [int(corner) for corner in FACES[face]]
        inside = [bool(case >> corner & 1) for corner in ring]
        for start in range(4):
            if inside[start] and not inside[start - 1]:
                # From the edge at which the inside begins to that at which it ends, or, if both insides are joined,
                # to that at which the one before ended.
                end = start - 2 if face in joined else start
                while inside[(end + 1) % 4]:
                    end += 1
                enter = (ring[start - 1], ring[start])
                after[_sorted(enter)] = _sorted((ring[end % 4], ring[(end + 1) % 4]))
    loops = []
    while after:
        edge = next(iter(after))
        loop = []
        while edge in after:
            loop.append(edge)
            edge = after.pop(edge)
        loops.append(loop)
    return loops


def _numbers(loop: tuple[Edge, ...]) -> list[int]:
    """The vertices of the triangles of a polygon; a fan around a vertex within the cell where there is no other way."""
    rim = {edge: 3 * min(edge) + (2, 1, 0)[(edge[0] ^ edge[1]) >> 1] for edge in loop}
    triangles = _triangles(loop)
    if triangles is not None:
        return [rim[edge] for triangle in triangles for edge in triangle]
    following = zip(loop, (*loop[1:], loop[0]), strict=True)
    return [n for a, b in following for n in (rim[a], rim[b], CENTRE)]


def _sorted(edge: Edge) -> Edge:
    return (min(edge), max(edge))


def _on_one_face(a: Edge, b: Edge) -> bool:
    both = (*a, *b)
    return any(len({corner & bit for corner in both}) == 1 for bit in (4, 2, 1))


@cache
def _triangles(loop: tuple[Edge, ...]) -> tuple[tuple[Edge, Edge, Edge], ...] | None:
    """Triangles of a polygon, none with an edge across a face of the cell; None if there are no such."""
    if len(loop) < 3:
        return ()
    a, b = loop[0], loop[-1]
    for k in range(1, len(loop) - 1):
        c = loop[k]
        if (k > 1 and _on_one_face(a, c)) or (k < len(loop) - 2 and _on_one_face(c, b)):
            continue
        left, right = _triangles(loop[: k + 1]), _triangles(loop[k:])
        if left is not None and right is not None:
            return (*left, (a, c, b), *right)
    return None
