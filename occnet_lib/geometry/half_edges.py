"""Half-edges of a closed triangle mesh: half-edge `3 face + side` runs from corner `side` of a face to the next one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray


@dataclass(frozen=True)
class HalfEdges:
    """Which half-edges lie opposite each other.

    Attributes:
        opposite: (3 F,) int32 half-edge in the other direction; -1 where there is not exactly one in each direction.
        leaving: (V,) int32 a half-edge that starts at each vertex; -1: no face uses it.
        degree: (V,) int32 number of faces at each vertex.
        unpaired: number of half-edges without an opposite one.
        pinched: (V,) bool vertices whose faces are not one closed fan.
    """

    opposite: NDArray[np.int32]
    leaving: NDArray[np.int32]
    degree: NDArray[np.int32]
    unpaired: int
    pinched: NDArray[np.bool_]

    @property
    def manifold(self) -> bool:
        """Every edge has two faces of opposite direction, every vertex one fan of three faces or more."""
        return self.unpaired == 0 and not self.pinched.any()


def half_edges(faces: NDArray[np.integer], n_vertices: int) -> HalfEdges:
    """Half-edges of faces (F, 3)."""
    corners = np.ascontiguousarray(faces, dtype=np.int32).ravel()
    first, start = _starts(corners, n_vertices)
    opposite = _opposites(corners, first, start)
    degree = np.diff(first)
    leaving = np.full(n_vertices, -1, dtype=np.int32)
    leaving[degree > 0] = start[first[:-1][degree > 0]]
    return HalfEdges(
        opposite, leaving, degree, int((opposite < 0).sum()), _pinched(opposite, leaving, degree)
    )


@njit(cache=True, inline="always")
def after(h):  # type: ignore[no-untyped-def]
    """The next half-edge of the same face; its corner is where h ends."""
    return h - 2 if h % 3 == 2 else h + 1


@njit(cache=True, inline="always")
def before(h):  # type: ignore[no-untyped-def]
    """The half-edge before h in the same face; its opposite leaves the same vertex as h."""
    return h + 2 if h % 3 == 0 else h - 1


@njit(cache=True)
def _starts(corners, n_vertices):  # type: ignore[no-untyped-def]
    """Half-edges ordered by the vertex that they leave, (3 F,), and where each vertex begins, (V + 1,)."""
    first = np.zeros(n_vertices + 1, dtype=np.int32)
    for v in corners:
        first[v + 1] += 1
    for v in range(n_vertices):
        first[v + 1] += first[v]
    place = first[:-1].copy()
    start = np.zeros(len(corners), dtype=np.int32)
    for h in range(len(corners)):
        start[place[corners[h]]] = h
        place[corners[h]] += 1
    return first, start


@njit(cache=True)
def _opposites(corners, first, start):  # type: ignore[no-untyped-def]
    opposite = np.full(len(corners), -1, dtype=np.int32)
    for h in range(len(corners)):
        if opposite[h] >= 0:
            continue
        v, u = corners[h], corners[after(h)]
        along, against, other = 0, 0, -1
        for k in range(first[u], first[u + 1]):
            if corners[after(start[k])] == v:
                other = start[k]
                against += 1
        for k in range(first[v], first[v + 1]):
            if corners[after(start[k])] == u:
                along += 1
        if along == 1 and against == 1 and u != v:
            opposite[h], opposite[other] = other, h
    return opposite


@njit(cache=True)
def _pinched(opposite, leaving, degree):  # type: ignore[no-untyped-def]
    out = np.zeros(len(leaving), dtype=np.bool_)
    for v in range(len(leaving)):
        if leaving[v] < 0:
            continue
        h, count = leaving[v], 0
        while True:
            h = opposite[before(h)]
            count += 1
            if h < 0 or h == leaving[v] or count > degree[v]:
                break
        out[v] = h < 0 or count != degree[v] or count < 3
    return out
