"""How much of the open is seen from a place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from occnet_lib.geometry.occupancy import raycasting_scene
from occnet_lib.records import Mesh


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

    faces = np.arange(3 * len(triangles), dtype=np.int32).reshape(-1, 3)
    scene = raycasting_scene(Mesh(triangles.reshape(-1, 3), faces))
    rays = np.concatenate(
        [np.repeat(places, len(directions), axis=0), np.tile(directions, (len(places), 1))], axis=1
    )
    hit = scene.test_occlusions(o3d.core.Tensor.from_numpy(rays.astype(np.float32)), nthreads=1).numpy()
    return 1.0 - np.asarray(hit.reshape(len(places), len(directions)).mean(axis=1), dtype=np.float64)
