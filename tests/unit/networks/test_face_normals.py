"""The graph network of face normals: a slow reference, what its result does not depend on, degenerate meshes, files."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from occnet_lib.errors import DataError
from occnet_lib.networks.face_normals import (
    FaceNormalNetwork,
    load_face_normals,
    normal_loss,
    save_face_normals,
)
from occnet_lib.reconstruction.face_features import face_graph
from occnet_lib.types import Mesh
from tests.support.geometry_solids import box_mesh, rotation, sphere
from tests.support.random_networks import shaken
from tests.support.torch_fields import sloped


def field(points: torch.Tensor):
    return sloped(lambda at: 3.0 * (0.4 - at.square().sum(1) - 0.2 * at[:, 0]))(points)


def noisy(level: int = 2) -> Mesh:
    mesh = sphere(level).mesh
    return Mesh(mesh.vertices + np.random.default_rng(0).normal(0, 0.02, mesh.vertices.shape), mesh.faces)


def trained(seed: int = 0) -> FaceNormalNetwork:
    torch.manual_seed(seed)
    return shaken(FaceNormalNetwork(8, 3)).eval()


def reference(network: FaceNormalNetwork, graph) -> torch.Tensor:
    """Face by face and edge by edge."""
    mean = sum(graph.faces) / len(graph.faces)
    state = [network.first(torch.cat([row, mean])) for row in graph.faces]
    for layer in network.layers:
        normed = [layer.norm(row) for row in state]
        result = []
        for f, row in enumerate(state):
            messages = [
                torch.relu(layer.own(normed[f]) + layer.other(normed[g]) + layer.edge(graph.edges[f, k]))
                for k, g in enumerate(graph.neighbours[f].tolist())
            ]
            result.append(row + layer.out(sum(messages) / 3))
        state = result
    normals = [
        graph.faces[f, :3] + network.last(row) + network.linear(torch.cat([graph.faces[f], mean]))
        for f, row in enumerate(state)
    ]
    return torch.stack([normal / normal.norm() for normal in normals])


def test_equals_a_slow_reference():
    network, graph = trained(), face_graph(field, noisy(1), 0.0)
    with torch.no_grad():
        assert torch.allclose(network(graph), reference(network, graph), atol=1e-5)


def test_a_new_network_returns_the_normals_of_the_mesh():
    mesh = noisy()
    with torch.no_grad():
        normals = FaceNormalNetwork(8, 2)(face_graph(field, mesh, 0.0)).numpy()
    assert normals == pytest.approx(mesh.face_normals, abs=1e-6)


def test_the_order_of_faces_and_corners_does_not_matter():
    mesh, network = noisy(), trained()
    order = np.random.default_rng(1).permutation(len(mesh.faces))
    other = Mesh(mesh.vertices, np.roll(mesh.faces[order], 1, axis=1))
    with torch.no_grad():
        expected = network(face_graph(field, mesh, 0.0)).numpy()[order]
        assert network(face_graph(field, other, 0.0)).numpy() == pytest.approx(expected, abs=1e-5)


def test_a_turned_graph_is_the_graph_of_the_turned_mesh():
    mesh = noisy()
    for turn in (rotation(3), np.diag([-1.0, 1.0, 1.0])):
        matrix = torch.from_numpy(turn.astype(np.float32))
        faces = mesh.faces if np.linalg.det(turn) > 0 else mesh.faces[:, [0, 2, 1]]
        turned = Mesh(mesh.vertices @ turn.T, np.ascontiguousarray(faces))
        graph = face_graph(field, mesh, 0.0).turned(matrix)
        other = face_graph(partial(turned_field, matrix), turned, 0.0)
        assert torch.allclose(graph.faces, other.faces, atol=1e-4)
        # Corners of a mirrored face run the other way: edges 01, 12, 20 are 20, 12, 01.
        edges = other.edges if np.linalg.det(turn) > 0 else other.edges[:, [2, 1, 0]]
        assert torch.allclose(graph.edges, edges, atol=1e-4)


def turned_field(matrix, points):
    logits, gradient = field(points @ matrix)
    return logits, gradient @ matrix.T


@pytest.mark.parametrize("name", ["one face", "open", "no area", "no face", "three faces at an edge"])
def test_degenerate_meshes_give_finite_normals(name):
    mesh = noisy(1)
    mesh = {
        "one face": Mesh(np.eye(3), np.array([[0, 1, 2]], np.int32)),
        "open": Mesh(mesh.vertices, mesh.faces[::3]),
        "no area": Mesh(
            np.vstack([mesh.vertices, np.zeros((3, 3))]), np.vstack([mesh.faces, [[42, 43, 44]]])
        ),
        "no face": Mesh.empty(),
        "three faces at an edge": Mesh(
            np.vstack([np.eye(3), -np.eye(3)]), np.array([[0, 1, 2], [1, 0, 3], [0, 1, 4]])
        ),
    }[name]
    with torch.no_grad():
        normals = trained()(face_graph(field, mesh, 0.0)).numpy()
    length = np.linalg.norm(normals, axis=1)
    assert length == pytest.approx((mesh.face_areas > 0).astype(float), abs=1e-5)


def test_loss_in_closed_form():
    box = torch.from_numpy(box_mesh((0, 0, 0), (1, 1, 1)).face_normals)
    weight = torch.ones(12, dtype=torch.float64)
    assert float(normal_loss(box, box, weight)) == pytest.approx(0.0)
    assert float(normal_loss(box, -box, weight)) == pytest.approx(2.0)
    half = torch.cat([weight[:6], 0 * weight[:6]])
    mixed = torch.cat([box[:6], -box[6:]])
    assert float(normal_loss(box, mixed, half)) == pytest.approx(0.0), (
        "without a target, a face does not count"
    )
    assert float(normal_loss(box, -box, 0 * weight)) == 0.0


def test_files(tmp_path):
    network = trained()
    save_face_normals(tmp_path / "graph.ckpt", network, {"hidden": 8, "layers": 3, "refinement": "graph"})
    loaded, options = load_face_normals(tmp_path / "graph.ckpt")
    assert options["refinement"] == "graph"
    graph = face_graph(field, noisy(1), 0.0)
    with torch.no_grad():
        assert torch.equal(loaded(graph), network(graph))
    save_face_normals(tmp_path / "wrong.ckpt", network, {"hidden": 9, "layers": 3})
    torch.save({"format": "occnet network"}, tmp_path / "other.ckpt")
    torch.save({"format": "occnet face normals", "version": 99}, tmp_path / "later.ckpt")
    for name, text in (
        ("wrong", "weights do not match"),
        ("other", "give graph.ckpt of `occnet train_refinement`"),
        ("later", "network of version 99"),
        ("missing", "no such file"),
    ):
        with pytest.raises(DataError, match=text):
            load_face_normals(tmp_path / f"{name}.ckpt")
