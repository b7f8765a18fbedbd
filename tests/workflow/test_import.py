"""A dataset in ONet's layout as `dataset.root`: packed directly, trained on, taken up again when a file changes."""

from __future__ import annotations

import numpy as np
import pytest

from occnet_lib.interop.conversion import export_packs
from occnet_lib.storage.packs import Shard
from occnet_lib.storage.tables import read_rows
from tests.support.checkout import make_checkout
from tests.support.training_shapes import make_shard

pytestmark = [pytest.mark.workflow, pytest.mark.slow]


def test_onets_dataset_is_trained_on(tmp_path, project):
    made = [
        make_shard(tmp_path / f"{split}-000.h5", shapes, points=256, pixels=32)
        for split, shapes in (("train", 4), ("val", 2), ("test", 1))
    ]
    checkout = make_checkout(tmp_path / "checkout", project, models={"tiny-fc": None}, train={"steps": 2})
    root = checkout.path / "meshes"
    export_packs(made, root, "onet")
    (root / "ellipsoid/train-000-1/pointcloud.npz").unlink()
    assert checkout.jobs("train")["catalogue"] == 1
    text = checkout.snakemake("train")
    assert "train-000: 3 of 4 shapes" in text
    assert (checkout.results / "train/tiny/best.ckpt").is_file()
    rows = {row["id"]: row for row in read_rows(checkout.results / "preprocess/shapes.csv")}
    assert len(rows) == 7
    assert [name for name, row in rows.items() if row["status"] != "ok"] == ["train-000-1"]
    assert "pointcloud.npz" in rows["train-000-1"]["reason"]
    actual = Shard(checkout.results / "pack/val-000.h5")
    source = Shard(made[1])
    order = [actual.keys.index(key) for key in actual.keys if key.id == source.keys[0].id]
    for mine, truth in zip(actual.points(order[0]), source.points(0), strict=True):
        np.testing.assert_array_equal(mine, truth)
    assert checkout.jobs("train") == {}
    file = root / "ellipsoid/val-000-0/points.npz"
    arrays = dict(np.load(file))
    np.savez(file, **arrays | {"points": -arrays["points"]})
    assert checkout.jobs("preprocess")["catalogue"] == 1
    packs = {path: path.stat().st_mtime_ns for path in checkout.results.glob("pack/*.h5")}
    checkout.snakemake("preprocess")
    renewed = [path.stem for path, time in packs.items() if path.stat().st_mtime_ns != time]
    assert renewed == ["val-000"]
    actual = Shard(checkout.results / "pack/val-000.h5")
    assert source.keys[0].id == "val-000-0"
    np.testing.assert_array_equal(actual.points(order[0])[0], -source.points(0)[0])
    root.rename(root.with_name("unmounted"))
    assert checkout.jobs("preprocess") == {}
    root.with_name("unmounted").rename(root)
    text = checkout.snakemake("rerun", "--config=shape=failed", check=False)
    assert "imported, not made" in text
