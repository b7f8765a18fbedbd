"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from occnet_lib.errors import DataError
from occnet_lib.storage.atomic import replacing


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
    with pytest.raises(DataError, match=r"No space left .*\(free some") as caught, replacing(tmp_path / "a"):
        raise error
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_full_device_for_real(tmp_path: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    full = Path("/dev/full")
    with pytest.raises(DataError, match="No space left"), replacing(tmp_path / "a"):
        full.write_text("x")


def test_other_errors_of_the_system_pass(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a"):
        (tmp_path / "absent").read_text()


def test_temporary_never_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a"):
        pass
