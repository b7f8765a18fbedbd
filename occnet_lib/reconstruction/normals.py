"""Vertex normals of a field's surface."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from occnet_lib.types import Mesh

if TYPE_CHECKING:
    from .refine import FieldWithGradient


def field_normals(field: FieldWithGradient, mesh: Mesh, device: str = "cpu") -> NDArray[np.float32]:
    """(V, 3) float32 unit normals: against the gradient of the logits (Mescheder et al. 2019, section 3.3).

    A field of ReLUs has a gradient for every little region: where it points into the mesh, or there is none, the
    mean of the faces around the vertex, weighted by area, is taken.

    Args:
        field: the logits and their derivative.
        mesh: its surface.
        device: torch device of the field.
    """
    import torch

    from occnet_lib.networks.arrays import tensor_of

    points = tensor_of(mesh.vertices, device, torch.float32)
    outward = -field(points)[1].cpu().numpy()
    length = np.linalg.norm(outward, axis=1, keepdims=True)
    outward = outward / np.where(length > 0, length, 1.0)
    of_faces = mesh.vertex_normals.astype(np.float32)
    good = np.isfinite(outward).all(axis=1) & ((outward * of_faces).sum(axis=1) > 0)
    return np.where(good[:, None], outward, of_faces).astype(np.float32)
