"""Finding shapes, dividing them into splits and shards."""

from __future__ import annotations

import logging
import re
from collections import Counter
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from occnet_lib.config import Config
from occnet_lib.errors import DataError
from occnet_lib.storage.dataset import catalogue
from occnet_lib.storage.dataset.catalogue import file_name, read_table, scan, write_table


def config(seed: int = 0, **dataset: Any) -> Config:
    return Config.model_validate({"seed": seed, "dataset": dataset})


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    return root


def names(root: Path, **dataset: Any) -> dict[str, str]:
    return {key.name: key.path for key in scan(config(**dataset), root)}


def test_layouts(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "03001627/v2/models/model_normalized.obj",
        "03001627/v2/models/model_normalized.mtl",
        "03001627/v2/models/model_normalized.solid.binvox",
        "03001627/v2/images/texture0.jpg",
        "03001627/v1/model.obj",
        "03001627/v1/model.mtl",
        "03001627/v1/models/old.obj",
        "lamp/single/bulb.GLB",
        "lamp/several/model.stl",
        "lamp/several/model.obj",
        "lamp/several/part.obj",
        "lamp/flat.off",
        "lamp/notes.txt",
        "lamp/.hidden.obj",
        ".git/x/model.obj",
        "taxonomy.json",
    )
    assert names(tmp_path) == {
        "03001627/v1": "03001627/v1/model.obj",
        "03001627/v2": "03001627/v2/models/model_normalized.obj",
        "lamp/flat": "lamp/flat.off",
        "lamp/several": "lamp/several/model.obj",
        "lamp/single": "lamp/single/bulb.GLB",
    }


def test_sorted_and_the_same_every_time(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{c}/{i}/model.obj" for c in ("b", "a") for i in (10, 9, 1)))
    keys = scan(config(), tmp_path)
    assert [key.name for key in keys] == sorted(key.name for key in keys)
    assert keys == scan(config(), tmp_path)


def test_ambiguous_folder_stays_and_empty_one_goes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "a/two/left.obj", "a/two/right.obj", "a/none/readme.txt", "a/ok/model.obj")
    assert names(tmp_path) == {"a/ok": "a/ok/model.obj", "a/two": "a/two"}
    assert "1 folders without a mesh file" in caplog.text


def test_categories_and_their_absence(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.obj", "b/1.obj", "c/1.obj")
    assert list(names(tmp_path, categories=["c", "a"])) == ["a/1", "c/1"]
    with pytest.raises(DataError, match=r"no category x, y \(available: a, b, c\)"):
        scan(config(categories=["y", "a", "x"]), tmp_path)


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such folder .*dataset="):
        scan(config(), tmp_path / "absent")
    with pytest.raises(DataError, match=r"no shapes .*model_normalized\.obj"):
        scan(config(), tmp_path)
    touch(tmp_path, "photos/cup/front.JPG", "photos/cup/back.heic")
    with pytest.raises(DataError, match=r"no shapes, but 2 images;.* \(occnet reconstruct .*occnet import"):
        scan(config(), tmp_path / "photos")
    with pytest.raises(
        DataError, match=r"front.JPG: is a file, not a folder \(give the folder of raw meshes"
    ):
        scan(config(), tmp_path / "photos" / "cup" / "front.JPG")
    (tmp_path / "photos/cup/back.heic").unlink()
    touch(tmp_path, "photos/cup/cup.fbx")  # the image is its texture
    with pytest.raises(DataError, match=r"no shapes;.* 1 \.fbx.*Blender.*supported"):
        scan(config(), tmp_path / "photos")
    rmtree(tmp_path / "photos")
    touch(tmp_path, "chair1/model.obj", "chair2/model.obj")
    with pytest.raises(DataError, match="one more level"):
        scan(config(), tmp_path)


def test_compressed_files_are_shapes(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.obj.gz", "a/1.PLY.gz", "a/2/model.stl.gz", "a/2/b.obj", "a/3.gz")
    assert names(tmp_path) == {"a/1": "a/1.obj.gz", "a/2": "a/2/model.stl.gz"}


def test_a_file_and_a_folder_of_one_id(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.obj", "a/1/model.obj")
    with pytest.raises(DataError, match=r"shape 1 occurs twice: 1/model\.obj and 1\.obj"):
        scan(config(), tmp_path)


@pytest.mark.parametrize("second", ["a/2.obj", "a/2/model.obj"])
def test_two_names_that_become_one_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second: str) -> None:
    touch(tmp_path, "a/1.obj", second)
    monkeypatch.setattr(catalogue, "file_name", lambda _: "same")
    with pytest.raises(DataError, match="shape same occurs twice"):
        scan(config(), tmp_path)


def test_of_several_files_of_one_id_the_preferred_one_is_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, "a/1.stl", "a/1.OBJ", "a/1.ply", "a/2.dae", "a/3.ply", "a/3.off", "a/4/model.obj")
    assert names(tmp_path) == {"a/1": "a/1.OBJ", "a/2": "a/2.dae", "a/3": "a/3.ply", "a/4": "a/4/model.obj"}
    assert "2 shapes have several files, of which the first is used, e.g. 1.OBJ, 1.ply, 1.stl" in caplog.text


def test_lists_decide_splits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, *(f"a/{i}.obj" for i in range(6)), "b/0.obj")
    (tmp_path / "a/train.lst").write_text("0\n1\n")
    (tmp_path / "a/val.lst").write_text("2")
    (tmp_path / "a/test.lst").write_text("3\r\n\n9\n8\n")
    keys = {key.name: key for key in scan(config(), tmp_path)}
    assert {name: key.split for name, key in keys.items() if name.startswith("a/")} == {
        "a/0": "train",
        "a/1": "train",
        "a/2": "val",
        "a/3": "test",
    }
    assert "b/0" in keys
    assert "2 shapes are listed but missing, e.g. 8" in caplog.text
    assert "2 shapes in no list skipped, e.g. 4" in caplog.text


def test_id_in_two_lists(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.obj")
    (tmp_path / "a/train.lst").write_text("1\n1\n")
    (tmp_path / "a/test.lst").write_text("1\n")
    with pytest.raises(DataError, match=r"1 is in train\.lst and in test\.lst"):
        scan(config(), tmp_path)


def test_drawn_splits_have_their_fractions_and_stay(tmp_path: Path) -> None:
    touch(tmp_path, *(f"a/{i}.obj" for i in range(600)))
    first = {key.name: key.split for key in scan(config(), tmp_path)}
    counts = Counter(first.values())
    assert abs(counts["test"] - 120) < 40
    assert abs(counts["val"] - 60) < 30
    touch(tmp_path, *(f"a/new{i}.obj" for i in range(100)))
    second = {key.name: key.split for key in scan(config(), tmp_path)}
    assert all(second[name] == split for name, split in first.items())
    other = {key.name: key.split for key in scan(config(seed=1), tmp_path)}
    assert any(other[name] != split for name, split in first.items())


def test_limit_draws_a_part_of_each_category(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{c}/{i:03d}.obj" for c in "ab" for i in range(50)))
    keys = scan(config(limit=5), tmp_path)
    assert Counter(key.category for key in keys) == {"a": 5, "b": 5}
    assert {key.id for key in keys if key.category == "a"} != {f"{i:03d}" for i in range(5)}
    assert {key.name for key in keys} < {key.name for key in scan(config(limit=6), tmp_path)}


def test_shards_are_of_one_split_and_about_the_size(tmp_path: Path) -> None:
    touch(tmp_path, *(f"a/{i}.obj" for i in range(700)))
    keys = scan(config(shard_size=32), tmp_path)
    assert all(re.fullmatch(rf"{key.split}-\d\d\d", key.shard) for key in keys)
    train = Counter(key.shard for key in keys if key.split == "train")
    assert len(train) == 16
    assert max(train.values()) <= 2 * 32


def test_a_new_shape_moves_no_other(tmp_path: Path) -> None:
    touch(tmp_path, *(f"a/{i}.obj" for i in range(300)))
    before = {key.name: key.shard for key in scan(config(shard_size=16), tmp_path)}
    touch(tmp_path, "a/new.obj")
    after = {key.name: key.shard for key in scan(config(shard_size=16), tmp_path)}
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("name", ["1a2b", "fr24_a320", "chair-1.v2", "A+B"])
def test_plain_names_stay(name: str) -> None:
    assert file_name(name) == name


def test_odd_names_become_safe_and_stay_different(tmp_path: Path) -> None:
    odd = ["my chair", "my  chair", "Stühle", "стул", "椅子", "-x", "a{b}", "x" * 200, "a'b", "semi;colon"]
    touch(tmp_path, *(f"a b/{name}.obj" for name in odd))
    keys = scan(config(), tmp_path)
    assert len({key.id for key in keys}) == len(odd)
    for key in keys:
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._+-]*", key.id)
        assert (tmp_path / key.path).is_file()
        assert re.fullmatch(r"a_b-[0-9a-f]{12}", key.category)
    assert any(key.id.startswith("Stuhle-") for key in keys)
    assert len(scan(config(categories=["a b"]), tmp_path)) == len(odd)


@settings(deadline=None, max_examples=60)
@given(st.text(min_size=1, max_size=150))
def test_file_name_is_always_safe(name: str) -> None:
    safe = file_name(name)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,119}", safe)
    assert file_name(safe) == safe


def test_table_round_trip(tmp_path: Path) -> None:
    touch(tmp_path / "raw", "a/1.obj", 'a/we"ird, name.obj', "b/новый/model.obj")
    keys = scan(config(), tmp_path / "raw")
    path = tmp_path / "catalogue" / "shapes.csv"
    write_table(path, keys)
    assert read_table(path) == keys
    assert path.read_text(encoding="utf-8").splitlines()[0] == "category,id,path,split,shard"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "first line"),
        ("category,id\n", "first line"),
        ("category,id,path,split,shard\na,b\n", "line 2 has 2 columns"),
    ],
)
def test_damaged_table(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "t.csv"
    with pytest.raises(DataError, match="no such file"):
        read_table(path)
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_table(path)


def test_symbolic_links_count(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "1/model.obj")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a").symlink_to(tmp_path / "elsewhere")
    assert names(tmp_path / "root") == {"a/1": "a/1/model.obj"}


@pytest.mark.real
def test_real_shapes_are_all_listed(real_data: Path, caplog: pytest.LogCaptureFixture) -> None:
    import csv

    with (real_data / "dev" / "manifest.csv").open(newline="") as file:
        want = {f"{row['category']}/{row['id']}": f"{row['file']}" for row in csv.DictReader(file)}
    with caplog.at_level(logging.WARNING):
        assert names(real_data / "dev") == want
    assert not caplog.records
