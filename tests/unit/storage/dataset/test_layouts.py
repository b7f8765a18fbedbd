"""Layouts of public datasets, tables of categories and splits, and files that are not taken."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from occnet_lib.errors import DataError
from occnet_lib.storage.dataset.catalogue import read_table, scan, write_table
from occnet_lib.types import ShapeKey
from tests.unit.storage.dataset.test_catalogue import config, names, touch


def splits(root: Path, **dataset: object) -> dict[str, str]:
    return {key.name: key.split for key in scan(config(**dataset), root)}


def test_modelnet(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shapes = [("bathtub/train/bathtub_{:04d}.off", 40), ("bathtub/test/bathtub_1{:03d}.off", 10)]
    touch(tmp_path, *(path.format(i) for path, count in shapes for i in range(count)), "README.txt")
    actual = splits(tmp_path)
    assert len(actual) == 50
    assert names(tmp_path)["bathtub/bathtub_0007"] == "bathtub/train/bathtub_0007.off"
    assert {name for name, split in actual.items() if split == "test"} == {
        f"bathtub/bathtub_1{i:03d}" for i in range(10)
    }
    counts = Counter(actual.values())
    assert counts["train"] + counts["val"] == 40
    assert 1 <= counts["val"] <= 12  # drawn from those for training
    assert Counter(splits(tmp_path, split={"val": 0}).values()) == {"train": 40, "test": 10}
    assert "set dataset.up: z" in caplog.text
    caplog.clear()
    scan(config(up="z"), tmp_path)
    assert not caplog.records


def test_modelnet_with_a_name_in_both_splits_and_other_categories(tmp_path: Path) -> None:
    touch(tmp_path, "a/train/x.off", "a/train/y.off", "a/test/x.off", "a/val/z.off", "b/1/model.obj")
    assert {name: split for name, split in splits(tmp_path).items() if name != "b/1"} == {
        "a/test_x": "test",
        "a/train_x": "train",
        "a/y": "train",
        "a/z": "val",
    }


def test_splits_above_categories_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{split}/chair/{i}.off" for split in ("train", "test") for i in range(3)))
    with pytest.raises(DataError, match=r"several mesh files.*<category>/\{train,test\}/<id>\.off"):
        scan(config(), tmp_path)


def test_google_scanned_objects(tmp_path: Path) -> None:
    for name in ("Mug", "Shoe 2"):
        touch(tmp_path, f"{name}/meshes/model.obj", f"{name}/meshes/model.mtl", f"{name}/model.config")
        touch(tmp_path, f"{name}/materials/textures/texture.png", f"{name}/thumbnails/0.jpg")
    actual = names(tmp_path)
    assert actual["objects/Mug"] == "Mug/meshes/model.obj"
    assert sorted(actual.values()) == ["Mug/meshes/model.obj", "Shoe 2/meshes/model.obj"]
    assert names(tmp_path, categories=["objects"]) == actual


def test_google_scanned_objects_in_categories(tmp_path: Path) -> None:
    touch(tmp_path, "mug/a/meshes/model.obj", "mug/b/meshes/model.obj", "mug/b/models/none.txt")
    assert names(tmp_path) == {"mug/a": "mug/a/meshes/model.obj", "mug/b": "mug/b/meshes/model.obj"}


def test_a_file_called_meshes_is_no_scanned_object(tmp_path: Path) -> None:
    touch(tmp_path, "chair/meshes.obj")
    with pytest.raises(DataError, match="one more level"):
        scan(config(), tmp_path)
    touch(tmp_path, "chair/a.obj")
    assert list(names(tmp_path)) == ["chair/a", "chair/meshes"]


@pytest.mark.parametrize("above", ["", "glbs/"])
def test_objaverse(tmp_path: Path, above: str) -> None:
    touch(tmp_path, f"{above}000-023/1a.glb", f"{above}000-023/2b.glb", f"{above}000-111/3c.glb")
    if above:
        touch(tmp_path, "metadata/000-000.json.gz", "annotations/x.json")
    assert names(tmp_path) == {
        "objects/1a": f"{above}000-023/1a.glb",
        "objects/2b": f"{above}000-023/2b.glb",
        "objects/3c": f"{above}000-111/3c.glb",
    }
    (tmp_path / "test.lst").write_text("2b\n3c\n")
    (tmp_path / "train.lst").write_text("1a\n")
    wanted = {"objects/1a": "train", "objects/2b": "test", "objects/3c": "test"}
    assert splits(tmp_path, split={"val": 0}) == wanted


def test_one_flat_folder(tmp_path: Path) -> None:
    touch(tmp_path, "32770.stl", "32771.stl", "32771.obj", "notes.txt", "textures/a.png")
    assert names(tmp_path) == {"objects/32770": "32770.stl", "objects/32771": "32771.obj"}
    (tmp_path / "test.lst").write_text("32770\n")
    (tmp_path / "train.lst").write_text("32771\n")
    assert splits(tmp_path, split={"val": 0}) == {"objects/32770": "test", "objects/32771": "train"}


def test_mesh_files_beside_categories_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "chair/1.obj", "lost.obj", "chair/deep/er/2.obj", "chair/textures/a.png")
    touch(tmp_path, "chair/cut/model.mtl", "chair/cut/a.png")  # a download that was cut off
    assert list(names(tmp_path)) == ["chair/1"]
    assert "2 mesh files in folders that no layout has, e.g. chair/deep/er/2.obj" in caplog.text
    assert "2 folders without a mesh file" in caplog.text, "a folder of textures is not a lost shape"


def test_what_is_not_taken_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(
        tmp_path,
        "chair/a/model.fbx",
        "chair/b.USDZ",
        "chair/c.fbx",
        "chair/d.blend.gz",
        "e.zip",
        "chair/f.obj",
    )
    touch(
        tmp_path,
        "chair/g/model.obj",
        "chair/g/model.fbx",
        "chair/g/model.json",
        "chair/h.mtl",
        "chair/LICENSE",
    )
    assert list(names(tmp_path)) == ["chair/f", "chair/g"]
    assert "5 files of 4 unsupported kinds skipped: 2 .fbx, 1 .usdz, 1 .blend.gz, 1 .zip" in caplog.text
    for path in ("chair/f.obj", "chair/g/model.obj"):
        (tmp_path / path).unlink()
    with pytest.raises(
        DataError, match=r"no shapes;.* 6 files of 4 unsupported kinds skipped: 3 \.fbx.*supported"
    ):
        scan(config(), tmp_path)


def test_a_suffix_with_two_dots(tmp_path: Path) -> None:
    touch(
        tmp_path, "chair/a.obj.gz", "chair/a.stl", "chair/b/model.obj.gz", "chair/c/x.OBJ.gz", "chair/d.x.ply"
    )
    assert names(tmp_path) == {
        "chair/a": "chair/a.stl",
        "chair/b": "chair/b/model.obj.gz",
        "chair/c": "chair/c/x.OBJ.gz",
        "chair/d.x": "chair/d.x.ply",
    }


def test_meshes_one_level_too_deep(tmp_path: Path) -> None:
    touch(tmp_path, *(f"data/{category}/{i}.obj" for category in ("chair", "lamp") for i in range(3)))
    with pytest.raises(DataError, match=rf"several mesh files.*set dataset\.root to {tmp_path}/data"):
        scan(config(), tmp_path)


class TestTable:
    """`dataset.table`."""

    def shapes(self, root: Path) -> Path:
        return touch(root, *(f"glbs/000-00{i % 3}/uid{i}.glb" for i in range(6)))

    @pytest.mark.parametrize("beginning", ["", "\N{ZERO WIDTH NO-BREAK SPACE}"])
    @pytest.mark.parametrize("delimiter", [",", ";", "\t"])
    def test_gives_categories_and_splits(
        self, tmp_path: Path, beginning: str, delimiter: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        root = self.shapes(tmp_path)
        rows = [
            "ID,Category,split,other",
            "uid0,chair,train,x",
            "uid1.glb,chair,Test,",
            "uid2,night stand,validation,",
        ]
        rows += ["glbs/000-001/uid4,chair,train,", "glbs/000-002/uid5.glb,lamp,,", "gone,lamp,test,"]
        text = beginning + "\r\n".join(rows).replace(",", delimiter)
        (root / "meta.csv").write_text(text, encoding="utf-8")
        actual = splits(root, table="meta.csv")
        drawn = actual.pop("lamp/uid5")
        assert drawn in ("train", "val", "test")
        night_stand = next(name for name in actual if name.startswith("night_stand-"))
        assert actual == {
            "chair/uid0": "train",
            "chair/uid1": "test",
            night_stand: "val",
            "chair/uid4": "train",
        }
        assert "rows have no shape, e.g. " in caplog.text
        assert "shapes in no row skipped, e.g. glbs/" in caplog.text
        assert all(name.startswith("chair/") for name in splits(root, table="meta.csv", categories=["chair"]))
        with pytest.raises(DataError, match="no category sofa"):
            scan(config(table="meta.csv", categories=["sofa"]), root)

    def test_of_shapes_whose_folders_have_no_category(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        touch(tmp_path / "ds", "a/model.obj", "b/model.obj")
        (tmp_path / "meta.csv").write_text("id,category\na,chair\nb,lamp\n")
        monkeypatch.chdir(tmp_path)
        assert names(tmp_path / "ds", table="meta.csv") == {"chair/a": "a/model.obj", "lamp/b": "b/model.obj"}

    def test_splits_over_lists_and_layout(self, tmp_path: Path) -> None:
        touch(tmp_path, "chair/a.obj", "chair/b.obj")
        (tmp_path / "chair/train.lst").write_text("a\nb\n")
        (tmp_path / "meta.csv").write_text("id,split\na,val\nchair/b,test\n")
        assert splits(tmp_path, table="meta.csv") == {"chair/a": "val", "chair/b": "test"}
        (tmp_path / "meta.csv").write_text("id,category\na,sofa\nchair/b,sofa\n")
        assert splits(tmp_path, table="meta.csv", split={"val": 0}) == {"sofa/a": "train", "sofa/b": "train"}

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "got none"),
            ("name,class\na,b\n", r"must be id and category, split or both, got name, class"),
            ("id,split\na,dev\n", r"line 2: split 'dev' is not one of train, val, test"),
            ("id,split\na,val\na,test\n", r"line 3: a has two different rows"),
            (f"id,split\n{'a' * 200_000},val\n", r"line 2: field larger than field limit"),
        ],
    )
    def test_mistakes_are_named(self, tmp_path: Path, text: str, message: str) -> None:
        touch(tmp_path, "chair/a.obj")
        with pytest.raises(DataError, match=r"absent\.csv: no such file"):
            scan(config(table="absent.csv"), tmp_path)
        (tmp_path / "meta.csv").write_text(text)
        with pytest.raises(DataError, match=message):
            scan(config(table="meta.csv"), tmp_path)


def test_lists_with_a_byte_order_mark(tmp_path: Path) -> None:
    touch(tmp_path, "chair/a.obj", "chair/b.obj", "chair/c.obj")
    for split, name in (("train", "a"), ("val", "b"), ("test", "c")):
        (tmp_path / f"chair/{split}.lst").write_bytes(b"\xef\xbb\xbf" + name.encode() + b"\r\n")
    assert splits(tmp_path) == {"chair/a": "train", "chair/b": "val", "chair/c": "test"}


def test_names_with_line_separators_in_lists_and_tables(tmp_path: Path) -> None:
    odd = "a\N{LINE SEPARATOR}b"
    touch(tmp_path, f"chair/{odd}.obj", "chair/c.obj")
    (tmp_path / "chair/train.lst").write_text(f"{odd}\n")
    (tmp_path / "chair/test.lst").write_text("c\n")
    assert sorted(splits(tmp_path, split={"val": 0}).values()) == ["test", "train"]
    (tmp_path / "meta.csv").write_text(f'id,split\n"{odd}",val\nc,train\n')
    assert sorted(splits(tmp_path, table="meta.csv").values()) == ["train", "val"]


def test_lists_without_validation_give_some_of_the_training_shapes(tmp_path: Path) -> None:
    touch(tmp_path, *(f"chair/{i}.obj" for i in range(60)))
    (tmp_path / "chair/train.lst").write_text("\n".join(map(str, range(50))))
    (tmp_path / "chair/test.lst").write_text("\n".join(map(str, range(50, 60))))
    counts = Counter(splits(tmp_path).values())
    assert counts["test"] == 10
    assert 1 <= counts["val"] <= 15
    (tmp_path / "chair/val.lst").write_text("")
    assert Counter(splits(tmp_path).values()) == {"train": 50, "test": 10}


def test_links_that_lead_nowhere(tmp_path: Path) -> None:
    touch(tmp_path, "chair/a.obj")
    (tmp_path / "chair/b.obj").symlink_to("/nowhere/b.obj")
    (tmp_path / "chair/c").symlink_to("/nowhere/c")
    (tmp_path / "chair/d.obj").symlink_to("d.obj")
    (tmp_path / "chair/e").symlink_to("e")
    (tmp_path / "chair/notes.txt").symlink_to("/nowhere/notes")
    assert list(names(tmp_path)) == ["chair/a", "chair/b", "chair/c", "chair/d", "chair/e"]
    (tmp_path / "lamp").symlink_to("/nowhere/lamp")
    with pytest.raises(DataError, match="lamp is a broken link to /nowhere/lamp"):
        scan(config(), tmp_path)
    assert next(iter(names(tmp_path, categories=["chair"]))) == "chair/a"


def test_odd_names_of_files(tmp_path: Path) -> None:
    odd = [
        b"m\xf6bel",
        b"{3F2504E0}",
        b"line\nend",
        b"carriage\rreturn",
        b'it\'s "quoted"',
        b"tab\there",
        b"$(x) `y` ;",
        b"%20 *?",
    ]
    for number, name in enumerate(odd):
        folder = os.fsencode(tmp_path) + b"/raw/ch{a}ir \xff"
        os.makedirs(folder, exist_ok=True)
        path = folder + b"/" + name
        if number % 2:
            os.mkdir(path)
            path += b"/model"
        with open(path + b".obj", "w") as file:
            file.write("x")
    keys = scan(config(), tmp_path / "raw")
    assert len({key.name for key in keys}) == len(odd)
    assert all((tmp_path / "raw" / key.path).is_file() for key in keys)
    write_table(tmp_path / "t.csv", keys)
    assert read_table(tmp_path / "t.csv") == keys
    assert all(isinstance(key, ShapeKey) and key.name.isascii() for key in keys)


def test_results_within_the_dataset_are_no_part_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, "chair/a.obj", "results/reconstruct/onet/test-000/chair/a.ply", "results/x.fbx")
    here = config().model_copy(update={"results": str(tmp_path / "results")})
    assert [key.name for key in scan(here, tmp_path)] == ["chair/a"]
    assert not caplog.records
    assert "2 folders" not in caplog.text
    assert [key.name for key in scan(config(), tmp_path)] == ["chair/a"]
    assert "1 mesh files in folders that no layout has" in caplog.text
