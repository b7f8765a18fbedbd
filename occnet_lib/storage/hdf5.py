"""What the HDF5 formats of shape and pack files have in common: opening, checksum, packed bits."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import DataError

_MARK = b"occnet "
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_REDO = "delete it and run its stage again"
_OURS = "packs are results/pack/*.h5, shape files results/preprocess/shapes/<category>/<id>.h5"
_OF_ANOTHER_KIND = 6  # datasets that a file lacks
# What h5py raises for damaged or unexpected files.
DAMAGE = (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError)


@contextlib.contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Convert the exceptions that h5py raises for damaged files to `DataError`."""
    try:
        yield
    except DAMAGE as error:
        raise DataError(f"corrupt file: {error}", path=path, hint=_REDO) from error


def open_file(path: str | Path, mode: Literal["r", "r+", "w", "a"] = "r", **options: Any) -> h5py.File:
    """Open a file without the lock of HDF5, which fails on file systems without flock.

    The lock is not needed: files are written under a temporary name, renamed, and never change afterwards.
    """
    return h5py.File(path, mode, locking=False, **options)


@contextlib.contextmanager
def creating(path: Path, **options: Any) -> Iterator[h5py.File]:
    """Create a file; a full disk raises one error.

    HDF5 buffers writes, so after a failed write every object of the file fails again when it is freed, some much
    later, and h5py prints each of these failures as an uncaught exception.
    """
    hook = sys.excepthook

    def quiet(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
        if trace is None or not trace.tb_frame.f_code.co_name.endswith("ObjectID._dealloc"):
            hook(kind, value, trace)

    sys.excepthook = quiet
    with open_file(path, "w", **options) as file:
        yield file
    sys.excepthook = hook  # not after an error: its traceback keeps objects of the file alive


# Size in bytes of the HDF5 user block, which precedes the HDF5 data and holds the checksum of all the rest.
USERBLOCK = 512


def write_checksum(file: BinaryIO) -> None:
    """Write the checksum of a complete file that was made with `userblock_size=USERBLOCK`."""
    text = _checksum_block(file)
    file.seek(0)
    file.write(text)


def verify_checksum(path: str | Path) -> None:
    """Read a file as a whole and compare it with its checksum, which detects damage to any byte.

    Raises:
        DataError: the file is missing, damaged or without a checksum.
    """
    try:
        with open(path, "rb") as file:
            written = file.read(USERBLOCK)
            if written == _checksum_block(file):
                return
            file.seek(USERBLOCK)
            is_hdf5 = _SIGNATURE in (written[: len(_SIGNATURE)], file.read(len(_SIGNATURE)))
    except FileNotFoundError:
        raise DataError("no such file", path=path, hint="run the stage that makes it") from None
    except OSError as error:
        raise DataError(f"corrupt file: {error}", path=path, hint=_REDO) from error
    damaged = written.startswith(_MARK)
    # After a crash of the machine a file of ours may be empty or zeros.
    if not damaged and not is_hdf5 and written.strip(b"\0"):
        raise DataError("is not an HDF5 file", path=path, hint=_OURS)
    message = (
        "corrupt file: its content does not match its checksum"
        if damaged
        else "of an earlier version or corrupt"
    )
    raise DataError(message, path=path, hint=_REDO)


def _checksum_block(file: BinaryIO) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    file.seek(USERBLOCK)
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return (_MARK + digest.hexdigest().encode() + b"\n").ljust(USERBLOCK, b"\0")


def open_checked(path: str | Path, schema_version: int, names: Iterable[str] = ()) -> h5py.File:
    """Open a shape or pack file for reading, without verifying its checksum.

    Args:
        path: the file.
        schema_version: the supported version.
        names: required datasets and groups.

    Raises:
        DataError: the file is missing, truncated, corrupt or of another schema version.
    """
    if not Path(path).is_file():
        raise DataError("no such file", path=path, hint="run the stage that makes it")
    with reading(path):
        file = open_file(path)
    try:
        with reading(path):
            version = file.attrs.get("schema_version")
            missing = [name for name in names if name not in file]
        if version != schema_version:
            written = "missing" if version is None else version
            raise DataError(f"schema version {written}, expected {schema_version}", path=path, hint=_REDO)
        if len(missing) >= _OF_ANOTHER_KIND:
            raise DataError(f"is a file of another kind: it has no {missing[0]}", path=path, hint=_OURS)
        if missing:
            raise DataError(f"corrupt file: {', '.join(missing)} missing", path=path, hint=_REDO)
    except DataError:
        file.close()
        raise
    return file


def pack_bits(values: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Eight booleans per byte, big-endian, of the flattened array (np.packbits, as in ONet's files)."""
    return np.packbits(np.ascontiguousarray(values).reshape(-1))


def unpack_bits(data: NDArray[np.uint8], count: int, start: int = 0) -> NDArray[np.bool_]:
    """The inverse of `pack_bits`: (count,) booleans from bit `start` on."""
    return np.unpackbits(data, count=start + count)[start:].view(np.bool_)
