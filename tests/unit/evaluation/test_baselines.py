"""Baselines: mean shapes against exhaustive search, nearest images against brute force, the floor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from occnet_lib.config import Config
from occnet_lib.errors import ConfigError, DataError
from occnet_lib.evaluation import lookup_index, voxel_grids
from occnet_lib.evaluation.baselines import baseline_shard
from occnet_lib.evaluation.evaluate import evaluate_shard
from occnet_lib.evaluation.lookup_index import (
    image_features,
    nearest_images,
    predicted_clusters,
    write_clusters,
    write_index,
)
from occnet_lib.evaluation.voxel_grids import Grids, class_mean, cluster
from occnet_lib.geometry.occupancy import contains
from occnet_lib.geometry.repair import check_watertight
from occnet_lib.geometry.sampling import sample_surface
from occnet_lib.reconstruction.extract import surface
from occnet_lib.storage.packs import PackedShape, Shard, write_shard
from occnet_lib.storage.reconstructions import read_mesh, read_status
from occnet_lib.types import Mesh, PointSamples, ShapeKey, Views, Watertight

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


def packed(name: str, radii, views: int = 2, voxels: bool = True) -> PackedShape:
    category, shape = name.split("/")
    mesh = ellipsoid(radii)
    rng = np.random.default_rng(1)
    points = rng.uniform(-0.55, 0.55, (4000, 3)).astype(np.float16)
    on, normals, _ = sample_surface(mesh, 3000, rng)
    solid = voxels & (np.linalg.norm(centres() / np.asarray(radii), axis=-1) < 1)
    samples = PointSamples(
        points, contains(mesh, points), on.astype(np.float16), normals.astype(np.float16), solid
    )
    images = np.stack([silhouette(radii, d) for d in (1.1, 1.5)[:views]])
    rendered = Views(images, np.zeros((views, 3, 3)), np.zeros((views, 3, 4)), np.zeros(3), 1.0)
    return PackedShape.of(ShapeKey(category, shape), Watertight(mesh, np.zeros(3), 1.0), samples, rendered)


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


def codes(images: np.ndarray) -> np.ndarray:
    """As good an encoder as any: the fraction of dark pixels in 4 x 4 parts."""
    dark = (images.min(axis=3) < 250).astype(np.float32)
    return dark.reshape(-1, 4, 16, 4, 16).mean((2, 4)).reshape(-1, 16)


def made(folder: Path, train, test, clusters: int = 2) -> Config:
    """The configuration of a results folder in which everything is that baselines look up."""
    (folder / "index").mkdir(parents=True)
    write_index(image_features, train, [test], 0, 0, folder / "index" / "images.h5")
    write_index(codes, train, [test], 0, 1, folder / "index" / "codes_net.h5")
    write_clusters(train, clusters, np.random.default_rng(0), folder / "index" / "clusters.h5")
    return CONFIG.model_copy(update={"results": str(folder)})


def run(kind, shards, out):
    train, test = shards
    baseline_shard(kind, train, test, made(out.parent / f"results_{out.name}", train, test), out)
    return evaluate_shard(out, test, CONFIG, f"baseline_{kind}", out.with_suffix(".csv"))


def test_class_mean_cuts_where_the_mean_iou_is_highest():
    rng = np.random.default_rng(0)
    voxels = []
    for _ in range(12):
        radii = rng.uniform(0.15, 0.45, 3)
        voxels.append(np.linalg.norm(centres() / radii, axis=-1) < 1)
    actual = class_mean(voxels)

    def score(threshold):
        cut = actual.mean > threshold
        return np.mean([(cut & v).sum() / (cut | v).sum() for v in voxels])

    assert np.array_equal(actual.mean, np.mean(voxels, axis=0))
    assert score(actual.threshold) == pytest.approx(max(score(t) for t in np.linspace(0.05, 0.95, 19)))
    assert check_watertight(actual.mesh).closed
    # Voxel centres are inside of the mesh exactly where the mean is above the threshold.
    cut = actual.mean > actual.threshold
    clear = np.abs(actual.mean - actual.threshold) > 0.02
    inside = contains(actual.mesh, centres().reshape(-1, 3)).reshape(cut.shape)
    assert (inside == cut)[clear].all()


def test_shapes_without_a_common_voxel_still_have_a_mean():
    voxels = [np.zeros((R, R, R), bool) for _ in range(60)]
    for i, grid in enumerate(voxels):
        grid[i % R, (3 * i) % R, (7 * i) % R] = True
    assert len(class_mean(voxels).mesh.faces) > 0


def test_class_mean_is_given_the_class(shards, tmp_path):
    disc, rod = run("class_mean", shards, tmp_path / "mean")
    assert disc["iou"] > 0.8
    assert rod["iou"] > 0.3
    assert disc["status"] == rod["status"] == "ok"


def test_a_class_without_training_shapes_fails(shards, tmp_path):
    train, test = shards
    baseline_shard("class_mean", train[:1], test, CONFIG, tmp_path / "mean")
    row = read_status(tmp_path / "mean")["rod/y"]
    assert (row["status"], row["reason"]) == ("failed", "no training shape of the class has voxels")
    none = made(tmp_path / "none", [], test)
    for kind in ("nearest_image", "retrieval-net", "clustering-net", "oracle"):
        baseline_shard(kind, [], test, none, tmp_path / kind)
        rows = read_status(tmp_path / kind).values()
        assert {r["status"] for r in rows} == {"failed"}
        assert all("no training" in r["reason"] for r in rows)


KINDS = ("class_mean", "nearest_image", "retrieval-net", "clustering-net", "oracle", "floor")


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_usable_test_shape_there_is_an_empty_table(kind, shards, tmp_path):
    train, _ = shards
    write_shard(tmp_path / "test-001.h5", [], "test-001", "test")
    assert run(kind, (train, tmp_path / "test-001.h5"), tmp_path / "none") == []


def test_shards_may_differ_in_numbers_of_views(shards, tmp_path):
    train, test = shards
    few = tmp_path / "train-002.h5"
    write_shard(few, [packed("rod/z", (0.11, 0.44, 0.1), views=1)], few.stem, "train")
    write_index(codes, [*train, few], [test], 0, 0, tmp_path / "codes.h5")
    actual = nearest_images(tmp_path / "codes.h5", ["disc/x", "rod/y"])
    assert {near.view for near in actual.values()} == {0}
    with pytest.raises(ConfigError, match="shapes of test-000 have 2 views"):
        write_index(codes, train, [test], 2, 0, tmp_path / "codes.h5")


def test_nearest_image_takes_the_mesh_of_the_likest_training_image(shards, tmp_path):
    disc, rod = run("nearest_image", shards, tmp_path / "nearest")
    rows = read_status(tmp_path / "nearest")
    assert rows["disc/x"]["nearest"] == "disc/d"
    assert rows["rod/y"]["nearest"] == "rod/c"
    expected = ellipsoid((0.42, 0.17, 0.4)).vertices.astype(np.float32)
    assert np.array_equal(read_mesh(tmp_path / "nearest", ShapeKey("disc", "x")).vertices, expected)
    assert disc["iou"] > 0.97
    assert rod["iou"] > 0.7


@pytest.mark.parametrize("kind", ["nearest_image", "retrieval-net", "clustering-net", "oracle"])
def test_nothing_depends_on_the_order_of_the_shards(kind, shards, tmp_path):
    train, test = shards
    for name, order in (("one", train), ("two", train[::-1])):
        baseline_shard(kind, order, test, made(tmp_path / f"of_{name}", order, test), tmp_path / name)
    one, two = ((tmp_path / name / "shapes.csv").read_text() for name in ("one", "two"))
    assert one == two


def test_retrieval_takes_the_mesh_whose_code_is_nearest(shards, tmp_path):
    disc, rod = run("retrieval-net", shards, tmp_path / "near")
    rows = read_status(tmp_path / "near")
    assert rows["disc/x"]["nearest"] == "disc/d"
    assert rows["rod/y"]["nearest"] == "rod/c"
    assert disc["iou"] > 0.97
    assert rod["iou"] > 0.7


def test_clustering_separates_discs_and_rods(shards, tmp_path):
    # Four shapes make one cluster by the rule of a quarter: the shapes are there twice over here.
    train, test = shards
    more = [*train, *(tmp_path / f"train-00{k}.h5" for k in (2, 3))]
    for path, shapes in zip(
        more[2:],
        (
            [packed("disc/e", (0.41, 0.16, 0.4)), packed("disc/f", (0.44, 0.18, 0.4))],
            [packed("rod/g", (0.12, 0.45, 0.11)), packed("rod/h", (0.1, 0.45, 0.12))],
        ),
        strict=True,
    ):
        write_shard(path, shapes, path.stem, "train")
    disc, rod = run("clustering-net", (more, test), tmp_path / "clustered")
    rows = read_status(tmp_path / "clustered")
    assert rows["disc/x"]["cluster"] != rows["rod/y"]["cluster"]
    assert disc["iou"] > 0.75
    assert rod["iou"] > 0.4
    few = made(tmp_path / "few", train, test)
    assert {
        c.number
        for c in predicted_clusters(
            *(Path(few.results) / "index" / f"{n}.h5" for n in ("codes_net", "clusters")), ["disc/x", "rod/y"]
        ).values()
    } == {0}


def test_the_oracle_takes_the_shape_of_the_highest_iou(shards, tmp_path):
    train, test = shards
    disc, rod = run("oracle", shards, tmp_path / "oracle")
    rows = read_status(tmp_path / "oracle")
    assert (rows["disc/x"]["nearest"], rows["rod/y"]["nearest"]) == ("disc/d", "rod/c")
    for row in (disc, rod):
        name = f"{row['category']}/{row['id']}"
        assert float(rows[name]["iou"]) == pytest.approx(row["iou"])
        others = [run_of(train, test, name, other) for other in ("disc/a", "disc/b", "disc/d", "rod/c")]
        assert row["iou"] == pytest.approx(max(others))


def test_the_oracle_looks_up_no_shape_without_voxels(shards, tmp_path):
    train, _ = shards
    test = tmp_path / "test-001.h5"
    write_shard(test, [packed("rod/z", (0.11, 0.44, 0.1), voxels=False)], test.stem, "test")
    baseline_shard("oracle", train, test, CONFIG, tmp_path / "oracle")
    row = read_status(tmp_path / "oracle")["rod/z"]
    assert (row["status"], row["reason"]) == ("failed", "the shape has no voxels")


def run_of(train, test, name: str, other: str) -> float:
    """IoU of a training shape on a test shape's points."""
    actual = {
        key.name: (shard, i) for shard in map(Shard, [*train, test]) for i, key in enumerate(shard.keys)
    }
    shard, i = actual[name]
    points, occupied = shard.points(i)
    there, j = actual[other]
    inside = contains(there.mesh(j), points)
    return float((inside & occupied).sum() / (inside | occupied).sum())


def test_the_nearest_image_is_that_of_brute_force_in_blocks_of_any_size(shards, tmp_path, monkeypatch):
    train, test = shards
    config = made(tmp_path / "results", train, test)
    names = [key.name for key in Shard(test).keys]
    photos = image_features(np.stack([Shard(test).image(i, 0) for i in range(2)])).astype(float)
    expected = {}
    for name, photo in zip(names, photos, strict=True):
        everything = [
            (float(((image_features(shard.image(i, v)[None])[0] - photo) ** 2).sum()), key.name, v)
            for shard in map(Shard, train)
            for i, key in enumerate(shard.keys)
            for v in range(shard.views)
        ]
        distance, other, view = min(everything)
        expected[name] = (other, view, distance)
    for block in (1, 4, 1000):
        monkeypatch.setattr(lookup_index, "_IMAGES_PER_BLOCK", block)
        assert nearest_images(Path(config.results) / "index" / "images.h5", names) == expected


def test_an_index_without_the_photo_is_an_error(shards, tmp_path):
    train, test = shards
    config = made(tmp_path / "results", train, test)
    with pytest.raises(DataError, match="has no image of disc/z"):
        nearest_images(Path(config.results) / "index" / "images.h5", ["disc/z"])
    with pytest.raises(DataError, match="no such file"):
        nearest_images(tmp_path / "absent.h5", ["disc/x"])


def grids_of(voxels: np.ndarray) -> Grids:
    return Grids(np.packbits(voxels.reshape(len(voxels), -1), axis=1), voxels.shape[1])


def test_grids_are_what_was_packed_and_compared_bit_by_bit():
    rng = np.random.default_rng(0)
    solid = rng.random((7, 6, 6, 6)) < 0.3
    grids = grids_of(solid)
    assert len(grids) == 7
    assert all(np.array_equal(grids[i], solid[i]) for i in range(7))
    assert np.array_equal(np.stack(list(grids[np.array([4, 1])])), solid[[4, 1]])
    expected = [(solid[2] & s).sum() / (solid[2] | s).sum() for s in solid]
    assert grids.iou(solid[2]) == pytest.approx(expected)


def test_clusters_are_those_that_no_move_improves(monkeypatch):
    monkeypatch.setattr(voxel_grids, "_BLOCK", 5)
    rng = np.random.default_rng(1)
    seeds = rng.random((3, 6, 6, 6)) < 0.5
    solid = np.stack([seeds[i % 3] ^ (rng.random((6, 6, 6)) < 0.05) for i in range(24)])
    labels = cluster(grids_of(solid), 3, np.random.default_rng(0))
    assert [len(set(labels[k::3])) for k in range(3)] == [1, 1, 1]
    assert len(set(labels)) == 3
    noise = rng.random((30, 4, 4, 4)) < 0.5
    labels = cluster(grids_of(noise), 5, np.random.default_rng(0))
    flat = noise.reshape(30, -1).astype(float)
    used = sorted(set(labels))
    centres = np.stack([flat[labels == k].mean(0) for k in used])
    gaps = ((flat[:, None] - centres) ** 2).sum(2)
    own = gaps[np.arange(30), [used.index(k) for k in labels]]
    assert np.allclose(own, gaps.min(1))


def test_shapes_that_are_all_the_same_can_be_clustered():
    same = np.repeat(np.eye(4, dtype=bool)[None, :, :, None] & np.ones((1, 1, 1, 4), bool), 6, axis=0)
    assert cluster(grids_of(same), 3, np.random.default_rng(0)).shape == (6,)


def test_features_do_not_depend_on_distance_and_place():
    near, far = silhouette((0.4, 0.2), 1.0), silhouette((0.4, 0.2), 1.5)
    moved = np.roll(far, (5, -7), axis=(0, 1))
    other = silhouette((0.2, 0.4), 1.0)
    features = image_features(np.stack([near, far, moved, other]))
    assert features.shape == (4, 2048)
    assert features.dtype == np.uint8
    assert np.array_equal(features[1], features[2])
    same, different = (((features[0] - features[k].astype(float)) ** 2).sum() for k in (1, 3))
    assert same < 0.1 * different
    assert not image_features(np.full((1, 20, 20, 3), 255, np.uint8)).any()


def test_the_floor_is_two_samplings_of_one_surface(shards, tmp_path):
    rows = run("floor", shards, tmp_path / "floor")
    for row in rows:
        assert row["iou"] > 0.995
        assert 0 < row["chamfer_l1"] < 0.015
        assert row["normal_consistency"] > 0.95
        assert row["f_score_5"] == 1.0


def test_unknown_kind(shards, tmp_path):
    with pytest.raises(ConfigError, match="there are class_mean, nearest_image, retrieval"):
        baseline_shard("guess", *shards, CONFIG, tmp_path / "x")
