"""The surface of a triangle soup by each of the three methods (see the package)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from occnet_lib.geometry.fusion.carving import carve
from occnet_lib.geometry.fusion.depth_maps import DepthMaps, nearest_of_four
from occnet_lib.geometry.fusion.distance_band import cut_edges, distance_band
from occnet_lib.geometry.fusion.flood_fill import find_outside
from occnet_lib.geometry.fusion.sharp_features import sharpen
from occnet_lib.geometry.fusion.sign_refinement import resolve_near
from occnet_lib.geometry.fusion.thin_sheets import thicken
from occnet_lib.geometry.fusion.tsdf import tsdf_field
from occnet_lib.geometry.grid import Grid
from occnet_lib.geometry.isosurface import isosurface, marching_cubes
from occnet_lib.types import Mesh


@dataclass(frozen=True)
class Fused:
    """A closed surface.

    Attributes:
        mesh: unit frame.
        gaps_closed: number of hollows that `flood_fill_surface` keeps solid because the gaps into them are narrow.
        widest_gap: width of the widest of these gaps, unit frame; 0 without any.
    """

    mesh: Mesh
    gaps_closed: int = 0
    widest_gap: float = 0.0


def flood_fill_surface(
    triangles: NDArray[np.float64],
    grid: Grid,
    sheet_thickness: float,
    gap_width: float,
    directions: NDArray[np.float64],
) -> Fused:
    """Sign by a flood of the outside that stops at narrow gaps (`flood_fill.find_outside`), magnitude by the exact distance.

    A cavity is open to its ground or solid throughout: what lies behind a gap narrower than `gap_width`, and what
    nothing joins to the outside, is inside.

    Args:
        triangles: (F, 3, 3), unit frame.
        grid: samples.
        sheet_thickness: least thickness of anything, in voxels.
        gap_width: unit frame.
        directions: (n, 3) in which the view out of hollows is tested.

    Raises:
        MeshError: nothing is inside.
    """
    soup = grid.to_index(triangles)
    radius = gap_width / 2.0 / grid.step
    distance, nearest = distance_band(soup, grid.shape, max(_band_width(sheet_thickness), radius + 1.0))
    outside = find_outside(soup, distance, cut_edges(soup, grid.shape), radius, directions)
    mesh = _exact_surface(soup, grid, outside.free, distance, nearest, sheet_thickness)
    return Fused(mesh, outside.gaps_closed, outside.widest_gap * grid.step)


def carving_surface(
    triangles: NDArray[np.float64], maps: DepthMaps, grid: Grid, sheet_thickness: float
) -> Fused:
    """Sign by space carving, magnitude by the exact distance to the triangles.

    What no view sees is inside. Views that look into a cavity through a narrow opening carve ragged holes into it.

    Args:
        triangles: (F, 3, 3), unit frame.
        maps: depth maps of them (`depth_maps.render_depth`); eroded in place.
        grid: samples.
        sheet_thickness: least thickness of anything, in voxels.

    Returns:
        closed mesh with the edges and corners of the input.

    Raises:
        MeshError: nothing is inside.
    """
    free = carve(nearest_of_four(maps), grid)
    del maps  # the largest array of all; the caller should keep none either
    soup = grid.to_index(triangles)
    distance, nearest = distance_band(soup, grid.shape, _band_width(sheet_thickness))
    free = resolve_near(free, distance, cut_edges(soup, grid.shape))
    return Fused(_exact_surface(soup, grid, free, distance, nearest, sheet_thickness))


def tsdf_surface(maps: DepthMaps, grid: Grid) -> Fused:
    """ONet's method (see `tsdf.tsdf_field`); the rest as in `carving_surface`."""
    return Fused(isosurface(tsdf_field(maps, grid), grid))


def _band_width(sheet_thickness: float) -> float:
    """Voxels from the surface within which distances are needed: at the neighbours of all samples that can get inside."""
    return sheet_thickness / 2.0 + 1.1


def _exact_surface(
    soup: NDArray[np.float64],
    grid: Grid,
    free: NDArray[np.bool_],
    distance: NDArray[np.float32],
    nearest: NDArray[np.int32],
    sheet_thickness: float,
) -> Mesh:
    """Sign and distance to one field, with sheets thickened, and its surface with features.

    Args:
        soup: (F, 3, 3) triangles in voxels from sample (0, 0, 0).
        free: (grid.shape) which samples are outside.
        distance, nearest: of `distance_band.distance_band`; `distance` is overwritten.
    """
    field = np.negative(distance, out=distance, where=~free)
    lowered = thicken(soup, field, nearest, sheet_thickness)
    mesh = sharpen(marching_cubes(field), field, soup, lowered)
    return Mesh(grid.to_unit(mesh.vertices), mesh.faces)
