"""What is noticed of a change of the raw files, and what is not one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from occnet_lib.config import Config
from occnet_lib.storage.dataset import state
from occnet_lib.storage.dataset.catalogue import scan, write_table
from occnet_lib.storage.dataset.signatures import signatures
from occnet_lib.storage.dataset.state import (
    content_of,
    dataset_state,
    digests_of,
    is_available,
    last_state,
    read_versions,
    update_versions,
    versions_file,
    write_state,
)
from occnet_lib.storage.tables import write_rows
from occnet_lib.types import ShapeKey
from tests.unit.storage.dataset.test_catalogue import config

FACE = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Shapes with folders of their own, in files beside others, and in files that name no others."""
    texts = {
        **{"own/a/model.obj": f"mtllib model.mtl\n{FACE}", "own/a/model.mtl": "map_Kd ../../shared/t.png"},
        **{"own/b/models/model.obj": FACE, "own/b/images/x.png": "1", "shared/t.png": "1"},
        **{
            "flat/c.obj": f"mtllib c.mtl\n{FACE}",
            "flat/c.mtl": "map_Kd textures/t.png",
            "flat/textures/t.png": "1",
        },
        **{"flat/d.obj": FACE, "flat/flat.stl": "solid\n", "flat/e.stl": "solid\n", "flat/notes.txt": "1"},
    }
    for name, text in texts.items():
        write(tmp_path / "raw" / name, text)
    return tmp_path / "raw"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def keys_of(root: Path) -> list[ShapeKey]:
    return scan(config(), root)


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> set[str]:
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


NAMING = {"own/a", "own/b", "flat/c", "flat/d"}  # whose files may name others


CHANGES: dict[str, tuple[Callable[[Path], object], set[str]]] = {
    "nothing": (lambda root: None, set()),
    "mesh": (lambda root: write(root / "own/b/models/model.obj", FACE + "#"), {"own/b"}),
    "material": (lambda root: write(root / "own/a/model.mtl", ""), {"own/a"}),
    "image": (lambda root: write(root / "own/b/images/x.png", "2"), {"own/b"}),
    "new file in its folder": (lambda root: write(root / "own/b/images/y.png", "2"), {"own/b"}),
    "lost file in its folder": (lambda root: (root / "own/b/images/x.png").unlink(), {"own/b"}),
    "touched": (lambda root: os.utime(root / "own/a/model.obj"), {"own/a"}),
    "older file moved in": (lambda root: move_in_an_older_file(root), {"own/a"}),
    "file beside others": (lambda root: write(root / "flat/e.stl", "solid x\n"), {"flat/e"}),
    "texture of files beside others": (
        lambda root: write(root / "flat/textures/t.png", "2"),
        NAMING,
    ),
    "notes": (lambda root: write(root / "flat/notes.txt", "2"), set()),
    "another shape": (lambda root: write(root / "own/f/model.obj", FACE), {"own/f"}),
}


def move_in_an_older_file(root: Path) -> None:
    """A file of the same size and date in the place of another."""
    target = root / "own/a/model.obj"
    state = target.stat()
    write(root.parent / "old.obj", target.read_text().replace("v 1 0 0", "v 2 0 0"))
    os.utime(root.parent / "old.obj", ns=(state.st_atime_ns, state.st_mtime_ns))
    (root.parent / "old.obj").rename(target)
    assert (target.stat().st_size, target.stat().st_mtime_ns) == (state.st_size, state.st_mtime_ns)


@pytest.mark.parametrize("what", CHANGES)
def test_signatures_change_with_the_files_of_a_shape(root: Path, what: str) -> None:
    change, expected = CHANGES[what]
    before = signatures(root, keys_of(root))
    assert len(set(before.values())) == len(before) == 6
    change(root)
    assert changed(before, signatures(root, keys_of(root))) == expected


def test_files_of_no_shape_count_for_those_that_may_name_them(root: Path) -> None:
    before = signatures(root, keys_of(root))
    write(root / "shared/t.png", "2")
    assert changed(before, signatures(root, keys_of(root))) == NAMING


@pytest.mark.parametrize("wanted", [{"categories": ["own"]}, {"categories": ["flat"]}, {"limit": 1}])
def test_files_of_shapes_that_are_left_out_do_not_count(root: Path, wanted: dict[str, object]) -> None:
    (root / "own/b/images").rename(root / "own/b/models/images")
    write(root / "own/b/images/x.png", "1")
    keys = scan(config(**wanted), root)
    before = signatures(root, keys)
    left_out = [key for key in keys_of(root) if key.name not in before and key.category == "own"]
    for key in left_out:
        write(root / f"own/{key.id}/images/x.png", "2")
        write(root / f"own/{key.id}/model.mtl", "2")
    if not any(name.startswith("flat") for name in before):
        write(root / "flat/textures/t.png", "2")
    assert signatures(root, scan(config(**wanted), root)) == before
    write(root / "shared/t.png", "2")
    assert changed(before, signatures(root, keys)) == NAMING & before.keys()


@pytest.mark.parametrize("linked", [False, True])
def test_results_within_the_root_do_not_count(root: Path, linked: bool) -> None:
    results = root / "results"
    if linked:
        (root.parent / "disk").mkdir()
        results.symlink_to(root.parent / "disk")
    write(results / "a/x.png", "1")
    before = signatures(root, keys_of(root), results)
    write(results / "a/x.png", "22")
    assert signatures(root, keys_of(root), results) == before
    assert signatures(root, keys_of(root)) != before


def test_another_root_is_another_state(root: Path, tmp_path: Path) -> None:
    before = signatures(root, keys_of(root))
    shutil.copytree(root, tmp_path / "copy")
    assert changed(before, signatures(tmp_path / "copy", keys_of(tmp_path / "copy"))) == set(before)
    (tmp_path / "link").symlink_to(root)
    assert signatures(tmp_path / "link", keys_of(tmp_path / "link")) == before


def test_links_that_lead_nowhere_or_in_a_circle(root: Path) -> None:
    (root / "flat/z.obj").symlink_to("/nowhere/z.obj")
    (root / "own/a/again").symlink_to(root)
    before = signatures(root, keys_of(root))
    (root / "flat/z.obj").unlink()
    write(root / "flat/z.obj", FACE)
    assert changed(before, signatures(root, keys_of(root))) == {"flat/z", "own/a"}, (
        "whose folder has the link"
    )


def processed(root: Path, made: Mapping[str, str]) -> Config:
    """The configuration of results whose shapes were processed from these digests."""
    here = Config.model_validate({"dataset": str(root), "results": str(root.parent / "results")})
    columns = ("category", "id", "source_digest")
    rows = [dict(zip(columns, (*name.split("/"), digest), strict=True)) for name, digest in made.items()]
    write_rows(root.parent / "results/preprocess/shards/train-000.csv", rows, columns)
    return here


class TestVersions:
    """`update_versions`."""

    @staticmethod
    def update(root: Path, made: Mapping[str, str]) -> dict[str, str]:
        here = processed(root, made)
        update_versions(here, keys_of(root))
        return read_versions(versions_file(here))

    @pytest.mark.parametrize("what", CHANGES)
    def test_a_version_changes_with_the_content_alone(self, root: Path, what: str) -> None:
        change, _ = CHANGES[what]
        before = self.update(root, {})
        made = {key.name: content_of(root, key) for key in keys_of(root)}
        change(root)
        content = {key.name: content_of(root, key) for key in keys_of(root)}
        after = self.update(root, made)
        assert changed(before, after) == changed(made, content)
        assert self.update(root, made) == after, "and stays"

    def test_shapes_that_are_left_out_for_once_keep_their_versions(self, root: Path) -> None:
        before = self.update(root, {})
        made = {key.name: content_of(root, key) for key in keys_of(root)}
        os.utime(root / "own/b/models/model.obj")
        assert self.update(root, made) == before
        update_versions(processed(root, made), [key for key in keys_of(root) if key.category == "flat"])
        assert self.update(root, made) == before

    def test_what_was_not_made_has_a_new_version(self, root: Path) -> None:
        before = self.update(root, {})
        os.utime(root / "own/a/model.obj")
        assert changed(before, self.update(root, {})) == {"own/a"}

    def test_what_was_read_and_what_has_changed_is_counted(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        keys = keys_of(root)
        here = processed(root, {key.name: content_of(root, key) for key in keys})
        with monkeypatch.context() as patch:
            patch.setattr(state, "processed_digests", lambda _: pytest.fail("nothing is read"))
            assert update_versions(here, keys) == (0, 0)
            assert update_versions(here, keys) == (0, 0)
        write(root / "own/b/models/model.obj", FACE + "#")
        os.utime(root / "flat/e.stl")
        assert update_versions(here, keys) == (2, 1)

    def test_back_to_what_is_made(self, root: Path) -> None:
        before = self.update(root, {})
        made = {key.name: content_of(root, key) for key in keys_of(root)}
        text = (root / "flat/d.obj").read_text()
        write(root / "flat/d.obj", text + "#")
        changed_once = self.update(root, made)
        write(root / "flat/d.obj", text)
        back = self.update(root, made)
        assert changed(before, changed_once) == {"flat/d"}
        assert back["flat/d"] == changed_once["flat/d"], "its shard is looked at once more"

    def test_a_damaged_table_counts_as_none(self, root: Path) -> None:
        before = self.update(root, {})
        for text in ("x\n1\n", "category,id,signature,version\n" + "x" * 200_000):
            write(root.parent / "results/catalogue/sources.csv", text)
            assert self.update(root, {}) == before

    def test_files_that_cannot_be_read(self, root: Path) -> None:
        (root / "flat/z.obj").symlink_to("/nowhere/z.obj")
        before = self.update(root, {})
        assert content_of(root, next(key for key in keys_of(root) if key.id == "z")) == ""
        os.utime(root / "flat/c.mtl")
        assert changed(before, self.update(root, {"flat/z": ""})) == NAMING
        (root / "flat/z.obj").unlink()
        write(root / "flat/z.obj", FACE)
        assert "flat/z" in changed(before, self.update(root, {"flat/z": ""}))


def state_of(here: Config) -> str:
    return dataset_state(here, scan(here, here.dataset_root))


class TestStateOfTheDataset:
    """`dataset_state`."""

    @pytest.fixture
    def here(self, root: Path, tmp_path: Path) -> Config:
        """A dataset whose catalogue is made, and one shard of all shapes."""
        here = Config.model_validate({"dataset": str(root), "results": str(tmp_path / "results")})
        self.catalogue(here)
        keys = keys_of(root)
        table = [{"category": k.category, "id": k.id, "source_digest": content_of(root, k)} for k in keys]
        write_rows(tmp_path / "results/preprocess/shards/train-000.csv", table)
        return here

    @staticmethod
    def catalogue(here: Config) -> None:
        """What the job does."""
        keys = scan(here, here.dataset_root)
        write_state(here, keys, dataset_state(here, keys))
        write_table(Path(here.results) / "catalogue/shapes.csv", keys)

    @pytest.mark.parametrize("what", CHANGES)
    def test_changes_with_contents_alone_and_stays_then(self, here: Config, root: Path, what: str) -> None:
        before = state_of(here)
        made = {key.name: content_of(root, key) for key in keys_of(root)}
        CHANGES[what][0](root)
        content = {key.name: content_of(root, key) for key in keys_of(root)}
        after = state_of(here)
        assert (after == before) == (content == made)
        self.catalogue(here)
        assert state_of(here) == after

    def test_much_is_left_to_the_catalogue_to_read(
        self, here: Config, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(state, "_MAX_READ", 10)
        before = state_of(here)
        os.utime(root / "own/a/model.obj")
        touched = state_of(here)
        assert touched != before
        self.catalogue(here)
        assert state_of(here) == touched

    def test_side_files_are_much_as_well(
        self, here: Config, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = state_of(here)
        os.utime(root / "flat/c.mtl")  # for all shapes that may name it
        assert state_of(here) == before
        mesh_files = sum((root / key.path).stat().st_size for key in keys_of(root) if key.name in NAMING)
        monkeypatch.setattr(state, "_MAX_READ", mesh_files)
        assert state_of(here) != before

    @pytest.mark.parametrize("lost", ["state", "sources.csv", "shapes.csv"])
    def test_what_was_seen_is_lost(self, here: Config, lost: str) -> None:
        before = state_of(here)
        (Path(here.results) / "catalogue" / lost).unlink()
        assert state_of(here) == before, "as nothing was touched"

    def test_the_last_state_is_that_of_the_same_dataset(self, here: Config, root: Path) -> None:
        write(Path(here.results) / "config.json", here.model_dump_json())
        state = state_of(here)
        assert is_available(root)
        root.rename(root.with_name("unmounted"))
        assert not is_available(root)
        assert last_state(here) == state
        root.mkdir()
        assert not is_available(root)
        values = here.model_dump()
        for other in ({"seed": 1}, {"dataset": values["dataset"] | {"limit": 3}}):
            assert last_state(Config.model_validate(values | other)) is None
        (Path(here.results) / "catalogue/state").unlink()
        assert last_state(here) is None

    def test_another_split(self, here: Config, root: Path) -> None:
        before = state_of(here)
        write(root / "flat/test.lst", "c\nd\ne\nflat\n")
        assert state_of(here) != before


def test_digests_of_tables_are_those_of_the_newest(tmp_path: Path) -> None:
    for number, digest in enumerate(("old", "new")):
        path = tmp_path / f"{1 - number}.csv"
        write_rows(path, [{"category": "a", "id": "1", "source_digest": digest}])
        os.utime(path, (number, number))
    write_rows(tmp_path / "before.csv", [{"category": "a", "id": "2"}])
    assert digests_of(tmp_path.glob("*.csv")) == {"a/1": "new"}
