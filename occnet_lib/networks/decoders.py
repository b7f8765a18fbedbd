"""Decoders: occupancy logits of points given a code (Mescheder et al. 2019, supplementary section 1)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from .blocks import CbnBlock, ConditionalBatchNorm, FcBlock

# Few points are occupied (1 to 15 %): the initial output is near their log-odds.
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


def encoded_dim(frequencies: int) -> int:
    """Number of channels of a point after `encode`."""
    return 3 + 6 * frequencies


def encode(points: Tensor, frequencies: int) -> Tensor:
    """Points and the sine and cosine of 2^k π p for k < frequencies (Mildenhall et al. 2020, equation 4).

    Args:
        points: (..., 3), unit frame.
        frequencies: number of frequencies; 0 returns the points unchanged.

    Returns:
        (..., 3 + 6 * frequencies).
    """
    if frequencies == 0:
        return points
    scales = math.pi * 2.0 ** torch.arange(frequencies, device=points.device, dtype=points.dtype)
    angles = (points.unsqueeze(-2) * scales[:, None]).flatten(-2)
    return torch.cat([points, angles.sin(), angles.cos()], dim=-1)


class Decoder(nn.Module):
    """Points through residual blocks given a code; `block` and what is before the last layer differ."""

    block: type[CbnBlock | FcBlock]

    def __init__(self, c_dim: int, hidden: int, blocks: int, frequencies: int = 0) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.fc_p = nn.Linear(encoded_dim(frequencies), hidden)
        self.blocks = nn.ModuleList(self.block(c_dim, hidden) for _ in range(blocks))
        self.bn = ConditionalBatchNorm(c_dim, hidden) if self.block is CbnBlock else None
        self.fc_out = nn.Linear(hidden, 1)
        nn.init.constant_(self.fc_out.bias, _PRIOR_LOGIT)

    def forward(self, points: Tensor, code: Tensor, local: Tensor | None = None) -> Tensor:
        """Logits (B, T) of points (B, T, 3) under code (B, c_dim); `local`: (B, T, hidden) added to the first layer."""
        net = _input_layer(self.fc_p, points, self.frequencies)
        if local is not None:
            net = net + local
        for block in self.blocks:
            net = block(net, code)
        if self.bn is not None:
            return self.bn.norm_relu_linear(self.fc_out, net, code).squeeze(-1)
        logits: Tensor = self.fc_out(functional.relu(net)).squeeze(-1)
        return logits


class CbnDecoder(Decoder):
    """Points through ResNet blocks with conditional batch norm: ONet's decoder for images."""

    block = CbnBlock

    def fold(self, code: Tensor) -> AffineDecoder:
        """The decoder in evaluation for one code (c_dim,).

        A norm after a linear layer is folded into that layer's weights; one on the residual stream stays a multiply-add.
        """
        blocks = []
        for block in self.blocks:
            assert isinstance(block, CbnBlock)
            scale_0, shift_0 = block.bn_0.fold(code)
            scale_1, shift_1 = block.bn_1.fold(code)
            weight_0, bias_0 = scale_1[:, None] * block.fc_0.weight, scale_1 * block.fc_0.bias + shift_1
            blocks.append(AffineBlock(scale_0, shift_0, weight_0, bias_0, block.fc_1.weight, block.fc_1.bias))
        assert self.bn is not None
        scale, shift = self.bn.fold(code)
        return AffineDecoder(
            self.fc_p.weight, self.fc_p.bias, blocks, scale, shift, self.fc_out.weight, self.fc_out.bias
        )


class FcDecoder(Decoder):
    """Points through conditional ResNet blocks without normalisation (Peng et al. 2020, section 3)."""

    block = FcBlock

    def fold(self, code: Tensor) -> AffineDecoder:
        """The decoder for one code (c_dim,): the code's projections join the bias of the layer before."""
        zero = torch.zeros_like(self.fc_p.bias)
        one = torch.ones_like(zero)
        fc_blocks = [block for block in self.blocks if isinstance(block, FcBlock)]
        shifts = [*(block.fc_c(code) for block in fc_blocks), zero]
        blocks = []
        for block, shift in zip(fc_blocks, shifts[1:], strict=True):
            bias_1 = block.fc_1.bias + shift
            blocks.append(
                AffineBlock(one, zero, block.fc_0.weight, block.fc_0.bias, block.fc_1.weight, bias_1)
            )
        bias = self.fc_p.bias + shifts[0]
        return AffineDecoder(self.fc_p.weight, bias, blocks, one, zero, self.fc_out.weight, self.fc_out.bias)


def _input_layer(layer: nn.Linear, points: Tensor, frequencies: int) -> Tensor:
    """Channels (B, T, hidden) of points (B, T, 3).

    Rounding to bfloat16 moves a point by 0.001. Under autocast, points (with a 1 for the bias) and weights are therefore
    split into two bfloat16 terms, and three of the four products are summed in single precision; the omitted one is
    smaller than the largest by a factor of 2^16.
    """
    encoded, device = encode(points.to(layer.weight.dtype), frequencies), points.device.type
    if not torch.is_autocast_enabled(device):
        channels: Tensor = layer(encoded)
        return channels
    dtype = torch.get_autocast_dtype(device)
    x_hi, x_lo = _split_hi_lo(functional.pad(encoded, (0, 1), value=1.0), dtype)
    weight_hi, weight_lo = _split_hi_lo(torch.cat([layer.weight, layer.bias[:, None]], dim=1), dtype)
    return functional.linear(
        torch.cat([x_hi, x_lo, x_hi], dim=-1), torch.cat([weight_hi, weight_hi, weight_lo], dim=1)
    )


def _split_hi_lo(values: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Values rounded to a shorter type, and the remainder in the same type."""
    rounded = values.to(dtype)
    return rounded, (values - rounded).to(dtype)
