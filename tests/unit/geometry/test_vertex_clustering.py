"""Vertex clustering of meshes with too many faces."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from occnet_lib.geometry.normalise import unit_cube
from occnet_lib.geometry.occupancy import surface_distance
from occnet_lib.geometry.vertex_clustering import decimate
from occnet_lib.types import Mesh
from tests.support.geometry_solids import box_mesh, join, sphere


def test_small_meshes_stay_as_they_are() -> None:
    ball = sphere(3).mesh
    assert decimate(ball, 0.3, len(ball.faces)) is ball


def test_a_fine_mesh_keeps_its_place(caplog: pytest.LogCaptureFixture) -> None:
    ball = unit_cube(sphere(5).mesh)[0]
    with caplog.at_level(logging.INFO):
        thin = decimate(ball, 0.05, 10_000)
    assert 500 < len(thin.faces) <= 10_000
    assert f"{len(ball.faces)} faces decimated to {len(thin.faces)}, in cells of 0.05" in caplog.text
    assert surface_distance(ball, thin.vertices).max() < 0.05**2  # the mean of a cap lies that much below it
    assert surface_distance(thin, ball.vertices).max() < 0.01
    area = np.linalg.norm(np.cross(*np.moveaxis(thin.triangles[:, 1:] - thin.triangles[:, :1], 1, 0)), axis=1)
    assert area.sum() / 2 == pytest.approx(np.pi, rel=0.02)


def test_cells_grow_until_the_faces_are_few_enough() -> None:
    ball = sphere(4).mesh
    thin = decimate(ball, 1e-6, 800)
    assert 50 < len(thin.faces) <= 800


def test_merged_vertices_are_means_and_copies_go() -> None:
    box = box_mesh((0, 0, 0), (1, 1, 1))
    near = Mesh(box.vertices + np.array([0.01, 0, 0]), box.faces[:, ::-1])
    both = join([box, near])
    colors = np.zeros((16, 3), np.float32)
    colors[8:] = [1.0, 0.5, 0.0]
    thin = decimate(Mesh(both.vertices, both.faces, colors), 0.3, 20)
    assert len(thin.faces) == 12
    middle = box.vertices + np.array([0.005, 0, 0])
    np.testing.assert_allclose(np.sort(thin.vertices, axis=0), np.sort(middle, axis=0))
    assert thin.colors is not None
    assert thin.colors.dtype == np.float32
    np.testing.assert_allclose(thin.colors, np.tile([0.5, 0.25, 0.0], (8, 1)))


def test_the_order_of_the_faces_does_not_move_vertices() -> None:
    ball = sphere(4).mesh
    shuffled = Mesh(ball.vertices, np.random.default_rng(0).permutation(ball.faces))
    one, two = decimate(ball, 0.1, 1000), decimate(shuffled, 0.1, 1000)
    np.testing.assert_array_equal(one.vertices, two.vertices)
    assert {tuple(sorted(f)) for f in one.faces.tolist()} == {tuple(sorted(f)) for f in two.faces.tolist()}
