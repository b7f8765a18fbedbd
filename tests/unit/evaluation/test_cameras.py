"""Errors of predicted cameras: known ones of known perturbations, the table and its summary."""

from __future__ import annotations

import numpy as np
import pytest

from occnet_lib.config import Config
from occnet_lib.errors import DataError
from occnet_lib.evaluation.cameras import (
    COLUMNS,
    FIELDS,
    SUMMARY,
    CameraSource,
    camera_errors,
    evaluate_cameras,
    summarise_cameras,
)
from occnet_lib.geometry.cameras import camera_centres, image_projection, intrinsics, look_at_origin
from occnet_lib.storage.packs import Shard
from occnet_lib.storage.tables import read_rows
from tests.support.dotted_images import hull_shard

POINTS = np.random.default_rng(0).uniform(-0.5, 0.5, (400, 3))
ALONE = np.zeros(1)


def camera(
    azimuth: float, elevation: float = 20.0, distance: float = 2.0, focal: float = 150.0
) -> np.ndarray:
    (world,) = look_at_origin(camera_centres([azimuth], [elevation], [distance]))
    return image_projection(intrinsics(137, focal), world, np.zeros(3), 1.0, 137, 137)


def test_errors_are_those_of_the_perturbation():
    none = camera_errors(camera(40), camera(40), POINTS, ALONE)
    np.testing.assert_allclose(none, 0, atol=1e-9)
    turned = camera_errors(camera(350), camera(40), POINTS, ALONE)
    np.testing.assert_allclose(turned[:3], [50, 0, 0], atol=1e-9)
    chord = 2 * np.sin(np.radians(25)) * np.hypot(POINTS[:, 0], POINTS[:, 2]).mean()
    assert turned.d3d == pytest.approx(chord)
    assert turned.d2d > 0.1
    raised = camera_errors(camera(40, 28), camera(40), POINTS, ALONE)
    np.testing.assert_allclose(raised[:3], [0, 8, 0], atol=1e-9)
    # Farther with a longer lens, the image is nearly the same.
    far = camera_errors(camera(40, 20, 3.0, 225.0), camera(40), POINTS, ALONE)
    np.testing.assert_allclose(far[:3], [0, 0, 0.5], atol=1e-9)
    assert far.d3d == pytest.approx(1.0)
    assert far.d2d < 0.06


@pytest.mark.parametrize("side", [90.0, 180.0, 270.0])
def test_errors_are_modulo_the_symmetry(side):
    errors = camera_errors(camera(40 + side + 4), camera(40), POINTS, np.array([0.0, 90, 180, 270]))
    assert errors.azimuth == pytest.approx(4)
    assert errors.d3d < 0.06
    assert camera_errors(camera(40 + side + 4), camera(40), POINTS, ALONE).azimuth > 80


def test_the_table_and_its_summary(tmp_path):
    pack = hull_shard(tmp_path / "test-0.h5", 3)
    shard, config = Shard(pack), Config.model_validate({"evaluate": {"views": 2, "view_points": 300}})
    true = iter([shard.projection(i, 0, (40, 40)) for i in range(3)])
    turn = np.array(
        [[np.cos(0.2), 0, -np.sin(0.2), 0], [0, 1, 0, 0], [np.sin(0.2), 0, np.cos(0.2), 0], [0, 0, 0, 1]]
    )

    def cameras(images, count):
        own = next(true)
        assert count == 4
        return np.stack([own @ turn, own, own @ turn @ turn, own])[None], np.full((1, 4), 0.25)

    calls = []

    def logits(images, rotations, points, projections):
        calls.append(projections)
        return np.where(shard.points(len(calls[::5]) - 1, 0, 300)[1], 1.0, -1.0)[None]

    source = CameraSource(cameras, lambda images, given, parts: given + len(parts), logits)
    rows = evaluate_cameras(source, 0.0, pack, config, "net", tmp_path / "cameras.csv")
    assert tuple(rows[0]) == COLUMNS
    assert [row["azimuth_error"] for row in rows] == pytest.approx([np.degrees(0.2)] * 3, abs=1e-6)
    assert [row["azimuth_error_any"] for row in rows] == pytest.approx([0] * 3, abs=1e-6)
    assert all(row[name] == 1 for row in rows for name in FIELDS)
    given = shard.projection(0, 0, (40, 40))
    for projections, parts in zip(calls[1:5], (0, 3, 2, 1), strict=True):
        np.testing.assert_array_equal(projections, given[None] + parts)
    assert rows[0]["symmetry"] == 1
    summary = summarise_cameras(read_rows(tmp_path / "cameras.csv"))
    assert tuple(summary[0]) == SUMMARY
    assert [row["category"] for row in summary] == ["dots", "mean"]
    assert summary[0]["azimuth_within_15"] == 1
    assert summary[1]["views"] == 3
    bare = evaluate_cameras(
        CameraSource(lambda *_: (rows_of(shard), np.ones((1, 1))), lambda *_: None, None),
        0.0,
        pack,
        config,
        "net",
        tmp_path / "bare.csv",
    )
    assert "iou" not in bare[0]
    assert "iou" not in summarise_cameras(read_rows(tmp_path / "bare.csv"))[0]
    with pytest.raises(DataError, match="not a row of cameras"):
        summarise_cameras([{"model": "net", "category": "dots"}])


def rows_of(shard: Shard) -> np.ndarray:
    return shard.projection(0, 0, (40, 40))[None, None]
