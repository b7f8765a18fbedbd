"""Rays through a triangle soup: one acceleration structure for all that fusion asks of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from occnet_lib.geometry.occupancy import cast_rays, raycasting_scene
from occnet_lib.geometry.open3d_import import float32_tensor
from occnet_lib.types import Mesh

RAYS = 500_000  # at a time; a foam has thousands of hollows with 4096 rays each


class Scene:
    """Triangles and the open3d scene of them.

    Attributes:
        triangles: (F, 3, 3) float64.
    """

    def __init__(self, triangles: NDArray[np.float64]) -> None:
        """Build the acceleration structure of triangles (F, 3, 3)."""
        self.triangles = np.ascontiguousarray(triangles, dtype=np.float64)
        self._scene = raycasting_scene(Mesh.from_triangles(self.triangles))

    def cast(
        self, origin: NDArray[np.float64], direction: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """First hits of rays (n, 3): distances and normals (`occupancy.cast_rays`)."""
        return cast_rays(self._scene, origin, direction)

    def visible_fraction(
        self, places: NDArray[np.float64], directions: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Fraction of the directions (n, 3) in which a ray from each place (N, 3) meets no triangle.

        Returns:
            (N,) float64 in [0, 1].
        """
        seen = np.zeros(len(places))
        step = max(1, RAYS // len(directions))
        for start in range(0, len(places), step):
            some = places[start : start + step]
            ends = (np.repeat(some, len(directions), axis=0), np.tile(directions, (len(some), 1)))
            rays = float32_tensor(np.concatenate(ends, axis=1))
            hit = self._scene.test_occlusions(rays, nthreads=1).numpy()
            seen[start : start + step] = 1.0 - hit.reshape(len(some), len(directions)).mean(axis=1)
        return seen
