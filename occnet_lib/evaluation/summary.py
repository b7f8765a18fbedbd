"""Class means of the metrics, and means of class means with intervals."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib import seeds
from occnet_lib.config import Config
from occnet_lib.errors import DataError

from .evaluate import COLUMNS
from .metrics import METRICS, ORIGINAL_METRICS
from .views import VIEW_METRICS, spread

LOG = logging.getLogger(__name__)
Rows = list[dict[str, Any]]
EXTRAS = (*VIEW_METRICS, *ORIGINAL_METRICS)
"""Columns that not every row has a number in; their means are over those that have."""


def summarise(
    rows: Iterable[Mapping[str, Any]], config: Config, views: Iterable[Mapping[str, Any]] = ()
) -> dict[str, Rows]:
    """Gather the rows of `evaluate_shard` and `evaluate_views`, as they are or as read from their tables.

    * shapes: all the rows, with the mean and the spread over a shape's views;
    * classes: mean of every metric over the shapes of a class, with numbers of shapes and failed ones;
    * models: mean of the class means, as the paper reports it, with `<metric>_low` and `<metric>_high`,
      the 2.5 % and 97.5 % quantiles of that number over bootstrap samples of the shapes within each class
      (Efron 1979); empty without resampling, and where a class has a single shape, which does not tell how much
      others would differ. Every model sees the same samples.

    Args:
        rows: of all models and shards.
        config: `evaluate.bootstrap` and `seed` are used.
        views: rows of the models whose fields were measured for several views.

    Raises:
        DataError: a row lacks a column or has something that is no number.
    """
    by_views = spread(views)
    shapes = [_checked(row, by_views) for row in rows]
    groups: dict[str, dict[str, Rows]] = defaultdict(lambda: defaultdict(list))
    for row in shapes:
        groups[row["model"]][row["category"]].append(row)
    classes, models = [], []
    for model, by_category in groups.items():
        values = {category: _matrix(by_category[category]) for category in sorted(by_category)}
        for category, matrix in values.items():
            counts = _counts(by_category[category])
            means = dict(zip(METRICS, matrix.mean(axis=0).tolist(), strict=True))
            extras = _extras(by_category[category])
            classes.append({"model": model, "category": category} | counts | means | extras)
        all_rows = [row for rows in by_category.values() for row in rows]
        models.append(
            {"model": model}
            | _counts(all_rows)
            | _with_intervals(values, config.evaluate.bootstrap, config.seed)
            | _extras([row for row in classes if row["model"] == model])
        )
    if len({row["shapes"] for row in models}) > 1:
        LOG.warning("models were evaluated on different numbers of shapes: their means do not compare")
    return {"shapes": shapes, "classes": classes, "models": models}


def bootstrap_means(
    values: Sequence[NDArray[np.float64]], rngs: Sequence[np.random.Generator], count: int
) -> Any:
    """(count, K) means of class means of resampled shapes.

    Of n shapes n − 1 are drawn: as many as n make intervals too narrow by √(1 − 1 / n) (Rao & Wu 1988, section 2).

    Args:
        values: one (n_c, K) array a class, a row a shape, at least two.
        rngs: one generator a class, so that a class's samples do not depend on which others there are.
        count: number of resamplings.
    """
    total = np.zeros((count, values[0].shape[1]))
    for matrix, rng in zip(values, rngs, strict=True):
        n = len(matrix)
        drawn = rng.multinomial(n - 1, np.full(n, 1.0 / n), size=count)  # how often each shape is drawn
        total += drawn @ matrix / (n - 1)
    return total / len(values)


def _with_intervals(values: dict[str, NDArray[np.float64]], count: int, seed: int) -> dict[str, Any]:
    """Mean of class means of every metric, each followed by the ends of its interval."""
    mean = np.mean([matrix.mean(axis=0) for matrix in values.values()], axis=0)
    low, high = np.full((2, len(METRICS)), np.nan)
    if count and min(map(len, values.values())) > 1:
        rngs = [seeds.rng(seed, "bootstrap", category) for category in values]
        low, high = np.quantile(bootstrap_means(list(values.values()), rngs, count), [0.025, 0.975], axis=0)
    row: dict[str, Any] = {}
    for name, *numbers in zip(METRICS, mean, low, high, strict=True):
        for end, number in zip(("", "_low", "_high"), numbers, strict=True):
            row[name + end] = float(number) if np.isfinite(number) else ""
    return row


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
    try:
        shape = row["model"], row["category"], row["id"]
        extras = {name: row.get(name, "") for name in ORIGINAL_METRICS} | dict(by_views.get(shape, {}))
        return (
            {name: row[name] for name in COLUMNS if name not in EXTRAS}
            | {name: float(row[name]) for name in METRICS}
            | {name: float(extras[name]) if extras.get(name, "") != "" else "" for name in EXTRAS}
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"a row is none of evaluate's: {error}", hint="run evaluate again") from None
