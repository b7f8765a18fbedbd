"""Locks that end with the process that holds them, however it ends: nothing is ever to be unlocked by hand."""

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

_PAUSE = 1.0  # seconds until locks are tried again


def run_lock(folder: str | Path) -> IO[str]:
    """Take the results folder for one run; it is held until the returned file is closed or the process ends.

    Raises:
        OccnetError: another run has it.
    """
    path = Path(folder) / ".lock"
    file = _open(path)
    if not _try(file):
        with file:
            holder = _holder(file)
        raise OccnetError(
            f"in use by another run ({holder})",
            path=folder,
            hint="wait for it, end it, or work in a folder of your own: --config results=…",
        )
    _sign(file)
    return file


@contextlib.contextmanager
def job_lock(path: str | Path) -> Iterator[None]:
    """Hold the lock of one job; wait while a run that was killed has left the same job behind, still working.

    Such a job is on its way to the same result, most of which is then there to be kept.
    """
    with _open(Path(path)) as file:
        if not _try(file):
            logger.warning("waiting for the same job of an earlier run (%s)", _holder(file))
            fcntl.flock(file, fcntl.LOCK_EX)
        _sign(file)
        yield


@contextlib.contextmanager
def some_locks(paths: Sequence[Path], count: int, what: str) -> Iterator[list[int]]:
    """Hold `count` of several locks, the first that are free, by their numbers; wait while these are fewer.

    Args:
        paths: at least `count`.
        what: is waited for; for the log.
    """
    told = False
    while True:
        with contextlib.ExitStack() as stack:
            found: list[int] = []
            holders = []
            for number, path in enumerate(paths):
                if len(found) == count:
                    break
                file = stack.enter_context(_open(path))
                if _try(file):
                    _sign(file)
                    found.append(number)
                else:
                    holders.append(_holder(file))
            if len(found) == count:
                yield found
                return
            if not told:
                logger.warning("waiting for %s (%s)", what, ", ".join(holders))
                told = True
        time.sleep(_PAUSE)


def _open(path: Path) -> IO[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    # In a folder that others write to, a link of theirs is not followed.
    return open(
        path, "a+", encoding="utf-8", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW, 0o666)
    )


def _try(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # some network file systems know no locks
        logger.warning("%s: this file system has no locks (%s); start one run at a time", file.name, error)
    return True


def _holder(file: IO[str]) -> str:
    file.seek(0)
    return file.read().strip() or "it does not say which"


def _sign(file: IO[str]) -> None:
    """Say whose the lock is; a courtesy, without which a lock on a full disk holds all the same."""
    os.truncate(file.fileno(), 0)
    name = f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%d %b %H:%M')}"
    with contextlib.suppress(OSError):
        os.write(file.fileno(), name.encode())
