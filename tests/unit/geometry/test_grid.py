"""The grid around a mesh."""

from __future__ import annotations

import numpy as np

from occnet_lib.geometry.grid import grid_around


def test_grid_holds_the_box_with_its_margin() -> None:
    low, high = np.array([0.0, 0.0, -1.0]), np.array([1.0, 0.3, 1.0])
    grid = grid_around(low, high, 65, 4)
    assert max(grid.shape) == 65
    first, last = grid.to_unit(np.zeros(3)), grid.to_unit(np.array(grid.shape) - 1)
    assert (low - first >= 4 * grid.step - 1e-12).all()
    assert (last - high >= 4 * grid.step - 1e-12).all()
    np.testing.assert_allclose(grid.to_index(grid.to_unit(np.array([3.5, 1, 2]))), [3.5, 1, 2])
