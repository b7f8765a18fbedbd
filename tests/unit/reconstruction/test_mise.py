"""MISE against the dense grid and against ONet's octree, written naively."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from occnet_lib.errors import DataError
from occnet_lib.reconstruction.mise import mise, mise_batch

BOX = 1.1


def dense(field, n: int) -> np.ndarray:
    axis = np.arange(n + 1) / n
    points = BOX * (np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1) - 0.5)
    return field(points.reshape(-1, 3).astype(np.float32)).reshape((n + 1,) * 3)


def onet_octree(field, resolution0: int, steps: int) -> tuple[np.ndarray, int]:
    """Which grid points ONet's rule evaluates: a cell is halved when two evaluated points of it, hanging ones
    included, lie on different sides; until no cell is."""
    n = resolution0 * 2**steps
    inside = dense(field, n) > 0
    known = np.zeros_like(inside)
    size = 2**steps
    known[::size, ::size, ::size] = True
    leaves = [(np.array(c) * size, size) for c in np.ndindex(*[resolution0] * 3)]
    while True:
        halved, kept = [], []
        for low, edge in leaves:
            cell = tuple(slice(x, x + edge + 1) for x in low)
            here = inside[cell][known[cell]]
            (halved if edge > 1 and here.any() and not here.all() else kept).append((low, edge))
        if not halved:
            return known, int(known.sum())
        leaves = kept
        for low, edge in halved:
            half = edge // 2
            known[tuple(slice(x, x + edge + 1, half) for x in low)] = True
            leaves += [(low + half * np.array(c), half) for c in np.ndindex(2, 2, 2)]


def crossed_cells(inside: np.ndarray) -> np.ndarray:
    corners = [inside[x:, y:, z:] for x in (0, 1) for y in (0, 1) for z in (0, 1)]
    n = inside.shape[0] - 1
    stacked = np.stack([c[:n, :n, :n] for c in corners])
    return stacked.any(axis=0) & ~stacked.all(axis=0)


def along(points: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Products of (N, 3) points with a direction (3,), or (N, K) with (3, K), each by itself.

    The last bits of a matrix product depend on how many points there are, for kernels of some processors.
    """
    x, y, z = points.T
    if direction.ndim == 1:
        return x * direction[0] + y * direction[1] + z * direction[2]
    return x[:, None] * direction[0] + y[:, None] * direction[1] + z[:, None] * direction[2]


def balls(centres, radii):
    """Union of balls as a field whose value is about ten times the distance."""

    def field(points: np.ndarray) -> np.ndarray:
        distance = np.linalg.norm(points[:, None] - np.asarray(centres, np.float32)[None], axis=2)
        return 10 * (np.asarray(radii, np.float32) - distance).max(axis=1)

    return field


def waves(seed: int):
    """A smooth random field with features of all sizes."""
    rng = np.random.default_rng(seed)
    frequency = rng.normal(0, 9, (6, 3)).astype(np.float32)
    phase = rng.uniform(0, 6.3, 6).astype(np.float32)
    return lambda points: np.sin(along(points, frequency.T) + phase).sum(axis=1) - np.float32(1.5)


class Counted:
    """A field that records where it was evaluated."""

    def __init__(self, field):
        self.field, self.queried = field, []

    def __call__(self, points):
        assert points.dtype == np.float32
        self.queried.append(points.copy())
        return self.field(points)


@given(
    st.lists(
        st.tuples(*[st.floats(-0.3, 0.3)] * 3, st.floats(0.14, 0.22)), min_size=1, max_size=4, unique=True
    )
)
@settings(max_examples=15, deadline=None)
def test_signs_are_those_of_the_dense_grid_where_no_part_is_smaller_than_a_coarse_cell(parts):
    field = balls([p[:3] for p in parts], [p[3] for p in parts])
    grid = mise(field, 16, 1, 0.0)
    assert np.array_equal(grid.logits > 0, dense(field, 32) > 0)


@given(st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_every_crossed_cell_is_exact_and_no_more_is_evaluated_than_by_onets_rule(seed):
    field = waves(seed)
    counted = Counted(field)
    grid = mise(counted, 4, 2, 0.0)
    truth = dense(field, 16)
    # On crossed cells of the result all eight corners are the field's own values.
    for cell in np.argwhere(crossed_cells(grid.logits > 0)):
        corners = tuple(slice(x, x + 2) for x in cell)
        assert np.array_equal(grid.logits[corners], truth[corners])
    queried = np.concatenate(counted.queried)
    assert len(np.unique(queried, axis=0)) == len(queried) == grid.evaluated
    assert grid.evaluated <= onet_octree(field, 4, 2)[1]


@given(st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_one_halving_evaluates_the_very_points_of_onets_rule(seed):
    field = waves(seed)
    grid = mise(field, 6, 1, 0.0)
    known, count = onet_octree(field, 6, 1)
    assert grid.evaluated == count
    assert np.array_equal(grid.logits[known], dense(field, 12)[known])


def test_a_surface_that_enters_a_cell_between_its_corners_is_followed():
    # A rod whose cross-section slips between the corners of the first grid; only its end is seen there.
    def field(points):
        rod = 0.045 - np.maximum(np.abs(points[:, 1] - 0.07), np.abs(points[:, 2] - 0.07))
        rod = np.where(points[:, 0] > -0.4, rod, -1)
        ball = 0.2 - np.linalg.norm(points - np.float32([0.35, 0.07, 0.07]), axis=1)
        return (10 * np.maximum(rod, ball)).astype(np.float32)

    truth = dense(field, 32) > 0
    assert truth[:16].sum() > 50
    coarse = dense(field, 8) > 0
    assert not coarse[:5].any()
    assert np.array_equal(mise(field, 8, 2, 0.0).logits > 0, truth)


def test_points_of_the_evaluation_are_few_and_the_batches_bounded():
    field = Counted(balls([[0, 0, 0]], [0.4]))
    grid = mise(field, 16, 2, 0.0, points_batch=1000)
    assert grid.logits.shape == (65, 65, 65)
    assert grid.logits.dtype == np.float32
    assert grid.evaluated == sum(len(points) for points in field.queried) < 0.25 * 65**3
    assert max(len(points) for points in field.queried) <= 1000


def test_shapes_evaluated_together_are_those_evaluated_alone():
    fields = [waves(1), balls([[0.1, 0, 0]], [0.3]), balls([[0, 0, 0]], [-1.0]), waves(2)]
    calls = []

    def together(points, shapes):
        assert (np.diff(shapes) >= 0).all()
        calls.append(len(points))
        return np.concatenate([field(points[shapes == i]) for i, field in enumerate(fields)])

    actual = mise_batch(together, len(fields), 8, 2, 0.0, points_batch=2000)
    for field, grid in zip(fields, actual, strict=True):
        alone = mise(field, 8, 2, 0.0)
        assert np.array_equal(grid.logits, alone.logits)
        assert grid.evaluated == alone.evaluated
    assert sum(calls) == sum(grid.evaluated for grid in actual)
    assert max(calls) <= 2000
    assert mise_batch(together, 0, 8, 2, 0.0) == []


def test_corners_of_the_box_and_the_threshold():
    def field(points):
        return points[:, 0]

    grid = mise(field, 4, 0, 0.0, box=2.0)
    assert np.allclose(grid.logits[:, 2, 3], [-1, -0.5, 0, 0.5, 1])
    fine = mise(field, 4, 3, 0.3, box=2.0)
    assert np.array_equal(fine.logits[:, 5, 7] > 0.3, np.linspace(-1, 1, 33) > 0.3)


@pytest.mark.parametrize("value", [-3.0, 3.0])
def test_a_constant_field_costs_the_first_grid_only(value):
    grid = mise(lambda points: np.full(len(points), value, np.float32), 8, 2, 0.0)
    assert grid.evaluated == 9**3
    assert (grid.logits == value).all()


def test_values_that_are_no_numbers_are_an_error():
    with pytest.raises(DataError, match="returned NaN"):
        mise(lambda points: np.full(len(points), np.nan, np.float32), 4, 1, 0.0)


@given(st.floats(-0.2, 0.2), st.floats(0.004, 0.02), st.tuples(*[st.floats(-1, 1)] * 2))
@settings(max_examples=8, deadline=None)
def test_a_sheet_thinner_than_a_coarse_cell_is_as_on_the_dense_grid(offset, half, tilt):
    """Between corners of the first grid a sheet may hide; from a hub that shows there it is followed."""
    normal = np.float32([1.0, *tilt]) / np.float32(np.sqrt(1 + tilt[0] ** 2 + tilt[1] ** 2))

    def field(points):
        sheet = np.float32(half) - np.abs(along(points, normal) - np.float32(offset))
        hub = np.float32(0.1) - np.linalg.norm(points - normal * np.float32(offset), axis=1)
        within = np.float32(0.4) - np.abs(points).max(axis=1)
        return 10 * np.minimum(np.maximum(sheet, hub), within)

    grid = mise(field, 16, 2, 0.0)
    truth = dense(field, 64)
    crossed = crossed_cells(grid.logits > 0)
    for shift in np.ndindex(2, 2, 2):
        corner = tuple(slice(s, s + 64) for s in shift)
        assert np.array_equal(grid.logits[corner][crossed], truth[corner][crossed])
    assert not ((grid.logits > 0) & (truth <= 0)).any()
    if half > 0.015:  # nowhere thinner than a fine cell's diagonal, so that it hangs together with its hub
        assert ((grid.logits > 0) & (truth > 0)).sum() >= 0.9 * (truth > 0).sum()


def test_a_part_smaller_than_a_coarse_cell_needs_a_finer_first_grid():
    field = balls([[0, 0, 0], [0.383, 0.383, 0.383]], [0.2, 0.012])
    truth = dense(field, 128) > 0
    assert not np.array_equal(mise(field, 16, 3, 0.0).logits > 0, truth)
    assert np.array_equal(mise(field, 64, 1, 0.0).logits > 0, truth)


@pytest.mark.slow
def test_512_cells_along_the_edge():
    grid = mise(balls([[0, 0, 0]], [0.35]), 32, 4, 0.0)
    assert grid.logits.shape == (513,) * 3
    assert grid.evaluated < 0.014 * 513**3
    inside = grid.logits > 0
    axis = BOX * (np.arange(513, dtype=np.float32) / np.float32(512) - np.float32(0.5))
    square = axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis**2
    sure = np.abs(np.sqrt(square) - 0.35) > 1e-5
    assert np.array_equal(inside[sure], (square < 0.35**2)[sure])
