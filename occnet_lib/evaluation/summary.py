"""Class means of the metrics, means over classes with intervals, and paired differences between models."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from occnet_lib.config import Config

from .class_means import Rows, ends, resampled, rows_of
from .evaluate import COLUMNS
from .metrics import METRICS, ORIGINAL_METRICS
from .view_metrics import VIEW_METRICS, spread

logger = logging.getLogger(__name__)
DIFFERENCES = (
    "model",
    "other",
    "shapes",
    *(f"{name}{end}" for name in METRICS for end in ("", "_low", "_high")),
)
PHOTO_METRICS = ("iou_photos", "iou_photos_sd")
"""Mean and standard deviation of the IoU over the photos of a shape (evaluation.photo_metrics)."""

EXTRAS = (*VIEW_METRICS, *PHOTO_METRICS, *ORIGINAL_METRICS)
"""Columns that may be empty; their means are over the rows with a number."""


def summarise(
    rows: Iterable[Mapping[str, Any]],
    config: Config,
    views: Iterable[Mapping[str, Any]] = (),
    photos: Iterable[Mapping[str, Any]] = (),
) -> dict[str, Rows]:
    """Summarise the rows of `evaluate_shard` and `evaluate_views`, as returned or as read from their tables.

    * shapes: all the rows, with the mean and the spread over a shape's views and over its photos;
    * classes: mean of every metric over the shapes of a class, with numbers of shapes and failed ones;
    * models: mean of the class means, as the paper reports it, with `<metric>_low` and `<metric>_high`,
      the 2.5 % and 97.5 % quantiles of that number over bootstrap samples of the shapes within each class
      (Efron 1979); empty without resampling, and where a class has a single shape, which gives no
      estimate of the variance. All models use the same samples;
    * differences: for every two models that were measured on the same shapes, the first's mean less the other's,
      with the same quantiles of the differences over the samples. Paired
      differences are more precise than a comparison of two intervals because difficult shapes are difficult for most models.

    Args:
        rows: of all models and shards.
        config: `evaluate.bootstrap` and `seed` are used.
        views: rows of the models whose fields were measured for several views.
        photos: rows of the models whose fields were measured for photos.

    Raises:
        DataError: a row lacks a column or has a value that is not a number.
    """
    by_views = spread(views)
    for shape, of_photos in spread(photos).items():
        by_views.setdefault(shape, {}).update(zip(PHOTO_METRICS, of_photos.values(), strict=True))
    shapes = [_checked(row, by_views) for row in rows]
    groups: dict[str, dict[str, Rows]] = defaultdict(lambda: defaultdict(list))
    for row in shapes:
        groups[row["model"]][row["category"]].append(row)
    classes, models = [], []
    means_of: dict[str, _Means] = {}
    for model, by_category in groups.items():
        values = {category: _matrix(by_category[category]) for category in sorted(by_category)}
        for category, matrix in values.items():
            counts = _counts(by_category[category])
            means = dict(zip(METRICS, matrix.mean(axis=0).tolist(), strict=True))
            extras = _extras(by_category[category])
            classes.append({"model": model, "category": category} | counts | means | extras)
        means_of[model] = _means(by_category, values, config)
        all_rows = [row for rows in by_category.values() for row in rows]
        models.append(
            {"model": model}
            | _counts(all_rows)
            | _with_intervals(means_of[model])
            | _extras([row for row in classes if row["model"] == model])
        )
    if len({row["shapes"] for row in models}) > 1:
        logger.warning("models were evaluated on different numbers of shapes: their means are not comparable")
    return {"shapes": shapes, "classes": classes, "models": models, "differences": _differences(means_of)}


class _Means(NamedTuple):
    """Means of class means of all metrics.

    Attributes:
        shapes: category and id of what they are over, sorted.
        mean: (K,).
        sampled: (count, K) of bootstrap samples; None where there are no intervals.
    """

    shapes: tuple[tuple[str, str], ...]
    mean: NDArray[np.float64]
    sampled: NDArray[np.float64] | None


def _means(rows: Mapping[str, Rows], values: Mapping[str, NDArray[np.float64]], config: Config) -> _Means:
    return _Means(
        tuple(sorted((category, row["id"]) for category, own in rows.items() for row in own)),
        np.mean([matrix.mean(axis=0) for matrix in values.values()], axis=0),
        resampled(values, config),
    )


def _with_intervals(means: _Means) -> dict[str, Any]:
    """The mean of every metric, each followed by the ends of its interval."""
    bounds, row = ends(means.sampled, *METRICS), dict[str, Any]()
    for name, mean in zip(METRICS, means.mean.tolist(), strict=True):
        row |= {name: mean} | {key: bounds[key] for key in (f"{name}_low", f"{name}_high")}
    return row


def _differences(means_of: Mapping[str, _Means]) -> Rows:
    """All ordered pairs of models."""
    rows: Rows = []
    for (model, one), (other, two) in permutations(means_of.items(), 2):
        if one.shapes == two.shapes:
            sampled = None
            if one.sampled is not None and two.sampled is not None:
                sampled = one.sampled - two.sampled
            row = _with_intervals(_Means(one.shapes, one.mean - two.mean, sampled))
            rows.append({"model": model, "other": other, "shapes": len(one.shapes)} | row)
    return rows


def _counts(rows: Rows) -> dict[str, int]:
    return {"shapes": len(rows), "failed": sum(row["status"] == "failed" for row in rows)}


def _matrix(rows: Rows) -> NDArray[np.float64]:
    """(n, K) values of all metrics, shapes in order of their ids."""
    ordered = sorted(rows, key=lambda row: row["id"])
    return np.array([[row[name] for name in METRICS] for row in ordered], dtype=np.float64)


def _extras(rows: Rows) -> dict[str, Any]:
    """Means of `EXTRAS` over the rows that have them, "" where none has."""
    known = {name: [row[name] for row in rows if row[name] != ""] for name in EXTRAS}
    return {name: float(np.mean(values)) if values else "" for name, values in known.items()}


def _checked(
    row: Mapping[str, Any], by_views: Mapping[tuple[str, str, str], Mapping[str, float]]
) -> dict[str, Any]:
    """The row with its metrics as numbers and nothing else than its columns."""
    with rows_of("evaluate"):
        shape = row["model"], row["category"], row["id"]
        extras = {name: row.get(name, "") for name in ORIGINAL_METRICS} | dict(by_views.get(shape, {}))
        return (
            {name: row[name] for name in COLUMNS if name not in EXTRAS}
            | {name: float(row[name]) for name in METRICS}
            | {name: float(extras[name]) if extras.get(name, "") != "" else "" for name in EXTRAS}
        )
