"""Points near the surface, whose density is known exactly (types.NearSurface)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from occnet_lib.storage.packs import point_codec
from occnet_lib.types import Mesh, NearSurface

if TYPE_CHECKING:
    from occnet_lib.config import PointsConfig

_CELLS = 64  # along the cube's edge, of the grid that keeps proposals near the surface
_REACH = 3.0  # standard deviations from the surface to which these cells reach at least


def near_surface(
    mesh: Mesh,
    surface: NDArray[np.floating],
    uniform: int,
    config: PointsConfig,
    rng: np.random.Generator,
) -> NearSurface:
    """Draw points with a density that falls off as a Gaussian of the distance to the surface.

    q(x) ∝ exp(-d(x)² / 2σ²) where x is in a cell near the surface, else 0: by rejection from points that are uniform
    in those cells. Unlike surface samples with noise added, whose density is an integral over the surface, that of
    these points is known but for one number, which all proposals together give to a fraction of a per cent.

    Args:
        mesh: closed, unit frame.
        surface: (M, 3) points on it, which say where it is.
        uniform: N, number of uniform points.
        config: section `points`; `near_surface` is the share s of all points: s / (1 - s) N are drawn, rounded up to
            a multiple of 8.
        rng: draws everything.
    """
    from occnet_lib.geometry.occupancy import contains, surface_distance

    grid = _Cells(surface, config)
    count = 8 * int(np.ceil(config.near_surface / (1 - config.near_surface) * uniform / 8))

    def falloff(points: NDArray[np.float16]) -> NDArray[np.float64]:
        distance = surface_distance(mesh, points)
        return np.exp(-0.5 * (distance / config.near_surface_sigma) ** 2)

    kept, shares = [np.zeros((0, 3), np.float16)], [np.zeros(0)]
    proposed, total = 0, 0.0
    while sum(map(len, kept)) < count:
        proposals = grid.draw(2 * count, rng)
        value = falloff(proposals)
        accepted = rng.random(len(proposals)) < value
        kept.append(proposals[accepted])
        shares.append(value[accepted])
        proposed, total = proposed + len(proposals), total + float(value.sum())
    points, values = np.concatenate(kept)[:count], np.concatenate(shares)[:count]
    norm = grid.share * total / proposed  # mean of q's numerator over the cube
    order = point_codec.mixed_order(points)
    points, values = points[order], values[order]
    return NearSurface(
        points=points,
        occupancies=contains(mesh, points),
        density=(values / norm).astype(np.float16),
    )


class _Cells:
    """The cells of a grid over the padded cube that may be near the surface."""

    def __init__(self, surface: NDArray[np.floating], config: PointsConfig) -> None:
        self.edge = 1.0 + config.padding
        marks = np.zeros((_CELLS,) * 3, dtype=bool)
        marks[tuple(self._cell(surface))] = True
        reach = int(np.ceil(_REACH * config.near_surface_sigma / self.edge * _CELLS))
        self.marks = _widened(marks, min(reach, _CELLS))
        self.numbers = np.flatnonzero(self.marks)
        self.share = len(self.numbers) / self.marks.size

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.float16]:
        """(count, 3) points that are uniform in the cells; rounding moves few of them out, which are drawn again."""
        found = [np.zeros((0, 3), np.float16)]
        while (missing := count - sum(map(len, found))) > 0:
            cells = np.stack(np.unravel_index(rng.choice(self.numbers, missing), self.marks.shape), axis=1)
            points = ((cells + rng.random((missing, 3))) / _CELLS - 0.5) * self.edge
            found.append(points.astype(np.float16)[self.holds(points.astype(np.float16))])
        return np.concatenate(found)

    def holds(self, points: NDArray[np.floating]) -> NDArray[np.bool_]:
        """(N,) whether points of the cube are in one of the cells."""
        near: NDArray[np.bool_] = self.marks[tuple(self._cell(points))]
        return near

    def _cell(self, points: NDArray[np.floating]) -> NDArray[np.intp]:
        cell = np.floor((points.astype(np.float64) / self.edge + 0.5) * _CELLS).astype(np.intp)
        return np.clip(cell, 0, _CELLS - 1).T


def _widened(marks: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Mark all cells at most `reach` cells away along every axis."""
    for axis in range(3):
        wide = marks.copy()
        for shift in range(1, reach + 1):
            ahead, behind = [slice(None)] * 3, [slice(None)] * 3
            ahead[axis], behind[axis] = slice(shift, None), slice(None, -shift)
            wide[tuple(ahead)] |= marks[tuple(behind)]
            wide[tuple(behind)] |= marks[tuple(ahead)]
        marks = wide
    return marks
