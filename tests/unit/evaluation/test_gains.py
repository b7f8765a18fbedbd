"""Gains of models over their references: pairing by shape and seed, and what the intervals cover."""

from __future__ import annotations

import json

import numpy as np
import pytest

from occnet_lib.cli.evaluate import evaluate_gains
from occnet_lib.config import Config, check
from occnet_lib.errors import DataError
from occnet_lib.evaluation.gains import COLUMNS, METRICS, gains, interval, read_costs
from occnet_lib.storage.tables import read_rows, write_rows

CATEGORIES = {"car": 4, "chair": 6}


def config(seeds: int = 3) -> Config:
    models = {"plain": {"seeds": seeds}, "switch": {"seeds": seeds, "positional_encoding": 4}}
    return check({"models": models, "evaluate": {"compare": {"switch": "plain"}}})


def table(configuration: Config, gain: float, noise: float = 0.0) -> list[dict[str, object]]:
    """Rows in which difficult shapes and good seeds are those of both models."""
    rng, rows = np.random.default_rng(0), []
    for model, network in configuration.models.items():
        for category, count in CATEGORIES.items():
            for i in range(count):
                value = 0.1 * i + 0.05 * network.seed + (gain if model.startswith("switch") else 0.0)
                value += noise * rng.normal()
                names = {"model": model, "category": category, "id": f"{category}{i}"}
                rows.append(names | dict.fromkeys(METRICS, value) | {"iou_photos": ""})
    return rows


def test_shapes_and_seeds_are_paired():
    (row,) = gains(table(config(), 0.03), config())
    assert set(row) == set(COLUMNS)
    assert (row["model"], row["reference"], row["shapes"], row["seeds"]) == ("switch", "plain", 10, 3)
    assert [row["iou"], row["iou_low"], row["iou_high"]] == pytest.approx([0.03] * 3)
    assert row["iou_photos"] == row["iou_photos_low"] == ""


def test_classes_weigh_alike():
    rows = table(config(1), 0.0)
    for row in rows:
        if row["model"] == "switch" and row["category"] == "car":
            row["iou"] += 0.1
    assert gains(rows, config(1))[0]["iou"] == pytest.approx(0.05)


def test_trainings_without_a_partner_do_not_count():
    models = {"plain": {}, "switch": {"seeds": 3, "hidden": 64}}
    one = check({"models": models, "evaluate": {"compare": {"switch": "plain"}}})
    (row,) = gains(table(one, 0.03), one)
    assert row["seeds"] == 1
    assert row["iou"] == pytest.approx(0.03)


def test_shapes_that_one_training_lacks_are_left_out_with_a_warning(caplog):
    (row,) = gains(table(config(), 0.03)[:-1], config())
    assert row["shapes"] == 9
    assert "different shapes" in caplog.text


def test_what_cannot_be_compared_is_an_error():
    rows = [row for row in table(config(), 0.03) if row["model"] != "switch-seed2"]
    with pytest.raises(DataError, match="no test shape in common"):
        gains(rows, config())
    with pytest.raises(DataError, match="not a row"):
        gains([{"model": "plain", "category": "car", "id": "a", "iou": "high"}], config())


def test_seeds_widen_the_interval():
    rng = np.random.default_rng(0)
    shapes = [0.05 * rng.normal(size=8) for _ in range(5)]
    same = [np.tile(values, (3, 1)) for values in shapes]
    differing = [values + np.array([[-0.02], [0.0], [0.02]]) for values in same]
    narrow, wide = interval(same), interval(differing)
    assert wide.mean == pytest.approx(narrow.mean)
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_only_seeds_differ_is_the_t_interval_of_seeds():
    by_seed = np.array([0.01, 0.03, 0.05])
    result = interval([np.tile(by_seed[:, None], (1, n)) for n in (4, 9)])
    half = 4.302653 * 0.02 / 3**0.5  # t of two degrees of freedom
    assert result == pytest.approx((0.03, 0.03 - half, 0.03 + half))


def test_a_class_of_one_shape_gives_no_interval():
    result = interval([np.full((3, 1), 0.1), np.full((3, 4), 0.2)])
    assert result.mean == pytest.approx(0.15)
    assert np.isnan([result.low, result.high]).all()


@pytest.mark.parametrize(
    ("by_seed", "by_shape", "residual", "seeds"),
    [(0.0, 0.06, 0.0, 3), (0.01, 0.06, 0.05, 3), (0.05, 0.0, 0.0, 3), (0.0, 0.06, 0.05, 1)],
)
def test_intervals_cover_the_true_difference(by_seed, by_shape, residual, seeds):
    rng, covered, simulations = np.random.default_rng(1), 0, 1000
    for _ in range(simulations):
        chance = rng.normal(0, by_seed, (seeds, 1))
        differences = [
            0.01 + chance + rng.normal(0, by_shape, 8) + rng.normal(0, residual, (seeds, 8)) for _ in range(5)
        ]
        _, low, high = interval(differences)
        covered += low <= 0.01 <= high
    assert 0.93 <= covered / simulations <= 0.98  # three standard errors below 0.95; wider where both vary


def test_costs_come_from_benchmarks_and_options(tmp_path, caplog):
    for name, seconds in (("a", "12.5"), ("b", "-")):
        (tmp_path / "benchmarks" / "train").mkdir(parents=True, exist_ok=True)
        (tmp_path / "benchmarks" / "train" / f"{name}.tsv").write_text(f"s\tcpu_time\n1.0\t{seconds}\n")
    (tmp_path / "train" / "a").mkdir(parents=True)
    (tmp_path / "train" / "a" / "options.json").write_text(json.dumps({"parameters": 7}))
    costs = read_costs(tmp_path, ["a", "b", "c"])
    assert costs == {"a": {"cpu_seconds": 12.5, "parameters": 7}, "b": {}, "c": {}}
    assert "no CPU seconds of the training of b" in caplog.text


def test_the_job_writes_the_table(tmp_path):
    write_rows(tmp_path / "evaluate" / "shapes.csv", table(config(), 0.03, noise=0.01))
    evaluate_gains(tmp_path, config(), out=tmp_path / "evaluate" / "gains.csv")
    (row,) = read_rows(tmp_path / "evaluate" / "gains.csv")
    assert float(row["iou_low"]) < float(row["iou"]) < float(row["iou_high"])
    assert row["cpu_seconds"] == ""
