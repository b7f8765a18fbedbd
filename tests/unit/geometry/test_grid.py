"""The grid around a mesh."""

from __future__ import annotations

import numpy as np
import pytest

from occnet_lib.errors import MeshError
from occnet_lib.geometry.grid import Grid, grid_around, isosurface
from occnet_lib.geometry.repair import check_watertight


def test_grid_holds_the_box_with_its_margin() -> None:
    low, high = np.array([0.0, 0.0, -1.0]), np.array([1.0, 0.3, 1.0])
    grid = grid_around(low, high, 65, 4)
    assert max(grid.shape) == 65
    first, last = grid.to_unit(np.zeros(3)), grid.to_unit(np.array(grid.shape) - 1)
    assert (low - first >= 4 * grid.step - 1e-12).all()
    assert (last - high >= 4 * grid.step - 1e-12).all()
    np.testing.assert_allclose(grid.to_index(grid.to_unit(np.array([3.5, 1, 2]))), [3.5, 1, 2])


def test_isosurface_closes_at_the_border_and_points_outward() -> None:
    grid = Grid(np.array([-1.0, -1.0, -1.0]), 0.1, (21, 21, 21))
    axis = -1 + 0.1 * np.arange(21)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    ball = isosurface((np.sqrt(x**2 + y**2 + z**2) - 0.73).astype(np.float32), grid, unit=0.1)
    np.testing.assert_allclose(np.linalg.norm(ball.vertices, axis=1), 0.73, atol=2e-3)
    assert check_watertight(ball).closed
    cut = isosurface((x - 0.25).astype(np.float32), grid, unit=0.1)
    assert check_watertight(cut).closed
    assert cut.vertices[:, 0].max() == pytest.approx(0.25, abs=1e-6)
    assert cut.vertices[:, 1:].min() < -1.0


def test_isosurface_of_zeros_at_samples_is_manifold() -> None:
    grid = Grid(np.zeros(3), 1.0, (12, 12, 12))
    rng = np.random.default_rng(0)
    field = rng.choice([-1.0, 0.0, 1e-9, -1e-9, 1.0], size=grid.shape).astype(np.float32)
    mesh = isosurface(field, grid)
    sound = check_watertight(mesh)
    assert (sound.boundary_edges, sound.flipped_edges) == (0, 0)
    assert len(np.unique(mesh.vertices, axis=0)) == len(mesh.vertices)


def test_isosurface_of_no_inside() -> None:
    with pytest.raises(MeshError, match="no inside"):
        isosurface(np.ones((4, 4, 4), dtype=np.float32), Grid(np.zeros(3), 1.0, (4, 4, 4)))
