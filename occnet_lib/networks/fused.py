"""Norm, ReLU and linear layer as one operation, whose derivative goes over the features less often than autograd."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_ROWS = 2048
"""Points whose features stay in a core's cache between one operation and the next."""


def norm_relu_linear(
    features: Tensor, gamma: Tensor, beta: Tensor, norm: nn.BatchNorm1d, linear: nn.Linear
) -> Tensor:
    """`linear(relu(gamma · norm(features) + beta))` in training, for a processor: a tenth less time, a third less memory.

    On a GPU many small parts would wait for each other.

    Args:
        features: (B, T, channels).
        gamma, beta: (B, channels).
        norm: without affine parameters; its running statistics are brought up to date.
        linear: from channels to whatever.
    """
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    weight, bias = linear.weight.to(features.dtype), linear.bias.to(features.dtype)
    found: Tensor = _NormReluLinear.apply(
        features, gamma.to(features.dtype), beta.to(features.dtype), weight, bias, norm
    )
    return found


class _NormReluLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        gamma: Tensor,
        beta: Tensor,
        weight: Tensor,
        bias: Tensor,
        norm: nn.BatchNorm1d,
    ) -> Tensor:
        assert norm.momentum is not None
        running = norm.running_mean, norm.running_var, True, norm.momentum, norm.eps
        flat, _, scale = torch.native_batch_norm(features.flatten(0, 1), None, None, *running)
        normal = flat.view(features.shape)
        positive = torch.empty_like(normal)
        out = features.new_empty(*features.shape[:2], len(weight))
        for i, rows in _parts(normal):
            torch.addcmul(beta[i], normal[i, rows], gamma[i], out=positive[i, rows]).relu_()
            torch.addmm(bias, positive[i, rows], weight.T, out=out[i, rows])
        ctx.save_for_backward(normal, positive, gamma, scale, weight)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        """With y = γ x̂ + β and x̂ = (x − μ) s: dx = s (γ dy − mean(γ dy) − x̂ mean(γ dy x̂)), means over all points."""
        normal, positive, gamma, scale, weight = ctx.saved_tensors
        wide = torch.promote_types(slope.dtype, torch.float32)  # sums over parts and points
        at_weight, at_bias = torch.zeros_like(weight, dtype=wide), weight.new_zeros(len(weight), dtype=wide)
        at_gamma, at_beta = (torch.zeros_like(gamma, dtype=wide) for _ in range(2))
        at_features = torch.empty_like(normal)
        for i, rows in _parts(normal):
            part, into = slope[i, rows], at_features[i, rows]
            at_weight += part.T @ positive[i, rows]
            at_bias += part.sum(0)
            torch.ops.aten.threshold_backward.grad_input(part @ weight, positive[i, rows], 0, grad_input=into)
            at_beta[i] += into.sum(0)
            at_gamma[i] += (into * normal[i, rows]).sum(0)
        points = normal.shape[0] * normal.shape[1]
        means = [-scale * (gamma * sums).sum(0) / points for sums in (at_beta, at_gamma)]
        shift, back = (mean.to(slope.dtype) for mean in means)
        factor = (scale * gamma).to(slope.dtype)
        for i, rows in _parts(normal):
            into = at_features[i, rows]
            torch.addcmul(torch.addcmul(shift, normal[i, rows], back), into, factor[i], out=into)
        found = at_features, at_gamma.to(gamma.dtype), at_beta.to(gamma.dtype)
        return *found, at_weight.to(weight.dtype), at_bias.to(weight.dtype), None


def _parts(features: Tensor) -> Iterator[tuple[int, slice]]:
    for i in range(features.shape[0]):
        for first in range(0, features.shape[1], _ROWS):
            yield i, slice(first, first + _ROWS)
