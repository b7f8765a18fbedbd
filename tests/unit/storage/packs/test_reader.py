"""Pack shards: what was written is read, from every kind of process."""

from __future__ import annotations

import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from occnet_lib.errors import DataError
from occnet_lib.storage.packs import PackedShape, Shard, pack_file, verify, verify_structure, write_shard
from occnet_lib.storage.packs.pack_file import ContiguousReader
from occnet_lib.storage.packs.writer import SCHEMA_VERSION
from occnet_lib.types import DEPTH_STEP, ShapeKey
from tests.support.storage_shapes import records

COUNT = 5


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shard") / "train-000.h5"
    write_shard(path, [PackedShape.of(*records(i)) for i in range(COUNT)], "train-000", "train")
    return path


def test_all_that_was_written_is_read(path: Path) -> None:
    shard = Shard(path)
    assert (len(shard), shard.views, shard.points_per_shape) == (COUNT, 3, 200)
    assert (shard.name, shard.split) == ("train-000", "train")
    for i in range(COUNT):
        key, closed, points, views = records(i)
        assert shard.keys[i] == ShapeKey(key.category, key.id, "", "train", "train-000")
        got, occupied = shard.points(i)
        np.testing.assert_array_equal(got, points.points)
        np.testing.assert_array_equal(occupied, points.occupancies)
        assert (got.dtype, occupied.dtype) == (np.float16, np.bool_)
        for a, b in zip(shard.surface(i), (points.surface, points.normals), strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(shard.voxels(i), points.voxels)
        np.testing.assert_array_equal(shard.mesh(i).vertices, closed.mesh.vertices)
        np.testing.assert_array_equal(shard.mesh(i).faces, closed.mesh.faces)
        loc, scale = shard.frame(i)
        np.testing.assert_array_equal(loc, closed.loc)
        assert scale == closed.scale
        for view in range(3):
            np.testing.assert_array_equal(shard.image(i, view), views.images[view])
            assert shard.image_bytes(i, view).startswith(b"\x89PNG")
            camera_mat, world_mat, loc, scale = shard.camera(i, view)
            np.testing.assert_array_equal(camera_mat, views.camera_mat[view])
            np.testing.assert_array_equal(world_mat, views.world_mat[view])
            np.testing.assert_array_equal(loc, views.loc)
            assert scale == views.scale


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(i=st.integers(0, COUNT - 1), start=st.integers(0, 200), count=st.integers(0, 200))
def test_windows_are_slices(path: Path, i: int, start: int, count: int) -> None:
    shard = Shard(path)
    if start + count > 200:
        with pytest.raises(IndexError):
            shard.points(i, start, count)
        return
    points, occupied = shard.points(i, start, count)
    *_, samples, _ = records(i)
    np.testing.assert_array_equal(points, samples.points[start : start + count])
    np.testing.assert_array_equal(occupied, samples.occupancies[start : start + count])


def test_an_item_of_training_is_contiguous_and_the_rest_has_checksums(path: Path) -> None:
    with h5py.File(path) as file:
        for name in ("points", "occupancies", "images"):
            assert file[name].chunks is None
        for name in ("surface", "normals", "voxels", "vertices", "faces"):
            assert file[name].fletcher32, name
        for name in ("surface", "normals", "voxels"):
            assert file[name].chunks == (1, *file[name].shape[1:])


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_detected(path: Path, where: float, bit: int) -> None:
    verify(path)
    data = bytearray(path.read_bytes())
    data[int(where * len(data))] ^= 1 << bit
    broken = path.with_name("broken.h5")
    broken.write_bytes(data)
    with pytest.raises(DataError, match=r"broken\.h5: .*corrupt"):
        verify(broken)


def test_damage_to_what_is_compressed_is_detected_on_reading(path: Path, tmp_path: Path) -> None:
    readers = {
        "surface": Shard.surface,
        "normals": Shard.surface,
        "voxels": Shard.voxels,
        "faces": Shard.mesh,
    }
    for name, read in readers.items():
        data = bytearray(path.read_bytes())
        with h5py.File(path) as file:
            chunk = file[name].id.get_chunk_info(0)
        data[chunk.byte_offset + chunk.size // 2] ^= 4
        broken = tmp_path / f"{name}.h5"
        broken.write_bytes(data)
        verify_structure(broken)
        with pytest.raises(DataError, match="corrupt file"):
            read(Shard(broken), 0)


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rich") / "train-000.h5"
    write_shard(path, [PackedShape.of(*records(i, near=120)) for i in range(3)], "train-000", "train")
    return path


def test_what_is_optional_is_read(rich: Path, path: Path) -> None:
    shard = Shard(rich)
    assert (shard.extra, shard.near_per_shape, shard.points_per_shape) == (
        ("depth", "mask", "normals"),
        120,
        200,
    )
    for i in range(3):
        _, _, points, views = records(i, near=120)
        np.testing.assert_array_equal(shard.surface_voxels(i), points.surface_voxels)
        for view in range(3):
            np.testing.assert_allclose(shard.depth(i, view), views.extra["depth"][view] * DEPTH_STEP)
            np.testing.assert_allclose(shard.mask(i, view), views.extra["mask"][view] / 255, rtol=1e-6)
            lengths = np.linalg.norm(shard.normal_map(i, view), axis=2)
            np.testing.assert_allclose(lengths, 1, rtol=1e-5)
    plain = Shard(path)
    assert (plain.extra, plain.near_per_shape, plain.surface_voxels(0)) == ((), 0, None)
    with pytest.raises(DataError, match=r"has no depth of the views \(set views.extra"):
        plain.depth(0, 0)


def test_shapes_that_differ_in_what_they_have_are_refused(tmp_path: Path) -> None:
    for shapes in ((records(0), records(1, near=8)), (records(0, near=8), records(1))):
        with pytest.raises(DataError, match=r"chair/shape1 .*near_points"):
            write_shard(tmp_path / "s.h5", [PackedShape.of(*shape) for shape in shapes], "train-0", "train")


def test_empty_shard(tmp_path: Path) -> None:
    write_shard(tmp_path / "e.h5", [], "val-000", "val")
    shard = Shard(tmp_path / "e.h5")
    assert (len(shard), shard.keys, shard.split, shard.points_per_shape) == (0, [], "val", 0)


def test_shapes_that_differ_in_size_are_refused(tmp_path: Path) -> None:
    shapes = [PackedShape.of(*records(0)), PackedShape.of(*records(1, points=80))]
    with pytest.raises(DataError, match="points of chair/shape1"):
        write_shard(tmp_path / "s.h5", shapes, "train-000", "train")
    assert not list(tmp_path.iterdir())


def _sum(shard: Shard, i: int) -> float:
    return float(shard.points(i)[0].astype(float).sum())


def _put_sum(queue: multiprocessing.Queue, shard: Shard, i: int) -> None:
    queue.put(_sum(shard, i))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes(path: Path, method: str) -> None:
    shard = Shard(path)
    want = _sum(shard, 1)  # the file is open when the process starts
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    process = context.Process(target=_put_sum, args=(queue, shard, 1))
    process.start()
    assert queue.get(timeout=60) == want
    process.join()
    assert _sum(shard, 1) == want


def test_threads_pickle_and_close(path: Path) -> None:
    shard = Shard(path)
    want = [_sum(shard, i) for i in range(COUNT)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda i: _sum(shard, i % COUNT), range(50))) == want * 10
    copy = pickle.loads(pickle.dumps(shard))
    assert [_sum(copy, i) for i in range(COUNT)] == want
    shard.close()
    assert _sum(shard, 0) == want[0]


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.99])
def test_truncated(path: Path, tmp_path: Path, fraction: float) -> None:
    data = path.read_bytes()
    broken = tmp_path / "b.h5"
    broken.write_bytes(data[: int(fraction * len(data))])
    with pytest.raises(DataError, match=r"b\.h5"):
        len(Shard(broken))


def test_missing_other_version_other_file(path: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        len(Shard(tmp_path / "absent.h5"))
    other = tmp_path / "o.h5"
    other.write_bytes(path.read_bytes())
    with h5py.File(other, "r+") as file:
        del file["normals"]
    with pytest.raises(DataError, match="normals missing"):
        len(Shard(other))
    with h5py.File(other, "r+") as file:
        file.attrs["schema_version"] = 7
    with pytest.raises(DataError, match="schema version 7"):
        len(Shard(other))
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"\x89PNG" + bytes(1000))
    with pytest.raises(DataError, match=r"photo\.png: is not an HDF5 file \(packs are results/pack"):
        verify(photo)  # never: delete it
    for lost in (b"", bytes(len(path.read_bytes()))):
        other.write_bytes(lost)
        with pytest.raises(DataError, match=r"corrupt \(delete it and run its stage again"):
            verify(other)
    with h5py.File(other, "w") as file:
        file.attrs["schema_version"] = SCHEMA_VERSION
    with pytest.raises(DataError, match=r"is a file of another kind: it has no category \(packs are"):
        verify_structure(other)


def test_damaged_image_names_shape_and_view(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "o.h5"
    other.write_bytes(path.read_bytes())
    with h5py.File(other, "r+") as file:
        first = file["image_offsets"][2, 1]
        file["images"][first : first + 60] = 0
    with pytest.raises(DataError, match="view 1 of chair/shape2"):
        Shard(other).image(2, 1)


def test_reader_imports_little() -> None:
    code = (
        "import sys, occnet_lib.storage.packs;"
        "heavy = {'trimesh', 'open3d', 'torch', 'scipy', 'pyrender', 'pandas'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_windows_are_what_h5py_reads(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["rows"] = rng.random((4, 50, 3)).astype(np.float16)
        file["flat"] = rng.integers(0, 256, 300, dtype=np.uint8)
        file.create_dataset("packed", data=rng.random((4, 50)), chunks=(1, 50), compression="gzip")
        file.create_dataset("empty", shape=(0, 5), dtype="f4")
        file.create_group("group")
    with h5py.File(path) as file:
        windows = ContiguousReader(file)
        for start, stop in ((0, 50), (7, 20), (50, 50)):
            for row in (0, 3):
                for name in ("rows", "packed"):
                    np.testing.assert_array_equal(
                        windows.read(name, row, start, stop), file[name][row, start:stop]
                    )
            np.testing.assert_array_equal(windows.read("flat", None, start, stop), file["flat"][start:stop])
        assert windows.read("rows", 1, 2, 4).flags.writeable
        assert windows.read("empty", None, 0, 0).shape == (0, 5)
        assert "flat" in windows
        with pytest.raises(KeyError):
            windows.read("other", 0, 0, 1)
        with pytest.raises(OSError, match="flat is truncated"):
            windows.read("flat", None, 0, 10**6)


# A process that may have 64 files open reads 100 shards by turns, alone, in threads and in a forked child.
MANY = """
import os, resource, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from occnet_lib.storage.packs import Shard

resource.setrlimit(resource.RLIMIT_NOFILE, (48, 64))
shards = [Shard(path) for path in sorted(Path(sys.argv[1]).glob("*.h5"))]

def read(turn):
    shard = shards[turn * 37 % len(shards)]
    points, _ = shard.points(0, 8, 16)
    image = shard.image_bytes(1, 0)
    assert len(os.listdir("/proc/self/fd")) < 64
    return shard.name, points.tobytes(), image, shard.surface(2)[1].tobytes()

alone = [read(turn) for turn in range(250)]
assert len({name for name, *_ in alone}) == len(shards) == 100
assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 64  # all that it is granted
with ThreadPoolExecutor(4) as pool:
    assert list(pool.map(read, range(250))) == alone
child = os.fork()
if child == 0:
    os._exit([read(turn) for turn in range(50, 200)] != alone[50:200])
assert os.waitpid(child, 0)[1] == 0
"""


def test_more_shards_than_files_a_process_may_have_open(tmp_path: Path) -> None:
    shapes = [PackedShape.of(*records(i)) for i in range(3)]
    for number in range(100):
        name = f"train-{number:03d}"
        write_shard(tmp_path / f"{name}.h5", [shapes[(number + i) % 3] for i in range(3)], name, "train")
    done = subprocess.run([sys.executable, "-c", MANY, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class Counted:
    """What keeps account of who opens it."""

    def __init__(self) -> None:
        self.is_open, self.opened = False, 0

    def open_file(self) -> None:
        self.opened += not self.is_open
        self.is_open = True

    def close_file(self) -> None:
        self.is_open = False


def test_handles_close_what_was_used_least_recently_and_never_what_is_read(monkeypatch) -> None:
    monkeypatch.setattr(pack_file, "limit", lambda: 2)
    cache, (a, b, c) = pack_file.OpenFiles(), (Counted(), Counted(), Counted())
    with cache.holding(a), cache.holding(a):
        for other in (b, c, b):
            with cache.holding(other):
                assert a.is_open
    assert [x.is_open for x in (a, b, c)] == [True, True, False]
    with cache.holding(b), cache.holding(c):
        assert not a.is_open
    with cache.holding(b), cache.holding(c), cache.holding(a):
        assert b.is_open
        assert c.is_open
    assert [x.opened for x in (a, b, c)] == [2, 2, 2]
    cache.close(a)
    assert not a.is_open
