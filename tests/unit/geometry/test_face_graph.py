"""The dual graph against a slow reference, and its angles on a box."""

from __future__ import annotations

import numpy as np
import pytest

from occnet_lib.geometry.face_graph import dihedral_angles, face_neighbours, faces_at_vertices
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
