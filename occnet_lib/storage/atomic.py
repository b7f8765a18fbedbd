"""Files appear whole or not at all, and what a kill leaves behind is found."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from occnet_lib.errors import DataError

_FULL = (errno.ENOSPC, errno.EDQUOT)
# HDF5 reports a full disk in its text only, and on closing a file as RuntimeError.
_FULL_TEXTS = tuple(os.strerror(code) for code in _FULL)


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; rename it to `path` if the body succeeds, else remove it.

    The temporary name has the suffix of `path` (writers that go by it work), begins with a dot (no glob for results
    finds it) and tells whose it is, so that `sweep` can remove what a killed process left. Missing folders are made.

    Raises:
        DataError: the disk is full or the folder cannot be written.
    """
    path = Path(path)
    temporary = temporary_beside(path, path.stem, path.suffix)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if _disk_is_full(error):
            hint = "free some, or set results=… to a folder on another disk"
            raise DataError("No space left on its disk", path=path, hint=hint) from error
        if isinstance(error, PermissionError):
            raise DataError("the folder cannot be written", path=path.parent, hint="set results=…") from error
        raise


def temporary_beside(path: Path, stem: str, suffix: str) -> Path:
    """A hidden name beside `path`, `.<stem>.<whose><suffix>`, by which `sweep` knows the writer."""
    return path.with_name(f".{stem}.{_place()}-{os.getpid()}-{_started(os.getpid())}{suffix}")


def sweep(folder: str | Path, patience: float = 86_400.0) -> list[Path]:
    """Remove the temporary files and folders below a folder whose writers are gone.

    Safe while others write: what is of this machine is removed only if the process in its name is not running (nor
    another one that got its number since: the time of its start is in the name, too); what is of another machine, of
    this one before it started again, or of another container only when it is older than `patience` seconds.

    Returns:
        what was removed.
    """
    removed = []
    for root, folders, files in os.walk(folder):
        for match in filter(None, map(_TEMPORARY.fullmatch, [*folders, *files])):
            place, pid, started = match.groups()
            path = Path(root, match.string)
            with contextlib.suppress(FileNotFoundError):  # finished in the meantime
                if _started(int(pid)) == started if place == _place() else _age(path) < patience:
                    continue
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()
                removed.append(path)
        folders[:] = [name for name in folders if not _TEMPORARY.fullmatch(name)]
    return removed


_TEMPORARY = re.compile(r"\..+\.([0-9a-f]{8})-(\d+)-(\d+)(?:\.[^.]*)?")


@functools.cache
def _place() -> str:
    """A name for where the numbers of processes mean what they do here: this machine since its start, or container."""
    words = [socket.gethostname()]
    with contextlib.suppress(OSError):
        words.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        words.append(str(os.stat("/proc/self/ns/pid").st_ino))
    return hashlib.blake2b("\0".join(words).encode(), digest_size=4).hexdigest()


def _started(pid: int) -> str:
    """When a process started, in clock ticks of the system; 0 where the system does not tell, empty if it has ended."""
    if not os.path.exists("/proc/self/stat"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 0)
            return "0"
        return ""
    try:
        fields = (
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        )  # proc(5): state is the third
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def _age(path: Path) -> float:
    return time.time() - path.stat().st_mtime


def _disk_is_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    return isinstance(error, OSError | RuntimeError) and any(text in str(error) for text in _FULL_TEXTS)
