"""Stage points: labels of the points as they are stored, samples on the surface, voxels."""

from __future__ import annotations

import numpy as np
import pytest

from occnet_lib.config import Points as Config
from occnet_lib.geometry.occupancy import surface_distance
from occnet_lib.geometry.voxels import voxel_centres
from occnet_lib.records import Watertight
from occnet_lib.stages import points
from tests.geometry_solids import Solid, bored_block, boxes, torus


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
