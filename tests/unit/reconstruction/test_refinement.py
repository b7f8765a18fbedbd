"""Which refinement a mesh gets, and what is said about meshes that limit it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from occnet_lib.errors import ConfigError
from occnet_lib.geometry.intersections import self_intersecting
from occnet_lib.reconstruction.refine import Refined
from occnet_lib.reconstruction.refinement import defects, follow_normals, refined
from occnet_lib.types import Mesh
from tests.support.geometry_solids import box_mesh, sphere


def noisy(mesh: Mesh, size: float) -> Mesh:
    return Mesh(mesh.vertices + np.random.default_rng(0).normal(0, size, mesh.vertices.shape), mesh.faces)


def towards_field(mesh: Mesh) -> Refined:
    return Refined(replace(mesh, vertices=1.1 * mesh.vertices), 2.0, 1.0, True, 3)


def exact_normals(mesh: Mesh) -> np.ndarray:
    return sphere(2).mesh.face_normals


@pytest.mark.parametrize("refinement", ["gradient", "graph", "both", "bilateral", "none"])
def test_each_refinement_does_what_it_says(refinement):
    mesh = noisy(sphere(2).mesh, 0.01)
    result = refined(mesh, refinement, towards_field, exact_normals)
    assert np.array_equal(result.mesh.faces, mesh.faces)
    grown = np.linalg.norm(result.mesh.vertices, axis=1).mean() / np.linalg.norm(mesh.vertices, axis=1).mean()
    assert grown == pytest.approx(1.1 if refinement in ("gradient", "both") else 1.0, abs=0.01)
    smoother = [(m.face_normals * exact_normals(mesh)).sum(axis=1).mean() for m in (mesh, result.mesh)]
    assert (smoother[1] > smoother[0] + 1e-4) == (refinement in ("graph", "both", "bilateral"))
    assert result.improved == (refinement != "none")
    assert (result.loss_after == 1.0) == (refinement in ("gradient", "both"))


@pytest.mark.parametrize("refinement", ["graph", "both"])
def test_a_missing_graph_network_is_named(refinement):
    with pytest.raises(ConfigError, match=f"refinement is {refinement}, which needs a graph network"):
        refined(noisy(sphere(2).mesh, 0.01), refinement, towards_field)


def test_defects_are_named():
    mesh = noisy(sphere(2).mesh, 0.01)
    assert defects(mesh) == ""
    assert defects(Mesh.empty()) == ""
    assert defects(Mesh(mesh.vertices, mesh.faces[1:])) == "3 edges without a second face"
    one = Mesh(np.eye(3), np.array([[0, 1, 2]], np.int32))
    assert defects(one) == "3 edges without a second face"
    flat = Mesh(np.zeros((3, 3)), one.faces)
    assert defects(flat) == "3 edges without a second face, 1 faces without area"


def test_with_the_normals_of_a_box_a_noisy_box_becomes_one():
    box = box_mesh((0.1, 0, 0), (0.5, 0.8, 1.0))
    followed = follow_normals(noisy(box, 0.05), box.face_normals, 400)
    assert followed.mesh.face_normals == pytest.approx(box.face_normals, abs=1e-6)
    assert all(len(np.unique(side.round(6))) == 2 for side in followed.mesh.vertices.T), (
        "a box along the axes"
    )
    assert followed.mesh.vertices == pytest.approx(box.vertices, abs=0.1)
    assert followed.mesh.faces is box.faces or np.array_equal(followed.mesh.faces, box.faces)


def test_a_round_equals_a_slow_reference():
    mesh, exact = noisy(sphere(2).mesh, 0.003), sphere(2).mesh.face_normals
    expected = mesh.vertices.copy()
    for v, place in enumerate(mesh.vertices):
        moves = [
            n * (n @ (mesh.vertices[face].mean(axis=0) - place))
            for face, n in zip(mesh.faces, exact, strict=True)
            if v in face
        ]
        expected[v] += np.mean(moves, axis=0)
    followed = follow_normals(mesh, exact, 1)
    assert followed.rejected_moves == 0
    assert followed.mesh.vertices == pytest.approx(expected, abs=1e-12)


def test_no_round_turns_a_face_over_even_with_nonsense_normals():
    mesh = noisy(sphere(3).mesh, 0.04)  # half of the edges' length
    nonsense = np.random.default_rng(1).normal(size=(len(mesh.faces), 3))
    nonsense /= np.linalg.norm(nonsense, axis=1, keepdims=True)
    rejected_moves = 0
    for _ in range(5):
        followed = follow_normals(mesh, nonsense, 1)
        assert ((followed.mesh.area_vectors * mesh.area_vectors).sum(axis=1) >= 0).all()
        mesh, rejected_moves = followed.mesh, rejected_moves + followed.rejected_moves
    assert rejected_moves > 0


def test_no_face_intersects_another_that_did_not_before():
    """Two plates of one mesh whose given normals pull them through each other."""
    plate = box_mesh((0, 0, 0), (1, 0.02, 1))
    tilted = plate.face_normals + np.array([0.5, 0.0, 0.0])
    tilted /= np.linalg.norm(tilted, axis=1, keepdims=True)
    free = Mesh(plate.vertices, plate.faces)
    followed = follow_normals(free, tilted, 50)
    assert followed.rejected_moves > 0
    assert not self_intersecting(followed.mesh).any()
    assert ((followed.mesh.area_vectors * plate.area_vectors).sum(axis=1) >= 0).all()


def test_the_normals_of_the_mesh_itself_change_little():
    mesh = sphere(3).mesh
    followed = follow_normals(mesh, mesh.face_normals)
    assert np.linalg.norm(followed.mesh.vertices - mesh.vertices, axis=1).max() < 0.01
    assert not self_intersecting(followed.mesh).any()


def test_zero_normals_open_meshes_one_face_and_none():
    mesh = noisy(sphere(1).mesh, 0.02)
    assert np.array_equal(follow_normals(mesh, np.zeros((len(mesh.faces), 3))).mesh.vertices, mesh.vertices)
    half = Mesh(mesh.vertices, mesh.faces[::2])
    assert np.isfinite(follow_normals(half, half.face_normals).mesh.vertices).all()
    one = Mesh(np.eye(3), np.array([[0, 1, 2]], np.int32))
    assert follow_normals(one, one.face_normals).mesh.vertices == pytest.approx(np.eye(3))
    assert follow_normals(Mesh.empty(), np.zeros((0, 3))).mesh.faces.shape == (0, 3)
    flat = Mesh(np.zeros((3, 3)), np.array([[0, 1, 2]], np.int32))
    assert np.array_equal(follow_normals(flat, flat.face_normals).mesh.vertices, np.zeros((3, 3)))
