"""Similarity transforms: rotation, uniform scale and translation."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Similarity(NamedTuple):
    """The map `x -> scale * rotation @ x + translation`.

    Attributes:
        scale: uniform scale.
        rotation: (3, 3) proper rotation.
        translation: (3,).
    """

    scale: float
    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]

    def apply(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """The map of points (N, 3)."""
        return np.asarray(self.scale * points @ self.rotation.T + self.translation)

    def inverse(self) -> Similarity:
        """The inverse map."""
        rotation = self.rotation.T
        return Similarity(1.0 / self.scale, rotation, -(rotation @ self.translation) / self.scale)

    def after(self, first: Similarity) -> Similarity:
        """The map that applies `first`, then this one."""
        rotation = self.rotation @ first.rotation
        return Similarity(self.scale * first.scale, rotation, self.apply(first.translation[None])[0])

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(4, 4) homogeneous matrix."""
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = self.scale * self.rotation, self.translation
        return matrix

    @property
    def angle(self) -> float:
        """Angle of the rotation in degrees."""
        return math.degrees(math.acos(min(max((np.trace(self.rotation) - 1.0) / 2.0, -1.0), 1.0)))


IDENTITY = Similarity(1.0, np.eye(3), np.zeros(3))
