"""The benchmark over the number of training shapes goes through the library, small."""

from __future__ import annotations

import pytest

from benchmarks import data_scaling
from occnet_lib.storage.tables import read_rows

pytestmark = pytest.mark.slow


def test_sizes_are_nested_and_every_model_is_measured_on_the_same_shapes(tmp_path, capsys):
    out = tmp_path / "scaling"
    data_scaling.main(["--quick", "--out", str(out)])
    rows = read_rows(out / "scaling.csv")
    names = [data_scaling.NETWORK, *data_scaling.BASELINES]
    assert [(row["shapes"], row["model"]) for row in rows] == [
        (size, name) for size in ("5", "10") for name in names
    ]
    by_size = {(row["shapes"], row["model"]): row for row in rows}
    # More shapes to choose from cannot make the best of them worse.
    assert float(by_size["10", "baseline_oracle"]["iou"]) >= float(by_size["5", "baseline_oracle"]["iou"]) > 0
    for row in rows[1:5]:
        less = float(rows[0]["iou"]) - float(row["iou"])
        assert float(row["less_network"]) == pytest.approx(less)
        assert float(row["less_network_low"]) <= less <= float(row["less_network_high"])
    tested = {row["id"] for row in read_rows(out / "000005" / "shapes.csv")}
    assert len(tested) == 10
    assert tested == {row["id"] for row in read_rows(out / "000010" / "seed-0" / "shapes.csv")}
    printed = capsys.readouterr().out
    before = (out / "000010" / "seed-0" / "train" / "best.ckpt").stat().st_mtime_ns
    data_scaling.main(["--quick", "--out", str(out)])  # nothing is left to do
    assert (out / "000010" / "seed-0" / "train" / "best.ckpt").stat().st_mtime_ns == before
    assert capsys.readouterr().out == printed


def test_trainings_are_averaged_shape_by_shape():
    row = {"model": "network", "category": "chair", "status": "ok", "reason": ""}
    values = dict.fromkeys(data_scaling.METRICS, "0.25")
    rows = [row | values | {"id": "a"}, row | values | {"id": "a", "iou": "0.75"}, row | values | {"id": "b"}]
    mean = {row["id"]: row["iou"] for row in data_scaling.mean_over_trainings(rows)}
    assert mean == {"a": 0.5, "b": 0.25}


def test_shapes_that_do_not_divide_over_the_categories_are_an_error(tmp_path):
    with pytest.raises(SystemExit, match="multiple of 5"):
        data_scaling.main(["--sizes", "12", "--out", str(tmp_path)])
