"""The field of a network at the points of some test shapes, beside the ground truth (figure 1 of Mescheder et al. 2019)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from occnet_lib.evaluation.metrics import iou
from occnet_lib.evaluation.view_metrics import Logits
from occnet_lib.storage.meshes import MeshFrame
from occnet_lib.storage.packs import Shard
from occnet_lib.storage.point_clouds import QueriedPoints, write_points
from occnet_lib.storage.tables import write_rows

OUTCOME_COLUMNS = ("true_positive", "false_positive", "false_negative", "true_negative")
COLUMNS = ("category", "id", "view", "file", "points", *OUTCOME_COLUMNS, "iou")


def query(logits: Logits, level: float, shard: Shard, i: int, view: int) -> QueriedPoints:
    """A network's occupancies at all uniform points of a shape, given one view of it.

    Args:
        logits: the network.
        level: logit above which a point is inside.
        shard: with the ground truth.
        i: number of the shape in it.
        view: which image; at most the last one.

    Raises:
        DataError: the shard is missing or corrupt.
    """
    points, occupied = shard.points(i)
    image, rotation, camera = shard.seen(i, [min(view, shard.views - 1)])
    values = logits(image, rotation, points, camera)[0].astype(np.float64)
    probability = np.exp(-np.logaddexp(0.0, -values))
    return QueriedPoints(
        points.astype(np.float32), probability.astype(np.float32), values > level, occupied.astype(bool)
    )


def write_fields(
    logits: Logits, level: float, packs: Sequence[Path], shapes: Collection[str], view: int, out: Path
) -> list[dict[str, Any]]:
    """Write `<category>/<id>.ply` (storage.point_clouds) for some shapes, and fields.csv with their counts of outcomes.

    Args:
        logits, level, view: as in `query`.
        packs: shards of the shapes.
        shapes: names; those that are in none of the shards are left out.
        out: folder; made if missing.

    Returns:
        The rows of fields.csv.

    Raises:
        DataError: a shard is missing or corrupt.
    """
    rows = []
    for path in packs:
        shard = Shard(path)
        for i, key in enumerate(shard.keys):
            if key.name not in shapes:
                continue
            cloud = query(logits, level, shard, i, view)
            file = f"{key.category}/{key.id}.ply"
            (x, y, z), scale = shard.frame(i)
            write_points(cloud, out / file, MeshFrame("unit", "y", (float(x), float(y), float(z)), scale))
            counts = {name.replace(" ", "_"): number for name, number in cloud.counts().items()}
            row = {"category": key.category, "id": key.id, "view": min(view, shard.views - 1), "file": file}
            rows.append(
                row | {"points": len(cloud.points)} | counts | {"iou": iou(cloud.predicted, cloud.occupied)}
            )
        shard.close()
    rows.sort(key=lambda row: str(row["file"]))
    write_rows(out / "fields.csv", rows, COLUMNS)
    return rows
