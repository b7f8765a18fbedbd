"""How much of the open is seen from a place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from occnet_lib.geometry.occupancy import triangle_scene

RAYS = 500_000  # at a time; a foam has thousands of hollows with 4096 rays each


def visible_fraction(
    triangles: NDArray[np.float64], places: NDArray[np.float64], directions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Fraction of the directions in which a ray meets no triangle.

    Args:
        triangles: (F, 3, 3).
        places: (N, 3), same frame.
        directions: (n, 3).

    Returns:
        (N,) float64 in [0, 1].
    """
    import open3d as o3d

    scene = triangle_scene(triangles)
    seen = np.zeros(len(places))
    step = max(1, RAYS // len(directions))
    for start in range(0, len(places), step):
        some = places[start : start + step]
        ends = (np.repeat(some, len(directions), axis=0), np.tile(directions, (len(some), 1)))
        rays = o3d.core.Tensor.from_numpy(np.concatenate(ends, axis=1).astype(np.float32))
        hit = scene.test_occlusions(rays, nthreads=1).numpy()
        seen[start : start + step] = 1.0 - hit.reshape(len(some), len(directions)).mean(axis=1)
    return seen
