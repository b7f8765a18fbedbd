"""Calibration of occupancy probabilities: reliability diagram, expected calibration error and Brier score;
uncertainty of the fields of several images of one shape.

All measures come from sums over points by bin of their probability, (BINS, 4) float64: number of points, sum of
probabilities, number of occupied points, sum of squared errors. Sums of two sets of points add up; measures of sums do
not change with a factor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib.geometry.agreement import mean_logits
from occnet_lib.geometry.uncertainty import entropy, expected_iou, probabilities, viewing_directions

from .class_means import rows_of
from .metrics import iou

BINS = 20
"""Bins of equal width of the probability (Naeini et al. 2015; Guo et al. 2017 use 15)."""

COLUMNS = ("model", "category", "id", "bin", "points", "probability", "occupied", "squared_error")
"""Columns of the table of `reliability_rows`; the last three are sums over the points."""

Sums = NDArray[np.float64]
_SUMS = COLUMNS[4:]


def reliability(logits: NDArray[np.floating], occupied: NDArray[np.bool_]) -> Sums:
    """Sums (BINS, 4) of logits and the ground truth, two arrays of one shape."""
    p, y = probabilities(logits).ravel(), np.asarray(occupied, dtype=np.float64).ravel()
    place = np.minimum((BINS * p).astype(np.int64), BINS - 1)
    weights = (np.ones_like(p), p, y, (p - y) ** 2)
    return np.stack([np.bincount(place, w, minlength=BINS) for w in weights], axis=1)


def measures(sums: Sums) -> dict[str, NDArray[np.float64]]:
    """Measures of sums (..., BINS, 4), each (...); NaN where there are no points.

    * ece: expected calibration error, the mean over points of |mean probability - occupied fraction| of their bin;
    * ece_uncertain: the same over the points of all bins but the first and the last. Most points of a cube are far
      outside, where every field is right; they dilute the error over all points;
    * overconfidence: mean probability less occupied fraction of the points with a probability above 1/2;
    * brier: mean squared error of the probabilities (Brier 1950);
    * brier_base: that of a constant probability, the occupied fraction.
    """
    points, p, occupied, squared = np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0)
    error, middle, upper = np.abs(p - occupied), np.s_[..., 1:-1], np.s_[..., BINS // 2 :]
    everywhere = np.s_[...]

    def ratio(values: Sums, part: Any) -> NDArray[np.float64]:
        count = points[part].sum(axis=-1)
        total = np.asarray(values[part].sum(axis=-1))
        return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)

    fraction = ratio(occupied, everywhere)
    return {
        "ece": ratio(error, everywhere),
        "ece_uncertain": ratio(error, middle),
        "overconfidence": ratio(p - occupied, upper),
        "brier": ratio(squared, everywhere),
        "brier_base": fraction * (1.0 - fraction),
    }


def reliability_rows(about: Mapping[str, Any], sums: Sums) -> list[dict[str, Any]]:
    """One row for each bin that has points.

    Args:
        about: model, category and id.
        sums: (BINS, 4), over all views of the shape.
    """
    return [
        dict(about) | {"bin": i, "points": int(own[0])} | dict(zip(_SUMS[1:], own[1:].tolist(), strict=True))
        for i, own in enumerate(sums)
        if own[0] > 0
    ]


def read_reliability(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, Sums]]]:
    """Sums by model, category and id, of the rows of `reliability_rows` as they are or as read.

    Raises:
        DataError: a row lacks a column or has something that is not a number.
    """
    grouped: dict[str, dict[str, dict[str, Sums]]] = {}
    with rows_of("reliability"):
        for row in rows:
            shapes = grouped.setdefault(row["model"], {}).setdefault(row["category"], {})
            own = shapes.setdefault(row["id"], np.zeros((BINS, len(_SUMS))))
            own[int(row["bin"])] += [float(row[name]) for name in _SUMS]
    return grouped


Logits = NDArray[np.floating]
IMAGE_COLUMNS = ("azimuth", "elevation", "expected_iou", "entropy", "brier", "agreement")
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
        row: dict[str, Any] = dict.fromkeys(IMAGE_COLUMNS, "")
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
