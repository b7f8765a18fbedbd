"""Fewer faces for the same shape."""

from __future__ import annotations

import logging

import numpy as np

from occnet_lib.geometry.components import compact
from occnet_lib.geometry.repair import soundness
from occnet_lib.records import Mesh

log = logging.getLogger(__name__)

_AGGRESSION = (7.0, 5.0, 3.0)  # of fast-simplification; the less, the slower and the more even


def simplify(mesh: Mesh, max_faces: int) -> Mesh:
    """Quadric edge collapse (Garland & Heckbert 1997) that never opens a closed mesh.

    Args:
        mesh: any mesh.
        max_faces: faces wanted; met within a few faces where the mesh stays closed.

    Returns:
        the simplified mesh; a less simplified one or the mesh itself if the result would not be closed.
    """
    import fast_simplification

    if len(mesh.faces) <= max_faces:
        return mesh
    closed = soundness(mesh).closed
    # The library collapses everything below an absolute error that grows from pass to pass. In units of an edge
    # of the mesh it begins small enough for the least harmful collapses to come first.
    unit = max(
        float(np.median(np.linalg.norm(np.diff(mesh.vertices[mesh.faces[:, :2]], axis=1), axis=2))), 1e-12
    )
    for target in (max_faces, 2 * max_faces, 4 * max_faces):
        if len(mesh.faces) <= target:
            break
        for aggression in _AGGRESSION:
            vertices, faces = fast_simplification.simplify(
                mesh.vertices / unit, mesh.faces, target_count=target, agg=aggression
            )
            simple = compact(Mesh(np.asarray(vertices) * unit, np.asarray(faces, dtype=np.int32)))
            if len(simple.faces) and (not closed or soundness(simple).closed):
                return simple
            log.debug("simplification to %d faces opened the mesh", target)
    return mesh
