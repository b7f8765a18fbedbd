"""Statistics of the data."""

from __future__ import annotations

import numpy as np
import pytest

from occnet_lib.analysis import statistics
from occnet_lib.errors import DataError
from occnet_lib.storage.packs import write_shard
from occnet_lib.storage.tables import read_rows
from tests.support.demo_results import POINTS, VIEWS, packed


class TestStatistics:
    def test_rows_are_the_shapes_own_numbers(self, packs, tmp_path) -> None:
        statistics.write_statistics(packs, tmp_path / "statistics.csv")
        rows = read_rows(tmp_path / "statistics.csv")
        assert list(rows[0]) == list(statistics.COLUMNS)
        groups = [(c, s) for c in ("car", "chair", "all") for s in ("train", "val", "test")]
        assert [(row["category"], row["split"]) for row in rows] == groups
        row = rows[groups.index(("chair", "test"))]
        shapes = [packed("chair", i) for i in (2, 3)]
        occupied = [shape.points.occupancies.mean() for shape in shapes]
        assert (row["shapes"], row["images"], row["points"]) == ("2", str(2 * VIEWS), str(2 * POINTS))
        assert float(row["occupied_mean"]) == pytest.approx(np.mean(occupied), rel=1e-5)
        assert float(row["occupied_sd"]) == pytest.approx(abs(occupied[0] - occupied[1]) / 2**0.5, rel=1e-4)
        assert float(row["faces_mean"]) == np.mean([len(s.watertight.mesh.faces) for s in shapes])
        heights = [np.ptp(s.watertight.mesh.vertices[:, 1]) for s in shapes]
        assert float(row["extent_y"]) == pytest.approx(np.mean(heights), rel=1e-5)
        assert float(row["scale_mean"]) == pytest.approx(
            np.mean([s.watertight.scale for s in shapes]), rel=1e-5
        )

    def test_all_rows_count_every_category(self, packs) -> None:
        rows = statistics.table(packs)
        for split in ("train", "val", "test"):
            parts = [r["shapes"] for r in rows if r["split"] == split and r["category"] != "all"]
            assert [r["shapes"] for r in rows if r["split"] == split and r["category"] == "all"] == [
                sum(parts)
            ]
        assert float(next(r for r in rows if r["split"] == "val")["occupied_sd"]) == 0, (
            "one shape spreads nothing"
        )

    def test_an_empty_shard_has_no_rows_but_a_header(self, tmp_path) -> None:
        write_shard(tmp_path / "val-000.h5", [], "val-000", "val")
        statistics.write_statistics([tmp_path / "val-000.h5"], tmp_path / "s.csv")
        assert (tmp_path / "s.csv").read_text().strip() == ",".join(statistics.COLUMNS)

    def test_a_missing_shard_is_named(self, tmp_path) -> None:
        with pytest.raises(DataError, match=r"gone\.h5"):
            statistics.table([tmp_path / "gone.h5"])
