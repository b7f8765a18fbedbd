"""Which refinement helps: all of them on the same meshes, a row a shape, and their differences to none."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

from occnet_lib import seeds
from occnet_lib.config import Config
from occnet_lib.errors import DataError, OccnetError
from occnet_lib.geometry.intersections import self_intersecting
from occnet_lib.storage.meshes import MeshFrame, save_mesh
from occnet_lib.storage.packs import Shard
from occnet_lib.storage.tables import write_rows
from occnet_lib.types import Mesh

from .class_means import Rows, rows_of
from .gains import Shape, paired_differences, with_ends
from .metrics import METRICS, NO_SURFACE, measure

logger = logging.getLogger(__name__)
Arms = Callable[[Shard, int], tuple[Mesh, str, Mapping[str, Callable[[Mesh], Mesh]]]]
Groups = dict[tuple[str, str], list[Mapping[str, Any]]]  # training and refinement to rows
COUNTS = ("flipped", "self_intersecting", "cpu_seconds")
COLUMNS = ("model", "refinement", "category", "id", "status", "reason", *METRICS, *COUNTS)
"""Columns of <shard>.refinements.csv. Flipped: faces whose normal has turned by more than a right angle; CPU seconds are
those of the refinement alone. Of a failed mesh they are empty, and the metrics are the worst."""

COMPARED = ("normal_consistency", "chamfer_l1", "f_score_1", "iou")
SUMMARY = (
    *("model", "refinement", "shapes", "seeds", "failed"),
    *(
        f"{name}{end}"
        for name in COMPARED
        for end in ("", *(f"_difference{e}" for e in ("", "_low", "_high")))
    ),
    *COUNTS,
)
"""Columns of evaluate/refinements.csv: means of class means, their differences to `none` with the ends of the 95 %
intervals of `gains.interval`, means of the counts of faces, median of the CPU seconds."""


def evaluate_refinements(
    refinements: Arms,
    shard_path: str | Path,
    config: Config,
    model: str,
    out_csv: str | Path,
    meshes: Path | None = None,
    examples: Collection[str] = (),
) -> Rows:
    """Measure every refinement of the meshes of a shard's shapes; a row a shape and refinement.

    A shape without a surface is `failed` with all refinements, one whose refinement is impossible with that one.

    Args:
        refinements: of a shape the mesh that all start from, without faces where there is no surface; why there is none;
            and functions of that mesh, `none` among them (`reconstruction.compared_refinements`).
        shard_path: pack shard with the ground truth.
        config: `evaluate.surface` and `seed` are used; the samples drawn are those of `evaluate_shard`.
        model: name of the training.
        out_csv: table to write.
        meshes: folder for `<refinement>/<category>/<id>.ply` of examples.
        examples: names of shapes.

    Raises:
        DataError: the shard is missing or broken.
    """
    shard, rows = Shard(shard_path), Rows()
    for i, key in enumerate(shard.keys):
        start, reason, arms = refinements(shard, i)
        reference = *shard.points(i), *shard.surface(i)
        for name, refine in arms.items():
            mesh, record = _refined(start, reason, refine)
            drawing = seeds.rng(config.seed, "evaluate", key.name)
            values, note = measure(mesh, *reference, config.evaluate.surface, drawing)
            if note and mesh is not None:
                failed = note == NO_SURFACE
                record |= {"status": "failed" if failed else "warn", "reason": f"the mesh {note}"}
            if record["reason"]:
                logger.warning("%s of %s, refinement %s: %s", key.name, model, name, record["reason"])
            about = {"model": model, "refinement": name, "category": key.category, "id": key.id}
            rows.append(about | record | values)
            if meshes and mesh is not None and key.name in examples:
                path = meshes / name / key.category / f"{key.id}.ply"
                save_mesh(mesh, path, mesh.vertex_normals, MeshFrame("unit"))
        logger.info("%s: %d refinements", key.name, len(arms))
    write_rows(Path(out_csv), rows, COLUMNS)
    return rows


def _refined(start: Mesh, reason: str, refine: Callable[[Mesh], Mesh]) -> tuple[Mesh | None, dict[str, Any]]:
    """The refined mesh, and status, reason and `COUNTS` of its row; None where there is none."""
    if len(start.faces) == 0:
        return None, {"status": "failed", "reason": reason}
    before = process_time()
    try:
        mesh = refine(start)
    except OccnetError as error:
        return None, {"status": "failed", "reason": str(error)}
    seconds = process_time() - before
    flipped = int(((mesh.area_vectors * start.area_vectors).sum(axis=1) < 0).sum())
    counts = flipped, int(self_intersecting(mesh).sum()), round(seconds, 4)
    return mesh, {"status": "ok", "reason": ""} | dict(zip(COUNTS, counts, strict=True))


def summarise_refinements(rows: Iterable[Mapping[str, Any]], config: Config) -> Rows:
    """Rows of `SUMMARY`, one a model of `evaluate.refinements` and refinement; seeds are the trainings of the model.

    Args:
        rows: of `evaluate_refinements`, as they are or as read from their tables.
        config: `evaluate.refinements` and `models` are used.

    Raises:
        DataError: a training has no rows, or a value is not a number.
    """
    groups: Groups = defaultdict(list)
    with rows_of("refinements"):
        for row in rows:
            groups[row["model"], row["refinement"]].append(row)
    table: Rows = []
    for model in dict.fromkeys(config.evaluate.refinements):
        trainings = config.seeds_of(model)
        names = dict.fromkeys(["none", *(name for training, name in groups if training in trainings)])
        for name in names:
            if missing := [training for training in trainings if (training, name) not in groups]:
                text = f"no mesh of {missing[0]} was measured with refinement {name}"
                raise DataError(text, hint="run evaluate again")
            own = [(training, name) for training in trainings]
            table.append({"model": model, "refinement": name} | _summary(groups, own))
    return table


def _summary(groups: Groups, trainings: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The columns of a refinement, given its keys of `groups`, one a training."""
    pairs = [(key, (key[0], "none")) for key in trainings]
    means, rows = dict[str, Any](), [row for key in trainings for row in groups[key]]
    shapes = 0
    with rows_of("refinements"):
        for name in COMPARED:
            values: dict[Any, dict[Shape, float]] = {
                key: {(row["category"], row["id"]): float(row[name]) for row in groups[key]}
                for pair in pairs
                for key in pair
            }
            differences = paired_differences(values, pairs)
            values["zero"] = dict.fromkeys(values[pairs[0][0]], 0.0)
            by_class = paired_differences(values, [(key, "zero") for key in trainings])
            means[name] = float(np.mean([matrix.mean() for matrix in by_class.values()]))
            means |= with_ends(f"{name}_difference", differences)
            shapes = sum(matrix.shape[1] for matrix in by_class.values())
        counts = {
            name: [float(row[name]) for row in rows if row.get(name) not in ("", None)] for name in COUNTS
        }
    failed = sum(row["status"] == "failed" for row in rows)
    about = {"shapes": shapes, "seeds": len(trainings), "failed": failed}
    return about | means | {name: _middle(name, numbers) for name, numbers in counts.items()}


def _middle(name: str, numbers: Sequence[float]) -> float | str:
    """The mean; of CPU seconds the median, as the first mesh of a process takes longer; "" of nothing."""
    if not numbers:
        return ""
    return float(np.median(numbers) if name == "cpu_seconds" else np.mean(numbers))
