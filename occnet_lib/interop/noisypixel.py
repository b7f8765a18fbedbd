"""The layout of project-noisypixel (github.com/Computer-Vision-IIITH-2021/project-noisypixel).

One HDF5 file per shape, `<category>_<id>.h5`, beside lists {train,val,test}.lst of file names, with the content of ONet's
files: `images` u1 (V, H, W, 3), groups `camera` (camera_mat_i, world_mat_i), `points` (points, occupancies, loc, scale)
and `pointcloud` (points, normals, loc, scale). There are no voxels.
"""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from pathlib import Path

import numpy as np

from occnet_lib.config import Config
from occnet_lib.errors import DataError
from occnet_lib.storage import hdf5
from occnet_lib.storage.atomic import replacing
from occnet_lib.storage.dataset.splits import apply_limit, assign_shards, random_split, read_lists
from occnet_lib.storage.packs import PackedShape, Shard, image_codec
from occnet_lib.storage.packs.image_codec import EncodedViews
from occnet_lib.storage.packs.writer import without_mesh
from occnet_lib.types import ShapeKey

from . import onet
from .npz import require_names

logger = logging.getLogger(__name__)

_GROUPS = ("camera", "points", "pointcloud")


def shapes_below(config: Config, root: Path) -> list[ShapeKey]:
    """The shapes of a folder in this layout, with split and shard; their `path` is relative to `root`.

    Raises:
        DataError: the folder has no such file, or a file is in two lists.
    """
    files: dict[str, dict[str, str]] = defaultdict(dict)
    for path in sorted(root.glob("*.h5")):
        category, separator, id = path.stem.partition("_")
        if separator and id:
            files[category][id] = path.name
    _warn_of_folders(root, config.results)
    wanted = config.dataset.categories or list(files)
    absent = sorted(set(wanted) - files.keys())
    if absent or not files:
        raise DataError(f"no files {', '.join(absent) or '<category>'}_<id>.h5", path=root)
    splits = read_lists(root)
    if missing := splits.keys() - {name for names in files.values() for name in names.values()}:
        logger.warning("%s: %d listed files are missing, e.g. %s", root, len(missing), min(missing))
    keys = []
    for category in wanted:
        here = {id: splits[name] for id, name in files[category].items() if name in splits}
        paths = {id: path for id, path in files[category].items() if not splits or id in here}
        if skipped := len(files[category]) - len(paths):
            logger.warning("%s: %d shapes in no list skipped", category, skipped)
        split_of = {id: here.get(id) or random_split(config, f"{category}/{id}") for id in paths}
        keys += apply_limit(config, [ShapeKey(category, id, paths[id], split_of[id]) for id in paths])
    return assign_shards(config, sorted(keys, key=lambda key: key.name))


def _warn_of_folders(root: Path, results: str) -> None:
    """Warn of skipped folders: one such file in a folder of raw meshes makes it a dataset of this layout."""
    own = os.path.realpath(results)
    folders = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
    others = [f for f in folders if not f.startswith(".") and os.path.realpath(root / f) != own]
    if others:
        text = "%s: shapes are files <category>_<id>.h5; %d folders beside them skipped, e.g. %s"
        logger.warning(text, root, len(others), others[0])


def read_shape(root: Path, key: ShapeKey) -> PackedShape:
    """A shape of the folder, as `onet.read_shape`; no voxel is occupied.

    Raises:
        DataError: the file is missing, damaged or has arrays of unexpected shape.
    """
    path = root / key.path
    if not path.is_file():
        raise DataError("no such file", path=path)
    with hdf5.reading(path), hdf5.open_file(path) as file:
        require_names(file, ("images", *_GROUPS), path)
        images = file["images"][()]
        camera, inside, cloud = (
            {name: dataset[()] for name, dataset in file[group].items()} for group in _GROUPS
        )
    require_names(inside, onet.INSIDE, path)
    require_names(cloud, onet.CLOUD, path)
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8 or not len(images):
        raise DataError(f"images are {images.dtype} of shape {images.shape}", path=path)
    loc, scale = onet.frame_of(inside, path)
    samples = onet.point_samples(inside, cloud, np.zeros((onet.VOXELS,) * 3, np.bool_), path)
    matrices = onet.camera_arrays(camera, len(images), path)
    views = EncodedViews(tuple(image_codec.encode(image) for image in images), *matrices, loc, scale)
    return PackedShape(key, without_mesh(loc, scale), samples, views)


def write_shape(root: Path, shard: Shard, i: int) -> bool:
    """Write a shape of a shard as `<category>_<id>.h5`. Image i belongs to camera i.

    Returns:
        True: the layout has no optional part.

    Raises:
        DataError: the category has an underscore, which these file names cannot hold; images differ in size; the
            shard is corrupt or the disk is full.
    """
    key = shard.keys[i]
    if "_" in key.category:
        raise DataError(f"category {key.category} has an underscore, which these file names cannot hold")
    inside, cloud = onet.sample_arrays(shard, i)
    images = [shard.image(i, view) for view in range(shard.views)]
    if len({image.shape for image in images}) > 1:
        raise DataError(f"images of {key.name} differ in size", path=shard.path)
    groups = {"camera": onet.named_cameras(shard, i), "points": inside, "pointcloud": cloud}
    path = root / f"{key.category}_{key.id}.h5"
    with replacing(path) as temporary, hdf5.open_file(temporary, "w") as file:
        file["images"] = np.stack(images)
        for group, arrays in groups.items():
            for name, array in arrays.items():
                file[f"{group}/{name}"] = array
    return True
