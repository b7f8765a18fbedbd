"""Shards of shapes in worker processes: crashes, kills, limits."""

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
from occnet_lib.stages import process_shape, workers
from occnet_lib.stages.pack import pack
from occnet_lib.stages.process_shape import COLUMNS, process
from occnet_lib.stages.workers import process_shapes
from occnet_lib.storage import shape_file
from occnet_lib.storage.packs import Shard
from occnet_lib.storage.shape_file import ShapeRecord, path_of
from occnet_lib.types import ShapeKey
from tests.support.small_shapes import assert_same, config, everything, key
from tests.support.waiting import until


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
    record = ShapeRecord(key, "ok")
    shape_file.write(out_path, record)
    return process_shape.row(record, key, out_path) | {"views_inside": 1.0}


def test_what_kills_a_worker_fails_one_shape(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = [key(name) for name in ("one", "segfault", "two", "killed", "exit", "burn", "sleep", "three")]
    limits = config(preprocess={"time_limit": 0.3})
    reported: list[tuple[int, int, str]] = []
    table = tmp_path / "shards" / "train-000.csv"
    rows = process_shapes(
        keys,
        limits,
        root,
        tmp_path / "shapes",
        workers=2,
        table=table,
        progress=lambda done, total, row: reported.append((done, total, row["id"])),
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
        path = path_of(tmp_path / "shapes", shape_key)
        assert shape_file.read_status(path).status == ("failed" if shape_key.id in reasons else "ok")
    assert [done for done, _, _ in reported] == list(range(1, 9))
    assert {total for _, total, _ in reported} == {8}
    assert "did solid/three" in caplog.text
    with table.open(newline="") as file:
        written = list(csv.DictReader(file))
    assert list(written[0])[: len(COLUMNS)] == list(COLUMNS)
    assert [row["status"] for row in written] == [row["status"] for row in rows]
    assert [row["views_inside"] for row in written if row["id"] == "one"] == ["1.0"]


def test_a_fault_of_the_environment_ends_the_shard(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DependencyError, match=r"no OpenGL \(apt install it\)"):
        process_shapes(
            [key("one"), key("environment")],
            config(),
            root,
            tmp_path,
            table=tmp_path / "t.csv",
            process=stand_in,
        )
    assert not (tmp_path / "t.csv").exists()


def test_worker_that_cannot_start_is_no_fault_of_the_shapes(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("occnet_lib.stages.workers.work", len)  # called with two arguments: an error at once
    with pytest.raises(DependencyError, match="no worker process"):
        process_shapes([key("a")], config(), root, tmp_path / "shapes", table=tmp_path / "t.csv")
    assert not (tmp_path / "shapes").exists()


def test_empty_shard(root: Path, tmp_path: Path) -> None:
    assert process_shapes([], config(), root, tmp_path, table=tmp_path / "t.csv") == []
    assert (tmp_path / "t.csv").read_text().strip() == ",".join(COLUMNS)


def test_shard_and_pack_for_real(root: Path, tmp_path: Path, calls: list[str]) -> None:
    keys = [key(name) for name in ("a", "b", "empty", "lines")]
    rows = process_shapes(keys, config(), root, tmp_path / "shapes", table=tmp_path / "t.csv")
    assert [row["status"] for row in rows] == ["ok", "ok", "failed", "failed"]
    # The same as in this process, whatever was processed before.
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
    rows = process_shapes(
        keys, config(), root, tmp_path / "shapes", table=tmp_path / "table.csv", process=stand_in
    )
    assert [row["status"] for row in rows] == ["ok"] * 3


def test_a_worker_whose_parent_is_gone_ends_and_blames_no_shape(root: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    job = workers.Job(config(), root, tmp_path / "shapes", stand_in)
    process = context.Process(target=workers.work, args=(theirs, job), daemon=True)
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
        "from tests.support.small_shapes import config\n"
        "from tests.unit.stages.test_workers import stand_in\n"
        "if __name__ == '__main__':\n"
        "    worker = workers._Worker(workers.Job(config(), Path('.'), Path('.'), stand_in))\n"
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
    bad, odd = process_shapes(keys, config(), root, tmp_path / "shapes", table=tmp_path / "rows.csv")
    assert "\0" not in bad["reason"]
    assert r"malformed header line: property flo\x00at\x1b[31m" in bad["reason"]
    assert (odd["status"], odd["reason"]) == ("warn", "materials \\x1b\\x00\udcff.mtl: no such file")
    for row in (bad, odd):
        assert shape_file.read_status(row["path"]).reason == row["reason"]
