"""Baselines: mean shapes against exhaustive search, nearest pictures against brute force, the floor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from occnet_lib.config import Config
from occnet_lib.errors import ConfigError
from occnet_lib.evaluation.baselines import baseline_shard, class_mean, image_features
from occnet_lib.evaluation.evaluate import evaluate_shard
from occnet_lib.geometry.occupancy import contains
from occnet_lib.geometry.repair import soundness
from occnet_lib.geometry.sampling import sample_surface
from occnet_lib.reconstruction.extract import surface
from occnet_lib.records import Mesh, PointSamples, ShapeKey, Views, Watertight
from occnet_lib.storage.reconstructions import read_mesh, read_status
from occnet_lib.storage.shards import PackedShape, write_shard

CONFIG = Config.model_validate({"evaluate": {"surface": 3000}})
R = 16


def centres() -> np.ndarray:
    axis = (np.arange(R) + 0.5) / R - 0.5
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)


def ellipsoid(radii) -> Mesh:
    axis = 1.1 * (np.arange(41) / 40 - 0.5)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
    return surface((1 - np.linalg.norm(points / np.asarray(radii), axis=-1)).astype(np.float32), 0.0)


def silhouette(radii, distance: float) -> np.ndarray:
    """The ellipsoid seen from +z, shaded from top to bottom."""
    y, x = np.mgrid[-0.5:0.5:64j, -0.5:0.5:64j] * distance
    inside = (x / radii[0]) ** 2 + (y / radii[1]) ** 2 < 1
    image = np.full((64, 64, 3), 255, np.uint8)
    image[inside] = (60 + 100 * (y[inside] / radii[1] + 1) / 2)[:, None]
    return image


def packed(name: str, radii) -> PackedShape:
    category, shape = name.split("/")
    mesh = ellipsoid(radii)
    rng = np.random.default_rng(1)
    points = rng.uniform(-0.55, 0.55, (4000, 3)).astype(np.float16)
    on, normals, _ = sample_surface(mesh, 3000, rng)
    voxels = np.linalg.norm(centres() / np.asarray(radii), axis=-1) < 1
    samples = PointSamples(
        points, contains(mesh, points), on.astype(np.float16), normals.astype(np.float16), voxels
    )
    images = np.stack([silhouette(radii, d) for d in (1.1, 1.5)])
    views = Views(images, np.zeros((2, 3, 3)), np.zeros((2, 3, 4)), np.zeros(3), 1.0)
    return PackedShape.of(ShapeKey(category, shape), Watertight(mesh, np.zeros(3), 1.0), samples, views)


@pytest.fixture
def shards(tmp_path: Path) -> tuple[list[Path], Path]:
    content = {
        "train-000": [packed("disc/a", (0.4, 0.15, 0.4)), packed("disc/b", (0.45, 0.2, 0.4))],
        "train-001": [packed("rod/c", (0.1, 0.45, 0.1)), packed("disc/d", (0.42, 0.17, 0.4))],
        "test-000": [packed("disc/x", (0.42, 0.171, 0.4)), packed("rod/y", (0.11, 0.45, 0.11))],
    }
    for name, shapes in content.items():
        write_shard(tmp_path / f"{name}.h5", shapes, name, name[:-4])
    return [tmp_path / "train-000.h5", tmp_path / "train-001.h5"], tmp_path / "test-000.h5"


def run(kind, shards, out):
    train, test = shards
    baseline_shard(kind, train, test, CONFIG, out)
    return evaluate_shard(out, test, CONFIG, f"baseline_{kind}", out.with_suffix(".csv"))


def test_class_mean_cuts_where_the_mean_iou_is_highest():
    rng = np.random.default_rng(0)
    voxels = []
    for _ in range(12):
        radii = rng.uniform(0.15, 0.45, 3)
        voxels.append(np.linalg.norm(centres() / radii, axis=-1) < 1)
    found = class_mean(voxels)

    def score(threshold):
        cut = found.mean > threshold
        return np.mean([(cut & v).sum() / (cut | v).sum() for v in voxels])

    assert np.array_equal(found.mean, np.mean(voxels, axis=0))
    assert score(found.threshold) == pytest.approx(max(score(t) for t in np.linspace(0.05, 0.95, 19)))
    assert soundness(found.mesh).closed
    # Voxel centres are inside of the mesh exactly where the mean is above the threshold.
    cut = found.mean > found.threshold
    clear = np.abs(found.mean - found.threshold) > 0.02
    inside = contains(found.mesh, centres().reshape(-1, 3)).reshape(cut.shape)
    assert (inside == cut)[clear].all()


def test_shapes_without_a_common_voxel_still_have_a_mean():
    voxels = [np.zeros((R, R, R), bool) for _ in range(60)]
    for i, grid in enumerate(voxels):
        grid[i % R, (3 * i) % R, (7 * i) % R] = True
    assert len(class_mean(voxels).mesh.faces) > 0


def test_class_mean_is_told_the_class(shards, tmp_path):
    disc, rod = run("class_mean", shards, tmp_path / "mean")
    assert disc["iou"] > 0.8
    assert rod["iou"] > 0.3
    assert disc["status"] == rod["status"] == "ok"


def test_a_class_without_training_shapes_fails(shards, tmp_path):
    train, test = shards
    baseline_shard("class_mean", train[:1], test, CONFIG, tmp_path / "mean")
    row = read_status(tmp_path / "mean")["rod/y"]
    assert (row["status"], row["reason"]) == ("failed", "no training shape of the class has voxels")
    baseline_shard("nearest_image", [], test, CONFIG, tmp_path / "nearest")
    assert {r["status"] for r in read_status(tmp_path / "nearest").values()} == {"failed"}


def test_nearest_image_takes_the_mesh_of_the_likest_training_picture(shards, tmp_path):
    disc, rod = run("nearest_image", shards, tmp_path / "nearest")
    rows = read_status(tmp_path / "nearest")
    assert rows["disc/x"]["nearest"] == "disc/d"
    assert rows["rod/y"]["nearest"] == "rod/c"
    expected = ellipsoid((0.42, 0.17, 0.4)).vertices.astype(np.float32)
    assert np.array_equal(read_mesh(tmp_path / "nearest", ShapeKey("disc", "x")).vertices, expected)
    assert disc["iou"] > 0.97
    assert rod["iou"] > 0.7


def test_nearest_image_does_not_depend_on_the_order_of_the_shards(shards, tmp_path):
    train, test = shards
    for name, order in (("one", train), ("two", train[::-1])):
        baseline_shard("nearest_image", order, test, CONFIG, tmp_path / name)
    one, two = ((tmp_path / name / "shapes.csv").read_text() for name in ("one", "two"))
    assert one == two


def test_features_do_not_depend_on_distance_and_place():
    near, far = silhouette((0.4, 0.2), 1.0), silhouette((0.4, 0.2), 1.5)
    moved = np.roll(far, (5, -7), axis=(0, 1))
    other = silhouette((0.2, 0.4), 1.0)
    base = image_features(near)
    assert base.shape == (2048,)
    assert base.dtype == np.float32
    assert np.array_equal(image_features(far), image_features(moved))
    same, different = (((base - image_features(x)) ** 2).sum() for x in (far, other))
    assert same < 0.1 * different
    assert not image_features(np.full((20, 20, 3), 255, np.uint8)).any()


def test_the_floor_is_two_samplings_of_one_surface(shards, tmp_path):
    rows = run("floor", shards, tmp_path / "floor")
    for row in rows:
        assert row["iou"] > 0.995
        assert 0 < row["chamfer_l1"] < 0.015
        assert row["normal_consistency"] > 0.95
        assert row["f_score_5"] == 1.0


def test_unknown_kind(shards, tmp_path):
    with pytest.raises(ConfigError, match="there are class_mean, nearest_image, floor"):
        baseline_shard("oracle", *shards, CONFIG, tmp_path / "x")
