"""What a network must beat: methods that reconstruct nothing (Tatarchenko et al., CVPR 2019).

They write the same folders as `reconstruct`, so that they are measured in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from occnet_lib.config import Config
from occnet_lib.errors import ConfigError
from occnet_lib.geometry.grid import Grid
from occnet_lib.geometry.isosurface import isosurface
from occnet_lib.records import Mesh, ShapeKey
from occnet_lib.storage.reconstructions import FolderWriter, writing
from occnet_lib.storage.shards import Shard

Kind = Literal["class_mean", "nearest_image", "floor"]

_THRESHOLDS = np.linspace(0.05, 0.95, 19)
_FEATURE_EDGE = 32
_WHITE = 250  # a pixel with a channel below this shows the object


def baseline_shard(
    kind: Kind,
    train_shards: Sequence[str | Path],
    test_shard: str | Path,
    config: Config,
    out_dir: str | Path,
) -> None:
    """Write a baseline's meshes for the shapes of a test shard (storage.reconstructions).

    * class_mean: mean occupancy of the training shapes of the test shape's true class, which it is told;
    * nearest_image: the closed mesh of the training shape of which some view looks most like the photo;
    * floor: the true mesh itself, which shows how far two samplings of one surface seem to be apart.

    Args:
        kind: which baseline.
        train_shards: pack files of the training shapes; not used by `floor`.
        test_shard: pack file of the shapes to reconstruct.
        config: `reconstruct.view` says which view of a test shape is the photo.
        out_dir: folder to write.

    Raises:
        ConfigError: an unknown kind.
        DataError: a shard is missing or broken.
    """
    writers = {"class_mean": _class_means, "nearest_image": _nearest_images, "floor": _true_meshes}
    if kind not in writers:
        raise ConfigError(f"no baseline {kind!r}", hint=f"there are {', '.join(writers)}")
    with writing(out_dir) as folder:
        writers[kind](
            folder, [Shard(path) for path in train_shards], Shard(test_shard), config.reconstruct.view
        )


def _true_meshes(folder: FolderWriter, _train: list[Shard], test: Shard, _view: int) -> None:
    for i, key in enumerate(test.keys):
        _add_true(folder, key, test, i)


def _add_true(folder: FolderWriter, key: ShapeKey, shard: Shard, i: int, **values: Any) -> None:
    """The closed mesh of shape `i` for `key`; imported shapes have none."""
    mesh = shard.mesh(i)
    if len(mesh.faces):
        folder.add(key, mesh, **values)
    else:
        reason = f"the pack holds no closed mesh of {shard.keys[i].name}"
        folder.add(key, None, status="failed", reason=reason, **values)


class ClassMean(NamedTuple):
    """Mean occupancy of a class.

    Attributes:
        mean: (R, R, R) float64.
        threshold: share of shapes above which the mean shape is full.
        mesh: its closed surface.
    """

    mean: NDArray[np.float64]
    threshold: float
    mesh: Mesh


def class_mean(voxels: Sequence[NDArray[np.bool_]]) -> ClassMean:
    """The mean of occupancy grids, cut where its mean IoU with them is the highest.

    Args:
        voxels: (R, R, R) bool grids of the unit cube, voxel i centred at (i + .5) / R - .5; at least one of
            them with an occupied voxel.
    """
    mean = np.asarray(np.mean(voxels, axis=0, dtype=np.float64))
    bins = len(_THRESHOLDS)
    level = np.searchsorted(_THRESHOLDS, mean.reshape(-1))  # number of thresholds below the mean
    size = _above(np.bincount(level, minlength=bins + 1))
    score = np.zeros(bins)
    for shape in voxels:
        occupied = shape.reshape(-1)
        common = _above(np.bincount(level[occupied], minlength=bins + 1))
        union = size + np.count_nonzero(occupied) - common
        score += common / np.maximum(union, 1)
    threshold = float(_THRESHOLDS[np.argmax(np.where(size > 0, score, -1.0))])
    if mean.max() <= threshold:  # thin shapes that share no voxel
        threshold = float(mean.max() / 2.0)
    r = mean.shape[0]
    grid = Grid(np.full(3, 0.5 / r - 0.5), 1.0 / r, (r, r, r))
    mesh = isosurface(np.asarray(threshold - mean, dtype=np.float32), grid, unit=threshold)
    return ClassMean(mean, threshold, mesh)


def _above(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of voxels above each threshold, of the counts by level."""
    above: NDArray[np.int64] = counts[::-1].cumsum()[::-1][1:]
    return above


def _class_means(folder: FolderWriter, train: list[Shard], test: Shard, _view: int) -> None:
    wanted = {key.category for key in test.keys}
    voxels: dict[str, list[NDArray[np.bool_]]] = {category: [] for category in wanted}
    for shard in train:
        for i, key in enumerate(shard.keys):
            if key.category in wanted:
                grid = shard.voxels(i)
                if grid.any():
                    voxels[key.category].append(grid)
    means = {category: class_mean(grids) for category, grids in voxels.items() if grids}
    for key in test.keys:
        if key.category in means:
            mean = means[key.category]
            folder.add(key, mean.mesh, threshold=mean.threshold)
        else:
            folder.add(key, None, status="failed", reason="no training shape of the class has voxels")


def image_features(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What pictures are compared by: (2 · 32²,) float32 of silhouette and grey values in [0, 1].

    The object is cropped to the square around its silhouette, since the cameras' distance varies; both
    layers are averaged over areas. Grey values are darkness, so that the background is 0 in both.

    Args:
        image: (H, W, 3) uint8 sRGB on white.
    """
    silhouette = image.min(axis=2) < _WHITE
    if not silhouette.any():
        return np.zeros(2 * _FEATURE_EDGE**2, np.float32)
    rows, columns = np.flatnonzero(silhouette.any(axis=1)), np.flatnonzero(silhouette.any(axis=0))
    low = np.array([columns[0], rows[0]], dtype=float)
    high = np.array([columns[-1], rows[-1]], dtype=float) + 1.0
    centre, half = (low + high) / 2.0, (high - low).max() / 2.0
    box = tuple(np.round(np.concatenate([centre - half, centre + half])).astype(int).tolist())
    darkness = 255 - image.astype(np.uint16).sum(axis=2) // 3
    layers = []
    for layer in (silhouette * 255, np.where(silhouette, darkness, 0)):
        square = Image.fromarray(layer.astype(np.uint8)).crop(box)  # beyond the border Pillow gives 0
        layers.append(np.asarray(square.resize((_FEATURE_EDGE,) * 2, Image.Resampling.BOX)))
    return np.stack(layers).reshape(-1).astype(np.float32) / np.float32(255.0)


def _nearest_images(folder: FolderWriter, train: list[Shard], test: Shard, view: int) -> None:
    photos = np.array([image_features(test.image(i, view)) for i in range(len(test))])
    best = np.full(len(test), np.inf)
    where = np.full((len(test), 3), -1)
    for s, shard in enumerate(train):
        for i in range(len(shard)):
            seen = np.array([image_features(shard.image(i, v)) for v in range(shard.views)])
            distance = ((photos[:, None] - seen[None]) ** 2).sum(axis=2)
            nearest = distance.argmin(axis=1)
            least = distance.min(axis=1)
            better = least < best
            best[better] = least[better]
            where[better, :2] = s, i
            where[better, 2] = nearest[better]
    for key, (s, i, v), distance in zip(test.keys, where, best, strict=True):
        if s < 0:
            folder.add(key, None, status="failed", reason="no training image")
        else:
            values = {"nearest": train[s].keys[i].name, "nearest_view": v, "distance": distance}
            _add_true(folder, key, train[s], i, **values)
