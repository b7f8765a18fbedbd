"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from occnet_lib.errors import DataError
from occnet_lib.storage.atomic import replacing, sweep, temporary_beside, write_text
from tests.support.waiting import until


def test_success_replaces(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.csv"
    for text in ("first", "second"):
        with replacing(path) as temporary:
            assert temporary.parent == path.parent
            assert temporary.suffix == ".csv"
            assert str(os.getpid()) in temporary.name
            temporary.write_text(text)
            assert not path.exists() or path.read_text() == "first"
        assert path.read_text() == text
    assert os.listdir(path.parent) == ["a.csv"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_failure_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a.csv"
    path.write_text("old")
    with pytest.raises(type(error)), replacing(path) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.csv"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        # HDF5 says it in its text only.
        OSError("Can't write data (errno = 28, error message = 'No space left on device')"),
        RuntimeError("Unable to close file (errno = 28, error message = 'No space left on device')"),
    ],
)
def test_full_disk_is_one_line_that_names_the_way_out(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(DataError, match=r"No space left .*\(free space") as caught, replacing(tmp_path / "a"):
        raise error
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, code: int) -> None:
    with pytest.raises(DataError, match="the folder is not writable") as caught, replacing(tmp_path / "a"):
        raise OSError(code, os.strerror(code))
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("name", ["file/a.csv", "a" * 250 + ".csv"])
def test_a_path_that_cannot_exist_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"a\.csv: cannot be written \(.*[a-z]\)$"):
        write_text(tmp_path / name, "")


def test_full_device_for_real(tmp_path: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    full = Path("/dev/full")
    with pytest.raises(DataError, match="No space left"), replacing(tmp_path / "a"):
        full.write_text("x")


WRITE = """
import sys, time
from occnet_lib.storage.atomic import replacing, sweep, temporary_beside, write_text
with replacing(sys.argv[1]) as temporary:
    temporary.write_text("half")
    print(temporary.name, flush=True)
    time.sleep(60)
"""


def test_what_a_killed_writer_leaves_is_swept_and_nothing_else(tmp_path: Path, project: Path) -> None:
    target = tmp_path / "deep" / "a.b.csv"
    others = [
        tmp_path / name for name in (".lock", ".train.lock", "b.0123abcd-1-1.h5", ".hidden.csv", ".a.12.h5")
    ]
    for other in others:
        other.write_text("kept")
    command = [sys.executable, "-c", WRITE, str(target)]
    process = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, text=True)
    left = target.parent / process.stdout.readline().strip()
    assert sweep(tmp_path) == []  # it is being written
    assert left.exists()
    process.kill()
    process.communicate()
    with replacing(tmp_path / "mine.csv") as mine:
        mine.write_text("x")
        assert sweep(tmp_path) == [left]
        assert mine.exists()
    assert not left.exists()
    assert all(other.exists() for other in others)


def test_a_killed_writer_that_nobody_waited_for_has_ended(tmp_path: Path, project: Path) -> None:
    command = [sys.executable, "-c", WRITE, str(tmp_path / "a.csv")]
    process = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    process.kill()
    stat = Path(f"/proc/{process.pid}/stat")
    until(lambda: not stat.exists() or sweep(tmp_path), "the writer's end")  # a zombie, and it stays one
    assert list(tmp_path.iterdir()) == []
    process.communicate()


def test_a_number_given_to_another_process_is_not_the_writer(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.csv") as temporary:
        temporary.write_text("x")
        head, pid, started = temporary.stem.rsplit("-", 2)
        earlier = temporary.with_name(f"{head}-{pid}-{int(started) - 1}.csv")
        earlier.write_text("x")
        assert sweep(tmp_path) == [earlier]


def test_files_of_other_machines_get_a_day(tmp_path: Path) -> None:
    fresh, old = tmp_path / ".a.00000000-1-1.h5", tmp_path / ".b.00000000-1-1.h5"
    for path in (fresh, old):
        path.write_text("x")
    os.utime(old, (time.time() - 90_000,) * 2)
    assert sweep(tmp_path) == [old]
    assert fresh.exists()


def test_folders_are_swept_as_a_whole(tmp_path: Path) -> None:
    mine = temporary_beside(tmp_path / "deep" / "shapes", "shapes", ".new")
    place, pid, started = mine.name.split(".")[2].split("-")
    left = mine.with_name(f".shapes.{place}-{pid}-{int(started) - 1}.new")
    for folder in (mine, left):
        folder.mkdir(parents=True)
        (folder / "a.ply").write_text("x")
    assert sweep(tmp_path) == [left]
    assert (mine / "a.ply").exists()
    assert not left.exists()


def test_other_errors_of_the_system_pass(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a"):
        (tmp_path / "absent").read_text()


def test_temporary_never_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a"):
        pass
