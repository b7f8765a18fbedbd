"""Inside or outside for the samples next to a surface.

Carving is sure about a sample that is at least half a voxel away from the surface. A sample closer than that takes the
side of a neighbour that it can reach along a grid edge which no triangle cuts.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

# A sample closer than this to a plane has a neighbour farther than this on its own side: the main component of a unit
# normal is at least 1 / sqrt(3) = 0.577.
NEAR = 0.55
SWEEPS = 3  # a sample in a corner is reached from one that was itself decided by a neighbour


def resolve_near(
    free: NDArray[np.bool_], distance: NDArray[np.float32], cut: NDArray[np.uint8]
) -> NDArray[np.bool_]:
    """Decide again which samples within `NEAR` voxels of the surface are free.

    Args:
        free: first decision for every sample; kept where it is far from the surface, or where the neighbours on
            the sample's own side show nothing or disagree (holes, slits).
        distance: of `distance_band.distance_band`, in voxels.
        cut: of `distance_band.cut_edges`.

    Returns:
        (X, Y, Z) bool.
    """
    out = free.copy()
    sure = distance >= NEAR
    todo = np.argwhere(~sure)
    for _ in range(SWEEPS):
        todo = _sweep(todo, cut, out, sure)
    return out


@njit(cache=True)
def _sweep(todo, cut, free, sure):  # type: ignore[no-untyped-def]
    """Decide the samples `todo` that have a sure neighbour, all at once; return those left."""
    shape = free.shape
    decision = np.zeros(len(todo), dtype=np.int8)
    for n in range(len(todo)):
        seen = 0  # bit 0: a free neighbour, bit 1: one inside
        for axis in range(3):
            for forth in range(2):
                x, y, z = todo[n]
                here = cut[x, y, z]
                x += (axis == 0) * (2 * forth - 1)
                y += (axis == 1) * (2 * forth - 1)
                z += (axis == 2) * (2 * forth - 1)
                if min(x, y, z) < 0 or x >= shape[0] or y >= shape[1] or z >= shape[2] or not sure[x, y, z]:
                    continue
                edge = here if forth else cut[x, y, z]
                if not (edge >> axis) & 1:
                    seen |= 1 if free[x, y, z] else 2
        decision[n] = seen
    for n in range(len(todo)):
        if decision[n] == 1 or decision[n] == 2:
            x, y, z = todo[n]
            free[x, y, z] = decision[n] == 1
            sure[x, y, z] = True
    return todo[decision == 0]
