"""The meshes of a shard against the true shapes: one row of metrics a shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from occnet_lib import seeds
from occnet_lib.config import Config
from occnet_lib.errors import DataError
from occnet_lib.storage.reconstructions import read_mesh, read_status
from occnet_lib.storage.shards import Shard
from occnet_lib.storage.tables import write_rows

from .metrics import METRICS, has_area, mesh_metrics, worst

COLUMNS = ("model", "category", "id", "status", "reason", *METRICS)
"""Columns of a model's table."""

_NOT_MADE = {"status": "failed", "reason": "not reconstructed"}


def evaluate_shard(
    reconstruct_dir: str | Path,
    shard_path: str | Path,
    config: Config,
    model: str,
    out_csv: str | Path,
) -> list[dict[str, Any]]:
    """Measure the meshes of a folder against the true shapes of a shard; one row a shape of the shard.

    A shape whose mesh is missing or empty has status `failed` and the worst value of every metric.

    Args:
        reconstruct_dir: folder of storage.reconstructions.
        shard_path: pack shard with the true shapes.
        config: `evaluate.surface` and `seed` are used; the samples drawn do not depend on the model.
        model: name of what made the meshes, for the column `model`.
        out_csv: table to write.

    Returns:
        The table's rows.

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
            drawing = seeds.rng(config.seed, "evaluate", key.name)
            values = mesh_metrics(mesh, *shard.points(i), *shard.surface(i), config.evaluate.surface, drawing)
        elif said["status"] != "failed":
            said = {"status": "failed", "reason": "the mesh is missing or has no area"}
        row = {"model": model, "category": key.category, "id": key.id}
        rows.append(row | {name: said[name] for name in ("status", "reason")} | values)
    write_rows(Path(out_csv), rows, COLUMNS)
    return rows
