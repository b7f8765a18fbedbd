"""Simplification."""

from __future__ import annotations

import numpy as np
import pytest

from occnet_lib.geometry.grid import grid_around, isosurface
from occnet_lib.geometry.occupancy import surface_distance
from occnet_lib.geometry.repair import check_watertight
from occnet_lib.geometry.sampling import sample_surface
from occnet_lib.geometry.simplify import simplify, simplify_within
from occnet_lib.types import Mesh
from tests.support.geometry_solids import bored_block, sphere


def test_simplified_planes_stay_exact_and_closed() -> None:
    block = bored_block()
    grid = grid_around(block.mesh.vertices.min(0), block.mesh.vertices.max(0), 64, 3)
    axes = [grid.origin[a] + grid.step * np.arange(grid.shape[a]) for a in range(3)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    distance = surface_distance(block.mesh, points) * np.where(block.inside(points), -1, 1)
    dense = isosurface(distance.reshape(grid.shape).astype(np.float32), grid, unit=grid.step)
    simple = simplify(dense, 2000)
    assert len(dense.faces) > 15_000
    assert 1900 <= len(simple.faces) <= 2000
    assert check_watertight(simple).closed
    samples = sample_surface(dense, 5000, np.random.default_rng(0))[0]
    assert surface_distance(simple, samples).mean() < 0.01 * grid.step


@pytest.mark.parametrize("error", [3e-4, 3e-3, 0.03])
def test_simplified_within_an_error_is_closed_and_nowhere_further_off(error: float) -> None:
    for mesh in (sphere(5).mesh, bored_block().mesh):
        simple = simplify_within(mesh, error)
        assert check_watertight(simple).closed
        rng = np.random.default_rng(0)
        for of, to in ((simple, mesh), (mesh, simple)):
            samples = np.concatenate([sample_surface(of, 20_000, rng)[0], of.vertices])
            assert surface_distance(to, samples).max() < error


def test_simplified_within_an_error_an_open_mesh_keeps_its_border() -> None:
    ball = sphere(4).mesh
    half = Mesh(ball.vertices, ball.faces[(ball.vertices[ball.faces, 2] >= 0).all(1)])
    simple = simplify_within(half, 0.01)
    assert len(simple.faces) < 0.5 * len(half.faces)
    samples = sample_surface(half, 20_000, np.random.default_rng(0))[0]
    assert surface_distance(simple, samples).max() < 0.01


def test_a_larger_error_leaves_fewer_faces() -> None:
    ball = sphere(5).mesh
    counts = [len(simplify_within(ball, error).faces) for error in (1e-6, 1e-4, 1e-3, 1e-2)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == len(ball.faces)
    assert 100 < counts[-1] < 0.1 * len(ball.faces)
    empty = Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int32))
    assert simplify_within(empty, 0.1) is empty


def test_simplify_leaves_small_meshes_alone() -> None:
    ball = sphere(2).mesh
    assert simplify(ball, len(ball.faces)) is ball
