"""What several images of one object give: IoU of the mean of their fields, and whether disagreement is noticed;
its tables.

The command `occnet reconstruct --merge` averages the same logits and compares them by the same functions
(`geometry.agreement`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib.config import Config
from occnet_lib.geometry.agreement import agreement, mean_logits

from .class_means import Rows, by_shape, ends, resampled, rows_of
from .metrics import iou

Logits = NDArray[np.floating]


def merged_columns(
    logits: Sequence[Logits | None],
    occupied: NDArray[np.bool_],
    level: float,
    counts: Iterable[int],
    intruder: Logits | None = None,
) -> Rows:
    """Columns of the row of each image: what the set of k images gives that begins with it, for every count k.

    `iou_k`: of the mean of the set's logits; `named_k`: whether an image of the set is said to disagree (1 or 0);
    `intruder_k`: whether exactly the image of another object is, where it takes the place of the last of the set. Of two
    images both are named or none. Sets are consecutive images, the first following the last.

    Args:
        logits: V fields at the same N points (N,); None for an image that is refused, which a set then lacks.
        occupied: (N,) bool, the ground truth.
        level: logit above which a point is inside.
        counts: sizes of sets; those above V are left out.
        intruder: (N,) of an image of another object; None: there is none.
    """
    columns: Rows = [{} for _ in logits]
    for count in (k for k in counts if 1 < k <= len(logits)):
        for first, row in enumerate(columns):
            read = [logits[(first + i) % len(logits)] for i in range(count)]
            there = [field for field in read if field is not None]
            merged = mean_logits(np.stack(there)) > level if there else None
            row[f"iou_{count}"] = 0.0 if merged is None else iou(merged, occupied)
            row[f"named_{count}"] = int(bool(_outliers(there, level)))
            others = [field for field in read[:-1] if field is not None]
            if intruder is not None and others:
                expected = (len(others),) if len(others) > 1 else (0, 1)
                row[f"intruder_{count}"] = int(_outliers([*others, intruder], level) == expected)
    return columns


def _outliers(fields: Sequence[Logits], level: float) -> tuple[int, ...]:
    return agreement(np.stack(fields), level).outliers if len(fields) > 1 else ()


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
