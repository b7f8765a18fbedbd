"""numpy arrays as tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor


def tensor_of(
    array: ArrayLike, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
) -> Tensor:
    """A tensor of an array, without a copy where it can be.

    Read-only arrays, as those of Pillow's images, are copied: torch warns of them because a tensor can be written to.
    """
    plain: Any = np.require(array, requirements=("C_CONTIGUOUS", "WRITEABLE"))
    return torch.as_tensor(plain, dtype=dtype, device=device)
