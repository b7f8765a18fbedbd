"""The graph network of a model: cross-fitted networks, their meshes, and training on them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from occnet_lib import seeds
from occnet_lib.config import Config, Refinement
from occnet_lib.errors import DataError
from occnet_lib.storage.packs import Shard

logger = logging.getLogger(__name__)


def cross_fit(
    train: Sequence[Path],
    val: Sequence[Path],
    out: Path,
    config: Config,
    model: str,
    refinement: Refinement | None = None,
) -> Path:
    """Train two networks on halves of the shapes, reconstruct the other halves, train the graph network on these meshes.

    What is there already is kept, so that a stopped run goes on.

    Args:
        train, val: pack shards.
        out: folder of half-0/, half-1/, faces/, graph.ckpt and metrics.csv.
        config: the whole configuration.
        model: which entry of `config.models`.
        refinement: graph or both, for a further graph.ckpt in a folder of that name; None: that of the configuration, or
            graph.

    Returns:
        path of graph.ckpt.

    Raises:
        DataError: there are fewer than two training shapes, or as `training.train.train`.
    """
    file = (out / refinement if refinement else out) / "graph.ckpt"
    chosen = refinement or config.graph_refinement
    samples, held_out = _meshes_of_halves(train, val, out, config, model, chosen)
    _train_graph(samples, held_out, file, config, model, chosen)
    return file


def _meshes_of_halves(
    train: Sequence[Path], val: Sequence[Path], out: Path, config: Config, model: str, refinement: Refinement
) -> tuple[list[Path], list[Path]]:
    """Files of meshes of training and of validation shapes by networks that have not seen them; see `cross_fit`.

    Validation shapes have selected the best weights of their network, but it was not trained on them.
    """
    from occnet_lib.reconstruction.face_samples import face_samples
    from occnet_lib.training.cross_fit import halves
    from occnet_lib.training.train import train as train_model

    names, held_out = ([key.name for path in paths for key in Shard(path).keys] for paths in (train, val))
    if len(names) < 2:
        hint = "use reconstruct.refinement gradient, bilateral or none, and no evaluate.refinements"
        raise DataError(
            f"cross-fitting needs two training shapes, the packs hold {len(names)}", path=out, hint=hint
        )
    section = config.reconstruct.model_copy(update={"refinement": refinement})
    parts, faces, samples = halves(names, config.seed), out / "faces" / refinement, list[Path]()
    for half, part in enumerate(parts):
        train_model(config, model, train, val, out / f"half-{half}", only=part)
    for half, unseen in enumerate(reversed(parts)):
        chosen = _some(unseen, section.graph.meshes // 2, config.seed)
        checkpoint = out / f"half-{half}" / "best.ckpt"
        samples += face_samples(checkpoint, train, chosen, section, config.seed, faces)
    checks = face_samples(out / "half-0" / "best.ckpt", val, held_out, section, config.seed, faces)
    logger.info("face normals of %s: %d meshes, %d for validation", model, len(samples), len(checks))
    return sorted(samples), sorted(checks)


def _train_graph(
    samples: Sequence[Path],
    held_out: Sequence[Path],
    out: Path,
    config: Config,
    model: str,
    refinement: Refinement,
) -> None:
    """Train the graph network on files of `_meshes_of_halves`."""
    from occnet_lib.training import run_info
    from occnet_lib.training.face_normals import train_face_normals

    metadata = run_info.checkpoint_metadata(config, model, 0)

    train_face_normals(
        config.reconstruct.graph,
        config.training_seed(model),
        samples,
        held_out,
        out,
        about={"model_name": model, "refinement": refinement},
        network_options={key: metadata[key] for key in ("model", "images", "train")},
        rotate=config.models[model].frame == "camera",
        device=run_info.select_device(config.train),
    )


def _some(names: Sequence[str], count: int, seed: int) -> set[str]:
    """A random choice of names, which stays when others are added."""
    return set(sorted(names, key=lambda name: seeds.entropy(seed, "face_samples", name))[:count])
