"""Analytic fields of tensors as refinement asks them: with their derivative; levels that rounding does not reach."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


def sloped(field: Callable[[Tensor], Tensor]) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Points (N, 3) to the field's values (N,) and autograd's derivative, as `networks.folded.TorchField.with_gradient`."""

    def queried(points: Tensor) -> tuple[Tensor, Tensor]:
        at = points if points.requires_grad else points.detach().requires_grad_(True)
        with torch.enable_grad():
            values = field(at)
            (gradient,) = torch.autograd.grad(values.sum(), at, create_graph=points.requires_grad)
        return values.detach(), gradient

    return queried


def between(values: np.ndarray) -> float:
    """A level that no value is near, about as many values being above as below it.

    Which side a value is on is then not decided by its last bits, which depend on the processor and on how many points
    are evaluated at once.
    """
    ordered = np.sort(values, axis=None)
    middle = ordered[int(0.45 * len(ordered)) : int(0.55 * len(ordered)) + 2]
    gap = int(np.argmax(np.diff(middle)))
    assert middle[gap + 1] - middle[gap] > 1e-4
    return float(middle[gap] + middle[gap + 1]) / 2.0
