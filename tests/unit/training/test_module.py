"""Loss, measures, averages of weights and learning rates of a training step."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from occnet_lib.config import ImagesConfig, ModelConfig, TrainConfig
from occnet_lib.errors import OccnetError
from occnet_lib.storage.packs import Shard
from occnet_lib.training.batch import collate
from occnet_lib.training.data_loaders import (
    DeviceLoader,
    training_loader,
)
from occnet_lib.training.dataset import (
    UNFRAMED,
    ShapeSet,
    TrainingItems,
)
from occnet_lib.training.module import Adam, OccupancyModule, iou, learning_rate_factor
from occnet_lib.training.validation import validate
from tests.support.train_config import changed, train_config
from tests.support.training_batches import first_batches, inputs
from tests.support.training_shapes import make_shard

SMALL = ModelConfig(hidden=16, c_dim=8, blocks=1)


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
    actual = logits > 0
    both, either = ((m * weights).sum(1) for m in (actual & truth, actual | truth))
    expected = (weights * losses).mean(), (weights * (actual == truth)).mean(), (both / either).mean()
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
    actual, truth = (logits > 0)[:, :64], truth[:, :64]
    measured = (actual == truth).mean(), ((actual & truth).sum(1) / (actual | truth).sum(1)).mean()
    assert module.means()[1:] == pytest.approx(measured, rel=1e-5)


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
    actual = logits > 0
    overlaps = [(f & t).sum() / max(1, (f | t).sum()) for f, t in zip(actual, truth, strict=True)]
    assert module.means() == pytest.approx((expected, (actual == truth).mean(), np.mean(overlaps)), rel=1e-5)


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
