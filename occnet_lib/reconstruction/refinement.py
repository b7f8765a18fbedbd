"""Which refinement a mesh gets: towards the field's surface, by corrected face normals, or both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from occnet_lib.config import Refinement
from occnet_lib.errors import ConfigError
from occnet_lib.geometry.face_graph import face_neighbours
from occnet_lib.geometry.normal_filter import bilateral_normals
from occnet_lib.types import Mesh

from .follow_normals import follow_normals
from .refine import Refined

FaceNormals = Callable[[Mesh], NDArray[np.floating]]
"""Corrected normals (F, 3), unit, of the faces of a mesh of the unit frame; 0 where there is none."""


def refined(
    mesh: Mesh,
    refinement: Refinement,
    towards_field: Callable[[Mesh], Refined] | None = None,
    face_normals: FaceNormals | None = None,
) -> Refined:
    """The mesh after the configured refinement, with the same faces.

    Args:
        mesh: unit frame.
        refinement: gradient: `towards_field`; graph: the vertices follow `face_normals`; both: in this order; bilateral: the
            vertices follow the filtered normals of the mesh; none.
        towards_field: refinement by the field's gradient (`refine`); None: left out.
        face_normals: predicts normals.

    Raises:
        ConfigError: graph or both without `face_normals`.
    """
    result = Refined(mesh, float("nan"), float("nan"), False, 0)
    if refinement in ("gradient", "both") and towards_field is not None:
        result = towards_field(mesh)
    if refinement == "bilateral":
        face_normals = bilateral_normals
    elif refinement not in ("graph", "both"):
        return result
    if face_normals is None:
        raise no_graph_network(refinement)
    followed = follow_normals(result.mesh, face_normals(result.mesh))
    rejected_moves = result.rejected_moves + followed.rejected_moves
    return replace(result, mesh=followed.mesh, improved=True, rejected_moves=rejected_moves)


def no_graph_network(refinement: Refinement) -> ConfigError:
    """The error of a refinement that needs a graph network and has none."""
    hint = "give graph.ckpt of `occnet train_refinement`, or use gradient, bilateral or none"
    return ConfigError(f"reconstruct.refinement is {refinement}, which needs a graph network", hint=hint)


def defects(mesh: Mesh) -> str:
    """What limits the refinement of a mesh by face normals: open edges, faces without area; empty where nothing does."""
    neighbours = face_neighbours(mesh.faces, len(mesh.vertices))
    counts = {
        "edges without a second face": int((neighbours == np.arange(len(mesh.faces))[:, None]).sum()),
        "faces without area": int((mesh.face_areas == 0).sum()),
    }
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)
