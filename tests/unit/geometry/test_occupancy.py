"""Inside tests, distances, surface samples and voxels against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from occnet_lib.errors import MeshError
from occnet_lib.geometry.occupancy import contains, solid_voxels, surface_distance, voxel_centres
from occnet_lib.geometry.sampling import sample_surface
from occnet_lib.types import Mesh
from tests.support.geometry_solids import bored_block, box_mesh, cup, rotation, sphere, torus


@pytest.mark.parametrize("solid", [torus(), cup(), bored_block()], ids=["torus", "cup", "bored block"])
def test_contains_agrees_with_the_closed_form(solid) -> None:  # type: ignore[no-untyped-def]
    turned = solid.rotated(rotation(1))
    points = np.random.default_rng(0).uniform(-0.6, 0.6, (50_000, 3))
    wrong = contains(turned.mesh, points) != turned.inside(points)
    assert wrong.mean() < 3e-4  # round parts are polygons
    assert turned.inside(points).sum() > 500


def test_contains_holds_on_a_grid_aligned_with_the_faces() -> None:
    # Rays along the axes that graze edges get such points wrong.
    axis = np.linspace(-0.55, 0.55, 45)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    box = box_mesh((0, 0, 0), (0.52, 0.31, 0.73))
    expected = (np.abs(grid) < np.array([0.26, 0.155, 0.365])).all(axis=1)
    assert np.array_equal(contains(box, grid), expected)


def test_contains_of_nothing() -> None:
    empty = Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int32))
    assert not contains(empty, np.zeros((4, 3))).any()
    assert contains(box_mesh((0, 0, 0), (1, 1, 1)), np.zeros((0, 3))).shape == (0,)


def test_surface_distance_of_a_box() -> None:
    points = np.array([[0, 0, 0], [1, 0, 0], [0.5, 0.5, 0.9], [2, 2, 0]])
    distance = surface_distance(box_mesh((0, 0, 0), (1, 1, 1)), points)
    np.testing.assert_allclose(distance, [0.5, 0.5, 0.4, 1.5 * np.sqrt(2)], rtol=1e-6)


def test_samples_lie_on_their_face_and_spread_by_area() -> None:
    mesh = torus().mesh
    points, normals, face = sample_surface(mesh, 40_000, np.random.default_rng(0))
    a = mesh.vertices[mesh.faces[face, 0]]
    np.testing.assert_allclose(np.einsum("nd,nd->n", points - a, normals), 0.0, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0)
    assert surface_distance(mesh, points).max() < 1e-6
    # Pappus: the outer half of a torus, beyond its major radius R, has the share 1/2 + r / (pi R).
    outer = np.hypot(points[:, 0], points[:, 2]) > 0.375
    expected = 0.5 + 0.125 / (np.pi * 0.375)
    assert outer.mean() == pytest.approx(expected, abs=4 * np.sqrt(0.25 / 40_000))


def test_normals_point_outward() -> None:
    mesh = sphere(3).mesh
    points, normals, _ = sample_surface(mesh, 1000, np.random.default_rng(0))
    assert (np.einsum("nd,nd->n", points, normals) > 0.49).all()


def test_faces_without_area_are_never_drawn() -> None:
    mesh = Mesh(
        np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [2, 0, 0.0]]),
        np.array([[0, 1, 3], [0, 1, 2], [1, 1, 2]], dtype=np.int32),
    )
    face = sample_surface(mesh, 1000, np.random.default_rng(0))[2]
    assert set(face) == {1}
    normals, areas = mesh.face_normals, mesh.face_areas
    np.testing.assert_array_equal(areas, [0, 0.5, 0])
    np.testing.assert_array_equal(normals, [[0, 0, 0], [0, 0, 1], [0, 0, 0]])
    with pytest.raises(MeshError, match="no surface area"):
        sample_surface(Mesh(mesh.vertices, mesh.faces[:1]), 10, np.random.default_rng(0))


def test_voxels_are_indexed_x_y_z() -> None:
    centres = voxel_centres(4)
    np.testing.assert_allclose(centres[0], [-0.375] * 3)
    np.testing.assert_allclose(centres[1], [-0.375, -0.375, -0.125])
    voxels = solid_voxels(box_mesh((-0.25, 0, 0.375), (0.5, 1.0, 0.25)), 8)
    expected = np.zeros((8, 8, 8), dtype=bool)
    expected[:4, :, 6:] = True
    assert np.array_equal(voxels, expected)
