"""Corruption of a single byte of a pack or shape file is detected, and the file is made again with the same content."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from occnet_lib.config import Config
from occnet_lib.stages import repair_packs
from occnet_lib.stages.process_shape import process
from occnet_lib.storage import packs, shape_file
from occnet_lib.storage.meshes import save_mesh
from occnet_lib.storage.shape_file import path_of
from occnet_lib.types import ShapeKey
from tests.support.storage_shapes import OCTAHEDRON

KEYS = [ShapeKey("solid", name, f"solid/{name}.obj", "train", "train-000") for name in ("a", "b")]


class Shelf:
    """Two shapes and their pack."""

    def __init__(self, folder: Path, **preprocess: Any) -> None:
        self.config = Config.model_validate(
            {
                "dataset": {"root": str(folder / "raw")},
                "preprocess": preprocess,
                "watertight": {"resolution": 32, "views": 20, "image_size": 64, "max_faces": 500},
                "points": {"uniform": 400, "surface": 300, "voxels": 8},
                "views": {"count": 2, "image_size": 32, "renderer": "raycast"},
            }
        )
        self.shapes, self.pack = folder / "shapes", folder / "train-000.h5"
        for number, key in enumerate(KEYS):
            stretched = type(OCTAHEDRON)(OCTAHEDRON.vertices * [1, 1 + number, 1], OCTAHEDRON.faces)
            save_mesh(stretched, folder / "raw" / key.path)
            process(key, self.config, folder / "raw", path_of(self.shapes, key))
        repair_packs.pack_with_repair("train-000", KEYS, self.config, self.shapes, self.pack)
        if not self.config.preprocess.keep_shapes:
            repair_packs.delete_packed_shapes(KEYS, self.shapes)

    def repair(self, **how: bool) -> None:
        repair_packs.repair_pack(self.pack, KEYS, self.config, self.shapes, **how)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    shelf = Shelf(tmp_path_factory.mktemp("shelf"))
    before = shelf.pack.read_bytes()
    yield shelf
    assert shelf.pack.read_bytes() == before


def flip(path: Path, at: int) -> None:
    """Damage without a trace in the file's time."""
    data = bytearray(path.read_bytes())
    data[at] ^= 16
    path.write_bytes(data)


@pytest.mark.parametrize("where", [0.0, 0.03, 0.3, 0.6, 0.99])
def test_a_pack_with_a_flipped_bit_is_packed_again_to_the_byte(
    shelf: Shelf, where: float, caplog: pytest.LogCaptureFixture
) -> None:
    data, time = shelf.pack.read_bytes(), shelf.pack.stat().st_mtime_ns
    shelf.repair()
    assert not caplog.records
    flip(shelf.pack, int(where * len(data)))
    time = shelf.pack.stat().st_mtime_ns
    shelf.repair()
    assert "is corrupt; packing it again" in caplog.text
    assert shelf.pack.read_bytes() == data
    assert shelf.pack.stat().st_mtime_ns == time


def test_a_quick_look_finds_a_truncated_pack_only(shelf: Shelf, caplog: pytest.LogCaptureFixture) -> None:
    data = shelf.pack.read_bytes()
    flip(shelf.pack, len(data) // 2)
    shelf.repair(whole=False)
    assert not caplog.records
    shelf.pack.write_bytes(data[: len(data) // 2])
    shelf.repair(whole=False)
    assert shelf.pack.read_bytes() == data


@pytest.mark.parametrize("where", [0.0, 0.2, 0.5, 0.9])
def test_a_shape_file_with_a_flipped_bit_is_made_again_when_it_is_packed(
    shelf: Shelf, where: float, caplog: pytest.LogCaptureFixture
) -> None:
    path = path_of(shelf.shapes, KEYS[1])
    want = shape_file.read_points(path)
    flip(path, int(where * path.stat().st_size))
    time = path.stat().st_mtime_ns
    repair_packs.pack_with_repair("train-000", KEYS, shelf.config, shelf.shapes, shelf.pack)
    assert "processed again: solid/b" in caplog.text
    assert path.stat().st_mtime_ns == time
    got = shape_file.read_points(path)
    for name in ("points", "occupancies", "surface", "normals", "voxels"):
        np.testing.assert_array_equal(getattr(got, name), getattr(want, name))


def test_shape_files_that_are_dropped_are_so_after_mending(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, keep_shapes=False)
    assert not list(shelf.shapes.glob("*/*.h5"))
    data = shelf.pack.read_bytes()
    flip(shelf.pack, len(data) - 3)
    shelf.repair()
    assert shelf.pack.read_bytes() == data
    assert not list(shelf.shapes.glob("*/*.h5"))
    assert len(packs.Shard(shelf.pack)) == 2
