"""Whether a switch helps: differences between models and their references, over shapes and training seeds."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from occnet_lib.config import Config
from occnet_lib.errors import DataError

from .class_means import Rows, rows_of

logger = logging.getLogger(__name__)
Shape = tuple[str, str]  # category and id
METRICS = ("iou_views", "iou_photos", "iou", "chamfer_l1", "normal_consistency", "f_score_1")
COSTS = ("cpu_seconds", "parameters")
COLUMNS = (
    *("model", "reference", "shapes", "seeds"),
    *(f"{name}{end}" for name in METRICS for end in ("", "_low", "_high")),
    *(f"{name}{end}" for name in COSTS for end in ("", "_reference")),
)
"""Columns of evaluate/gains.csv: means less those of the reference with the ends of their 95 % intervals, and costs."""


class Interval(NamedTuple):
    """A mean difference and its 95 % interval; not a number where there is none."""

    mean: float
    low: float
    high: float


def gains(
    rows: Iterable[Mapping[str, Any]], config: Config, costs: Mapping[str, Mapping[str, float]] | None = None
) -> Rows:
    """Compare each model of `evaluate.compare` with its reference, seed by seed and shape by shape.

    Args:
        rows: of evaluate/shapes.csv, as `summary.summarise` returns them or as read.
        config: `evaluate.compare` and `models` are used.
        costs: of every training, from `read_costs`.

    Returns:
        Rows of `COLUMNS` in the order of `evaluate.compare`. A metric that was not measured is "", and so are the ends of
        an interval with a class of one shape.

    Raises:
        DataError: a training has no rows, two have no shape in common, or a value is not a number.
    """
    values = _values(rows)
    table: Rows = []
    for model, reference in config.evaluate.compare.items():
        pairs = list(zip(config.seeds_of(model), config.seeds_of(reference), strict=False))
        differences = {name: paired_differences(values[name], pairs) for name in METRICS}
        if not differences["iou"]:
            raise DataError(
                f"{model} and {reference} have no test shape in common", hint="run evaluate again"
            )
        row: dict[str, Any] = {"model": model, "reference": reference}
        row |= {"shapes": sum(own.shape[1] for own in differences["iou"].values()), "seeds": len(pairs)}
        for name in METRICS:
            row |= with_ends(name, differences[name])
        for end, names in zip(("", "_reference"), zip(*pairs, strict=True), strict=True):
            row |= {f"{name}{end}": _mean_cost(costs or {}, names, name) for name in COSTS}
        table.append(row)
    return table


def interval(differences: Sequence[NDArray[np.float64]]) -> Interval:
    """The mean over seeds of the means of class means, and its 95 % interval over seeds and shapes.

    The variance is the sum of that between seeds, whose means of class means differ, and that between the shapes of each
    class, averaged over seeds: the variance of a hierarchical bootstrap without its noise. The interval is the mean ± t
    standard errors, where Student's t has the degrees of freedom of Satterthwaite (1946): S - 1 where the chance of S seeds
    dominates, many where that of the shapes does. Quantiles of a bootstrap are too narrow for so few seeds: in simulations
    with three seeds their intervals cover 91 % where the seeds' variance dominates; these cover 92 to 98 %. What
    changes with both seed and shape counts twice, which makes them wider, not narrower. With one seed the interval covers
    the choice of shapes only.

    Args:
        differences: one (S, n_c) array a class: differences by seed and shape. A class of one shape
            gives no interval.
    """
    mean = float(np.mean([matrix.mean() for matrix in differences]))
    if min(matrix.shape[1] for matrix in differences) < 2:
        return Interval(mean, float("nan"), float("nan"))
    from scipy.stats import t

    parts = [  # variance of the mean and degrees of freedom
        (
            float(matrix.mean(axis=0).var(ddof=1)) / matrix.shape[1] / len(differences) ** 2,
            matrix.shape[1] - 1,
        )
        for matrix in differences
    ]
    by_seed = np.mean([matrix.mean(axis=1) for matrix in differences], axis=0)
    if len(by_seed) > 1:
        parts.append((float(by_seed.var(ddof=1)) / len(by_seed), len(by_seed) - 1))
    variance = sum(part for part, _ in parts)
    if variance == 0.0:
        return Interval(mean, mean, mean)
    freedom = variance**2 / sum(part**2 / own for part, own in parts)
    half = float(t.ppf(0.975, freedom)) * variance**0.5
    return Interval(mean, mean - half, mean + half)


def read_costs(results: Path, trainings: Iterable[str]) -> dict[str, dict[str, float]]:
    """`COSTS` of trainings, from the benchmark files of the workflow and options.json; those that are missing are omitted.

    CPU seconds are those of the last job of a training: one that was resumed counts from there.
    """
    costs: dict[str, dict[str, float]] = {}
    for name in trainings:
        own: dict[str, float] = {}
        try:
            with (results / "benchmarks" / "train" / f"{name}.tsv").open(encoding="utf-8") as file:
                own["cpu_seconds"] = float([*csv.DictReader(file, delimiter="\t")][-1]["cpu_time"])
        except (OSError, ValueError, LookupError, TypeError):
            logger.warning("no CPU seconds of the training of %s: its benchmark file cannot be read", name)
        try:
            options = json.loads((results / "train" / name / "options.json").read_text(encoding="utf-8"))
            own["parameters"] = int(options["parameters"])
        except (OSError, ValueError, LookupError, TypeError):
            logger.warning("no number of parameters of %s: its options.json cannot be read", name)
        costs[name] = own
    return costs


def _values(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, dict[Shape, float]]]:
    """Metric, training, category and id to value; empty cells are omitted."""
    values: dict[str, dict[str, dict[Shape, float]]] = {name: {} for name in METRICS}
    with rows_of("evaluate"):
        for row in rows:
            for name in METRICS:
                own = values[name].setdefault(row["model"], {})
                if row.get(name, "") != "":
                    own[row["category"], row["id"]] = float(row[name])
    return values


def paired_differences(
    values: Mapping[Any, Mapping[Shape, float]], pairs: Sequence[tuple[Any, Any]]
) -> dict[str, NDArray[np.float64]]:
    """The first less the second of each pair: one (S, n) array a class of the shapes that all have.

    Args:
        values: of a metric by training, or whatever else is compared, and by shape.
        pairs: S pairs of keys of `values`.
    """
    measured = [values.get(name, {}).keys() for pair in pairs for name in pair]
    shapes = set(measured[0]).intersection(*measured[1:])
    if any(own and len(own) > len(shapes) for own in measured) and shapes:
        logger.warning("trainings were evaluated on different shapes; %d are common to all", len(shapes))
    classes: dict[str, list[tuple[str, str]]] = {}
    for shape in sorted(shapes):
        classes.setdefault(shape[0], []).append(shape)
    return {
        category: np.array([[values[a][shape] - values[b][shape] for shape in own] for a, b in pairs])
        for category, own in classes.items()
    }


def with_ends(name: str, differences: Mapping[str, NDArray[np.float64]]) -> dict[str, Any]:
    """A metric's mean and the ends of its interval, "" for what is not known."""
    result = interval(list(differences.values())) if differences else Interval(*[float("nan")] * 3)
    ends = zip(("", "_low", "_high"), result, strict=True)
    return {f"{name}{end}": "" if np.isnan(value) else value for end, value in ends}


def _mean_cost(costs: Mapping[str, Mapping[str, float]], trainings: Iterable[str], name: str) -> float | str:
    """The mean over trainings, "" where one is not known."""
    known = [costs.get(training, {}).get(name) for training in trainings]
    numbers = [value for value in known if value is not None]
    return float(np.mean(numbers)) if len(numbers) == len(known) else ""
