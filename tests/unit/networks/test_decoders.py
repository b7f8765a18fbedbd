"""Decoders against their formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from occnet_lib.networks.blocks import ConditionalBatchNorm
from occnet_lib.networks.decoders import CbnDecoder, FcDecoder, _input_layer, encode, encoded_dim
from tests.support.random_networks import shaken


def test_decoders_start_near_the_prior_and_hand_a_gradient_to_the_code():
    points = torch.rand(2, 50, 3)
    for decoder in (CbnDecoder(16, 32, 3), FcDecoder(16, 32, 3)):
        code = torch.randn(2, 16, requires_grad=True)
        logits = decoder(points, code)
        assert logits.shape == (2, 50)
        assert abs(logits.mean().item() + 2.5) < 1
        logits[0].sum().backward()
        assert code.grad is not None
        assert code.grad[0].abs().min() > 0
        for block in decoder.blocks:
            assert not block.fc_1.weight.any()


@pytest.mark.parametrize("frequencies", [0, 4])
def test_the_first_layer_under_autocast_is_single_precision_rounded(frequencies):
    layer = torch.nn.Linear(encoded_dim(frequencies), 32)
    points, toward = torch.rand(2, 300, 3) - 0.5, torch.randn(2, 300, 32).bfloat16()
    exact = layer(encode(points, frequencies))
    (exact * toward).sum().backward()
    expected = layer.weight.grad, layer.bias.grad
    layer.weight.grad = layer.bias.grad = None
    with torch.autocast("cpu", torch.bfloat16):
        actual = _input_layer(layer, points, frequencies)
    (actual * toward).sum().backward()
    assert actual.dtype == torch.bfloat16
    # Half of what two neighbouring numbers differ by, and what is left out.
    assert ((actual.double() - exact).abs() <= exact.abs() * 2**-8 + 2e-5).all()
    for gradient, other in zip((layer.weight.grad, layer.bias.grad), expected, strict=True):
        assert (gradient - other).norm() < 0.005 * other.norm()


def naive_norm(norm: ConditionalBatchNorm, features: np.ndarray, code: np.ndarray) -> np.ndarray:
    """The formula value by value in double precision."""
    weights = {name: value.detach().double().numpy() for name, value in norm.named_parameters()}
    result = np.zeros_like(features)
    for channel in range(features.shape[2]):
        values = features[:, :, channel]
        mean, variance = values.sum() / values.size, ((values - values.mean()) ** 2).sum() / values.size
        for item in range(features.shape[0]):
            gamma = weights["conv_gamma.weight"][channel] @ code[item] + weights["conv_gamma.bias"][channel]
            beta = weights["conv_beta.weight"][channel] @ code[item] + weights["conv_beta.bias"][channel]
            result[item, :, channel] = gamma * (values[item] - mean) / np.sqrt(variance + 1e-5) + beta
    return result


def test_conditional_batch_norm_is_its_formula():
    norm = shaken(ConditionalBatchNorm(5, 6)).train()
    features, code = torch.randn(3, 11, 6) * 2 + 1, torch.randn(3, 5)
    expected = naive_norm(norm, features.double().numpy(), code.double().numpy())
    np.testing.assert_allclose(norm(features, code).detach().numpy(), expected, atol=2e-5)


def test_running_statistics_follow_the_batches():
    norm = ConditionalBatchNorm(2, 3)
    features = torch.randn(4, 50, 3) * torch.tensor([1.0, 2.0, 3.0]) + torch.tensor([0.0, 5.0, -5.0])
    norm(features, torch.zeros(4, 2))
    flat = features.flatten(0, 1)
    torch.testing.assert_close(norm.bn.running_mean, 0.1 * flat.mean(0))
    torch.testing.assert_close(norm.bn.running_var, 0.9 + 0.1 * flat.var(0))


def test_fc_decoder_is_its_formula():
    decoder = shaken(FcDecoder(4, 8, 2))
    points, code = torch.rand(1, 5, 3), torch.randn(1, 4)
    state = {name: value.detach().numpy() for name, value in decoder.named_parameters()}

    def linear(name: str, x: np.ndarray) -> np.ndarray:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    net = linear("fc_p", points[0].numpy())
    for i in range(2):
        net = net + linear(f"blocks.{i}.fc_c", code.numpy())
        net = net + linear(f"blocks.{i}.fc_1", np.maximum(linear(f"blocks.{i}.fc_0", np.maximum(net, 0)), 0))
    expected = linear("fc_out", np.maximum(net, 0))[:, 0]
    np.testing.assert_allclose(decoder(points, code)[0].detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_positional_encoding_is_its_formula():
    points = torch.rand(2, 5, 3, dtype=torch.float64) - 0.5
    encoded = encode(points, 3).numpy()
    assert encoded.shape == (2, 5, encoded_dim(3))
    angles = [2**k * np.pi * points.numpy() for k in range(3)]
    expected = np.concatenate([points, *map(np.sin, angles), *map(np.cos, angles)], axis=-1)
    np.testing.assert_allclose(encoded, expected, atol=1e-12)
    assert encode(points, 0) is points
