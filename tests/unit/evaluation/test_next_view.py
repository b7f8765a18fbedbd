"""Next-best-view: what each policy takes, the uncertainty along rays, the table, and degenerate input."""

from __future__ import annotations

import numpy as np
import pytest

from occnet_lib.config import Config
from occnet_lib.errors import DataError
from occnet_lib.evaluation.next_view import (
    POLICIES,
    ViewFields,
    evaluate_next_view,
    expected_gains,
    grid_points,
    iou_over_views,
    next_view,
    summarise_next_view,
)
from occnet_lib.storage.packs import Shard
from tests.support.dotted_images import hull_shard

LEFT, RIGHT, UP = np.array([-1.0, 0, 0]), np.array([1.0, 0, 0]), np.array([0, 1.0, 0])


def test_too_few_views_are_a_warning(tmp_path, caplog):
    pack = hull_shard(tmp_path / "test-0.h5", 2)
    assert Shard(pack).views == 1
    config = Config.model_validate({"evaluate": {"next_view": 3, "view_points": 50}})

    def logits(images, rotations, points, projections):
        return np.ones((len(images), len(points)), np.float32)

    rows = evaluate_next_view(logits, 0.0, pack, config, "net", tmp_path / "next.csv")
    assert {row["views"] for row in rows} == {1}
    assert "has 1 views per shape, fewer than evaluate.next_view: 3" in caplog.text


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_rays_see_what_nothing_hides():
    """A wall hides an uncertain region from one side: the view from the other side gains more."""
    x = grid_points(12)[:, 0]
    field = np.full(len(x), -40.0)
    field[x > 0.2] = 0.0
    left, right = expected_gains(field, np.stack([LEFT, RIGHT]))
    assert left == pytest.approx(right)  # nothing in between
    field[(x < 0.0) & (x > -0.2)] = 40.0
    left, right = expected_gains(field, np.stack([LEFT, RIGHT]))
    assert left == pytest.approx(0.0, abs=1e-9)
    assert right > 0.1


def test_uncertainty_along_a_ray_is_that_of_its_definition():
    """In a cube of one probability the gain is the mean over rays of Σ (1 - p)^i u, by their number of cells."""
    p = 0.3
    (gain,) = expected_gains(np.full(20**3, np.log(p / (1 - p))), RIGHT[None])
    u = 1 - (1 - 2 * p) ** 2
    inside = sum((1 - p) ** i * u for i in range(20))  # a ray through the cube crosses 20 cells
    fraction = 1 / 3  # of the square around the cube's sphere
    assert gain == pytest.approx(fraction * inside, rel=0.1)
    certain = expected_gains(np.full(20**3, -60.0), np.stack([LEFT, UP]))
    assert certain == pytest.approx(0.0, abs=1e-12)


def four_views() -> ViewFields:
    """Fields that are right in more and more of the points: 0 and 1 alike, 3 the best."""
    points = grid_points(8)
    occupied = np.linalg.norm(points, axis=1) < 0.4
    truth = np.where(occupied, 3.0, -3.0)
    wrong = [np.where(points[:, 0] > cut, -truth, truth) for cut in (-0.1, -0.1, 0.1, 0.6)]
    logits = np.stack(wrong)
    directions = np.stack([RIGHT, UP, LEFT, np.array([0.0, 0.6, 0.8])])
    return ViewFields(logits, logits, occupied, directions, 0.0)


def test_policies_choose_by_their_rule():
    views = four_views()
    chosen = {policy: next_view(policy, [0], views, rng()) for policy in POLICIES}
    assert chosen["opposite"] == 2
    assert chosen["agreement"] == 1
    assert chosen["disagreement"] == 3
    assert chosen["best"] == 3
    assert chosen["random"] in (1, 2, 3)
    assert next_view("opposite", [0, 2, 1], views, rng()) == 3


def test_curves_over_the_number_of_views():
    curves = iou_over_views(four_views(), 4, rng())
    assert set(curves) == set(POLICIES)
    for curve in curves.values():
        assert curve.shape == (4,)
        assert curve[0] == curves["random"][0]
        assert curve[3] == pytest.approx(curves["random"][3])  # all views, whatever the order
    assert curves["best"][1] >= max(curve[1] for curve in curves.values()) - 1e-12


def test_one_view_and_empty_fields():
    views = four_views()
    one = ViewFields(views.logits[:1], views.grid[:1], views.occupied, views.directions[:1], 0.0)
    assert {len(curve) for curve in iou_over_views(one, 1, rng()).values()} == {1}
    empty = np.full_like(views.logits, -20.0)
    nothing = ViewFields(empty, empty, np.zeros_like(views.occupied), views.directions, 0.0)
    assert {curve.tolist()[-1] for curve in iou_over_views(nothing, 3, rng()).values()} == {1.0}


def test_the_summary_is_paired():
    config = Config.model_validate({"evaluate": {"bootstrap": 200}})
    rows = []
    for i, level in enumerate(np.linspace(0.2, 0.8, 6)):
        about = {"model": "net", "category": "ab"[i % 2], "id": str(i), "views": "2"}
        rows += [
            about | {"policy": policy, "iou": level + gain}
            for policy, gain in (("random", 0), ("opposite", 0.02))
        ]
    random, opposite = summarise_next_view(rows, config)
    assert random["gain"] == random["gain_low"] == 0.0
    assert opposite["gain_low"] == pytest.approx(0.02)
    assert opposite["iou_low"] < opposite["iou"] - 0.05
    (alone, _) = summarise_next_view(rows[:2], config)
    assert alone["iou_low"] == ""
    with pytest.raises(DataError, match="next views"):
        summarise_next_view([{"model": "net"}], config)
