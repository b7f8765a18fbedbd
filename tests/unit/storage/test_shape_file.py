"""The file of one shape."""

from __future__ import annotations

import fcntl
import os
import re
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from occnet_lib.config import PointsConfig
from occnet_lib.errors import DataError
from occnet_lib.stages import points
from occnet_lib.storage import hdf5, shape_file
from occnet_lib.storage.packs import PackedShape, write_shard
from occnet_lib.storage.shape_file import STAGES, ShapeRecord, StageEntry
from occnet_lib.types import ShapeKey, Watertight
from tests.support.geometry_solids import revolved
from tests.support.small_shapes import decoded_views
from tests.support.storage_shapes import records


def write(path: Path, seed: int = 0, **values: int) -> tuple:
    key, *results = records(seed, **values)
    stages = {
        stage: StageEntry(f"digest of {stage} {seed}", {"n": seed}, result)
        for stage, result in zip(STAGES, results, strict=True)
    }
    record = ShapeRecord(
        key, "ok", source_digest="abc", digest="xyz", seed=7, seconds={"points": 1.5}, stages=stages
    )
    shape_file.write(path, record)
    return (key, *results)


@pytest.mark.parametrize("sizes", [{}, {"points": 80, "voxels": 3}, {"points": 4000, "surface": 4000}])
def test_round_trip(tmp_path: Path, sizes: dict[str, int]) -> None:
    path = tmp_path / "a.h5"
    key, closed, points, views = write(path, **sizes)
    read = shape_file.read_watertight(path)
    np.testing.assert_array_equal(read.mesh.vertices, closed.mesh.vertices)
    assert read.mesh.vertices.dtype == np.float64
    np.testing.assert_array_equal(read.mesh.faces, closed.mesh.faces)
    np.testing.assert_array_equal(read.loc, closed.loc)
    assert (read.scale, read.audit) == (closed.scale, {"volume": 0.125, "closed": True})
    for name in ("points", "occupancies", "surface", "normals", "voxels"):
        got, want = getattr(shape_file.read_points(path), name), getattr(points, name)
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)
    for name in ("images", "camera_mat", "world_mat", "loc", "scale"):
        np.testing.assert_array_equal(getattr(decoded_views(path), name), getattr(views, name))
    status = shape_file.read_status(path)
    assert status.key.name == key.name
    assert (status.status, status.seed, status.seconds) == ("ok", 7, {"points": 1.5})
    assert status.stages["points"] == StageEntry("digest of points 0", {"n": 0}, None, {"occupied": 0.1})


def test_a_file_is_read_where_flock_does_not_work(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write(path)
    with path.open("rb") as held:  # HDF5's own lock fails as on a file system that has none
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="lock"):
            h5py.File(path, "r", locking=True)
        assert shape_file.read_watertight(path).scale
        hdf5.open_file(path).close()


def test_only_one_place_opens_hdf5_files(project: Path) -> None:
    opening = re.compile(r"h5py\.File\((?!buffer)")
    files = {path.name for path in (project / "occnet_lib").rglob("*.py") if opening.search(path.read_text())}
    assert files == {"hdf5.py"}


def test_names_that_are_not_unicode_and_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    source = os.fsdecode(b"chair/m\xf6bel {1}\n'\".obj")
    record = ShapeRecord(ShapeKey("chair", "a", source), "failed", reason=f"no such file: {source}")
    shape_file.write(path, record)
    read = shape_file.read_status(path)
    assert read.key.path == source
    assert read.reason == record.reason


def test_round_trip_of_what_is_optional(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    _, _, points, views = write(path, near=80)
    got = shape_file.read_points(path)
    assert got.near is not None
    for name in ("points", "occupancies", "density"):
        want = getattr(points.near, name)
        assert getattr(got.near, name).dtype == want.dtype
        np.testing.assert_array_equal(getattr(got.near, name), want)
    np.testing.assert_array_equal(got.surface_voxels, points.surface_voxels)
    extra = decoded_views(path).extra
    assert list(extra) == ["depth", "mask", "normals"]
    for name, want in views.extra.items():
        assert extra[name].dtype == want.dtype
        np.testing.assert_array_equal(extra[name], want)


def test_failed_shape_is_a_file_without_groups(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    key, *_ = records(0)
    shape_file.write(path, ShapeRecord(key, "failed", "no faces", "load"))
    status = shape_file.read_status(path)
    assert (status.status, status.reason, status.stage, status.stages) == ("failed", "no faces", "load", {})
    with pytest.raises(DataError, match="watertight missing"):
        shape_file.read_watertight(path)


def test_unchanged_stages_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    key, closed, points, _ = write(path)
    other = records(1)
    stages = {
        "watertight": StageEntry("digest of watertight 0"),
        "points": StageEntry("digest of points 0"),
        "views": StageEntry("new", {}, other[3]),
    }
    shape_file.write(path, ShapeRecord(key, "warn", "odd", stages=stages))
    np.testing.assert_array_equal(shape_file.read_watertight(path).mesh.vertices, closed.mesh.vertices)
    np.testing.assert_array_equal(shape_file.read_points(path).points, points.points)
    np.testing.assert_array_equal(decoded_views(path).images, other[3].images)
    status = shape_file.read_status(path)
    assert [status.stages[stage].digest for stage in STAGES] == [
        "digest of watertight 0",
        "digest of points 0",
        "new",
    ]
    assert status.stages["watertight"].params == {"n": 0}


def test_keeping_what_is_not_there_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    key, *_ = records(0)
    shape_file.write(path, ShapeRecord(key, "failed", "first"))
    with pytest.raises(DataError, match="points missing"):
        shape_file.write(path, ShapeRecord(key, "ok", stages={"points": StageEntry("x")}))
    assert shape_file.read_status(path).reason == "first"


READERS = [shape_file.read_status, shape_file.read_watertight, shape_file.read_points, decoded_views]


@pytest.mark.parametrize("fraction", [0.0, 0.05, 0.5, 0.9, 0.999])
def test_truncated_file_is_one_line(tmp_path: Path, fraction: float) -> None:
    path = tmp_path / "a.h5"
    write(path, points=4000, surface=4000)
    data = path.read_bytes()
    path.write_bytes(data[: int(fraction * len(data))])
    for read in READERS:
        with pytest.raises(DataError) as caught:
            read(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


def test_damaged_bytes_never_raise_anything_but_data_errors(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write(path)
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    damaged = 0
    for _ in range(60):
        broken = bytearray(data)
        at = int(rng.integers(len(data)))
        broken[at : at + 40] = rng.bytes(len(broken[at : at + 40]))
        path.write_bytes(bytes(broken))
        for read in READERS:
            try:
                read(path)
            except DataError:
                damaged += 1
    assert damaged > 0


def test_other_version_and_absence(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with pytest.raises(DataError, match="no such file"):
        shape_file.read_status(path)
    write(path)
    with h5py.File(path, "r+") as file:
        file.attrs["schema_version"] = 99
    with path.open("r+b") as stream:
        hdf5.write_checksum(stream)
    with pytest.raises(DataError, match="schema version 99, expected 2"):
        shape_file.read_status(path)
    with h5py.File(path, "w") as file:
        file["x"] = 1
    with pytest.raises(DataError, match="of an earlier version or corrupt"):
        shape_file.read_points(path)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_detected_by_every_reader(intact: Path, where: float, bit: int) -> None:
    data = bytearray(intact.read_bytes())
    data[int(where * len(data))] ^= 1 << bit
    broken = intact.with_name("broken.h5")
    broken.write_bytes(data)
    for read in READERS:
        with pytest.raises(DataError, match=r"broken\.h5: .*corrupt"):
            read(broken)


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("intact") / "a.h5"
    write(path)
    return path


def test_a_quick_look_at_the_status_reads_damaged_arrays_past(intact: Path, tmp_path: Path) -> None:
    data = bytearray(intact.read_bytes())
    with h5py.File(intact) as file:
        data[file["watertight/vertices"].id.get_offset()] ^= 1
    (tmp_path / "b.h5").write_bytes(data)
    assert shape_file.read_status(tmp_path / "b.h5", whole=False).status == "ok"
    with pytest.raises(DataError, match="checksum"):
        shape_file.read_status(tmp_path / "b.h5")


def test_audits_of_other_than_plain_values_are_refused(tmp_path: Path) -> None:
    key, closed, *_ = records(0)
    odd = replace(closed, audit={"bad": np.zeros(3)})
    with pytest.raises(TypeError, match="audit"):
        shape_file.write(
            tmp_path / "a.h5", ShapeRecord(key, "ok", stages={"watertight": StageEntry("x", {}, odd)})
        )


def test_size_of_a_full_shape(tmp_path: Path) -> None:
    """Of the size of real ones: a mesh of 20,000 faces with the stage's points, 24 views of a few colours."""
    rng = np.random.default_rng(0)
    key, _, _, views = records(0, views=24)
    turn = np.arange(100) * (2 * np.pi / 100)
    mesh = revolved([(0.4 + 0.1 * np.cos(a), 0.1 * np.sin(a)) for a in turn], 100, ring=True)
    assert len(mesh.faces) == 20_000
    closed = Watertight(mesh, np.zeros(3), 1.0)
    samples = points.run(closed, PointsConfig(), rng)
    v, u = np.mgrid[:137, :137]
    blobs = [np.hypot(u - 68, v - 68 - shift) < 40 for shift in range(24)]
    shades = np.stack([np.where(blob, 90 + (u + v) // 3 % 100, 255) for blob in blobs]).astype(np.uint8)
    images = np.repeat(shades[..., None], 3, axis=3)
    results = dict(zip(STAGES, (closed, samples, replace(views, images=images)), strict=True))
    stages = {stage: StageEntry("x", {}, result) for stage, result in results.items()}
    path = tmp_path / "a.h5"
    shape_file.write(path, ShapeRecord(key, "ok", stages=stages))
    assert path.stat().st_size < 1.1e6
    write_shard(tmp_path / "p.h5", [PackedShape.of(key, closed, samples, results["views"])], "val-0", "val")
    assert (tmp_path / "p.h5").stat().st_size < 1.4e6
