"""Fusion: from a triangle soup to one signed field, by one of three rules.

A field is (grid.shape) float32 in voxels, negative inside, right near the surface and of the right sign elsewhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from occnet_lib.geometry.band import cut_edges, distance_band
from occnet_lib.geometry.carve import carve
from occnet_lib.geometry.depth import DepthMaps, nearest_of_four
from occnet_lib.geometry.flood import flood
from occnet_lib.geometry.grid import Grid
from occnet_lib.geometry.sheets import thicken
from occnet_lib.geometry.signs import NEAR, resolve_near


def carve_field(
    triangles: NDArray[np.float64], maps: DepthMaps, grid: Grid, sheet_thickness: float
) -> NDArray[np.float32]:
    """Sign by space carving, magnitude by the exact distance to the triangles.

    What no view sees is inside, so that inner cavities are solid and holes into a hollow body do not empty it
    unless a view looks through them.

    Args:
        triangles: (F, 3, 3), unit frame.
        maps: depth maps of them (`depth.render_depth`); eroded in place.
        grid: samples.
        sheet_thickness: least thickness of anything, in voxels.
    """
    soup = grid.to_index(triangles)
    free = carve(nearest_of_four(maps), grid)
    distance, nearest = distance_band(soup, grid.shape, _band_width(sheet_thickness))
    return _assemble(soup, free, distance, nearest, sheet_thickness)


def flood_field(triangles: NDArray[np.float64], grid: Grid, sheet_thickness: float) -> NDArray[np.float32]:
    """Sign by flooding the outside, magnitude by the exact distance; arguments as in `carve_field`.

    Keeps cavities that are open but that no view sees to the ground; leaks through holes wider than a voxel.
    """
    soup = grid.to_index(triangles)
    distance, nearest = distance_band(soup, grid.shape, _band_width(sheet_thickness))
    free = flood(distance >= NEAR)
    return _assemble(soup, free, distance, nearest, sheet_thickness)


def _band_width(sheet_thickness: float) -> float:
    """Voxels up to which distances are needed: the neighbours of all samples that can get inside."""
    return sheet_thickness / 2.0 + 1.1


def _assemble(
    soup: NDArray[np.float64],
    free: NDArray[np.bool_],
    distance: NDArray[np.float32],
    nearest: NDArray[np.int32],
    sheet_thickness: float,
) -> NDArray[np.float32]:
    """Sign and distance to one field, with sheets thickened."""
    free = resolve_near(free, distance, cut_edges(soup, free.shape))
    field = np.where(free, distance, -distance)
    if sheet_thickness > 0:
        thicken(soup, field, nearest, sheet_thickness)
    return field
