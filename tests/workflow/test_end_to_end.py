"""The whole workflow on small real input: what is made, what is redone, what survives."""

from __future__ import annotations

import h5py
import pytest
import yaml

from occnet_lib.config import merge
from tests.support.checkout import contents, make_checkout, rows, write_meshes

pytestmark = [pytest.mark.workflow, pytest.mark.slow]


def test_everything_is_made_and_the_bad_shape_is_recorded(finished):
    shapes = rows(finished.results / "preprocess/shapes.csv")
    assert len(shapes) == 13
    failed = [row for row in shapes if row["status"] == "failed"]
    assert [row["id"] for row in failed] == ["broken"]
    assert failed[0]["reason"]
    assert all(row["status"] in ("ok", "warn") for row in shapes if row["id"] != "broken")

    page = (finished.results / "report/report.html").read_text()
    for word in ("tiny", "tiny-fc", "class mean", "nearest image", "broken", "Chamfer"):
        assert word in page

    models = rows(finished.results / "evaluate/models.csv")
    kinds = ("class_mean", "nearest_image", "retrieval-tiny", "clustering-tiny-fc", "oracle", "floor")
    assert {"tiny", "tiny-fc", *(f"baseline_{kind}" for kind in kinds)} <= {row["model"] for row in models}
    trained = [row for row in models if row["model"] in ("tiny", "tiny-fc")]
    assert all(float(row[name]) >= 0 for row in trained for name in ("iou_views", "iou_photos"))
    assert "IoU of photos" in page
    photos = [row for path in finished.results.glob("evaluate/tiny/*.photos.csv") for row in rows(path)]
    assert {row["status"] for row in photos} == {"ok"}
    (floor,) = (row for row in models if row["model"] == "baseline_floor")
    assert 0 < float(floor["chamfer_l1_original"]) < 0.1
    tested = [row for row in rows(finished.results / "catalogue/shapes.csv") if row["split"] == "test"]
    usable = [row for row in tested if row["id"] != "broken"]
    measured = [row for row in rows(finished.results / "evaluate/shapes.csv") if row["model"] == "tiny"]
    assert {(row["category"], row["id"]) for row in measured} == {
        (row["category"], row["id"]) for row in usable
    }


def test_splits_are_disjoint_and_shards_hold_their_own(finished):
    catalogue = rows(finished.results / "catalogue/shapes.csv")
    assert len({(row["category"], row["id"]) for row in catalogue}) == len(catalogue) == 13
    for file in finished.results.glob("pack/*.h5"):
        with h5py.File(file) as pack:
            packed = set(zip(pack["category"].asstr(), pack["id"].asstr(), strict=True))
        expected = {(row["category"], row["id"]) for row in catalogue if row["shard"] == file.stem}
        assert packed == expected - {("chair", "broken")}


def test_a_second_run_has_nothing_to_do(finished):
    assert finished.jobs("preprocess", "train", "report") == {}
    assert "Nothing to be done" in finished.snakemake("preprocess", "train", "report")


def test_another_set_of_rows_is_another_report(finished):
    config = finished.path / "tiny.yaml"
    before = config.read_text()

    def queried(overlay: dict) -> dict:
        config.write_text(yaml.safe_dump(merge(yaml.safe_load(before), overlay)))
        try:
            return finished.jobs("report")
        finally:
            config.write_text(before)

    test_shards = {
        r["shard"] for r in rows(finished.results / "catalogue/shapes.csv") if r["split"] == "test"
    }
    more = queried({"models": {"other": {"hidden": 16, "c_dim": 16, "blocks": 1}}})
    assert (more["train_model"], more["evaluate"], more["report"]) == (1, 1, 1)
    assert more["reconstruct_shard"] == more["evaluate_views"] == more["evaluate_photos"] == len(test_shards)
    uncertain = queried({"evaluate": {"uncertainty": True, "next_view": 2}})
    assert (uncertain["evaluate_next_view"], uncertain["next_view"]) == (2 * len(test_shards), 1)
    assert (uncertain["calibrate_model"], uncertain["uncertainty"], uncertain["report"]) == (2, 1, 1)
    assert uncertain["evaluate_views"] == uncertain["evaluate_photos"] == 2 * len(test_shards)
    assert not {"train_model", "reconstruct_shard", "evaluate_shard"} & set(uncertain)
    refined = queried({"evaluate": {"refinements": ["tiny-fc"]}})
    assert refined == {
        **{"train_refinement": 1, "train_further_refinement": 1},
        **{"evaluate_refinements": len(test_shards), "refinement_table": 1, "report": 1},
    }
    # Without their cameras, photos are nothing for a model that needs them and does not predict them.
    needs_cameras = {"hidden": 16, "c_dim": 16, "blocks": 1, "local": True}
    local = queried({"models": {"local": needs_cameras}, "evaluate": {"uncertainty": True}})
    assert (local["evaluate_views"], local["calibrate_model"]) == (3 * len(test_shards), 3)
    assert local["evaluate_photos"] == 2 * len(test_shards)
    for fewer in ({"models": {"tiny-fc": None}}, {"evaluate": {"baselines": ["floor"]}}):
        jobs = queried(fewer)
        assert (jobs["evaluate"], jobs["report"]) == (1, 1)
        assert not {"train_model", "reconstruct_shard", "evaluate_shard"} & set(jobs)
    assert finished.jobs("report") == {}


def test_a_lost_shape_reruns_its_own_cone_and_comes_back_the_same(finished):
    row = next(row for row in rows(finished.results / "preprocess/shapes.csv") if row["status"] == "ok")
    shard = next(r["shard"] for r in rows(finished.results / "catalogue/shapes.csv") if r["id"] == row["id"])
    shape = finished.results / "preprocess/shapes" / row["category"] / f"{row['id']}.h5"
    before = contents(finished)
    stamps = {path: path.stat().st_mtime_ns for path in finished.results.glob("preprocess/shapes/*/*.h5")}
    shape.unlink()

    jobs = finished.jobs("preprocess")
    assert jobs == {
        "preprocess_shard": 1,
        "preprocess_table": 1,
        "pack_shard": 1,
        "preprocess": 1,
    }
    finished.snakemake("preprocess")
    assert contents(finished) == before
    touched = {path for path in stamps if path.stat().st_mtime_ns != stamps[path]}
    assert touched == {shape}
    assert finished.jobs("preprocess") == {}
    downstream = finished.jobs("report")
    assert downstream["check_failures"] == 1
    assert shard.startswith("train") == ("train_model" in downstream)
    finished.snakemake("report")
    assert finished.jobs("report") == {}


def test_one_shape_by_name_and_rerun(finished):
    text = finished.snakemake("-f", "results/preprocess/shapes/chair/broken.h5")
    assert "chair/broken" in text
    for shape in ("failed", "broken", "chair/broken", "failed"):
        text = finished.snakemake("rerun", f"--config=shape={shape}")
        assert "rerun: 0 ok, 0 warn, 1 failed" in text, shape
    assert "which shape?" in finished.snakemake("rerun", "--config=shape=", check=False)
    assert finished.jobs("preprocess")["preprocess_shard"] == 1
    finished.snakemake("preprocess")
    assert finished.jobs("preprocess") == {}
    finished.snakemake("report")  # as it was found: everything made
    assert finished.jobs("report") == {}


def test_the_number_of_cores_does_not_matter(finished, tmp_path, project):
    other = make_checkout(tmp_path / "one", project)
    write_meshes(other.path / "meshes")
    other.snakemake("preprocess", cores=1)
    mine, theirs = contents(other), contents(finished)
    assert mine.keys() == theirs.keys()
    for name in mine:
        assert mine[name] == theirs[name], name
