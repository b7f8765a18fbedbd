"""Fields of images: a decoder folded for one image, whose parts that depend on the code alone are computed once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import deepcopy
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import logsigmoid

from .arrays import tensor_of
from .decoders import AffineDecoder, CbnDecoder, FcDecoder, encode
from .hardware import has_fast_bf16
from .local_features import FoldedFeatures

_PROBES = 1024
_GRADIENT_CHUNK = 8192  # points per call: the gradient keeps two feature arrays per block
_SAFETY = 3.0
"""A field's largest error in bfloat16 is at most 1.7 times that at its probes, in trained and in random networks."""


class TorchField(ABC):
    """A field of tensors and arrays that can be evaluated in low precision: in bfloat16 where that is faster.

    Points are float32, in the unit frame; points and results are on the field's device.
    """

    device: torch.device

    @property
    @abstractmethod
    def margin(self) -> float | None:
        """A bound on the error of low-precision logits; None if bfloat16 is not faster."""

    @abstractmethod
    def __call__(self, points: Tensor, *, low_precision: bool = False) -> Tensor:
        """Logits (N,) float32 of points (N, 3); without autograd."""

    @abstractmethod
    def with_gradient(self, points: Tensor, *, low_precision: bool = False) -> tuple[Tensor, Tensor]:
        """Logits (N,) and their gradient (N, 3) with respect to the points, both float32.

        With positional encoding or pixel-aligned features, where it is not piecewise constant, the gradient is itself
        differentiable for points that require a gradient.
        """

    def on_array(self, points: NDArray[np.floating], level: float | None = None) -> NDArray[np.float32]:
        """The same for arrays: (N, 3) of any float type to (N,) float32.

        Args:
            points: unit frame.
            level: the surface's logit. Then only logits near it are exact: those farther away than `margin` come from
                bfloat16 where that is faster, so that signs equal those of float32.
        """
        at = tensor_of(np.asarray(points, dtype=np.float32), self.device)
        with torch.no_grad():
            if level is None or self.margin is None:
                logits = self(at)
            else:
                logits = self(at, low_precision=True)
                far = (logits - level).abs() >= self.margin  # false for NaN
                near = torch.nonzero(~far).squeeze(1)
                logits[near] = self(at[near])
        array: NDArray[np.float32] = logits.cpu().numpy()
        return array


class MeanField(TorchField):
    """The mean of fields' logits: several views of one object."""

    def __init__(self, fields: Sequence[TorchField]) -> None:
        self._fields, self.device = fields, fields[0].device

    def __call__(self, points: Tensor, *, low_precision: bool = False) -> Tensor:
        """The mean of the logits (N,) over the fields."""
        return self._mean([field(points, low_precision=low_precision) for field in self._fields])

    @cached_property
    def margin(self) -> float | None:
        """The mean's error is at most the mean of the errors."""
        margins = [field.margin for field in self._fields]
        return None if None in margins else sum(filter(None, margins)) / len(margins)

    def with_gradient(self, points: Tensor, *, low_precision: bool = False) -> tuple[Tensor, Tensor]:
        """The mean of both over the fields."""
        results = [field.with_gradient(points, low_precision=low_precision) for field in self._fields]
        logits, gradients = zip(*results, strict=True)
        return self._mean(logits), self._mean(gradients)

    def _mean(self, values: Sequence[Tensor]) -> Tensor:
        first, *rest = values
        return sum(rest, start=first) / len(values)


class FoldedDecoder(TorchField):
    """Occupancy logits of points for one fixed code, `f(points (N, 3)) -> (N,)`.

    Parameters do not require gradients, so a gradient with respect to the points does not compute those of the weights.

    Args:
        decoder: its running statistics are used; later changes of its weights do not enter.
        code: (c_dim,) float32, on the device to use.
        chunk: points per call, which bounds the memory.
        rotation: (3, 3) that turns points before they are decoded, or None.
        local: pixel-aligned features of points of the unit frame, or None.
    """

    def __init__(
        self,
        decoder: CbnDecoder | FcDecoder,
        code: Tensor,
        chunk: int = 100_000,
        rotation: Tensor | None = None,
        local: FoldedFeatures | None = None,
    ) -> None:
        self.chunk, self._local = chunk, local
        self._rotation = None if rotation is None else rotation.to(code.device, torch.float32)
        self.device = code.device
        self._frequencies = decoder.frequencies
        # Folded in double precision: the scale of a nearly constant channel is large.
        with torch.no_grad(), torch.autocast(code.device.type, enabled=False):
            folded = deepcopy(decoder).double().fold(code.double())
            self._weight, self._bias = folded.weight.float(), folded.bias.float()
            if local is not None:
                self._bias = self._bias + local.bias
            self._exact = _Blocks(folded, torch.float32)
            fast = has_fast_bf16(code.device.type)
            self._low_precision = _Blocks(folded, torch.bfloat16) if fast else self._exact

    @cached_property
    def margin(self) -> float | None:
        """A bound on the error of low-precision logits: three times that at random points of the cube.

        In the larger cube of `frame: camera` the error is larger, but within the safety factor.
        """
        if self._low_precision is self._exact:
            return None
        uniform = torch.rand(_PROBES, 3, generator=torch.Generator().manual_seed(0))
        probes = (1.1 * uniform - 0.55).to(self.device)
        return _SAFETY * float((self(probes, low_precision=True) - self(probes)).abs().max())

    def __call__(self, points: Tensor, *, low_precision: bool = False) -> Tensor:
        """Logits (N,) float32 of points (N, 3), see `TorchField`."""
        blocks = self._low_precision if low_precision else self._exact
        fast = blocks is not self._exact
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            return torch.cat([blocks(self._first(part, fast)) for part in points.split(self.chunk)])

    def with_gradient(self, points: Tensor, *, low_precision: bool = False) -> tuple[Tensor, Tensor]:
        """Logits (N,) and their gradient (N, 3) with respect to the points; see `TorchField`."""
        blocks = self._low_precision if low_precision else self._exact
        parts = points.split(min(self.chunk, _GRADIENT_CHUNK))
        logits, gradients = zip(*(self._differentiate(blocks, part) for part in parts), strict=True)
        return torch.cat(logits), torch.cat(gradients)

    def _differentiate(self, blocks: _Blocks, points: Tensor) -> tuple[Tensor, Tensor]:
        differentiable = points.requires_grad
        with torch.enable_grad(), torch.autocast(self.device.type, enabled=False):
            at = points if differentiable else points.detach().requires_grad_(True)
            features = self._first(at, blocks is not self._exact)
            logits, grad_features = blocks.with_gradient(features.detach())
            (gradient,) = torch.autograd.grad(features, at, grad_features, create_graph=differentiable)
        return logits, gradient

    def _first(self, points: Tensor, low_precision: bool) -> Tensor:
        """(N, hidden) float32 features before the blocks; only pixel-aligned features have a low precision."""
        at = points if self._rotation is None else points @ self._rotation.T
        features = torch.addmm(self._bias, encode(at, self._frequencies), self._weight.T)
        return (
            features if self._local is None else features + self._local(points, low_precision=low_precision)
        )


class _Blocks:
    """The blocks of a folded decoder in one dtype, features (N, hidden) float32 to logits (N,) float32.

    A block's output bias is merged into the next shift, which saves a pass over the features. Gradients are computed
    explicitly: they only need the sign of each ReLU's input.
    """

    def __init__(self, decoder: AffineDecoder, dtype: torch.dtype) -> None:
        offset = torch.zeros_like(decoder.shift)
        self._forward, self._backward = [], []
        for block in decoder.blocks:
            shift = block.shift + block.scale * offset
            parts = block.scale, shift, block.weight_0.T, block.bias_0, block.weight_1.T
            self._forward.append(tuple(part.to(dtype) for part in parts))
            back = block.weight_1, block.weight_0 * block.scale
            self._backward.append(tuple(part.to(dtype) for part in back))
            offset = offset + block.bias_1
        last = decoder.scale, decoder.shift + decoder.scale * offset, decoder.weight_out[0], decoder.bias_out
        self._scale, self._shift, self._weight, self._bias = (part.float() for part in last)
        self._dtype = dtype

    def __call__(self, features: Tensor) -> Tensor:
        net = features.to(self._dtype)
        for block in self._forward:
            self._add(net, block)
        return self._last(net) @ self._weight + self._bias

    def with_gradient(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N,) and their gradient (N, hidden) with respect to the features, both float32."""
        net = features.to(self._dtype, copy=True)
        activations = [self._add(net, block) for block in self._forward]
        last = self._last(net)
        grad = ((last > 0) * (self._scale * self._weight)).to(self._dtype)
        for (weight_1, weight_0), (first, second) in zip(
            self._backward[::-1], activations[::-1], strict=True
        ):
            grad += _where_positive(_where_positive(grad @ weight_1, second) @ weight_0, first)
        return last @ self._weight + self._bias, grad.float()

    @staticmethod
    def _add(net: Tensor, block: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Add the block's output to `net`; returns the features after its two ReLUs."""
        scale, shift, weight_0, bias_0, weight_1 = block
        first = torch.addcmul(shift, net, scale).relu_()
        second = torch.addmm(bias_0, first, weight_0).relu_()
        net.addmm_(second, weight_1)
        return first, second

    def _last(self, net: Tensor) -> Tensor:
        return torch.addcmul(self._shift, net.float(), self._scale).relu_()


def _where_positive(values: Tensor, features: Tensor) -> Tensor:
    """`values` where `features` are positive, else 0: the backward pass of ReLU, in place and without a mask."""
    return torch.ops.aten.threshold_backward.grad_input(values, features, 0, grad_input=values)


class MixtureField(TorchField):
    """The logit of the weighted mean of fields' probabilities.

    Not the mean of logits (`MeanField`): of hypotheses that exclude each other the one that is certain that a point is free
    must not outvote those in which it may be occupied.

    Args:
        fields: at least one.
        weights: of each, sum 1.
    """

    def __init__(self, fields: Sequence[TorchField], weights: Sequence[float]) -> None:
        self._fields, self.device = fields, fields[0].device
        self._log_weights = torch.tensor(weights, dtype=torch.float32, device=self.device).log()[:, None]

    def __call__(self, points: Tensor, *, low_precision: bool = False) -> Tensor:
        """Logits (N,), see `TorchField`."""
        return self._mixed([field(points, low_precision=low_precision) for field in self._fields])[0]

    @cached_property
    def margin(self) -> float | None:
        """The largest one of the fields: the derivatives of the mixture's logit are positive, their sum is at most 1."""
        margins = [field.margin for field in self._fields]
        return None if None in margins else max(margin for margin in margins if margin is not None)

    def with_gradient(self, points: Tensor, *, low_precision: bool = False) -> tuple[Tensor, Tensor]:
        """Logits and gradients; for points that require a gradient the weights of the fields count as constant."""
        results = [field.with_gradient(points, low_precision=low_precision) for field in self._fields]
        mixed, parts = self._mixed([logits.detach() for logits, _ in results])
        gradients = torch.stack([gradient for _, gradient in results])
        return mixed, (parts.unsqueeze(-1) * gradients).sum(0)

    def _mixed(self, logits: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits (N,) of the mean probability, and its derivatives (K, N) with respect to the fields' logits."""
        inside, outside = logsigmoid(torch.stack(list(logits))), logsigmoid(-torch.stack(list(logits)))
        log_p = (self._log_weights + inside).logsumexp(0)
        log_q = (self._log_weights + outside).logsumexp(0)
        return log_p - log_q, (self._log_weights + inside + outside - log_p - log_q).exp()
