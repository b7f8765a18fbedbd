"""Stage points: labels of the points as they are stored, samples on the surface, voxels."""

from __future__ import annotations

import numpy as np
import pytest

from occnet_lib.config import PointsConfig as Config
from occnet_lib.geometry.occupancy import surface_distance, surface_voxels, voxel_centres
from occnet_lib.stages import points
from occnet_lib.types import Mesh, Watertight
from tests.support.geometry_solids import Solid, bored_block, boxes, revolved, torus


def samples(solid: Solid, config: Config | None = None, seed: int = 0) -> points.PointSamples:
    closed = Watertight(mesh=solid.mesh, loc=np.zeros(3), scale=1.0)
    return points.run(closed, config or Config(), np.random.default_rng(seed))


def test_shapes_types_and_ranges() -> None:
    result = samples(bored_block(), Config(uniform=8000, surface=3000, padding=0.2, voxels=16))
    assert result.points.shape == (8000, 3)
    assert result.points.dtype == np.float16
    assert result.occupancies.shape == (8000,)
    assert result.occupancies.dtype == np.bool_
    assert result.surface.shape == result.normals.shape == (3000, 3)
    assert result.surface.dtype == result.normals.dtype == np.float16
    assert result.voxels.shape == (16, 16, 16)
    assert 0.595 < np.abs(result.points.astype(float)).max() <= 0.6002


def test_labels_are_those_of_the_stored_points() -> None:
    # The faces are off the grid of float16, so that rounding moves points across them.
    solid = boxes([((0.0, 0.0, 0.0), (0.8003, 0.6001, 0.4999))])
    result = samples(solid)
    assert np.array_equal(result.occupancies, solid.inside(result.points.astype(np.float64)))
    assert result.audit["occupied_share"] == result.occupancies.mean()
    expected = 0.8003 * 0.6001 * 0.4999 / 1.1**3
    assert result.audit["occupied_share"] == pytest.approx(expected, abs=4 * np.sqrt(expected / 100_000))


def test_points_are_uniform_and_in_random_order() -> None:
    result = samples(torus())
    p = result.points.astype(np.float64)
    counts = np.histogramdd(p, bins=4, range=[(-0.55, 0.55)] * 3)[0]
    mean = 100_000 / 64
    assert np.abs(counts - mean).max() < 5 * np.sqrt(mean)
    halves = result.occupancies.reshape(10, -1).mean(axis=1)
    assert np.ptp(halves) < 8 * np.sqrt(halves.mean() / 10_000)


def test_surface_samples_and_normals() -> None:
    solid = torus()
    result = samples(solid)
    assert surface_distance(solid.mesh, result.surface).max() < 5e-4  # float16
    centre = result.surface.astype(float) * [1, 0, 1]
    centre *= 0.375 / np.linalg.norm(centre, axis=1, keepdims=True)
    outward = result.surface - centre
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    assert (np.einsum("nd,nd->n", outward, result.normals.astype(float)) > 0.995).all()


def test_voxels_are_the_solid_at_their_centres() -> None:
    solid = bored_block()
    result = samples(solid, Config(uniform=8, surface=1, voxels=32))
    assert np.array_equal(result.voxels.ravel(), solid.inside(voxel_centres(32)))


def test_reproducible() -> None:
    one, two, other = (samples(torus(), Config(uniform=800, surface=50), s) for s in (1, 1, 2))
    for name in ("points", "occupancies", "surface", "normals", "voxels"):
        assert np.array_equal(getattr(one, name), getattr(two, name))
    assert not np.array_equal(one.points, other.points)


def test_surface_voxels_of_a_block_are_its_hull() -> None:
    # Faces at -.305, 0.295; -.205, 0.195; -.105, 0.395: within the voxels 6, 25; 9, 22; 12, 28 of 32.
    low, high = np.array([-0.305, -0.205, -0.105]), np.array([0.295, 0.195, 0.395])
    solid = boxes([((low + high) / 2, high - low)])
    first, last = np.floor((low + 0.5) * 32).astype(int), np.floor((high + 0.5) * 32).astype(int)
    want = np.zeros((32,) * 3, bool)
    want[tuple(slice(a, b + 1) for a, b in zip(first, last, strict=True))] = True
    want[tuple(slice(a + 1, b) for a, b in zip(first, last, strict=True))] = False
    np.testing.assert_array_equal(samples(solid, Config(uniform=8, surface=1)).surface_voxels, want)


def test_surface_voxels_of_a_ball_are_those_between_nearest_and_farthest_corner() -> None:
    radius = 0.41
    mesh = revolved(
        [(radius * np.sin(a), -radius * np.cos(a)) for a in np.linspace(0, np.pi, 200)], 300, ring=False
    )
    marks = surface_voxels(mesh, 32)
    corner = np.abs(voxel_centres(32))
    far = np.linalg.norm(corner + 0.5 / 32, axis=1)
    near = np.linalg.norm(np.maximum(corner - 0.5 / 32, 0), axis=1)
    sure = 1e-4  # by how much the mesh lies within the ball
    surely = (near < radius - sure) & (far > radius)
    never = (near > radius) | (far < radius - sure)
    assert marks.ravel()[surely].all()
    assert not marks.ravel()[never].any()
    assert (surely | never).mean() > 0.99


@pytest.mark.parametrize("resolution", [1, 2, 5])
def test_surface_voxels_against_a_slow_reference(resolution: int) -> None:
    """The reference solves a linear program whether a face and a box share a point."""
    from scipy.optimize import linprog

    rng = np.random.default_rng(resolution)
    vertices = rng.uniform(-0.65, 0.65, (12, 3))
    vertices[9:] = vertices[9] + rng.uniform(-0.01, 0.01, (3, 3))
    mesh = Mesh(vertices, np.arange(12, dtype=np.int32).reshape(4, 3))
    want = np.zeros((resolution,) * 3, bool)
    for voxel in np.ndindex(want.shape):
        low = np.array(voxel) / resolution - 0.5
        for triangle in mesh.triangles:
            rows = np.concatenate([triangle.T, -triangle.T])
            bounds = np.concatenate([low + 1 / resolution, -low])
            met = linprog(np.zeros(3), rows, bounds, np.ones((1, 3)), [1.0]).status == 0
            want[voxel] |= met
    np.testing.assert_array_equal(surface_voxels(mesh, resolution), want)


NEAR = Config(uniform=40_000, surface=20_000, voxels=8, near_surface=0.5, near_surface_sigma=0.03)


def test_near_points_are_as_far_from_the_surface_as_they_should_be() -> None:
    result = samples(bored_block(), NEAR)
    near = result.near
    assert near is not None
    assert (near.points.dtype, near.density.dtype) == (np.float16, np.float16)
    assert (len(near.points), len(near.occupancies), len(near.density)) == (40_000,) * 3
    solid = bored_block()
    distance = surface_distance(solid.mesh, near.points)
    assert distance.mean() == pytest.approx(0.03 * np.sqrt(2 / np.pi), rel=0.1)
    # Faces of solids are met from both sides.
    assert 0.3 < near.occupancies.mean() < 0.6
    ratio = near.density.astype(float) / np.exp(-0.5 * (distance / 0.03) ** 2)
    assert np.ptp(ratio) < 0.02 * ratio.mean()
    np.testing.assert_array_equal(
        result.points, samples(solid, NEAR.model_copy(update={"near_surface": 0})).points
    )


def test_averages_over_near_points_are_unbiased() -> None:
    """Of functions of the place and of occupancy within two standard deviations, against uniform points."""
    solid = bored_block()
    result = samples(solid, NEAR.model_copy(update={"uniform": 200_000, "near_surface": 0.2}))
    near = result.near
    assert near is not None
    there = surface_distance(solid.mesh, near.points) < 0.06
    where = surface_distance(solid.mesh, result.points) < 0.06
    p, q = near.points.astype(float), result.points.astype(float)
    weights = np.where(there, 1 / near.density.astype(float), 0.0)
    for value, uniform in (
        (np.ones(len(p)), np.ones(len(q))),
        (p[:, 0] ** 2, q[:, 0] ** 2),
        (near.occupancies, result.occupancies),
    ):
        want = where * uniform
        error = np.hypot(np.std(weights * value) / len(p) ** 0.5, np.std(want) / len(q) ** 0.5)
        assert (weights * value).mean() == pytest.approx(want.mean(), abs=4 * error)
    # Without weights the same average is far off.
    assert there.mean() > 2 * where.mean()


def test_no_points_near_the_surface_by_default() -> None:
    assert samples(torus(), Config(uniform=80, surface=50)).near is None
