"""Uncertainty of the fields of several images of one shape, as columns of the tables of views and photos."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib.geometry.agreement import mean_logits
from occnet_lib.geometry.uncertainty import entropy, expected_iou, probabilities, viewing_directions

from .metrics import iou
from .reliability import Sums, reliability

Logits = NDArray[np.floating]
COLUMNS = ("azimuth", "elevation", "expected_iou", "entropy", "brier", "agreement")
"""Columns of `uncertainty_columns` beside `expected_iou_k`."""


def uncertainty_columns(
    logits: Sequence[Logits | None],
    occupied: NDArray[np.bool_],
    level: float,
    rotations: NDArray[np.floating],
    counts: Iterable[int] = (),
) -> list[dict[str, Any]]:
    """Columns of the row of each image.

    * azimuth, elevation: from where the camera sees the shape, degrees (`viewing_directions`);
    * expected_iou: the IoU that the field expects of itself, not calibrated; `expected_iou_k`: of the mean of k
      consecutive images, as `merged.merged_columns` forms them;
    * entropy: mean over the points, bits;
    * brier: mean squared error of the probabilities;
    * agreement: IoU with the mean field of the other images, not with the ground truth; "" without others.

    Args:
        logits: V fields at the same N points (N,); None for an image that is refused, whose row has its direction only.
        occupied: (N,) bool, the ground truth.
        level: logit above which a point is inside.
        rotations: (V, 3, 3), unit frame to camera.
        counts: sizes of sets for `expected_iou_k`; those above V are left out.
    """
    counts = [k for k in counts if 1 < k <= len(logits)]
    azimuths, elevations = viewing_directions(rotations)
    columns = []
    for i, field in enumerate(logits):
        row: dict[str, Any] = dict.fromkeys(COLUMNS, "")
        row |= {"azimuth": round(azimuths[i], 3), "elevation": round(elevations[i], 3)}
        if field is not None:
            row["expected_iou"] = expected_iou(field, level)
            row["entropy"] = float(entropy(field).mean())
            row["brier"] = float(((probabilities(field) - occupied) ** 2).mean())
            others = [other for j, other in enumerate(logits) if j != i and other is not None]
            if others:
                row["agreement"] = iou(field > level, mean_logits(np.stack(others)) > level)
        for k in counts:
            read = [logits[(i + j) % len(logits)] for j in range(k)]
            present = [one for one in read if one is not None]
            row[f"expected_iou_{k}"] = expected_iou(mean_logits(np.stack(present)), level) if present else ""
        columns.append(row)
    return columns


def reliability_of(logits: Sequence[Logits | None], occupied: NDArray[np.bool_]) -> Sums:
    """Sums of `reliability` over all points of all images that are not refused."""
    present = [field for field in logits if field is not None]
    stacked = np.stack(present) if present else np.zeros((0, len(occupied)))
    return reliability(stacked, np.broadcast_to(occupied, stacked.shape))
