"""Files appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from occnet_lib.errors import DataError

_FULL = (errno.ENOSPC, errno.EDQUOT)
# HDF5 reports a full disk in its text only, and on closing a file as RuntimeError.
_FULL_TEXTS = tuple(os.strerror(code) for code in _FULL)


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; rename it to `path` if the body succeeds, else remove it.

    The temporary name has the suffix of `path` (writers that go by it work) and begins with a dot
    (no glob for results finds it). Missing folders are made.

    Raises:
        DataError: the disk is full or the folder cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
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


def _disk_is_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    return isinstance(error, OSError | RuntimeError) and any(text in str(error) for text in _FULL_TEXTS)
