"""Tables of calibration: measures and reliability curves by model, source of images and class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from occnet_lib.config import Config

from .class_means import Rows, ends, resampled
from .reliability import BINS, Sums, measures, read_reliability

ALL = ""
"""Category of the rows over all classes, each of equal weight."""

MEASURES = ("ece", "ece_uncertain", "overconfidence", "brier", "brier_base")
COLUMNS = (
    *("model", "source", "category", "shapes", "points"),
    *(f"{name}{end}" for name in MEASURES for end in ("", "_low", "_high")),
    *(f"{name}_bias" for name in MEASURES[:2]),
)
"""Columns of evaluate/calibration.csv.

ece_bias, ece_uncertain_bias: mean over the bootstrap samples less the value. A difference of a bin that is chance counts as
an error, so the ECE of few shapes is too large by about as much, and its interval by twice as much (Bröcker 2012).
"""

CURVE = (
    "model",
    "source",
    "category",
    "bin",
    "fraction",
    "probability",
    "occupied",
    "occupied_low",
    "occupied_high",
)
"""Columns of evaluate/reliability.csv, a row a bin: fraction of the points in it, their mean probability and occupied
fraction."""


def summarise_calibration(
    source: str, rows: Iterable[Mapping[str, Any]], config: Config
) -> tuple[Rows, Rows]:
    """Rows of `COLUMNS` and of `CURVE`, for every class and over all classes.

    Intervals are quantiles over bootstrap samples of the shapes within each class, as those of `summary.summarise`;
    empty without resampling and where a class has a single shape.

    Args:
        source: views or photos.
        rows: of `reliability.reliability_rows`, as they are or as read from their tables.
        config: `evaluate.bootstrap` and `seed` are used.

    Raises:
        DataError: a value is not a number.
    """
    table: Rows = []
    curves: Rows = []
    for model, classes in read_reliability(rows).items():
        about = {"model": model, "source": source}
        for category in (*sorted(classes), ALL):
            names = [category] if category else sorted(classes)
            values = {name: _class_values(classes[name]) for name in names}
            points = sum(own[:, 0].sum() for name in names for own in classes[name].values())
            mean = np.mean([own.mean(axis=0) for own in values.values()], axis=0).reshape(BINS, 4)
            sampled = resampled(values, config)
            sampled = None if sampled is None else sampled.reshape(-1, BINS, 4)
            shapes = sum(map(len, values.values()))
            row = about | {"category": category, "shapes": shapes, "points": int(points)}
            table.append(row | _with_intervals(mean, sampled))
            curves += [about | {"category": category} | bin for bin in _curve(mean, sampled)]
    return table, curves


def _class_values(shapes: Mapping[str, Sums]) -> Sums:
    """(n, BINS * 4) sums of the shapes of a class, divided by the mean number of points of a shape."""
    stacked = np.stack([shapes[id] for id in sorted(shapes)])
    return stacked.reshape(len(stacked), -1) / max(stacked[:, :, 0].sum(axis=1).mean(), 1.0)


def _with_intervals(mean: Sums, sampled: Sums | None) -> dict[str, Any]:
    """All measures, "" where not defined."""
    own, spread = measures(mean), measures(sampled) if sampled is not None else {}
    row: dict[str, Any] = {}
    for name in MEASURES:
        value = float(own[name])
        known = name in spread and not np.isnan(spread[name]).any()
        row |= {name: "" if np.isnan(value) else value} | ends(spread[name][:, None] if known else None, name)
        if known and name in MEASURES[:2]:
            row[f"{name}_bias"] = float(spread[name].mean()) - value
    return row


def _curve(mean: Sums, sampled: Sums | None) -> Rows:
    rows: Rows = []
    for i, (points, p, occupied, _) in enumerate(mean.tolist()):
        if points == 0.0:
            continue
        row = {"bin": i, "fraction": points, "probability": p / points, "occupied": occupied / points}
        known = None if sampled is None else sampled[:, i][sampled[:, i, 0] > 0]
        fractions = None if known is None else (known[:, 2] / known[:, 0])[:, None]
        rows.append(row | ends(fractions, "occupied"))
    return rows
