"""Atomic writes, and removal of the temporary files of killed processes.

A writer is identified by its start time in clock ticks, read from /proc: psutil converts it to wall time, which changes
when the clock is set.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from occnet_lib.errors import DataError

_FULL = (errno.ENOSPC, errno.EDQUOT)
# HDF5 reports a full disk only in the text of the error, and as RuntimeError when it closes a file.
_FULL_TEXTS = tuple(os.strerror(code) for code in _FULL)


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; rename it to `path` if the body succeeds, otherwise remove it.

    The temporary name has the suffix of `path`, which some writers depend on, begins with a dot, so that no glob for
    results matches it, and identifies the process, so that `sweep` can remove it if the process is killed. Missing
    folders are created.

    Raises:
        DataError: the disk is full, or the folder or file cannot be written.
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
            hint = "free space, or set results=… to a folder on another disk"
            raise DataError("No space left on its disk", path=path, hint=hint) from error
        if is_read_only(error):
            raise DataError("the folder is not writable", path=path.parent, hint="set results=…") from error
        if isinstance(error, OSError) and not error.filename2 and _names(error, temporary, path.parent):
            reason = (
                error.strerror or str(error)
            ).lower()  # a file in place of a folder, a name too long, /proc
            raise DataError(f"cannot be written ({reason})", path=path) from error
        raise


def check_folder(folder: str | Path) -> None:
    """Create a folder for results, and refuse one in which no file can be written.

    Raises:
        DataError: it is a file, cannot be created or is not writable.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = "is a file" if Path(folder).is_file() else (error.strerror or str(error)).lower()
        raise DataError(
            f"cannot be a folder of results: {reason}", path=folder, hint="name another folder"
        ) from error


def write_bytes(path: str | Path, data: bytes | memoryview) -> None:
    """Write a file atomically; raises as `replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | Path, text: str, errors: str = "strict") -> None:
    """Write a text file (UTF-8), atomically; raises as `replacing`. `errors`: what becomes of invalid Unicode."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=errors)


def temporary_beside(path: Path, stem: str, suffix: str) -> Path:
    """A hidden name beside `path`, `.<stem>.<process><suffix>`, by which `sweep` identifies the writer."""
    return path.with_name(f".{stem}.{_host()}-{os.getpid()}-{_started(os.getpid())}{suffix}")


def sweep(folder: str | Path, max_age: float = 86_400.0) -> list[Path]:
    """Remove the temporary files and folders of dead processes below a folder.

    Safe while other processes write. Files of this machine are removed if their process is not running; its start time
    is part of the name, so a new process with the same number is not mistaken for it. Files of other machines and
    containers, or from before a reboot, are removed if they are older than `max_age` seconds.

    Returns:
        the removed paths.
    """
    removed = []
    for root, folders, files in os.walk(folder):
        for match in filter(None, map(_TEMPORARY.fullmatch, [*folders, *files])):
            host, pid, started = match.groups()
            path = Path(root, match.string)
            with contextlib.suppress(FileNotFoundError):  # renamed or removed in the meantime
                if _started(int(pid)) == started if host == _host() else _age(path) < max_age:
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
def _host() -> str:
    """Identifier of the process number space: this machine since its boot, or this container."""
    words = [socket.gethostname()]
    with contextlib.suppress(OSError):
        words.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        words.append(str(os.stat("/proc/self/ns/pid").st_ino))
    return hashlib.blake2b("\0".join(words).encode(), digest_size=4).hexdigest()


def _started(pid: int) -> str:
    """Start time of a process in clock ticks; "0" if the system does not provide it, "" if the process has ended."""
    if not os.path.exists("/proc/self/stat"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 0)
            return "0"
        return ""
    try:
        # proc(5): state is the third.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def _age(path: Path) -> float:
    return time.time() - path.stat().st_mtime


def is_read_only(error: BaseException) -> bool:
    """Whether an error is of a file or file system without write permission (EROFS is not a PermissionError)."""
    return isinstance(error, PermissionError) or (isinstance(error, OSError) and error.errno == errno.EROFS)


def _names(error: OSError, *paths: Path) -> bool:
    return error.filename is not None and str(error.filename) in map(str, paths)


def _disk_is_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    return isinstance(error, OSError | RuntimeError) and any(text in str(error) for text in _FULL_TEXTS)
