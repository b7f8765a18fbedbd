"""Tables of what several images of one object give (`merged`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib.config import Config

from .class_means import Rows, by_shape, ends, resampled, rows_of

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
    table: Rows = []
    for model, classes in by_shape(rows).items():
        measured = [k for k in config.evaluate.merged if _has(classes, k)]
        for count in (1, *measured) if measured else ():
            values = {category: _of_class(classes[category], count) for category in sorted(classes)}
            shapes = sum(map(len, values.values()))
            row = {"model": model, "source": source, "images": count, "shapes": shapes}
            table.append(row | _with_intervals(values, config))
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
    with rows_of("several images"):
        values = [float(row[name]) for row in rows if row.get(name) not in (None, "")]
    return float(np.mean(values)) if values else float("nan")


def _with_intervals(values: Mapping[str, NDArray[np.float64]], config: Config) -> dict[str, Any]:
    """Means of class means, those of IoU and gain with the ends of their intervals; "" where not measured."""
    means = np.mean([own.mean(axis=0) for own in values.values()], axis=0).tolist()
    row = {name: "" if np.isnan(mean) else mean for name, mean in zip(_MEASURED, means, strict=True)}
    sampled = resampled({category: own[:, :2] for category, own in values.items()}, config)
    return row | ends(sampled, *_MEASURED[:2])
