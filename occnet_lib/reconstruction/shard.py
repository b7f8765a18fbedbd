"""Reconstructing the shapes of a pack shard."""

from __future__ import annotations

import logging
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

from occnet_lib import seeds
from occnet_lib.config import ReconstructConfig
from occnet_lib.errors import ConfigError
from occnet_lib.storage.packs import Shard
from occnet_lib.storage.reconstructions import writing

from .inference import one_thread
from .reconstruct import Reconstruction
from .reconstructor import Reconstructor

logger = logging.getLogger(__name__)


def reconstruct_shard(
    checkpoint: str | Path,
    shard_path: str | Path,
    config: ReconstructConfig,
    out_dir: str | Path,
    seed: int = 0,
    graph: str | Path | None = None,
) -> None:
    """Reconstruct one view of every shape of a shard into a folder (storage.reconstructions).

    `shapes.csv` has one row per shape: category, id, status, reason, threshold, points, faces, refined,
    loss_before, loss_after, seconds_<step> and seconds (CPU seconds, encoder included).

    `graph` is the file of the graph network, for the refinements graph and both.

    Raises:
        DataError: the checkpoint or the shard is missing or broken.
        ConfigError: the configured view does not exist, or the refinement needs `graph`.
    """
    shard = Shard(shard_path)
    if len(shard) and config.view >= shard.views:
        raise ConfigError(f"reconstruct.view is {config.view}, shapes have views 0 to {shard.views - 1}")
    reconstructor = Reconstructor(checkpoint, config, graph=graph)
    with one_thread(), writing(out_dir) as folder:
        for first in range(0, len(shard), config.batch):
            indices = range(first, min(first + config.batch, len(shard)))
            start = process_time()
            images = [shard.image(i, config.view) for i in indices]
            turns = np.stack([shard.camera(i, config.view)[1][:, :3] for i in indices])
            sizes = zip(indices, (image.shape for image in images), strict=True)
            cameras = np.stack([shard.projection(i, config.view, size) for i, size in sizes])
            given = None if reconstructor.predicts_cameras else cameras
            rngs = [seeds.rng(seed, "reconstruct", shard.keys[i].name) for i in indices]
            if len(indices) > 1:
                results = reconstructor.reconstruct_batch(images, rngs, turns, given)
            else:
                results = [reconstructor(images[0], rngs[0], turns[0], projection=given)]
            seconds = (process_time() - start) / len(indices)
            for i, result in zip(indices, results, strict=True):
                key, values = shard.keys[i], _values(result, reconstructor.threshold, seconds)
                folder.add(key, result.mesh, result.status, result.reason, **values)
                if result.status == "warn":
                    logger.warning("%s: %s", key.name, result.reason)
                logger.info("%s: %s %d faces, %.1f CPU s", key.name, result.status, values["faces"], seconds)


def _values(result: Reconstruction, threshold: float, total: float) -> dict[str, Any]:
    steps = ("mise", "extract", "simplify", "refine")
    return {
        "threshold": threshold,
        "points": result.points,
        "faces": len(result.mesh.faces),
        "refined": int(result.refined),
        "loss_before": result.loss_before,
        "loss_after": result.loss_after,
        **{f"seconds_{step}": round(result.seconds.get(step, 0.0), 4) for step in steps},
        "seconds": round(total, 4),
    }
