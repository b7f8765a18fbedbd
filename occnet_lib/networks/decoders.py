"""Decoders: occupancy logits of points given a code (Mescheder et al. 2019, supplementary section 1).

Layers are linear over the last axis of (batch, points, channels); ONet's are convolutions of kernel
size 1 over (batch, channels, points). The structure and the parameters are the same one to one, so a
state of ONet's fits after the kernel axis of its weights is dropped.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from . import fused
from .norm_relu import norm_relu
from .positional_encoding import encode, encoded_dim

# Occupied points are few (1 to 15 %): the output begins at log-odds near theirs.
_PRIOR_LOGIT = -2.5


class AffineBlock(NamedTuple):
    """x + weight_1 · relu(weight_0 · relu(scale ⊙ x + shift) + bias_0) + bias_1."""

    scale: Tensor
    shift: Tensor
    weight_0: Tensor
    bias_0: Tensor
    weight_1: Tensor
    bias_1: Tensor


class AffineDecoder(NamedTuple):
    """A decoder for one fixed code.

    weight · encode(p) + bias, then the blocks, then weight_out · relu(scale ⊙ x + shift) + bias_out.
    """

    weight: Tensor
    bias: Tensor
    blocks: list[AffineBlock]
    scale: Tensor
    shift: Tensor
    weight_out: Tensor
    bias_out: Tensor


class ConditionalBatchNorm(nn.Module):
    """f_out = γ(c) · (f_in − μ) / √(σ² + ε) + β(c); supplementary equation 1 (de Vries et al. 2017).

    μ and σ² are taken over batch and points in training and are running means in evaluation. At the
    start γ is near 1 and β near 0 and both vary with the code. ONet begins with γ = 1 and β = 0 whatever
    the code; the encoder then has no gradient until their weights have grown, which costs hundreds of steps.
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
        """A linear layer of what is above zero of the normalised features: (B, T, channels) to the layer's."""
        compiling = torch.compiler.is_compiling()
        if self.bn.training and (compiling or fused.is_faster(features)):
            gamma, beta = self.conv_gamma(code), self.conv_beta(code)
            if not compiling:
                return fused.norm_relu_linear(features, gamma, beta, self.bn, linear)
            above = norm_relu(features, gamma, beta, self.bn)
        else:
            above = functional.relu(self(features, code))
        out: Tensor = linear(above)
        return out

    def affine(self, code: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and shift (channels,) each that this layer is, in evaluation, for one code (c_dim,)."""
        mean, variance = self.bn.running_mean, self.bn.running_var
        assert mean is not None
        assert variance is not None
        scale = self.conv_gamma(code) * torch.rsqrt(variance + self.bn.eps)
        return scale, self.conv_beta(code) - scale * mean


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


class CbnDecoder(nn.Module):
    """Points through ResNet blocks with conditional batch norm: ONet's decoder for images."""

    def __init__(self, c_dim: int, hidden: int, blocks: int, frequencies: int = 0) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.fc_p = nn.Linear(encoded_dim(frequencies), hidden)
        self.blocks = nn.ModuleList(CbnBlock(c_dim, hidden) for _ in range(blocks))
        self.bn = ConditionalBatchNorm(c_dim, hidden)
        self.fc_out = nn.Linear(hidden, 1)
        nn.init.constant_(self.fc_out.bias, _PRIOR_LOGIT)

    def forward(self, points: Tensor, code: Tensor) -> Tensor:
        """Logits (B, T) of points (B, T, 3) under code (B, c_dim)."""
        net = _input_layer(self.fc_p, points, self.frequencies)
        for block in self.blocks:
            net = block(net, code)
        return self.bn.norm_relu_linear(self.fc_out, net, code).squeeze(-1)

    def fold(self, code: Tensor) -> AffineDecoder:
        """What the decoder is, in evaluation, for one code (c_dim,).

        A norm behind a linear layer goes into that layer's weights; one on the residual stream stays a
        multiply-add.
        """
        blocks = []
        for block in self.blocks:
            assert isinstance(block, CbnBlock)
            scale_0, shift_0 = block.bn_0.affine(code)
            scale_1, shift_1 = block.bn_1.affine(code)
            weight_0, bias_0 = scale_1[:, None] * block.fc_0.weight, scale_1 * block.fc_0.bias + shift_1
            blocks.append(AffineBlock(scale_0, shift_0, weight_0, bias_0, block.fc_1.weight, block.fc_1.bias))
        scale, shift = self.bn.affine(code)
        return AffineDecoder(
            self.fc_p.weight, self.fc_p.bias, blocks, scale, shift, self.fc_out.weight, self.fc_out.bias
        )


def _input_layer(layer: nn.Linear, points: Tensor, frequencies: int) -> Tensor:
    """Channels (B, T, hidden) of points (B, T, 3).

    bfloat16 moves a point by .001. Under autocast points (with a 1 for the bias) and weights are therefore sums of
    two such numbers, whose products but the least (2^-16 of the greatest) are summed in single precision.
    """
    encoded, device = encode(points.to(layer.weight.dtype), frequencies), points.device.type
    if not torch.is_autocast_enabled(device):
        channels: Tensor = layer(encoded)
        return channels
    dtype = torch.get_autocast_dtype(device)
    x, x_rest = _split_hi_lo(functional.pad(encoded, (0, 1), value=1.0), dtype)
    weight, weight_rest = _split_hi_lo(torch.cat([layer.weight, layer.bias[:, None]], dim=1), dtype)
    return functional.linear(
        torch.cat([x, x_rest, x], dim=-1), torch.cat([weight, weight, weight_rest], dim=1)
    )


def _split_hi_lo(values: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Values rounded to a type of fewer digits, and the rest."""
    rounded = values.to(dtype)
    return rounded, (values - rounded).to(dtype)


class FcBlock(nn.Module):
    """Pre-activation ResNet block of two linear layers, after the code's projection is added to the input."""

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


class FcDecoder(nn.Module):
    """Points through conditional ResNet blocks without normalisation (Peng et al. 2020, section 3)."""

    def __init__(self, c_dim: int, hidden: int, blocks: int, frequencies: int = 0) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.fc_p = nn.Linear(encoded_dim(frequencies), hidden)
        self.blocks = nn.ModuleList(FcBlock(c_dim, hidden) for _ in range(blocks))
        self.fc_out = nn.Linear(hidden, 1)
        nn.init.constant_(self.fc_out.bias, _PRIOR_LOGIT)

    def forward(self, points: Tensor, code: Tensor) -> Tensor:
        """Logits (B, T) of points (B, T, 3) under code (B, c_dim)."""
        net = _input_layer(self.fc_p, points, self.frequencies)
        for block in self.blocks:
            net = block(net, code)
        logits: Tensor = self.fc_out(functional.relu(net)).squeeze(-1)
        return logits

    def fold(self, code: Tensor) -> AffineDecoder:
        """What the decoder is for one code (c_dim,): its projections join the bias of the layer before."""
        zero = torch.zeros_like(self.fc_p.bias)
        one = torch.ones_like(zero)
        shifts = [*(block.fc_c(code) for block in self._fc_blocks()), zero]
        blocks = []
        for block, following in zip(self._fc_blocks(), shifts[1:], strict=True):
            bias_1 = block.fc_1.bias + following
            blocks.append(
                AffineBlock(one, zero, block.fc_0.weight, block.fc_0.bias, block.fc_1.weight, bias_1)
            )
        bias = self.fc_p.bias + shifts[0]
        return AffineDecoder(self.fc_p.weight, bias, blocks, one, zero, self.fc_out.weight, self.fc_out.bias)

    def _fc_blocks(self) -> list[FcBlock]:
        return [block for block in self.blocks if isinstance(block, FcBlock)]
