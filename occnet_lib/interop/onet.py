"""Shapes in the layout of ONet's dataset (Mescheder et al. 2019; github.com/autonomousvision/occupancy_networks).

`<category>/<id>/` has `points.npz`, `pointcloud.npz`, `model.binvox` (solid; `write_shape` adds `model.surface.binvox`) and
`img_choy2016/` with `000.jpg` … and `cameras.npz`; `<category>/{train,val,test}.lst` list the ids. Points are in the unit
frame. `loc` and `scale` map a point p to the frame of the cameras, pixel = K (R (scale p + loc) + t); in pack files they
are called view_loc and view_scale.
"""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib.config import Config
from occnet_lib.errors import DataError
from occnet_lib.storage import hdf5
from occnet_lib.storage.atomic import write_bytes
from occnet_lib.storage.dataset.catalogue import scan
from occnet_lib.storage.dataset.layouts import category_folders
from occnet_lib.storage.dataset.listing import Listing, ShapeLocation
from occnet_lib.storage.packs import PackedShape, Shard, image_codec
from occnet_lib.storage.packs.image_codec import EncodedViews, file_bytes
from occnet_lib.storage.packs.writer import without_mesh
from occnet_lib.types import PointSamples, ShapeKey

from . import binvox
from .npz import Arrays, read_npz, require_names, write_npz

logger = logging.getLogger(__name__)
IMAGES = "img_choy2016"
VOXELS = 32
# Arrays of points.npz and of pointcloud.npz.
INSIDE = ("points", "occupancies", "loc", "scale")
CLOUD = ("points", "normals", "loc", "scale")
_JPEG = b"\xff\xd8"
_JPEG_QUALITY = 95


def shapes_below(config: Config, root: Path) -> list[ShapeKey]:
    """The shapes of a dataset, with split and shard; their `path` is relative to `root`.

    Raises:
        DataError: the folder holds no such shape, or a shape is in two lists.
    """
    listing = Listing()
    without: list[str] = []
    for category in category_folders(root, config.dataset.categories):
        folders = sorted(entry.name for entry in os.scandir(root / category) if entry.is_dir())
        names = [name for name in folders if not name.startswith(".")]
        shapes = {name for name in names if (root / category / name / "points.npz").is_file()}
        listing.locations += [
            ShapeLocation(category, name, f"{category}/{name}", category) for name in sorted(shapes)
        ]
        if shapes:  # other folders, such as that of the results, are not categories
            without += [f"{category}/{name}" for name in names if name not in shapes]
    if without:
        listing.notes.append(f"{len(without)} folders without points.npz skipped, e.g. {without[0]}")
    return scan(config, root, listing)


def read_shape(root: Path, key: ShapeKey) -> PackedShape:
    """A shape of the dataset.

    Points and normals are converted to float16, which most files have already. Occupancies may be packed or not. Images
    keep their bytes. The dataset has no meshes, so the closed mesh has no faces. Without model.binvox no voxel is
    occupied.

    Raises:
        DataError: a file is missing, damaged or has arrays of unexpected shape.
    """
    folder = root / key.path
    inside = read_npz(folder / "points.npz", INSIDE)
    cloud = read_npz(folder / "pointcloud.npz", CLOUD)
    loc, scale = frame_of(inside, folder / "points.npz")
    if not np.allclose(cloud["loc"], loc) or not np.allclose(cloud["scale"], scale):
        raise DataError("points.npz and pointcloud.npz have different loc or scale", path=folder)
    samples = point_samples(inside, cloud, _voxels(folder / "model.binvox"), folder)
    if (folder / "model.surface.binvox").is_file():  # written by `write_shape`
        samples = replace(samples, surface_voxels=_voxels(folder / "model.surface.binvox"))
    views = _views(folder / IMAGES, loc, scale)
    return PackedShape(key, without_mesh(loc, scale), samples, views)


def frame_of(arrays: Arrays, path: Path) -> tuple[NDArray[np.float64], float]:
    """`loc` (3,) and `scale` of a file.

    Raises:
        DataError: a value is not finite, or the scale is not positive.
    """
    loc, scale = np.asarray(arrays["loc"], np.float64), np.asarray(arrays["scale"], np.float64)
    if loc.shape != (3,) or scale.size != 1 or not np.isfinite(loc).all() or not 0.0 < scale.item() < np.inf:
        raise DataError(f"invalid frame: loc {loc.tolist()}, scale {scale.tolist()}", path=path)
    return loc, float(scale.item())


def point_samples(inside: Arrays, cloud: Arrays, voxels: NDArray[np.bool_], path: Path) -> PointSamples:
    """The samples of a shape from the arrays of points.npz and of pointcloud.npz.

    Raises:
        DataError: the arrays have inconsistent lengths or values that are not finite.
    """
    points, surface, normals = (
        _vectors(array, name, path)
        for array, name in (
            (inside["points"], "points"),
            (cloud["points"], "surface points"),
            (cloud["normals"], "normals"),
        )
    )
    if len(surface) != len(normals):
        raise DataError(f"{len(surface)} surface points have {len(normals)} normals", path=path)
    return PointSamples(
        points, _occupancies(inside["occupancies"], len(points), path), surface, normals, voxels
    )


def _vectors(array: NDArray[Any], name: str, path: Path) -> NDArray[np.float16]:
    vectors = array.astype(np.float16)
    if vectors.ndim != 2 or vectors.shape[1] != 3 or not np.isfinite(vectors).all():
        raise DataError(f"{name} of shape {array.shape} are not (N, 3) finite numbers", path=path)
    return vectors


def _occupancies(array: NDArray[Any], count: int, path: Path) -> NDArray[np.bool_]:
    """(count,) bool from packed bits (eight per byte) or from one number per point."""
    if array.shape == (count,):
        return array.astype(np.float64) > 0.5
    if array.dtype == np.uint8 and array.shape == (-(-count // 8),):
        return hdf5.unpack_bits(array, count)
    raise DataError(f"{count} points have occupancies of shape {array.shape}", path=path)


def _voxels(path: Path) -> NDArray[np.bool_]:
    if not path.is_file():
        logger.info("%s is missing: the shape has no occupied voxels", path)
        return np.zeros((VOXELS,) * 3, np.bool_)
    return binvox.decode(path.read_bytes(), path)


def _views(folder: Path, loc: NDArray[np.float64], scale: float) -> EncodedViews:
    files = sorted(folder.glob("*.jpg"))
    images = tuple(file.read_bytes() for file in files)
    if not images or [file.stem for file in files] != [f"{view:03d}" for view in range(len(files))]:
        raise DataError("images are not numbered 000.jpg, 001.jpg, … without gaps", path=folder)
    for file, data in zip(files, images, strict=True):
        try:
            image_codec.decode(data)
        except DataError as error:
            raise DataError("not a readable image", path=file) from error
    cameras = read_npz(folder / "cameras.npz")
    return EncodedViews(images, *camera_arrays(cameras, len(images), folder / "cameras.npz"), loc, scale)


def camera_arrays(cameras: Arrays, count: int, path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(V, 3, 3) camera_mat and (V, 3, 4) world_mat from `camera_mat_0`, `world_mat_0`, ….

    Raises:
        DataError: a matrix is missing, unexpected or has another shape.
    """
    require_names(
        cameras, [f"{name}_{view}" for view in range(count) for name in ("camera_mat", "world_mat")], path
    )
    stacks = []
    for name, shape in (("camera_mat", (3, 3)), ("world_mat", (3, 4))):
        matrices = [cameras[f"{name}_{view}"] for view in range(count)]
        for view, array in enumerate(matrices):
            if array.shape != shape or not np.isfinite(array).all():
                raise DataError(f"{name}_{view} is not a {shape[0]}×{shape[1]} matrix", path=path)
        stacks.append(np.array(matrices, dtype=np.float64))
    return stacks[0], stacks[1]


def named_cameras(shard: Shard, i: int) -> Arrays:
    """The inverse of `camera_arrays`, in the order of ONet's files."""
    named: Arrays = {}
    for view in range(shard.views):
        named[f"camera_mat_{view}"], named[f"world_mat_{view}"], _, _ = shard.camera(i, view)
    return named


def sample_arrays(shard: Shard, i: int) -> tuple[Arrays, Arrays]:
    """The arrays of points.npz and of pointcloud.npz, with the names, order and types of ONet's files."""
    _, _, loc, scale = shard.camera(i, 0)
    frame: Arrays = {"loc": loc, "scale": np.array(scale)}
    points, occupancies = shard.points(i)
    surface, normals = shard.surface(i)
    inside: Arrays = {"points": points, "occupancies": hdf5.pack_bits(occupancies)}
    cloud: Arrays = {"points": surface, "normals": normals}
    return inside | frame, cloud | frame


def write_shape(root: Path, shard: Shard, i: int) -> bool:
    """Write a shape of a shard as `<category>/<id>/`.

    A JPEG image keeps its bytes; other images are encoded as JPEG of high quality.

    Returns:
        whether the shape has voxels; without them there is no model.binvox.

    Raises:
        DataError: the shard is corrupt or the disk is full.
    """
    key = shard.keys[i]
    folder = root / key.category / key.id
    inside, cloud = sample_arrays(shard, i)
    write_npz(folder / "points.npz", inside)
    write_npz(folder / "pointcloud.npz", cloud)
    for view in range(shard.views):
        data = shard.image_bytes(i, view)
        if not data.startswith(_JPEG):
            data = file_bytes(shard.image(i, view), "JPEG", quality=_JPEG_QUALITY, subsampling=0)
        write_bytes(folder / IMAGES / f"{view:03d}.jpg", data)
    write_npz(folder / IMAGES / "cameras.npz", named_cameras(shard, i))
    voxels = shard.voxels(i)
    grids = {
        "model.binvox": voxels if voxels.any() else None,
        "model.surface.binvox": shard.surface_voxels(i),
    }
    for name, grid in grids.items():
        if grid is not None:
            write_bytes(folder / name, binvox.encode(grid, inside["loc"], float(inside["scale"])))
    return bool(voxels.any())
