"""Reconstructed meshes of a shard against the ground truth: one row of metrics per shape."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib import seeds
from occnet_lib.config import Config
from occnet_lib.errors import DataError, OccnetError
from occnet_lib.storage.meshes import load_mesh
from occnet_lib.storage.packs import Shard
from occnet_lib.storage.reconstructions import read_mesh, read_status
from occnet_lib.storage.tables import write_rows
from occnet_lib.types import Mesh, ShapeKey

from .metrics import METRICS, NO_SURFACE, ORIGINAL_METRICS, has_area, measure, original_metrics

logger = logging.getLogger(__name__)
COLUMNS = ("model", "category", "id", "status", "reason", *METRICS, *ORIGINAL_METRICS)
"""Columns of a model's table."""

_NOTHING = Mesh.empty()
_NOT_MADE = {"status": "failed", "reason": "not reconstructed"}


def evaluate_shard(
    reconstruct_dir: str | Path,
    shard_path: str | Path,
    config: Config,
    model: str,
    out_csv: str | Path,
    originals: Mapping[str, Path] | None = None,
) -> list[dict[str, Any]]:
    """Measure the meshes of a folder against the ground truth of a shard; one row per shape of the shard.

    A shape whose mesh is missing or empty has status `failed` and the worst value of every metric; an open mesh, or
    one with inward winding, has status `warn` and a reason.

    Args:
        reconstruct_dir: folder of storage.reconstructions.
        shard_path: pack shard with the ground truth.
        config: `evaluate.surface` and `seed` are used; the samples drawn do not depend on the model.
        model: name of the model or baseline, for the column `model`.
        out_csv: table to write.
        originals: files of the raw meshes by shape name, for `ORIGINAL_METRICS`; without a readable file
            these stay empty.

    Returns:
        The table's rows.

    Raises:
        DataError: the folder or the shard is missing or broken, or the two have no shape in common.
    """
    shard, made = Shard(shard_path), read_status(reconstruct_dir)
    if len(shard) and not made.keys() & {key.name for key in shard.keys}:
        raise DataError(f"holds no shape of {Path(shard_path).name}", path=reconstruct_dir)
    rows = []
    for i, key in enumerate(shard.keys):
        mesh = read_mesh(reconstruct_dir, key)
        record = dict(made.get(key.name, _NOT_MADE))
        drawing = seeds.rng(config.seed, "evaluate", key.name)
        samples = *shard.points(i), *shard.surface(i)
        values, note = measure(mesh, *samples, config.evaluate.surface, drawing)
        if note and record["status"] != "failed":
            status = "failed" if note == NO_SURFACE else "warn"
            record = {
                "status": status,
                "reason": "; ".join(filter(None, (record["reason"], f"the mesh {note}"))),
            }
            logger.warning("%s of %s: the mesh %s", key.name, model, note)
        row = {"model": model, "category": key.category, "id": key.id}
        row |= {name: record[name] for name in ("status", "reason")}
        original = _original(key, shard.frame(i), originals or {}, config)
        if original is not None:
            drawing = seeds.rng(config.seed, "original", key.name)
            values |= original_metrics(mesh or _NOTHING, original, config.evaluate.surface, drawing)
        rows.append(row | values)
    write_rows(Path(out_csv), rows, COLUMNS)
    if missing := [path for path in (originals or {}).values() if not path.is_file()]:
        text = "%s: %d of %d raw meshes are not there, so nothing is measured against these: %s%s"
        more = ", …" if len(missing) > 1 else ""
        logger.warning(text, model, len(missing), len(originals or {}), missing[0], more)
    return rows


def _original(
    key: ShapeKey, frame: tuple[NDArray[np.float64], float], files: Mapping[str, Path], config: Config
) -> Mesh | None:
    """A shape's raw mesh in the unit frame; None if it is not available."""
    path = files.get(key.name)
    if path is None or not path.is_file():
        return None
    try:
        raw = load_mesh(path, config.dataset.up)
    except OccnetError as error:
        logger.warning("not measured against the raw mesh: %s", error)
        return None
    loc, scale = frame
    mesh = raw.to_unit(loc, scale)
    return mesh if has_area(mesh) else None
