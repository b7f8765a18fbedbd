"""Pack shards: what training and everything after it reads (docs/architecture.md, "Pack shard")."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import DataError
from occnet_lib.records import Mesh, PointSamples, ShapeKey, Views, Watertight

from . import hdf5, png
from .atomic import replacing
from .png import EncodedViews

SCHEMA_VERSION = 1
_STRING = h5py.string_dtype()
_DATASETS = (
    *("category", "id", "points", "occupancies", "surface", "normals", "voxels", "images", "image_offsets"),
    *(
        "camera_mat",
        "world_mat",
        "view_loc",
        "view_scale",
        "loc",
        "scale",
        "vertices",
        "faces",
        "mesh_offsets",
    ),
)


@dataclass(frozen=True)
class PackedShape:
    """All that a shard holds of one shape."""

    key: ShapeKey
    watertight: Watertight
    points: PointSamples
    views: EncodedViews

    @staticmethod
    def of(key: ShapeKey, watertight: Watertight, points: PointSamples, views: Views) -> PackedShape:
        """From the records of the stages; encodes the images."""
        return PackedShape(key, watertight, points, EncodedViews.encode(views))


def write_shard(path: str | Path, shapes: Sequence[PackedShape], shard: str, split: str) -> None:
    """Write a shard, atomically.

    Args:
        path: the shard's file.
        shapes: any sequence, also one that reads a shape when it is asked for it; gone through once.
            May be empty.
        shard: name of the shard.
        split: train, val or test.

    Raises:
        DataError: shapes that differ in numbers of points, surface points, voxels or views; a full disk.
    """
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["schema_version"] = SCHEMA_VERSION
        file.attrs["shard"], file.attrs["split"] = shard, split
        keys: list[ShapeKey] = []
        tails: dict[str, list[Any]] = {"images": [], "image_offsets": [], "vertices": [], "faces": []}
        for i, shape in enumerate(shapes):
            rows = _rows(shape)
            if i == 0:
                _create(file, len(shapes), rows, len(shape.points.voxels))
            for name, row in rows.items():
                if file[name].shape[1:] != row.shape:
                    want, got = file[name].shape[1:], row.shape
                    message = f"{name} of {shape.key.name} has shape {got}, others of {shard} have {want}"
                    raise DataError(message, hint="run preprocess again with one configuration")
                file[name][i] = row
            keys.append(shape.key)
            tails["images"].append(b"".join(shape.views.images))
            tails["image_offsets"].append([0, *map(len, shape.views.images)])
            tails["vertices"].append(shape.watertight.mesh.vertices.astype(np.float32))
            tails["faces"].append(shape.watertight.mesh.faces.astype(np.int32))
        if not keys:
            _create(file, 0, _EMPTY, 0)
        for name, words in (("category", [k.category for k in keys]), ("id", [k.id for k in keys])):
            file.create_dataset(name, data=words, shape=(len(keys),), dtype=_STRING)
        _write_tails(file, tails)


# What the rows of a shard without shapes look like.
_EMPTY: dict[str, NDArray[Any]] = {
    "points": np.zeros((0, 3), np.float16),
    "occupancies": np.zeros(0, np.uint8),
    "surface": np.zeros((0, 3), np.float16),
    "normals": np.zeros((0, 3), np.float16),
    "voxels": np.zeros(0, np.uint8),
    "camera_mat": np.zeros((0, 3, 3)),
    "world_mat": np.zeros((0, 3, 4)),
    "view_loc": np.zeros(3),
    "view_scale": np.zeros(()),
    "loc": np.zeros(3),
    "scale": np.zeros(()),
}


def _rows(shape: PackedShape) -> dict[str, NDArray[Any]]:
    """The arrays of a shape that have the same size in all shapes."""
    points, views = shape.points, shape.views
    rows: dict[str, Any] = {
        "points": points.points,
        "occupancies": hdf5.pack_bits(points.occupancies),
        "surface": points.surface,
        "normals": points.normals,
        "voxels": hdf5.pack_bits(points.voxels),
        "camera_mat": views.camera_mat,
        "world_mat": views.world_mat,
        "view_loc": views.loc,
        "view_scale": views.scale,
        "loc": shape.watertight.loc,
        "scale": shape.watertight.scale,
    }
    return {name: np.asarray(row, dtype=_EMPTY[name].dtype) for name, row in rows.items()}


def _create(file: h5py.File, count: int, rows: dict[str, NDArray[Any]], resolution: int) -> None:
    for name, row in rows.items():
        file.create_dataset(name, shape=(count, *row.shape), dtype=row.dtype)
    file["voxels"].attrs["resolution"] = resolution


def _write_tails(file: h5py.File, tails: dict[str, list[Any]]) -> None:
    """Write what differs in size from shape to shape, one behind the other, with offsets."""
    vertices, faces, sizes = tails["vertices"], tails["faces"], tails["image_offsets"]
    file["images"] = np.frombuffer(b"".join(tails["images"]), np.uint8)
    starts = np.cumsum([0, *(len(data) for data in tails["images"])], dtype=np.int64)[:-1]
    views = file["camera_mat"].shape[1]
    inner = np.cumsum(np.array(sizes, np.int64).reshape(len(sizes), views + 1), axis=1)
    file["image_offsets"] = starts[:, None] + inner
    file["vertices"] = np.concatenate([np.zeros((0, 3), np.float32), *vertices])
    file["faces"] = np.concatenate([np.zeros((0, 3), np.int32), *faces])
    counts = np.array([(0, 0), *((len(v), len(f)) for v, f in zip(vertices, faces, strict=True))], np.int64)
    file["mesh_offsets"] = np.cumsum(counts, axis=0)


class Shard:
    """A shard for reading.

    The file is opened on first use in every process, so that a `Shard` may be pickled, forked and
    handed to spawned workers; h5py's own lock makes it safe in threads.

    Args:
        path: the shard's file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: h5py.File | None = None
        self._pid = -1

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_file": None, "_pid": -1}

    def __len__(self) -> int:
        return len(self.keys)

    def close(self) -> None:
        """Close the file; it opens again by itself when something is read."""
        if self._file is not None and self._pid == os.getpid():
            self._file.close()
        self._file = None

    @cached_property
    def name(self) -> str:
        """Name of the shard, `<split>-<number>`."""
        with self._reading() as file:
            return str(file.attrs["shard"])

    @cached_property
    def split(self) -> str:
        """Split that the shard belongs to: train, val or test."""
        with self._reading() as file:
            return str(file.attrs["split"])

    @cached_property
    def keys(self) -> list[ShapeKey]:
        """The shapes, in the order of the indices of all other methods."""
        with self._reading() as file:
            names = zip(file["category"].asstr()[()], file["id"].asstr()[()], strict=True)
            return [ShapeKey(category, id, split=self.split, shard=self.name) for category, id in names]

    @cached_property
    def views(self) -> int:
        """Number of images of every shape."""
        return int(self._index["camera_mat"].shape[1])

    @cached_property
    def points_per_shape(self) -> int:
        """Number of points with occupancy of every shape."""
        with self._reading() as file:
            return int(file["points"].shape[1])

    def points(
        self, i: int, start: int = 0, count: int | None = None
    ) -> tuple[NDArray[np.float16], NDArray[np.bool_]]:
        """A window of the points of shape `i`: (count, 3) float16 and (count,) bool, unit frame.

        The points are in random order, so a window is a random sample.

        Raises:
            IndexError: the window does not lie within the points.
            DataError: the file is missing or corrupt.
        """
        count = self.points_per_shape - start if count is None else count
        if start < 0 or count < 0 or start + count > self.points_per_shape:
            raise IndexError(f"points {start}:{start + count} of {self.points_per_shape}")
        with self._reading() as file:
            first, shift = divmod(start, 8)
            bits = file["occupancies"][i, first : (start + count + 7) // 8]
            return file["points"][i, start : start + count], hdf5.unpack_bits(bits, count, shift)

    def surface(self, i: int) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
        """Surface points and outward unit normals of shape `i`: twice (M, 3) float16, unit frame."""
        with self._reading() as file:
            return file["surface"][i], file["normals"][i]

    def voxels(self, i: int) -> NDArray[np.bool_]:
        """(R, R, R) bool occupancy grid of shape `i`, indexed [x, y, z]."""
        with self._reading() as file:
            edge = int(file["voxels"].attrs["resolution"])
            return hdf5.unpack_bits(file["voxels"][i], edge**3).reshape(edge, edge, edge)

    def image_bytes(self, i: int, view: int) -> bytes:
        """Bytes of one image: PNG, or JPEG where it was imported so."""
        start, stop = self._index["image_offsets"][i, view : view + 2]
        with self._reading() as file:
            return file["images"][start:stop].tobytes()

    def image(self, i: int, view: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 sRGB image."""
        try:
            return png.decode(self.image_bytes(i, view))
        except DataError as error:
            name = self.keys[i].name
            raise DataError(f"view {view} of {name}: {error.message}", path=self.path) from error

    def camera(
        self, i: int, view: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], float]:
        """camera_mat (3, 3), world_mat (3, 4), view_loc (3,) and view_scale of one image (records.Views)."""
        index = self._index
        scale = float(index["view_scale"][i])
        return index["camera_mat"][i, view], index["world_mat"][i, view], index["view_loc"][i], scale

    def frame(self, i: int) -> tuple[NDArray[np.float64], float]:
        """loc (3,) and scale of shape `i`: `x_source = scale * x_unit + loc`."""
        return self._index["loc"][i], float(self._index["scale"][i])

    def mesh(self, i: int) -> Mesh:
        """The closed mesh of shape `i`, unit frame; without faces where it was imported without one."""
        (v0, f0), (v1, f1) = self._index["mesh_offsets"][i : i + 2]
        with self._reading() as file:
            return Mesh(file["vertices"][v0:v1].astype(np.float64), file["faces"][f0:f1])

    @cached_property
    def _index(self) -> dict[str, NDArray[Any]]:
        """The small arrays, read once: cameras, frames, offsets."""
        names = (
            "image_offsets",
            "mesh_offsets",
            "camera_mat",
            "world_mat",
            "view_loc",
            "view_scale",
            "loc",
            "scale",
        )
        with self._reading() as file:
            return {name: file[name][()] for name in names}

    @contextmanager
    def _reading(self) -> Iterator[h5py.File]:
        if self._file is None or self._pid != os.getpid():
            self._file = hdf5.open_checked(self.path, SCHEMA_VERSION, _DATASETS)
            self._pid = os.getpid()
        with hdf5.reading(self.path):
            yield self._file
