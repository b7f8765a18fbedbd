"""Decimation of meshes much finer than any grid, by vertex clustering."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from occnet_lib.types import Mesh

from .textures import bake
from .topology import without_collapsed

logger = logging.getLogger(__name__)

MAX_FACES = 1_000_000  # what fusion, its ray casting and rendering can process in 2 GB
GROWTH = 1.5  # of the cells, until there are few enough faces


def decimate(mesh: Mesh, cell: float, max_faces: int = MAX_FACES) -> Mesh:
    """Merge the vertices in each cell of a grid (Rossignac & Borrel 1993) if the mesh has too many faces.

    Args:
        mesh: any triangles.
        cell: edge of the cells in the frame of the mesh; vertices move by less than its diagonal. Cells grow until
            there are at most `max_faces` faces.
        max_faces: meshes with at most this many faces are returned unchanged.

    Returns:
        the mesh with the means of merged vertices and colours; without collapsed and duplicate faces (of either
        winding).
    """
    faces_in = len(mesh.faces)
    if faces_in > max_faces:
        mesh = bake(mesh)  # the vertices are finer than the visible detail of a texture
    while len(mesh.faces) > max_faces:
        mesh = _merged(mesh, _cells(mesh.vertices, cell))
        used = cell
        cell *= GROWTH
    if len(mesh.faces) < faces_in:
        logger.info("%d faces decimated to %d, in cells of %.2g", faces_in, len(mesh.faces), used)
    return mesh


def _cells(vertices: NDArray[np.float64], cell: float) -> NDArray[np.intp]:
    """(V,) index of the cell of each vertex, numbered from 0 without gaps."""
    low = vertices.min(axis=0)
    spans = np.floor((vertices.max(axis=0) - low) / cell).astype(np.int64) + 1
    key = np.zeros(len(vertices), dtype=np.int64)
    for axis in range(3):
        key *= spans[axis]
        key += ((vertices[:, axis] - low[axis]) / cell).astype(np.int64)
    return np.unique(key, return_inverse=True)[1]


def _merged(mesh: Mesh, of: NDArray[np.intp]) -> Mesh:
    """The mesh with the vertices of each cell merged; `of` (V,) is the cell of each vertex."""
    count = np.bincount(of)
    vertices = np.stack([np.bincount(of, mesh.vertices[:, a]) / count for a in range(3)], axis=1)
    colors = None
    if mesh.colors is not None:
        channels = [np.bincount(of, mesh.colors[:, c]) / count for c in range(3)]
        colors = np.stack(channels, axis=1).astype(np.float32)
    faces = of.astype(np.int32)[mesh.faces]
    faces = without_collapsed(faces)
    corners = np.sort(faces, axis=1)
    order = np.lexsort(corners.T)
    fresh = np.ones(len(faces), dtype=bool)
    fresh[1:] = (corners[order[1:]] != corners[order[:-1]]).any(axis=1)
    return replace(mesh, vertices=vertices, faces=faces[np.sort(order[fresh])], colors=colors)
