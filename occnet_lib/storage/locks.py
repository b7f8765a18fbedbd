"""Locks that end with their process, also if it is killed, so that no lock is ever removed by hand.

Own code in place of filelock: on file systems without flock, filelock falls back to lock files, which outlive a killed
process, and a lock here names its holder.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from occnet_lib.errors import OccnetError

logger = logging.getLogger(__name__)

_RETRY_INTERVAL = 1.0  # seconds


def run_lock(folder: str | Path) -> IO[str]:
    """Lock the results folder for one run, until the returned file is closed or the process ends.

    Raises:
        OccnetError: another run holds the lock, or the folder cannot be written.
    """
    path = Path(folder) / ".lock"
    try:
        file = _open(path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OccnetError(f"cannot be written: {reason}", path=folder, hint="set results=…") from None
    if not _try(file):
        with file:
            holder = _holder(file)
        raise OccnetError(
            f"in use by another run ({holder})",
            path=folder,
            hint="wait for it, stop it, or use another folder: --config results=…",
        )
    _write_holder(file)
    return file


@contextlib.contextmanager
def job_lock(path: str | Path) -> Iterator[None]:
    """Hold the lock of one job; wait while the same job of an earlier, killed run is still running.

    That job produces the same results, most of which can then be reused.
    """
    with _open(Path(path)) as file:
        if not _try(file):
            logger.warning("waiting for the same job of an earlier run (%s)", _holder(file))
            fcntl.flock(file, fcntl.LOCK_EX)
        _write_holder(file)
        yield


@contextlib.contextmanager
def some_locks(paths: Sequence[Path], count: int, what: str) -> Iterator[list[int]]:
    """Hold the first `count` free locks of several; wait until there are enough.

    Args:
        paths: the locks, at least `count`.
        count: number of locks to hold.
        what: name of the resource, for the log.

    Yields:
        indices of the held locks.
    """
    logged = False
    while True:
        with contextlib.ExitStack() as stack:
            held: list[int] = []
            holders = []
            for number, path in enumerate(paths):
                if len(held) == count:
                    break
                file = stack.enter_context(_open(path))
                if _try(file):
                    _write_holder(file)
                    held.append(number)
                else:
                    holders.append(_holder(file))
            if len(held) == count:
                yield held
                return
            if not logged:
                logger.warning("waiting for %s (%s)", what, ", ".join(holders))
                logged = True
        time.sleep(_RETRY_INTERVAL)


def _open(path: Path) -> IO[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    # A symbolic link in a folder that other users can write to is not followed.
    return open(
        path, "a+", encoding="utf-8", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW, 0o666)
    )


def _try(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # some network file systems do not support locks
        logger.warning(
            "%s: this file system does not support locks (%s); start one run at a time", file.name, error
        )
    return True


def _holder(file: IO[str]) -> str:
    file.seek(0)
    return file.read().strip() or "unknown process"


def _write_holder(file: IO[str]) -> None:
    """Write the holder into the lock file; not required for the lock, which also holds on a full disk."""
    os.truncate(file.fileno(), 0)
    name = f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%d %b %H:%M')}"
    with contextlib.suppress(OSError):
        os.write(file.fileno(), name.encode())
