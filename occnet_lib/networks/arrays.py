"""Conversion of NumPy arrays to tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor


def tensor_of(
    array: ArrayLike, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
) -> Tensor:
    """An array as a tensor, without a copy where possible.

    Read-only arrays, such as Pillow's images, are copied: torch warns about them because tensors are writable.
    """
    plain: Any = np.require(array, requirements=("C_CONTIGUOUS", "WRITEABLE"))
    return torch.as_tensor(plain, dtype=dtype, device=device)
