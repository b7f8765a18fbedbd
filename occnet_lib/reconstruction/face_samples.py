"""Meshes of a network's reconstructions with the normals of the ground truth, for the graph network to learn from."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from occnet_lib import seeds
from occnet_lib.config import ReconstructConfig, digest
from occnet_lib.storage.face_samples import FaceSample, face_sample_digest, write_face_sample
from occnet_lib.storage.packs import Shard
from occnet_lib.types import Mesh
from occnet_lib.versions import VERSIONS

from .extract import threshold_logit
from .face_features import face_features, target
from .inference import one_thread
from .reconstructor import Reconstructor

logger = logging.getLogger(__name__)
_NOT_OF_MESHES = {"points_batch", "accelerator", "graph"}


def face_samples(
    checkpoint: Path,
    shards: Sequence[Path],
    names: Collection[str],
    config: ReconstructConfig,
    seed: int,
    out_dir: Path,
) -> list[Path]:
    """Reconstruct shapes and write one file a shape; files that are there already are kept.

    The input image is a random view. The meshes are as `config.refinement` leaves them for the graph network: refined by the
    field's gradient with `both`, else as simplified.

    Args:
        checkpoint: of a network that was not trained on these shapes.
        shards: pack files.
        names: of the shapes to reconstruct.
        config: section `reconstruct`.
        seed: of the configuration.
        out_dir: folder of `<category>/<id>.npz`.

    Returns:
        the files, without those of shapes that have no surface.
    """
    before = config.model_copy(
        update={"refinement": "gradient" if config.refinement == "both" else "none", "batch": 1}
    )
    reconstructor = Reconstructor(checkpoint, before)
    made_of = digest(
        *(VERSIONS["reconstruct"], VERSIONS["refinement"], before.model_dump(exclude=_NOT_OF_MESHES), seed),
        _network_digest(checkpoint),
    )
    paths = []
    with one_thread():
        for shard in map(Shard, shards):
            for i, key in enumerate(shard.keys):
                if key.name not in names:
                    continue
                path = out_dir / key.category / f"{key.id}.npz"
                if face_sample_digest(path) != made_of:
                    sample = _sample(reconstructor, shard, i, seed)
                    if sample is None:
                        logger.warning("%s: no surface, and so no mesh for the graph network", key.name)
                        continue
                    write_face_sample(path, sample, made_of)
                paths.append(path)
    return paths


def _network_digest(checkpoint: Path) -> str:
    """Digest of weights and options; the bytes of a file that is written again differ."""
    from occnet_lib.networks.checkpoint import read_plain

    content = read_plain(checkpoint)
    hashed = hashlib.blake2b(json.dumps(content["options"], sort_keys=True, default=str).encode())
    for name, value in sorted(content["state_dict"].items()):
        hashed.update(name.encode() + value.contiguous().numpy().tobytes())
    return hashed.hexdigest()


def _sample(reconstructor: Reconstructor, shard: Shard, i: int, seed: int) -> FaceSample | None:
    random = seeds.rng(seed, "face_samples", shard.keys[i].name)
    view = int(random.integers(shard.views))
    image, rotation = shard.image(i, view), shard.camera(i, view)[1][:, :3]
    given = None if reconstructor.predicts_cameras else shard.projection(i, view, image.shape)
    mesh: Mesh = reconstructor(image, random, rotation, projection=given).mesh
    if len(mesh.faces) == 0:
        return None
    field = reconstructor.field_of_view(image, rotation, given)
    level = threshold_logit(reconstructor.threshold)
    faces, edges, neighbours = face_features(field.with_gradient, mesh, level, reconstructor.device)
    normals, weight = target(mesh, *shard.surface(i))
    half = np.float16
    return FaceSample(
        faces.astype(half),
        edges.astype(half),
        neighbours.astype(np.int32),
        normals.astype(half),
        weight.astype(half),
    )
