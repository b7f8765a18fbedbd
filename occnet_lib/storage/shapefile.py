"""The file of one shape (docs/architecture.md, "Shape file"): status, and what every stage made."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from occnet_lib import __version__
from occnet_lib.errors import DataError
from occnet_lib.records import Mesh, PointSamples, ShapeKey, Status, Views, Watertight

from . import hdf5
from .atomic import replacing
from .png import EncodedViews

SCHEMA_VERSION = 1
STAGES = ("watertight", "points", "views")

Result = Watertight | PointSamples | Views


@dataclass(frozen=True)
class StageEntry:
    """What a shape file holds of one stage.

    Attributes:
        digest: of everything that decides the result; equal digests mean equal results.
        params: the stage's parameters, for the reader of the file.
        result: what the stage made; None on writing keeps the group of the file that is replaced.
        audit: numbers about the result; filled from `result` on writing.
    """

    digest: str
    params: dict[str, Any] = field(default_factory=dict)
    result: Result | None = None
    audit: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ShapeRecord:
    """What became of a shape.

    Attributes:
        key: which shape; `key.path` is its source.
        status: ok, warn (usable, see `reason`) or failed.
        reason: one line; empty for ok.
        stage: in which a failed shape failed ("load" before the first), else empty.
        source_digest: of the mesh file.
        digest: of everything that decided the record, so that a failed one need not be tried again.
        seed: of the configuration.
        seconds: CPU seconds by stage.
        stages: by stage word; those that did not succeed are absent.
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
    """Where the file of a shape is: `<folder>/<category>/<id>.h5`."""
    return Path(folder) / key.category / f"{key.id}.h5"


def write(path: str | Path, record: ShapeRecord) -> None:
    """Write the file of a shape, atomically; groups that `record` keeps are copied from the old file.

    Raises:
        DataError: the disk is full, or a group to keep is not in the old file.
    """
    # In memory first: on a full disk plain writing fails in one place, HDF5 in every object that it closes.
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        _write_header(file, record)
        for stage, entry in record.stages.items():
            if entry.result is None:
                with closing(hdf5.open_checked(path, SCHEMA_VERSION, [stage])) as old, hdf5.reading(path):
                    old.copy(stage, file)
                continue
            group = file.create_group(stage)
            group.attrs["digest"] = entry.digest
            group.attrs["params"] = json.dumps(entry.params)
            group.attrs["audit"] = json.dumps(entry.result.audit, default=_plain)
            _WRITERS[stage](group, entry.result)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def read_status(path: str | Path) -> ShapeRecord:
    """Everything of a shape file but the arrays (`StageEntry.result` is None).

    Raises:
        DataError: the file is missing, corrupt or of another schema version.
    """
    with closing(hdf5.open_checked(path, SCHEMA_VERSION)) as file, hdf5.reading(path):
        attrs = file.attrs
        return ShapeRecord(
            key=ShapeKey(attrs["category"], attrs["id"], attrs["source"]),
            status=attrs["status"],
            reason=attrs["reason"],
            stage=attrs["stage"],
            source_digest=attrs["source_digest"],
            digest=attrs["digest"],
            seed=int(attrs["seed"]),
            seconds=json.loads(attrs["seconds"]),
            stages={stage: _read_entry(file[stage]) for stage in STAGES if stage in file},
        )


def read_watertight(path: str | Path) -> Watertight:
    """The closed mesh of a shape file.

    Raises:
        DataError: the file is missing, corrupt, of another schema version or without this stage.
    """
    with closing(hdf5.open_checked(path, SCHEMA_VERSION, ["watertight"])) as file, hdf5.reading(path):
        group = file["watertight"]
        mesh = Mesh(group["vertices"][()].astype(np.float64), group["faces"][()])
        return Watertight(mesh, group["loc"][()], float(group["scale"][()]), json.loads(group.attrs["audit"]))


def read_points(path: str | Path) -> PointSamples:
    """The point samples of a shape file; raises as `read_watertight`."""
    with closing(hdf5.open_checked(path, SCHEMA_VERSION, ["points"])) as file, hdf5.reading(path):
        group = file["points"]
        points, voxels = group["points"][()], group["voxels"]
        edge = int(voxels.attrs["resolution"])
        return PointSamples(
            points=points,
            occupancies=hdf5.unpack_bits(group["occupancies"][()], len(points)),
            surface=group["surface"][()],
            normals=group["normals"][()],
            voxels=hdf5.unpack_bits(voxels[()], edge**3).reshape(edge, edge, edge),
            audit=json.loads(group.attrs["audit"]),
        )


def read_encoded_views(path: str | Path) -> EncodedViews:
    """The views of a shape file, images still as PNG bytes; raises as `read_watertight`."""
    with closing(hdf5.open_checked(path, SCHEMA_VERSION, ["views"])) as file, hdf5.reading(path):
        group = file["views"]
        data, offsets = group["images"][()], group["offsets"][()]
        return EncodedViews(
            images=tuple(data[a:b].tobytes() for a, b in itertools.pairwise(offsets)),
            camera_mat=group["camera_mat"][()],
            world_mat=group["world_mat"][()],
            loc=group["loc"][()],
            scale=float(group["scale"][()]),
            audit=json.loads(group.attrs["audit"]),
        )


def read_views(path: str | Path) -> Views:
    """The views of a shape file; raises as `read_watertight`."""
    views = read_encoded_views(path)
    try:
        return views.decode()
    except DataError as error:
        raise DataError(error.message, path=path, hint="delete it and run its stage again") from error


def _write_header(file: h5py.File, record: ShapeRecord) -> None:
    file.attrs["schema_version"] = SCHEMA_VERSION
    file.attrs["category"], file.attrs["id"] = record.key.category, record.key.id
    file.attrs["status"], file.attrs["reason"] = record.status, record.reason
    file.attrs["stage"], file.attrs["source"] = record.stage, record.key.path
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
    for name in ("points", "surface", "normals"):
        _store(group, name, getattr(result, name), "f2")
    _store(group, "occupancies", hdf5.pack_bits(result.occupancies), "u1")
    _store(group, "voxels", hdf5.pack_bits(result.voxels), "u1")
    group["voxels"].attrs["resolution"] = len(result.voxels)


def _write_views(group: h5py.Group, result: Views) -> None:
    views = EncodedViews.encode(result)
    # PNG is compressed already.
    group["images"] = np.frombuffer(b"".join(views.images), np.uint8)
    group["offsets"] = np.cumsum([0, *map(len, views.images)], dtype=np.int64)
    for name in ("camera_mat", "world_mat", "loc", "scale"):
        _store(group, name, getattr(views, name), "f8")


_WRITERS: dict[str, Callable[[h5py.Group, Any], None]] = {
    "watertight": _write_watertight,
    "points": _write_points,
    "views": _write_views,
}


def _store(group: h5py.Group, name: str, values: Any, dtype: str) -> None:
    array = np.asarray(values, dtype=dtype)
    large = array.nbytes > 4096
    # One chunk a dataset: it is always read as a whole. Shuffle sorts the high and low bytes of the numbers.
    # Its checksum tells a damaged byte on reading.
    packing = {
        **{"chunks": array.shape, "compression": "gzip", "compression_opts": 4},
        **{"shuffle": True, "fletcher32": True},
    }
    group.create_dataset(name, data=array, **(packing if large else {}))


def _plain(value: Any) -> Any:
    """JSON's view of a numpy scalar, which audits may hold."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"audit values must be numbers, booleans or text, not {type(value).__name__}")
