"""Shapes in one HDF5 file each, `<category>_<id>.h5`, beside {train,val,test}.lst of file names.

That is how a student project after ONet (github.com/Computer-Vision-IIITH-2021/project-noisypixel) stores ONet's
dataset: `images` u1 (V, H, W, 3), groups `camera` (camera_mat_i, world_mat_i), `points` (points, occupancies, loc,
scale) and `pointcloud` (points, normals, loc, scale), with the content of ONet's files. It has no voxels.
"""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib.config import Config
from occnet_lib.errors import DataError
from occnet_lib.storage import hdf5
from occnet_lib.storage.atomic import replacing
from occnet_lib.storage.dataset.splits import drawn_split, limited, read_lists, with_shards
from occnet_lib.storage.packs import PackedShape, Shard, image_codec
from occnet_lib.storage.packs.image_codec import EncodedViews
from occnet_lib.types import ShapeKey

from . import onet
from .npz import exactly

logger = logging.getLogger(__name__)

_GROUPS = ("camera", "points", "pointcloud")


def shapes_below(config: Config, root: Path) -> list[ShapeKey]:
    """The shapes of a folder of such files, with split and shard; their `path` is relative to `root`.

    Raises:
        DataError: the folder holds no such file, or a file is in two lists.
    """
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for file in sorted(root.glob("*.h5")):
        category, separator, id = file.stem.partition("_")
        if separator and id:
            found[category][id] = file.name
    _warn_of_folders(root, config.results)
    wanted = config.dataset.categories or list(found)
    absent = sorted(set(wanted) - found.keys())
    if absent or not found:
        raise DataError(f"no files {', '.join(absent) or '<category>'}_<id>.h5", path=root)
    splits = read_lists(root)
    if gone := splits.keys() - {name for names in found.values() for name in names.values()}:
        logger.warning("%s: %d files listed but not there, as %s", root, len(gone), min(gone))
    keys = []
    for category in wanted:
        here = {id: splits[name] for id, name in found[category].items() if name in splits}
        if splits and not here:
            logger.warning("%s: %d shapes in no list left out", category, len(found[category]))
        else:
            paths = {id: path for id, path in found[category].items() if not splits or id in here}
            if left := len(found[category]) - len(paths):
                logger.warning("%s: %d shapes in no list left out", category, left)
            keys += limited(
                config,
                [
                    ShapeKey(category, id, path, here.get(id) or drawn_split(config, f"{category}/{id}"))
                    for id, path in paths.items()
                ],
            )
    return with_shards(config, sorted(keys, key=lambda key: key.name))


def _warn_of_folders(root: Path, results: str) -> None:
    """Say that folders are left out: one such file in a folder of raw meshes makes it a dataset of this layout."""
    own = os.path.realpath(results)
    folders = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
    others = [f for f in folders if not f.startswith(".") and os.path.realpath(root / f) != own]
    if others:
        text = "%s: shapes are files <category>_<id>.h5; %d folders beside them left out, as %s"
        logger.warning(text, root, len(others), others[0])


def read_shape(root: Path, key: ShapeKey) -> PackedShape:
    """A shape of the folder, as `onet.read_shape`; no voxel is occupied.

    Raises:
        DataError: the file is missing, broken or of an unexpected shape.
    """
    path = root / key.path
    if not path.is_file():
        raise DataError("no such file", path=path)
    with hdf5.reading(path), hdf5.open_file(path) as file:
        exactly(file, ("images", *_GROUPS), path)
        images = file["images"][()]
        camera, inside, cloud = (
            {name: dataset[()] for name, dataset in file[group].items()} for group in _GROUPS
        )
    exactly(inside, onet.INSIDE, path)
    exactly(cloud, onet.CLOUD, path)
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8 or not len(images):
        raise DataError(f"images are {images.dtype} of shape {images.shape}", path=path)
    loc, scale = onet.frame_of(inside, path)
    samples = onet.point_samples(inside, cloud, np.zeros((onet.VOXELS,) * 3, np.bool_), path)
    matrices = onet.camera_arrays(camera, len(images), path)
    views = EncodedViews(tuple(image_codec.encode(image) for image in images), *matrices, loc, scale)
    return PackedShape(key, onet.without_mesh(loc, scale), samples, views)


def write_shape(root: Path, shard: Shard, i: int) -> bool:
    """Write a shape of a shard as `<category>_<id>.h5`; always True, as there is nothing that may be missing.

    Image i belongs to camera i.

    Raises:
        DataError: its category has an underscore, which a file name could not be told apart by; images differ
            in size; the shard is corrupt or the disk full.
    """
    key = shard.keys[i]
    if "_" in key.category:
        raise DataError(f"category {key.category} has an underscore, which these file names cannot hold")
    inside, cloud = onet.sample_arrays(shard, i)
    images = [shard.image(i, view) for view in range(shard.views)]
    if len({image.shape for image in images}) > 1:
        raise DataError(f"images of {key.name} differ in size", path=shard.path)
    groups: dict[str, dict[str, NDArray[Any]]] = {
        "camera": dict(onet.named_cameras(shard, i)),
        "points": inside,
        "pointcloud": cloud,
    }
    path = root / f"{key.category}_{key.id}.h5"
    with replacing(path) as temporary, hdf5.open_file(temporary, "w") as file:
        file["images"] = np.stack(images)
        for group, arrays in groups.items():
            for name, array in arrays.items():
                file[f"{group}/{name}"] = array
    return True
