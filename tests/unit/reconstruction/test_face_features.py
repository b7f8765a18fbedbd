"""Features and targets of faces in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from occnet_lib.geometry.sampling import sample_surface
from occnet_lib.reconstruction.face_features import face_graph, target, true_normals
from occnet_lib.types import Mesh
from tests.support.geometry_solids import box_mesh, sphere
from tests.support.torch_fields import sloped

BALL = sloped(lambda points: 10 * (0.5 - points.norm(dim=1)))


def test_features_of_a_ball():
    mesh = sphere(3).mesh
    graph = face_graph(BALL, mesh, 1.0)
    normals, directions, centroids, little, more, scalars = (
        part.numpy() for part in graph.faces.split([3, 3, 3, 3, 3, 6], dim=1)
    )
    assert np.linalg.norm(more, axis=1) == pytest.approx(1.0, abs=1e-5)
    radial_errors = [np.abs((part * normals).sum(axis=1) - 1).max() for part in (little, more)]
    assert radial_errors[0] < radial_errors[1] < 0.01, "of a regular mesh, smoothed normals change little"
    assert normals == pytest.approx(mesh.face_normals, abs=1e-5)
    radial = centroids / np.linalg.norm(centroids, axis=1, keepdims=True)
    assert directions == pytest.approx(radial, abs=1e-5)
    assert centroids == pytest.approx(mesh.triangles.mean(axis=1), abs=1e-6)
    lengths = np.linalg.norm(np.roll(mesh.triangles, -1, axis=1) - mesh.triangles, axis=2)
    gap = 10 * (0.5 - np.linalg.norm(centroids, axis=1)) - 1
    assert scalars[:, 0] == pytest.approx(gap / 4, abs=1e-4)
    assert scalars[:, 1] == pytest.approx(gap / 10 / lengths.mean(), abs=1e-3)
    assert scalars[:, 2] == pytest.approx(np.log(10 * lengths.mean()), abs=1e-4)
    assert (scalars[:, 5] == 1).all(), "closed"
    assert graph.edges[:, :, 0].numpy().mean() == pytest.approx(np.radians(6.5), abs=0.03)
    assert graph.edges[:, :, 1].numpy() == pytest.approx(np.log(lengths / lengths.mean()), abs=1e-5)


def test_a_field_without_gradient_has_no_direction():
    graph = face_graph(
        lambda points: (torch.zeros(len(points)), torch.zeros(len(points), 3)), sphere(1).mesh, 0.0
    )
    assert (graph.faces[:, 3:6] == 0).all()
    assert torch.isfinite(graph.faces).all()


def test_targets_are_the_nearest_normals_of_the_own_side():
    """The samples of a thin plate's other side are nearer to some faces than those of their own."""
    plate = box_mesh((0, 0, 0), (1, 0.01, 1))
    points, normals, _ = sample_surface(plate, 2000, np.random.default_rng(0))
    shifted = Mesh(plate.vertices + np.array([0, 0.02, 0]), plate.faces)
    directions, distances = true_normals(shifted, points.astype(np.float16), normals.astype(np.float16))
    wide = np.abs(plate.face_normals[:, 1]) > 0.9
    assert directions[wide & np.isfinite(distances)] == pytest.approx(
        plate.face_normals[wide & np.isfinite(distances)], abs=1e-3
    )
    assert np.isfinite(distances[wide]).sum() >= 2, "the lower side has samples of its own side nearest"
    assert (directions[~np.isfinite(distances)] == 0).all()


def test_faces_far_from_the_ground_truth_have_no_weight():
    mesh = sphere(3).mesh
    points, normals, _ = sample_surface(mesh, 20_000, np.random.default_rng(0))
    directions, weight = target(mesh, points, normals)
    assert (directions * mesh.face_normals).sum(axis=1).min() > 0.98
    assert weight.mean() == pytest.approx(1.0)
    far = Mesh(mesh.vertices * np.where(mesh.vertices[:, :1] > 0, 2.0, 1.0), mesh.faces)
    weights = target(far, points, normals)[1]
    assert 0 < (weights == 0).sum() < len(mesh.faces)


def test_no_samples_nearby_of_the_own_side_and_one_sample():
    mesh = box_mesh((0, 0, 0), (1, 1, 1))
    directions, distances = true_normals(mesh, np.zeros((1, 3)), np.array([[0.0, 1.0, 0.0]]))
    up = mesh.face_normals[:, 1] > 0.5
    assert directions[up] == pytest.approx(np.tile([0.0, 1.0, 0.0], (2, 1)))
    assert np.isinf(distances[~up]).all()
