"""Dataset statistics from pack shards: one row per category and split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from occnet_lib.storage.packs import Shard
from occnet_lib.storage.tables import write_rows

ALL = "all"  # the category of the rows over all categories
COLUMNS = (
    *("category", "split", "shapes", "images", "points", "occupied_mean", "occupied_sd"),
    *("faces_mean", "extent_x", "extent_y", "extent_z", "scale_mean"),
)
_SPLITS = ("train", "val", "test")


def shape_numbers(shard: Shard, i: int) -> dict[str, float]:
    """Statistics of one shape.

    Returns:
        `images`, `points`: their numbers; `occupied`: fraction of the uniform points (padded cube) inside the shape;
        `faces`: of the closed mesh; `extent_x`, `extent_y`, `extent_z`: edges of its bounding box, unit
        frame, NaN without a mesh; `scale`: longest edge of the source's bounding box, source units.
    """
    _, occupied = shard.points(i)
    mesh = shard.mesh(i)
    x, y, z = np.ptp(mesh.vertices, axis=0).tolist() if len(mesh.vertices) else (np.nan,) * 3
    return {
        "images": shard.views,
        "points": shard.points_per_shape,
        "occupied": float(occupied.mean()),
        "faces": len(mesh.faces),
        "extent_x": x,
        "extent_y": y,
        "extent_z": z,
        "scale": shard.frame(i)[1],
    }


def table(packs: Sequence[Path]) -> list[dict[str, Any]]:
    """Rows with `COLUMNS`, by category and split, then those of all categories together.

    Means are over shapes; the standard deviation is that of the sample (0 for a single shape).

    Raises:
        DataError: a shard is missing or corrupt.
    """
    groups: dict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
    for path in packs:
        shard = Shard(path)
        for i, key in enumerate(shard.keys):
            numbers = shape_numbers(shard, i)
            groups[key.category, shard.split].append(numbers)
            groups[ALL, shard.split].append(numbers)
        shard.close()
    order = sorted(groups, key=lambda group: (group[0] == ALL, group[0], _SPLITS.index(group[1])))
    return [
        {"category": category, "split": split, **_row(groups[category, split])} for category, split in order
    ]


def write_statistics(packs: Sequence[Path], out: Path) -> None:
    """Write the table over the shards as CSV, atomically.

    Raises:
        DataError: a shard is missing or corrupt.
    """
    write_rows(out, table(packs), COLUMNS)


def _row(shapes: list[dict[str, float]]) -> dict[str, Any]:
    values = {name: np.array([shape[name] for shape in shapes], np.float64) for name in shapes[0]}
    occupied = values["occupied"]
    spread = float(occupied.std(ddof=1)) if len(occupied) > 1 else 0.0
    means = {
        "occupied_mean": occupied.mean(),
        "occupied_sd": spread,
        "faces_mean": values["faces"].mean(),
        **{f"extent_{axis}": values[f"extent_{axis}"].mean() for axis in "xyz"},
        "scale_mean": values["scale"].mean(),
    }
    return {
        "shapes": len(shapes),
        "images": int(values["images"].sum()),
        "points": int(values["points"].sum()),
        **{name: f"{value:.6g}" for name, value in means.items()},
    }
