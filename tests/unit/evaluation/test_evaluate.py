"""Tables: one row a shape, failures counted as the worst, means of class means, intervals."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from occnet_lib.config import Config
from occnet_lib.errors import DataError
from occnet_lib.evaluation.class_means import bootstrap_means
from occnet_lib.evaluation.evaluate import COLUMNS, evaluate_shard
from occnet_lib.evaluation.metrics import METRICS, ORIGINAL_METRICS, worst
from occnet_lib.evaluation.summary import EXTRAS, summarise
from occnet_lib.evaluation.view_metrics import evaluate_views, spread
from occnet_lib.reconstruction.extract import surface
from occnet_lib.storage.meshes import save_mesh
from occnet_lib.storage.packs import PackedShape, write_shard
from occnet_lib.storage.reconstructions import writing
from occnet_lib.storage.tables import read_rows
from occnet_lib.types import Mesh, PointSamples, ShapeKey, Views, Watertight

CONFIG = Config.model_validate({"evaluate": {"surface": 2000, "bootstrap": 300}})
EMPTY = Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int32))


def sphere(radius: float) -> Mesh:
    axis = 1.1 * (np.arange(33) / 32 - 0.5)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
    return surface((radius - np.linalg.norm(points, axis=-1)).astype(np.float32), 0.0)


def packed(name: str, radius: float) -> PackedShape:
    category, shape = name.split("/")
    rng = np.random.default_rng(len(name))
    points = rng.uniform(-0.55, 0.55, (4000, 3)).astype(np.float16)
    normals = rng.normal(size=(2000, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    samples = PointSamples(
        points,
        np.linalg.norm(points.astype(float), axis=1) < radius,
        (radius * normals).astype(np.float16),
        normals.astype(np.float16),
        np.zeros((4, 4, 4), bool),
    )
    images = np.full((1, 8, 8, 3), 255, np.uint8)
    views = Views(images, np.zeros((1, 3, 3)), np.zeros((1, 3, 4)), np.zeros(3), 1.0)
    return PackedShape.of(
        ShapeKey(category, shape), Watertight(sphere(radius), np.zeros(3), 1.0), samples, views
    )


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "test-000.h5"
    write_shard(
        path, [packed("chair/a", 0.4), packed("chair/b", 0.3), packed("table/c", 0.4)], path.stem, "test"
    )
    return path


def test_every_shape_of_the_shard_has_a_row_whatever_became_of_it(shard, tmp_path):
    with writing(tmp_path / "made") as folder:
        folder.add(ShapeKey("chair", "a"), sphere(0.4))
        folder.add(ShapeKey("chair", "b"), EMPTY)
    rows = evaluate_shard(tmp_path / "made", shard, CONFIG, "net", tmp_path / "net" / "test-000.csv")
    table = read_rows(tmp_path / "net" / "test-000.csv")
    assert tuple(table[0]) == COLUMNS
    assert [row["id"] for row in table] == [row["id"] for row in rows] == ["a", "b", "c"]
    assert [row["status"] for row in rows] == ["ok", "failed", "failed"]
    assert rows[1]["reason"] == "the mesh is missing or has no area"
    assert rows[2]["reason"] == "not reconstructed"
    assert rows[0]["iou"] > 0.97
    assert rows[0]["chamfer_l1"] < 0.02
    assert {name: rows[1][name] for name in METRICS} == worst()
    assert all(float(a["iou"]) == b["iou"] for a, b in zip(table, rows, strict=True))


def test_a_failure_keeps_its_reason_and_the_samples_do_not_depend_on_the_model(shard, tmp_path):
    for model in ("one", "two"):
        with writing(tmp_path / model) as folder:
            folder.add(ShapeKey("chair", "a"), sphere(0.38))
            folder.add(ShapeKey("table", "c"), None, "failed", "no surface: nowhere")
    one, two = (
        evaluate_shard(tmp_path / model, shard, CONFIG, model, tmp_path / f"{model}.csv")
        for model in ("one", "two")
    )
    assert one[2]["reason"] == "no surface: nowhere"
    assert {n: one[0][n] for n in METRICS} == {n: two[0][n] for n in METRICS}


def test_raw_meshes_that_are_not_there_are_a_warning(shard, tmp_path, caplog):
    with writing(tmp_path / "made") as folder:
        folder.add(ShapeKey("chair", "a"), sphere(0.4))
    save_mesh(sphere(0.4), tmp_path / "a.ply")
    files = {"chair/a": tmp_path / "a.ply", "chair/b": tmp_path / "gone.ply"}
    rows = evaluate_shard(tmp_path / "made", shard, CONFIG, "net", tmp_path / "net.csv", files)
    assert "chamfer_l1_original" in rows[0]
    assert "chamfer_l1_original" not in rows[1]
    assert (
        f"1 of 2 raw meshes are not there, so nothing is measured against these: {files['chair/b']}"
        in caplog.text
    )


def test_distances_to_the_raw_mesh_in_its_own_frame(shard, tmp_path):
    # Raw, the shapes are spheres 5 % smaller than their closed meshes, which both are predicted as.
    save_mesh(sphere(0.38), tmp_path / "a.ply")
    (tmp_path / "b.ply").write_text("no mesh")
    with writing(tmp_path / "made") as folder:
        folder.add(ShapeKey("chair", "a"), sphere(0.4))
        folder.add(ShapeKey("chair", "b"), sphere(0.3))
    files = {"chair/a": tmp_path / "a.ply", "chair/b": tmp_path / "b.ply", "table/c": tmp_path / "a.ply"}
    a, b, c = evaluate_shard(tmp_path / "made", shard, CONFIG, "net", tmp_path / "net.csv", files)
    assert a["chamfer_l1"] < 0.02  # of samples 2,000 each
    assert a["chamfer_l1_original"] == pytest.approx(0.02, abs=0.008)
    assert a["chamfer_l1_original"] == pytest.approx(
        (a["accuracy_original"] + a["completeness_original"]) / 2
    )
    assert not set(ORIGINAL_METRICS) & b.keys()
    assert c["status"] == "failed"
    assert c["chamfer_l1_original"] == math.sqrt(3)
    (model,) = summarise(read_rows(tmp_path / "net.csv"), CONFIG)["models"]
    assert model["chamfer_l1_original"] == pytest.approx((a["chamfer_l1_original"] + math.sqrt(3)) / 2)


def of_radii(radii):
    """Logits of balls, a view each."""

    def logits(images, rotations, points, projections):
        assert images.shape[0] == rotations.shape[0] == projections.shape[0] == len(radii)
        assert rotations.shape[1:] == (3, 3)
        return np.stack([10 * (r - np.linalg.norm(points.astype(float), axis=1)) for r in radii])

    return logits


def test_every_view_is_measured_and_the_spread_is_over_them(tmp_path):
    views = Views(
        np.full((3, 8, 8, 3), 255, np.uint8), np.zeros((3, 3, 3)), np.zeros((3, 3, 4)), np.zeros(3), 1.0
    )
    one = packed("chair/a", 0.4)
    shape = PackedShape.of(one.key, one.watertight, one.points, views)
    write_shard(tmp_path / "test-000.h5", [shape], "test-000", "test")
    config = Config.model_validate({"evaluate": {"view_points": 4000, "bootstrap": 0}})
    rows = evaluate_views(
        of_radii([0.4, 0.36, 0.3]), 0.0, tmp_path / "test-000.h5", config, "net", tmp_path / "views.csv"
    )
    assert [row["view"] for row in rows] == [0, 1, 2]
    expected = np.array([1, 0.9**3, 0.75**3])
    assert [row["iou"] for row in rows] == pytest.approx(expected, abs=0.04)
    assert rows[0]["iou"] > 0.99
    read = spread(read_rows(tmp_path / "views.csv"))["net", "chair", "a"]
    assert read["iou_views"] == pytest.approx(np.mean([row["iou"] for row in rows]))
    assert read["iou_views_sd"] == pytest.approx(np.std([row["iou"] for row in rows]))
    tables = summarise([row("net", "chair", "a", 0.5), row("other", "chair", "a", 0.5)], config, rows)
    net, other = tables["models"]
    assert net["iou_views"] == read["iou_views"]
    assert tables["shapes"][0]["iou_views_sd"] == read["iou_views_sd"]
    assert other["iou_views"] == ""
    assert net["iou_photos"] == ""
    photos = [row | {"iou": 0.5 * row["iou"]} for row in rows]
    both = summarise([row("net", "chair", "a", 0.5)], config, rows, photos)["models"][0]
    assert both["iou_views"] == read["iou_views"]
    assert both["iou_photos"] == pytest.approx(0.5 * read["iou_views"])
    alone = summarise([row("net", "chair", "a", 0.5)], config, (), photos)["models"][0]
    assert (alone["iou_views"], alone["iou_photos"]) == ("", both["iou_photos"])
    two = Config.model_validate({"evaluate": {"views": 2}})
    assert (
        len(
            evaluate_views(
                of_radii([0.4, 0.3]), 0.0, tmp_path / "test-000.h5", two, "net", tmp_path / "v.csv"
            )
        )
        == 2
    )
    with pytest.raises(DataError, match="not a row of view metrics"):
        spread([{"model": "net", "category": "chair", "id": "a"}])


def test_a_folder_of_another_shard_is_an_error(shard, tmp_path):
    with writing(tmp_path / "made") as folder:
        folder.add(ShapeKey("lamp", "x"), sphere(0.4))
    with pytest.raises(DataError, match="no shape of test-000"):
        evaluate_shard(tmp_path / "made", shard, CONFIG, "net", tmp_path / "net.csv")
    with pytest.raises(DataError, match="cannot be read"):
        evaluate_shard(tmp_path / "absent", shard, CONFIG, "net", tmp_path / "net.csv")


def row(model: str, category: str, shape: str, iou: float, status: str = "ok") -> dict[str, object]:
    values = dict.fromkeys(METRICS, 0.5) | {"iou": iou}
    return {"model": model, "category": category, "id": shape, "status": status, "reason": ""} | values


def test_means_are_means_of_class_means_and_failures_are_counted():
    rows = [
        row("net", "chair", "a", 0.2),
        row("net", "chair", "b", 0.4),
        row("net", "chair", "c", 0.0, "failed"),
        row("net", "table", "d", 0.8),
        row("net", "table", "e", 0.8),
    ]
    tables = summarise(rows, CONFIG)
    assert tables["shapes"] == [r | dict.fromkeys(EXTRAS, "") for r in rows]
    by_class = {r["category"]: r for r in tables["classes"]}
    assert by_class["chair"]["iou"] == pytest.approx(0.2)
    assert (by_class["chair"]["shapes"], by_class["chair"]["failed"]) == (3, 1)
    (model,) = tables["models"]
    assert model["iou"] == pytest.approx(0.5)  # not 0.44, the mean over shapes
    assert (model["shapes"], model["failed"]) == (5, 1)
    # Only chairs vary: the extremes are all-0.0 and all-0.4 resamples.
    assert 0.399 < model["iou_low"] < 0.5 < model["iou_high"] < 0.601
    assert model["chamfer_l1"] == model["chamfer_l1_low"] == model["chamfer_l1_high"] == pytest.approx(0.5)


def test_text_of_a_table_gives_the_same_as_numbers():
    rows = [row("net", "chair", f"{i:03}", i / 7) for i in range(5)]
    text = [{key: str(value) for key, value in r.items()} for r in rows]
    assert summarise(text, CONFIG) == summarise(rows, CONFIG)
    assert summarise(text, CONFIG)["shapes"][0]["id"] == "000"


def test_order_of_rows_and_company_of_other_models_change_no_interval():
    rng = np.random.default_rng(0)
    rows = [row("net", "chair", f"{i}", rng.random()) for i in range(20)]
    alone = summarise(rows, CONFIG)["models"][0]
    others = [row("other", "chair", f"{i}", rng.random()) for i in range(20)]
    mixed = {r["model"]: r for r in summarise([*others, *reversed(rows)], CONFIG)["models"]}
    assert mixed["net"] == pytest.approx(alone)


def test_models_on_different_shapes_are_warned_about(caplog):
    summarise([row("a", "chair", "x", 0.1), row("a", "chair", "y", 0.1), row("b", "chair", "x", 0.1)], CONFIG)
    assert "not comparable" in caplog.text


def test_no_resampling_leaves_the_ends_empty_and_no_rows_make_empty_tables():
    config = Config.model_validate({"evaluate": {"bootstrap": 0}})
    (model,) = summarise([row("net", "chair", "a", 0.3)], config)["models"]
    assert (model["iou"], model["iou_low"], model["iou_high"]) == (0.3, "", "")
    assert summarise([], CONFIG) == {"shapes": [], "classes": [], "models": [], "differences": []}


def test_rows_of_something_else_are_an_error():
    with pytest.raises(DataError, match="run evaluate again"):
        summarise([{"model": "net"}], CONFIG)
    with pytest.raises(DataError, match="run evaluate again"):
        summarise([row("net", "chair", "a", 0.3) | {"iou": "none"}], CONFIG)


def test_bootstrap_has_the_mean_and_the_spread_of_theory():
    rng = np.random.default_rng(0)
    classes = [rng.normal(0.5, 0.1, (50, 1)), rng.normal(0.3, 0.2, (80, 1))]
    means = bootstrap_means(classes, [np.random.default_rng(i) for i in (1, 2)], 4000)[:, 0]
    assert means.mean() == pytest.approx(np.mean([c.mean() for c in classes]), abs=0.001)
    standard_error = math.sqrt(sum(c.var(ddof=1) / len(c) for c in classes)) / 2
    assert means.std() == pytest.approx(standard_error, rel=0.05)


def test_spread_of_few_shapes_is_not_too_small():
    rng = np.random.default_rng(0)
    classes = [rng.normal(0.5, 0.1, (3, 1)), rng.normal(0.3, 0.2, (2, 1))]
    means = bootstrap_means(classes, [np.random.default_rng(i) for i in (1, 2)], 20_000)[:, 0]
    assert means.std() == pytest.approx(math.sqrt(sum(c.var(ddof=1) / len(c) for c in classes)) / 2, rel=0.02)


def test_a_class_of_one_shape_leaves_the_ends_empty():
    rows = [row("net", category, id, 0.3) for category, id in (("chair", "a"), ("chair", "b"), ("lamp", "c"))]
    (model,) = summarise(rows, CONFIG)["models"]
    assert (model["iou"], model["iou_low"], model["iou_high"]) == (0.3, "", "")


def test_differences_are_paired_and_of_models_on_the_same_shapes_alone():
    rng = np.random.default_rng(0)
    hard = rng.random(30)
    rows = [row("net", "chair", f"{i}", h + 0.05) for i, h in enumerate(hard)]
    rows += [row("rival", "chair", f"{i}", h + rng.normal(0, 0.02)) for i, h in enumerate(hard)]
    rows += [row("partly", "chair", f"{i}", h) for i, h in enumerate(hard[:29])]
    tables = summarise(rows, CONFIG)
    actual = {(r["model"], r["other"]): r for r in tables["differences"]}
    assert actual.keys() == {("net", "rival"), ("rival", "net")}
    there, back = actual["net", "rival"], actual["rival", "net"]
    means = {r["model"]: r for r in tables["models"]}
    assert there["iou"] == pytest.approx(means["net"]["iou"] - means["rival"]["iou"])
    assert there["iou_low"] > 0.03
    assert there["iou_high"] < 0.07
    assert means["net"]["iou_low"] < means["rival"]["iou_high"]  # the single intervals overlap
    ends = [-there["iou"], -there["iou_high"], -there["iou_low"]]
    assert [back[name] for name in ("iou", "iou_low", "iou_high")] == pytest.approx(ends)
    assert (there["chamfer_l1"], there["chamfer_l1_low"], there["shapes"]) == (0.0, 0.0, 30)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(3)
    config = Config.model_validate({"evaluate": {"bootstrap": 200}})
    hits = 0
    for trial in range(60):
        rows = [row("net", f"class{trial}", f"{i}", rng.normal(0.5, 0.1)) for i in range(40)]
        (model,) = summarise(rows, config)["models"]
        hits += model["iou_low"] <= 0.5 <= model["iou_high"]
    assert 51 <= hits <= 60


def test_open_and_inward_meshes_are_warned_of(shard, tmp_path, caplog):
    ball = sphere(0.4)
    cut = ball.faces[ball.vertices[ball.faces][:, :, 1].max(axis=1) < 0.2]
    with writing(tmp_path / "made") as folder:
        folder.add(ShapeKey("chair", "a"), Mesh(ball.vertices, cut))
        folder.add(ShapeKey("chair", "b"), sphere(0.3))
        folder.add(ShapeKey("table", "c"), Mesh(ball.vertices, ball.faces[:, ::-1]))
    a, b, c = evaluate_shard(tmp_path / "made", shard, CONFIG, "net", tmp_path / "net.csv")
    assert [row["status"] for row in (a, b, c)] == ["warn", "ok", "warn"]
    assert "not closed" in a["reason"]
    assert "IoU is not meaningful" in a["reason"]
    assert "point inward" in c["reason"]
    assert c["iou"] > 0.97
    assert "chair/a" in caplog.text
