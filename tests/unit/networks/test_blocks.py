"""Norm, ReLU and linear at once, and the CPU kernels, against PyTorch's operations one after the other."""

from __future__ import annotations

import math

import pytest
import torch

from occnet_lib.networks import blocks, blocks_cpu
from occnet_lib.networks.blocks import ConditionalBatchNorm


@pytest.mark.parametrize(("batch", "points"), [(3, 10), (1, 7), (4, 1), (17, 2)])
def test_norm_relu_and_linear_at_once_are_one_after_the_other(batch, points, monkeypatch):
    monkeypatch.setattr(blocks, "_MIN_FEATURES", 0)
    torch.manual_seed(0)
    apart, at_once = (ConditionalBatchNorm(4, 5).double().train() for _ in range(2))
    at_once.load_state_dict(apart.state_dict())
    linears = [torch.nn.Linear(5, 6).double() for _ in range(2)]
    linears[1].load_state_dict(linears[0].state_dict())
    features = torch.randn(batch, points, 5, dtype=torch.float64) * torch.arange(1, 6) + 2
    code = torch.randn(batch, 4, dtype=torch.float64)
    toward = torch.randn(batch, points, 6, dtype=torch.float64)
    actual = []
    for norm, linear in zip((apart, at_once), linears, strict=True):
        leaves = features.clone().requires_grad_(), code.clone().requires_grad_()
        if norm is apart:
            out = linear(torch.relu(norm(*leaves)))
        else:
            out = norm.norm_relu_linear(linear, *leaves)
            assert "NormReluLinear" in type(out.grad_fn).__name__
            with pytest.raises(RuntimeError, match="no second derivative"):
                torch.autograd.grad(out.sum(), leaves[0], create_graph=True, retain_graph=True)
        (out * toward).sum().backward()
        gradients = [leaf.grad for leaf in (*leaves, *norm.parameters(), *linear.parameters())]
        actual.append([out, *gradients, *norm.bn.buffers()])
    assert len(actual[0]) == 12
    for expected, ours in zip(*actual, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-10)


def test_norm_relu_and_linear_are_at_once_in_training_on_many_features_alone():
    norm, linear = ConditionalBatchNorm(4, 64).train(), torch.nn.Linear(64, 1)
    code = torch.randn(2, 4)

    def at_once(points: int) -> bool:
        return (
            "NormReluLinear"
            in type(norm.norm_relu_linear(linear, torch.randn(2, points, 64), code).grad_fn).__name__
        )

    assert at_once(blocks._MIN_FEATURES // 64)
    assert not at_once(100)
    norm.bn.eval()
    before = norm.bn.running_mean.clone()
    assert not at_once(blocks._MIN_FEATURES // 64)
    assert torch.equal(norm.bn.running_mean, before)


def test_without_numba_norm_relu_and_linear_are_one_after_the_other(monkeypatch):
    monkeypatch.setattr(blocks, "find_spec", lambda name: None)
    blocks._numba_available.cache_clear()
    try:
        assert not blocks._uses_cpu_kernels(torch.zeros(blocks._MIN_FEATURES))
    finally:
        blocks._numba_available.cache_clear()
    monkeypatch.undo()
    assert blocks._uses_cpu_kernels(torch.zeros(blocks._MIN_FEATURES))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_kernels_round_as_pytorch_does(dtype):
    torch.manual_seed(0)
    features = (torch.randn(3, 400, 7) * torch.logspace(-30, 30, 7)).to(dtype)
    features[0, 0, 0], features[1, 1, 1] = math.inf, math.nan
    gamma, beta, mean, scale = torch.randn(3, 7), torch.randn(3, 7), torch.randn(7), torch.rand(7)
    beta.view(torch.int32)[2, 3] = 0x7FFFFFFF  # a NaN whose rounding would carry over
    above = torch.empty_like(features)
    blocks_cpu._parallel_over_batch(blocks_cpu._norm_relu, features, gamma, beta, mean, scale, above)
    normed = (features.float() - mean) * scale * gamma[:, None] + beta[:, None]
    assert torch.equal(above.nan_to_num(nan=-1.0), normed.relu().to(dtype).nan_to_num(nan=-1.0))
    assert above.isnan().sum() == normed.isnan().sum() > 0


def test_kernels_do_not_depend_on_the_number_of_threads(monkeypatch):
    torch.manual_seed(0)
    norm, layer = torch.nn.BatchNorm1d(6, affine=False).train(), torch.nn.Linear(6, 5)
    features, gamma, beta = torch.randn(7, 50, 6), torch.randn(7, 6), torch.randn(7, 6)
    actual = []
    for threads in (1, 2, 3, 16):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        leaves = [value.clone().requires_grad_() for value in (features, gamma, beta)]
        out = blocks_cpu.norm_relu_linear(*leaves, norm, layer)
        out.square().sum().backward()
        actual.append([out, *(leaf.grad for leaf in leaves)])
    for others in actual[1:]:
        assert all(torch.equal(a, b) for a, b in zip(actual[0], others, strict=True))


@pytest.mark.parametrize("away", [0.0, 1e3, -1e4])
def test_statistics_are_exact_far_from_zero(away):
    torch.manual_seed(0)
    features = torch.randn(5, 3000, 4) + away
    norm = torch.nn.BatchNorm1d(4, affine=False)
    mean, scale = blocks_cpu._statistics(features, norm, torch.float32)
    exact = features.double().flatten(0, 1)
    torch.testing.assert_close(mean.double(), exact.mean(0), rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(
        scale.double(), (exact.var(0, correction=0) + norm.eps).rsqrt(), rtol=1e-5, atol=0
    )
    torch.testing.assert_close(norm.running_var.double(), 0.9 + 0.1 * exact.var(0), rtol=1e-5, atol=0)


def test_norm_relu_and_linear_at_once_in_bfloat16():
    """Not further from double precision than one after the other."""
    torch.manual_seed(0)
    norm, linear = ConditionalBatchNorm(16, 32).train(), torch.nn.Linear(32, 32)
    features, code, toward = torch.randn(4, 500, 32) * 3 + 1, torch.randn(4, 16), torch.randn(4, 500, 32)

    def at_once(x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return blocks_cpu.norm_relu_linear(x, norm.conv_gamma(c), norm.conv_beta(c), norm.bn, linear)

    def run(kind, cast: torch.dtype) -> list[torch.Tensor]:
        norm.to(cast), linear.to(cast)
        x = features.bfloat16().to(torch.bfloat16 if cast == torch.float32 else cast).requires_grad_()
        for parameter in (*norm.parameters(), *linear.parameters()):
            parameter.grad = None
        with torch.autocast("cpu", torch.bfloat16, enabled=cast == torch.float32):
            out = kind(x, code.to(cast))
        (out * toward.to(out.dtype)).sum().backward()
        gradients = [parameter.grad for parameter in (*norm.parameters(), *linear.parameters())]
        return [tensor.detach().double() for tensor in (out, x.grad, *gradients)]

    plain = run(lambda x, c: linear(torch.relu(norm(x, c))), torch.float32)
    ours = run(at_once, torch.float32)
    exact = run(lambda x, c: linear(torch.relu(norm(x, c))), torch.float64)
    for a, b, c in zip(plain, ours, exact, strict=True):
        assert (b - c).norm() <= 1.2 * (a - c).norm() + 1e-6 * c.norm()
        assert (b - c).norm() < 0.05 * c.norm()


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("where", ["features", "gamma", "beta"])
def test_what_is_no_number_stays_so_through_norm_relu_and_linear_at_once(where, sign):
    norm, linear = torch.nn.BatchNorm1d(64, affine=False).train(), torch.nn.Linear(64, 3)
    inputs = {"features": torch.randn(2, 5, 64), "gamma": torch.randn(2, 64), "beta": torch.randn(2, 64)}
    inputs[where].view(-1)[3] = math.copysign(math.nan, sign)
    out = blocks_cpu.norm_relu_linear(*(value.bfloat16() for value in inputs.values()), norm, linear)
    assert out.isnan().any()
