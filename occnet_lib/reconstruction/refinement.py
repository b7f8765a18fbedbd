"""Which refinement a mesh gets: towards the field's surface, or by corrected face normals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from occnet_lib.config import Refinement
from occnet_lib.geometry.normal_filter import bilateral_normals
from occnet_lib.types import Mesh

from .follow_normals import follow_normals
from .refine import Refined


def refined(
    mesh: Mesh, refinement: Refinement, towards_field: Callable[[Mesh], Refined] | None = None
) -> Refined:
    """The mesh after the configured refinement, with the same faces.

    Args:
        mesh: unit frame.
        refinement: gradient: `towards_field`; bilateral: the vertices follow the filtered normals of the mesh; none.
        towards_field: refinement by the field's gradient (`refine`); None: left out.
    """
    unrefined = Refined(mesh, float("nan"), float("nan"), False, 0)
    if refinement == "gradient" and towards_field is not None:
        return towards_field(mesh)
    if refinement == "bilateral":
        followed = follow_normals(mesh, bilateral_normals(mesh))
        return replace(unrefined, mesh=followed.mesh, improved=True, rejected_moves=followed.rejected_moves)
    return unrefined
