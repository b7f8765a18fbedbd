"""Transforms of COLLADA nodes."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from .document import numbers

_SIZES = {"matrix": 16, "translate": 3, "rotate": 4, "scale": 3, "lookat": 9}


def matrix_of(node: Element) -> NDArray[np.float64]:
    """(4, 4) product of a node's transforms, in their order.

    Raises:
        ValueError: a transform with another number of values, or a shear.
    """
    matrix = np.eye(4)
    for child in node:
        if child.tag == "skew":
            raise ValueError("<skew> is not supported")
        if child.tag not in _SIZES:
            continue
        values = numbers(child)
        if len(values) != _SIZES[child.tag]:
            raise ValueError(f"a <{child.tag}> of {len(values)} numbers")
        with np.errstate(all="ignore"):
            matrix = matrix @ _MATRICES[child.tag](values)
    return matrix


def _translate(values: NDArray[np.float64]) -> NDArray[np.float64]:
    matrix = np.eye(4)
    matrix[:3, 3] = values
    return matrix


def _rotate(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """About an axis by an angle in degrees (Rodrigues' formula)."""
    matrix = np.eye(4)
    length = np.linalg.norm(values[:3])
    if length == 0:
        return matrix
    x, y, z = values[:3] / length
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(values[3])
    matrix[:3, :3] += np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return matrix


def _lookat(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Frame of an eye that looks along -z at a point, y being up."""
    eye, point, up = values.reshape(3, 3)
    back = eye - point
    right = np.cross(up, back)
    true_up = np.cross(back, right)
    matrix = np.eye(4)
    axes = [axis / (np.linalg.norm(axis) or 1.0) for axis in (right, true_up, back)]
    matrix[:3, :3], matrix[:3, 3] = np.stack(axes, axis=1), eye
    return matrix


_MATRICES: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "matrix": lambda values: values.reshape(4, 4),
    "scale": lambda values: np.diag([*values, 1.0]),
    **{"translate": _translate, "rotate": _rotate, "lookat": _lookat},
}
