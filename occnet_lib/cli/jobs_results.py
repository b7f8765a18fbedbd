"""The workflow's jobs from networks to the report; see `jobs`."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from occnet_lib.config import Config

from .inputs import catalogue_of, catalogue_path, packs, reconstructed, sound

if TYPE_CHECKING:
    from occnet_lib.reconstruction.reconstructor import Reconstructor


def _spread_over_gpus(config: Config) -> None:
    """Several such jobs run at a time."""
    if config.reconstruct.accelerator != "cpu":
        from occnet_lib.networks import gpus

        gpus.pick_shared_gpu()


def reconstruct(args: argparse.Namespace, config: Config) -> str:
    """Meshes of the shapes of a shard from their photos."""
    from occnet_lib.reconstruction.shard import reconstruct_shard

    _spread_over_gpus(config)
    reconstruct_shard(args.checkpoint, sound(config, args.pack), config.reconstruct, args.out, config.seed)
    return f"reconstruct: {args.out}: {reconstructed(args.out)}"


def index_pictures(args: argparse.Namespace, config: Config) -> str:
    """Features of all training pictures and test photos."""
    from occnet_lib.evaluation.image_features import image_features
    from occnet_lib.evaluation.lookup_index import write_index

    train, test = packs(config, "train"), packs(config, "test")
    write_index(image_features, train, test, config.reconstruct.view, 0, args.out)
    return f"reconstruct: {args.out}"


def index_codes(args: argparse.Namespace, config: Config) -> str:
    """Codes of training pictures and test photos by a network's encoder."""
    from occnet_lib.evaluation.lookup_index import write_index
    from occnet_lib.reconstruction.reconstructor import encoder_features

    _spread_over_gpus(config)
    codes = encoder_features(args.checkpoint, config.reconstruct.accelerator)
    train, test = packs(config, "train"), packs(config, "test")
    write_index(codes, train, test, config.reconstruct.view, config.evaluate.code_views, args.out)
    return f"reconstruct: {args.out}"


def clusters(args: argparse.Namespace, config: Config) -> str:
    """Clusters of the training shapes."""
    from occnet_lib.evaluation.lookup_index import write_clusters
    from occnet_lib.seeds import rng

    write_clusters(packs(config, "train"), config.evaluate.clusters, rng(config.seed, "clusters"), args.out)
    return f"reconstruct: {args.out}"


def baseline(args: argparse.Namespace, config: Config) -> str:
    """Meshes of the shapes of a shard by a baseline."""
    from occnet_lib.evaluation.baselines import baseline_shard

    # Little is read of the training shards; who made the index has looked at all.
    training, test = packs(config, "train", whole=False), sound(config, args.pack)
    baseline_shard(args.kind, training, test, config, args.out)
    return f"reconstruct: {args.out}: {reconstructed(args.out)}"


def evaluate(args: argparse.Namespace, config: Config) -> str:
    """Metrics of the meshes of a shard."""
    from occnet_lib.evaluation.evaluate import evaluate_shard

    measured = {"none": False, "all": True, "floor": args.model == "baseline_floor"}[config.evaluate.original]
    keys = catalogue_of(catalogue_path(config)) if measured else []
    # Files of imported shapes (docs/interop.md) hold no mesh.
    meshes = [key for key in keys if not key.path.endswith(".h5")]
    originals = {key.name: Path(config.dataset_root) / key.path for key in meshes}
    rows = evaluate_shard(args.meshes, sound(config, args.pack), config, args.model, args.out, originals)
    return f"evaluate: {args.out}: {len(rows)} shapes"


def evaluate_views(args: argparse.Namespace, config: Config) -> str:
    """IoU of a network's field for every view of the shapes of a shard."""
    from occnet_lib.evaluation.view_metrics import evaluate_views as measure
    from occnet_lib.reconstruction.extract import threshold_logit
    from occnet_lib.reconstruction.reconstructor import Reconstructor, one_thread

    _spread_over_gpus(config)
    network, pack = Reconstructor(args.checkpoint, config.reconstruct), sound(config, args.pack)
    with one_thread():
        level = threshold_logit(network.threshold)
        rows = measure(network.logits, level, pack, config, args.model, args.out, _merged(network, config))
    return f"evaluate: {args.out}: {len(rows)} views"


def _merged(network: Reconstructor, config: Config) -> list[int]:
    """How many images of an object are merged; none by a network that the command cannot merge with."""
    return [] if network.needs_cameras else config.evaluate.merged


def photograph(args: argparse.Namespace, config: Config) -> str:
    """Photos of the shapes of a shard, by another renderer than the views'."""
    from occnet_lib.evaluation.photo_metrics import write_photos
    from occnet_lib.rendering.photographs import photograph as shoot
    from occnet_lib.storage.packs import Shard

    shard = Shard(sound(config, args.pack))
    write_photos(shard, shoot, config.evaluate.photos, config.seed, args.out)
    return f"evaluate: {args.out}: {config.evaluate.photos} photos of {len(shard)} shapes"


def evaluate_photos(args: argparse.Namespace, config: Config) -> str:
    """IoU of a network's field for the photos of a shard, read as `occnet reconstruct` reads them."""
    from occnet_lib.evaluation.photo_metrics import evaluate_photos as measure
    from occnet_lib.reconstruction.extract import threshold_logit
    from occnet_lib.reconstruction.photo import photo_logits
    from occnet_lib.reconstruction.reconstructor import Reconstructor, one_thread

    _spread_over_gpus(config)
    network, pack = Reconstructor(args.checkpoint, config.reconstruct), sound(config, args.pack)
    level = threshold_logit(network.threshold)
    with one_thread():
        at = pack, args.photos, config, args.model, args.out
        rows = measure(partial(photo_logits, network), level, *at, _merged(network, config))
    refused = sum(row["status"] == "failed" for row in rows)
    return f"evaluate: {args.out}: {len(rows)} photos, {refused} refused"


def summarise(args: argparse.Namespace, config: Config) -> str:
    """Tables over shapes, classes, models and pairs of models."""
    from occnet_lib.evaluation.merged_summary import COLUMNS as MERGED
    from occnet_lib.evaluation.merged_summary import summarise_merged
    from occnet_lib.evaluation.summary import DIFFERENCES
    from occnet_lib.evaluation.summary import summarise as summarise_rows
    from occnet_lib.storage.tables import read_rows, write_rows

    folder = args.out.parent
    models = [*config.models, *config.baseline_names]
    shards = sorted({key.shard for key in catalogue_of(catalogue_path(config)) if key.split == "test"})
    measured = [
        row for model in models for shard in shards for row in read_rows(folder / model / f"{shard}.csv")
    ]
    fields = config.models if config.evaluate.views else ()
    views = [row for m in fields for shard in shards for row in read_rows(folder / m / f"{shard}.views.csv")]
    fields = config.models if config.evaluate.photos else ()
    photos = [
        row for m in fields for shard in shards for row in read_rows(folder / m / f"{shard}.photos.csv")
    ]
    tables = summarise_rows(measured, config, views, photos)
    tables["merged"] = [
        *summarise_merged("views", views, config),
        *summarise_merged("photos", photos, config),
    ]
    columns = {"differences": DIFFERENCES, "merged": MERGED}
    for name, rows in tables.items():
        write_rows(folder / f"{name}.csv", rows, columns.get(name, ()))
    return f"evaluate: {args.out}"


def statistics(args: argparse.Namespace, config: Config) -> str:
    """Statistics of the data."""
    from occnet_lib.analysis.statistics import write_statistics

    write_statistics(packs(config), args.out)
    return f"analyse: {args.out}"


def projections(args: argparse.Namespace, config: Config) -> str:
    """Points projected onto their images."""
    from occnet_lib.analysis.projections import write_projections

    write_projections(packs(config, "test"), config.analyse, args.out)
    return f"analyse: {args.out}"


def embedding(args: argparse.Namespace, config: Config) -> str:
    """t-SNE of a network's embeddings."""
    from occnet_lib.analysis.embeddings import write_embedding
    from occnet_lib.reconstruction.reconstructor import encoder_features

    features = encoder_features(args.checkpoint, "cpu")  # its rule asks for no GPU
    write_embedding(features, packs(config, "val", "test"), config.analyse, config.seed, args.out)
    return f"analyse: {args.out}"


def report(args: argparse.Namespace, config: Config) -> str:
    """The HTML page."""
    from occnet_lib.report import write_report

    write_report(Path(config.results), config, args.out)
    return f"report: {args.out}"
