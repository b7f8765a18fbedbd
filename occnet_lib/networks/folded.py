"""A decoder folded for one image: what depends on the code alone is computed once, not for every point."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from .decoders import AffineBlock, AffineDecoder, CbnDecoder, FcDecoder
from .positional_encoding import encode


class FoldedDecoder:
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

    def __call__(self, points: Tensor) -> Tensor:
        """Logits (N,) float32 of points (N, 3), unit frame; differentiable with respect to the points."""
        points = points.to(device=self.device, dtype=torch.float32)
        if torch.is_grad_enabled() and points.requires_grad:
            return self._logits(points)
        with torch.no_grad():
            return torch.cat([self._logits(part) for part in points.split(self.chunk)])

    def on_array(self, points: NDArray[np.floating]) -> NDArray[np.float32]:
        """The same for arrays: (N, 3) of any float type to (N,) float32."""
        with torch.no_grad():
            logits = self(torch.from_numpy(np.ascontiguousarray(points, dtype=np.float32)))
        array: NDArray[np.float32] = logits.cpu().numpy()
        return array

    def _logits(self, points: Tensor) -> Tensor:
        decoder = self._decoder
        if self._rotation is not None:
            points = points @ self._rotation.T
        net = torch.addmm(decoder.bias, encode(points, self._frequencies), decoder.weight.T)
        for block in decoder.blocks:
            hidden = _relu(torch.addcmul(block.shift, net, block.scale))
            hidden = _relu(torch.addmm(block.bias_0, hidden, block.weight_0.T))
            net = net + torch.addmm(block.bias_1, hidden, block.weight_1.T)
        hidden = _relu(torch.addcmul(decoder.shift, net, decoder.scale))
        return hidden @ decoder.weight_out[0] + decoder.bias_out


def _relu(values: Tensor) -> Tensor:
    return functional.relu(values, inplace=not values.requires_grad)


def _to_float(decoder: AffineDecoder) -> AffineDecoder:
    blocks = [AffineBlock(*(value.float() for value in block)) for block in decoder.blocks]
    tensors = {name: value.float() for name, value in decoder._asdict().items() if name != "blocks"}
    return AffineDecoder(blocks=blocks, **tensors)
