"""Lookup tables of the baselines, made once per run: features of all training images, clusters of training shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from occnet_lib.errors import ConfigError, DataError
from occnet_lib.storage.atomic import replacing
from occnet_lib.storage.hdf5 import creating, open_checked, reading
from occnet_lib.storage.packs import Shard

from .voxel_grids import Grids, class_mean, cluster

Features = Callable[[NDArray[np.uint8]], NDArray[np.generic]]
"""Images (B, H, W, 3) uint8 sRGB on white to features (B, D)."""

_SCHEMA = 1
_CHECKED = _SCHEMA, ("names",)
_IMAGES_PER_BLOCK = 2048  # whose features are compared at once


def write_index(
    features: Features,
    train: Sequence[str | Path],
    test: Sequence[str | Path],
    view: int,
    views: int,
    out: str | Path,
) -> None:
    """Write the features of training images and of the test shapes' input images.

    Datasets: `features` (n, V, D), `names` (n,); `photos` (m, D), `photo_names` (m,). One shape is in
    memory at a time, and its images are processed together, so that features do not depend on other shapes.

    Args:
        features: feature function of images.
        train, test: pack files.
        view: view of a test shape that is the input image.
        views: number of views of a training shape that are used, the first ones; 0: as many as all shapes have.
        out: HDF5 file.

    Raises:
        ConfigError: a test shape does not have that view.
        DataError: a shard is missing or broken.
    """
    shards, photos = _by_name(train), _by_name(test)
    if few := [shard for shard in photos if len(shard) and view >= shard.views]:
        raise ConfigError(f"reconstruct.view is {view}, shapes of {few[0].name} have {few[0].views} views")
    # Imported shards may differ in their numbers of views.
    count = min((shard.views for shard in shards if len(shard)), default=0)
    count = min(views or count, count)
    with replacing(out) as temporary, creating(temporary) as file:
        file.attrs["schema_version"] = _SCHEMA
        _write_names(file, "names", shards)
        places = [(shard, i) for shard in shards for i in range(len(shard))]
        for number, (shard, i) in enumerate(places):
            values = features(np.stack([shard.image(i, v) for v in range(count)]))
            if number == 0:
                shape = values.shape
                file.create_dataset("features", (len(places), *shape), values.dtype, chunks=(1, *shape))
            file["features"][number] = values
        _write_names(file, "photo_names", photos)
        rows = [features(s.image(i, view)[None])[0] for s in photos for i in range(len(s))]
        file["photos"] = np.array(rows)
        if not places:
            file["features"] = np.zeros((0, 1, 1))


EDGE = 32
_WHITE = 250  # a pixel with a channel below this shows the object


def image_features(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(B, 2 · 32²) uint8: silhouette and darkness of every image.

    The object is cropped to the square around its silhouette, since the cameras' distance varies; both
    layers are averaged over areas. Grey values are darkness, so that the background is 0 in both.

    Args:
        images: (B, H, W, 3) uint8 sRGB on white.
    """
    return np.array([_features(image) for image in images], dtype=np.uint8).reshape(-1, 2 * EDGE**2)


def _features(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    silhouette = image.min(axis=2) < _WHITE
    if not silhouette.any():
        return np.zeros(2 * EDGE**2, np.uint8)
    rows, columns = np.flatnonzero(silhouette.any(axis=1)), np.flatnonzero(silhouette.any(axis=0))
    low = np.array([columns[0], rows[0]], dtype=float)
    high = np.array([columns[-1], rows[-1]], dtype=float) + 1.0
    centre, half = (low + high) / 2.0, (high - low).max() / 2.0
    box = tuple(np.round(np.concatenate([centre - half, centre + half])).astype(int).tolist())
    darkness = 255 - image.astype(np.uint16).sum(axis=2) // 3
    layers = []
    for layer in (silhouette * 255, np.where(silhouette, darkness, 0)):
        square = Image.fromarray(layer.astype(np.uint8)).crop(box)  # beyond the border Pillow gives 0
        layers.append(np.asarray(square.resize((EDGE,) * 2, Image.Resampling.BOX)))
    return np.stack(layers).reshape(-1)


class Nearest(NamedTuple):
    """The training image nearest to an input image."""

    name: str
    view: int
    distance: float


def nearest_images(index: str | Path, names: Sequence[str]) -> dict[str, Nearest]:
    """For test shapes, the training image whose features are nearest to those of their input image (squared Euclidean).

    Args:
        index: file of `write_index`.
        names: of test shapes.

    Returns:
        By name; empty without training images.

    Raises:
        DataError: the file is missing or broken, or lacks an input image.
    """
    if not names:
        return {}
    best = np.full(len(names), np.inf)
    nearest = np.zeros((len(names), 2), np.int64)
    with open_checked(index, *_CHECKED) as file:
        photos = _photos(file, names)
        training = file["names"].asstr()[()]
        for first, block in _blocks(file):
            count, views, _ = block.shape
            flat = block.reshape(count * views, -1)
            gap = _squared_distances(photos, flat)
            at = gap.argmin(axis=1)
            least = gap[np.arange(len(names)), at]
            better = least < best
            best[better] = least[better]
            nearest[better] = np.stack([first + at // views, at % views], axis=1)[better]
    return {
        name: Nearest(str(training[i]), int(view), float(gap))
        for name, (i, view), gap in zip(names, nearest, best, strict=True)
        if np.isfinite(gap)
    }


def write_clusters(
    train: Sequence[str | Path], count: int, rng: np.random.Generator, out: str | Path
) -> None:
    """Write clusters of the training shapes' voxels and their mean shapes.

    Datasets: `names`, `labels` (n,) of the shapes that have voxels; `means` (k, R, R, R), `thresholds` (k,).

    Args:
        train: pack files.
        count: number of clusters; at most a quarter of the number of shapes.
        rng: draws the first centres.
        out: HDF5 file.

    Raises:
        DataError: a shard is missing or broken.
    """
    grids, names = Grids.of(_by_name(train))
    count = min(count, -(-len(grids) // 4))
    labels = cluster(grids, count, rng) if count else np.zeros(0, np.int64)
    used, labels = np.unique(labels, return_inverse=True)
    means = [class_mean(grids[labels == k]) for k in range(len(used))]
    with replacing(out) as temporary, creating(temporary) as file:
        file.attrs["schema_version"] = _SCHEMA
        file.create_dataset("names", data=names, shape=(len(names),), dtype=h5py.string_dtype())
        file["labels"] = labels.astype(np.int64)
        file["means"] = np.array([mean.mean for mean in means], dtype=np.float32)
        file["thresholds"] = np.array([mean.threshold for mean in means])


class Cluster(NamedTuple):
    """A cluster's number and mean shape."""

    number: int
    mean: NDArray[np.float32]
    threshold: float


def predicted_clusters(index: str | Path, clusters: str | Path, names: Sequence[str]) -> dict[str, Cluster]:
    """For test shapes, the cluster whose training images' mean feature is nearest to that of their input image.

    Args:
        index: file of `write_index`.
        clusters: file of `write_clusters`.
        names: of test shapes.

    Returns:
        By name; empty without clusters.

    Raises:
        DataError: a file is missing or broken, or lacks an input image.
    """
    with open_checked(clusters, *_CHECKED) as file, reading(clusters):
        label_of = dict(zip(file["names"].asstr()[()], file["labels"][()], strict=True))
        means, thresholds = file["means"][()], file["thresholds"][()]
    if not label_of or not names:
        return {}
    with open_checked(index, *_CHECKED) as file:
        photos = _photos(file, names)
        labels = np.array([label_of.get(name, -1) for name in file["names"].asstr()[()]])
        sums, counts = np.zeros((len(means), photos.shape[1])), np.zeros(len(means))
        for first, block in _blocks(file):
            own = labels[first : first + len(block)]
            np.add.at(sums, own[own >= 0], block[own >= 0].mean(axis=1))
            np.add.at(counts, own[own >= 0], 1)
    chosen = _squared_distances(photos, sums / counts[:, None]).argmin(axis=1)
    return {n: Cluster(int(k), means[k], float(thresholds[k])) for n, k in zip(names, chosen, strict=True)}


def _by_name(paths: Sequence[str | Path]) -> list[Shard]:
    """The shards in an order that does not depend on that of the paths."""
    return sorted((Shard(path) for path in paths), key=lambda shard: shard.name)


def _write_names(file: h5py.File, dataset: str, shards: Sequence[Shard]) -> None:
    names = [key.name for shard in shards for key in shard.keys]
    file.create_dataset(dataset, data=names, shape=(len(names),), dtype=h5py.string_dtype())


def _photos(file: h5py.File, names: Sequence[str]) -> NDArray[np.float64]:
    """(m, D) features of the test shapes' input images."""
    with reading(file.filename):
        row = {name: i for i, name in enumerate(file["photo_names"].asstr()[()])}
        missing = [name for name in names if name not in row]
        if missing:
            raise DataError(
                f"has no image of {missing[0]}", path=file.filename, hint="delete it and run again"
            )
        photos = file["photos"][()]
    return np.asarray(photos[[row[name] for name in names]], dtype=np.float64)


def _blocks(file: h5py.File) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Number of the first shape and features (b, V, D) of runs of training shapes."""
    features = file["features"]
    step = max(1, _IMAGES_PER_BLOCK // max(features.shape[1], 1))
    for start in range(0, len(features), step):
        with reading(file.filename):
            block = features[start : start + step]
        yield start, np.asarray(block, dtype=np.float64)


def _squared_distances(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """(m, n) of rows (m, D) and (n, D); exact for whole numbers below 2²⁶."""
    squares: NDArray[np.float64] = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2.0 * (a @ b.T)
    return np.maximum(squares, 0.0)
