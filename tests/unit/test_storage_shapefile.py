"""The file of one shape."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from occnet_lib.errors import DataError
from occnet_lib.storage import shapefile
from occnet_lib.storage.shapefile import ShapeRecord, StageEntry
from tests.unit.storage_shapes import records


def write(path: Path, seed: int = 0, **values: int) -> tuple:
    key, *results = records(seed, **values)
    stages = {
        stage: StageEntry(f"digest of {stage} {seed}", {"n": seed}, result)
        for stage, result in zip(shapefile.STAGES, results, strict=True)
    }
    record = ShapeRecord(
        key, "ok", source_digest="abc", digest="xyz", seed=7, seconds={"points": 1.5}, stages=stages
    )
    shapefile.write(path, record)
    return (key, *results)


@pytest.mark.parametrize("sizes", [{}, {"points": 80, "voxels": 3}, {"points": 4000, "surface": 4000}])
def test_round_trip(tmp_path: Path, sizes: dict[str, int]) -> None:
    path = tmp_path / "a.h5"
    key, closed, points, views = write(path, **sizes)
    read = shapefile.read_watertight(path)
    np.testing.assert_array_equal(read.mesh.vertices, closed.mesh.vertices)
    assert read.mesh.vertices.dtype == np.float64
    np.testing.assert_array_equal(read.mesh.faces, closed.mesh.faces)
    np.testing.assert_array_equal(read.loc, closed.loc)
    assert (read.scale, read.audit) == (closed.scale, {"volume": 0.125, "closed": True})
    for name in ("points", "occupancies", "surface", "normals", "voxels"):
        got, want = getattr(shapefile.read_points(path), name), getattr(points, name)
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)
    for name in ("images", "camera_mat", "world_mat", "loc", "scale"):
        np.testing.assert_array_equal(getattr(shapefile.read_views(path), name), getattr(views, name))
    status = shapefile.read_status(path)
    assert status.key.name == key.name
    assert (status.status, status.seed, status.seconds) == ("ok", 7, {"points": 1.5})
    assert status.stages["points"] == StageEntry("digest of points 0", {"n": 0}, None, {"occupied": 0.1})


def test_failed_shape_is_a_file_without_groups(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    key, *_ = records(0)
    shapefile.write(path, ShapeRecord(key, "failed", "no faces", "load"))
    status = shapefile.read_status(path)
    assert (status.status, status.reason, status.stage, status.stages) == ("failed", "no faces", "load", {})
    with pytest.raises(DataError, match="watertight missing"):
        shapefile.read_watertight(path)


def test_unchanged_stages_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    key, closed, points, _ = write(path)
    other = records(1)
    stages = {
        "watertight": StageEntry("digest of watertight 0"),
        "points": StageEntry("digest of points 0"),
        "views": StageEntry("new", {}, other[3]),
    }
    shapefile.write(path, ShapeRecord(key, "warn", "odd", stages=stages))
    np.testing.assert_array_equal(shapefile.read_watertight(path).mesh.vertices, closed.mesh.vertices)
    np.testing.assert_array_equal(shapefile.read_points(path).points, points.points)
    np.testing.assert_array_equal(shapefile.read_views(path).images, other[3].images)
    status = shapefile.read_status(path)
    assert [status.stages[stage].digest for stage in shapefile.STAGES] == [
        "digest of watertight 0",
        "digest of points 0",
        "new",
    ]
    assert status.stages["watertight"].params == {"n": 0}


def test_keeping_what_is_not_there_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    key, *_ = records(0)
    shapefile.write(path, ShapeRecord(key, "failed", "first"))
    with pytest.raises(DataError, match="points missing"):
        shapefile.write(path, ShapeRecord(key, "ok", stages={"points": StageEntry("x")}))
    assert shapefile.read_status(path).reason == "first"


READERS = [shapefile.read_status, shapefile.read_watertight, shapefile.read_points, shapefile.read_views]


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.9, 0.999])
def test_truncated_file_is_one_line(tmp_path: Path, share: float) -> None:
    path = tmp_path / "a.h5"
    write(path, points=4000, surface=4000)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
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
        shapefile.read_status(path)
    write(path)
    with h5py.File(path, "r+") as file:
        file.attrs["schema_version"] = 99
    with pytest.raises(DataError, match="schema version 99, expected 1"):
        shapefile.read_status(path)
    with h5py.File(path, "w") as file:
        file["x"] = 1
    with pytest.raises(DataError, match="schema version missing"):
        shapefile.read_points(path)


def test_audits_of_other_than_plain_values_are_refused(tmp_path: Path) -> None:
    key, closed, *_ = records(0)
    odd = replace(closed, audit={"bad": np.zeros(3)})
    with pytest.raises(TypeError, match="audit"):
        shapefile.write(
            tmp_path / "a.h5", ShapeRecord(key, "ok", stages={"watertight": StageEntry("x", {}, odd)})
        )


def test_size_of_a_full_shape(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write(path, points=100_000, surface=100_000, views=24, voxels=32)
    assert path.stat().st_size < 2e6
