"""The mean probability of fields, its derivative and its margin."""

from __future__ import annotations

import pytest
import torch

from occnet_lib.config import ModelConfig
from occnet_lib.networks import folded
from occnet_lib.networks.mixture import MixtureField
from occnet_lib.networks.occupancy_network import OccupancyNetwork
from tests.support.random_networks import shaken

WEIGHTS = [0.5, 0.3, 0.2]


@pytest.fixture
def fields(monkeypatch) -> list[folded.FoldedDecoder]:
    monkeypatch.setattr(folded, "has_fast_bf16", lambda device: True)
    network = OccupancyNetwork(
        ModelConfig(encoder="resnet10", hidden=32, c_dim=8, blocks=1), pretrained=False
    )
    shaken(network.decoder)
    return [network.fold(torch.randn(8), 1000) for _ in WEIGHTS]


def test_probabilities_are_averaged_and_derivatives_are_those_of_the_average(fields):
    mixture, single = MixtureField(fields, WEIGHTS), torch.rand(200, 3) - 0.5
    probability = sum(
        w * torch.sigmoid(field(single).double()) for w, field in zip(WEIGHTS, fields, strict=True)
    )
    logits, gradient = mixture.with_gradient(single)
    torch.testing.assert_close(torch.sigmoid(mixture(single).double()), probability, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(logits, mixture(single))
    own = [field.with_gradient(single) for field in fields]
    steepness = [torch.sigmoid(v.double()) * torch.sigmoid(-v.double()) for v, _ in own]
    expected = sum(w * s[:, None] * g for w, s, (_, g) in zip(WEIGHTS, steepness, own, strict=True))
    expected = expected / (probability * (1 - probability))[:, None]
    certain = logits.abs() < 12  # beyond, a probability of the reference is rounded to 0 or 1
    torch.testing.assert_close(gradient.double()[certain], expected[certain], atol=1e-3, rtol=1e-3)
    assert torch.isfinite(gradient).all()
    alone = MixtureField(fields[:1], [1.0])
    torch.testing.assert_close(alone(single), fields[0](single), atol=1e-4, rtol=1e-4)


def test_the_error_of_low_precision_is_within_the_margin(fields):
    mixture, points = MixtureField(fields, WEIGHTS), torch.rand(3000, 3) - 0.5
    assert mixture.margin is not None
    error = (mixture(points, low_precision=True) - mixture(points)).abs().max()
    assert 0 < float(error) < mixture.margin
