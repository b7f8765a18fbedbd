"""Verbs of the comparison of refinements."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from occnet_lib.config import Config, Refinement
from occnet_lib.storage.tables import write_rows

from .arguments import Catalogue, Checkpoint, Out, Pack, pack_files, read_catalogue, use_one_gpu_per_job
from .evaluate import Model, rows_of_test_shards


def evaluate_refinements(
    pack: Pack,
    config: Config,
    *,
    checkpoint: Checkpoint,
    graph: Annotated[Path, "graph.ckpt of train_refinement for refinement graph"],
    both: Annotated[Path, "the same for refinement both"],
    model: Model,
    meshes: Annotated[Path, "folder to write, for meshes of an example of each category"],
    table: Catalogue,
    out: Out,
) -> str:
    """All refinements of the meshes of a pack shard, measured side by side."""
    from occnet_lib.evaluation.refinements import evaluate_refinements
    from occnet_lib.reconstruction.compared_refinements import ComparedRefinements
    from occnet_lib.reconstruction.inference import one_thread
    from occnet_lib.storage.examples import example_shapes

    use_one_gpu_per_job(config)
    (shard,) = pack_files([pack], config, table)
    keys = [key for key in read_catalogue(table) if key.split == "test"]
    examples = {name for names in example_shapes(keys, [], (), 1).values() for name in names}
    graphs: dict[Refinement, Path] = {"graph": graph, "both": both}
    network = ComparedRefinements(checkpoint, config.reconstruct, graphs, config.seed)
    meshes.mkdir(parents=True, exist_ok=True)
    with one_thread():
        rows = evaluate_refinements(network.of_shape, shard, config, model, out, meshes, examples)
    return f"evaluate: {out}: {len(rows)} refined meshes"


def refinement_table(
    folder: Annotated[Path, "folder with <model>/<shard>.refinements.csv, into which the table goes"],
    config: Config,
    *,
    table: Catalogue,
) -> str:
    """Table of the refinements over all shapes and trainings."""
    from occnet_lib.evaluation.refinements import SUMMARY, summarise_refinements

    rows = rows_of_test_shards(folder, config.refined_models, ".refinements.csv", table)
    write_rows(folder / "refinements.csv", summarise_refinements(rows, config), SUMMARY)
    return f"evaluate: {folder / 'refinements.csv'}"
