"""Verbs about data and results: figures, the HTML report, the configuration."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Literal

from occnet_lib import config as configuration
from occnet_lib.config import Config
from occnet_lib.errors import ConfigError, DataError, OccnetError
from occnet_lib.storage.atomic import write_text

from .arguments import Checkpoint, Out, Table, pack_files

logger = logging.getLogger(__name__)
Packs = Annotated[list[Path], "pack shards, or a folder of them"]
Scores = Annotated[
    Path | None, "evaluate/shapes.csv, by whose ranking the examples are chosen; without it by name"
]


def analyse(
    packs: Packs,
    config: Config,
    *,
    checkpoint: Annotated[Path | None, "best.ckpt, for the t-SNE of its embeddings and its fields"] = None,
    scores: Scores = None,
    out: Annotated[
        Path, "folder for statistics.csv, distributions/, projections/, embedding.csv and fields/"
    ],
) -> str:
    """Statistics, projections, and of a network t-SNE and occupancies at points of packed shapes."""
    if scores and not checkpoint:
        raise ConfigError(
            "--scores chooses the examples of fields/, which need a network", hint="add --checkpoint"
        )
    statistics(packs, config, out=out / "statistics.csv")
    projections(packs, config, out=out / "projections")
    distributions(packs, config, out=out / "distributions")
    duplicates(packs, config, out=out / "duplicates")
    if checkpoint:
        embedding(packs, config, checkpoint=checkpoint, out=out / "embedding.csv")
        fields(packs, config, checkpoint=checkpoint, scores=scores, out=out / "fields")
    return str(out)


def statistics(packs: Packs, config: Config, *, table: Table = None, out: Out) -> str:
    """Statistics of packed shapes."""
    from occnet_lib.analysis.statistics import write_statistics

    write_statistics(pack_files(packs, config, table), out)
    return str(out)


def distributions(packs: Packs, config: Config, *, table: Table = None, out: Out) -> str:
    """Geometry and colours of every shape, and the mean shapes of categories."""
    from occnet_lib.analysis.distributions import write_distributions

    write_distributions(pack_files(packs, config, table), config.seed, out)
    return str(out)


def duplicates(packs: Packs, config: Config, *, table: Table = None, out: Out) -> str:
    """Near-duplicates within and across splits, and the training shape nearest to every test shape."""
    from occnet_lib.analysis.duplicates import write_duplicates

    count = write_duplicates(pack_files(packs, config, table), out)
    return f"analyse: {out}: {count} pairs of near-duplicates"


def projections(packs: Packs, config: Config, *, table: Table = None, out: Out) -> str:
    """Points projected onto their images."""
    from occnet_lib.analysis.projections import write_projections

    write_projections(pack_files(packs, config, table, ("test",)), config.analyse, out)
    return str(out)


def embedding(
    packs: Packs,
    config: Config,
    *,
    checkpoint: Checkpoint,
    accelerator: Annotated[Literal["auto", "cpu"], "where the network runs"] = "auto",
    table: Table = None,
    out: Out,
) -> str:
    """t-SNE of a network's embeddings."""
    from occnet_lib.analysis.embeddings import write_embedding
    from occnet_lib.reconstruction.inference import encoder_features

    features = encoder_features(checkpoint, accelerator)
    files = pack_files(packs, config, table, ("val", "test"))
    write_embedding(features, files, config.analyse, config.seed, out)
    return str(out)


def fields(
    packs: Packs,
    config: Config,
    *,
    checkpoint: Checkpoint,
    scores: Scores = None,
    accelerator: Annotated[Literal["auto", "cpu"], "where the network runs"] = "auto",
    table: Table = None,
    out: Out,
) -> str:
    """Occupancies by a network and errors at the points of the report's example shapes, as coloured PLY files."""
    from occnet_lib.analysis.fields import write_fields
    from occnet_lib.reconstruction.extract import threshold_logit
    from occnet_lib.reconstruction.inference import one_thread
    from occnet_lib.reconstruction.reconstructor import Reconstructor
    from occnet_lib.storage.examples import example_shapes
    from occnet_lib.storage.packs import Shard
    from occnet_lib.storage.tables import read_rows

    files = pack_files(packs, config, table, ("test",))
    shards = [shard for shard in map(Shard, files) if shard.split == "test"]
    keys = [key for shard in shards for key in shard.keys]
    rows = read_rows(scores) if scores else []
    if rows and not {"model", "category", "id", "iou"} <= rows[0].keys():
        raise DataError("has no ranking: expected evaluate/shapes.csv of a results folder", path=scores)
    # The models of another configuration rank as well.
    models = dict.fromkeys([*config.distinct_models, *(row["model"] for row in rows)])
    examples = example_shapes(keys, rows, models, config.report.examples)
    chosen = {name for names in examples.values() for name in names}
    if not chosen:
        logger.warning("no test shapes are given: %s stays empty", out / "fields.csv")
    settings = config.reconstruct.model_copy(update={"accelerator": accelerator})
    network = Reconstructor(checkpoint, settings)
    level = threshold_logit(network.threshold)
    with one_thread():
        write_fields(network.view_logits, level, files, chosen, config.reconstruct.view, out)
    return f"analyse: {out}: {len(chosen)} shapes"


def report(
    results: Annotated[Path, "results folder of the workflow"],
    config: Config | None,
    *,
    out: Annotated[Path, "HTML file to write"],
) -> str:
    """One HTML file of a results folder; by default with the configuration that its run wrote."""
    from occnet_lib.report import write_report

    resolved = results / "config.json"
    if config is None and resolved.exists():
        try:
            config = configuration.load(resolved)
        except ConfigError as error:
            hint = "an earlier version wrote it? give the configuration by --config"
            raise ConfigError(error.message, path=resolved, hint=hint) from error
    if config is None or not results.is_dir():
        hint = "give its folder, as results/demo"
        raise OccnetError("holds no run (no config.json)", path=results, hint=hint)
    write_report(results, config, out)
    return str(out)


def config(
    config: Config,
    *,
    write: Annotated[bool, "write config.yaml, workflow/schemas/ and docs/configuration.md"] = False,
) -> str:
    """Print the resolved configuration, or regenerate what is made from it."""
    if not write:
        return configuration.to_yaml(config).rstrip()
    files = configuration.generated()
    if missing := [path.parent for path in files if not path.parent.is_dir()]:
        raise OccnetError("no such folder", path=missing[0], hint="--write is for a checkout of occnet")
    for path, text in files.items():
        write_text(path, text)
    return "\n".join(map(str, files))
