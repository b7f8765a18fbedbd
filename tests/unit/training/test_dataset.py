"""What is loaded: determinism, windows, ragged data, memory; the loss, the schedule and the scores."""

from __future__ import annotations

import math
import os
import pickle
import subprocess
import sys
from dataclasses import fields, replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from occnet_lib.config import ImagesConfig, ModelConfig, TrainConfig
from occnet_lib.errors import ConfigError, DataError, OccnetError
from occnet_lib.networks.images import encoder_input
from occnet_lib.networks.occupancy_network import OccupancyNetwork
from occnet_lib.storage.packs import Shard
from occnet_lib.training.adam import Adam
from occnet_lib.training.batch import Batch, collate
from occnet_lib.training.data_loaders import (
    BatchOrder,
    DeviceLoader,
    TrainingLoader,
    training_loader,
    validation_loader,
)
from occnet_lib.training.dataset import (
    UNFRAMED,
    ShapeSet,
    TrainingItems,
    ValidationItems,
    balanced_choice,
)
from occnet_lib.training.device_set import DeviceSet, balanced_choice_batch
from occnet_lib.training.module import OccupancyModule, iou, learning_rate_factor
from occnet_lib.training.validation import THRESHOLDS, validate
from tests.support.train_config import changed, train_config
from tests.support.training_shapes import make_shard

ROOT = Path(__file__).parents[3]
SMALL = ModelConfig(hidden=16, c_dim=8, blocks=1)


@pytest.fixture(scope="module")
def shard(tmp_path_factory) -> Path:
    return make_shard(tmp_path_factory.mktemp("pack") / "train-0.h5", 5, near=160)


def first_batches(loader, count: int) -> list:
    return [batch for _, batch in zip(range(count), loader, strict=False)]


def assert_same(a, b) -> None:
    for field in fields(Batch):
        torch.testing.assert_close(getattr(a, field.name), getattr(b, field.name), rtol=1e-6, atol=0)


@pytest.mark.parametrize(("workers", "cache"), [(0, "none"), (2, "none"), (2, "ram")])
def test_batches_do_not_depend_on_workers_and_memory(shard, workers, cache):
    reference = train_config(points=64, near_points=40, cache="ram")
    other = changed(reference, workers=workers, cache=cache)
    loaders = [
        TrainingLoader(
            TrainingItems(ShapeSet([shard], train), train, 3), 4, 3, train.hardware.loading_processes
        )
        for train in (reference, other)
    ]
    for a, b in zip(*(first_batches(loader, 4) for loader in loaders), strict=True):
        assert_same(a, b)


@pytest.mark.parametrize("options", [{}, {"balance": 4, "crop": 0.6}, {"points": 2000}, {"near_points": 48}])
@pytest.mark.parametrize("images", [ImagesConfig(framing="camera"), ImagesConfig(gamma=2.0, mirror=True)])
def test_batches_from_a_set_on_the_device_are_those_of_the_loader(shard, options, images):
    train = changed(train_config(points=64, batch_size=4), **options)
    items = TrainingItems(ShapeSet([shard], train), train, 3, images)
    plain = training_loader(items, changed(train, cache="none"), 3, "cpu")
    device = training_loader(items, changed(train, cache="gpu"), 3, "cpu")
    assert (type(plain), type(device)) == (TrainingLoader, DeviceLoader)
    assert type(training_loader(items, train, 3, "cpu")) is TrainingLoader
    device.load_state_dict({"batches": 2})
    for a, b in zip(first_batches(plain, 5)[2:], first_batches(device, 3), strict=True):
        assert_same(a, b)
    assert device.state_dict() == {"batches": 5}


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


def test_a_set_that_does_not_fit_the_device(tmp_path, monkeypatch):
    train = train_config(points=16, batch_size=2, cache="gpu")
    shards = [make_shard(tmp_path / f"train-{i}.h5", 1, points=8 * (8 + i)) for i in range(2)]
    items = TrainingItems(ShapeSet(shards, train), train, 0)
    with pytest.raises(ConfigError, match="shapes differ"):
        training_loader(items, train, 0, "cpu")
    one = ShapeSet(shards[:1], train)
    sizes = [make_shard(tmp_path / f"train-{i}.h5", 1, pixels=33 + i) for i in range(2, 4)]
    with pytest.raises(ConfigError, match="size of these"):
        training_loader(TrainingItems(ShapeSet(sizes, train), train, 0), train, 0, "cpu")
    for free, fits in ((2 * one.nbytes() - 1, False), (3 * one.nbytes(), True)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda free=free: (free, 10 * free))
        assert DeviceSet.fits(one, "cuda") == fits


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 99), points=st.integers(1, 30), count=st.integers(1, 30), share=st.floats(0, 1))
def test_balanced_choices_of_many_are_those_of_each(seed, points, count, share):
    occupancies = np.random.default_rng(seed).random((4, points)) < share
    count = min(count, points)
    found = balanced_choice_batch(torch.from_numpy(occupancies), count).numpy()
    np.testing.assert_array_equal(found, [balanced_choice(row, count) for row in occupancies])


def test_crops_are_random_squares_of_their_share(shard):
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


def test_a_loader_goes_on_where_another_stopped(shard):
    train = train_config(points=64)
    items = TrainingItems(ShapeSet([shard], train), train, 0)
    whole = first_batches(TrainingLoader(items, 3, 0), 7)
    stopped = TrainingLoader(items, 3, 0)
    first_batches(stopped, 4)
    after = TrainingLoader(items, 3, 0)
    after.load_state_dict({"batches": 4})
    for a, b in zip(whole[4:], first_batches(after, 3), strict=True):
        assert_same(a, b)
    assert after.state_dict() == {"batches": 7}


def test_loading_leaves_the_global_generator_alone(shard):
    train = train_config(points=64)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first_batches(TrainingLoader(TrainingItems(ShapeSet([shard], train), train, 0), 3, 0), 2)
    first_batches(validation_loader(ValidationItems(ShapeSet([shard], train), train)), 1)
    assert torch.equal(before, torch.get_rng_state())


@settings(deadline=None, max_examples=30)
@given(shapes=st.integers(1, 9), batch=st.integers(2, 7), seed=st.integers(0, 5))
def test_every_epoch_sees_every_shape_once(shapes, batch, seed):
    order = BatchOrder(shapes, batch, seed)
    stream = [pair for step in range(2 * shapes) for pair in order.batch(step)]
    for epoch in range(2 * batch):
        part = stream[epoch * shapes : (epoch + 1) * shapes]
        assert {e for e, _ in part} == {epoch}
        assert sorted(s for _, s in part) == list(range(shapes))
    assert order.batch(1) == stream[batch : 2 * batch]  # in any order of asking


@settings(deadline=None, max_examples=20)
@given(shapes=st.integers(1, 9), batch=st.integers(2, 5), processes=st.integers(2, 4))
def test_processes_see_together_what_one_sees_at_a_larger_batch(shapes, batch, processes):
    one = BatchOrder(shapes, batch * processes, 1)
    parts = [BatchOrder(shapes, batch, 1) for _ in range(processes)]
    for rank, part in enumerate(parts):
        part.rank, part.processes = rank, processes
    for step in range(5):
        assert one.batch(step) == [pair for part in parts for pair in part.batch(step)]


def test_items_are_views_and_windows_of_their_shape(shard):
    train = train_config(points=100)
    shapes = ShapeSet([shard], train)
    items = TrainingItems(shapes, train, 0)
    whole, inside = shapes.points(2, 0, 1024)
    views, starts = set(), set()
    for epoch in range(40):
        item = items[epoch, 2]
        found = [v for v in range(3) if np.array_equal(item.image, shapes.image(2, v))]
        start = int(np.flatnonzero((whole == item.points[0]).all(1))[0])
        np.testing.assert_array_equal(item.points, whole[start : start + 100])
        np.testing.assert_array_equal(item.occupancies, inside[start : start + 100])
        views.update(found)
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
    # A naive twin: fill up with either kind, in their order, as the halves and what there is allow.
    yes, no = [i for i, o in enumerate(occupied) if o], [i for i, o in enumerate(occupied) if not o]
    taken = sorted(range(count + 1), key=lambda k: abs(k - count // 2))
    k = next(k for k in taken if k <= len(yes) and count - k <= len(no))
    assert set(chosen) == {*yes[:k], *no[: count - k]}


@pytest.mark.parametrize("cache", ["ram", "none"])
def test_balanced_points_have_the_loss_of_uniform_ones(tmp_path, cache):
    """The weighted mean over many items is that over all points, of any function of a point and its label."""
    plain = train_config(points=32, cache=cache)
    shapes = ShapeSet([make_shard(tmp_path / "train-0.h5", 1, points=8000)], plain)
    points, truth = shapes.points(0, 0, 8000)

    def value(points, truth):
        return np.where(truth, 3.0, points.astype(np.float64)[..., 0] ** 2)

    items = TrainingItems(shapes, changed(plain, balance=8), 0)
    batch = collate([items[epoch, 0] for epoch in range(1500)])
    weights = batch.weights().double().numpy()
    assert batch.points.shape == (1500, 32, 3)
    assert batch.occupancies.float().mean() > 0.48  # uniform points: 0.08
    np.testing.assert_allclose(weights.mean(1), 1, atol=1e-6)
    means = (weights * value(batch.points.numpy(), batch.occupancies.numpy())).mean(1)
    error = means.std() / len(means) ** 0.5
    assert means.mean() == pytest.approx(value(points, truth).mean(), abs=4 * error)
    # The sample says more: the same measured with uniform points scatters more.
    uniform = collate([TrainingItems(shapes, plain, 0)[epoch, 0] for epoch in range(1500)])
    assert uniform.weights().eq(1).all()
    scatter = value(uniform.points.numpy(), uniform.occupancies.numpy()).mean(1).std()
    assert means.std() < 0.7 * scatter


def test_a_balanced_step_has_the_weighted_loss_and_measures(shard):
    train = train_config(points=64, image_size=32, balance=4)
    shapes = ShapeSet([shard], train)
    module = OccupancyModule(SMALL, train, shapes.names)
    batch = collate([TrainingItems(shapes, train, 0)[0, i] for i in range(4)])
    loss = module.training_step(batch, 0)
    with torch.no_grad():
        logits = module.network.train()(*inputs(batch, 32)).double().numpy()
    truth, weights = batch.occupancies.numpy(), batch.weights().double().numpy()
    losses = np.log1p(np.exp(np.where(truth, -logits, logits)))
    assert loss.item() == pytest.approx((weights * losses).mean(), rel=1e-5)
    found = logits > 0
    both, either = ((m * weights).sum(1) for m in (found & truth, found | truth))
    expected = (weights * losses).mean(), (weights * (found == truth)).mean(), (both / either).mean()
    assert module.means() == pytest.approx(expected, rel=1e-5)


def test_points_near_the_surface_add_their_mean_loss(shard):
    train = train_config(points=64, near_points=40, near_weight=0.3, image_size=32)
    shapes = ShapeSet([shard], train)
    module = OccupancyModule(SMALL, train, shapes.names)
    batch = collate([TrainingItems(shapes, train, 0)[0, i] for i in range(4)])
    stored, occupied = Shard(shard).near(2)
    begin = next(8 * k for k in range(16) if np.array_equal(stored[8 * k : 8 * k + 40], batch.near[2]))
    np.testing.assert_array_equal(batch.near_occupancies[2], occupied[begin : begin + 40])
    loss = module.training_step(batch, 0)
    images, points = inputs(batch, 32)
    with torch.no_grad():
        logits = module.network.train()(images, torch.cat([points, batch.near.float()], 1)).double().numpy()
    truth = np.concatenate([batch.occupancies, batch.near_occupancies], axis=1)
    losses = np.log1p(np.exp(np.where(truth, -logits, logits)))
    assert loss.item() == pytest.approx(losses[:, :64].mean() + 0.3 * losses[:, 64:].mean(), rel=1e-5)
    found, truth = (logits > 0)[:, :64], truth[:, :64]
    measured = (found == truth).mean(), ((found & truth).sum(1) / (found | truth).sum(1)).mean()
    assert module.means()[1:] == pytest.approx(measured, rel=1e-5)


def test_points_near_the_surface_that_are_missing_are_a_message(tmp_path):
    train = train_config(points=8, near_points=8)
    shapes = ShapeSet([make_shard(tmp_path / "train-0.h5", 1)], train)
    with pytest.raises(DataError, match="no points near the surface of ellipsoid/train-0-0"):
        TrainingItems(shapes, train, 0)


def test_a_model_of_the_cameras_frame_sees_turned_points(shard):
    """In training and validation: as if the points themselves had been turned by their image's camera."""
    train = train_config(points=64, image_size=32, validation_points=64)
    shapes = ShapeSet([shard], train)
    item = TrainingItems(shapes, train, 0)[1, 3]
    (view,) = [v for v in range(3) if np.array_equal(item.image, shapes.image(3, v))]
    np.testing.assert_allclose(item.rotation, Shard(shard).camera(3, view)[1][:, :3], atol=1e-7)
    torch.manual_seed(0)
    unit = OccupancyModule(SMALL, train, shapes.names)
    torch.manual_seed(0)
    camera = OccupancyModule(SMALL.model_copy(update={"frame": "camera"}), train, shapes.names)
    batch = collate([TrainingItems(shapes, train, 0)[0, i] for i in range(4)])
    assert not torch.equal(batch.rotations, torch.eye(3).expand(4, 3, 3))
    turned = torch.einsum("bij,btj->bti", batch.rotations, batch.points.float())
    loss = camera.training_step(batch, 0)
    assert loss.item() == pytest.approx(unit.training_step(replace(batch, points=turned), 0).item(), rel=1e-5)
    scores = validate(camera.network, [batch], 32)
    assert scores.loss == pytest.approx(
        validate(unit.network, [replace(batch, points=turned)], 32).loss, rel=1e-5
    )
    assert scores.loss != pytest.approx(validate(unit.network, [batch], 32).loss, rel=1e-5)


def test_a_shape_without_occupied_points_can_be_asked_for_balanced(tmp_path):
    nothing = torch.zeros(1, 4)
    rest = [nothing] * 5
    batch = Batch(nothing, nothing, nothing, torch.zeros(1, 4, dtype=torch.bool), torch.zeros(1), *rest)
    assert batch.weights().eq(1).all()
    assert balanced_choice(np.zeros(6, np.bool_), 4).tolist() == [0, 1, 2, 3]
    assert balanced_choice(np.ones(6, np.bool_), 4).tolist() == [0, 1, 2, 3]


def test_the_average_of_weights_against_a_loop(shard):
    train = train_config(points=64, image_size=32, ema=0.6)
    module = OccupancyModule(SMALL, train, ["a"] * 5)
    expected = {name: value.clone().double() for name, value in module.network.state_dict().items()}
    for step in range(1, 9):
        with torch.no_grad():
            for value in module.network.state_dict().values():
                value.add_(step)
        module.update_average(step)
        decay = min(0.6, (1 + step) / (10 + step))
        for name, value in module.network.state_dict().items():
            expected[name] = decay * expected[name] + (1 - decay) * value.double()
    assert module.result is module.average
    for name, value in module.result.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-6)
        else:
            assert torch.equal(value, module.network.state_dict()[name])
    ours = {
        id(p) for group in module.configure_optimizers()["optimizer"].param_groups for p in group["params"]
    }
    assert ours == {id(p) for p in module.network.parameters()}
    assert OccupancyModule(SMALL, TrainConfig(), []).result is not None


@pytest.mark.parametrize("cache", ["ram", "none"])
def test_shapes_with_fewer_points_repeat_theirs(tmp_path, cache):
    train = train_config(points=50, cache=cache, validation_points=50)
    shapes = ShapeSet([make_shard(tmp_path / "train-0.h5", 1, points=24)], train)
    item = TrainingItems(shapes, train, 0)[0, 0]
    np.testing.assert_array_equal(item.points[:48], np.tile(shapes.points(0, 0, 24)[0], (2, 1)))
    assert ValidationItems(shapes, train)[0].points.shape == (24, 3)


def test_batches_of_shards_that_differ(tmp_path):
    train = train_config(points=40, validation_points=2000)
    shards = [
        make_shard(tmp_path / "val-0.h5", 1, points=48, views=2, pixels=20),
        make_shard(tmp_path / "val-1.h5", 0),
        make_shard(tmp_path / "val-2.h5", 2, points=80, views=4, pixels=30),
    ]
    shapes = ShapeSet(shards, train)
    assert len(shapes) == 3
    assert shapes.names == ["ellipsoid/val-0-0", "ellipsoid/val-2-0", "ellipsoid/val-2-1"]
    batch = collate([TrainingItems(shapes, train, 0)[0, i] for i in range(3)])
    assert batch.images.shape == (3, 30, 30, 3)
    assert batch.points.shape == (3, 40, 3)
    (batch,) = validation_loader(ValidationItems(shapes, train))
    assert batch.points.shape == (3, 48, 3)
    np.testing.assert_array_equal(batch.images[1], shapes.image(1, 0))


def test_data_stay_in_memory_where_asked_and_where_they_are_few(shard, monkeypatch):
    assert not ShapeSet([shard], train_config(cache="none")).cached
    assert ShapeSet([shard], TrainConfig()).cached
    # 5 shapes of 1024 and 160 points and 3 images of 33 × 33
    monkeypatch.setattr("occnet_lib.training.dataset.CACHE_BYTES", 5 * (7 * (1024 + 160) + 3 * 33 * 33 * 3))
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


@pytest.mark.parametrize("options", [{}, {"balance": 4, "crop": 0.6, "ema": 0.9, "gradient_clip": 1.0}])
@pytest.mark.parametrize("variant", [{}, {"decoder": "fc", "frame": "camera", "image": "silhouette"}])
def test_a_step_asks_no_tensor_for_its_value(shard, options, variant, monkeypatch):
    """On the meta device tensors have none: what would wait for a GPU raises here."""
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda _: False)  # it does not know the device
    train = changed(train_config(points=64, image_size=32, batch_size=4, near_points=40), **options)
    shapes = ShapeSet([shard], train)
    module = OccupancyModule(SMALL.model_copy(update=variant), train, shapes.names).to("meta")
    images = ImagesConfig() if options else UNFRAMED
    loader = DeviceLoader(TrainingItems(shapes, train, 0, images), 4, 0, "meta")
    for step, batch in enumerate(first_batches(loader, 3), 1):
        loss = module.training_step(batch, step)
        loss.backward()
        module.on_before_optimizer_step(torch.optim.SGD(module.network.parameters()))
        module.update_average(step)
        with pytest.raises(RuntimeError, match="meta"):
            loss.item()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("options", [{}, {"balance": 4, "crop": 0.6, "ema": 0.9, "gradient_clip": 1.0}])
def test_a_step_on_a_gpu_never_waits_for_it(shard, options):
    train = changed(train_config(points=64, image_size=32, batch_size=4, cache="gpu"), **options)
    shapes = ShapeSet([shard], train)
    module = OccupancyModule(SMALL, train, shapes.names).cuda()
    optimizer = module.configure_optimizers()["optimizer"]
    images = ImagesConfig() if options else UNFRAMED
    batches = iter(training_loader(TrainingItems(shapes, train, 0, images), train, 0, "cuda"))
    for step in range(1, 4):
        torch.cuda.set_sync_debug_mode("error" if step > 1 else "default")  # the first makes the set
        try:
            module.training_step(next(batches), step).backward()
            module.on_before_optimizer_step(optimizer)
            optimizer.step()
            optimizer.zero_grad()
            module.update_average(step)
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_loss_and_measures_of_a_step(shard):
    train = train_config(points=64, image_size=32)
    shapes = ShapeSet([shard], train)
    module = OccupancyModule(SMALL, train, shapes.names)
    batch = collate([TrainingItems(shapes, train, 0)[0, i] for i in range(4)])
    loss = module.training_step(batch, 0)
    with torch.no_grad():
        logits = torch.stack([module.network.train()(*inputs(batch, 32))]).squeeze(0).double().numpy()
    truth = batch.occupancies.numpy()
    probability = 1 / (1 + np.exp(-logits))
    expected = -np.where(truth, np.log(probability), np.log(1 - probability)).mean()
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    found = logits > 0
    overlaps = [(f & t).sum() / max(1, (f | t).sum()) for f, t in zip(found, truth, strict=True)]
    assert module.means() == pytest.approx((expected, (found == truth).mean(), np.mean(overlaps)), rel=1e-5)


def inputs(batch, size: int):
    from occnet_lib.networks.images import encoder_input

    return encoder_input(batch.images, size), batch.points.float()


def test_iou_of_nothing_and_nothing_is_one():
    a = torch.tensor([[True, True, False], [False, False, False], [False, False, False]])
    b = torch.tensor([[True, False, True], [False, False, False], [True, False, False]])
    assert iou(a, b).tolist() == pytest.approx([1 / 3, 1.0, 0.0])


def test_a_loss_that_is_not_finite_names_the_shapes(shard):
    train = train_config(points=64, image_size=32)
    shapes = ShapeSet([shard], train)
    module = OccupancyModule(SMALL, train, shapes.names)
    batch = collate([TrainingItems(shapes, train, 0)[0, i] for i in (3, 1)])
    with torch.no_grad():
        module.network.decoder.fc_out.bias.fill_(float("nan"))
    with pytest.raises(OccnetError, match=r"nan in a batch of ellipsoid/train-0-3, ellipsoid/train-0-1 \("):
        module.training_step(batch, 0)


def test_learning_rate_schedules():
    constant = train_config(steps=100, warmup=4)
    assert [learning_rate_factor(constant, s) for s in (0, 1, 3, 4, 99)] == [0.25, 0.5, 1.0, 1.0, 1.0]
    cosine = train_config(steps=110, warmup=10, schedule="cosine")
    expected = [0.1, 1.0, 1.0, 0.5, 0.5 + 0.5 * math.cos(math.pi * 0.99)]
    assert [learning_rate_factor(cosine, s) for s in (0, 9, 10, 60, 109)] == pytest.approx(expected)


def test_the_mean_loss_updates_as_the_sum_does():
    """ε over the number of points makes Adam on the mean what it is on ONet's sum."""
    gradient = torch.tensor([1e-6, -3e-9, 2e-3])
    points = 2048
    weights = [torch.nn.Parameter(torch.zeros(3)) for _ in range(2)]
    for weight, scale, eps in ((weights[0], points, 1e-8), (weights[1], 1, 1e-8 / points)):
        optimizer = torch.optim.Adam([weight], lr=1e-4, eps=eps)
        for _ in range(3):
            weight.grad = gradient * scale
            optimizer.step()
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-5, atol=0)
    module = OccupancyModule(SMALL, train_config(points=points), [])
    assert module.configure_optimizers()["optimizer"].defaults["eps"] == 1e-8 / points


def test_adam_of_weights_in_channels_last_order():
    """The same as PyTorch's plain loop, without a copy of a gradient."""
    torch.manual_seed(0)
    shapes = ((8, 4, 3, 3), (6, 8, 1, 1), (5, 7), (5,))
    starts = [torch.randn(shape) for shape in shapes]
    starts[0] = starts[0].contiguous(memory_format=torch.channels_last)
    weights, plain = ([torch.nn.Parameter(start.clone()) for start in starts] for _ in range(2))
    optimizer, reference = Adam(weights, lr=0.1, fused=True), torch.optim.Adam(plain, lr=0.1, foreach=False)
    for _ in range(3):
        for ours, other in zip(weights, plain, strict=True):
            ours.grad = torch.randn_like(ours)
            other.grad = ours.grad.clone()
        with torch.profiler.profile() as profile:
            optimizer.step()
        assert "aten::_fused_adam_" in {event.key for event in profile.key_averages()}
        assert "aten::clone" not in {event.key for event in profile.key_averages()}
        reference.step()
    for ours, other in zip(weights, plain, strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-5, atol=1e-6)
    assert optimizer.state[weights[0]]["exp_avg"].stride() == weights[0].stride()
    module = OccupancyModule(SMALL, TrainConfig(), [])
    assert isinstance(module.configure_optimizers()["optimizer"], Adam)


class Ball(OccupancyNetwork):
    """Logits that fall with the distance from the origin, whatever the image."""

    def decode(self, points, code, rotations=None):
        return 4 - 10 * points.norm(dim=-1)


def test_validation_scores_against_a_naive_twin(tmp_path):
    train = train_config(validation_points=500)
    shapes = ShapeSet([make_shard(tmp_path / "val-0.h5", 20)], train)
    network = Ball(SMALL).train()
    scores = validate(network, validation_loader(ValidationItems(shapes, train)), 32)
    assert network.training
    losses, accuracies, table = [], [], []
    for i in range(20):
        points, truth = shapes.points(i, 0, 500)
        probability = 1 / (1 + np.exp(10 * np.linalg.norm(points.astype(np.float64), axis=1) - 4))
        losses.append(-np.where(truth, np.log(probability), np.log1p(-probability)).mean())
        accuracies.append(((probability > 0.5) == truth).mean())
        masks = [probability >= t for t in THRESHOLDS]
        table.append([(m & truth).sum() / (m | truth).sum() for m in masks])
    means = np.mean(table, axis=0)
    assert scores.loss == pytest.approx(np.mean(losses), rel=1e-5)
    assert scores.accuracy == pytest.approx(np.mean(accuracies), abs=1e-6)
    assert scores.iou == pytest.approx(means.max(), abs=2e-4)  # a point on a threshold may fall either way
    assert scores.threshold == THRESHOLDS[int(means.argmax())]


def with_requirements(names: tuple[str, ...]) -> set[str]:
    """Installed distributions and, transitively, those that they need."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            needed = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # for another platform
            continue
        found.add(name)
        requirements = [Requirement(text) for text in needed]
        waiting += [
            canonicalize_name(r.name)
            for r in requirements
            if not r.marker or r.marker.evaluate({"extra": ""})
        ]
    return found


def linked(folder: Path, names: set[str]) -> Path:
    """A folder to import from in which there are these distributions alone."""
    folder.mkdir()
    for name in names:
        distribution = metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
            place = folder / top
            if not place.exists():  # several share a folder
                place.symlink_to(Path(str(distribution.locate_file(top))).resolve())
    return folder


def test_training_needs_seven_libraries_alone(tmp_path):
    libraries = "torch", "torchvision", "lightning", "h5py", "numpy", "pydantic", "tensorboard"
    folder = linked(tmp_path / "libraries", with_requirements(libraries))
    assert not any((folder / name).exists() for name in ("open3d", "trimesh", "scipy", "rich", "snakemake"))
    make_shard(tmp_path / "train-0.h5", 4)
    make_shard(tmp_path / "val-0.h5", 1)
    code = (
        "import sys\n"
        "sys.stderr.isatty = lambda: True\n"  # there a bar would be shown
        "from pathlib import Path\n"
        "from occnet_lib.config import Config\n"
        "from occnet_lib.training.train import train\n"
        "sizes = {'steps': 2, 'batch_size': 2, 'points': 16, 'image_size': 32, 'accelerator': 'cpu'}\n"
        "config = Config.model_validate({'train': sizes, 'models': {'m': {'hidden': 8, 'c_dim': 8}}})\n"
        "here = Path(sys.argv[1])\n"
        "train(config, 'm', [here / 'train-0.h5'], [here / 'val-0.h5'], here / 'run')\n"
    )
    command = [sys.executable, "-S", "-c", code, tmp_path]
    surroundings = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    done = subprocess.run(command, capture_output=True, text=True, env=surroundings, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "best.ckpt").exists()
