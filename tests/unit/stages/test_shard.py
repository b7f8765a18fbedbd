"""Shapes that fail, crash, hang or are up to date; shards and packs of them."""

from __future__ import annotations

import csv
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from occnet_lib.config import Config
from occnet_lib.errors import DataError, DependencyError
from occnet_lib.stages import plan, points, shape_table, views, watertight, workers
from occnet_lib.stages.pack import pack
from occnet_lib.stages.process_shape import process
from occnet_lib.stages.shape_table import COLUMNS
from occnet_lib.stages.workers import run_shard
from occnet_lib.storage import shape_file
from occnet_lib.storage.meshes import save_mesh
from occnet_lib.storage.packs import Shard
from occnet_lib.types import ShapeKey
from tests.support.storage_shapes import OCTAHEDRON
from tests.support.waiting import until

SMALL: dict[str, Any] = {
    "watertight": {"resolution": 32, "views": 20, "image_size": 64, "max_faces": 500},
    "points": {"uniform": 400, "surface": 300, "voxels": 8},
    "views": {"count": 2, "image_size": 32, "renderer": "raycast"},
}


def config(**changes: dict[str, Any]) -> Config:
    return Config.model_validate(
        {name: SMALL.get(name, {}) | changes.get(name, {}) for name in SMALL | changes}
    )


def key(name: str, suffix: str = ".obj") -> ShapeKey:
    return ShapeKey("solid", name, f"solid/{name}{suffix}", "train", "train-000")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with two good shapes, an empty file and one without faces."""
    folder = tmp_path / "raw"
    save_mesh(OCTAHEDRON, folder / "solid" / "a.obj")
    save_mesh(type(OCTAHEDRON)(OCTAHEDRON.vertices * [1, 2, 3], OCTAHEDRON.faces), folder / "solid" / "b.obj")
    (folder / "solid" / "empty.obj").write_text("")
    (folder / "solid" / "lines.obj").write_text("v 0 0 0\nv 1 0 0\nl 1 2\n")
    return folder


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stages that ran, in order."""
    ran: list[str] = []
    for module in (watertight, points, views):
        name, work = module.__name__.rpartition(".")[2], module.run

        def noted(*args: Any, name: str = name, work: Any = work, **more: Any) -> Any:
            ran.append(name)
            return work(*args, **more)

        monkeypatch.setattr(module, "run", noted)
    return ran


def everything(path: Path) -> dict[str, Any]:
    """All arrays of a shape file."""
    closed, samples, images = (
        shape_file.read_watertight(path),
        shape_file.read_points(path),
        shape_file.read_views(path),
    )
    return {
        "vertices": closed.mesh.vertices,
        "faces": closed.mesh.faces,
        **{
            name: getattr(samples, name) for name in ("points", "occupancies", "surface", "normals", "voxels")
        },
        **{name: getattr(images, name) for name in ("images", "camera_mat", "world_mat")},
    }


def assert_same(one: dict[str, Any], two: dict[str, Any]) -> None:
    for name, array in one.items():
        np.testing.assert_array_equal(array, two[name], err_msg=name)


def test_a_shape_goes_through(root: Path, tmp_path: Path) -> None:
    out, told = tmp_path / "a.h5", []
    row = process(key("a"), config(), root, out, on_stage=told.append)
    assert told == ["load", "watertight", "points", "views"]
    assert (row["status"], row["reason"], row["stage"], row["path"]) == ("ok", "", "", str(out))
    assert row["views_inside"] > 0.98
    assert row["seconds"] == pytest.approx(sum(row[f"seconds_{stage}"] for stage in told), abs=0.01)
    made = everything(out)
    truth = np.abs(made["points"].astype(float)).sum(axis=1) < 0.5
    near = np.abs(np.abs(made["points"].astype(float)).sum(axis=1) - 0.5) < 0.06
    np.testing.assert_array_equal(made["occupancies"][~near], truth[~near])


def test_nothing_is_done_twice(root: Path, tmp_path: Path, calls: list[str]) -> None:
    out = tmp_path / "a.h5"
    first = process(key("a"), config(), root, out)
    stamp, made = out.stat().st_mtime_ns, everything(out)
    assert process(key("a"), config(), root, out) == first
    assert calls == ["watertight", "points", "views"]
    assert out.stat().st_mtime_ns == stamp

    for changes, again in (
        ({"views": {"count": 3}}, ["views"]),
        ({"points": {"surface": 200}, "views": {"count": 3}}, ["points", "views"]),
        ({"watertight": {"views": 25}}, ["watertight", "points", "views"]),
        ({"dataset": {"up": "z"}}, ["watertight", "points", "views"]),
        ({}, ["watertight", "points", "views"]),
    ):
        calls.clear()
        process(key("a"), config(**changes), root, out)
        assert calls == again, changes
    assert_same(everything(out), made)

    calls.clear()
    process(key("a"), config(), root, out, force=True)
    assert calls == ["watertight", "points", "views"]
    assert_same(everything(out), made)


def test_kept_stages_lead_to_the_same_as_new_ones(root: Path, tmp_path: Path) -> None:
    process(key("a"), config(views={"count": 3}), root, tmp_path / "a.h5")
    process(key("a"), config(points={"surface": 200}), root, tmp_path / "a.h5")
    process(key("a"), config(points={"surface": 200}), root, tmp_path / "b.h5")
    assert_same(everything(tmp_path / "a.h5"), everything(tmp_path / "b.h5"))


def test_versions_names_and_sources_count(
    root: Path, tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.h5"
    process(key("a"), config(), root, out)
    calls.clear()
    monkeypatch.setattr(plan, "VERSIONS", {**plan.VERSIONS, "points": -1})
    process(key("a"), config(), root, out)
    assert calls == ["points", "views"]
    calls.clear()
    (root / "solid" / "a.obj").write_text((root / "solid" / "b.obj").read_text())
    process(key("a"), config(), root, out)
    assert calls == ["watertight", "points", "views"]
    # The same mesh under another name has other random numbers.
    process(key("b"), config(), root, tmp_path / "b.h5")
    assert not np.array_equal(everything(out)["points"], everything(tmp_path / "b.h5")["points"])


def test_failures_are_files_and_not_tried_again(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "e.h5"
    row = process(key("empty"), config(), root, out)
    assert (row["status"], row["stage"], row["reason"]) == ("failed", "load", "the file is empty")
    record = shape_file.read_status(out)
    assert (record.status, record.reason, record.stages) == ("failed", "the file is empty", {})
    assert "solid/empty: failed in load: the file is empty" in caplog.text
    caplog.clear()
    assert process(key("empty"), config(), root, out) == row
    assert not caplog.records
    process(key("empty"), config(), root, out, force=True)
    assert caplog.records
    (root / "solid" / "empty.obj").write_text((root / "solid" / "a.obj").read_text())
    assert process(key("empty"), config(), root, out)["status"] == "ok"


def test_absent_file_is_a_failed_shape(root: Path, tmp_path: Path) -> None:
    row = process(key("absent"), config(), root, tmp_path / "x.h5")
    assert (row["status"], row["reason"]) == ("failed", "no such file")


def test_unexpected_error_keeps_what_had_succeeded(
    root: Path,
    tmp_path: Path,
    calls: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*args: Any) -> None:
        raise ValueError("odd\nthing")

    out = tmp_path / "a.h5"
    good = points.run
    monkeypatch.setattr(points, "run", broken)
    row = process(key("a"), config(), root, out)
    assert (row["status"], row["stage"], row["reason"]) == ("failed", "points", "ValueError: odd thing")
    assert "Traceback" in caplog.text
    assert list(shape_file.read_status(out).stages) == ["watertight"]
    # With the fault mended, what had succeeded is kept.
    monkeypatch.setattr(points, "run", good)
    calls.clear()
    versions = plan.VERSIONS
    monkeypatch.setattr(plan, "VERSIONS", {**versions, "points": versions["points"] + 1})
    assert process(key("a"), config(), root, out)["status"] == "ok"
    assert calls == ["points", "views"]


def test_limits_of_the_audit_make_warn_and_failed(
    root: Path, tmp_path: Path, calls: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "a.h5"
    made = process(key("a"), config(), root, out)
    assert made["status"] == "ok"
    volume = made["watertight_volume"]
    arrays = everything(out)
    calls.clear()
    for limits, status, limit in (((1.0, 0.01), "warn", "1"), ((2.0, 0.9), "failed", "0.9")):
        strict = config(audit={"least_volume": limits})
        row = process(key("a"), strict, root, out)
        reason = f"volume {volume:.3g}, below audit.least_volume {limit}"
        assert (row["status"], row["reason"]) == (status, reason)
        assert row["stage"] == ("audit" if status == "failed" else "")
        record = shape_file.read_status(out)
        assert (record.status, record.reason, record.stage) == (status, reason, row["stage"])
        assert f"solid/a: {status}: {reason}" in caplog.text
        caplog.clear()
        stamp = out.stat().st_mtime_ns
        assert process(key("a"), strict, root, out) == row
        assert out.stat().st_mtime_ns == stamp
        assert not caplog.records
    # Nothing is made again for other limits, and a failed shape may be used again.
    assert process(key("a"), config(), root, out) == made
    assert calls == []
    assert_same(everything(out), arrays)


@pytest.mark.parametrize("error", [DependencyError("no library"), DataError("disk full"), ImportError("x")])
def test_faults_of_the_environment_are_not_the_shape_s(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(*args: Any) -> None:
        raise error

    monkeypatch.setattr(watertight, "run", broken)
    with pytest.raises((DependencyError, DataError)):
        process(key("a"), config(), root, tmp_path / "a.h5")
    assert not (tmp_path / "a.h5").exists()


@pytest.mark.parametrize("damage", ["truncated", "group"])
def test_corrupt_shape_file_is_made_again(root: Path, tmp_path: Path, damage: str) -> None:
    import h5py

    out = tmp_path / "a.h5"
    process(key("a"), config(), root, out)
    made = everything(out)
    if damage == "truncated":
        out.write_bytes(out.read_bytes()[:1000])
    else:
        with h5py.File(out, "r+") as file:
            del file["points/points"]
            file["views"].attrs["digest"] = "old"
    assert process(key("a"), config(), root, out)["status"] == "ok"
    assert_same(everything(out), made)


# What workers may be told to do; functions of a module, as they go to other processes.


def stand_in(key: ShapeKey, config: Config, root: Path, out_path: Path, on_stage: Any) -> dict[str, Any]:
    """Do what the shape's name says."""
    on_stage("load")
    on_stage("points")
    if key.id == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if key.id == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if key.id == "killed_once" and not (flag := out_path.with_suffix(".flag")).exists():
        flag.parent.mkdir(parents=True, exist_ok=True)
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    while key.id == "orphan":
        on_stage("points")
    if key.id == "exit":
        os._exit(3)
    if key.id == "burn":
        while True:
            pass
    if key.id == "sleep":
        time.sleep(600)
    if key.id == "environment":
        raise DependencyError("no OpenGL", hint="apt install it")
    logging.getLogger("worker").warning("did %s", key.name)
    record = shape_file.ShapeRecord(key, "ok")
    shape_file.write(out_path, record)
    return shape_table.row(record, key, out_path) | {"views_inside": 1.0}


def test_what_kills_a_worker_fails_one_shape(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = [key(name) for name in ("one", "segfault", "two", "killed", "exit", "burn", "sleep", "three")]
    limits = config(preprocess={"time_limit": 0.3})
    told: list[tuple[int, int, str]] = []
    table = tmp_path / "shards" / "train-000.csv"
    rows = run_shard(
        keys,
        limits,
        root,
        tmp_path / "shapes",
        table,
        workers=2,
        progress=lambda done, total, row: told.append((done, total, row["id"])),
        process=stand_in,
    )
    assert [row["id"] for row in rows] == [shape_key.id for shape_key in keys]
    reasons = {row["id"]: row["reason"] for row in rows if row["status"] == "failed"}
    assert reasons == {
        "segfault": "the worker crashed with signal 11 (SIGSEGV) in stage points",
        "killed": "the worker was killed in stage points (probably out of memory)",
        "exit": "the worker exited with code 3 in stage points",
        "burn": "exceeded preprocess.time_limit=0.3 seconds in stage points",
        "sleep": "exceeded preprocess.time_limit=0.3 seconds in stage points",
    }
    assert {row["stage"] for row in rows if row["status"] == "failed"} == {"points"}
    for shape_key in keys:
        path = shape_file.path_of(tmp_path / "shapes", shape_key)
        assert shape_file.read_status(path).status == ("failed" if shape_key.id in reasons else "ok")
    assert [done for done, _, _ in told] == list(range(1, 9))
    assert {total for _, total, _ in told} == {8}
    assert "did solid/three" in caplog.text
    with table.open(newline="") as file:
        written = list(csv.DictReader(file))
    assert list(written[0])[: len(COLUMNS)] == list(COLUMNS)
    assert [row["status"] for row in written] == [row["status"] for row in rows]
    assert [row["views_inside"] for row in written if row["id"] == "one"] == ["1.0"]


def test_a_fault_of_the_environment_ends_the_shard(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DependencyError, match=r"no OpenGL \(apt install it\)"):
        run_shard(
            [key("one"), key("environment")], config(), root, tmp_path, tmp_path / "t.csv", process=stand_in
        )
    assert not (tmp_path / "t.csv").exists()


def test_worker_that_cannot_start_is_no_fault_of_the_shapes(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("occnet_lib.stages.workers._work", len)  # called with two arguments: an error at once
    with pytest.raises(DependencyError, match="no worker process"):
        run_shard([key("a")], config(), root, tmp_path / "shapes", tmp_path / "t.csv")
    assert not (tmp_path / "shapes").exists()


def test_empty_shard(root: Path, tmp_path: Path) -> None:
    assert run_shard([], config(), root, tmp_path, tmp_path / "t.csv") == []
    assert (tmp_path / "t.csv").read_text().strip() == ",".join(COLUMNS)


def test_shard_and_pack_for_real(root: Path, tmp_path: Path, calls: list[str]) -> None:
    keys = [key(name) for name in ("a", "b", "empty", "lines")]
    rows = run_shard(keys, config(), root, tmp_path / "shapes", tmp_path / "t.csv")
    assert [row["status"] for row in rows] == ["ok", "ok", "failed", "failed"]
    # The same as in this process, whatever was treated before.
    process(key("b"), config(), root, tmp_path / "b.h5")
    assert_same(everything(tmp_path / "b.h5"), everything(tmp_path / "shapes" / "solid" / "b.h5"))

    assert pack("train-000", keys, tmp_path / "shapes", tmp_path / "train-000.h5") == 2
    shard = Shard(tmp_path / "train-000.h5")
    assert [shape_key.id for shape_key in shard.keys] == ["a", "b"]
    assert (shard.split, shard.views, shard.points_per_shape) == ("train", 2, 400)
    made = everything(tmp_path / "b.h5")
    np.testing.assert_array_equal(shard.points(1)[0], made["points"])
    np.testing.assert_array_equal(shard.points(1)[1], made["occupancies"])
    np.testing.assert_array_equal(shard.image(1, 1), made["images"][1])
    np.testing.assert_array_equal(shard.voxels(1), made["voxels"])
    np.testing.assert_array_equal(shard.mesh(1).faces, made["faces"])

    assert pack("test-000", keys[2:], tmp_path / "shapes", tmp_path / "test-000.h5") == 0
    assert len(Shard(tmp_path / "test-000.h5")) == 0
    with pytest.raises(DataError, match=r"absent\.h5: no such file"):
        pack("test-000", [key("absent")], tmp_path / "shapes", tmp_path / "x.h5")


def test_a_shape_whose_worker_was_killed_from_outside_is_tried_once_more(root: Path, tmp_path: Path) -> None:
    keys = [key(name) for name in ("one", "killed_once", "two")]
    rows = run_shard(keys, config(), root, tmp_path / "shapes", tmp_path / "table.csv", process=stand_in)
    assert [row["status"] for row in rows] == ["ok"] * 3


def test_a_worker_whose_parent_is_gone_ends_and_blames_no_shape(root: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    job = workers._Job(config(), root, tmp_path / "shapes", stand_in)
    process = context.Process(target=workers._work, args=(theirs, job), daemon=True)
    process.start()
    theirs.close()
    assert ours.recv()[0] == "ready"
    ours.send(key("orphan"))
    assert ours.recv() == ("stage", "load")
    ours.close()
    process.join(30)
    assert process.exitcode == 1
    assert not list((tmp_path / "shapes").rglob("*.h5"))


def test_workers_end_with_a_parent_that_was_killed(root: Path, tmp_path: Path) -> None:
    code = (
        "import multiprocessing, sys, time\n"
        "from pathlib import Path\n"
        "from occnet_lib.stages import workers\n"
        "from tests.unit.stages.test_shard import config, stand_in\n"
        "if __name__ == '__main__':\n"
        "    worker = workers._Worker(workers._Job(config(), Path('.'), Path('.'), stand_in))\n"
        "    worker.connection.poll(30)\n"
        "    print(worker.process.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    project = Path(workers.__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(project)}
    with subprocess.Popen(
        [sys.executable, str(script)], cwd=project, env=environment, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        state = Path(f"/proc/{pid}/stat")
        assert state.exists()
        parent.kill()

    def ended() -> bool:
        return not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"

    until(ended, "the worker's end", seconds=10)


def test_words_of_a_malformed_file_can_be_recorded(root: Path, tmp_path: Path) -> None:
    """Zeros, escapes of terminals and bytes that are not text stand in reasons as escapes, on one line."""
    header = b"ply\nformat ascii 1.0\nelement vertex 3\nproperty flo\0at\x1b[31m \xff\xf0x\nend_header\n"
    (root / "solid" / "bad.ply").write_bytes(header)
    good = (root / "solid" / "a.obj").read_bytes()
    (root / "solid" / "odd.obj").write_bytes(b"mtllib \x1b\0\xff.mtl\n" + good)
    keys = [key("bad", ".ply"), key("odd")]
    bad, odd = run_shard(keys, config(), root, tmp_path / "shapes", tmp_path / "rows.csv")
    assert "\0" not in bad["reason"]
    assert r"malformed header line: property flo\x00at\x1b[31m" in bad["reason"]
    assert (odd["status"], odd["reason"]) == ("warn", "materials \\x1b\\x00\udcff.mtl: no such file")
    for row in (bad, odd):
        assert shape_file.read_status(row["path"]).reason == row["reason"]
