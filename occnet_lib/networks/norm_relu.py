"""Conditional norm and ReLU for the compiler, with a derivative that goes over the features twice."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def norm_relu(features: Tensor, gamma: Tensor, beta: Tensor, norm: nn.BatchNorm1d) -> Tensor:
    """`relu(gamma · norm(features) + beta)` in training, for `torch.compile`.

    What autograd derives has sums over the points of every shape, for gamma and beta, and sums over all points, for the
    norm; these follow from those, which saves a compiled step two passes over the features a norm. Second derivatives,
    which compiled steps have none of, would be wrong.

    Args:
        features: (B, T, channels).
        gamma, beta: (B, channels).
        norm: without affine parameters, in training; its running statistics are brought up to date.

    Returns:
        (B, T, channels) in the type of the features; single precision inside, or that of the features.
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    variance, mean = torch.var_mean(_wide(features.detach()), (0, 1), correction=0)
    count, momentum = features.shape[0] * features.shape[1], norm.momentum or 0.0
    norm.num_batches_tracked.add_(1)
    norm.running_mean.lerp_(mean, momentum)
    norm.running_var.lerp_(variance * (count / (count - 1)), momentum)
    found: Tensor = _NormRelu.apply(features, gamma, beta, mean, torch.rsqrt(variance + norm.eps))
    return found


class _NormRelu(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, features: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, scale: Tensor
    ) -> Tensor:
        ctx.save_for_backward(features, gamma, beta, mean, scale)
        _, normed = _normed(features, gamma, beta, mean, scale)
        return normed.relu().to(features.dtype)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        """With y = γ x̂ + β and x̂ = (x − μ) s: dx = s (γ dy − mean(γ dy) − x̂ mean(γ dy x̂)), means over all points."""
        features, gamma, beta, mean, scale = ctx.saved_tensors
        x, normed = _normed(features, gamma, beta, mean, scale)
        behind = torch.where(normed > 0, _wide(slope), 0.0)
        at_gamma, at_beta = (behind * x).sum(1), behind.sum(1)
        factor, points = _wide(gamma), features.shape[0] * features.shape[1]
        back, shift = ((factor * sums).sum(0) / points for sums in (at_gamma, at_beta))
        at_features = scale * (factor[:, None] * behind - shift - x * back)
        return at_features.to(features.dtype), at_gamma.to(gamma.dtype), at_beta.to(beta.dtype), None, None


def _normed(
    features: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, scale: Tensor
) -> tuple[Tensor, Tensor]:
    """x̂ and γ x̂ + β."""
    x = (_wide(features) - mean) * scale
    return x, x * _wide(gamma)[:, None] + _wide(beta)[:, None]


def _wide(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
