"""Networks folded for inference, and their derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from occnet_lib.config import ModelConfig
from occnet_lib.networks import folded
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
