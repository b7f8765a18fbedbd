"""Dependence on the view: IoU of a network's field for every view of a shape.

ONet reconstructs view 0 alone. Meshes of all views would cost 24 times as much; the field evaluated at the ground truth's
points gives the same IoU without them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib import seeds
from occnet_lib.config import Config
from occnet_lib.storage.packs import Shard
from occnet_lib.storage.tables import write_rows

from .class_means import rows_of
from .merged import merged_columns
from .metrics import iou
from .reliability import COLUMNS as RELIABILITY
from .reliability import reliability_of, reliability_rows, uncertainty_columns

Logits = Callable[
    [NDArray[np.uint8], NDArray[np.float64], NDArray[np.floating], NDArray[np.float64]], NDArray[np.float32]
]
"""Images (V, H, W, 3), their cameras' rotations (V, 3, 3), points (N, 3) of the unit frame and the images' projections
(V, 3, 4) to logits (V, N)."""

COLUMNS = ("model", "category", "id", "view", "iou")
VIEW_METRICS = ("iou_views", "iou_views_sd")
"""Mean and standard deviation of the IoU over the views of a shape."""


def evaluate_views(
    logits: Logits,
    level: float,
    shard_path: str | Path,
    config: Config,
    model: str,
    out_csv: str | Path,
    merged: Sequence[int] = (),
) -> list[dict[str, Any]]:
    """Measure the field of every view of every shape of a shard, and of several views merged; one row a view.

    With `evaluate.uncertainty` the rows also have `reliability.IMAGE_COLUMNS`, and `reliability_table` is written beside
    the table.

    Args:
        logits: the network.
        level: logit above which a point is inside.
        shard_path: pack shard with the ground truth.
        config: `evaluate.views`, `evaluate.view_points`, `evaluate.uncertainty` and `seed` are used.
        model: its name, for the column `model`.
        out_csv: table to write.
        merged: numbers of views whose logits are averaged (`merged.merged_columns`).

    Raises:
        DataError: the shard is missing or broken.
    """
    rows, reliability = measure_views(
        logits, level, Shard(shard_path), config, model, merged, bool(config.evaluate.uncertainty)
    )
    if config.evaluate.uncertainty:
        write_rows(reliability_table(out_csv), reliability, RELIABILITY)
    write_rows(Path(out_csv), rows, COLUMNS)
    return rows


def measure_views(
    logits: Logits,
    level: float,
    shard: Shard,
    config: Config,
    model: str,
    merged: Sequence[int] = (),
    uncertainty: bool = False,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of `evaluate_views`, and with `uncertainty` the rows of the table of reliability.

    All views of a shape are evaluated at the same points, so that the choice of points hardly affects the spread.
    """
    rows, reliability = [], []
    for i, key in enumerate(shard.keys):
        views = range(min(config.evaluate.views, shard.views))
        points, occupied = shard.points(i, 0, min(config.evaluate.view_points, shard.points_per_shape))
        images, rotations, cameras = shard.seen(i, views)
        fields = logits(images, rotations, points, cameras)
        about = {"model": model, "category": key.category, "id": key.id}
        own = [about | {"view": view, "iou": iou(fields[view] > level, occupied)} for view in views]
        intruder = None
        if merged and len(shard) > 1:
            other = another(i, len(shard), config.seed, key.name)
            image, rotation, camera = shard.seen(other, [0])
            intruder = logits(image, rotation, points, camera)[0]
        more = merged_columns(list(fields), occupied, level, merged, intruder)
        if uncertainty:
            uncertain = uncertainty_columns(list(fields), occupied, level, rotations, merged)
            more = [one | two for one, two in zip(more, uncertain, strict=True)]
            reliability += reliability_rows(about, reliability_of(list(fields), occupied))
        rows += [row | columns for row, columns in zip(own, more, strict=True)]
    return rows, reliability


def reliability_table(table: str | Path) -> Path:
    """The file of the table of reliability beside that of views or photos."""
    return Path(table).with_suffix(".reliability.csv")


def another(index: int, count: int, seed: int, name: str) -> int:
    """A shape of a shard other than that of the index, drawn by its name."""
    drawn = int(seeds.rng(seed, "intruder", name).integers(count - 1))
    return drawn + (drawn >= index)


def spread(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str, str], dict[str, float]]:
    """`VIEW_METRICS` by model, category and id, of the rows of `evaluate_views` as they are or as read.

    Raises:
        DataError: a row lacks a column or has something that is not a number.
    """
    values: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    with rows_of("view metrics"):
        for row in rows:
            values[row["model"], row["category"], row["id"]].append(float(row["iou"]))
    return {
        shape: dict(zip(VIEW_METRICS, (float(np.mean(ious)), float(np.std(ious))), strict=True))
        for shape, ious in values.items()
    }
