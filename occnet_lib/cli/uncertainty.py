"""Verbs of uncertainty: calibration of the expected IoU, tables."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any

from occnet_lib.config import Config
from occnet_lib.errors import ConfigError, OccnetError
from occnet_lib.storage.tables import write_rows

from .arguments import Catalogue, Checkpoint, Out, Pack, Table, pack_files, progress_bar
from .evaluate import Model, load_network, mergeable_counts, network_and_shard, rows_of_test_shards

logger = logging.getLogger(__name__)


def calibrate(
    packs: Annotated[list[Path], "pack shards of the validation set, or the folder of them"],
    config: Config,
    *,
    checkpoint: Checkpoint,
    table: Table = None,
    out: Annotated[
        Path | None,
        "file to write; by default beside the checkpoint (best.calibration.json), where `occnet reconstruct` reads it",
    ] = None,
) -> str:
    """Calibrate the expected IoU of a network on validation shapes."""
    from occnet_lib.evaluation.iou_fit import fits_of_views
    from occnet_lib.evaluation.view_metrics import measure_views
    from occnet_lib.reconstruction.expected_iou import POINTS
    from occnet_lib.reconstruction.inference import one_thread
    from occnet_lib.storage.iou_calibration import IouCalibration, calibration_file, file_digest
    from occnet_lib.storage.packs import Shard

    if not config.evaluate.views:
        raise ConfigError(
            "evaluate.views is 0: there are no views to calibrate with", hint="set evaluate.views=12"
        )
    shards = [Shard(path) for path in pack_files(_validation(packs, table), config, table, ("val",))]
    if seen := [shard for shard in shards if shard.split == "train"]:
        text = "%s is of the training set, whose shapes the network may have seen: the expected IoU will be too high"
        logger.warning(text, seen[0].path)
    points = min([config.evaluate.view_points, *(shard.points_per_shape for shard in shards)])
    if points < POINTS:
        text = "the IoU of %d points varies more than that of the %d of `occnet reconstruct`, so the intervals are wider"
        logger.warning(f"{text}; set evaluate.view_points", points, POINTS)
    digest = file_digest(checkpoint)
    network, level = load_network(checkpoint, config)
    merged, rows = mergeable_counts(network, config), list[dict[str, Any]]()
    with one_thread():
        for shard in progress_bar(shards, "calibrate"):
            rows += measure_views(network.view_logits, level, shard, config, "", merged, uncertainty=True)[0]
    fits = fits_of_views(rows, merged)
    if not fits:
        logger.warning("no validation shapes or views: the expected IoU of %s is not calibrated", checkpoint)
    out = out or calibration_file(checkpoint)
    IouCalibration(network.threshold, fits, digest, points, config.reconstruct.fit).write(out)
    return f"calibrate: {out}: {fits[1].shapes if fits else 0} shapes"


def _validation(packs: list[Path], table: Path | None) -> list[Path]:
    """Pack shards, of a folder those of the validation set."""
    if table:
        return packs
    files = []
    for path in packs:
        inside = sorted(path.glob("val-*.h5")) if path.is_dir() else [path]
        if not inside:
            raise OccnetError("has no pack shards of the validation set (val-*.h5)", path=path)
        files += inside
    return files


def uncertainty_tables(
    folder: Annotated[Path, "folder with <model>/<shard>.views.csv and so on, into which the tables go"],
    config: Config,
    *,
    networks: Annotated[Path, "folder with <model>/best.calibration.json"],
    table: Catalogue,
) -> str:
    """Tables of the calibration of occupancies, of expected IoU and of camera poses."""
    from occnet_lib.evaluation import calibration_tables, expected_iou_tables, pose_tables, view_choice
    from occnet_lib.storage.iou_calibration import read_iou_calibration

    files = [networks / model / "best.calibration.json" for model in config.measured_models]
    calibrations = {file.parent.name: read_iou_calibration(file) for file in files}
    points = min(config.evaluate.view_points, config.points.uniform)
    for file, calibration in zip(files, calibrations.values(), strict=True):
        if calibration.points not in (0, points):
            text = "%s was made with %d points per view, and the tables are of %d: intervals do not fit"
            logger.warning(text, file, calibration.points, points)
    columns = {
        "calibration": calibration_tables.COLUMNS,
        "reliability": calibration_tables.CURVE,
        "expected_iou": expected_iou_tables.COLUMNS,
        "poses": pose_tables.COLUMNS,
        "pose_tests": pose_tables.TESTS,
        "view_choice": view_choice.COLUMNS,
    }
    tables: dict[str, list[dict[str, Any]]] = {name: [] for name in columns}
    for source, models in config.uncertain_models.items():
        sums, images = (
            rows_of_test_shards(folder, models, f".{source}{suffix}", table)
            for suffix in (".reliability.csv", ".csv")
        )
        measures, curves = calibration_tables.summarise_calibration(source, sums, config)
        tables["calibration"] += measures
        tables["reliability"] += curves
        tables["expected_iou"] += expected_iou_tables.summarise_expected(source, images, calibrations, config)
        tables["view_choice"] += view_choice.summarise_choice(source, images, config)
        if source == "views":
            tables["poses"], tables["pose_tests"] = pose_tables.summarise_poses(images, config)
    for name, summary in tables.items():
        write_rows(folder / f"{name}.csv", summary, columns[name])
    return f"evaluate: {folder}: uncertainty"


def evaluate_next_view(
    pack: Pack, config: Config, *, checkpoint: Checkpoint, model: Model, table: Table = None, out: Out
) -> str:
    """IoU over the number of views of the shapes of a pack shard, by policy of the next view."""
    from occnet_lib.evaluation.next_view import evaluate_next_view

    with network_and_shard(pack, config, checkpoint, table) as (network, level, shard):
        rows = evaluate_next_view(network.view_logits, level, shard, config, model, out)
    return f"evaluate: {out}: {len({(row['category'], row['id']) for row in rows})} shapes"


def next_view_table(
    folder: Annotated[Path, "folder with <model>/<shard>.next.csv, into which the table goes"],
    config: Config,
    *,
    table: Catalogue,
) -> str:
    """Table of the policies of the next view over all shapes and models."""
    from occnet_lib.evaluation.next_view import SUMMARY, summarise_next_view

    rows = summarise_next_view(
        rows_of_test_shards(folder, config.measured_models, ".next.csv", table), config
    )
    write_rows(folder / "next_view.csv", rows, SUMMARY)
    return f"evaluate: {folder / 'next_view.csv'}"
