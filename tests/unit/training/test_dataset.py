"""What is loaded: determinism, windows, ragged data, memory; the loss, the schedule and the scores."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from occnet_lib.config import ImagesConfig, ModelConfig, TrainConfig
from occnet_lib.errors import DataError
from occnet_lib.networks.images import encoder_input
from occnet_lib.training.batch import Batch
from occnet_lib.training.data_loaders import (
    training_loader,
)
from occnet_lib.training.dataset import (
    ShapeSet,
    TrainingItems,
    ValidationItems,
    balanced_choice,
)
from occnet_lib.training.module import OccupancyModule
from tests.support.train_config import train_config
from tests.support.training_batches import first_batches
from tests.support.training_shapes import make_shard

SMALL = ModelConfig(hidden=16, c_dim=8, blocks=1)


def test_mirrored_items_show_the_shape_mirrored_and_others_do_not_change(shard):
    train = train_config(points=64, near_points=16)
    shapes = ShapeSet([shard], train)
    plain, items = (
        TrainingItems(shapes, train, 3, ImagesConfig(mirror=m, shift=0, scale=0, roll=0)) for m in (0, 1)
    )
    sides = set()
    for epoch in range(8):
        a, b, mirrored = plain[epoch, 1], items[epoch, 1], items.draw(epoch, 1).mirrored
        sides.add(mirrored)
        factors = np.array([-1, 1, 1] if mirrored else [1, 1, 1])
        np.testing.assert_array_equal(b.points, a.points * factors)
        np.testing.assert_array_equal(b.near, a.near * factors)
        np.testing.assert_array_equal(b.occupancies, a.occupancies)
        np.testing.assert_array_equal(b.image, a.image[:, ::-1] if mirrored else a.image)
        # Points in the camera's frame are mirrored, too: a camera is right-handed in either.
        turned = a.points.astype(np.float64) @ a.rotation.T
        np.testing.assert_allclose(b.points.astype(np.float64) @ b.rotation.T, turned * factors, atol=1e-5)
        assert np.linalg.det(b.rotation) == pytest.approx(1, abs=1e-5)
        left, top, width, height = a.window[:4]
        np.testing.assert_allclose(
            b.window[:4], [1 - left - width if mirrored else left, top, width, height], atol=1e-6
        )
    assert sides == {False, True}


def test_gamma_changes_brightness_within_its_limits_and_keeps_white(shard):
    train = train_config(points=64, image_size=32, batch_size=4)
    items = TrainingItems(ShapeSet([shard], train), train, 3, ImagesConfig(framing="camera", gamma=2.0))
    gammas = [items.draw(epoch, shape).gamma for epoch in range(200) for shape in range(5)]
    assert 0.5 <= min(gammas) < 0.6 < 1.8 < max(gammas) <= 2.0
    assert np.log(gammas).mean() == pytest.approx(0, abs=0.1)
    batch = first_batches(training_loader(items, train, 3, "cpu"), 1)[0]
    module, seen = OccupancyModule(SMALL, train, items.shapes.names), []
    hook = module.network.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    module.training_step(batch, 0)
    hook.remove()
    plain = encoder_input(batch.images, 32)
    assert (plain == 1).any()
    assert (seen[0][plain == 1] == 1).all()
    torch.testing.assert_close(seen[0], plain ** batch.gammas[:, None, None, None])


def test_crops_are_random_squares_of_their_area(shard):
    train = train_config(points=64, crop=0.5)
    items = TrainingItems(ShapeSet([shard], train), train, 0)
    plain = TrainingItems(items.shapes, train_config(points=64), 0)
    windows = np.array([items[epoch, 0].window for epoch in range(300)])
    edge, corner = windows[:, 2], windows[:, :2]
    np.testing.assert_array_equal(edge, windows[:, 3])
    assert 0.5 <= edge.min() ** 2 < 0.52
    assert 0.98 < edge.max() ** 2 <= 1
    assert corner.min() >= 0
    assert (corner.max(1) + edge).max() <= 1 + 1e-6
    assert np.ptp(corner[edge < 0.8], axis=0).min() > 0.15
    a, b = items[7, 1], plain[7, 1]  # nothing else changes by it
    np.testing.assert_array_equal(a.points, b.points)
    np.testing.assert_array_equal(a.image, b.image)
    assert b.window is None


def test_items_are_views_and_windows_of_their_shape(shard):
    train = train_config(points=100)
    shapes = ShapeSet([shard], train)
    items = TrainingItems(shapes, train, 0)
    whole, inside = shapes.points(2, 0, 1024)
    views, starts = set(), set()
    for epoch in range(40):
        item = items[epoch, 2]
        actual = [v for v in range(3) if np.array_equal(item.image, shapes.image(2, v))]
        start = int(np.flatnonzero((whole == item.points[0]).all(1))[0])
        np.testing.assert_array_equal(item.points, whole[start : start + 100])
        np.testing.assert_array_equal(item.occupancies, inside[start : start + 100])
        views.update(actual)
        starts.add(start)
    assert views == {0, 1, 2}
    assert len(starts) > 10
    assert all(start % 8 == 0 for start in starts)


@settings(deadline=None, max_examples=50)
@given(occupied=st.lists(st.booleans(), min_size=1, max_size=40), count=st.integers(1, 40))
def test_a_balanced_choice_is_half_occupied_where_it_can_be(occupied, count):
    truth = np.array(occupied)
    count = min(count, len(truth))
    chosen = balanced_choice(truth, count)
    assert len(set(chosen)) == count
    # A naive reference: fill up with either kind, in their order, as the halves and what there is allow.
    yes, no = [i for i, o in enumerate(occupied) if o], [i for i, o in enumerate(occupied) if not o]
    taken = sorted(range(count + 1), key=lambda k: abs(k - count // 2))
    k = next(k for k in taken if k <= len(yes) and count - k <= len(no))
    assert set(chosen) == {*yes[:k], *no[: count - k]}


def test_points_near_the_surface_that_are_missing_are_a_message(tmp_path):
    train = train_config(points=8, near_points=8)
    shapes = ShapeSet([make_shard(tmp_path / "train-0.h5", 1)], train)
    with pytest.raises(DataError, match="no points near the surface of ellipsoid/train-0-0"):
        TrainingItems(shapes, train, 0)


def test_a_shape_without_occupied_points_can_be_balanced(tmp_path):
    nothing = torch.zeros(1, 4)
    rest = [nothing] * 5
    batch = Batch(nothing, nothing, nothing, torch.zeros(1, 4, dtype=torch.bool), torch.zeros(1), *rest)
    assert batch.weights().eq(1).all()
    assert balanced_choice(np.zeros(6, np.bool_), 4).tolist() == [0, 1, 2, 3]
    assert balanced_choice(np.ones(6, np.bool_), 4).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("cache", ["ram", "none"])
def test_shapes_with_fewer_points_repeat_theirs(tmp_path, cache):
    train = train_config(points=50, cache=cache, validation_points=50)
    shapes = ShapeSet([make_shard(tmp_path / "train-0.h5", 1, points=24)], train)
    item = TrainingItems(shapes, train, 0)[0, 0]
    np.testing.assert_array_equal(item.points[:48], np.tile(shapes.points(0, 0, 24)[0], (2, 1)))
    assert ValidationItems(shapes, train)[0].points.shape == (24, 3)


def test_data_stay_in_memory_on_request_and_where_they_are_few(shard, monkeypatch):
    assert not ShapeSet([shard], train_config(cache="none")).cached
    assert ShapeSet([shard], TrainConfig()).cached
    # 5 shapes of 1024 and 160 points and 3 images of 33 × 33
    monkeypatch.setattr("occnet_lib.training.shape_set.CACHE_BYTES", 5 * (7 * (1024 + 160) + 3 * 33 * 33 * 3))
    assert ShapeSet([shard], train_config(workers=1)).cached
    assert not ShapeSet([shard], train_config(workers=2)).cached
    assert ShapeSet([shard], train_config(workers=2, cache="ram")).cached
    shapes = ShapeSet([shard], TrainConfig())
    assert shapes.image(1, 2) is shapes.image(1, 2)
    assert np.shares_memory(shapes.points(1, 8, 20)[0], shapes.points(1, 0, 1024)[0])


def test_the_fingerprint_tells_other_data(shard, tmp_path):
    plain = ShapeSet([shard], TrainConfig()).fingerprint()
    assert plain == ShapeSet([shard], train_config(cache="none")).fingerprint()
    assert plain != ShapeSet([make_shard(tmp_path / "train-0.h5", 5, seed=1)], TrainConfig()).fingerprint()
    assert plain != ShapeSet([make_shard(tmp_path / "train-0.h5", 4)], TrainConfig()).fingerprint()
    pickle.loads(pickle.dumps(ShapeSet([shard], TrainConfig())))  # spawned workers get it so
