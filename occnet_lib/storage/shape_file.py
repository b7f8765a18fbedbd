"""The file of one shape (docs/architecture.md, "Shape file"): its status and the results of the stages."""

from __future__ import annotations

import io
import itertools
import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from occnet_lib import __version__
from occnet_lib.types import (
    Mesh,
    NearSurface,
    PointSamples,
    PointSet,
    Samples,
    ShapeKey,
    Status,
    Views,
    Watertight,
)

from . import hdf5
from .atomic import write_bytes
from .packs import point_codec
from .packs.image_codec import EXTRA, EncodedViews

STAGES = ("watertight", "points", "views")  # present in every usable shape

Result = Watertight | PointSamples | Views | Samples


@dataclass(frozen=True)
class StageEntry:
    """The part of a shape file that belongs to one stage.

    Attributes:
        digest: hash of all inputs of the stage; equal digests imply equal results.
        params: parameters of the stage, for information.
        result: the result; None on writing: copy the group from the file that is replaced.
        audit: quality figures of the result; taken from `result` on writing.
    """

    digest: str
    params: dict[str, Any] = field(default_factory=dict)
    result: Result | None = None
    audit: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ShapeRecord:
    """Status and results of a shape.

    Attributes:
        key: the shape; `key.path` is its source.
        status: ok, warn (usable, see `reason`) or failed.
        reason: one line; empty for ok.
        stage: the stage that failed ("load" before the first), otherwise empty.
        source_digest: hash of the mesh file.
        digest: hash of all inputs, so that a failed shape is not processed again without a change.
        seed: seed of the configuration.
        seconds: CPU seconds by stage.
        stages: entries by stage name; absent for stages that did not succeed.
    """

    key: ShapeKey
    status: Status
    reason: str = ""
    stage: str = ""
    source_digest: str = ""
    digest: str = ""
    seed: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    stages: dict[str, StageEntry] = field(default_factory=dict)


def path_of(folder: str | Path, key: ShapeKey) -> Path:
    """Path of the file of a shape: `<folder>/<category>/<id>.h5`."""
    return Path(folder) / key.category / f"{key.id}.h5"


SCHEMA_VERSION = 2


def write(path: str | Path, record: ShapeRecord) -> None:
    """Write the file of a shape, atomically. Groups of entries without a result are copied from the old file.

    Raises:
        DataError: the disk is full, or a group to copy is missing in the old file.
    """
    # In memory first: on a full disk a plain write fails once, HDF5 for every object that it closes.
    # The file format of HDF5 1.10 has less overhead per array: 2 kB instead of 4 kB.
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=("v110", "v110"), userblock_size=hdf5.USERBLOCK) as file:
        _write_header(file, record)
        for stage, entry in record.stages.items():
            if entry.result is None:
                with _reading(path, stage) as old:
                    old.copy(stage, file)
                continue
            group = file.create_group(stage)
            group.attrs["digest"] = entry.digest
            group.attrs["params"] = json.dumps(entry.params)
            group.attrs["audit"] = json.dumps(entry.result.audit, default=_plain)
            _WRITERS[stage](group, entry.result)
    hdf5.write_checksum(buffer)
    write_bytes(path, buffer.getbuffer())


def read_status(path: str | Path, whole: bool = True) -> ShapeRecord:
    """The record of a shape file without its arrays (`StageEntry.result` is None).

    Args:
        path: the file.
        whole: whether to verify the checksum, which reads the whole file (1 ms).

    Raises:
        DataError: the file is missing, corrupt or of another schema version.
    """
    with _reading(path, whole=whole) as file:
        attrs = file.attrs
        return ShapeRecord(
            key=ShapeKey(attrs["category"], attrs["id"], attrs["source"]),
            **{name: attrs[name] for name in ("status", "reason", "stage", "source_digest", "digest")},
            seed=int(attrs["seed"]),
            seconds=json.loads(attrs["seconds"]),
            stages={stage: _read_entry(file[stage]) for stage in (*STAGES, "samples") if stage in file},
        )


def read_watertight(path: str | Path) -> Watertight:
    """The closed mesh of a shape file.

    Raises:
        DataError: the file is missing, corrupt, of another schema version or lacks this stage.
    """
    with _reading(path, "watertight") as file:
        group = file["watertight"]
        mesh = Mesh(group["vertices"][()].astype(np.float64), group["faces"][()])
        return Watertight(mesh, group["loc"][()], float(group["scale"][()]), json.loads(group.attrs["audit"]))


def read_points(path: str | Path) -> PointSamples:
    """The point samples of a shape file; raises as `read_watertight`."""
    with _reading(path, "points") as file:
        group = file["points"]
        points = point_codec.decode(group["points"][()])
        return PointSamples(
            points=points,
            occupancies=hdf5.unpack_bits(group["occupancies"][()], len(points)),
            surface=point_codec.decode(group["surface"][()]),
            normals=point_codec.shuffled(group["normals"][()]),
            voxels=_read_voxels(group["voxels"]),
            audit=json.loads(group.attrs["audit"]),
            surface_voxels=_read_voxels(group["surface_voxels"]) if "surface_voxels" in group else None,
            near=_read_near(group) if "near_points" in group else None,
        )


def read_samples(path: str | Path) -> Samples:
    """The point sets of a shape file; raises as `read_watertight`."""
    with _reading(path, "samples") as file:
        group = file["samples"]
        sets = {
            name: PointSet(**{what: values[()] for what, values in group[name].items()}) for name in group
        }
        return Samples(sets, json.loads(group.attrs["audit"]))


def read_encoded_views(path: str | Path) -> EncodedViews:
    """The views of a shape file with images as PNG bytes; raises as `read_watertight`."""
    with _reading(path, "views") as file:
        group = file["views"]
        return EncodedViews(
            images=_read_images(group, "images"),
            camera_mat=group["camera_mat"][()],
            world_mat=group["world_mat"][()],
            loc=group["loc"][()],
            scale=float(group["scale"][()]),
            audit=json.loads(group.attrs["audit"]),
            extra={word: _read_images(group, name) for word, name in EXTRA.items() if name in group},
        )


def _write_header(file: h5py.File, record: ShapeRecord) -> None:
    file.attrs["schema_version"] = SCHEMA_VERSION
    file.attrs["category"], file.attrs["id"] = record.key.category, record.key.id
    file.attrs["status"], file.attrs["stage"] = record.status, record.stage
    for name, text in (("reason", record.reason), ("source", record.key.path)):
        # File names need not be UTF-8; h5py decodes other bytes as `os.fsdecode` does.
        file.attrs.create(name, os.fsencode(text), dtype=h5py.string_dtype())
    file.attrs["source_digest"], file.attrs["digest"] = record.source_digest, record.digest
    file.attrs["occnet_version"], file.attrs["seed"] = __version__, record.seed
    file.attrs["seconds"] = json.dumps(record.seconds)


def _read_entry(group: h5py.Group) -> StageEntry:
    attrs = group.attrs
    return StageEntry(attrs["digest"], json.loads(attrs["params"]), audit=json.loads(attrs["audit"]))


def _write_watertight(group: h5py.Group, result: Watertight) -> None:
    _store(group, "vertices", result.mesh.vertices, "f4")
    _store(group, "faces", result.mesh.faces, "i4")
    _store(group, "loc", result.loc, "f8")
    _store(group, "scale", result.scale, "f8")


def _write_points(group: h5py.Group, result: PointSamples) -> None:
    _store(group, "points", point_codec.encode(result.points), "i2")
    _store(group, "surface", point_codec.encode(result.surface), "i2")
    # Normals repeat on planes, which byte shuffling would hide.
    _store(group, "normals", point_codec.unshuffled(result.normals), "f2", shuffle=False)
    _store(group, "occupancies", hdf5.pack_bits(result.occupancies), "u1")
    for name, grid in (("voxels", result.voxels), ("surface_voxels", result.surface_voxels)):
        if grid is not None:
            _store(group, name, hdf5.pack_bits(grid), "u1")
            group[name].attrs["resolution"] = len(grid)
    if (near := result.near) is not None:
        _store(group, "near_points", point_codec.encode(near.points), "i2")
        _store(group, "near_occupancies", hdf5.pack_bits(near.occupancies), "u1")
        _store(group, "near_density", near.density, "f2")


def _read_voxels(dataset: h5py.Dataset) -> NDArray[np.bool_]:
    edge = int(dataset.attrs["resolution"])
    return hdf5.unpack_bits(dataset[()], edge**3).reshape(edge, edge, edge)


def _read_near(group: h5py.Group) -> NearSurface:
    points = point_codec.decode(group["near_points"][()])
    occupancies = hdf5.unpack_bits(group["near_occupancies"][()], len(points))
    return NearSurface(points, occupancies, group["near_density"][()])


def _write_views(group: h5py.Group, result: Views) -> None:
    views = EncodedViews.encode(result)
    _write_images(group, "images", views.images)
    for word, images in views.extra.items():
        _write_images(group, EXTRA[word], images)
    for name in ("camera_mat", "world_mat", "loc", "scale"):
        _store(group, name, getattr(views, name), "f8")


def _write_samples(group: h5py.Group, result: Samples) -> None:
    for name, values in result.sets.items():
        for what in ("points", "distance", "normals"):
            if (array := getattr(values, what)) is not None:
                group[f"{name}/{what}"] = array  # random numbers, which hardly compress


def _write_images(group: h5py.Group, name: str, images: tuple[bytes, ...]) -> None:
    # PNG is already compressed.
    group[name] = np.frombuffer(b"".join(images), np.uint8)
    group[name].attrs["offsets"] = np.cumsum([0, *map(len, images)], dtype=np.int64)


def _read_images(group: h5py.Group, name: str) -> tuple[bytes, ...]:
    data, offsets = group[name][()], group[name].attrs["offsets"]
    return tuple(data[a:b].tobytes() for a, b in itertools.pairwise(offsets))


_WRITERS: dict[str, Callable[[h5py.Group, Any], None]] = {
    "watertight": _write_watertight,
    "points": _write_points,
    "views": _write_views,
    "samples": _write_samples,
}


def _store(group: h5py.Group, name: str, values: Any, dtype: str, shuffle: bool = True) -> None:
    array = np.asarray(values, dtype=dtype)
    # One chunk per dataset, which is always read as a whole. Shuffling groups high and low bytes.
    packing = {"chunks": array.shape, "compression": "gzip", "compression_opts": 4, "shuffle": shuffle}
    group.create_dataset(name, data=array, **(packing if array.nbytes > 1024 else {}))


@contextmanager
def _reading(path: str | Path, *stages: str, whole: bool = True) -> Iterator[h5py.File]:
    """Open a shape file that has the given stages and verify its checksum."""
    if whole:
        hdf5.verify_checksum(path)
    with closing(hdf5.open_checked(path, SCHEMA_VERSION, stages)) as file, hdf5.reading(path):
        yield file


def _plain(value: Any) -> Any:
    """A numpy scalar of an audit as a JSON value."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"audit values must be numbers, booleans or text, not {type(value).__name__}")
