"""Norm, ReLU and linear layer as one operation on a CPU, which goes over the features less often than one by one."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

_MIN_FEATURES = 2**18
"""Features that are gone over faster than the kernels are loaded."""


@cache
def _numba_available() -> bool:
    return find_spec("numba") is not None


def is_faster(features: Tensor) -> bool:
    """Whether `norm_relu_linear` is the faster way: with numba, on a CPU, for many features."""
    return features.device.type == "cpu" and features.numel() >= _MIN_FEATURES and _numba_available()


def norm_relu_linear(
    features: Tensor, gamma: Tensor, beta: Tensor, norm: nn.BatchNorm1d, linear: nn.Linear
) -> Tensor:
    """`linear(relu(gamma · norm(features) + beta))` in training, in less time and a third less memory.

    Args:
        features: (B, T, channels) on a CPU: bfloat16, float32 or float64.
        gamma, beta: (B, channels).
        norm: without affine parameters, in training; its running statistics are brought up to date.
        linear: from channels to whatever, with a bias.
    """
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
        wide = torch.promote_types(features.dtype, torch.float32)
        gamma, beta = gamma.to(wide), beta.to(wide)
        mean, scale = _statistics(features, norm, wide)
        above = torch.empty_like(features)
        _parallel_over_batch("norm_relu", features, gamma, beta, mean, scale, above)
        ctx.save_for_backward(features, above, gamma, beta, mean, scale, weight)
        return _points(functional.conv2d(_pixels(above), weight[:, :, None, None], bias))

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        """With y = γ x̂ + β and x̂ = (x − μ) s: dx = s (γ dy − mean(γ dy) − x̂ mean(γ dy x̂)), means over all points."""
        if torch.is_grad_enabled():
            raise RuntimeError("the derivative of norm_relu_linear is not differentiable again")
        features, above, gamma, beta, mean, scale, weight = ctx.saved_tensors
        behind, at_weight, at_bias = torch.ops.aten.convolution_backward(
            *(_pixels(slope.contiguous()), _pixels(above), weight[:, :, None, None], [len(weight)]),
            *([1, 1], [0, 0], [1, 1], False, [0, 0], 1, [True, True, True]),
        )
        into = _points(behind).contiguous()
        at_gamma, at_beta = torch.zeros_like(gamma), torch.zeros_like(beta)
        layer = features, into, gamma, beta, mean, scale
        _parallel_over_batch("parameter_slopes", *layer, at_gamma, at_beta)
        points = features.shape[0] * features.shape[1]
        back, shift = ((gamma * sums).sum(0) / points for sums in (at_gamma, at_beta))
        _parallel_over_batch("feature_slopes", *layer, back, shift)
        return into, at_gamma, at_beta, at_weight.flatten(1), at_bias, None


def _statistics(features: Tensor, norm: nn.BatchNorm1d, wide: torch.dtype) -> tuple[Tensor, Tensor]:
    """Mean and 1 / √(σ² + ε) of the channels; the norm's running statistics follow."""
    origin = features[0, 0].to(wide)  # what is summed is small
    sums, squares = (
        torch.zeros(len(features), features.shape[2], dtype=wide, device=features.device) for _ in range(2)
    )
    _parallel_over_batch("sums", features, origin, sums, squares)
    count = features.shape[0] * features.shape[1]
    away = sums.double().sum(0) / count
    mean, variance = origin + away, squares.double().sum(0) / count - away * away
    if norm.running_mean is not None and norm.running_var is not None:
        momentum, unbiased = norm.momentum or 0.0, count / max(1, count - 1)
        norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), momentum)
        norm.running_var.lerp_((variance * unbiased).to(norm.running_var.dtype), momentum)
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    return mean.to(wide), torch.rsqrt(variance.clamp(min=0.0) + norm.eps).to(wide)


def _parallel_over_batch(name: str, features: Tensor, *arrays: Tensor) -> None:
    """Call a function of `kernels` for all shapes, each thread of PyTorch's with some of them."""
    from . import kernels  # numba takes half a second

    kernel: Callable[..., None] = getattr(kernels, name)
    given = [_array(tensor) for tensor in (features, *arrays)]
    shapes, threads = len(features), torch.get_num_threads()
    parts = min(shapes, threads)
    if parts == 1:
        kernel(*given, 0, shapes)
        return
    ends = [shapes * part // parts for part in range(parts + 1)]
    for done in [_pool(threads, os.getpid()).submit(kernel, *given, *pair) for pair in pairwise(ends)]:
        done.result()


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """One for each process: threads do not survive a fork."""
    assert process == os.getpid()
    return ThreadPoolExecutor(threads, thread_name_prefix="norm")


def _array(tensor: Tensor) -> NDArray[Any]:
    """The memory of a contiguous tensor; bfloat16 as its bits."""
    if tensor.dtype == torch.bfloat16:
        return tensor.detach().view(torch.int16).numpy().view(np.uint16)
    found: NDArray[Any] = tensor.detach().numpy()
    return found


def _pixels(points: Tensor) -> Tensor:
    """(B, T, channels) as images (B, channels, T, 1): oneDNN's convolutions add a bias on the way out."""
    return points.unsqueeze(2).permute(0, 3, 1, 2)


def _points(pixels: Tensor) -> Tensor:
    """The way back from `_pixels`."""
    return pixels.permute(0, 2, 3, 1).squeeze(2)
