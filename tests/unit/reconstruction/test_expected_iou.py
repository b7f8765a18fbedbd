"""`occnet calibrate`, and the expected IoU that `occnet reconstruct` prints with its file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import occnet_lib as occnet
from occnet_lib import cli
from occnet_lib.errors import DataError
from occnet_lib.networks.checkpoint import network_file, save_network
from occnet_lib.reconstruction.expected_iou import _cube_points
from occnet_lib.report import uncertainty
from occnet_lib.report.results import Results
from occnet_lib.storage.dataset.catalogue import write_table
from occnet_lib.storage.iou_calibration import IouCalibration, IouFit, calibration_file, read_iou_calibration
from occnet_lib.storage.packs import PackedShape, write_shard
from occnet_lib.storage.tables import read_rows
from occnet_lib.types import Mesh, PointSamples, ShapeKey, Views, Watertight

from .test_reconstruct import MODEL, TRAIN, ball_network

CONFIG = {
    "reconstruct": {"resolution0": 16, "upsampling_steps": 0, "refine_steps": 0, "simplify": {"faces": None}},
    "evaluate": {"views": 2, "view_points": 2000, "merged": [2]},
}


def balls(radii: list[float]) -> list[PackedShape]:
    rng, shapes = np.random.default_rng(0), []
    for i, radius in enumerate(radii):
        points = rng.uniform(-0.55, 0.55, (2000, 3)).astype(np.float16)
        inside = np.linalg.norm(points.astype(float), axis=1) < radius
        samples = PointSamples(points, inside, points, points, np.zeros((2, 2, 2), bool))
        image = np.full((1, 24, 24, 3), 255, np.uint8)
        image[:, 6:18, 6:18] = 80
        camera = np.hstack([np.eye(3), np.zeros((3, 1))])[None]
        views = Views(image.repeat(2, 0), np.eye(3)[None].repeat(2, 0), camera.repeat(2, 0), np.zeros(3), 1.0)
        key = ShapeKey("ball", str(i), f"{i}.obj", "val", "val-000")
        shapes.append(PackedShape.of(key, Watertight(Mesh.empty(), np.zeros(3), 1.0), samples, views))
    return shapes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    options = {"model": MODEL.model_dump(mode="json"), "train": TRAIN, "val_threshold": 0.35}
    save_network(tmp_path / "best.ckpt", network_file(ball_network(5.0).state_dict(), options))
    write_shard(tmp_path / "val-000.h5", balls(np.linspace(0.2, 0.4, 12).tolist()), "val-000", "val")
    (tmp_path / "small.yaml").write_text(json.dumps(CONFIG))
    image = np.full((60, 60, 3), 255, np.uint8)
    image[20:40, 15:45] = 80
    Image.fromarray(image).save(tmp_path / "photo.png")
    return tmp_path


def run(folder: Path, capsys, *arguments: str) -> tuple[str, str]:
    checkpoint = ("--checkpoint", str(folder / "best.ckpt"), "--config", str(folder / "small.yaml"))
    assert cli.main([*arguments, *checkpoint]) == 0
    return tuple(capsys.readouterr())


def reconstruct(folder: Path, capsys, *options: str) -> tuple[str, str]:
    return run(
        folder, capsys, "reconstruct", str(folder / "photo.png"), "-o", str(folder / "a.ply"), *options
    )


def test_calibrated_on_a_folder_of_packs_and_printed(folder, capsys):
    assert "expected" not in reconstruct(folder, capsys)[0]
    mesh, network = (folder / "a.ply").read_bytes(), (folder / "best.ckpt").read_bytes()
    out, _ = run(folder, capsys, "calibrate", str(folder))
    assert out.strip().endswith("best.calibration.json: 12 shapes")
    calibration = read_iou_calibration(calibration_file(folder / "best.ckpt"))
    assert calibration.threshold == 0.35
    assert {count: fit.images for count, fit in calibration.fits.items()} == {1: 24, 2: 24}
    assert 0.0 < calibration.fits[1].half_width < 0.6
    out, err = reconstruct(folder, capsys)
    assert (folder / "a.ply").read_bytes() == mesh
    assert (folder / "best.ckpt").read_bytes() == network
    (line,) = (line for line in out.splitlines() if "expected IoU" in line)
    result = occnet.reconstruct(
        folder / "photo.png", folder / "best.ckpt", occnet.load_config(folder / "small.yaml")
    )
    assert line == f"{folder / 'a.ply'}: {result.expected_iou}"
    assert not err


def test_the_fit_is_that_of_the_number_of_images(folder, capsys):
    run(folder, capsys, "calibrate", str(folder / "val-000.h5"))
    path = calibration_file(folder / "best.ckpt")
    fits = {1: IouFit(0.0, 0.3, 0.1, 12, 24), 2: IouFit(0.0, 0.4, None, 12, 24)}
    replace(read_iou_calibration(path), fits=fits).write(path)
    assert "expected IoU 0.30 ± 0.10 (90 % interval)\n" in reconstruct(folder, capsys)[0]
    merged = str(folder / "photo.png"), "--merge"
    assert reconstruct(folder, capsys, *merged[1:])[0].count("expected IoU 0.30") == 1
    Image.open(folder / "photo.png").save(folder / "other.png")
    out, _ = run(
        folder,
        capsys,
        "reconstruct",
        merged[0],
        str(folder / "other.png"),
        "--merge",
        "-o",
        str(folder / "a.ply"),
    )
    assert out.count("expected IoU 0.40\n") == 1


def test_no_number_that_does_not_fit(folder, capsys):
    run(folder, capsys, "calibrate", str(folder))
    assert "expected" not in reconstruct(folder, capsys, "--threshold", "0.5")[0]
    assert "expected" not in reconstruct(folder, capsys, "--as-is")[0]
    path = calibration_file(folder / "best.ckpt")
    own = read_iou_calibration(path)
    replace(own, fit=20).write(path)
    assert "expected" not in reconstruct(folder, capsys)[0]
    own.write(path)
    content = network_file(
        ball_network(6.0).state_dict(),
        {"model": MODEL.model_dump(mode="json"), "train": TRAIN, "val_threshold": 0.35},
    )
    save_network(folder / "best.ckpt", content)
    out, err = reconstruct(folder, capsys)
    assert "expected" not in out
    assert "best.calibration.json is of another network; make it again: `occnet calibrate`" in err
    calibration_file(folder / "best.ckpt").write_text("{")
    assert "no expected IoU" in reconstruct(folder, capsys)[1]


@pytest.mark.parametrize("fit", [(float("nan"), 0.1, None), (1.0, 0.1, float("inf")), ("1", 0.1, 0.2)])
def test_a_calibration_without_numbers_is_refused(tmp_path, fit):
    IouCalibration(0.35, {1: IouFit(*fit, 12, 24)}, "digest").write(tmp_path / "a.json")
    with pytest.raises(DataError, match="not finite"):
        read_iou_calibration(tmp_path / "a.json")


def test_a_calibration_on_training_shapes_is_a_warning(folder, capsys):
    """The network may have seen them, so its IoU there is not that of new shapes."""
    write_shard(folder / "train-000.h5", balls([0.3] * 2), "train-000", "train")
    _, err = run(folder, capsys, "calibrate", str(folder / "train-000.h5"), "-o", str(folder / "c.json"))
    assert "train-000.h5 is of the training set" in err
    _, err = run(folder, capsys, "calibrate", str(folder), "-o", str(folder / "c.json"))
    assert "training set" not in err


def test_few_points_are_a_warning(folder, capsys):
    """The calibration has their number."""
    command = ("calibrate", str(folder), "-o", str(folder / "c.json"))
    _, err = run(folder, capsys, *command)
    points = read_iou_calibration(folder / "c.json").points
    assert f"the IoU of {points} points varies more than that of the 8192" in err


def test_its_points_are_even():
    points = _cube_points()
    assert np.abs(points).max() <= 0.55
    cells = np.floor((points / 1.1 + 0.5) * 8).astype(int) @ (64, 8, 1)
    assert np.bincount(cells, minlength=512) == pytest.approx(16, abs=7)
    for radius in (0.2, 0.35, 0.5):
        inside = (np.linalg.norm(points, axis=1) < radius).mean()
        assert inside == pytest.approx(4 / 3 * np.pi * radius**3 / 1.1**3, rel=0.04)


def test_what_cannot_be_calibrated(folder, capsys):
    empty = folder / "empty"
    empty.mkdir()
    known = ["--checkpoint", str(folder / "best.ckpt"), "--config", str(folder / "small.yaml")]
    assert cli.main(["calibrate", str(empty), *known]) == 1
    assert "has no pack shards of the validation set (val-*.h5)" in capsys.readouterr().err
    (folder / "small.yaml").write_text(json.dumps({"evaluate": {"views": 0}}))
    assert cli.main(["calibrate", str(folder), *known]) == 1
    assert "evaluate.views is 0" in capsys.readouterr().err
    write_shard(folder / "none.h5", [], "val-001", "val")
    (folder / "small.yaml").write_text(json.dumps(CONFIG))
    assert cli.main(["calibrate", str(folder / "none.h5"), *known]) == 0
    assert "is not calibrated" in capsys.readouterr().err
    assert "expected" not in "".join(reconstruct(folder, capsys))


def test_the_jobs_of_the_workflow_and_the_section_of_the_report(folder, capsys):
    """Views and photos of the packed balls through the jobs, as the rules call them."""
    root = folder / "results"
    values = CONFIG["evaluate"] | {"uncertainty": True, "next_view": 2, "photos": 2, "bootstrap": 50}
    whole = {"results": str(root), "models": {"onet": None, "net": {"hidden": 32}}, "evaluate": values}
    (folder / "small.yaml").write_text(json.dumps(CONFIG | whole))
    shard = root / "pack" / "test-000.h5"
    shapes = balls([0.25, 0.3, 0.35])
    write_shard(shard, shapes, "test-000", "test")
    keys = [replace(shape.key, split="test", shard="test-000") for shape in shapes]
    write_table(root / "catalogue" / "shapes.csv", keys)
    (root / "train" / "net").mkdir(parents=True)
    run(folder, capsys, "calibrate", str(folder), "-o", str(root / "train/net/best.calibration.json"))
    for key in keys[:2]:  # the third has no photos, as a shape without faces
        place = root / "photos" / key.category / key.id
        place.mkdir(parents=True)
        Image.open(folder / "photo.png").save(place / "0.png")
        Image.new("RGB", (60, 60), "white").save(place / "1.png")  # refused
        (place / "cameras.json").write_text(json.dumps({"rotations": [np.eye(3).tolist()] * 2}))
    place = root / "photos" / keys[2].category / keys[2].id
    place.mkdir(parents=True)
    (place / "cameras.json").write_text(json.dumps({"rotations": []}))
    out = root / "evaluate" / "net"
    fixed = ("--model", "net", "--out")
    run(folder, capsys, "job", "evaluate_views", str(shard), *fixed, str(out / "test-000.views.csv"))
    photos = ("--photos", str(root / "photos"), *fixed, str(out / "test-000.photos.csv"))
    run(folder, capsys, "job", "evaluate_photos", str(shard), *photos)
    run(folder, capsys, "job", "evaluate_next_view", str(shard), *fixed, str(out / "test-000.next.csv"))
    config = ("--config", str(folder / "small.yaml"), "--networks", str(root / "train"))
    tables = [
        "job",
        "uncertainty_tables",
        str(root / "evaluate"),
        "--table",
        str(root / "catalogue/shapes.csv"),
    ]
    assert cli.main([*tables, *config]) == 0
    tables[1] = "next_view_table"
    assert cli.main([*tables, *config[:2]]) == 0
    policies = {
        (row["policy"], row["views"]): float(row["iou"]) for row in read_rows(root / "evaluate/next_view.csv")
    }
    assert len(policies) == 12
    assert max(policies.values()) == policies["best", "2"]
    calibration = read_rows(root / "evaluate" / "calibration.csv")
    assert [(row["source"], row["shapes"]) for row in calibration if not row["category"]] == [
        ("views", "3"),
        ("photos", "2"),
    ]
    expected = {
        (row["source"], row["images"]): row for row in read_rows(root / "evaluate" / "expected_iou.csv")
    }
    assert expected["views", "1"]["count"] == "6"
    assert expected["photos", "1"]["count"] == "2"  # refused photos have no field
    assert 0.0 <= float(expected["views", "2"]["coverage"]) <= 1.0
    page = uncertainty.section(Results(root, occnet.load_config(folder / "small.yaml")))
    assert page.count("<figure") == 2 + 3 + 1  # reliability, expected IoU, three maps of poses, next view
    rules = [
        (row["source"], row["rule"], row["shapes"])
        for row in read_rows(root / "evaluate" / "view_choice.csv")
    ]
    assert len(rules) == 5
    assert rules[0] == ("views", "best", "3")  # no shape has two photos that are not refused
    assert {row["views"] for row in read_rows(root / "evaluate" / "poses.csv")} == {"6"}
    assert "Within ± (goal 90 %)" in page
    (root / "evaluate" / "next_view.csv").unlink()
    without = uncertainty.section(Results(root, occnet.load_config(folder / "small.yaml")))
    assert "There is no table of next views" in without
    assert without.count("<figure") == 5
    off = occnet.load_config(folder / "small.yaml", evaluate={"uncertainty": False, "next_view": 0})
    assert uncertainty.section(Results(root, off)) == ""
