"""Norm, ReLU and linear layer as one operation, which goes over the features less often than one after the other."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_FEW = 2**20
"""Features that are gone over faster than the operations for each shape are called."""


def pays(features: Tensor) -> bool:
    """Whether `norm_relu_linear` is the faster way: on a GPU operations for single shapes would wait for each other."""
    return features.device.type == "cpu" and features.numel() > _FEW


def norm_relu_linear(
    features: Tensor, gamma: Tensor, beta: Tensor, norm: nn.BatchNorm1d, linear: nn.Linear
) -> Tensor:
    """`linear(relu(gamma · norm(features) + beta))` in training, in a fifth less time and a third less memory.

    Args:
        features: (B, T, channels).
        gamma, beta: (B, channels).
        norm: without affine parameters, in training; its running statistics are brought up to date.
        linear: from channels to whatever, with a bias.
    """
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    weight, bias = linear.weight.to(features.dtype), linear.bias.to(features.dtype)
    found: Tensor = _NormReluLinear.apply(features.contiguous(), gamma, beta, weight, bias, norm)
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
        """A shape's norm is that of an evaluation whose running means are the batch's: one pass, in float32 inside."""
        running = norm.running_mean, norm.running_var, norm.momentum or 0.0
        mean, variance = torch.ops.aten.batch_norm_update_stats(features.flatten(0, 1), *running)
        gamma, beta = gamma.to(mean.dtype), beta.to(mean.dtype)
        above, unused = torch.empty_like(features), (mean.new_empty(0), mean.new_empty(0))
        for one, factor, shift, into in zip(features, gamma, beta, above, strict=True):
            means = factor, shift, mean, variance, False, 0.0, norm.eps
            torch.native_batch_norm(one, *means, out=(into, *unused))
            _relu_(into)
        ctx.save_for_backward(features, above, gamma, mean, torch.rsqrt(variance + norm.eps), weight)
        lost = 0.0 * (variance.sum() + gamma.sum() + beta.sum())  # `_relu_` takes some NaN for negative
        return _points(
            functional.conv2d(_pixels(above), weight[:, :, None, None], bias + lost.to(bias.dtype))
        )

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        """With y = γ x̂ + β and x̂ = (x − μ) s: dx = s (γ dy − mean(γ dy) − x̂ mean(γ dy x̂)), means over all points."""
        if torch.is_grad_enabled():
            raise RuntimeError("the derivative of norm_relu_linear is not differentiable again")
        features, above, gamma, mean, scale, weight = ctx.saved_tensors
        behind, at_weight, at_bias = torch.ops.aten.convolution_backward(
            *(_pixels(slope.contiguous()), _pixels(above), weight[:, :, None, None], [len(weight)]),
            *([1, 1], [0, 0], [1, 1], False, [0, 0], 1, [True, True, True]),
        )
        into = _points(behind)
        torch.ops.aten.threshold_backward.grad_input(into, above, 0, grad_input=into)
        at_gamma, at_beta = torch.empty_like(gamma), torch.empty_like(gamma)
        for i, (one, from_one) in enumerate(zip(features, into, strict=True)):
            sums = torch.ops.aten.native_batch_norm_backward(
                from_one, one, None, None, None, mean, scale, True, 0.0, [False, True, True]
            )
            at_gamma[i], at_beta[i] = sums[1:]
        points = features.shape[0] * features.shape[1]
        back, shift = (-scale * (gamma * sums).sum(0) / points for sums in (at_gamma, at_beta))
        means = back, shift, mean, scale.pow(-2), False, 0.0, 0.0
        at_features = torch.native_batch_norm(features.flatten(0, 1), *means)[0].view(features.shape)
        at_features.addcmul_(into, (scale * gamma).to(into.dtype)[:, None])
        return at_features, at_gamma, at_beta, at_weight.flatten(1), at_bias, None


def _relu_(values: Tensor) -> None:
    """What is negative becomes 0; bfloat16 by its sign bit, a quarter of the time that converting it takes."""
    if values.dtype == torch.bfloat16:
        values.view(torch.int16).clamp_(min=0)
    else:
        values.relu_()


def _pixels(points: Tensor) -> Tensor:
    """(B, T, channels) as images (B, channels, T, 1): oneDNN's convolutions add a bias on the way out."""
    return points.unsqueeze(2).permute(0, 3, 1, 2)


def _points(pixels: Tensor) -> Tensor:
    """The way back from `_pixels`."""
    return pixels.permute(0, 2, 3, 1).squeeze(2)
