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

    The gradient of a ReLU network is piecewise constant. Where it vanishes or points into the mesh, the area-weighted mean
    normal of the vertex's faces is used instead.

    Args:
        field: logits and their gradient.
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
