"""Verbs of measurement: packed shapes, tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from occnet_lib.config import Config
from occnet_lib.storage.tables import read_rows, write_rows

from .arguments import (
    Catalogue,
    Checkpoint,
    Out,
    Pack,
    Table,
    pack_files,
    read_catalogue,
    use_one_gpu_per_job,
)

if TYPE_CHECKING:
    from occnet_lib.reconstruction.reconstructor import Reconstructor

Model = Annotated[str, "name of the model or baseline, for the table"]


def evaluate_shard(
    pack: Pack,
    config: Config,
    *,
    model: Model,
    meshes: Annotated[Path, "folder of the model's meshes of the shard"],
    table: Catalogue,
    out: Out,
) -> str:
    """Metrics of the meshes of a pack shard."""
    from occnet_lib.evaluation.evaluate import evaluate_shard

    (shard,) = pack_files([pack], config, table)
    originals = {}
    if config.evaluate.original == "all" or (config.evaluate.original, model) == ("floor", "baseline_floor"):
        # Imported files (docs/interop.md) hold no mesh.
        keys = [key for key in read_catalogue(table) if not key.path.endswith(".h5")]
        originals = {key.name: Path(config.dataset_root) / key.path for key in keys}
    rows = evaluate_shard(meshes, shard, config, model, out, originals)
    return f"evaluate: {out}: {len(rows)} shapes"


def evaluate_views(
    pack: Pack, config: Config, *, checkpoint: Checkpoint, model: Model, table: Table = None, out: Out
) -> str:
    """IoU of a network's field for every view of the shapes of a pack shard."""
    from occnet_lib.evaluation.view_metrics import evaluate_views

    with network_and_shard(pack, config, checkpoint, table) as (network, level, shard):
        counts = mergeable_counts(network, config)
        rows = evaluate_views(network.view_logits, level, shard, config, model, out, counts)
    return f"evaluate: {out}: {len(rows)} views"


def evaluate_cameras(
    pack: Pack, config: Config, *, checkpoint: Checkpoint, model: Model, table: Table = None, out: Out
) -> str:
    """Predicted cameras of every view of the shapes of a pack shard against the true ones."""
    from occnet_lib.evaluation.cameras import CameraSource, evaluate_cameras

    with network_and_shard(pack, config, checkpoint, table) as (network, level, shard):
        logits = network.logits if network.needs_projections else None
        source = CameraSource(network.cameras, network.cameras_with, logits)
        rows = evaluate_cameras(source, level, shard, config, model, out)
    return f"evaluate: {out}: {len(rows)} views"


def camera_table(
    folder: Annotated[Path, "folder with <model>/<shard>.cameras.csv"],
    config: Config,
    *,
    table: Catalogue,
    out: Out,
) -> str:
    """Errors of predicted cameras by model and class."""
    from occnet_lib.evaluation.cameras import SUMMARY, summarise_cameras

    write_rows(
        out,
        summarise_cameras(rows_of_test_shards(folder, config.pose_models, ".cameras.csv", table)),
        SUMMARY,
    )
    return f"evaluate: {out}"


def photograph_shard(pack: Pack, config: Config, *, table: Table = None, out: Out) -> str:
    """Photos of the shapes of a pack shard, by another renderer than that of the views."""
    from occnet_lib.evaluation.photo_metrics import write_photos
    from occnet_lib.rendering.photographs import photograph
    from occnet_lib.storage.packs import Shard

    shard = Shard(*pack_files([pack], config, table))
    write_photos(shard, photograph, config.evaluate.photos, config.seed, out)
    return f"evaluate: {out}: {config.evaluate.photos} photos of {len(shard)} shapes"


def evaluate_photos(
    pack: Pack,
    config: Config,
    *,
    checkpoint: Checkpoint,
    model: Model,
    photos: Annotated[Path, "folder of `photograph_shard`"],
    table: Table = None,
    out: Out,
) -> str:
    """IoU of a network's field for the photos of a pack shard, read as `occnet reconstruct` reads them."""
    from occnet_lib.evaluation.photo_metrics import evaluate_photos
    from occnet_lib.reconstruction.photo_meshes import photo_logits

    with network_and_shard(pack, config, checkpoint, table) as (network, level, shard):
        counts = mergeable_counts(network, config)
        logits = partial(photo_logits, network)
        given = logits if network.needs_projections and network.predicts_cameras else None
        rows = evaluate_photos(logits, level, shard, photos, config, model, out, counts, given)
    refused = sum(row["status"] == "failed" for row in rows)
    return f"evaluate: {out}: {len(rows)} photos, {refused} refused"


def evaluate_tables(
    folder: Annotated[Path, "folder with <model>/<shard>.csv, into which the tables go"],
    config: Config,
    *,
    table: Catalogue,
) -> str:
    """Tables over shapes, classes, models and pairs of models."""
    from occnet_lib.evaluation.merged import COLUMNS as MERGED
    from occnet_lib.evaluation.merged import summarise_merged
    from occnet_lib.evaluation.summary import DIFFERENCES, summarise

    networks = list(config.models)
    meshes = rows_of_test_shards(folder, [*networks, *config.baseline_names], ".csv", table)
    views = rows_of_test_shards(folder, networks if config.evaluate.views else [], ".views.csv", table)
    photos = rows_of_test_shards(folder, config.photo_models, ".photos.csv", table)
    tables = summarise(meshes, config, views, photos)
    tables["merged"] = summarise_merged("views", views, config) + summarise_merged("photos", photos, config)
    columns = {"differences": DIFFERENCES, "merged": MERGED}
    for name, summary in tables.items():
        write_rows(folder / f"{name}.csv", summary, columns.get(name, ()))
    return f"evaluate: {folder}"


def evaluate_gains(
    results: Annotated[Path, "results folder with evaluate/shapes.csv, train and benchmarks"],
    config: Config,
    *,
    out: Out,
) -> str:
    """Differences between the models of `evaluate.compare` and their references, over shapes and seeds."""
    from occnet_lib.evaluation.gains import COLUMNS, gains, read_costs

    compared = {name: None for pair in config.evaluate.compare.items() for name in pair}
    costs = read_costs(results, [training for name in compared for training in config.seeds_of(name)])
    rows = gains(read_rows(results / "evaluate" / "shapes.csv"), config, costs)
    write_rows(out, rows, COLUMNS)
    return f"evaluate: {out}: {len(rows)} comparisons"


def rows_of_test_shards(
    folder: Path, models: Iterable[str], suffix: str, table: Path
) -> list[dict[str, str]]:
    """Rows of the tables `<model>/<shard><suffix>` of models and of the shards of the test set, in order."""
    shards = sorted({key.shard for key in read_catalogue(table) if key.split == "test"})
    files = [folder / model / f"{shard}{suffix}" for model in models for shard in shards]
    return [row for file in files for row in read_rows(file)]


def mergeable_counts(network: Reconstructor, config: Config) -> list[int]:
    """Numbers of images of an object to merge; none for a network that `occnet reconstruct` cannot merge with."""
    return [] if network.needs_cameras else config.evaluate.merged


@contextmanager
def network_and_shard(
    pack: Path, config: Config, checkpoint: Path, table: Path | None
) -> Iterator[tuple[Reconstructor, float, Path]]:
    """A trained network, the logit of its surface and a verified pack shard; the block runs on one thread."""
    from occnet_lib.reconstruction.inference import one_thread

    network, level = load_network(checkpoint, config)
    (shard,) = pack_files([pack], config, table)
    with one_thread():
        yield network, level, shard


def load_network(checkpoint: Path, config: Config) -> tuple[Reconstructor, float]:
    """A trained network and the logit of its surface."""
    from occnet_lib.reconstruction.extract import threshold_logit
    from occnet_lib.reconstruction.reconstructor import Reconstructor

    use_one_gpu_per_job(config)
    network = Reconstructor(checkpoint, config.reconstruct)
    return network, threshold_logit(network.threshold)
