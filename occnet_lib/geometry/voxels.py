"""Coarse solid voxels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from occnet_lib.geometry.occupancy import contains
from occnet_lib.records import Mesh


def voxel_centres(resolution: int) -> NDArray[np.float64]:
    """(R³, 3) float64 centres (i + .5) / R - .5 of the unit cube's voxels, in C order of [x, y, z]."""
    axis = (np.arange(resolution) + 0.5) / resolution - 0.5
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)


def solid_voxels(mesh: Mesh, resolution: int) -> NDArray[np.bool_]:
    """(R, R, R) bool, indexed [x, y, z]: which voxel centres of the unit cube a closed mesh holds."""
    return contains(mesh, voxel_centres(resolution)).reshape((resolution,) * 3)
