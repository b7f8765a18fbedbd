"""`occnet evaluate`: open, inward and empty meshes, the interval of its sampling, meshes that say their frames."""

from __future__ import annotations

import json

import numpy as np
import pytest
import trimesh

from occnet_lib import cli
from occnet_lib.evaluation.metrics import METRICS, worst
from occnet_lib.storage.meshes import MeshFrame, save_mesh
from occnet_lib.storage.meshes.frame import TURNS
from occnet_lib.types import Mesh

pytestmark = pytest.mark.usefixtures("keep_logging")

BALL = trimesh.creation.icosphere(3)
FACES = np.asarray(BALL.faces, np.int32)


@pytest.fixture
def evaluate(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(
        "dataset: {up: z}\npoints: {uniform: 4000, surface: 2000}\nevaluate: {surface: 2000}\n"
    )
    save_mesh(Mesh(BALL.vertices, FACES), "true.ply")

    def run(prediction, truth="true.ply"):
        code = cli.main(["evaluate", prediction, truth, "--config", "small.yaml"])
        out, err = capsys.readouterr()
        return (json.loads(out) if out else code), err

    return run


def test_an_interval_of_the_sampling_is_printed(evaluate):
    save_mesh(Mesh(0.9 * BALL.vertices, FACES), "a.ply")
    values, said = evaluate("a.ply")
    assert not said
    assert (*values,) == (*METRICS, "sampling_interval_95")
    low, high = values["sampling_interval_95"]["iou"]
    assert low < 0.9**3 < high < low + 0.05
    assert low < values["iou"] < high


def test_an_open_prediction_is_warned_of(evaluate):
    kept = BALL.triangles_center[:, 0] < 0.8
    save_mesh(Mesh(BALL.vertices, FACES[kept]), "open.ply")
    _, said = evaluate("open.ply")
    assert "open.ply is not closed" in said
    assert "IoU is not meaningful" in said
    code, said = evaluate("true.ply", "open.ply")
    assert code == 1
    assert "edges of one face" in said


def test_a_mesh_whose_faces_point_inward_is_turned(evaluate):
    save_mesh(Mesh(BALL.vertices, FACES[:, ::-1]), "inward.ply")
    for files in (("inward.ply", "true.ply"), ("true.ply", "inward.ply")):
        values, said = evaluate(*files)
        assert values["iou"] == 1.0
        assert "inward.ply has faces that point inward" in said


@pytest.mark.parametrize("faces", ["", "f 1 1 1\n", "f 1 2 3\n"])
def test_an_empty_prediction_has_the_worst_values(evaluate, tmp_path, faces):
    (tmp_path / "empty.obj").write_text(f"v 0 0 0\nv 1 0 0\nv 2 0 0\n{faces}")
    values, said = evaluate("empty.obj")
    assert {name: values[name] for name in METRICS} == worst()
    assert "worst value of every metric" in said
    code, said = evaluate("absent.obj")
    assert code == 1
    assert "no such file" in said


def test_meshes_that_say_their_frames_are_compared_in_one(evaluate):
    unit = Mesh(BALL.vertices * [0.5, 0.3, 0.2], FACES)
    loc, scale = np.array([5.0, 6.0, 7.0]), 3.0
    save_mesh(unit, "unit.ply", frame=MeshFrame("unit"))
    source = Mesh(unit.vertices * scale + loc, FACES)
    save_mesh(source, "source.ply", frame=MeshFrame("source", "x", tuple(loc), scale))
    for files in (("unit.ply", "source.ply"), ("source.ply", "unit.ply"), ("source.ply", "source.ply")):
        values, _ = evaluate(*files)
        assert values["iou"] > 0.99
    save_mesh(Mesh(source.vertices @ TURNS["z"], FACES), "plain.obj")  # z up, as the configuration says
    values, said = evaluate("unit.ply", "plain.obj")
    assert values["iou"] > 0.99
    assert not said
    save_mesh(unit, "camera.ply", frame=MeshFrame("camera"))
    _, said = evaluate("camera.ply", "unit.ply")
    assert "is in the camera frame" in said
