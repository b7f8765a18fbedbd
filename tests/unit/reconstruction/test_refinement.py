"""Which refinement a mesh gets, and what is said about meshes that limit it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from occnet_lib.errors import ConfigError
from occnet_lib.reconstruction.refine import Refined
from occnet_lib.reconstruction.refinement import defects, refined
from occnet_lib.types import Mesh
from tests.support.geometry_solids import sphere


def noisy() -> Mesh:
    mesh = sphere(2).mesh
    return Mesh(mesh.vertices + np.random.default_rng(0).normal(0, 0.01, mesh.vertices.shape), mesh.faces)


def towards_field(mesh: Mesh) -> Refined:
    return Refined(replace(mesh, vertices=1.1 * mesh.vertices), 2.0, 1.0, True, 3)


def exact_normals(mesh: Mesh) -> np.ndarray:
    return sphere(2).mesh.face_normals


@pytest.mark.parametrize("refinement", ["gradient", "graph", "both", "bilateral", "none"])
def test_each_refinement_does_what_it_says(refinement):
    mesh = noisy()
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
        refined(noisy(), refinement, towards_field)


def test_defects_are_named():
    mesh = noisy()
    assert defects(mesh) == ""
    assert defects(Mesh.empty()) == ""
    assert defects(Mesh(mesh.vertices, mesh.faces[1:])) == "3 edges without a second face"
    one = Mesh(np.eye(3), np.array([[0, 1, 2]], np.int32))
    assert defects(one) == "3 edges without a second face"
    flat = Mesh(np.zeros((3, 3)), one.faces)
    assert defects(flat) == "3 edges without a second face, 1 faces without area"
