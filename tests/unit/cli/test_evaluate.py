"""`occnet evaluate`: open, inward and empty meshes, the interval of its sampling, meshes that say their frames."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh

from occnet_lib import cli
from occnet_lib.evaluation.metrics import METRICS, PAIR_METRICS, worst
from occnet_lib.storage.meshes import MeshFrame, load_mesh, save_mesh
from occnet_lib.storage.meshes.frame import TURNS
from occnet_lib.storage.tables import read_rows
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
    assert (*values,) == (*PAIR_METRICS, "align", "sampling_interval_95")
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


SIZE = ["--config", "small.yaml"]


def write(name: str, mesh: trimesh.Trimesh, dropped: int = 0) -> None:
    mesh.update_faces(np.arange(len(mesh.faces)) >= dropped)
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    mesh.export(path)


@pytest.fixture
def systems(tmp_path, monkeypatch):
    """Ground truths `gt`, and predictions of a system with other units and axes: ok, open, broken, missing."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(
        "points: {uniform: 4000, surface: 2000}\nevaluate: {surface: 2000, bootstrap: 200}\n"
    )
    turn = trimesh.transformations.rotation_matrix(2.0, [1, 2, 3])
    for i, name in enumerate(("car/a", "car/b", "sofa/open", "sofa/broken", "sofa/missing", "sofa/unusable")):
        wedge = trimesh.creation.icosahedron()
        wedge.vertices = wedge.vertices * [1, 0.6, 0.3 + 0.02 * i] + 0.2 * np.abs(wedge.vertices[:, ::-1])
        write(f"gt/{name}.ply", wedge.copy(), dropped=2 * (name == "sofa/unusable"))
        wedge.apply_transform(turn).apply_scale(25).apply_translation([100, 0, 50])
        if name != "sofa/missing":
            write(f"pred/{name}.glb", wedge, dropped=2 * (name == "sofa/open"))
    Path("pred/sofa/broken.glb").write_bytes(b"glTF")


def test_a_folder_of_another_system_is_measured(systems, capsys):
    arguments = ["evaluate", "pred", "gt", "--align", "similarity", *SIZE]
    assert cli.main([*arguments, "-o", "out"]) == 0
    text, warnings = capsys.readouterr()
    for line in (
        "aligned by rotation, uniform scale and translation (--align similarity)",
        "2 of 5 failed and count as the worst",
        "1 predictions are open: the IoU is that of the other 4 shapes",
        "1 shapes left out: their ground truth cannot be used",
    ):
        assert line in text
    assert (
        "1 of 6 ground truths cannot be used and are left out; the first: gt/sofa/unusable.ply: is not closed"
        in warnings
    )
    assert "another unit" in warnings
    shapes = {row["id"]: row for row in read_rows(Path("out/shapes.csv"))}
    assert [shapes[name]["status"] for name in ("a", "b", "open", "broken", "missing", "unusable")] == [
        *("ok", "ok", "warn", "failed", "failed", "excluded")
    ]
    assert float(shapes["a"]["iou"]) > 0.999
    assert {row["align"] for row in shapes.values()} == {"similarity"}
    assert shapes["open"]["iou"] == ""
    assert 0 < float(shapes["open"]["chamfer_l1"]) < 0.2
    assert {name: float(shapes["missing"][name]) for name in METRICS} == worst()
    car, sofa, mean = read_rows(Path("out/summary.csv"))
    assert (sofa["shapes"], sofa["failed"], sofa["open"]) == ("3", "2", "1")
    assert float(sofa["iou"]) == 0.0
    assert float(mean["iou"]) == pytest.approx((float(car["iou"]) + 0.0) / 2)
    assert float(mean["chamfer_l1"]) == pytest.approx(
        (float(car["chamfer_l1"]) + float(sofa["chamfer_l1"])) / 2
    )
    assert float(car["iou_low"]) <= float(car["iou"]) <= float(car["iou_high"])
    summary = json.loads(Path("out/summary.json").read_text())
    assert summary["align"] == "similarity"
    assert summary["excluded"].keys() == {"sofa/unusable"}
    assert cli.main([*arguments, "-o", "again"]) == 0
    for name in ("shapes.csv", "summary.csv", "summary.json", "transforms.json"):
        assert Path("out", name).read_bytes() == Path("again", name).read_bytes()


def test_saved_transforms_bring_predictions_to_the_ground_truth(systems):
    assert (
        cli.main(["evaluate", "pred/car/b.glb", "gt/car/b.ply", "--align", "similarity", *SIZE, "-o", "out"])
        == 0
    )
    (record,) = json.loads(Path("out/transforms.json").read_text())["shapes"].values()
    matrix = np.array(record["matrix"])
    predicted, expected = load_mesh(Path("pred/car/b.glb")), load_mesh(Path("gt/car/b.ply"))
    moved = predicted.vertices @ matrix[:3, :3].T + matrix[:3, 3]
    gaps = np.linalg.norm(moved[:, None] - expected.vertices, axis=2).min(axis=1)
    assert gaps.max() < 1e-3
    assert record["scale"] == pytest.approx(np.cbrt(np.linalg.det(matrix[:3, :3])))


def test_pairs_of_a_table_are_measured_without_alignment(systems, capsys):
    Path("pairs.csv").write_text("prediction,ground_truth\ncar/a.ply,car/a.ply\ncar/b.ply,car/b.ply\n")
    assert cli.main(["evaluate", "gt", "gt", "--pairs", "pairs.csv", *SIZE]) == 0
    text, warnings = capsys.readouterr()
    assert "predictions: not aligned (--align none)" in text
    assert "1.000 [1.000, 1.000]" in text
    assert not warnings
    assert cli.main(["evaluate", "pred", "gt", "--pairs", "pairs.csv", *SIZE]) == 0
    assert "2 of 2 failed" in capsys.readouterr().out
    assert cli.main(["evaluate", "pred", "gt", *SIZE]) == 0
    assert "seem to be in another frame" in capsys.readouterr().err


def test_folders_that_cannot_be_measured_are_one_line(systems, capsys):
    for arguments, message in (
        (["pred/car/a.glb", "gt"], "must be two meshes or only folders"),
        (["pred", "nothere", "gt"], "nothere: no such file or folder"),
        (["pred/car/a.glb", "gt/car/a.ply", "--pairs", "pairs.csv"], "--pairs needs two folders"),
    ):
        assert cli.main(["evaluate", *arguments, *SIZE]) == 1
        assert message in capsys.readouterr().err
    for path in Path("gt").rglob("*.ply"):
        write(str(path), trimesh.load(path), dropped=4)
    assert cli.main(["evaluate", "pred", "gt", *SIZE]) == 1
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "no ground truth can be used (6 of 6)" in error


def test_the_up_axis_of_predictions_can_be_stated(systems, capsys):
    mesh = load_mesh(Path("gt/car/a.ply"))
    save_mesh(Mesh(mesh.vertices @ TURNS["z"], mesh.faces), Path("zup.ply"))
    assert cli.main(["evaluate", "zup.ply", "gt/car/a.ply", "--up", "z", *SIZE]) == 0
    assert json.loads(capsys.readouterr().out)["iou"] > 0.999


def test_the_iou_of_an_open_prediction_is_null(systems, capsys):
    assert cli.main(["evaluate", "gt/sofa/unusable.ply", "gt/car/a.ply", *SIZE, "-o", "out"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["iou"] is None
    assert "iou" not in values["sampling_interval_95"]
