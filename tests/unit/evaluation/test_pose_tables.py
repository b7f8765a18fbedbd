"""Cells of the view sphere, effects of the pose with their tests, and the choice of an image."""

from __future__ import annotations

import numpy as np
import pytest

from occnet_lib.config import Config
from occnet_lib.errors import DataError
from occnet_lib.evaluation.pose_tables import AZIMUTHS, cell_centre, cell_of, summarise_poses
from occnet_lib.evaluation.view_choice import summarise_choice
from occnet_lib.storage.tables import read_rows, write_rows

CONFIG = Config.model_validate({"evaluate": {"bootstrap": 200}})


def rows_of(effect: float, shapes: int = 10, views: int = 8, seed: int = 0) -> list[dict]:
    """A class whose shapes differ much, seen from all sectors; from azimuth 90° the IoU is larger by the effect."""
    rng, rows = np.random.default_rng(seed), []
    for i in range(shapes):
        level = rng.uniform(0.2, 0.8)
        for view in range(views):
            azimuth = 360.0 / views * view
            iou = level + effect * (azimuth == 90.0) + rng.normal(0, 0.02)
            row = {
                "model": "net",
                "category": "car",
                "id": str(i),
                "azimuth": azimuth,
                "elevation": 20.0,
                "iou": iou,
            }
            rows.append(
                row | {"entropy": 0.1 * rng.random(), "brier": 0.02, "expected_iou": 0.5, "agreement": iou}
            )
    return rows


def test_cells_are_centred_and_cover_the_sphere():
    rng = np.random.default_rng(0)
    azimuth, elevation = rng.uniform(0, 360, 500), rng.uniform(-90, 90, 500)
    for a, e, cell in zip(azimuth, elevation, cell_of(azimuth, elevation).tolist(), strict=True):
        centre = cell_centre(cell)
        assert abs((a - centre[0] + 180) % 360 - 180) <= 180 / AZIMUTHS
        assert abs(e - centre[1]) <= 15
    assert cell_centre(int(cell_of([359.0], [90.0])[0])) == (0.0, 75.0)
    assert cell_centre(int(cell_of([0.0], [-90.0])[0])) == (0.0, -75.0)


def test_an_effect_of_the_pose_is_clear_and_that_of_shapes_is_none(tmp_path):
    write_rows(tmp_path / "views.csv", rows_of(0.1))
    cells, tests = summarise_poses(read_rows(tmp_path / "views.csv"), CONFIG)
    assert len(cells) == AZIMUTHS
    clear = [row for row in cells if row["iou_clear"]]
    assert 90.0 in {row["azimuth"] for row in clear}
    (best,) = (row for row in cells if row["azimuth"] == 90.0)
    assert best["iou_effect"] == pytest.approx(0.1 * 7 / 8, abs=0.02)
    assert best["iou_low"] < best["iou_effect"] < best["iou_high"]
    assert (best["views"], best["shapes"], best["compared"]) == (10, 10, 1)
    p = {row["measure"]: row["p_value"] for row in tests}
    assert p["iou"] == pytest.approx(1 / 201)
    assert p["entropy"] > 0.05
    assert p["brier"] == ""  # constant: nothing to compare
    assert not any(row["brier_clear"] for row in cells)


def test_without_an_effect_few_classes_are_clear():
    values = []
    for seed in range(20):
        _, tests = summarise_poses(rows_of(0.0, seed=seed), CONFIG)
        values.append(tests[0]["p_value"])
    assert np.mean(np.array(values) < 0.1) <= 0.25
    assert np.mean(values) > 0.3


def test_the_standard_error_is_that_of_permuted_views():
    rows = rows_of(0.1, shapes=3)
    for row in rows[:8]:
        row["azimuth"] = 0.0 if row["azimuth"] < 180 else 90.0  # several views in a cell
    cells, _ = summarise_poses(rows, CONFIG)
    rng, effects = np.random.default_rng(0), []
    for _ in range(4000):
        total, count = 0.0, 0
        for i in range(3):
            own = [row for row in rows if row["id"] == str(i)]
            iou = np.array([row["iou"] for row in own])
            there = np.array([row["azimuth"] == 90.0 for row in own])
            total += (rng.permutation(iou - iou.mean()))[there].sum()
            count += there.sum()
        effects.append(total / count)
    (cell,) = (row for row in cells if row["azimuth"] == 90.0)
    assert (cell["iou_high"] - cell["iou_low"]) / 2 / 1.96 == pytest.approx(np.std(effects), rel=0.06)


def test_one_view_a_shape_has_no_effect():
    cells, tests = summarise_poses(rows_of(0.1, views=1), CONFIG)
    assert [row["iou_effect"] for row in cells] == [0.0]
    assert tests[0]["p_value"] == ""
    assert summarise_poses([], CONFIG) == ([], [])
    with pytest.raises(DataError, match="pose"):
        summarise_poses([{"model": "net", "category": "car", "id": "0"}], CONFIG)


def test_rules_choose_by_their_score():
    table = {row["rule"]: row for row in summarise_choice("views", rows_of(0.2), CONFIG)}
    best, random = table["best"], table["expected_iou"]
    assert best["rank"] == 1.0
    assert best["gain_low"] > 0.1
    assert table["agreement"]["iou"] == best["iou"]
    assert random["gain"] == pytest.approx(0.0, abs=1e-12)  # equal scores: a random image
    assert random["rank"] == ""
    assert table["pose"]["gain"] == pytest.approx(0.175, abs=0.02)
    assert table["entropy"]["gain_low"] < 0.1
    alone = [{**row, "agreement": ""} for row in rows_of(0.2, views=1)]
    assert summarise_choice("views", alone, CONFIG) == []
    with pytest.raises(DataError, match="uncertainty"):
        summarise_choice("views", [{**row, "entropy": "x"} for row in rows_of(0.2)], CONFIG)
