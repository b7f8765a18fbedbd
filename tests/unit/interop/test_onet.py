"""ONet's dataset layout: bytes and order as ONet writes them, all its variants read, nothing lost on the way."""

from __future__ import annotations

import io
import json
import logging
import zipfile
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from occnet_lib import cli
from occnet_lib.analysis.statistics import shape_numbers
from occnet_lib.cli import datasets
from occnet_lib.config import Config
from occnet_lib.errors import DataError
from occnet_lib.evaluation.baselines import baseline_shard
from occnet_lib.evaluation.lookup_index import image_features, write_index
from occnet_lib.geometry.cameras import project
from occnet_lib.interop import binvox, noisypixel, onet
from occnet_lib.interop.conversion import export_packs, import_packs, shapes_of
from occnet_lib.interop.npz import read_npz, write_npz
from occnet_lib.report import examples
from occnet_lib.report.results import Results
from occnet_lib.storage.dataset.catalogue import write_table
from occnet_lib.storage.packs import PackedShape, Shard, write_shard
from occnet_lib.storage.reconstructions import read_status
from occnet_lib.storage.tables import read_rows
from occnet_lib.types import ShapeKey
from tests.support.storage_shapes import records

CONFIG = Config()


def pack(path: Path, seeds: range, *, voxels: int = 32, category: str = "03001627") -> Path:
    """A shard whose name says its split."""
    shapes = []
    for seed in seeds:
        _, closed, points, views = records(seed, voxels=voxels)
        shapes.append(PackedShape.of(ShapeKey(category, f"shape{seed}"), closed, points, views))
    write_shard(path, shapes, path.stem, path.stem.partition("-")[0])
    return path


@pytest.fixture
def packs(tmp_path: Path) -> list[Path]:
    return [
        pack(tmp_path / "ours" / f"{split}-000.h5", seeds)
        for split, seeds in (("train", range(3)), ("val", range(3, 4)), ("test", range(4, 6)))
    ]


@pytest.fixture
def exported(packs, tmp_path: Path) -> Path:
    """The dataset of `packs` in ONet's layout."""
    assert export_packs(packs, tmp_path / "onet") == 6
    return tmp_path / "onet"


def by_name(folder: Path) -> dict[str, tuple[Shard, int]]:
    shards = [Shard(path) for path in sorted(folder.glob("*.h5"))]
    return {key.name: (shard, i) for shard in shards for i, key in enumerate(shard.keys)}


def assert_same(one: tuple[Shard, int], other: tuple[Shard, int], *, images: bool = True) -> None:
    """All that ONet's layout holds, to the last bit."""
    (a, i), (b, j) = one, other
    assert a.split == b.split
    for left, right in zip(
        (*a.points(i), *a.surface(i), a.voxels(i)), (*b.points(j), *b.surface(j), b.voxels(j)), strict=True
    ):
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)
    assert a.views == b.views
    for view in range(a.views):
        for left, right in zip(a.camera(i, view), b.camera(j, view), strict=True):
            np.testing.assert_array_equal(left, right)
        if images:
            assert a.image_bytes(i, view) == b.image_bytes(j, view)


# --- what is written ---


def test_voxels_of_the_surface_equal_those_of_model_binvox(tmp_path: Path) -> None:
    key, closed, points, views = records(1, voxels=32, near=8)
    write_shard(tmp_path / "a.h5", [PackedShape.of(key, closed, points, views)], "train-000", "train")
    export_packs([tmp_path / "a.h5"], tmp_path / "onet")
    folder = tmp_path / "onet" / "chair" / "shape1"
    for name, want in (("model.binvox", points.voxels), ("model.surface.binvox", points.surface_voxels)):
        np.testing.assert_array_equal(binvox.decode((folder / name).read_bytes()), want)
    config = Config.model_validate({"dataset": {"shard_size": 4}})
    import_packs(tmp_path / "onet", tmp_path / "again", config)
    (again,) = (tmp_path / "again").glob("*.h5")
    np.testing.assert_array_equal(Shard(again).surface_voxels(0), points.surface_voxels)


def test_files_have_the_sizes_of_onets(tmp_path: Path) -> None:
    """Measured on files that ONet's sample_mesh.py made with --packbits --float16: 100,000 points, 24 views."""
    key, closed, points, views = records(1, points=100_000, surface=100_000, views=24, voxels=32)
    path = tmp_path / "train-000.h5"
    write_shard(path, [PackedShape.of(key, closed, points, views)], "train-000", "train")
    export_packs([path], tmp_path / "onet")
    folder = tmp_path / "onet" / "chair" / "shape1"
    assert (folder / "points.npz").stat().st_size == 613_532
    assert (folder / "pointcloud.npz").stat().st_size == 1_201_024
    assert (folder / "img_choy2016" / "cameras.npz").stat().st_size == 16_350
    members = {
        "points.npz": {
            "points.npy": ("<f2", (100_000, 3), 600_128),
            "occupancies.npy": ("|u1", (12_500,), 12_628),
            "loc.npy": ("<f8", (3,), 152),
            "scale.npy": ("<f8", (), 136),
        },
        "pointcloud.npz": {
            "points.npy": ("<f2", (100_000, 3), 600_128),
            "normals.npy": ("<f2", (100_000, 3), 600_128),
            "loc.npy": ("<f8", (3,), 152),
            "scale.npy": ("<f8", (), 136),
        },
    }
    for file, expected in members.items():
        with zipfile.ZipFile(folder / file) as archive:
            assert [info.filename for info in archive.infolist()] == list(expected)
            for info in archive.infolist():
                dtype, shape, size = expected[info.filename]
                assert info.compress_type == zipfile.ZIP_STORED
                assert info.file_size == size
                array = np.load(io.BytesIO(archive.read(info)))
                assert (array.dtype.str, array.shape) == (dtype, shape)
    with zipfile.ZipFile(folder / "img_choy2016" / "cameras.npz") as archive:
        names = [name for view in range(24) for name in (f"camera_mat_{view}.npy", f"world_mat_{view}.npy")]
        assert archive.namelist() == names


def test_npz_files_of_equal_arrays_are_equal_whenever_they_are_written(tmp_path: Path, monkeypatch) -> None:
    arrays = {"points": np.arange(12, dtype=np.float16).reshape(4, 3), "scale": np.array(0.25)}
    write_npz(tmp_path / "a.npz", arrays)
    monkeypatch.setattr("time.time", lambda: 2e9)
    write_npz(tmp_path / "b.npz", arrays)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_lists_and_metadata(exported: Path) -> None:
    category = exported / "03001627"
    assert (category / "train.lst").read_bytes() == b"shape0\nshape1\nshape2"  # no line end behind the last
    assert (category / "val.lst").read_bytes() == b"shape3"
    assert json.loads((exported / "metadata.yaml").read_text()) == {
        "03001627": {"id": "03001627", "name": "03001627"}
    }


def test_onets_formula_gives_our_pixels(exported: Path, packs) -> None:
    """K (R (scale p + loc) + t) with the files' loc and scale, against our camera model."""
    shard = Shard(packs[0])
    folder = exported / "03001627" / "shape0"
    with (
        np.load(folder / "points.npz") as points,
        np.load(folder / "img_choy2016" / "cameras.npz") as cameras,
    ):
        for view in range(shard.views):
            world = cameras[f"world_mat_{view}"]
            source = points["points"].astype(np.float64) * points["scale"] + points["loc"]
            pixels = (source @ world[:, :3].T + world[:, 3]) @ cameras[f"camera_mat_{view}"].T
            expected, _ = project(points["points"], *shard.camera(0, view))
            seen = ~np.isnan(expected[:, 0])
            assert seen.any()
            np.testing.assert_allclose((pixels[:, :2] / pixels[:, 2:])[seen], expected[seen], rtol=1e-9)


def test_images_are_good_jpegs(tmp_path: Path) -> None:
    key, closed, points, views = records(1)
    ramp = np.add.outer(np.arange(40), np.arange(40)).astype(np.uint8)
    images = np.stack([np.stack([ramp, 2 * ramp, 255 - ramp], axis=-1)] * 3)
    views = type(views)(images, views.camera_mat, views.world_mat, views.loc, views.scale)
    write_shard(tmp_path / "train-000.h5", [PackedShape.of(key, closed, points, views)], "train-000", "train")
    export_packs([tmp_path / "train-000.h5"], tmp_path / "onet")
    folder = tmp_path / "onet" / "chair" / "shape1" / "img_choy2016"
    assert sorted(file.name for file in folder.iterdir()) == ["000.jpg", "001.jpg", "002.jpg", "cameras.npz"]
    with Image.open(folder / "002.jpg") as image:
        assert image.format == "JPEG"
        assert np.abs(np.asarray(image, dtype=int) - images[2]).mean() < 2


def test_a_dataset_is_not_written_over(exported: Path, packs) -> None:
    with pytest.raises(DataError, match="contains a dataset already"):
        export_packs(packs, exported)
    with pytest.raises(DataError, match="in another shard, too"):
        export_packs([packs[0], packs[0]], exported.parent / "twice")


# --- what is read ---


def test_what_was_exported_is_imported_to_the_last_bit(exported: Path, packs, tmp_path: Path) -> None:
    assert import_packs(exported, tmp_path / "back", CONFIG) == (6, 6)
    ours, back = by_name(packs[0].parent), by_name(tmp_path / "back")
    assert ours.keys() == back.keys()
    for name, place in ours.items():
        assert_same(place, back[name], images=False)
        shard, i = back[name]
        assert len(shard.mesh(i).faces) == 0
        loc, scale = shard.frame(i)
        np.testing.assert_array_equal(loc, place[0].camera(place[1], 0)[2])
        assert scale == place[0].camera(place[1], 0)[3]
    rows = read_rows(tmp_path / "back" / "shapes.csv")
    assert [(row["id"], row["split"], row["status"]) for row in rows][:2] == [
        ("shape0", "train", "ok"),
        ("shape1", "train", "ok"),
    ]


def test_onet_to_ours_and_back_is_the_same_bytes(exported: Path, tmp_path: Path) -> None:
    import_packs(exported, tmp_path / "packs", CONFIG)
    export_packs(sorted((tmp_path / "packs").glob("*.h5")), tmp_path / "again")
    files = sorted(path.relative_to(exported) for path in exported.rglob("*") if path.is_file())
    assert len(files) == 6 * 7 + 3 + 1
    assert files == sorted(
        p.relative_to(tmp_path / "again") for p in (tmp_path / "again").rglob("*") if p.is_file()
    )
    for file in files:
        assert (tmp_path / "again" / file).read_bytes() == (exported / file).read_bytes(), file


def test_points_in_order_are_shuffled_and_the_table_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, closed, samples, views = records(0, 4_000)
    order = np.argsort(~samples.occupancies, kind="stable")
    sorted_ = replace(samples, points=samples.points[order], occupancies=samples.occupancies[order])
    shapes = [
        PackedShape.of(ShapeKey("c", name), closed, points, views)
        for name, points in (("inside_first", sorted_), ("random", samples))
    ]
    write_shard(tmp_path / "train-000.h5", shapes, "train-000", "train")
    export_packs([tmp_path / "train-000.h5"], tmp_path / "onet")
    assert import_packs(tmp_path / "onet", tmp_path / "back", CONFIG) == (2, 2)
    rows = {row["id"]: row for row in read_rows(tmp_path / "back" / "shapes.csv")}
    assert (rows["random"]["status"], rows["inside_first"]["status"]) == ("ok", "warn")
    assert "not in random order" in rows["inside_first"]["reason"]
    assert "1 of 2 shapes, e.g. c/inside_first: points were not in random order" in caplog.text
    config = Config.model_validate(
        {"dataset": {"root": str(tmp_path / "onet")}, "results": str(tmp_path / "results")}
    )
    write_table(tmp_path / "shapes.csv", shapes_of(config, tmp_path / "onet"))
    out = {"pack": tmp_path / "p.h5", "out": tmp_path / "p.csv"}
    shard = datasets.import_shard(
        tmp_path / "onet", config, table=tmp_path / "shapes.csv", shard="train-000", **out
    )
    assert shard == "import: train-000: 2 of 2 shapes"
    back = Shard(tmp_path / "back" / "train-000.h5")
    (mixed, inside), (kept, _) = back.points(0), back.points(1)
    np.testing.assert_array_equal(kept, samples.points)
    assert abs(inside[:500].mean() - inside.mean()) < 0.1
    label = {
        point.tobytes(): bool(bit) for point, bit in zip(sorted_.points, sorted_.occupancies, strict=True)
    }
    assert {point.tobytes(): bool(bit) for point, bit in zip(mixed, inside, strict=True)} == label


def test_points_that_are_not_uniform_are_imported_and_said(tmp_path: Path, caplog) -> None:
    _, closed, samples, views = records(0, 6_000)
    rng = np.random.default_rng(0)
    near = samples.surface[rng.integers(len(samples.surface), size=3_000)] + rng.normal(0, 0.02, (3_000, 3))
    mixture = samples.points.copy()
    mixture[rng.permutation(6_000)[:3_000]] = near  # as sample_mesh.py --points_uniform_ratio .5, shuffled
    shapes = [
        PackedShape.of(ShapeKey("c", name), closed, replace(samples, points=points), views)
        for name, points in (("uniform", samples.points), ("mixture", mixture))
    ]
    write_shard(tmp_path / "train-000.h5", shapes, "train-000", "train")
    export_packs([tmp_path / "train-000.h5"], tmp_path / "onet")
    assert import_packs(tmp_path / "onet", tmp_path / "back", CONFIG) == (2, 2)
    rows = {row["id"]: row for row in read_rows(tmp_path / "back" / "shapes.csv")}
    assert (rows["uniform"]["status"], rows["mixture"]["status"]) == ("ok", "warn")
    assert "IoU is not the IoU of volumes" in rows["mixture"]["reason"]
    assert "1 of 2 shapes, e.g. c/mixture: points are not uniform" in caplog.text
    np.testing.assert_array_equal(Shard(tmp_path / "back" / "train-000.h5").points(0)[0], mixture)


def test_empty_lists_are_warned_of(exported: Path, packs, tmp_path: Path, caplog) -> None:
    assert "lists are empty" not in caplog.text
    export_packs(packs[:2], tmp_path / "two")
    assert (tmp_path / "two" / "03001627" / "test.lst").read_bytes() == b""
    assert (
        "1 lists are empty, e.g. 03001627/test.lst: ONet's generate.py and eval_meshes.py stop" in caplog.text
    )


def rewrite(path: Path, **changed: np.ndarray | None) -> None:
    """Write a file again with other arrays; None takes one away."""
    arrays = read_npz(path) | changed
    write_npz(path, {name: array for name, array in arrays.items() if array is not None})


@pytest.mark.parametrize("kind", [bool, np.uint8, np.float32])
def test_unpacked_float32(kind, exported: Path, tmp_path: Path) -> None:
    for shape in exported.glob("*/shape*"):
        inside, cloud = read_npz(shape / "points.npz"), read_npz(shape / "pointcloud.npz")
        bits = np.unpackbits(inside["occupancies"])[:200].astype(kind)
        rewrite(shape / "points.npz", points=inside["points"].astype(np.float32), occupancies=bits)
        rewrite(shape / "pointcloud.npz", **{n: cloud[n].astype(np.float32) for n in ("points", "normals")})
    assert import_packs(exported, tmp_path / "back", CONFIG) == (6, 6)
    ours = by_name(tmp_path / "ours")
    for name, place in by_name(tmp_path / "back").items():
        assert_same(ours[name], place, images=False)


def test_a_grey_jpeg_has_three_equal_channels(exported: Path, tmp_path: Path) -> None:
    grey = np.tile(np.arange(0, 252, 28, dtype=np.uint8), (9, 1))
    file = exported / "03001627" / "shape0" / "img_choy2016" / "001.jpg"
    Image.fromarray(grey).save(file, quality=100)
    with Image.open(file) as image:
        assert image.mode == "L"
    import_packs(exported, tmp_path / "back", CONFIG)
    shard, i = by_name(tmp_path / "back")["03001627/shape0"]
    assert shard.image(i, 1).shape == (9, 9, 3)
    assert np.abs(shard.image(i, 1).astype(int) - grey[..., None]).max() <= 2


def test_a_line_end_behind_the_last_id_is_no_shape(exported: Path, tmp_path: Path) -> None:
    for file in exported.glob("*/*.lst"):
        file.write_text(file.read_text() + "\n\n")
    assert import_packs(exported, tmp_path / "back", CONFIG) == (6, 6)


def test_unlisted_shapes_are_left_out_and_unlisted_datasets_divided(exported: Path, tmp_path: Path) -> None:
    (exported / "03001627" / "train.lst").write_text("shape1")
    assert import_packs(exported, tmp_path / "listed", CONFIG) == (4, 4)
    for file in exported.glob("*/*.lst"):
        file.unlink()
    assert import_packs(exported, tmp_path / "drawn", CONFIG) == (6, 6)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda f: (f / "points.npz").unlink(), None),
        (lambda f: (f / "pointcloud.npz").unlink(), "no such file"),
        (lambda f: (f / "points.npz").write_bytes(b"PK\x03\x04nothing"), "not readable as an NPZ file"),
        (lambda f: rewrite(f / "points.npz", scale=None), "missing: scale"),
        (lambda f: rewrite(f / "points.npz", scale=np.array(0.0)), "invalid frame"),
        (lambda f: rewrite(f / "pointcloud.npz", loc=np.ones(3)), "different loc or scale"),
        (
            lambda f: rewrite(f / "points.npz", occupancies=np.zeros(26, np.uint8)),
            "200 points have occupancies",
        ),
        (lambda f: rewrite(f / "points.npz", points=np.full((200, 3), np.nan)), "finite"),
        (
            lambda f: rewrite(f / "pointcloud.npz", normals=np.zeros((3, 3))),
            "50 surface points have 3 normals",
        ),
        (
            lambda f: rewrite(f / "img_choy2016/cameras.npz", world_mat_1=np.eye(4)),
            "world_mat_1 is not a 3×4",
        ),
        (lambda f: rewrite(f / "img_choy2016/cameras.npz", camera_mat_2=None), "missing: camera_mat_2"),
        (
            lambda f: rewrite(f / "points.npz", loc=None, labels=np.zeros(200), z=np.zeros(3)),
            "missing: loc; unexpected: labels, z",
        ),
        (lambda f: (f / "img_choy2016/001.jpg").unlink(), "without gaps"),
        (lambda f: (f / "img_choy2016/002.jpg").unlink(), "unexpected: camera_mat_2, world_mat_2"),
        (
            lambda f: (
                (f / "img_choy2016/002.jpg").unlink(),
                rewrite(f / "img_choy2016/cameras.npz", camera_mat_2=None, world_mat_2=None),
            ),
            "sizes differ from those of 03001627/shape0",
        ),
        (lambda f: (f / "img_choy2016/001.jpg").write_bytes(b"\xff\xd8no"), "001.jpg: not a readable image"),
        (lambda f: (f / "model.binvox").write_bytes(b"no"), "not a binvox file"),
    ],
)
def test_a_bad_shape_is_left_out_with_its_reason(
    damage, reason, exported: Path, tmp_path: Path, caplog
) -> None:
    damage(exported / "03001627" / "shape1")
    with caplog.at_level(logging.WARNING):
        good, total = import_packs(exported, tmp_path / "back", CONFIG)
    assert good == 5
    assert "03001627/shape1" not in by_name(tmp_path / "back")
    rows = {row["id"]: row for row in read_rows(tmp_path / "back" / "shapes.csv")}
    if reason is None:  # then it is not a shape at all, and the list says so
        assert total == 5
        assert "are listed but missing" in caplog.text
    else:
        assert rows["shape1"]["status"] == "failed"
        assert reason in rows["shape1"]["reason"]
        assert "1 of 6 shapes skipped" in caplog.text


def test_a_folder_of_nothing_or_of_bad_shapes_is_refused(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a dataset in a known layout"):
        import_packs(tmp_path / "none", tmp_path / "back", CONFIG)
    import_packs(exported, tmp_path / "back", CONFIG)
    (tmp_path / "back" / "train-007.h5").write_bytes(b"")
    with pytest.raises(DataError, match="contains other shards: train-007"):
        import_packs(exported, tmp_path / "back", CONFIG)
    for file in exported.rglob("pointcloud.npz"):
        file.unlink()
    with pytest.raises(DataError, match="no readable shape"):
        import_packs(exported, tmp_path / "other", CONFIG)


def test_without_voxels_there_is_no_binvox(exported: Path, tmp_path: Path, caplog) -> None:
    (exported / "03001627" / "shape0" / "model.binvox").unlink()
    import_packs(exported, tmp_path / "back", CONFIG)
    shard, i = by_name(tmp_path / "back")["03001627/shape0"]
    assert shard.voxels(i).shape == (32, 32, 32)
    assert not shard.voxels(i).any()
    export_packs(sorted((tmp_path / "back").glob("*.h5")), tmp_path / "again")
    assert "no model.binvox" in caplog.text
    assert not (tmp_path / "again" / "03001627" / "shape0" / "model.binvox").exists()
    assert (tmp_path / "again" / "03001627" / "shape1" / "model.binvox").exists()


def test_baselines_say_that_there_is_no_mesh(exported: Path, tmp_path: Path) -> None:
    import_packs(exported, tmp_path / "back", CONFIG)
    train, test = tmp_path / "back" / "train-000.h5", tmp_path / "back" / "test-000.h5"
    (tmp_path / "index").mkdir()
    write_index(image_features, [train], [test], 0, 0, tmp_path / "index" / "images.h5")
    config = CONFIG.model_copy(update={"results": str(tmp_path)})
    for kind in ("floor", "nearest_image"):
        baseline_shard(kind, [train], test, config, tmp_path / kind)
        for row in read_status(tmp_path / kind).values():
            assert row["status"] == "failed"
            assert "holds no closed mesh of 03001627/shape" in row["reason"]


def test_the_report_shows_photos_and_says_that_there_is_no_mesh(exported: Path, tmp_path: Path) -> None:
    import_packs(exported, tmp_path / "pack", CONFIG)
    page = str(examples.section(Results(tmp_path, CONFIG)))
    assert page.count("data:image/jpeg;base64,") == page.count("no mesh in the pack") == 2
    assert "image/png" not in page


def test_statistics_know_no_extent_without_a_mesh(exported: Path, tmp_path: Path) -> None:
    import_packs(exported, tmp_path / "pack", CONFIG)
    numbers = shape_numbers(Shard(tmp_path / "pack" / "test-000.h5"), 0)
    assert np.isnan(numbers["extent_x"])
    assert numbers["faces"] == 0


# --- binvox ---


def naive_encode(voxels: np.ndarray) -> bytes:
    """Voxel by voxel."""
    out, state, count = bytearray(), None, 0
    size = len(voxels)
    for x in range(size):
        for z in range(size):
            for y in range(size):
                value = int(voxels[x, y, z])
                if value != state or count == 255:
                    if count:
                        out += bytes([state, count])
                    state, count = value, 0
                count += 1
    return bytes(out + bytes([state, count]))


def naive_decode(data: bytes, size: int) -> np.ndarray:
    flat = [value for value, count in zip(data[::2], data[1::2], strict=True) for _ in range(count)]
    voxels = np.zeros((size,) * 3, bool)
    for place, value in enumerate(flat):
        x, rest = divmod(place, size * size)
        z, y = divmod(rest, size)
        voxels[x, y, z] = value
    return voxels


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 9), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_binvox_is_that_of_the_naive_reference(size: int, fraction: float, seed: int) -> None:
    voxels = np.random.default_rng(seed).random((size,) * 3) < fraction
    head, _, body = binvox.encode(voxels, np.zeros(3), 1.0).partition(b"data\n")
    assert body == naive_encode(voxels)
    np.testing.assert_array_equal(naive_decode(body, size), voxels)
    np.testing.assert_array_equal(binvox.decode(head + b"data\n" + body), voxels)


def test_binvox_header_and_long_runs() -> None:
    voxels = np.zeros((32, 32, 32), np.bool_)
    voxels[0, 5, 1] = True  # x z y: place 0 * 1024 + 1 * 32 + 5
    data = binvox.encode(voxels, np.array([0.5, 0.25, 0.0]), 2.0)
    head = b"#binvox 1\ndim 32 32 32\ntranslate -0.5 -0.75 -1.0\nscale 2.0\ndata\n"
    assert data.startswith(head + bytes([0, 37, 1, 1, 0, 255, 0, 255]))
    assert sum(data[len(head) + 1 :: 2]) == 32**3
    # Other writers may leave runs of length 0 behind full ones.
    np.testing.assert_array_equal(binvox.decode(data + bytes([1, 0])), voxels)
    # Choy's files have binvox's own header: with any numbers.
    other = b"#binvox 1\ndim 32 32 32\ntranslate 0 0 0\nscale 41.133\ndata\n"
    np.testing.assert_array_equal(binvox.decode(other + data[len(head) :]), voxels)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a binvox file"),
        (b"#binvox 1\ndata\n", "not a binvox file"),
        (b"#binvox 1\ndim 2 2 3\ndata\n\x00\x0c", "not a cube"),
        (b"#binvox 1\ndim 2 2 2\ndata\n\x00\x07", "7 voxels instead of 2³"),
    ],
)
def test_broken_binvox(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        binvox.decode(data)


# --- one HDF5 file a shape ---


def write_seed(path: Path, shape: Path) -> None:
    """A file as the project's own script makes it of a shape in ONet's layout, images in sorted order."""
    images = []
    for file in sorted(shape.glob("img_choy2016/*.jpg")):
        with Image.open(file) as image:
            images.append(np.asarray(image.convert("RGB")))
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as out:
        out["images"] = np.asarray(images)
        for group, name in (
            ("camera", "img_choy2016/cameras.npz"),
            ("points", "points.npz"),
            ("pointcloud", "pointcloud.npz"),
        ):
            for member, array in read_npz(shape / name).items():
                out[f"{group}/{member}"] = array


@pytest.fixture
def noisypixel_folder(exported: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "noisypixel"
    for shape in sorted(exported.glob("03001627/shape*")):
        write_seed(folder / f"03001627_{shape.name}.h5", shape)
    for split in ("train", "val", "test"):
        ids = (exported / "03001627" / f"{split}.lst").read_text().split("\n")
        (folder / f"{split}.lst").write_text("\n".join(f"03001627_{id}.h5" for id in ids))
    return folder


def test_noisypixel_files_have_the_content_of_onets(
    noisypixel_folder: Path, exported: Path, tmp_path: Path, caplog
) -> None:
    assert import_packs(noisypixel_folder, tmp_path / "imported", CONFIG) == (6, 6)
    assert "image i may not be the view of camera i" in caplog.text
    import_packs(exported, tmp_path / "onets", CONFIG)
    seeds, onets = by_name(tmp_path / "imported"), by_name(tmp_path / "onets")
    assert seeds.keys() == onets.keys()
    for name, (shard, i) in onets.items():
        other, j = seeds[name]
        for left, right in zip(
            (*shard.points(i), *shard.surface(i)), (*other.points(j), *other.surface(j)), strict=True
        ):
            np.testing.assert_array_equal(left, right)
        for view in range(shard.views):
            np.testing.assert_array_equal(shard.image(i, view), other.image(j, view))
            for left, right in zip(shard.camera(i, view), other.camera(j, view), strict=True):
                np.testing.assert_array_equal(left, right)
        assert shard.split == other.split
        assert not other.voxels(j).any()


def test_noisypixel_files_to_ours_and_back(noisypixel_folder: Path, tmp_path: Path) -> None:
    import_packs(noisypixel_folder, tmp_path / "packs", CONFIG)
    export_packs(sorted((tmp_path / "packs").glob("*.h5")), tmp_path / "again", "noisypixel")
    names = sorted(path.name for path in noisypixel_folder.iterdir())
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == names
    for name in names:
        one, other = noisypixel_folder / name, tmp_path / "again" / name
        if name.endswith(".lst"):
            assert one.read_bytes() == other.read_bytes()
            continue
        with h5py.File(one) as a, h5py.File(other) as b:
            members: list[str] = []
            a.visititems(
                lambda path, item, actual=members: actual.append(path) if hasattr(item, "dtype") else None
            )
            assert len(members) == 1 + 2 * 3 + 4 + 4
            for member in members:
                assert a[member].dtype == b[member].dtype
                np.testing.assert_array_equal(a[member][()], b[member][()])


def test_broken_noisypixel_files(noisypixel_folder: Path, tmp_path: Path, caplog) -> None:
    (noisypixel_folder / "03001627_shape0.h5").write_bytes(b"no HDF5")
    with h5py.File(noisypixel_folder / "03001627_shape1.h5", "a") as file:
        del file["points/loc"]
        file["points/labels"] = np.zeros(3)
    with h5py.File(noisypixel_folder / "03001627_shape2.h5", "a") as file:
        file["depth"] = np.zeros(3)
    with h5py.File(noisypixel_folder / "03001627_shape3.h5", "a") as file:
        del file["images"]
        file["images"] = np.zeros((3, 9, 9), np.uint8)
    (noisypixel_folder / "03001627_shape4.h5").unlink()
    assert import_packs(noisypixel_folder, tmp_path / "packs", CONFIG) == (1, 5)
    reasons = {row["id"]: row["reason"] for row in read_rows(tmp_path / "packs" / "shapes.csv")}
    assert "corrupt file" in reasons["shape0"]
    assert "missing: loc; unexpected: labels" in reasons["shape1"]
    assert "unexpected: depth" in reasons["shape2"]
    assert "images are uint8 of shape (3, 9, 9)" in reasons["shape3"]
    assert "1 listed files are missing" in caplog.text
    with pytest.raises(DataError, match=r"no files 02691156_<id>\.h5"):
        import_packs(
            noisypixel_folder,
            tmp_path / "b",
            Config.model_validate({"dataset": {"categories": ["02691156"]}}),
        )


def test_an_underscore_cannot_be_in_a_noisypixel_category(tmp_path: Path) -> None:
    path = pack(tmp_path / "train-000.h5", range(1), category="office_chair")
    with pytest.raises(DataError, match="underscore"):
        export_packs([path], tmp_path / "noisypixel", "noisypixel")


# --- the command line ---


def test_command_line_there_and_back(packs, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("occnet_lib.logs.configure", lambda *_: None)
    run = lambda *words: cli.main([str(word) for word in words])  # noqa: E731
    assert run("export", *packs, "-o", tmp_path / "onet") == 0
    assert run("import", tmp_path / "onet", "-o", tmp_path / "back") == 0
    assert (
        run(
            "export",
            *sorted((tmp_path / "back").glob("*.h5")),
            "--layout",
            "noisypixel",
            "-o",
            tmp_path / "noisypixel",
        )
        == 0
    )
    assert run("import", tmp_path / "noisypixel", "-o", tmp_path / "last") == 0
    assert capsys.readouterr().out.count("6 of 6 shapes") == 2
    ours, last = by_name(packs[0].parent), by_name(tmp_path / "last")
    assert ours.keys() == last.keys()
    for name, (shard, i) in ours.items():
        other, j = last[name]
        np.testing.assert_array_equal(shard.points(i)[0], other.points(j)[0])
        np.testing.assert_array_equal(shard.points(i)[1], other.points(j)[1])
    with pytest.raises(SystemExit):
        run("export", packs[0], "--layout", "seed", "-o", tmp_path / "x")
    assert "layout 'seed' is now called 'noisypixel'" in capsys.readouterr().err
    assert run("export", tmp_path / "back", "-o", tmp_path / "x") == 1
    assert "give its shards" in capsys.readouterr().err


def test_folders_without_points_are_counted(exported: Path, caplog) -> None:
    (exported / "03001627" / "shape2" / "points.npz").unlink()
    (exported / "results" / "pack").mkdir(parents=True)
    assert len(onet.shapes_below(CONFIG, exported)) == 5
    assert "1 folders without points.npz skipped, e.g. 03001627/shape2" in caplog.text


def test_folders_beside_files_of_shapes_are_said(noisypixel_folder: Path, caplog) -> None:
    here = CONFIG.model_copy(update={"results": str(noisypixel_folder / "results")})
    (noisypixel_folder / "results").mkdir()
    actual = noisypixel.shapes_below(here, noisypixel_folder)
    assert "beside them" not in caplog.text
    (noisypixel_folder / "chair" / "a").mkdir(parents=True)
    assert noisypixel.shapes_below(here, noisypixel_folder) == actual
    assert "1 folders beside them skipped, e.g. chair" in caplog.text


def test_reading_touches_no_other_file_than_the_shapes(exported: Path) -> None:
    keys = onet.shapes_below(CONFIG, exported)
    assert [key.path for key in keys] == [f"03001627/shape{i}" for i in range(6)]
    shape = onet.read_shape(exported, keys[0])
    assert shape.key.split == "train"
    assert len(shape.watertight.mesh.faces) == 0
