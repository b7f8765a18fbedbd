"""Signed distance of a surface to a closed one, everywhere."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from occnet_lib.geometry.repair import check_watertight
from occnet_lib.geometry.surface_error import surface_error
from occnet_lib.types import Mesh


def mesh_of(solid: trimesh.Trimesh) -> Mesh:
    return Mesh(np.asarray(solid.vertices, float), np.asarray(solid.faces, np.int32))


BOX = mesh_of(trimesh.creation.box((1.0, 1.0, 1.0)))


def test_errors_between_the_corners_of_large_faces_are_those_of_a_ball() -> None:
    radius = 0.6
    ball = mesh_of(trimesh.creation.icosphere(4, radius))
    mesh, errors = surface_error(BOX, ball, 0.1)
    np.testing.assert_allclose(errors, np.linalg.norm(mesh.vertices, axis=1) - radius, atol=3e-3)
    assert errors.min() == pytest.approx(0.5 - radius, abs=3e-3)  # in the middle of the faces: inside
    assert errors.max() == pytest.approx(np.sqrt(0.75) - radius, abs=3e-3)  # at the corners: outside
    edges = mesh.triangles - np.roll(mesh.triangles, 1, axis=1)
    assert np.linalg.norm(edges, axis=-1).max() <= 0.1
    assert check_watertight(mesh).boundary_edges == 0
    assert mesh.volume == pytest.approx(1.0)


def test_a_mesh_in_another_unit_does_not_explode() -> None:
    mesh, errors = surface_error(Mesh(1000.0 * BOX.vertices, BOX.faces), BOX, 0.1)
    assert len(mesh.faces) < 10_000
    assert errors.min() == pytest.approx(499.5, rel=1e-5)


def test_a_surface_is_without_error_against_itself_and_an_empty_one_has_none() -> None:
    _, errors = surface_error(BOX, BOX, 0.3)
    np.testing.assert_allclose(errors, 0.0, atol=1e-6)
    empty, none = surface_error(Mesh.empty(), BOX, 0.3)
    assert (len(empty.faces), len(none)) == (0, 0)
