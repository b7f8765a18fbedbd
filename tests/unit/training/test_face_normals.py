"""Training of face normals: it restores those of noisy analytic shapes, resumes after a kill, and is deterministic."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from occnet_lib.config import GraphConfig
from occnet_lib.errors import DataError
from occnet_lib.networks import face_normals as networks
from occnet_lib.networks.face_normals import load_face_normals
from occnet_lib.reconstruction.face_features import face_features, face_graph
from occnet_lib.storage.face_samples import FaceSample, write_face_sample
from occnet_lib.storage.tables import read_rows
from occnet_lib.training import face_normals as module
from occnet_lib.training.face_normals import train_face_normals
from occnet_lib.types import Mesh
from tests.support.geometry_solids import box_mesh, sphere

SMALL = GraphConfig(steps=6, hidden=8, layers=2)


def no_field(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A field that says nothing: what is learned, is learned from the mesh."""
    return torch.zeros(len(points)), torch.zeros(len(points), 3)


def sample_of(exact: Mesh, noise: float) -> tuple[FaceSample, Mesh]:
    moved = exact.vertices + np.random.default_rng(0).normal(0, noise, exact.vertices.shape)
    mesh = Mesh(moved, exact.faces)
    faces, edges, neighbours = face_features(no_field, mesh, 0.0)
    half = np.float16
    arrays = faces.astype(half), edges.astype(half), neighbours.astype(np.int32)
    weight = np.ones(len(exact.faces), half)
    return FaceSample(*arrays, exact.face_normals.astype(half), weight), mesh


def files(folder, shapes):
    paths = []
    for name, mesh in shapes.items():
        write_face_sample(folder / f"{name}.npz", sample_of(mesh, 0.03)[0], name)
        paths.append(folder / f"{name}.npz")
    return paths


@pytest.mark.parametrize(
    "exact", [sphere(1).mesh, box_mesh((0.1, 0, 0), (0.5, 0.8, 1))], ids=["sphere", "box"]
)
def test_restores_the_normals_of_one_noisy_shape(exact, tmp_path):
    paths = files(tmp_path, {"a": exact})
    config = GraphConfig(steps=400, hidden=32, layers=3, learning_rate=1e-2)
    train_face_normals(config, 0, paths, paths, tmp_path / "graph.ckpt")
    network, _ = load_face_normals(tmp_path / "graph.ckpt")
    mesh = sample_of(exact, 0.03)[1]
    with torch.no_grad():
        normals = network(face_graph(no_field, mesh, 0.0)).numpy()
    errors = [
        np.degrees(np.arccos(np.clip((n * exact.face_normals).sum(axis=1), -1, 1))).mean()
        for n in (mesh.face_normals, normals)
    ]
    assert errors[1] < 0.3 * errors[0]
    row = read_rows(tmp_path / "metrics.csv")[-1]
    assert float(row["val_loss"]) < 0.1 * float(row["val_loss_unchanged"])
    assert not (tmp_path / "last.ckpt").exists()


def test_a_killed_training_resumes_with_the_same_result(tmp_path, monkeypatch):
    paths = files(tmp_path, {"a": sphere(1).mesh, "b": box_mesh((0, 0, 0), (1, 1, 1))})
    monkeypatch.setattr(module, "_RECORD", 2)
    for name in ("once", "again"):
        train_face_normals(SMALL, 0, paths, paths[:1], tmp_path / name / "graph.ckpt")
    real, calls = module.normal_loss, []

    def killed(*arguments):
        calls.append(1)
        if len(calls) == 9:  # of which some are of validation
            raise KeyboardInterrupt
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, "normal_loss", killed)
        with pytest.raises(KeyboardInterrupt):
            train_face_normals(SMALL, 0, paths, paths[:1], tmp_path / "killed" / "graph.ckpt")
    assert (tmp_path / "killed" / "last.ckpt").exists()
    assert not (tmp_path / "killed" / "graph.ckpt").exists()
    train_face_normals(SMALL, 0, paths, paths[:1], tmp_path / "killed" / "graph.ckpt")
    once, again, resumed = (
        load_face_normals(tmp_path / name / "graph.ckpt")[0].state_dict()
        for name in ("once", "again", "killed")
    )
    assert all(torch.equal(once[key], again[key]) for key in once), "deterministic"
    assert all(torch.equal(once[key], resumed[key]) for key in once)
    assert read_rows(tmp_path / "killed" / "metrics.csv")[-1]["step"] == "6"


def test_a_finished_training_is_kept_and_other_settings_start_again(tmp_path, monkeypatch):
    paths = files(tmp_path, {"a": sphere(1).mesh})
    out = tmp_path / "graph.ckpt"
    train_face_normals(SMALL, 0, paths, [], out, about={"refinement": "graph"})
    first = load_face_normals(out)[0].state_dict()
    assert read_rows(tmp_path / "metrics.csv")[-1]["val_loss"] == "nan"
    with monkeypatch.context() as patch:
        patch.setattr(networks.FaceNormalNetwork, "forward", None)
        train_face_normals(SMALL, 0, paths, [], out, about={"refinement": "graph"})
    train_face_normals(SMALL, 1, paths, [], out, about={"refinement": "graph"})
    assert not torch.equal(load_face_normals(out)[0].state_dict()["first.0.weight"], first["first.0.weight"])


def test_random_rotations_and_missing_or_damaged_meshes(tmp_path):
    paths = files(tmp_path, {"a": sphere(1).mesh})
    train_face_normals(SMALL, 0, paths, paths, tmp_path / "graph.ckpt", rotate=True)
    with pytest.raises(DataError, match="no mesh to train with"):
        train_face_normals(SMALL, 0, [], paths, tmp_path / "graph.ckpt")
    paths[0].write_bytes(b"PK")
    with pytest.raises(DataError, match=r"a\.npz.*cannot be read"):
        train_face_normals(SMALL, 0, paths, [], tmp_path / "other.ckpt")


def test_a_part_is_connected_has_its_size_and_no_weight_at_the_cut(tmp_path):
    (path,) = files(tmp_path, {"a": sphere(3).mesh})
    mesh = module._load(path)
    part = module._part(mesh, np.random.default_rng(0), 200)
    neighbours = part.graph.neighbours.numpy()
    assert len(neighbours) == len(part.weight) == len(part.target) == len(part.graph.faces) == 200
    assert (neighbours >= 0).all()
    assert (neighbours < 200).all()
    cut = (neighbours == np.arange(200)[:, None]).any(axis=1)
    assert 0 < cut.sum() < 100
    assert np.array_equal(part.weight.numpy() == 0, cut)
    reached = np.zeros(200, dtype=bool)
    reached[0] = True
    for _ in range(200):
        reached[neighbours[reached]] = True
    assert reached.all()
    assert module._part(mesh, np.random.default_rng(0), 5000) is mesh
