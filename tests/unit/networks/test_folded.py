"""Networks folded for inference, and their derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from occnet_lib.config import ModelConfig
from occnet_lib.networks import folded
from occnet_lib.networks.folded import MixtureField
from occnet_lib.networks.occupancy_network import OccupancyNetwork
from tests.support.random_networks import shaken


@pytest.mark.parametrize("frequencies", [0, 4])
@pytest.mark.parametrize("decoder", ["cbn", "fc"])
def test_folded_equals_unfolded(decoder, frequencies):
    network = OccupancyNetwork(
        ModelConfig(hidden=32, c_dim=16, decoder=decoder, positional_encoding=frequencies)
    )
    shaken(network.decoder)
    code, points = torch.randn(1, 16), torch.rand(257, 3) - 0.5
    expected = network.decode(points[None], code)[0].detach()
    field = network.fold(code, chunk=100)
    scale = float(expected.abs().max())
    torch.testing.assert_close(field(points), expected, rtol=0, atol=1e-4 * max(1.0, scale))
    np.testing.assert_allclose(field.on_array(points.double().numpy()), field(points).numpy())
    assert field.on_array(np.zeros((0, 3))).shape == (0,)


@pytest.mark.parametrize("frequencies", [0, 4])
@pytest.mark.parametrize("decoder", ["cbn", "fc"])
def test_folded_derivatives_are_autograds(decoder, frequencies):
    """The first of the logits, and the second, which positional encoding has, of a mean over directions."""
    model = ModelConfig(hidden=32, c_dim=8, decoder=decoder, positional_encoding=frequencies, frame="camera")
    network = OccupancyNetwork(model)
    shaken(network.decoder)
    code, rotation = torch.randn(1, 8), torch.linalg.qr(torch.randn(3, 3))[0]
    points, toward = (torch.rand(50, 3) - 0.5).requires_grad_(), torch.randn(50, 3)
    field = network.fold(code, chunk=20, rotation=rotation)
    unfolded = network.decode(points[None], code, rotation[None])[0]
    (expected,) = torch.autograd.grad(unfolded.sum(), points, create_graph=True)
    logits, gradient = field.with_gradient(points)
    scale = float(expected.detach().abs().max())
    torch.testing.assert_close(logits, field(points.detach()), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-4 * scale)
    assert gradient.requires_grad == (frequencies > 0)
    if frequencies:
        second, wanted = (
            torch.autograd.grad((toward * gradients).sum(), points)[0] for gradients in (gradient, expected)
        )
        torch.testing.assert_close(second, wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))
    plain = field.with_gradient(points.detach())[1]
    assert torch.equal(plain, gradient.detach())
    assert not plain.requires_grad
    assert all(parameter.grad is None for parameter in network.parameters())


def test_approximate_derivatives_are_near_the_exact_ones(monkeypatch):
    monkeypatch.setattr(folded, "has_fast_bf16", lambda device: True)  # slow ones give the same
    network = OccupancyNetwork(ModelConfig(hidden=64, c_dim=16))
    shaken(network.decoder)
    field = network.fold(torch.randn(16), chunk=1000)
    points = torch.rand(3000, 3) - 0.5
    (logits, exact), (near, approximate) = (
        field.with_gradient(points, low_precision=how) for how in (False, True)
    )
    torch.testing.assert_close(near, field(points, low_precision=True))
    assert 0 < (near - logits).abs().max() < field.margin
    alike = torch.nn.functional.cosine_similarity(exact, approximate)
    assert alike.median() > 0.999
    assert not torch.equal(exact, approximate)


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
