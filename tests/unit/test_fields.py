"""The benchmark of fields: thin parts, spectra and paired differences of known shapes."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from benchmarks import fields
from benchmarks.fields import Fields, Shape
from occnet_lib.config import check
from occnet_lib.types import Mesh


def box(size: tuple[float, float, float]) -> Mesh:
    made = trimesh.creation.box(size)
    return Mesh(np.array(made.vertices), np.array(made.faces, dtype=np.int32))


@pytest.mark.parametrize(("thickness", "thin"), [(0.04, 1.0), (0.2, 0.0)])
def test_plates_are_thin_and_blocks_are_not(thickness, thin):
    size = (0.6, 0.6, thickness)
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (4000, 3)) * size
    assert fields.thin_part(box(size), points[:1000], points, 0.03).mean() == pytest.approx(thin, abs=0.01)


def shape(category: str, occupied: np.ndarray) -> Shape:
    count = len(occupied)
    views = [(np.zeros((4, 4, 3), np.uint8), np.eye(3), np.eye(3, 4))]
    lines = np.zeros((fields.LINES, fields.SAMPLES, 3))
    return Shape(
        category, np.zeros((count, 3)), occupied, occupied & False, views, [], lines, lines[..., 0] > 0
    )


def test_differences_are_paired_and_metrics_that_are_not_there_are_left_out():
    half = np.arange(8) < 4
    shapes = [shape(category, half) for category in ("car", "car", "chair", "chair")]
    right = Fields([np.where(half, 1.0, -1.0)[None]] * 4, [], 0.0)
    quarter = Fields([np.where(np.arange(8) < 2, 1.0, -1.0)[None]] * 4, [], 0.0)
    row = fields.difference_row(shapes, "a", "b", [(right, quarter)] * 3)
    assert (row["iou_views"], row["iou_views_reference"]) == (1.0, 0.5)
    assert row["iou_views_gain"] == row["iou_views_low"] == row["iou_views_high"] == 0.5
    assert row["recall_gain"] == 0.0  # at the same volume both are right
    assert not [name for name in row if "photos" in name or "thin" in name]
    assert "iou_views 1.000 +0.500 [+0.500, +0.500]" in fields.line(row)


def test_two_networks_are_averaged_against_two_of_one_kind():
    config = check({"models": {"a": {"seeds": 2}, "b": {"seeds": 2, "frame": "camera"}}})
    half = np.arange(8) < 4
    shapes = [shape(category, half) for category in ("car", "car")]
    # Alone each b is wrong everywhere, but it outweighs the half that a does not see.
    parts = {"a": np.where(half, -0.1, -1.0), "b": np.where(half, 1.0, -1.0)}
    known = {name: Fields([parts[name[0]][None]] * 2, [], 0.0) for name in config.models}
    row = fields.together_row(shapes, "b", config, known, "a")
    assert (row["model"], row["reference"]) == ("a + b", "a + a")
    assert (row["iou_views"], row["iou_views_reference"]) == (1.0, 0.0)


def test_the_spectrum_of_a_wave_is_at_its_frequency():
    x = np.arange(fields.SAMPLES) / fields.SAMPLES
    energy = fields.spectrum(np.stack([np.sin(2 * np.pi * 16 * x), 3.0 + np.cos(2 * np.pi * 16 * x)]))
    assert energy.argmax() == 16
    assert energy[15:18].sum() > 0.99 * energy.sum()
