"""Fewer faces for the same shape."""

from __future__ import annotations

import logging

import numpy as np

from occnet_lib.geometry.components import compact
from occnet_lib.geometry.repair import separate, soundness
from occnet_lib.records import Mesh

log = logging.getLogger(__name__)

# fast-simplification collapses, pass after pass, every edge whose squared error is below 1e-9 (pass + 3)^7. With a
# median edge of 32 the first pass moves the surface by 5e-5 of an edge and the last one by 11 edges at the most; with 256
# by 6e-6 and 1.4, which takes a third longer. Where 32 ends above the target, most edges could not be collapsed and the
# others paid for it; 256 leaves more faces and spares the shape, which counts for more.
_MEDIAN_EDGES = (32.0, 256.0)
# In an exact plane every collapse costs nothing, so they come in the order of the indices, pile up at one vertex and
# then block each other. Noise of this share of an edge spreads them.
_JITTER = 5e-4


def simplify(mesh: Mesh, max_faces: int) -> Mesh:
    """Quadric edge collapse (Garland & Heckbert 1997) that never opens a closed mesh.

    Args:
        mesh: any mesh.
        max_faces: faces wanted. Some more are left where fewer would cost the shape, as on long round walls.

    Returns:
        the simplified mesh; a less simplified one, or the mesh itself, if the result would not be closed.
    """
    if len(mesh.faces) <= max_faces:
        return mesh
    closed = soundness(mesh).closed
    target = max_faces
    while target < len(mesh.faces):
        simple = _collapsed(mesh, target)
        simple = separate(simple) if closed else compact(simple)
        if len(simple.faces) and (not closed or soundness(simple).closed):
            return simple
        log.info("simplification to %d faces opened the mesh; trying twice as many", target)
        target *= 2
    return mesh


def _collapsed(mesh: Mesh, target: int) -> Mesh:
    import fast_simplification

    edge = np.linalg.norm(np.diff(mesh.vertices[mesh.faces[:, :2]], axis=1), axis=2)
    median = max(float(np.median(edge)), 1e-12)
    noise = np.random.default_rng(0).uniform(-1.0, 1.0, mesh.vertices.shape) * _JITTER
    for length in _MEDIAN_EDGES:
        vertices = (mesh.vertices / median + noise) * length
        points, faces = fast_simplification.simplify(vertices, mesh.faces, target_count=target)
        if len(faces) <= 1.01 * target:
            break
    return Mesh(np.asarray(points) * (median / length), np.asarray(faces, dtype=np.int32))
