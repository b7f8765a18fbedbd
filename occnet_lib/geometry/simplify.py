"""Simplification by quadric edge collapse."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import count, takewhile

import numpy as np
from numpy.typing import NDArray

from occnet_lib.geometry.repair import check_watertight, make_manifold
from occnet_lib.types import Mesh

logger = logging.getLogger(__name__)

# fast-simplification collapses, pass by pass, every edge whose squared error is below 1e-9 (pass + 3)^7. With a median
# edge of 32, the first pass moves the surface by 5e-5 of an edge and the last one by at most 11 edges; with 256 by 6e-6
# and 1.4, which takes a third longer. Where 32 ends above the target, most edges could not be collapsed and the others
# were moved too far; 256 leaves more faces but keeps the shape, which is more important.
_MEDIAN_EDGES = (32.0, 256.0)
# In an exact plane every collapse has zero cost: collapses then follow the order of the indices, accumulate at one
# vertex and block each other. Noise of this fraction of an edge spreads them.
_JITTER = 5e-4
_LOSSLESS = 2.0**-52
"""Squared error below which fast-simplification collapses every edge in its lossless mode."""
_ERROR_FRACTIONS = (1 / 21, 4 / 21, 16 / 21)
"""Fractions of the allowed error in successive passes, whose errors add up. Passes in order of increasing cost leave a
third fewer faces than one pass."""


def simplify(mesh: Mesh, max_faces: int) -> Mesh:
    """Quadric edge collapse (Garland & Heckbert 1997) that never opens a closed mesh.

    Args:
        mesh: any mesh.
        max_faces: target number of faces. Some more are left where fewer would distort the shape, as on long round walls.

    Returns:
        the simplified mesh; a less simplified one, or the mesh itself, if the result would not be closed.
    """
    targets = takewhile(lambda target: target < len(mesh.faces), (max_faces * 2**k for k in count()))
    return _first_closed(mesh, (_to_count(mesh, target) for target in targets))


def simplify_within(mesh: Mesh, max_error: float) -> Mesh:
    """Quadric edge collapse within an error bound, which never opens a closed mesh.

    Args:
        mesh: any mesh; borders of an open one stay as they are.
        max_error: root of the sum of the squared distances of a vertex from the planes of the faces that it replaces,
            in the units of the mesh. The distance of the surfaces stays below it, typically at half of it.

    Returns:
        as `simplify`.
    """
    attempts = range(4 if len(mesh.faces) else 0)
    return _first_closed(mesh, (_to_error(mesh, max_error / 2**k) for k in attempts))


def _first_closed(mesh: Mesh, attempts: Iterator[Mesh]) -> Mesh:
    """The first of increasingly cautious attempts that keeps a closed mesh closed; otherwise the mesh itself."""
    closed = check_watertight(mesh).closed
    for attempt in attempts:
        simple = make_manifold(attempt) if closed else attempt.compact()
        if len(simple.faces) and (not closed or check_watertight(simple).closed):
            return simple
        logger.info("simplification to %d faces did not leave the mesh closed", len(simple.faces))
    return mesh


def _to_count(mesh: Mesh, target: int) -> Mesh:
    import fast_simplification

    median = _median_edge(mesh)
    for length in _MEDIAN_EDGES:
        vertices = (mesh.vertices / median + _noise(mesh)) * length
        points, faces = fast_simplification.simplify(vertices, mesh.faces, target_count=target)
        if len(faces) <= 1.01 * target:
            break
    return Mesh(np.asarray(points) * (median / length), np.asarray(faces, dtype=np.int32))


def _to_error(mesh: Mesh, max_error: float) -> Mesh:
    import fast_simplification

    points = mesh.vertices + _noise(mesh) * min(_median_edge(mesh), max_error)
    faces = mesh.faces
    for fraction in _ERROR_FRACTIONS:
        scale = _LOSSLESS**0.5 / (max_error * fraction)
        points, faces = fast_simplification.simplify(
            points * scale,
            np.asarray(faces, dtype=np.int32),
            target_count=0,
            lossless=True,
            preserve_border=True,
        )
        points = points / scale
    return Mesh(np.asarray(points), np.asarray(faces, dtype=np.int32))


def _median_edge(mesh: Mesh) -> float:
    edges = np.linalg.norm(np.diff(mesh.vertices[mesh.faces[:, :2]], axis=1), axis=2)
    return max(float(np.median(edges)), 1e-12)


def _noise(mesh: Mesh) -> NDArray[np.float64]:
    """(V, 3) displacements as fractions of a length."""
    return np.random.default_rng(0).uniform(-1.0, 1.0, mesh.vertices.shape) * _JITTER
