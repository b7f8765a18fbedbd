"""Passes over the features of a conditional norm with ReLU, compiled for the CPU (numba).

PyTorch's own operations on bfloat16 spend their time converting it. Arrays are (B, T, channels): float32, float64, or
bfloat16 as its bits (uint16), which are computed with in single precision. Each function treats the shapes from `first`
to before `last`. With x̂ = (x − mean) · scale and y = gamma · x̂ + beta, what is computed of x is max(y, 0).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload

_HALF, _ONE, _BITS = np.uint32(0x7FFF), np.uint32(1), np.uint32(16)


def _wide(value: Any) -> Any:
    """A number to compute with; of bfloat16's bits by `_wide_of`."""
    return value


@overload(_wide, inline="always")
def _wide_of(value: Any) -> Any:
    def same(value: Any) -> Any:
        return value

    def widened(value: Any) -> Any:
        return np.uint32(np.uint32(value) << _BITS).view(np.float32)

    return widened if isinstance(value, types.Integer) else same


def _rounded(value: Any, like: Any) -> Any:  # noqa: ARG001
    """A number to store where `like` is; as bfloat16's bits by `_rounded_of`."""
    return value


@overload(_rounded, inline="always")
def _rounded_of(value: Any, like: Any) -> Any:  # noqa: ARG001
    """To the nearest bfloat16, ties to even."""

    def same(value: Any, like: Any) -> Any:  # noqa: ARG001
        return value

    def nearest(value: Any, like: Any) -> Any:  # noqa: ARG001
        if value != value:  # no number, whose bits rounding might carry over
            return np.uint16(0x7FC0)
        bits = np.float32(value).view(np.uint32)
        return np.uint16(np.uint32(bits + _HALF + np.uint32(np.uint32(bits >> _BITS) & _ONE)) >> _BITS)

    return nearest if isinstance(like, types.Integer) else same


@njit(cache=True, nogil=True)
def sums(features: Any, origin: Any, first_sums: Any, second_sums: Any, first: int, last: int) -> None:
    """Add Σ (x − origin) and Σ (x − origin)² over the points of each shape to arrays (B, channels)."""
    for shape in range(first, last):
        ones, squares = first_sums[shape], second_sums[shape]
        for point in range(features.shape[1]):
            for c in range(features.shape[2]):
                x = _wide(features[shape, point, c]) - origin[c]
                ones[c] += x
                squares[c] += x * x


@njit(cache=True, nogil=True)
def norm_relu(
    features: Any, gamma: Any, beta: Any, mean: Any, scale: Any, above: Any, first: int, last: int
) -> None:
    """Write max(y, 0); what is not a number stays so."""
    zero = mean.dtype.type(0)
    for shape in range(first, last):
        factor, shift = gamma[shape], beta[shape]
        for point in range(features.shape[1]):
            for c in range(features.shape[2]):
                x = _wide(features[shape, point, c])
                y = (x - mean[c]) * scale[c] * factor[c] + shift[c]
                if y <= zero:
                    y = zero
                above[shape, point, c] = _rounded(y, features[shape, point, c])


@njit(cache=True, nogil=True)
def parameter_slopes(
    features: Any,
    slope: Any,
    gamma: Any,
    beta: Any,
    mean: Any,
    scale: Any,
    at_gamma: Any,
    at_beta: Any,
    first: int,
    last: int,
) -> None:
    """Given the slope at max(y, 0), add that at gamma and beta to arrays (B, channels)."""
    zero = mean.dtype.type(0)
    for shape in range(first, last):
        factor, shift, of_factor, of_shift = gamma[shape], beta[shape], at_gamma[shape], at_beta[shape]
        for point in range(features.shape[1]):
            for c in range(features.shape[2]):
                x = (_wide(features[shape, point, c]) - mean[c]) * scale[c]
                behind = _wide(slope[shape, point, c])
                if x * factor[c] + shift[c] <= zero:
                    behind = zero
                of_factor[c] += behind * x
                of_shift[c] += behind


@njit(cache=True, nogil=True)
def feature_slopes(
    features: Any,
    slope: Any,
    gamma: Any,
    beta: Any,
    mean: Any,
    scale: Any,
    back: Any,
    shifts: Any,
    first: int,
    last: int,
) -> None:
    """In place of the slope at max(y, 0), write that at x: scale · (gamma · dy − shifts − x̂ · back)."""
    zero = mean.dtype.type(0)
    for shape in range(first, last):
        factor, shift = gamma[shape], beta[shape]
        for point in range(features.shape[1]):
            for c in range(features.shape[2]):
                x = (_wide(features[shape, point, c]) - mean[c]) * scale[c]
                behind = _wide(slope[shape, point, c])
                if x * factor[c] + shift[c] <= zero:
                    behind = zero
                found = scale[c] * (factor[c] * behind - shifts[c] - x * back[c])
                slope[shape, point, c] = _rounded(found, slope[shape, point, c])
