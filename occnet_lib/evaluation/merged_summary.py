"""Tables of what several images of one object give (`merged`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib import seeds
from occnet_lib.config import Config
from occnet_lib.errors import DataError

from .summary import bootstrap_means

Rows = list[dict[str, Any]]
_MEASURED = ("iou", "gain", "named", "intruder_named")
COLUMNS = (
    *("model", "source", "images", "shapes"),
    *("iou", "iou_low", "iou_high", "gain", "gain_low", "gain_high", "named", "intruder_named"),
)
"""Columns of evaluate/merged.csv: a row a model, source of images (views or photos) and number of images."""


def summarise_merged(source: str, rows: Iterable[Mapping[str, Any]], config: Config) -> Rows:
    """Means of class means over the sets of every shape, and the gain over one image with a paired interval.

    Args:
        source: views or photos.
        rows: of `evaluate_views` or `evaluate_photos`, as they are or as read from their tables.
        config: `evaluate.merged`, `evaluate.bootstrap` and `seed` are used.

    Returns:
        Rows of `COLUMNS`, by model and number of images, one image first; models without merged images have none.
        Intervals are those of `summary.summarise`, empty where it has none.

    Raises:
        DataError: a value is not a number.
    """
    groups: dict[str, dict[str, dict[str, list[Mapping[str, Any]]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for row in rows:
        groups[row["model"]][row["category"]][row["id"]].append(row)
    table: Rows = []
    for model, classes in groups.items():
        measured = [k for k in config.evaluate.merged if _has(classes, k)]
        for count in (1, *measured) if measured else ():
            values = [_of_class(classes[category], count) for category in sorted(classes)]
            row = {"model": model, "source": source, "images": count, "shapes": sum(map(len, values))}
            table.append(row | _with_intervals(values, sorted(classes), config))
    return table


def _has(classes: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]], count: int) -> bool:
    """Whether all rows have the IoU of that many images."""
    rows = [row for shapes in classes.values() for own in shapes.values() for row in own]
    return all(row.get(f"iou_{count}") not in (None, "") for row in rows)


def _of_class(shapes: Mapping[str, Sequence[Mapping[str, Any]]], count: int) -> NDArray[np.float64]:
    """(n, 4) means of `_MEASURED` over the sets of each shape, ordered by id; not a number where not measured."""
    names = ("iou", "", "") if count == 1 else (f"iou_{count}", f"named_{count}", f"intruder_{count}")
    rows = []
    for id in sorted(shapes):
        one = _mean(shapes[id], "iou")
        several, named, intruder = (_mean(shapes[id], name) for name in names)
        rows.append((several, several - one, named, intruder))
    return np.array(rows, dtype=np.float64)


def _mean(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    try:
        values = [float(row[name]) for row in rows if row.get(name) not in (None, "")]
    except (TypeError, ValueError) as error:
        raise DataError(
            f"a row of several images has no number: {error}", hint="run evaluate again"
        ) from None
    return float(np.mean(values)) if values else float("nan")


def _with_intervals(
    values: Sequence[NDArray[np.float64]], categories: Sequence[str], config: Config
) -> dict[str, Any]:
    """Means of class means, those of IoU and gain with the ends of their intervals; "" where not measured."""
    means = dict(zip(_MEASURED, np.mean([own.mean(axis=0) for own in values], axis=0).tolist(), strict=True))
    row: dict[str, Any] = {name: "" if np.isnan(mean) else mean for name, mean in means.items()}
    ends: Any = [("", "")] * 2
    if config.evaluate.bootstrap and min(map(len, values)) > 1:
        rngs = [seeds.rng(config.seed, "bootstrap", category) for category in categories]
        sampled = bootstrap_means([own[:, :2] for own in values], rngs, config.evaluate.bootstrap)
        ends = np.quantile(sampled, [0.025, 0.975], axis=0).T.tolist()
    for name, (low, high) in zip(_MEASURED[:2], ends, strict=True):
        row |= {f"{name}_low": low, f"{name}_high": high}
    return row
