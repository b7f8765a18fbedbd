"""The bilateral filter of face normals: against a slow reference, and what it keeps and removes."""

from __future__ import annotations

import numpy as np
import pytest

from occnet_lib.geometry.grid import Grid
from occnet_lib.geometry.isosurface import isosurface
from occnet_lib.geometry.normal_filter import bilateral_normals
from occnet_lib.types import Mesh
from tests.support.geometry_solids import box_mesh, sphere


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
