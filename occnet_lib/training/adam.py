"""Adam for weights in channels_last order."""

from __future__ import annotations

from typing import Any

import torch
from typing_extensions import override


class Adam(torch.optim.Adam):
    """PyTorch's, whose fused step on a CPU copies each gradient in channels_last order for nothing.

    It goes over memory as it lies, so the same numbers seen as an array in the usual order give the same result,
    without the copy: two thirds of the time of a step with ResNet-18.
    """

    @override
    def _init_group(self, group: dict[str, Any], *lists: list[torch.Tensor]) -> bool:
        has_complex: bool = super()._init_group(group, *lists)
        *values, _ = lists  # parameters, gradients and their means; the last holds counts of steps
        for tensors in values:
            tensors[:] = [_as_it_lies(tensor) for tensor in tensors]
        return has_complex


def _as_it_lies(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.permute(0, 2, 3, 1) if tensor.is_cpu and tensor.dim() == 4 else tensor
