"""A mesh cut open by a plane, to be seen from the open side."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from occnet_lib.types import Mesh


def viewing_direction(world_mat: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3,) horizontal unit vector away from a camera (3, 4) that looks at the origin, in the view frame (y up)."""
    away = world_mat[:, :3].T @ world_mat[:, 3]
    away[1] = 0.0
    return np.asarray(away / np.linalg.norm(away))


def cut_open(mesh: Mesh, normal: NDArray[np.float64], origin: NDArray[np.float64]) -> Mesh:
    """The part of a mesh on the side of a plane that its normal points to, open along the plane."""
    triangles = mesh.triangles
    height = (triangles - origin) @ normal
    above = (height > 0).sum(axis=1)
    parts = [triangles[above == 3]]
    for count in (1, 2):
        corners, heights = triangles[above == count], height[above == count]
        # Turn each triangle so that the corner alone on its side comes first.
        lone = np.argmax((heights > 0) == (count == 1), axis=1)
        order = (lone[:, None] + np.arange(3)) % 3
        heights = np.take_along_axis(heights, order, axis=1)
        a, b, c = np.moveaxis(np.take_along_axis(corners, order[:, :, None], axis=1), 1, 0)
        at = (heights[:, :1] / (heights[:, :1] - heights[:, 1:]))[:, :, None]
        ab, ac = a + at[:, 0] * (b - a), a + at[:, 1] * (c - a)
        pieces = [(a, ab, ac)] if count == 1 else [(ab, b, c), (ab, c, ac)]
        parts += [np.stack(piece, axis=1) for piece in pieces]
    return Mesh.from_triangles(np.concatenate(parts))
