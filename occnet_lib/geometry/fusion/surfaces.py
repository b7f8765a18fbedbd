"""The surface of a triangle soup by each of the three methods (see the package)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from occnet_lib.geometry.fusion.bricks import SIDE, Bricks, SignedBand, brick_counts, store
from occnet_lib.geometry.fusion.carving import carve
from occnet_lib.geometry.fusion.depth_maps import DepthMaps, nearest_of_four
from occnet_lib.geometry.fusion.distance_band import cut_edges, distance_band, near_bricks
from occnet_lib.geometry.fusion.flood_fill import OUTSIDE, find_basins
from occnet_lib.geometry.fusion.marching import surface
from occnet_lib.geometry.fusion.rays import Scene
from occnet_lib.geometry.fusion.sharp_features import sharpen
from occnet_lib.geometry.fusion.thin_sheets import thicken
from occnet_lib.geometry.fusion.tsdf import tsdf_field
from occnet_lib.geometry.grid import Grid, isosurface
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
    """Sign by a flood of the outside that stops at narrow gaps (`flood_fill.find_basins`), magnitude by the exact distance.

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
    scene = Scene(grid.to_index(triangles))
    radius = gap_width / 2.0 / grid.step

    def seen(places: NDArray[np.float64]) -> NDArray[np.float64]:
        return scene.visible_fraction(places, directions)

    basins = find_basins(scene.triangles, grid.shape, radius, _band_width(sheet_thickness), seen)
    closed = basins.gap[basins.gap > 0]
    distance = np.negative(basins.distance, out=basins.distance, where=basins.label != OUTSIDE)
    band = SignedBand(basins.bricks, basins.far == OUTSIDE, distance, basins.nearest)
    del basins  # before the surface, which needs as much
    mesh = _exact_surface(scene, band, sheet_thickness)
    mesh = Mesh(grid.to_unit(mesh.vertices), mesh.faces)
    return Fused(mesh, len(closed), 2.0 * float(closed.max(initial=0.0)) * grid.step)


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
    scene = Scene(grid.to_index(triangles))
    width = _band_width(sheet_thickness)
    distance, nearest = distance_band(scene.triangles, grid.shape, width)
    free = resolve_near(free, distance, cut_edges(scene.triangles, grid.shape))
    bricks, far_free = _bricks_of(scene.triangles, free, width)
    signed = bricks.from_dense(np.negative(distance, out=distance, where=~free))
    mesh = _exact_surface(
        scene, SignedBand(bricks, far_free, signed, bricks.from_dense(nearest)), sheet_thickness
    )
    return Fused(Mesh(grid.to_unit(mesh.vertices), mesh.faces))


def _bricks_of(
    triangles: NDArray[np.float64], free: NDArray[np.bool_], width: float
) -> tuple[Bricks, NDArray[np.bool_]]:
    """Bricks that hold the samples within `width` of a triangle and those of either sign, and the sign of the others."""
    from scipy.ndimage import maximum_filter, minimum_filter

    counts = brick_counts(free.shape)
    everything = store(free.shape, np.ones(counts, dtype=bool))
    blocks = everything.from_dense(free).reshape(-1, SIDE**3)
    some, every = (np.asarray(signs)[everything.slot] for signs in (blocks.any(axis=1), blocks.all(axis=1)))
    uniform = maximum_filter(some, size=3) == minimum_filter(every, size=3)
    return store(free.shape, near_bricks(triangles, free.shape, width + 1.0) | ~uniform), every


def tsdf_surface(maps: DepthMaps, grid: Grid) -> Fused:
    """ONet's method (see `tsdf.tsdf_field`); the rest as in `carving_surface`."""
    return Fused(isosurface(tsdf_field(maps, grid), grid))


def _band_width(sheet_thickness: float) -> float:
    """Voxels from the surface within which distances are needed: at the neighbours of all samples that can get inside."""
    return sheet_thickness / 2.0 + 1.1


def _exact_surface(scene: Scene, band: SignedBand, sheet_thickness: float) -> Mesh:
    """The surface of a band with sheets thickened and with features, in voxels like the scene; overwrites distances."""
    lowered = thicken(scene, band, sheet_thickness)
    return sharpen(surface(band.distance, band.bricks, band.far_outside), band, scene, lowered)


# A sample closer than this to a plane has a neighbour farther than this on its own side: the main component of a unit
# normal is at least 1 / sqrt(3) = 0.577.
NEAR = 0.55
SWEEPS = 3  # a sample in a corner is reached from one that was itself decided by a neighbour


def resolve_near(
    free: NDArray[np.bool_], distance: NDArray[np.float32], cut: NDArray[np.uint8]
) -> NDArray[np.bool_]:
    """Decide again which samples within `NEAR` voxels of the surface are free.

    Carving is sure about a sample that is at least half a voxel away from the surface. A sample closer than that takes the
    side of a neighbour that it can reach along a grid edge which no triangle cuts.

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
