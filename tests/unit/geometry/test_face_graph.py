"""The dual graph against a slow reference, and its angles on a box."""

from __future__ import annotations

import numpy as np
import pytest

from occnet_lib.geometry.face_graph import (
    bilateral_normals,
    dihedral_angles,
    face_neighbours,
    faces_at_vertices,
)
from occnet_lib.geometry.grid import Grid, isosurface
from occnet_lib.types import Mesh
from tests.support.geometry_solids import box_mesh, sphere


def reference_neighbours(faces: np.ndarray) -> np.ndarray:
    neighbours = np.repeat(np.arange(len(faces))[:, None], 3, axis=1)
    for f, face in enumerate(faces):
        for k in range(3):
            edge = {face[k], face[(k + 1) % 3]}
            others = [g for g, other in enumerate(faces) if g != f and edge <= set(other)]
            if len(others) == 1:
                neighbours[f, k] = others[0]
    return neighbours


@pytest.mark.parametrize("closed", [True, False])
def test_neighbours_equal_a_slow_reference(closed):
    faces = sphere(2).mesh.faces if closed else np.delete(sphere(2).mesh.faces, [3, 4, 90], axis=0)
    neighbours = face_neighbours(faces, faces.max() + 1)
    assert np.array_equal(neighbours, reference_neighbours(faces))
    assert closed == bool((neighbours != np.arange(len(faces))[:, None]).all())


def test_an_edge_of_three_faces_has_no_neighbours():
    faces = np.array([[0, 1, 2], [1, 0, 3], [0, 1, 4]])
    assert np.array_equal(face_neighbours(faces, 5), [[0] * 3, [1] * 3, [2] * 3])


def test_angles_of_a_box_are_right_and_of_its_inside_negative():
    mesh = box_mesh((0, 0, 0), (1, 2, 3))
    neighbours = face_neighbours(mesh.faces, len(mesh.vertices))
    angles = np.sort(dihedral_angles(mesh, neighbours), axis=1)
    assert angles == pytest.approx(np.tile([0.0, np.pi / 2, np.pi / 2], (12, 1)))
    inside = Mesh(mesh.vertices, mesh.faces[:, ::-1])
    neighbours = face_neighbours(inside.faces, len(inside.vertices))
    assert np.sort(dihedral_angles(inside, neighbours), axis=1)[:, :2] == pytest.approx(-np.pi / 2)


def test_faces_at_vertices_equal_a_slow_reference():
    faces = np.delete(sphere(1).mesh.faces, [0, 7], axis=0)
    mesh = Mesh(sphere(1).mesh.vertices, faces)
    pairs = [
        (f, g)
        for f in range(len(faces))
        for g in range(len(faces))
        if f != g and set(faces[f]) & set(faces[g])
    ]
    assert list(zip(*faces_at_vertices(mesh), strict=True)) == pairs


def test_one_face_and_no_face():
    one = Mesh(np.eye(3), np.array([[0, 1, 2]], np.int32))
    assert face_neighbours(one.faces, 3).tolist() == [[0, 0, 0]]
    assert dihedral_angles(one, face_neighbours(one.faces, 3)).tolist() == [[0, 0, 0]]
    assert len(faces_at_vertices(one)[0]) == 0
    assert face_neighbours(Mesh.empty().faces, 0).shape == (0, 3)


def noisy(mesh: Mesh, size: float) -> Mesh:
    return Mesh(mesh.vertices + np.random.default_rng(0).normal(0, size, mesh.vertices.shape), mesh.faces)


def reference(mesh: Mesh, sigma: float) -> np.ndarray:
    """One pass, pair by pair."""
    normals, areas, centroids = mesh.face_normals, mesh.face_areas, mesh.triangles.mean(axis=1)
    near = [
        [g for g in range(len(mesh.faces)) if g != f and set(mesh.faces[f]) & set(mesh.faces[g])]
        for f in range(len(mesh.faces))
    ]
    scale = np.mean([np.linalg.norm(centroids[f] - centroids[g]) for f in range(len(near)) for g in near[f]])
    result = np.zeros_like(normals)
    for f in range(len(near)):
        for g in [f, *near[f]]:
            close = np.exp(-(np.linalg.norm(centroids[f] - centroids[g]) ** 2) / (2 * scale**2))
            similar = np.exp(-(np.linalg.norm(normals[f] - normals[g]) ** 2) / (2 * sigma**2))
            result[f] += areas[g] * close * similar * normals[g]
        result[f] /= np.linalg.norm(result[f])
    return result


def test_a_pass_equals_a_slow_reference():
    mesh = noisy(sphere(2).mesh, 0.02)
    assert bilateral_normals(mesh, 0.4, 1) == pytest.approx(reference(mesh, 0.4), abs=1e-12)


def test_noise_of_a_flat_side_goes_and_a_right_angle_stays():
    cells = 24
    axes = np.meshgrid(*[np.linspace(-0.55, 0.55, cells + 1)] * 3, indexing="ij")
    distance = np.max(np.abs(np.stack(axes)), axis=0) - 0.4
    grid = Grid(np.full(3, -0.55), 1.1 / cells, (cells + 1,) * 3)
    exact = isosurface(distance.astype(np.float32), grid)
    mesh = noisy(exact, 0.006)
    good = exact.face_areas > 1e-5
    sides = (
        np.abs(exact.face_normals).max(axis=1) > 0.999
    )  # faces of the six sides, not of the chamfered edges
    before = (mesh.face_normals * exact.face_normals).sum(axis=1)[good & sides]
    after = (bilateral_normals(mesh) * exact.face_normals).sum(axis=1)[good & sides]
    angle = np.degrees(np.arccos(np.clip([before.mean(), after.mean()], -1, 1)))
    assert angle[1] < 0.5 * angle[0]
    box = box_mesh((0, 0, 0), (1, 1, 1))
    assert bilateral_normals(box) == pytest.approx(box.face_normals, abs=0.01)


def test_degenerate_meshes():
    assert bilateral_normals(Mesh.empty()).shape == (0, 3)
    one = Mesh(np.eye(3), np.array([[0, 1, 2]], np.int32))
    assert bilateral_normals(one) == pytest.approx(one.face_normals)
    flat = Mesh(np.zeros((3, 3)), np.array([[0, 1, 2]], np.int32))
    assert np.array_equal(bilateral_normals(flat), np.zeros((1, 3)))
