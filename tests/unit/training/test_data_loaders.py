"""Loaders: order, workers, processes, resuming, where the data are."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from occnet_lib.config import ImagesConfig
from occnet_lib.errors import ConfigError
from occnet_lib.training.batch import Batch, collate
from occnet_lib.training.data_loaders import (
    BatchOrder,
    DeviceLoader,
    TrainingLoader,
    training_loader,
    validation_loader,
)
from occnet_lib.training.dataset import (
    ShapeSet,
    TrainingItems,
    ValidationItems,
)
from occnet_lib.training.device_set import DeviceSet
from tests.support.train_config import changed, train_config
from tests.support.training_batches import first_batches
from tests.support.training_shapes import make_shard


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


def test_a_set_that_does_not_fit_the_device(tmp_path, monkeypatch):
    train = train_config(points=16, batch_size=2, cache="gpu")
    shards = [make_shard(tmp_path / f"train-{i}.h5", 1, points=8 * (8 + i)) for i in range(2)]
    items = TrainingItems(ShapeSet(shards, train), train, 0)
    with pytest.raises(ConfigError, match="shapes differ"):
        training_loader(items, train, 0, "cpu")
    one = ShapeSet(shards[:1], train)
    sizes = [make_shard(tmp_path / f"train-{i}.h5", 1, pixels=33 + i) for i in range(2, 4)]
    with pytest.raises(ConfigError, match="image size"):
        training_loader(TrainingItems(ShapeSet(sizes, train), train, 0), train, 0, "cpu")
    for free, fits in ((2 * one.nbytes() - 1, False), (3 * one.nbytes(), True)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda free=free: (free, 10 * free))
        assert DeviceSet.fits(one, "cuda") == fits


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
