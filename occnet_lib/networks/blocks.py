"""ResNet blocks of the decoders with and without conditional batch norm: the reference implementation.

Layers are linear over the last axis of (batch, points, channels); ONet's are convolutions of kernel size 1 over
(batch, channels, points). Structure and parameters correspond one to one, so a state of ONet fits after the kernel axis
of its weights is dropped.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor, nn
from torch.nn import functional

_MIN_FEATURES = 2**18
"""Fewer features are processed faster than the kernels of `blocks_cpu` are loaded."""


class ConditionalBatchNorm(nn.Module):
    """f_out = γ(c) · (f_in − μ) / √(σ² + ε) + β(c); supplementary equation 1 (de Vries et al. 2017).

    μ and σ² are taken over batch and points in training and are running means in evaluation. Initially γ is near 1, β is
    near 0, and both vary with the code. ONet starts with γ = 1 and β = 0 for every code; its encoder has no gradient until
    their weights have grown, which costs hundreds of steps.
    """

    def __init__(self, c_dim: int, channels: int) -> None:
        super().__init__()
        self.conv_gamma = nn.Linear(c_dim, channels)
        self.conv_beta = nn.Linear(c_dim, channels)
        self.bn = nn.BatchNorm1d(channels, affine=False)
        for layer in (self.conv_gamma, self.conv_beta):
            nn.init.normal_(layer.weight, std=c_dim**-0.5)
        nn.init.ones_(self.conv_gamma.bias)
        nn.init.zeros_(self.conv_beta.bias)

    def forward(self, features: Tensor, code: Tensor) -> Tensor:
        """Features (B, T, channels) normalised under code (B, c_dim)."""
        normalised = self.bn(features.flatten(0, 1)).view(features.shape)
        gamma, beta = self.conv_gamma(code), self.conv_beta(code)
        return torch.addcmul(beta.unsqueeze(1), normalised, gamma.unsqueeze(1))

    def norm_relu_linear(self, linear: nn.Linear, features: Tensor, code: Tensor) -> Tensor:
        """linear(relu(forward(features, code))); on a CPU in training by the kernels of `blocks_cpu`."""
        if self.bn.training and _uses_cpu_kernels(features):
            from . import blocks_cpu  # numba takes half a second

            return blocks_cpu.norm_relu_linear(
                features, self.conv_gamma(code), self.conv_beta(code), self.bn, linear
            )
        out: Tensor = linear(functional.relu(self(features, code)))
        return out

    def fold(self, code: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and shift, (channels,) each, to which the layer reduces in evaluation for one code (c_dim,)."""
        mean, variance = self.bn.running_mean, self.bn.running_var
        assert mean is not None
        assert variance is not None
        scale = self.conv_gamma(code) * torch.rsqrt(variance + self.bn.eps)
        return scale, self.conv_beta(code) - scale * mean


def _uses_cpu_kernels(features: Tensor) -> bool:
    """Whether `blocks_cpu` is faster: for many features on a CPU, with numba, unless the compiler fuses operations."""
    many = features.device.type == "cpu" and features.numel() >= _MIN_FEATURES
    return many and not torch.compiler.is_compiling() and _numba_available()


@cache
def _numba_available() -> bool:
    return find_spec("numba") is not None


class CbnBlock(nn.Module):
    """Pre-activation ResNet block with conditional batch norm: bn, relu, fc twice, plus the input."""

    def __init__(self, c_dim: int, hidden: int) -> None:
        super().__init__()
        self.bn_0 = ConditionalBatchNorm(c_dim, hidden)
        self.bn_1 = ConditionalBatchNorm(c_dim, hidden)
        self.fc_0 = nn.Linear(hidden, hidden)
        self.fc_1 = nn.Linear(hidden, hidden)
        nn.init.zeros_(self.fc_1.weight)

    def forward(self, features: Tensor, code: Tensor) -> Tensor:
        """(B, T, hidden) to the same."""
        net = self.bn_0.norm_relu_linear(self.fc_0, features, code)
        return features + self.bn_1.norm_relu_linear(self.fc_1, net, code)


class FcBlock(nn.Module):
    """Pre-activation ResNet block of two linear layers; the code's projection is added to the input first."""

    def __init__(self, c_dim: int, hidden: int) -> None:
        super().__init__()
        self.fc_c = nn.Linear(c_dim, hidden)
        self.fc_0 = nn.Linear(hidden, hidden)
        self.fc_1 = nn.Linear(hidden, hidden)
        nn.init.zeros_(self.fc_1.weight)

    def forward(self, features: Tensor, code: Tensor) -> Tensor:
        """(B, T, hidden) to the same."""
        features = features + self.fc_c(code).unsqueeze(1)
        net = self.fc_0(functional.relu(features))
        return features + self.fc_1(functional.relu(net))
