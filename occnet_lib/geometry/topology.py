"""Edges and connected components of faces, regardless of where the vertices are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def edge_keys(faces: NDArray[np.integer], n_vertices: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """A number for each undirected edge of each face, and whether the face runs along it upwards.

    Returns:
        (3 F,) int64 `low * n_vertices + high`, in the order of the edges 01 of all faces, then 12, then 20;
        (3 F,) bool.
    """
    faces = np.asarray(faces, dtype=np.int64)
    start = np.concatenate([faces[:, 0], faces[:, 1], faces[:, 2]])
    end = np.concatenate([faces[:, 1], faces[:, 2], faces[:, 0]])
    return np.minimum(start, end) * n_vertices + np.maximum(start, end), start < end


def edge_groups(
    faces: NDArray[np.integer], n_vertices: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Half-edges grouped by edge. Half-edge `face + F * side` runs from corner `side` of a face to the next one.

    Returns:
        (3 F,) half-edges ordered by edge, those of one edge by number; (E,) start and (E,) size of each group.
    """
    key, _ = edge_keys(faces, n_vertices)
    order = np.argsort(key, kind="stable")
    first = np.flatnonzero(np.diff(key[order], prepend=-1))
    return order, first, np.diff(first, append=len(order))


def without_collapsed(faces: NDArray[np.int32]) -> NDArray[np.int32]:
    """The faces that have three different vertices."""
    a, b, c = faces.T
    return faces[(a != b) & (b != c) & (c != a)]


def connected_components(
    start: NDArray[np.integer], end: NDArray[np.integer], n: int
) -> tuple[int, NDArray[np.int32]]:
    """Components of an undirected graph of n nodes with edges from `start` (E,) to `end` (E,).

    Returns:
        number of components, and the component (n,) int32 of each node.
    """
    from scipy.sparse import coo_array, csgraph

    graph = coo_array((np.ones(len(start), dtype=np.int8), (start, end)), shape=(n, n))
    count, labels = csgraph.connected_components(graph, directed=False)
    return int(count), labels
