"""Baselines that retrieve or average training shapes (Tatarchenko et al., CVPR 2019).

They write the same folders as `reconstruct` and are therefore measured in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from occnet_lib.config import Config
from occnet_lib.errors import ConfigError
from occnet_lib.geometry.occupancy import contains
from occnet_lib.storage.packs import Shard
from occnet_lib.storage.reconstructions import FolderWriter, writing
from occnet_lib.types import ShapeKey

from .lookup_index import nearest_images, predicted_clusters
from .metrics import iou
from .voxel_grids import Grids, class_mean, mean_surface

CANDIDATES = 5
"""Number of training shapes with the highest voxel IoU among which the oracle compares point occupancies."""


class _Work(NamedTuple):
    folder: FolderWriter
    train: list[Shard]
    test: Shard
    tables: Path  # folder of evaluation.lookup_index
    model: str

    def training(self) -> dict[str, tuple[Shard, int]]:
        """Shard and index of every training shape, by name."""
        return {key.name: (shard, i) for shard in self.train for i, key in enumerate(shard.keys)}


def baseline_shard(
    kind: str, train_shards: Sequence[str | Path], test_shard: str | Path, config: Config, out_dir: str | Path
) -> None:
    """Write a baseline's meshes for the shapes of a test shard (storage.reconstructions).

    * class_mean: mean occupancy of the training shapes of the test shape's class; it is given the class label;
    * nearest_image: the closed mesh of the training shape with the view most similar to the image;
    * retrieval-<model>: that of the shape with the view whose code is nearest to the image's, by the encoder of a
      trained model;
    * clustering-<model>: mean occupancy of a cluster of training shapes (k-means of their voxels): the one whose views'
      mean code is nearest to the image's;
    * oracle: the mesh of the training shape with the highest IoU with the ground truth, at the ground truth's points,
      among the 5 shapes with the highest voxel IoU;
    * floor: the ground-truth mesh itself, which shows the distance between two samplings of one surface.

    Args:
        kind: which baseline.
        train_shards: pack files of the training shapes; not used by `floor`.
        test_shard: pack file of the shapes to reconstruct.
        config: `<results>/index` holds images.h5, codes_<model>.h5 and clusters.h5 of evaluation.lookup_index for the
            baselines that need them.
        out_dir: folder to write.

    Raises:
        ConfigError: an unknown kind.
        DataError: a shard or an index is missing or broken.
    """
    name, _, model = kind.partition("-")
    if name not in _WRITERS:
        raise ConfigError(f"no baseline {kind!r}", hint=f"there are {', '.join(_WRITERS)}")
    train = sorted((Shard(path) for path in train_shards), key=lambda shard: shard.name)
    with writing(out_dir) as folder:
        _WRITERS[name](_Work(folder, train, Shard(test_shard), Path(config.results) / "index", model))


def _floor(work: _Work) -> None:
    for i, key in enumerate(work.test.keys):
        _add_ground_truth(work.folder, key, work.test, i)


def _add_ground_truth(folder: FolderWriter, key: ShapeKey, shard: Shard, i: int, **values: Any) -> None:
    """The closed mesh of shape `i` for `key`; imported shapes have none."""
    mesh = shard.mesh(i)
    if len(mesh.faces):
        folder.add(key, mesh, **values)
    else:
        reason = f"the pack holds no closed mesh of {shard.keys[i].name}"
        folder.add(key, None, status="failed", reason=reason, **values)


def _class_means(work: _Work) -> None:
    wanted = {key.category for key in work.test.keys}
    grids, names = Grids.of(work.train, wanted)
    categories = np.array([name.partition("/")[0] for name in names])
    means = {category: class_mean(grids[categories == category]) for category in sorted(set(categories))}
    for key in work.test.keys:
        if key.category in means:
            mean = means[key.category]
            work.folder.add(key, mean.mesh, threshold=mean.threshold)
        else:
            reason = "no training shape of the class has voxels"
            work.folder.add(key, None, status="failed", reason=reason)


def _nearest_images(work: _Work) -> None:
    training = work.training()
    file = f"codes_{work.model}.h5" if work.model else "images.h5"
    nearest = nearest_images(work.tables / file, [key.name for key in work.test.keys])
    for key in work.test.keys:
        if key.name in nearest:
            name, view, distance = nearest[key.name]
            shard, i = training[name]
            _add_ground_truth(work.folder, key, shard, i, nearest=name, nearest_view=view, distance=distance)
        else:
            work.folder.add(key, None, status="failed", reason="no training image")


def _cluster_means(work: _Work) -> None:
    names = [key.name for key in work.test.keys]
    index = work.tables / f"codes_{work.model}.h5"
    predicted = predicted_clusters(index, work.tables / "clusters.h5", names)
    for key in work.test.keys:
        if key.name in predicted:
            number, mean, threshold = predicted[key.name]
            work.folder.add(key, mean_surface(mean, threshold), cluster=number, threshold=threshold)
        else:
            work.folder.add(key, None, status="failed", reason="no training shape has voxels")


def _oracles(work: _Work) -> None:
    grids, names = Grids.of(work.train)
    training = work.training()
    for i, key in enumerate(work.test.keys):
        voxels, (points, occupied) = work.test.voxels(i), work.test.points(i)
        best, score = "", -1.0
        similarity = grids.iou(voxels) if names and voxels.any() else np.zeros(0)
        for k in np.argsort(-similarity, kind="stable")[:CANDIDATES]:
            shard, j = training[names[k]]
            mesh = shard.mesh(j)
            overlap = iou(contains(mesh, points), occupied) if len(mesh.faces) else 0.0
            if overlap > score:
                best, score = names[k], overlap
        if best:
            _add_ground_truth(work.folder, key, *training[best], nearest=best, iou=score)
        else:
            reason = "the shape has no voxels" if names else "no training shape has voxels"
            work.folder.add(key, None, status="failed", reason=reason)


_WRITERS: dict[str, Callable[[_Work], None]] = {
    "class_mean": _class_means,
    "nearest_image": _nearest_images,
    "retrieval": _nearest_images,
    "clustering": _cluster_means,
    "oracle": _oracles,
    "floor": _floor,
}
