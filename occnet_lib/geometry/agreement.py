"""Several images of one object: the mean of their fields, and which images disagree with the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RATIO = 0.4
"""A field disagrees whose agreement with the others is below this fraction of the others' among themselves.

Chosen on views of the demo's test shapes, so that 5 % of sets of three, four and five views of one shape have a view
named; 73 %, 75 % and 76 % of views of other shapes among them then are (docs/photos.md)."""

TWO = 0.3
"""Two fields disagree whose agreement is below this (4 % of pairs of one shape, 81 % of pairs of different ones)."""

OTHERS = 0.2
"""A field is named only where the others agree at least this far among themselves. On the same views it changes nothing; of
images of as many objects it leaves out none."""


@dataclass(frozen=True)
class Agreement:
    """How far the fields of several images of one object agree.

    Attributes:
        values: (V,) float64, mean agreement of each field with the others, 0 to 1.
        others: (V,) float64, mean agreement of the other fields among themselves; 1 of two fields.
        outliers: indices of the fields that disagree with the others; of two fields both or none.
        groups: two groups of at least two fields each that agree within themselves and not with each other, as those of
            images of two objects do; empty where there are none, or outliers. Which group is wrong cannot be known.
    """

    values: NDArray[np.float64]
    others: NDArray[np.float64]
    outliers: tuple[int, ...]
    groups: tuple[tuple[int, ...], ...] = ()

    @property
    def can_drop(self) -> bool:
        """Whether there are outliers that can be left out, which needs more than two fields."""
        return len(self.values) > 2 and len(self.outliers) > 0

    @property
    def all_disagree(self) -> bool:
        """Whether most fields disagree with each other, so that none stands out: pairs agree less than `TWO` on average.

        So do two that disagree, and images of as many objects.
        """
        return float(self.values.mean()) < TWO and (len(self.values) == 2 or not self.outliers)


def mean_logits(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    """(N,) mean of logits (V, N): the field of several images of one object."""
    mean: NDArray[np.floating] = logits.mean(axis=0)
    return mean


def agreement(logits: NDArray[np.floating], level: float) -> Agreement:
    """Compare every two fields by the IoU of their probabilities, Σ min(p, q) / Σ max(p, q).

    Thin parts that two fields put a little apart have little in common as occupancies, but more as probabilities; these
    separate images of other objects from bad views of the same one better than occupancies do, and each pair better
    than each field and the mean, which an image of another object spoils.

    Args:
        logits: (V, N) of V at least 2 fields at the same N points, uniform in the cube.
        level: logit above which a point is inside; probabilities are counted from it.
    """
    probabilities = 1.0 / (1.0 + np.exp(np.clip(level - logits.astype(np.float64), -50.0, 50.0)))
    count = len(logits)
    pairs = np.eye(count)
    for i in range(count):
        for j in range(i):
            common = np.minimum(probabilities[i], probabilities[j]).sum()
            pairs[i, j] = pairs[j, i] = common / np.maximum(probabilities[i], probabilities[j]).sum()
    sums = pairs.sum(axis=1) - 1.0
    rest = sums.sum() / 2.0 - sums  # over the pairs that a field is not in
    among = rest / ((count - 1) * (count - 2) / 2) if count > 2 else np.ones(2)
    values = sums / (count - 1)
    outliers = disagreeing(values, among)
    return Agreement(values, among, outliers, () if outliers else two_groups(pairs))


def disagreeing(values: NDArray[np.float64], others: NDArray[np.float64]) -> tuple[int, ...]:
    """Indices of the fields that disagree by `Agreement.values` and `others`: fewer than half, or both of two."""
    if len(values) == 2:
        return (0, 1) if values[0] < TWO else ()
    low = np.flatnonzero((values < RATIO * others) & (others >= OTHERS))
    return tuple(low.tolist()) if 2 * len(low) < len(values) else ()


def two_groups(pairs: NDArray[np.float64]) -> tuple[tuple[int, ...], ...]:
    """`Agreement.groups`, by average linkage of the fields' agreements (V, V).

    Groups agree with each other less than `RATIO` times as far as within themselves. In groups a field agrees with some
    others, so that `disagreeing` does not name it.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    count = len(pairs)
    if count < 4:
        return ()
    tree = linkage(squareform(1.0 - pairs, checks=False), "average")
    first = fcluster(tree, 2, "maxclust") == 1
    if not 2 <= first.sum() <= count - 2:
        return ()
    same = first == first[:, None]
    within = pairs[same & ~np.eye(count, dtype=bool)].mean()
    if within < OTHERS or pairs[~same].mean() >= RATIO * within:
        return ()
    first = first if first[0] else ~first
    return tuple(np.flatnonzero(first).tolist()), tuple(np.flatnonzero(~first).tolist())
