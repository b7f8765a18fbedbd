"""A decoder folded for one image: what depends on the code alone is computed once, not for every point."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import deepcopy
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from .decoders import AffineBlock, AffineDecoder, CbnDecoder, FcDecoder
from .positional_encoding import encode
from .precision import multiplies_bf16

_PROBES = 1024
_SAFETY = 3.0
"""A field's largest error in bfloat16 is at most 1.7 times that at its probes, in trained and in random networks."""


class Field(ABC):
    """A field of tensors, which may have a cheap approximation, for arrays."""

    device: torch.device

    @property
    @abstractmethod
    def margin(self) -> float | None:
        """A bound on the error of `rough` in logits; None: there is no `rough`."""

    @abstractmethod
    def rough(self, points: Tensor) -> Tensor:
        """The same as calling it, in bfloat16; points on the device, no gradients."""

    @abstractmethod
    def __call__(self, points: Tensor) -> Tensor:
        """Logits (N,) float32 of points (N, 3), unit frame; differentiable with respect to the points."""

    def on_array(self, points: NDArray[np.floating], level: float | None = None) -> NDArray[np.float32]:
        """The same for arrays: (N, 3) of any float type to (N,) float32.

        Args:
            points: unit frame.
            level: the surface's logit. Only logits near it need then be exact: those off by more than `margin` come
                from bfloat16 where that is faster, so that signs are those of float32.
        """
        at = torch.from_numpy(np.ascontiguousarray(points, dtype=np.float32)).to(self.device)
        with torch.no_grad():
            if level is None or self.margin is None:
                logits = self(at)
            else:
                logits = self.rough(at)
                near = torch.nonzero(~((logits - level).abs() >= self.margin)).squeeze(
                    1
                )  # and what is no number
                logits[near] = self(at[near])
        array: NDArray[np.float32] = logits.cpu().numpy()
        return array


class MeanField(Field):
    """The mean of fields' logits: several views of one object."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self._fields, self.device = fields, fields[0].device

    def __call__(self, points: Tensor) -> Tensor:
        """Logits (N,) of points (N, 3), differentiable in them."""
        return self._mean([field(points) for field in self._fields])

    @cached_property
    def margin(self) -> float | None:
        """The mean's error is at most the mean of the errors."""
        margins = [field.margin for field in self._fields]
        return None if None in margins else sum(filter(None, margins)) / len(margins)

    def rough(self, points: Tensor) -> Tensor:
        """The mean of the approximations."""
        return self._mean([field.rough(points) for field in self._fields])

    def _mean(self, logits: list[Tensor]) -> Tensor:
        first, *rest = logits
        return sum(rest, start=first) / len(logits)


class FoldedDecoder(Field):
    """Occupancy logits of points for one fixed code, `f(points (N, 3)) -> (N,)`.

    No parameter is tracked, so a gradient with respect to the points costs no gradient of the weights.

    Args:
        decoder: its running statistics are used; later changes of its weights do not enter.
        code: (c_dim,) float32, on the device where points are to be treated.
        chunk: points treated at a time where no gradient is asked for, which bounds the memory.
        rotation: (3, 3) that turns points before they are decoded, or None.
    """

    def __init__(
        self,
        decoder: CbnDecoder | FcDecoder,
        code: Tensor,
        chunk: int = 100_000,
        rotation: Tensor | None = None,
    ) -> None:
        self.chunk = chunk
        self._rotation = None if rotation is None else rotation.to(code.device, torch.float32)
        self.device = code.device
        self._frequencies = decoder.frequencies
        # Folded in double precision: the scale of a nearly constant channel is large.
        with torch.no_grad(), torch.autocast(code.device.type, enabled=False):
            self._decoder = _to_float(deepcopy(decoder).double().fold(code.double()))
        self._rough = _Rough(self._decoder) if multiplies_bf16(code.device.type) else None

    @cached_property
    def margin(self) -> float | None:
        """A bound on the error of `rough`: three times that at random points of the cube. None: there is no `rough`.

        In the larger cube that `frame: camera` asks for it is larger, but within the factor.
        """
        if self._rough is None:
            return None
        probes = (torch.rand(_PROBES, 3, generator=torch.Generator().manual_seed(0)) * 1.1 - 0.55).to(
            self.device
        )
        with torch.no_grad():
            return _SAFETY * float((self.rough(probes) - self(probes)).abs().max())

    def rough(self, points: Tensor) -> Tensor:
        """The same as calling it, in bfloat16, on the device and without gradients."""
        assert self._rough is not None
        return torch.cat([self._rough(self._first(part)) for part in points.split(self.chunk)])

    def __call__(self, points: Tensor) -> Tensor:
        """Logits (N,) float32 of points (N, 3), unit frame; differentiable with respect to the points."""
        points = points.to(device=self.device, dtype=torch.float32)
        if torch.is_grad_enabled() and points.requires_grad:
            return self._logits(points)
        with torch.no_grad():
            return torch.cat([self._logits(part) for part in points.split(self.chunk)])

    def _first(self, points: Tensor) -> Tensor:
        """(N, hidden) features before the blocks."""
        if self._rotation is not None:
            points = points @ self._rotation.T
        return torch.addmm(self._decoder.bias, encode(points, self._frequencies), self._decoder.weight.T)

    def _logits(self, points: Tensor) -> Tensor:
        decoder, net = self._decoder, self._first(points)
        for block in decoder.blocks:
            hidden = _relu(torch.addcmul(block.shift, net, block.scale))
            hidden = _relu(torch.addmm(block.bias_0, hidden, block.weight_0.T))
            net = net + torch.addmm(block.bias_1, hidden, block.weight_1.T)
        hidden = _relu(torch.addcmul(decoder.shift, net, decoder.scale))
        return hidden @ decoder.weight_out[0] + decoder.bias_out


class _Rough:
    """The blocks of a folded decoder in bfloat16, features (N, hidden) float32 to logits (N,) float32."""

    def __init__(self, decoder: AffineDecoder) -> None:
        # What the blocks add to all points alike is added to what is added next, in place of a pass over the features.
        offset = torch.zeros_like(decoder.shift)
        self._blocks = []
        for block in decoder.blocks:
            shift = block.shift + block.scale * offset
            parts = block.scale, shift, block.weight_0.T, block.bias_0, block.weight_1.T
            self._blocks.append(tuple(part.to(torch.bfloat16) for part in parts))
            offset = offset + block.bias_1
        self._scale, self._shift = decoder.scale, decoder.shift + decoder.scale * offset
        self._weight, self._bias = decoder.weight_out[0], decoder.bias_out

    def __call__(self, features: Tensor) -> Tensor:
        net = features.to(torch.bfloat16)
        for scale, shift, weight_0, bias_0, weight_1 in self._blocks:
            hidden = torch.addcmul(shift, net, scale).relu_()
            hidden = torch.addmm(bias_0, hidden, weight_0).relu_()
            net.addmm_(hidden, weight_1)
        return torch.addcmul(self._shift, net.float(), self._scale).relu_() @ self._weight + self._bias


def _relu(values: Tensor) -> Tensor:
    return functional.relu(values, inplace=not values.requires_grad)


def _to_float(decoder: AffineDecoder) -> AffineDecoder:
    blocks = [AffineBlock(*(value.float() for value in block)) for block in decoder.blocks]
    tensors = {name: value.float() for name, value in decoder._asdict().items() if name != "blocks"}
    return AffineDecoder(blocks=blocks, **tensors)
