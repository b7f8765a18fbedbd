"""Stage points: training and evaluation samples of the occupancy field, also near the surface."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from occnet_lib.storage.packs import point_codec
from occnet_lib.types import Mesh, NearSurface, PointSamples, Watertight

if TYPE_CHECKING:
    from occnet_lib.config import PointsConfig

_CELLS = 64  # along the cube's edge, of the grid that keeps proposals near the surface
_REACH = 3.0  # standard deviations from the surface to which these cells reach at least


def near_surface(
    mesh: Mesh, surface: NDArray[np.floating], uniform: int, config: PointsConfig, rng: np.random.Generator
) -> NearSurface:
    """Draw points with a density that falls off as a Gaussian of the distance to the surface.

    q(x) ∝ exp(-d(x)² / 2σ²) where x is in a cell near the surface, else 0: rejection sampling of points that are
    uniform in those cells. Surface samples with added noise have a density that is an integral over the surface; this
    density is known up to its normalisation, which the proposals estimate to a fraction of a per cent.

    Args:
        mesh: closed, unit frame.
        surface: (M, 3) points on it.
        uniform: N, number of uniform points.
        config: section `points`; `near_surface` is the fraction s of all points: s / (1 - s) N are drawn, rounded
            up to a multiple of 8.
        rng: draws everything.
    """
    from occnet_lib.geometry.occupancy import contains, surface_distance

    grid = _Cells(surface, config)
    count = 8 * int(np.ceil(config.near_surface / (1 - config.near_surface) * uniform / 8))

    def falloff(points: NDArray[np.float16]) -> NDArray[np.float64]:
        distance = surface_distance(mesh, points)
        return np.exp(-0.5 * (distance / config.near_surface_sigma) ** 2)

    points, values = np.zeros((0, 3), np.float16), np.zeros(0)
    proposed, total = 0, 0.0
    while len(points) < count:
        proposals = grid.draw(2 * count, rng)
        value = falloff(proposals)
        accepted = rng.random(len(proposals)) < value
        points = np.concatenate([points, proposals[accepted]])[:count]
        values = np.concatenate([values, value[accepted]])[:count]
        proposed += len(proposals)
        total += float(value.sum())
    norm = grid.fraction * total / proposed  # mean of q's numerator over the cube
    order = point_codec.mixed_order(points)
    points, values = points[order], values[order]
    return NearSurface(
        points=points, occupancies=contains(mesh, points), density=(values / norm).astype(np.float16)
    )


class _Cells:
    """The cells of a grid over the padded cube that may be near the surface."""

    def __init__(self, surface: NDArray[np.floating], config: PointsConfig) -> None:
        from scipy.ndimage import maximum_filter

        self.edge = 1.0 + config.padding
        marks = np.zeros((_CELLS,) * 3, dtype=bool)
        marks[tuple(self._cell(surface))] = True
        reach = int(np.ceil(_REACH * config.near_surface_sigma / self.edge * _CELLS))
        self.marks = maximum_filter(marks, 2 * min(reach, _CELLS) + 1, mode="constant")
        self.numbers = np.flatnonzero(self.marks)
        self.fraction = len(self.numbers) / self.marks.size

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.float16]:
        """(count, 3) points that are uniform in the cells; those that rounding moves out are drawn again."""
        drawn = np.zeros((0, 3), np.float16)
        while (missing := count - len(drawn)) > 0:
            cells = np.stack(np.unravel_index(rng.choice(self.numbers, missing), self.marks.shape), axis=1)
            points = (((cells + rng.random((missing, 3))) / _CELLS - 0.5) * self.edge).astype(np.float16)
            drawn = np.concatenate([drawn, points[self.contains(points)]])
        return drawn

    def contains(self, points: NDArray[np.floating]) -> NDArray[np.bool_]:
        """(N,) which points of the cube are in one of the cells."""
        near: NDArray[np.bool_] = self.marks[tuple(self._cell(points))]
        return near

    def _cell(self, points: NDArray[np.floating]) -> NDArray[np.intp]:
        cell = np.floor((points.astype(np.float64) / self.edge + 0.5) * _CELLS).astype(np.intp)
        return np.clip(cell, 0, _CELLS - 1).T


def run(watertight: Watertight, config: PointsConfig, rng: np.random.Generator) -> PointSamples:
    """Draw occupancy points, surface samples and voxels of a closed mesh (ONet's sample_mesh.py).

    Points are rounded to float16 before they are labelled: otherwise some labels near the surface would be wrong. All
    are then sorted into a random order that takes no space in files (storage.packs.point_codec).

    Args:
        watertight: closed mesh, unit frame.
        config: section `points`.
        rng: draws everything.

    Returns:
        samples in the unit frame; the audit holds `occupied_share`, the fraction of occupied points.

    Raises:
        MeshError: the mesh has no area.
    """
    from occnet_lib.geometry import occupancy, sampling

    mesh = watertight.mesh
    half = 0.5 + config.padding / 2.0
    points = rng.uniform(-half, half, (config.uniform, 3)).astype(np.float16)
    points = points[point_codec.mixed_order(points)]
    occupancies = occupancy.contains(mesh, points)
    samples, normals, _ = sampling.sample_surface(mesh, config.surface, rng)
    surface = samples.astype(np.float16)
    order = point_codec.mixed_order(surface)
    return PointSamples(
        points=points,
        occupancies=occupancies,
        surface=surface[order],
        normals=normals.astype(np.float16)[order],
        voxels=occupancy.solid_voxels(mesh, config.voxels),
        surface_voxels=occupancy.surface_voxels(mesh, config.voxels),
        near=near_surface(mesh, samples, config.uniform, config, rng) if config.near_surface else None,
        audit={"occupied_share": float(occupancies.mean())},
    )
