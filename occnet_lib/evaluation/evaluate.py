"""Tables of metrics: one row a shape, class means, and means of class means with intervals."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from occnet_lib import seeds
from occnet_lib.config import Evaluate
from occnet_lib.errors import DataError
from occnet_lib.storage.reconstructions import read_mesh, read_status
from occnet_lib.storage.shards import Shard
from occnet_lib.storage.tables import read_rows, write_rows

from .metrics import METRICS, has_area, mesh_metrics, worst

LOG = logging.getLogger(__name__)
COLUMNS = ("model", "category", "id", "status", "reason", *METRICS)
_NOT_MADE = {"status": "failed", "reason": "not reconstructed"}


class Tables(NamedTuple):
    """Rows of the three tables, columns as keys."""

    shapes: list[dict[str, Any]]
    classes: list[dict[str, Any]]
    models: list[dict[str, Any]]


def evaluate_shard(
    reconstruct_dir: str | Path,
    shard_path: str | Path,
    config: Evaluate,
    model: str,
    out_csv: str | Path,
    seed: int = 0,
) -> None:
    """Measure the meshes of a folder against the true shapes of a shard; one row a shape of the shard.

    A shape whose mesh is missing or empty has status `failed` and the worst value of every metric.

    Args:
        reconstruct_dir: folder of storage.reconstructions.
        shard_path: pack shard with the true shapes.
        config: the section `evaluate`.
        model: name of what made the meshes, for the column `model`.
        out_csv: table to write.
        seed: of the configuration; the samples drawn do not depend on the model.

    Raises:
        DataError: the folder or the shard is missing or broken, or they have no shape in common.
    """
    shard, made = Shard(shard_path), read_status(reconstruct_dir)
    if len(shard) and not made.keys() & {key.name for key in shard.keys}:
        raise DataError(f"no shape of {Path(shard_path).name} is there", path=reconstruct_dir)
    rows = []
    for i, key in enumerate(shard.keys):
        mesh = read_mesh(reconstruct_dir, key)
        values, said = worst(), made.get(key.name, _NOT_MADE)
        if mesh is not None and has_area(mesh):
            drawing = seeds.rng(seed, "evaluate", key.name)
            values = mesh_metrics(mesh, *shard.points(i), *shard.surface(i), config.surface, drawing)
        elif said["status"] != "failed":
            said = {"status": "failed", "reason": "the mesh is missing or has no area"}
        row = {"model": model, "category": key.category, "id": key.id}
        rows.append(row | {name: said[name] for name in ("status", "reason")} | values)
    write_rows(Path(out_csv), rows, COLUMNS)


def summarise(csvs: Iterable[str | Path], config: Evaluate, seed: int = 0) -> Tables:
    """Gather the tables of `evaluate_shard`.

    * shapes: all their rows;
    * classes: mean of every metric over the shapes of a class, with numbers of shapes and failed ones;
    * models: mean of the class means, as the paper reports it, with `<metric>_low` and `<metric>_high`,
      the 2.5 % and 97.5 % quantiles of that number over bootstrap samples of the shapes within each class
      (Efron 1979); empty without resampling. Every model sees the same samples.

    Raises:
        DataError: a table is missing, lacks columns or holds something that is no number.
    """
    shapes = [row for path in csvs for row in _read(Path(path))]
    groups: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in shapes:
        groups[row["model"]][row["category"]].append(row)
    classes, models = [], []
    for model, by_category in groups.items():
        values = {category: _matrix(by_category[category]) for category in sorted(by_category)}
        for category, matrix in values.items():
            counts = _counts(by_category[category])
            means = dict(zip(METRICS, matrix.mean(axis=0).tolist(), strict=True))
            classes.append({"model": model, "category": category} | counts | means)
        all_rows = [row for rows in by_category.values() for row in rows]
        models.append({"model": model} | _counts(all_rows) | _with_intervals(values, config.bootstrap, seed))
    if len({row["shapes"] for row in models}) > 1:
        LOG.warning("models were evaluated on different numbers of shapes: their means do not compare")
    return Tables(shapes, classes, models)


def write_tables(tables: Tables, folder: str | Path) -> None:
    """Write shapes.csv, classes.csv and models.csv."""
    counts = ("shapes", "failed")
    intervals = [f"{name}{end}" for name in METRICS for end in ("", "_low", "_high")]
    write_rows(Path(folder) / "shapes.csv", tables.shapes, COLUMNS)
    write_rows(Path(folder) / "classes.csv", tables.classes, ("model", "category", *counts, *METRICS))
    write_rows(Path(folder) / "models.csv", tables.models, ("model", *counts, *intervals))


def bootstrap_means(
    values: Sequence[NDArray[np.float64]], rngs: Sequence[np.random.Generator], count: int
) -> Any:
    """(count, K) means of class means of resampled shapes.

    Args:
        values: one (n_c, K) array a class, a row a shape.
        rngs: one generator a class, so that a class's samples do not depend on which others there are.
        count: number of resamplings.
    """
    total = np.zeros((count, values[0].shape[1]))
    for matrix, rng in zip(values, rngs, strict=True):
        n = len(matrix)
        drawn = rng.multinomial(n, np.full(n, 1.0 / n), size=count)  # how often each shape is drawn
        total += drawn @ matrix / n
    return total / len(values)


def _with_intervals(values: dict[str, NDArray[np.float64]], count: int, seed: int) -> dict[str, Any]:
    """Mean of class means of every metric, each followed by the ends of its interval."""
    mean = np.mean([matrix.mean(axis=0) for matrix in values.values()], axis=0)
    low, high = np.full((2, len(METRICS)), np.nan)
    if count:
        rngs = [seeds.rng(seed, "bootstrap", category) for category in values]
        low, high = np.quantile(bootstrap_means(list(values.values()), rngs, count), [0.025, 0.975], axis=0)
    row: dict[str, Any] = {}
    for name, *numbers in zip(METRICS, mean, low, high, strict=True):
        for end, number in zip(("", "_low", "_high"), numbers, strict=True):
            row[name + end] = float(number) if np.isfinite(number) else ""
    return row


def _counts(rows: list[dict[str, Any]]) -> dict[str, int]:
    return {"shapes": len(rows), "failed": sum(row["status"] == "failed" for row in rows)}


def _matrix(rows: list[dict[str, Any]]) -> NDArray[np.float64]:
    """(n, K) values of all metrics, shapes in order of their ids."""
    ordered = sorted(rows, key=lambda row: row["id"])
    return np.array([[row[name] for name in METRICS] for row in ordered], dtype=np.float64)


def _read(path: Path) -> list[dict[str, Any]]:
    """Rows of one table with the metrics as numbers."""
    rows: list[dict[str, Any]] = []
    for row in read_rows(path):
        try:
            rows.append({name: row[name] for name in COLUMNS} | {name: float(row[name]) for name in METRICS})
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"is no table of evaluate: {error}", path=path, hint="run evaluate again"
            ) from None
    return rows
