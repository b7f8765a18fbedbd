"""Analytic fields of tensors as refinement asks them: with their derivative."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def sloped(field: Callable[[Tensor], Tensor]) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Points (N, 3) to the field's values (N,) and autograd's derivative, as `networks.folded.Field.with_gradient`."""

    def asked(points: Tensor) -> tuple[Tensor, Tensor]:
        at = points if points.requires_grad else points.detach().requires_grad_(True)
        with torch.enable_grad():
            values = field(at)
            (gradient,) = torch.autograd.grad(values.sum(), at, create_graph=points.requires_grad)
        return values.detach(), gradient

    return asked
