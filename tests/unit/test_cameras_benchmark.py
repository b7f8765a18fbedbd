"""The benchmark of cameras: paired differences of known tables."""

from __future__ import annotations

import pytest

from benchmarks import cameras
from occnet_lib.config import check
from occnet_lib.evaluation.cameras import FIELDS
from occnet_lib.storage.tables import write_rows


def test_differences_are_those_of_the_tables(tmp_path, capsys):
    models = {"onet": None, "plain": {"seeds": 2}, "posed": {"local": True, "pose": True, "seeds": 2}}
    (tmp_path / "config.json").write_text(check({"models": models}).model_dump_json())
    shapes = [(category, str(i)) for category in ("car", "chair") for i in range(2)]
    for name, value in (("plain", 0.4), ("plain-seed1", 0.5), ("posed", 0.6), ("posed-seed1", 0.6)):
        rows = [
            {"category": category, "id": id, "iou": value + 0.1 * k}
            for category, id in shapes
            for k in (-1, 1)
        ]
        folder = tmp_path / "evaluate" / name
        write_rows(folder / "test-000.views.csv", rows)
        write_rows(folder / "test-000.photos.csv", [row | {"iou": 0.2, "iou_given": 0.3} for row in rows])
        if name.startswith("posed"):
            given = [row | dict.fromkeys(FIELDS, row["iou"]) | {"iou_given": 0.9} for row in rows]
            write_rows(folder / "test-000.cameras.csv", given)
    cameras.main([str(tmp_path), "--model", "posed", "--reference", "plain"])
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "| camera | IoU | minus plain, 2 seeds |"
    assert said[2].startswith("| true | 0.900 | +0.450 [")
    assert "| predicted | 0.600 | +0.150 [" in said[6]
    assert said[7].startswith("| true, of photos | 0.300 | +0.100 [")
    assert said[8].startswith("| predicted, of photos | 0.200 | +0.000 [")
    with pytest.raises(SystemExit, match="has no test-"):
        cameras.shape_means(tmp_path, "plain", "cameras", "iou")
    assert cameras.shape_means(tmp_path / "evaluate", "plain", "views", "iou_given") == {}
