"""Raw files that change, move, vanish or have odd names: noticed, made again, and nothing else is.

All of it runs in a folder with a space in its name, which has neither a copy of the project nor a `config.yaml`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from occnet_lib.storage import shape_file
from occnet_lib.storage.dataset.catalogue import read_table
from occnet_lib.storage.meshes import save_mesh
from occnet_lib.storage.tables import read_rows
from occnet_lib.types import Mesh
from tests.support.small_shapes import decoded_views
from tests.support.snakemake_server import snakemake

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

# So small that a shape takes a tenth of a second.
COARSE = {
    "dataset": {"root": "~/raw", "shard_size": 16, "split": {"val": 0.1, "test": 0.3}},
    "watertight": {"resolution": 32, "views": 12, "image_size": 64, "max_faces": 500},
    "points": {"uniform": 64, "surface": 64, "voxels": 8},
    "views": {"count": 1, "image_size": 16},
    "audit": {"repaired": "warn", "distance": [1e3, 2e3], "edge": [1e3, 2e3], "silhouette": [0.0, 0.0]},
}
TEXTURED = "mtllib model.mtl\nvt 0 0\nvt 1 0\nvt 1 1\nusemtl m\n"


def box(x: float, y: float, z: float) -> Mesh:
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)], float) * (x, y, z)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [face for a, b, c, d in quads for face in ((a, b, c), (a, c, d))]
    return Mesh(corners, np.array(faces, np.int32))


def obj(mesh: Mesh, textured: bool = False) -> str:
    vertices = "".join(f"v {x:.3f} {y:.3f} {z:.3f}\n" for x, y, z in mesh.vertices)
    corner = "{0}/{1}" if textured else "{0}"
    faces = ("f " + " ".join(corner.format(i + 1, n + 1) for n, i in enumerate(face)) for face in mesh.faces)
    return vertices + TEXTURED * textured + "\n".join(faces) + "\n"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def paint(path: Path, color: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), color).save(path)


@dataclass(frozen=True)
class Place:
    """A folder to work in; its home folder has the raw meshes."""

    path: Path
    project: Path

    @property
    def raw(self) -> Path:
        return self.path / "home" / "raw"

    @property
    def results(self) -> Path:
        return self.path / "my results"

    def snakemake(self, *words: str, check: bool = True, **settings: str) -> str:
        command = ["-s", str(self.project / "workflow/Snakefile"), *words]
        named = [f"{name}={value}" for name, value in settings.items()]
        environment = {**os.environ, "HOME": str(self.path / "home"), "OMP_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = str(self.project)  # as if it were installed
        config = ["--configfile", "coarse.yaml", "--config", "results=my results", *named]
        code, text = snakemake([*command, *config], self.path, environment)
        assert (code == 0) == check, text[-6000:]
        return text

    def state(self) -> dict[str, int]:
        """When each shape file, table of a shard and pack was written."""
        folders = ("preprocess/shapes/*/*.h5", "preprocess/shards/*.csv", "pack/*.h5")
        files = [file for pattern in folders for file in self.results.glob(pattern)]
        return {str(file.relative_to(self.results)): file.stat().st_mtime_ns for file in files}

    def statuses(self) -> dict[str, tuple[str, str]]:
        table = read_rows(self.results / "preprocess/shapes.csv")
        return {f"{row['category']}/{row['id']}": (row["status"], row["reason"]) for row in table}

    def extent(self, name: str) -> list[float]:
        vertices = shape_file.read_watertight(self.results / f"preprocess/shapes/{name}.h5").mesh.vertices
        return [float(value) for value in np.ptp(vertices, axis=0)]


def rewritten(before: Mapping[str, int], after: Mapping[str, int], folder: str) -> set[str]:
    """Files below a folder of the results that are new or newer, without their suffix."""
    new = {name for name, time in after.items() if before.get(name) != time and name.startswith(folder)}
    return {name.removeprefix(folder).rpartition(".")[0] for name in new}


def shards(place: Place, *names: str) -> set[str]:
    keys = read_table(place.results / "catalogue/shapes.csv")
    return {key.shard for key in keys if key.name in names}


@pytest.fixture(scope="module")
def place(tmp_path_factory, project) -> Place:
    """A place where all is made once."""
    place = Place(tmp_path_factory.mktemp("some where"), project)
    raw = place.raw
    for name in ("a", "b"):
        write(raw / f"own/{name}/model.obj", obj(box(1, 0.5, 0.25), textured=True))
        write(raw / f"own/{name}/model.mtl", "newmtl m\nmap_Kd -s 1 1 1 tex/red wood.png\n")
        paint(raw / f"own/{name}/tex/red wood.png", "red")
    (raw / "own/empty").mkdir()
    for name in ("c", "d", "{3F2504E0}", "00000012", os.fsdecode(b"m\xf6bel"), "line\nend 'x' \"y\""):
        write(raw / f"flat/{name}.obj", obj(box(1, 0.5, 0.25)))
    (place.path / "coarse.yaml").write_text(yaml.safe_dump(COARSE))
    place.snakemake("preprocess")
    return place


def test_all_is_made_whatever_its_name(place):
    statuses = place.statuses()
    assert len(statuses) == 8
    assert {status for status, _ in statuses.values()} <= {"ok", "warn"}, statuses
    assert "Nothing to be done" in place.snakemake("preprocess", "-n")
    assert not (place.path / "~").exists()
    assert "flat/00000012" in place.snakemake("rerun", shape="00000012")
    place.snakemake("preprocess")


def test_what_is_touched_is_not_made_again(place):
    for path in place.raw.rglob("*.*"):
        os.utime(path)
    assert "Nothing to be done" in place.snakemake("preprocess", "-n")


def test_what_has_changed_is_made_again_and_nothing_else(place):
    before = place.state()
    paint(place.raw / "own/a/tex/red wood.png", "blue")
    older = write(place.path / "older.obj", obj(box(1, 0.5, 0.75)))
    state = (place.raw / "flat/c.obj").stat()
    assert older.stat().st_size == state.st_size
    os.utime(older, ns=(state.st_atime_ns, state.st_mtime_ns))
    older.replace(place.raw / "flat/c.obj")
    (place.raw / "flat/d.obj").unlink()
    save_mesh(box(1, 1, 0.5), place.raw / "flat/d.glb")
    write(place.raw / "own/empty/model.obj", obj(box(1, 1, 1)))
    (place.raw / "flat/z.obj").symlink_to("/nowhere/z.obj")
    assert "; 3 of 8 shapes with other dates have changed" in place.snakemake("preprocess")
    changed = {"own/a", "flat/c", "flat/d", "own/empty", "flat/z"}
    after = place.state()
    assert rewritten(before, after, "preprocess/shapes/") == changed
    assert rewritten(before, after, "preprocess/shards/") == shards(place, *changed)
    assert rewritten(before, after, "pack/") == shards(place, *changed)
    heights = {name: place.extent(name)[2] for name in ("flat/c", "flat/d", "own/empty", "own/b")}
    expected = {"flat/c": 0.75, "flat/d": 0.5, "own/empty": 1.0, "own/b": 0.25}
    assert heights == pytest.approx(expected, abs=0.1)  # voxels are coarse
    views = [decoded_views(place.results / f"preprocess/shapes/own/{name}.h5") for name in "ab"]
    red, blue = (float(view.images[..., channel].min()) for view, channel in ((views[0], 0), (views[1], 2)))
    assert red < 100 > blue, "one is blue now, the other still red"
    assert place.statuses()["flat/z"] == (
        "failed",
        "broken link to /nowhere/z.obj",
    )
    assert "Nothing to be done" in place.snakemake("preprocess", "-n")


def test_another_dataset_with_the_same_names(place):
    before = place.state()
    shutil.copytree(place.raw, place.raw.with_name("other"), symlinks=True)
    place.raw.rename(place.raw.with_name("first"))
    place.raw.with_name("other").rename(place.raw)
    path = write(place.raw / "flat/c.obj", obj(box(1, 0.5, 0.25)))
    os.utime(path, (0, 0))
    place.snakemake("preprocess")
    assert rewritten(before, place.state(), "preprocess/shapes/") == {"flat/c"}
    assert place.extent("flat/c")[2] == pytest.approx(0.25, abs=0.1)
    assert "Nothing to be done" in place.snakemake("preprocess", "-n")


def test_a_change_that_snakemake_has_no_record_to_compare_with(place):
    """As in a results folder that was copied without `.snakemake`."""
    records, mesh = place.path / ".snakemake", place.raw / "flat/c.obj"
    records.rename(place.path / "records")
    text = place.snakemake("preprocess", "-n")
    assert "has changed since" not in text
    before = mesh.read_text()
    mesh.write_text(obj(box(1, 0.5, 1)))
    text = place.snakemake("preprocess", "-n")
    assert f"{place.raw} has changed since my results/catalogue/shapes.csv was written" in text
    assert "--forcerun catalogue preprocess_shard" in text
    shutil.rmtree(records)
    (place.path / "records").rename(records)
    text = place.snakemake("preprocess", "-n")
    assert "has changed since" not in text, "the job of the catalogue runs"
    mesh.write_text(before)


def test_a_dataset_that_is_not_available(place):
    """Finished results stay usable, and no run that needs raw meshes begins."""
    before, away = place.state(), place.raw.with_name("unmounted")
    place.raw.rename(away)
    text = place.snakemake("preprocess")
    assert "Nothing to be done" in text
    assert f"{place.raw} is not available" in text
    place.raw.mkdir()  # an empty mount point
    text = place.snakemake("preprocess", seed="1", check=False)
    assert "is not a folder with meshes" in text
    text = place.snakemake("preprocess", points="{uniform: 80}", check=False)
    assert "preprocess_shard)" in text
    assert "Nothing to be done" in place.snakemake("preprocess", "-n")
    assert place.state() == before
    place.raw.rmdir()
    away.rename(place.raw)
    text = place.snakemake("preprocess", "-n")
    assert "Nothing to be done" in text
    assert "not available" not in text
