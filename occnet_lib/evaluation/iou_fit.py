"""Fits of `storage.iou_calibration` to the views of the validation set."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib.storage.iou_calibration import COVERAGE, IouFit

logger = logging.getLogger(__name__)
MIN_SHAPES = 10
"""Number of shapes from which there is an interval: the smallest that can leave one shape out of ten."""

_Pairs = Sequence[NDArray[np.float64]]


def fits_of_views(rows: Iterable[Mapping[str, Any]], counts: Iterable[int] = ()) -> dict[int, IouFit]:
    """Fits by number of images whose logits are averaged: 1 and those of `counts` that the rows have.

    Args:
        rows: of `view_metrics.measure_views` with uncertainty.
        counts: as given to it.
    """
    shapes: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        shapes.setdefault((row["category"], row["id"]), []).append(row)
    fits = {}
    for count in (1, *counts):
        end = f"_{count}" if count > 1 else ""
        names = f"expected_iou{end}", f"iou{end}"
        pairs = [
            np.array([[float(row[name]) for name in names] for row in own])
            for own in shapes.values()
            if all(name in row for row in own for name in names)
        ]
        if pairs:
            fits[count] = fit(pairs)
    if 0 < len(shapes) < MIN_SHAPES:
        logger.warning(
            "%d validation shapes: the expected IoU has no interval, which needs %d", len(shapes), MIN_SHAPES
        )
    return fits


def fit(pairs: _Pairs) -> IouFit:
    """The line of least squares with a gradient of at least 0, and the interval of its residuals.

    Every shape has the same weight. Residuals are those of lines fitted without the shape (Barber et al. 2021, jackknife+,
    with the residuals of a shape's views taken together), so the half-width holds for new shapes; it is the quantile
    that split conformal prediction takes of as many shapes.

    Args:
        pairs: of each shape (n, 2) expected and true IoU, n at least 1.
    """
    gradient, intercept = _line(pairs)
    half_width = None
    if len(pairs) >= MIN_SHAPES:
        residuals, weights = [], []
        for i, own in enumerate(pairs):
            line = _line([*pairs[:i], *pairs[i + 1 :]])
            residuals.append(np.abs(np.clip(line[1] + line[0] * own[:, 0], 0.0, 1.0) - own[:, 1]))
            weights.append(np.full(len(own), 1.0 / len(own)))
        level = min(1.0, COVERAGE * (len(pairs) + 1) / len(pairs))
        half_width = _quantile(np.concatenate(residuals), np.concatenate(weights), level)
    return IouFit(gradient, intercept, half_width, len(pairs), sum(map(len, pairs)))


def _line(pairs: _Pairs) -> tuple[float, float]:
    """Gradient and intercept; a horizontal line where the expected IoU is constant."""
    x, y = np.concatenate(pairs).T
    weight = np.concatenate([np.full(len(own), 1.0 / (len(own) * len(pairs))) for own in pairs])
    mean_x, mean_y = weight @ x, weight @ y
    variance = weight @ (x - mean_x) ** 2
    gradient = max(float(weight @ ((x - mean_x) * (y - mean_y)) / variance), 0.0) if variance > 1e-12 else 0.0
    return gradient, float(mean_y - gradient * mean_x)


def _quantile(values: NDArray[np.float64], weights: NDArray[np.float64], level: float) -> float:
    """The smallest value that at least a fraction `level` of the weights does not exceed."""
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][min(int(np.searchsorted(reached, level - 1e-9)), len(order) - 1)])
