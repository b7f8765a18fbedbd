"""Verbs of networks and baselines: training, meshes of packed shapes, what baselines look up."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from occnet_lib.api import models
from occnet_lib.config import Config

from .arguments import (
    Checkpoint,
    Graph,
    Out,
    Pack,
    Table,
    count,
    count_statuses,
    pack_files,
    use_one_gpu_per_job,
)

Packs = Annotated[Path, "folder of pack shards"]


def train(
    packs: Annotated[Path, "folder of pack shards: train-*.h5, val-*.h5"],
    config: Config,
    *,
    model: Annotated[str, "which row of `models`"] = "onet",
    threads: Annotated[int | None, "CPU threads (default: all)", count] = None,
    table: Table = None,
    out: Annotated[Path, "folder for checkpoints and curves; a run there is resumed"],
) -> str:
    """Train a network on pack shards."""
    files = _training_packs(packs, config, threads, table)
    return str(models.train(files, out, config, model=model, verify=table is None))


def weights(
    file: Annotated[Path, "ONet's model.pt, or best.ckpt of a training run"],
    config: Config,
    *,
    out: Annotated[Path, "file to write: the other of the two"],
) -> str:
    """Convert ONet's checkpoint to one of ours, or back."""
    from occnet_lib.networks.onet_weights import convert

    kind = convert(file, out)
    return f"{out}: {'a network of occnet' if kind == 'ours' else 'a checkpoint of ONet'}"


def train_refinement(
    packs: Annotated[Path, "folder of pack shards: train-*.h5, val-*.h5"],
    config: Config,
    *,
    model: Annotated[str, "which row of `models`"] = "onet",
    refinement: Annotated[
        Literal["graph", "both"] | None,
        "another than the configuration's; its graph.ckpt is in a folder of this name",
    ] = None,
    threads: Annotated[int | None, "CPU threads (default: all)", count] = None,
    table: Table = None,
    out: Annotated[Path, "folder for graph.ckpt and what it is made of; resumed"],
) -> str:
    """Train the graph network of reconstruct.refinement graph or both, for one model."""
    files = _training_packs(packs, config, threads, table)
    graph = models.train_refinement(
        files, out, config, model=model, refinement=refinement, verify=table is None
    )
    return str(graph)


def _training_packs(
    packs: Path, config: Config, threads: int | None, table: Path | None
) -> list[Path] | Path:
    """What a training reads; also sets its number of threads."""
    if threads:
        import torch

        torch.set_num_threads(threads)
    return pack_files([packs], config, table, ("train", "val")) if table else packs


def reconstruct_shard(
    pack: Pack, config: Config, *, checkpoint: Checkpoint, graph: Graph = None, table: Table = None, out: Out
) -> str:
    """Meshes of the shapes of a pack shard from their views."""
    from occnet_lib.reconstruction.shard import reconstruct_shard

    use_one_gpu_per_job(config)
    (shard,) = pack_files([pack], config, table)
    reconstruct_shard(checkpoint, shard, config.reconstruct, out, config.seed, graph)
    return f"reconstruct: {out}: {_statuses(out)}"


def baseline_shard(
    pack: Pack,
    config: Config,
    *,
    kind: Annotated[str, "baseline, as in `evaluate.baselines`; retrieval and clustering with -<model>"],
    train: Packs,
    table: Table = None,
    out: Out,
) -> str:
    """Meshes of the shapes of a pack shard by a baseline."""
    from occnet_lib.evaluation.baselines import baseline_shard

    # It reads little of the training shards; the job that made the index has verified all of them.
    training = pack_files([train], config, table, ("train",), whole=False)
    (test,) = pack_files([pack], config, table)
    baseline_shard(kind, training, test, config, out)
    return f"reconstruct: {out}: {_statuses(out)}"


def index_images(packs: Packs, config: Config, *, table: Table = None, out: Out) -> str:
    """Features of all training images and test images, for the baseline nearest_image."""
    from occnet_lib.evaluation.lookup_index import image_features, write_index

    train, test = (pack_files([packs], config, table, (split,)) for split in ("train", "test"))
    write_index(image_features, train, test, config.reconstruct.view, 0, out)
    return f"reconstruct: {out}"


def index_codes(
    packs: Packs, config: Config, *, checkpoint: Checkpoint, table: Table = None, out: Out
) -> str:
    """Codes of training images and test images by a network's encoder, for its baselines."""
    from occnet_lib.evaluation.lookup_index import write_index
    from occnet_lib.reconstruction.inference import encoder_features

    use_one_gpu_per_job(config)
    codes = encoder_features(checkpoint, config.reconstruct.accelerator)
    train, test = (pack_files([packs], config, table, (split,)) for split in ("train", "test"))
    write_index(codes, train, test, config.reconstruct.view, config.evaluate.code_views, out)
    return f"reconstruct: {out}"


def clusters(packs: Packs, config: Config, *, table: Table = None, out: Out) -> str:
    """Clusters of the training shapes, for the baseline clustering."""
    from occnet_lib.evaluation.lookup_index import write_clusters
    from occnet_lib.seeds import rng

    train = pack_files([packs], config, table, ("train",))
    write_clusters(train, config.evaluate.clusters, rng(config.seed, "clusters"), out)
    return f"reconstruct: {out}"


def _statuses(folder: Path) -> str:
    from occnet_lib.storage.reconstructions import read_status

    return count_statuses(row["status"] for row in read_status(folder).values())
