"""Pixel-aligned features: against a loop over points, folded, and their derivatives."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from occnet_lib.config import ModelConfig, TrainConfig
from occnet_lib.networks import folded
from occnet_lib.networks.checkpoint import load_network, network_file, save_network
from occnet_lib.networks.local_features import LocalFeatures
from occnet_lib.networks.occupancy_network import OccupancyNetwork
from tests.support.random_networks import shaken

MODEL = ModelConfig(encoder="resnet10", hidden=16, c_dim=8, blocks=1, local=True)


def camera() -> torch.Tensor:
    """(1, 3, 4) projection from a distance of 2, in [-1, 1]."""
    rotation = torch.linalg.qr(torch.randn(3, 3))[0]
    rigid = torch.cat([rotation, torch.tensor([[0.1], [-0.05], [2.0]])], dim=1)
    return (torch.tensor([[2.5, 0.0, 0.1], [0.0, 2.5, -0.2], [0.0, 0.0, 1.0]]) @ rigid)[None]


def reference(local: LocalFeatures, maps, point, matrix) -> torch.Tensor:
    """The feature of one point, by hand."""
    x, y, depth = (float(v) for v in matrix[:, :3] @ point + matrix[:, 3])
    x, y = x / depth, y / depth
    values = []
    for level in maps:
        _, height, width = level.shape
        column = min(max((x + 1) * width / 2 - 0.5, 0.0), width - 1.0)
        row = min(max((y + 1) * height / 2 - 0.5, 0.0), height - 1.0)
        left, top = math.floor(column), math.floor(row)
        for channel in level:
            corners = {(i, j) for i in (top, top + 1) for j in (left, left + 1) if i < height and j < width}
            values.append(
                sum(float(channel[i, j]) * (1 - abs(row - i)) * (1 - abs(column - j)) for i, j in corners)
            )
    axes = matrix[:, :3].clone()
    for row in axes[:2]:
        row -= (row @ axes[2]) * axes[2] / (axes[2] @ axes[2])
    turned = [float(axis @ point / axis.norm()) for axis in axes]
    net = local.fc_maps(torch.tensor(values)) + local.fc_camera(
        torch.tensor([*turned, *(min(max(v, -2.0), 2.0) for v in (x, y))])
    )
    return local.fc_out(net.clamp(min=0))


def test_features_are_those_of_a_loop_over_points_and_maps():
    local = shaken(LocalFeatures([2, 3], 8))
    maps, projection = [torch.randn(1, 2, 6, 5), torch.randn(1, 3, 3, 3)], camera()
    points = 1.4 * torch.rand(40, 3) - 0.7
    expected = torch.stack(
        [reference(local, [level[0] for level in maps], point, projection[0]) for point in points]
    )
    torch.testing.assert_close(local(maps, points[None], projection)[0], expected, atol=1e-4, rtol=1e-4)
    fast = local.fold(maps, projection[0])
    with torch.no_grad():
        torch.testing.assert_close(fast(points) + fast.bias, expected, atol=1e-4, rtol=1e-4)


def network(decoder: str, frame: str) -> tuple[OccupancyNetwork, list[torch.Tensor]]:
    made = OccupancyNetwork(MODEL.model_copy(update={"decoder": decoder, "frame": frame}), pretrained=False)
    shaken(made.decoder), shaken(made.local)
    return made, list(made.eval().features(torch.rand(1, 3, 32, 32)))


@pytest.mark.parametrize(("decoder", "frame"), [("cbn", "unit"), ("fc", "camera")])
def test_folded_equals_unfolded_with_its_derivatives(decoder, frame):
    made, (code, *maps) = network(decoder, frame)
    code, maps = code.detach(), [level.detach() for level in maps]
    projection, rotation = camera(), torch.linalg.qr(torch.randn(3, 3))[0]
    points, toward = (torch.rand(60, 3) - 0.5).requires_grad_(), torch.randn(60, 3)
    field = made.fold(code, 25, rotation, projection[0], *maps)
    expected = made.decode(points[None], code, rotation[None], projection, *maps)[0]
    torch.testing.assert_close(field(points.detach()), expected, atol=1e-3, rtol=1e-3)
    (gradient,) = torch.autograd.grad(expected.sum(), points)
    logits, actual = field.with_gradient(points)
    scale = float(gradient.abs().max())
    torch.testing.assert_close(logits, expected, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(actual, gradient, rtol=1e-3, atol=1e-3 * scale)
    torch.testing.assert_close(field.with_gradient(points.detach())[1], actual.detach())
    # The second derivative, of a mean over directions, by differences within a cell of all maps.
    (second,) = torch.autograd.grad((toward * actual).sum(), points)
    moved = torch.zeros_like(points)
    moved[:, 0] = 1e-3
    ahead, behind = (field.with_gradient((points + sign * moved).detach())[1] for sign in (1, -1))
    numeric = (toward * (ahead - behind)).sum(1) / 2e-3
    close = (numeric - second[:, 0]).abs() < 0.02 * second[:, 0].abs().median() + 0.02 * second[:, 0].abs()
    assert close.float().mean() > 0.6  # the others cross a pixel's border or a ReLU's kink


def test_another_camera_or_another_map_is_another_field():
    made, (code, *maps) = network("cbn", "unit")
    points = torch.rand(50, 3) - 0.5
    fields = [made.fold(code, 100, None, camera()[0], *maps)(points) for _ in range(2)]
    assert (fields[0] - fields[1]).abs().max() > 0.1
    projection = camera()[0]
    fields = [
        made.fold(code, 100, None, projection, *levels)(points) for levels in (maps, [2 * m for m in maps])
    ]
    assert (fields[0] - fields[1]).abs().max() > 0.1


@pytest.mark.parametrize(
    ("encoder", "channels"), [("resnet10", [3, 64, 64, 128]), ("efficientnet_b0", [3, 32, 24, 40])]
)
def test_maps_come_with_the_same_code(encoder, channels):
    model = ModelConfig(encoder=encoder, hidden=8, c_dim=8, blocks=1, local=True)
    made = OccupancyNetwork(model, pretrained=False).eval()
    images = torch.rand(2, 3, 32, 32)
    code, *maps = made.features(images)
    torch.testing.assert_close(code, made.encode(images))
    assert [level.shape[1] for level in maps] == channels
    assert [level.shape[-1] for level in maps] == [32, 16, 8, 4]
    assert made.training is False
    assert OccupancyNetwork(model, pretrained=False).training


def test_a_network_without_them_is_as_it_was(tmp_path):
    """Its weights, its configuration and its files."""
    plain = ModelConfig(encoder="resnet10", hidden=16, c_dim=8, blocks=1)
    assert "local" not in plain.model_dump()
    assert MODEL.model_dump()["local"] is True
    torch.manual_seed(3)
    first = OccupancyNetwork(plain).state_dict()
    torch.manual_seed(3)
    second = OccupancyNetwork(MODEL).state_dict()
    assert all(torch.equal(second[name], value) for name, value in first.items())
    assert {name.partition(".")[0] for name in second.keys() - first.keys()} == {"local"}
    for model, state in ((plain, first), (MODEL, second)):
        options = {"model": model.model_dump(), "train": TrainConfig().model_dump()}
        save_network(tmp_path / "best.ckpt", network_file(state, options))
        assert load_network(tmp_path / "best.ckpt")[0].model == model


def test_low_precision_fields_are_within_their_margin(monkeypatch):
    monkeypatch.setattr(folded, "has_fast_bf16", lambda device: True)
    made, (code, *maps) = network("cbn", "unit")
    field = made.fold(code, 1000, None, camera()[0], *maps)
    points = torch.from_numpy(np.random.default_rng(0).uniform(-0.55, 0.55, (4000, 3)).astype(np.float32))
    error = (field(points, low_precision=True) - field(points)).abs().max()
    assert 0 < float(error) < field.margin
