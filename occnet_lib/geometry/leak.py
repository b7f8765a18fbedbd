"""How much of the inside a flood fill has lost through holes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from occnet_lib.geometry.cameras import random_spiral
from occnet_lib.geometry.occupancy import contains, raycasting_scene, surface_distance
from occnet_lib.records import Mesh

SAMPLES = 4000
DIRECTIONS = 128
FIRST = 8  # one direction in so many is tried first: it settles most places in the open
CLEAR = 2.0  # voxels from the surface below which a place is not judged


def leaked_share(closed: Mesh, mesh: Mesh, voxel: float, rng: np.random.Generator) -> float:
    """Share of the inside that is missing in a closed mesh, by what can be seen from there.

    A place outside of the closed mesh from which no direction leads past the input into the open is taken to be
    lost. So are, wrongly, the depths of a bottle: the two differ in nothing but the maker's intention.

    Args:
        closed: closed mesh of `mesh`.
        mesh: the input, same frame.
        voxel: spacing of the samples that it was made with.
        rng: draws places and turns the directions.

    Returns:
        lost / (lost + inside) in volume, 0 where there is neither.
    """
    used = mesh.vertices[mesh.faces].reshape(-1, 3)
    places = rng.uniform(used.min(axis=0), used.max(axis=0), (SAMPLES, 3))
    inside = contains(closed, places)
    free = places[~inside]
    free = free[surface_distance(mesh, free) > CLEAR * voxel]
    directions = random_spiral(DIRECTIONS, rng)
    first = np.arange(DIRECTIONS) % FIRST == 0
    for some in (directions[first], directions[~first]):
        free = free[~_sees_out(mesh, free, some)]
    lost = len(free)
    return lost / (lost + int(inside.sum())) if lost else 0.0


def _sees_out(mesh: Mesh, places: NDArray[np.float64], directions: NDArray[np.float64]) -> NDArray[np.bool_]:
    """From which places (N,) some direction meets no face."""
    import open3d as o3d

    rays = np.concatenate(
        [np.repeat(places, len(directions), axis=0), np.tile(directions, (len(places), 1))], axis=1
    )
    tensor = o3d.core.Tensor.from_numpy(rays.astype(np.float32))
    hit = raycasting_scene(mesh).test_occlusions(tensor, nthreads=1).numpy()
    return ~hit.reshape(len(places), len(directions)).all(axis=1)
