"""Fusion: from a triangle soup to the surface of one signed field, by one of three rules."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from occnet_lib.geometry.band import cut_edges, distance_band
from occnet_lib.geometry.carve import carve
from occnet_lib.geometry.depth import DepthMaps, nearest_of_four
from occnet_lib.geometry.features import sharpen
from occnet_lib.geometry.flood import flood
from occnet_lib.geometry.grid import Grid
from occnet_lib.geometry.isosurface import isosurface, marching_cubes
from occnet_lib.geometry.mean import mean_field
from occnet_lib.geometry.sheets import thicken
from occnet_lib.geometry.signs import NEAR, resolve_near
from occnet_lib.records import Mesh


def carve_surface(
    triangles: NDArray[np.float64], maps: DepthMaps, grid: Grid, sheet_thickness: float
) -> Mesh:
    """Sign by space carving, magnitude by the exact distance to the triangles.

    What no view sees is inside, so that inner cavities are solid and holes into a hollow body do not empty it
    unless a view looks through them.

    Args:
        triangles: (F, 3, 3), unit frame.
        maps: depth maps of them (`depth.render_depth`); eroded in place.
        grid: samples.
        sheet_thickness: least thickness of anything, in voxels.

    Returns:
        closed mesh, unit frame, with the edges and corners of the input.

    Raises:
        MeshError: nothing is inside.
    """
    free = carve(nearest_of_four(maps), grid)
    del maps  # the largest array of all; the caller should keep none either
    return _exact_surface(grid.to_index(triangles), grid, lambda _: free, sheet_thickness)


def flood_surface(triangles: NDArray[np.float64], grid: Grid, sheet_thickness: float) -> Mesh:
    """Sign by flooding the outside, magnitude by the exact distance; the rest as in `carve_surface`.

    Keeps cavities that are open but that no view sees to the ground; leaks through holes wider than a voxel.
    """
    return _exact_surface(grid.to_index(triangles), grid, lambda d: flood(d >= NEAR), sheet_thickness)


def mean_surface(maps: DepthMaps, grid: Grid) -> Mesh:
    """ONet's rule (see `mean.mean_field`); the rest as in `carve_surface`."""
    return isosurface(mean_field(maps, grid), grid)


def _exact_surface(
    soup: NDArray[np.float64],
    grid: Grid,
    find_free: Callable[[NDArray[np.float32]], NDArray[np.bool_]],
    sheet_thickness: float,
) -> Mesh:
    """Sign and distance to one field, with sheets thickened, and its surface with features.

    Args:
        soup: (F, 3, 3) triangles in voxels from sample (0, 0, 0).
        find_free: from distances (grid.shape) in voxels to which samples are outside; right from `NEAR` on.
    """
    # Distances are needed at the neighbours of all samples that can get inside.
    distance, nearest = distance_band(soup, grid.shape, sheet_thickness / 2.0 + 1.1)
    free = resolve_near(find_free(distance), distance, cut_edges(soup, grid.shape))
    field = np.negative(distance, out=distance, where=~free)
    del free, distance
    lowered = thicken(soup, field, nearest, sheet_thickness)
    del nearest
    mesh = sharpen(marching_cubes(field), field, soup, lowered)
    return Mesh(grid.to_unit(mesh.vertices), mesh.faces)
