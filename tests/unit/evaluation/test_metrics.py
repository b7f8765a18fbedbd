"""Metrics in closed form, against brute force, and at their bounds."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from occnet_lib.config import EvaluateConfig, PointsConfig
from occnet_lib.evaluation.metrics import (
    DRAWS,
    F_SCORE_PERCENT,
    METRICS,
    PAIR_METRICS,
    compare,
    has_area,
    iou,
    measure,
    surface_metrics,
    worst,
)
from occnet_lib.evaluation.nearest import along_curve, nearest
from occnet_lib.reconstruction.extract import surface
from occnet_lib.types import Mesh
from tests.support.geometry_solids import box_mesh

EMPTY = Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int32))


def sphere(radius: float, n: int = 48, centre=(0, 0, 0)) -> Mesh:
    axis = 1.1 * (np.arange(n + 1) / n - 0.5)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1) - centre
    return surface((radius - np.linalg.norm(points, axis=-1)).astype(np.float32), 0.0)


def directions(n: int, seed: int) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(n, 3))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def of_sphere(mesh: Mesh, radius: float, n: int = 20000) -> dict[str, float]:
    """Metrics of a mesh against an exact sphere about the origin."""
    rng = np.random.default_rng(5)
    points = rng.uniform(-0.55, 0.55, (2 * n, 3))
    normals = directions(n, 6)
    inside = np.linalg.norm(points, axis=1) < radius
    return measure(mesh, points, inside, radius * normals, normals, n, rng)[0]


def test_scaled_sphere_has_the_values_of_the_formulas():
    small, large = 0.3, 0.34
    values = of_sphere(sphere(small), large)
    gap = large - small
    # The nearest sample is never nearer than the other surface, and samples are about 0.01 apart.
    assert values["iou"] == pytest.approx((small / large) ** 3, abs=0.02)
    for name in ("accuracy", "completeness", "chamfer_l1"):
        assert values[name] == pytest.approx(gap, abs=0.0012)
    assert values["chamfer_l1_paper"] == pytest.approx(10 * values["chamfer_l1"])
    assert values["chamfer_l1"] == pytest.approx((values["accuracy"] + values["completeness"]) / 2)
    assert values["chamfer_l2"] == pytest.approx(gap**2, rel=0.05)
    assert values["normal_consistency"] == pytest.approx(1, abs=0.003)
    assert [values[f"f_score_{p:g}"] for p in F_SCORE_PERCENT] == pytest.approx([0, 0, 0, 1, 1, 1], abs=0.01)


def test_the_same_surface_is_as_far_as_its_samples():
    values = of_sphere(sphere(0.4, n=64), 0.4)
    assert values["iou"] > 0.985
    assert values["chamfer_l1"] < 0.006
    assert values["f_score_2"] == 1.0


def test_distance_of_a_shifted_sphere_is_symmetric_and_bounded_by_the_shift():
    values = of_sphere(sphere(0.3, centre=(0.05, 0, 0)), 0.3)
    assert values["accuracy"] == pytest.approx(values["completeness"], rel=0.05)
    # Mean of |0.05 cos θ| over the sphere is half of the shift, to first order.
    assert values["chamfer_l1"] == pytest.approx(0.025, abs=0.003)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_surface_metrics_are_those_of_all_pairs(n, m, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(-0.5, 0.5, (n, 3)), rng.uniform(-0.5, 0.5, (m, 3))
    na, nb = directions(n, seed + 1), directions(m, seed + 2)
    d = np.linalg.norm(a[:, None] - b[None], axis=2)
    ab, ba = d.min(axis=1), d.min(axis=0)
    values = surface_metrics(a, na, b, nb)
    consistency = (
        np.mean([abs(na[i] @ nb[d[i].argmin()]) for i in range(n)])
        + np.mean([abs(nb[j] @ na[d[:, j].argmin()]) for j in range(m)])
    ) / 2
    expected = {
        "accuracy": ab.mean(),
        "completeness": ba.mean(),
        "chamfer_l1": (ab.mean() + ba.mean()) / 2,
        "chamfer_l1_paper": 5 * (ab.mean() + ba.mean()),
        "chamfer_l2": ((ab**2).mean() + (ba**2).mean()) / 2,
        "normal_consistency": consistency,
    }
    for percent in F_SCORE_PERCENT:
        p, r = (ab < percent / 100).mean(), (ba < percent / 100).mean()
        expected[f"f_score_{percent:g}"] = 2 * p * r / (p + r) if p + r else 0
        expected |= {f"precision_{percent:g}": p, f"recall_{percent:g}": r}
    assert values == pytest.approx(expected)


def test_normal_consistency_does_not_mind_the_sign():
    points, normals = directions(500, 0), directions(500, 1)
    assert surface_metrics(points, normals, points, -normals)["normal_consistency"] == pytest.approx(1)


def test_half_precision_samples_are_taken_as_they_are():
    points, normals = 0.4 * directions(300, 0), directions(300, 0)
    half = points.astype(np.float16)
    values = surface_metrics(points, normals, half, normals.astype(np.float16))
    assert values["accuracy"] == pytest.approx(np.linalg.norm(points - half.astype(float), axis=1).mean())


def test_iou_by_hand():
    a, b = np.array([1, 1, 0, 0], bool), np.array([1, 0, 1, 0], bool)
    assert iou(a, b) == pytest.approx(1 / 3)
    assert iou(a, ~a) == 0.0
    assert iou(a, a) == 1.0
    assert iou(np.zeros(3, bool), np.zeros(3, bool)) == 1.0


def test_worst_is_worse_than_any_mesh_in_every_metric():
    values, bound = of_sphere(sphere(0.05, n=64, centre=(0.5, 0.5, 0.5)), 0.1), worst()
    assert tuple(values) == tuple(bound) == METRICS
    for name in METRICS:
        lower_is_better = name.startswith(("accuracy", "completeness", "chamfer"))
        assert values[name] <= bound[name] if lower_is_better else values[name] >= bound[name]
    assert bound["accuracy"] == bound["completeness"] == bound["chamfer_l1"] == math.sqrt(3)


def test_meshes_without_area():
    line = Mesh(np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]), np.array([[0, 1, 2]], np.int32))
    broken = Mesh(np.full((3, 3), np.nan), np.array([[0, 1, 2]], np.int32))
    assert not has_area(EMPTY)
    assert not has_area(line)
    assert not has_area(broken)
    assert has_area(sphere(0.3, n=12))
    assert of_sphere(line, 0.3, n=100) == of_sphere(None, 0.3, n=100) == worst()


@pytest.mark.parametrize(("size", "shift"), [(1.05, 0.0), (1.5, 0.0), (3.0, 0.2), (1.0, 0.4), (1.0, 2.0)])
def test_the_iou_of_compare_counts_what_is_beyond_the_cube(size, shift):
    box = box_mesh((0, 0, 0), (1, 0.6, 0.4))
    other = replace(box, vertices=size * box.vertices + (shift, 0, 0))
    (low, high), (other_low, other_high) = box.bounds, other.bounds
    overlap = float(np.prod(np.maximum(np.minimum(high, other_high) - np.maximum(low, other_low), 0.0)))
    want = overlap / (box.volume + other.volume - overlap)
    points = PointsConfig(uniform=40_000, surface=100)
    result = compare(other, box, points, EvaluateConfig(surface=100), np.random.default_rng(0), draws=1)
    assert result.values["iou"] == pytest.approx(want, abs=0.01)


def test_compare_draws_its_own_samples():
    config, points = EvaluateConfig(surface=5000), PointsConfig(uniform=20000, surface=5000)
    values, intervals, note, alignment, up = compare(
        sphere(0.36), sphere(0.4), points, config, np.random.default_rng(0)
    )
    assert alignment is None
    assert up is None
    assert values["iou"] == pytest.approx(0.9**3, abs=0.01)
    assert values["chamfer_l1"] == pytest.approx(0.04, abs=0.004)
    assert tuple(intervals) == PAIR_METRICS
    assert all(low <= values[name] <= high for name, (low, high) in intervals.items())
    assert note == ""
    nothing = compare(EMPTY, sphere(0.4), points, config, np.random.default_rng(0))
    assert (
        nothing.values == worst(PAIR_METRICS) == {name: low for name, (low, _) in nothing.intervals.items()}
    )
    assert "no area" in nothing.note


def test_intervals_hold_what_other_draws_give():
    """Of 95 % intervals by independent draws about 95 in 100 hold the mean over all; the closed form is known for IoU."""
    config, points = EvaluateConfig(surface=300), PointsConfig(uniform=1000, surface=300)
    small, large = sphere(0.36, 16), sphere(0.4, 16)
    runs = [compare(small, large, points, config, np.random.default_rng(seed)) for seed in range(40)]
    for name in METRICS:
        mean = np.mean([run.values[name] for run in runs])
        held = [run.intervals[name][0] <= mean <= run.intervals[name][1] for run in runs]
        assert np.mean(held) >= 0.85, name
    fraction, union = 0.9**3, 1000 * DRAWS * 4 / 3 * math.pi * 0.4**3 / 1.1**3
    widths = [run.intervals["iou"][1] - run.intervals["iou"][0] for run in runs]
    expected = 2 * 2.26 * math.sqrt(fraction * (1 - fraction) / union)  # of a proportion
    assert np.mean(widths) == pytest.approx(expected, rel=0.15)


def test_what_an_open_or_inward_mesh_is_measured_as():
    mesh = sphere(0.4, 24)
    inward = Mesh(mesh.vertices, mesh.faces[:, ::-1])
    lid = Mesh(mesh.vertices, mesh.faces[mesh.vertices[mesh.faces][:, :, 1].mean(axis=1) < 0.3])
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.55, 0.55, (4000, 3))
    true = points, np.linalg.norm(points, axis=1) < 0.4, 0.4 * directions(2000, 6), directions(2000, 6)
    values, note = measure(mesh, *true, 2000, np.random.default_rng(1))
    turned, turned_note = measure(inward, *true, 2000, np.random.default_rng(1))
    assert (note, turned["iou"]) == ("", values["iou"])
    assert "point inward" in turned_note
    _, open_note = measure(lid, *true, 2000, np.random.default_rng(1))
    assert "is not closed" in open_note
    assert "IoU is not meaningful" in open_note


@given(st.integers(1, 400), st.integers(1, 200), st.integers(0, 10**6), st.sampled_from([0.0, 0.3, 50.0]))
@settings(max_examples=25, deadline=None)
def test_nearest_neighbours_are_those_of_brute_force(n, m, seed, apart):
    rng = np.random.default_rng(seed)
    reference, query = rng.normal(size=(n, 3)), rng.normal(size=(m, 3)) + apart
    reference[: n // 3, 2] = 0.0  # a flat part
    reference[n // 2 :] = reference[: n - n // 2]  # points that are there twice
    query[0] = reference[-1]
    all_distances = np.linalg.norm(query[:, None] - reference[None], axis=2)
    for sort in (True, False):
        points = reference[along_curve(reference)] if sort else reference
        distance, index = nearest(points, query)
        assert np.allclose(distance, all_distances.min(axis=1), rtol=1e-12, atol=0)
        assert np.allclose(np.linalg.norm(points[index] - query, axis=1), distance, rtol=1e-12, atol=0)


def test_the_curve_keeps_neighbours_together():
    rng = np.random.default_rng(0)
    points = rng.random((4000, 3))
    order = along_curve(points)
    assert np.array_equal(np.sort(order), np.arange(4000))
    steps = np.linalg.norm(np.diff(points[order], axis=0), axis=1)
    assert np.median(steps) < 0.15 * np.median(np.linalg.norm(np.diff(points, axis=0), axis=1))
    assert len(along_curve(np.zeros((5, 3)))) == 5
