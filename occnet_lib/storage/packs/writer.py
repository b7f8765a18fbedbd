"""Writing of pack files (docs/architecture.md, "Pack file")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import DataError
from occnet_lib.storage import hdf5
from occnet_lib.storage.atomic import replacing
from occnet_lib.types import Mesh, PointSamples, Samples, ShapeKey, Views, Watertight

from . import point_codec
from .image_codec import EXTRA, EncodedViews

SCHEMA_VERSION = 2
SAMPLES = "samples_"  # prefix of the names of the datasets of `Samples`
_STRING = h5py.string_dtype()
# Arrays that are read once per shape, not in every training step, are compressed and have a checksum.
_PACKED = {"compression": "gzip", "compression_opts": 4, "fletcher32": True}
_COMPRESSED: dict[str, dict[str, Any]] = {
    "surface": _PACKED | {"shuffle": True},
    "normals": _PACKED,  # whole rows repeat, which byte shuffling would hide
    "voxels": _PACKED,
    "surface_voxels": _PACKED,
    "vertices": _PACKED | {"shuffle": True},
    "faces": _PACKED | {"shuffle": True},
}
_MESH_ROWS = 4096  # vertices or faces per chunk


@dataclass(frozen=True)
class PackedShape:
    """The data of one shape in a pack file."""

    key: ShapeKey
    watertight: Watertight
    points: PointSamples
    views: EncodedViews
    samples: Samples | None = None

    @staticmethod
    def of(
        key: ShapeKey,
        watertight: Watertight,
        points: PointSamples,
        views: Views,
        samples: Samples | None = None,
    ) -> PackedShape:
        """From the records of the stages; the images are encoded."""
        return PackedShape(key, watertight, points, EncodedViews.encode(views), samples)


def without_mesh(loc: NDArray[np.float64], scale: float) -> Watertight:
    """A mesh without faces, for data without meshes."""
    return Watertight(Mesh.empty(), loc, scale)


def no_points() -> PointSamples:
    """No points and no voxels, for data without shapes."""
    none = np.zeros((0, 3), np.float16)
    return PointSamples(none, np.zeros(0, np.bool_), none, none, np.zeros((0, 0, 0), np.bool_))


def write_shard(path: str | Path, shapes: Sequence[PackedShape], shard: str, split: str) -> None:
    """Write a pack file, atomically.

    Args:
        path: the pack file.
        shapes: any sequence, possibly lazy, possibly empty; iterated once.
        shard: name of the shard.
        split: train, val or test.

    Raises:
        DataError: shapes have different datasets or numbers of points, surface points, voxels or views, or the disk is
            full.
    """
    with replacing(path) as temporary:
        with hdf5.creating(temporary, userblock_size=hdf5.USERBLOCK) as file:
            file.attrs["schema_version"] = SCHEMA_VERSION
            file.attrs["shard"], file.attrs["split"] = shard, split
            keys: list[ShapeKey] = []
            concatenated = _Concatenated()
            for i, shape in enumerate(shapes):
                rows = _rows(shape)
                if i == 0:
                    _create(file, len(shapes), rows, len(shape.points.voxels))
                _check_consistent(file, rows, shape.key, shard)
                for name, row in rows.items():
                    file[name][i] = row
                keys.append(shape.key)
                concatenated.add(shape)
            if not keys:
                _create(file, 0, _rows(_no_shape()), 0)
            for name, words in (("category", [k.category for k in keys]), ("id", [k.id for k in keys])):
                file.create_dataset(name, data=words, shape=(len(keys),), dtype=_STRING)
            concatenated.write(file)
        with temporary.open("r+b") as stream:
            hdf5.write_checksum(stream)


def _rows(shape: PackedShape) -> dict[str, NDArray[Any]]:
    """The arrays that have the same size in all shapes."""
    points, views, near = shape.points, shape.views, shape.points.near
    rows: dict[str, Any] = {
        "points": points.points.astype(np.float16),
        "occupancies": hdf5.pack_bits(points.occupancies),
        "surface": point_codec.encode(points.surface.astype(np.float16)),
        "normals": point_codec.unshuffled(points.normals.astype(np.float16)),
        "voxels": hdf5.pack_bits(points.voxels),
        "camera_mat": np.asarray(views.camera_mat, np.float64),
        "world_mat": np.asarray(views.world_mat, np.float64),
        "view_loc": np.asarray(views.loc, np.float64),
        "view_scale": np.float64(views.scale),
        "loc": np.asarray(shape.watertight.loc, np.float64),
        "scale": np.float64(shape.watertight.scale),
    }
    if points.surface_voxels is not None:
        rows["surface_voxels"] = hdf5.pack_bits(points.surface_voxels)
    if near is not None:
        rows["near_points"], rows["near_occupancies"] = near.points, hdf5.pack_bits(near.occupancies)
        rows["near_density"] = near.density
    for name, values in (shape.samples.sets if shape.samples else {}).items():
        for what in ("points", "distance", "normals"):
            if (array := getattr(values, what)) is not None:
                rows[f"{SAMPLES}{name}_{what}"] = array
    return {name: np.asarray(row) for name, row in rows.items()}


def _no_shape() -> PackedShape:
    """What defines the datasets of a shard without shapes."""
    views = EncodedViews((), np.zeros((0, 3, 3)), np.zeros((0, 3, 4)), np.zeros(3), 0.0)
    return PackedShape(ShapeKey("", ""), without_mesh(np.zeros(3), 0.0), no_points(), views)


def _create(file: h5py.File, count: int, rows: dict[str, NDArray[Any]], resolution: int) -> None:
    for name, row in rows.items():
        packing = _COMPRESSED.get(name, {}) if count and row.size else {}
        chunks = {"chunks": (1, *row.shape)} if packing else {}
        file.create_dataset(name, shape=(count, *row.shape), dtype=row.dtype, **packing, **chunks)
    file["voxels"].attrs["resolution"] = resolution


def _check_consistent(file: h5py.File, rows: dict[str, NDArray[Any]], key: ShapeKey, shard: str) -> None:
    hint = "run preprocess again with one configuration"
    if different := file.keys() ^ rows.keys():
        raise DataError(
            f"{key.name} and others of {shard} differ in {', '.join(sorted(different))}", hint=hint
        )
    for name, row in rows.items():
        if (want := file[name].shape[1:]) != row.shape:
            raise DataError(
                f"{name} of {key.name} has shape {row.shape}, others of {shard} have {want}", hint=hint
            )


class _Concatenated:
    """Arrays whose size depends on the shape: written concatenated, with offsets."""

    def __init__(self) -> None:
        self.images: dict[str, list[tuple[bytes, ...]]] = {"images": []}
        self.vertices = [np.zeros((0, 3), np.float32)]
        self.faces = [np.zeros((0, 3), np.int32)]

    def add(self, shape: PackedShape) -> None:
        """Add the images and the mesh of a shape."""
        self.images["images"].append(shape.views.images)
        for word, images in shape.views.extra.items():
            self.images.setdefault(EXTRA[word], []).append(images)
        if len({len(images) for images in self.images.values()}) > 1:
            raise DataError(
                f"{shape.key.name} has other kinds of views than others of its shard",
                hint="run preprocess again with one configuration",
            )
        self.vertices.append(shape.watertight.mesh.vertices.astype(np.float32))
        self.faces.append(shape.watertight.mesh.faces.astype(np.int32))

    def write(self, file: h5py.File) -> None:
        """Write what was added; `file` has the cameras already."""
        views = file["camera_mat"].shape[1]
        for name, shapes in self.images.items():
            file[name] = np.frombuffer(b"".join(data for images in shapes for data in images), np.uint8)
            sizes = np.array([[0, *map(len, images)] for images in shapes], np.int64)
            inner = np.cumsum(sizes.reshape(len(shapes), views + 1), axis=1)
            starts = np.cumsum([0, *inner[:, -1]], dtype=np.int64)[:-1]
            file[offsets_of(name)] = starts[:, None] + inner
        for name, arrays in (("vertices", self.vertices), ("faces", self.faces)):
            rows = np.concatenate(arrays)
            packing = _COMPRESSED[name] | {"chunks": (min(_MESH_ROWS, len(rows)), 3)} if len(rows) else {}
            file.create_dataset(name, data=rows, **packing)
        counts = [(len(v), len(f)) for v, f in zip(self.vertices, self.faces, strict=True)]
        file["mesh_offsets"] = np.cumsum(np.array(counts, np.int64), axis=0)


def offsets_of(name: str) -> str:
    """Name of the dataset of the offsets of `images`, `depth`, `mask` or `normal_maps`."""
    return "image_offsets" if name == "images" else f"{name}_offsets"
