"""Uncertainty of fields: closed forms of calibration and expected IoU, their tables, and degenerate input."""

from __future__ import annotations

import json

import numpy as np
import pytest

from occnet_lib.config import Config
from occnet_lib.errors import DataError
from occnet_lib.evaluation.calibration_tables import CURVE, summarise_calibration
from occnet_lib.evaluation.expected_iou_tables import summarise_expected
from occnet_lib.evaluation.iou_fit import MIN_SHAPES, fit, fits_of_views
from occnet_lib.evaluation.metrics import iou
from occnet_lib.evaluation.reliability import (
    BINS,
    measures,
    reliability,
    reliability_of,
    reliability_rows,
    uncertainty_columns,
)
from occnet_lib.geometry.cameras import camera_centres, look_at_origin
from occnet_lib.geometry.uncertainty import entropy, expected_iou, probabilities, viewing_directions
from occnet_lib.storage.iou_calibration import IouCalibration, IouFit, read_iou_calibration
from occnet_lib.storage.tables import read_rows, write_rows

CONFIG = Config.model_validate({"evaluate": {"bootstrap": 200, "merged": [2]}})


def logit(p):
    return np.log(p) - np.log1p(-p)


def drawn(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and occupancies drawn with them."""
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.001, 0.999, n)
    return p, rng.random(n) < p


class TestClosedForms:
    def test_entropy_and_probabilities(self):
        p = np.array([0.5, 0.25, 0.75, 0.01])
        np.testing.assert_allclose(probabilities(logit(p)), p)
        np.testing.assert_allclose(entropy(logit(p)), -p * np.log2(p) - (1 - p) * np.log2(1 - p))
        assert entropy(np.array([-1e4, 1e4])).max() < 1e-15

    def test_expected_iou_is_the_mean_iou_of_independent_points(self):
        rng = np.random.default_rng(1)
        p = rng.beta(0.3, 2.0, 4000)
        level = logit(0.4)
        predicted = logit(p) > level
        simulated = [iou(predicted, rng.random(len(p)) < p) for _ in range(300)]
        assert expected_iou(logit(p), level) == pytest.approx(np.mean(simulated), abs=0.002)

    def test_expected_iou_of_certain_and_of_empty_fields(self):
        certain = np.array([-60.0, 60.0, 60.0])
        assert expected_iou(certain, 0.0) == pytest.approx(1.0)
        assert expected_iou(np.full(5, -3.0), 0.0) == 0.0
        assert expected_iou(np.full(5, 60.0), 0.0) == pytest.approx(1.0)

    def test_a_calibrated_field_has_no_calibration_error(self):
        p, occupied = drawn(400_000)
        values = measures(reliability(logit(p), occupied))
        assert values["ece"] < 0.004
        assert abs(values["overconfidence"]) < 0.004
        assert values["brier"] == pytest.approx(np.mean(p * (1 - p)), abs=0.002)

    def test_a_known_overconfidence_is_measured(self):
        p, occupied = drawn(400_000)
        stated = np.where(p > 0.5, np.minimum(p + 0.1, 0.9999), p)
        values = measures(reliability(logit(stated), occupied))
        expected = np.mean(np.abs(stated - p))  # all errors of a bin have the same sign
        assert values["ece"] == pytest.approx(expected, abs=0.004)
        assert values["overconfidence"] == pytest.approx(
            2 * expected, abs=0.01
        )  # half of the points are above 1/2

    def test_brier_of_a_constant(self):
        occupied = np.arange(10) < 2
        values = measures(reliability(np.full(10, logit(0.2)), occupied))
        assert values["brier"] == pytest.approx(0.16)
        assert values["brier_base"] == pytest.approx(0.16)
        assert values["ece"] == pytest.approx(0.0, abs=1e-12)

    def test_measures_of_no_points_are_not_numbers(self):
        assert all(np.isnan(value) for value in measures(np.zeros((BINS, 4))).values())
        sure = measures(reliability(np.full(4, -60.0), np.zeros(4, bool)))
        assert np.isnan(sure["ece_uncertain"])
        assert sure["ece"] == pytest.approx(0.0)

    def test_directions_are_those_of_the_cameras(self):
        azimuth, elevation = np.array([0.0, 90.0, 359.0, 200.0]), np.array([0.0, 60.0, -10.0, 30.0])
        rotations = look_at_origin(camera_centres(azimuth, elevation, np.ones(4)))[:, :, :3]
        np.testing.assert_allclose(viewing_directions(rotations), (azimuth, elevation), atol=1e-9)


def fields_of(rng: np.random.Generator, views: int, n: int = 500) -> tuple[list[np.ndarray], np.ndarray]:
    occupied = rng.random(n) < 0.3
    noise = rng.normal(0.0, 1.5, (views, n))
    return list(np.where(occupied, 1.5, -1.5) + noise), occupied


class TestColumns:
    def test_of_several_views(self):
        fields, occupied = fields_of(np.random.default_rng(0), 3)
        rotations = look_at_origin(camera_centres([0.0, 90.0, 180.0], [30.0] * 3, np.ones(3)))[:, :, :3]
        rows = uncertainty_columns(fields, occupied, 0.0, rotations, (2, 5))
        assert [row["azimuth"] for row in rows] == [0.0, 90.0, 180.0]
        assert rows[0]["brier"] == pytest.approx(((probabilities(fields[0]) - occupied) ** 2).mean())
        assert rows[0]["agreement"] == pytest.approx(iou(fields[0] > 0, fields[1] + fields[2] > 0))
        assert rows[2]["expected_iou_2"] == pytest.approx(expected_iou((fields[2] + fields[0]) / 2, 0.0))
        assert "expected_iou_5" not in rows[0]

    def test_of_one_view_and_of_refused_photos(self):
        fields, occupied = fields_of(np.random.default_rng(0), 1)
        (row,) = uncertainty_columns(fields, occupied, 0.0, np.eye(3)[None])
        assert row["agreement"] == ""
        refused, alone = uncertainty_columns(
            [None, *fields], occupied, 0.0, np.eye(3)[None].repeat(2, 0), (2,)
        )
        assert refused["expected_iou"] == "" != refused["azimuth"]
        assert alone["agreement"] == ""
        assert alone["expected_iou_2"] == pytest.approx(alone["expected_iou"])
        (nothing,) = uncertainty_columns([None], occupied, 0.0, np.eye(3)[None])
        assert nothing["entropy"] == ""
        assert reliability_of([None], occupied).sum() == 0.0


class TestFits:
    def test_a_line_and_the_quantile_of_its_residuals(self):
        rng = np.random.default_rng(0)
        pairs = []
        for x in rng.uniform(0.2, 0.8, 200):
            own = np.full((4, 2), x)
            own[:, 1] = 0.1 + 0.7 * x + rng.uniform(-0.1, 0.1)  # the views of a shape err together
            pairs.append(own)
        result = fit(pairs)
        assert result.gradient == pytest.approx(0.7, abs=0.05)
        assert result.half_width == pytest.approx(0.09, abs=0.01)
        assert (result.shapes, result.images) == (200, 800)

    def test_new_shapes_are_covered_as_often_as_stated(self):
        rng = np.random.default_rng(2)

        def shapes(n: int) -> list[np.ndarray]:
            x = rng.uniform(0.2, 0.8, n)
            return [np.array([[a, np.clip(a + rng.normal(0, 0.1), 0, 1)]]) for a in x]

        covered = []
        for _ in range(60):
            result = fit(shapes(20))
            tested = np.concatenate(shapes(50))
            errors = [abs(result(x) - y) for x, y in tested]
            covered += [error <= result.half_width for error in errors]
        assert np.mean(covered) == pytest.approx(0.9, abs=0.03)

    def test_never_decreasing_and_within_0_and_1(self):
        falling = fit([np.array([[x, 1.0 - x]]) for x in np.linspace(0, 1, 12)])
        assert falling.gradient == 0.0
        steep = IouFit(2.0, 0.0, None, 1, 1)
        assert (steep(0.9), steep(-1.0)) == (1.0, 0.0)
        constant = fit([np.array([[0.5, y]]) for y in np.linspace(0.2, 0.4, 12)])
        assert (constant.gradient, constant(0.9)) == (0.0, pytest.approx(0.3))

    def test_few_shapes_have_no_interval(self, caplog):
        rows = [
            {
                "category": "a",
                "id": str(i),
                "expected_iou": 0.1 * i,
                "iou": 0.1 * i,
                "expected_iou_2": 0.3,
                "iou_2": 0.4,
            }
            for i in range(MIN_SHAPES - 1)
        ]
        fits = fits_of_views(rows, (2, 3))
        assert sorted(fits) == [1, 2]
        assert fits[1].half_width is None
        assert "no interval" in caplog.text
        assert fits_of_views([]) == {}

    def test_the_file(self, tmp_path):
        fits = {1: IouFit(0.9, 0.02, 0.2, 20, 240), 3: IouFit(1.0, 0.1, None, 20, 240)}
        path = tmp_path / "best.calibration.json"
        IouCalibration(0.4, fits, "abc", 5000, 20).write(path)
        read = read_iou_calibration(path)
        assert read == IouCalibration(0.4, fits, "abc", 5000, 20)
        later = ("points", "fit")
        earlier = {key: value for key, value in json.loads(path.read_text()).items() if key not in later}
        (tmp_path / "earlier.json").write_text(json.dumps(earlier))
        assert read_iou_calibration(tmp_path / "earlier.json") == IouCalibration(0.4, fits, "abc")
        assert str(read(0.5)) == "expected IoU 0.47 ± 0.20 (90 % interval)"
        assert str(read(0.5, 2)) == "expected IoU 0.47 ± 0.20 (90 % interval)"  # the fit of fewer images
        assert str(read(0.5, 5)) == "expected IoU 0.60"
        assert IouCalibration(0.4, {}, "abc")(0.5) is None
        for text in ("{", "[]", "{}", json.dumps({"format": "x", "version": 1, "coverage": 0.9})):
            (tmp_path / "bad.json").write_text(text)
            with pytest.raises(DataError, match="occnet calibrate"):
                read_iou_calibration(tmp_path / "bad.json")


def measured(tmp_path, views: int = 3):
    """Rows of two classes of five shapes, written and read again."""
    rng = np.random.default_rng(0)
    rotations = look_at_origin(camera_centres([0.0, 120.0, 240.0][:views], [30.0] * views, np.ones(views)))[
        :, :, :3
    ]
    rows, bins = [], []
    for category in ("car", "chair"):
        for i in range(5):
            fields, occupied = fields_of(rng, views)
            about = {"model": "net", "category": category, "id": str(i)}
            columns = uncertainty_columns(fields, occupied, 0.0, rotations)
            for field, own in zip(fields, columns, strict=True):
                rows.append(about | {"iou": iou(field > 0, occupied)} | own)
            bins += reliability_rows(about, reliability_of(fields, occupied))
    for name, table in (("rows", rows), ("bins", bins)):
        write_rows(tmp_path / f"{name}.csv", table)
    return read_rows(tmp_path / "rows.csv"), read_rows(tmp_path / "bins.csv")


class TestTables:
    def test_calibration(self, tmp_path):
        _, bins = measured(tmp_path)
        table, curves = summarise_calibration("views", bins, CONFIG)
        assert [row["category"] for row in table] == ["car", "chair", ""]
        assert [row["shapes"] for row in table] == [5, 5, 10]
        assert [row["points"] for row in table] == [7500, 7500, 15000]
        for row in table:
            assert row["ece_low"] <= row["ece"] * 1.2
            assert row["ece_bias"] > 0, "chance counts as an error"
            assert 0 < row["brier_low"] <= row["brier"] <= row["brier_high"] < row["brier_base"]
        assert set(curves[0]) == set(CURVE)
        for category in ("car", "chair", ""):
            own = [row for row in curves if row["category"] == category]
            assert sum(row["fraction"] for row in own) == pytest.approx(1.0)
            assert all(row["bin"] / BINS <= row["probability"] <= (row["bin"] + 1) / BINS for row in own)
        with pytest.raises(DataError, match="reliability"):
            summarise_calibration("views", [{"model": "net"}], CONFIG)

    def test_a_class_of_one_shape_has_no_interval(self, tmp_path):
        _, bins = measured(tmp_path)
        table, _ = summarise_calibration("views", [row for row in bins if row["id"] == "0"], CONFIG)
        assert {row["ece_low"] for row in table} == {""}

    def test_expected_iou(self, tmp_path):
        rows, _ = measured(tmp_path)
        calibration = IouCalibration(0.5, {1: IouFit(1.0, 0.0, 0.5, 20, 20)}, "")
        table = summarise_expected("views", rows, {"net": calibration}, CONFIG)
        assert [(row["category"], row["shapes"], row["count"]) for row in table] == [
            ("car", 5, 15),
            ("chair", 5, 15),
            ("", 10, 30),
        ]
        row = table[-1]
        assert row["coverage"] == row["coverage_low"] == 1.0
        assert row["raw"] == pytest.approx(row["expected"])
        assert row["error"] == pytest.approx(
            np.mean([abs(float(r["expected_iou"]) - float(r["iou"])) for r in rows])
        )
        assert -1.0 <= row["rank_views"] <= 1.0
        # Every class and every shape of it has the same weight, however many images it has.
        fewer = [r for r in rows if r["category"] == "car" or r["id"] in "01"][:-2]
        row = summarise_expected("views", fewer, {"net": calibration}, CONFIG)[-1]
        of_shapes = {
            c: [np.mean([float(r["iou"]) for r in fewer if (r["category"], r["id"]) == (c, i)]) for i in ids]
            for c, ids in (("car", "01234"), ("chair", "01"))
        }
        assert row["iou"] == pytest.approx(np.mean([np.mean(own) for own in of_shapes.values()]))
        assert row["count"] == len(fewer)
        assert summarise_expected("views", rows, {}, CONFIG) == []
        assert (
            summarise_expected(
                "views", [{**r, "expected_iou": ""} for r in rows], {"net": calibration}, CONFIG
            )
            == []
        )
        with pytest.raises(DataError, match="expected IoU"):
            summarise_expected(
                "views", [{**r, "expected_iou": "x"} for r in rows], {"net": calibration}, CONFIG
            )
