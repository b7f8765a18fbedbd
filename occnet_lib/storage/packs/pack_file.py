"""An open pack file, which survives pickling and forks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
from numpy.typing import NDArray

from occnet_lib.storage import hdf5

from .contiguous import ContiguousReader
from .open_files import OpenFiles

_OPEN_FILES = OpenFiles()


class PackFile:
    """A pack file, opened on first use in every process, so it can be pickled, forked and passed to spawned workers.

    The lock of h5py makes it safe in threads. Of very many files the least recently read are closed until they are read
    again (2 ms; `storage.packs.open_files`).

    Args:
        path: the file.
        schema_version, datasets: what it must have.
    """

    def __init__(self, path: str | Path, schema_version: int, datasets: Iterable[str]) -> None:
        self.path = Path(path)
        self._required = schema_version, tuple(datasets)
        self._file: h5py.File | None = None
        self._contiguous: ContiguousReader | None = None
        self._pid = -1

    def __getstate__(self) -> dict[str, Any]:
        closed = {"_file": None, "_contiguous": None, "_pid": -1}
        return {"path": self.path, "_required": self._required, **closed}

    def close(self) -> None:
        """Close the file; the next read opens it again."""
        _OPEN_FILES.close(self)

    def open_file(self) -> None:
        """Open the file unless it is open in this process. Called by `OpenFiles`."""
        if self._file is None or self._pid != os.getpid():
            self._file = hdf5.open_checked(self.path, *self._required)
            self._contiguous, self._pid = None, os.getpid()

    def close_file(self) -> None:
        """Close the file. Called by `OpenFiles`."""
        if self._file is not None and self._pid == os.getpid():
            self._file.close()
        self._file = self._contiguous = None

    def _read(self, name: str, row: int | None, start: int, stop: int) -> NDArray[Any]:
        """A run of values of a dataset. Called within `_reading`."""
        assert self._file is not None
        if self._contiguous is None:
            self._contiguous = ContiguousReader(self._file)
        return self._contiguous.read(name, row, start, stop)

    @contextmanager
    def _reading(self) -> Iterator[h5py.File]:
        with _OPEN_FILES.holding(self), hdf5.reading(self.path):
            assert self._file is not None
            yield self._file
