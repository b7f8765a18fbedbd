"""An open pack file, which survives pickling and forks; fast reads, and a limit on the number of open files."""

from __future__ import annotations

import os
import resource
import threading
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from occnet_lib.storage import hdf5

MAX_OPEN = 1024  # an open pack file takes 0.7 MB of memory


class _Extent(NamedTuple):
    """The position of a contiguous dataset in its file."""

    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


class ContiguousReader:
    """Reads runs of values from an open HDF5 file; contiguous datasets by one system call.

    Own code in place of np.memmap: a run of 12 kB takes 5 µs from the page cache against 1 µs, but random runs of a file
    that is not cached read 37 times less from the disk, as memmap reads ahead, and a truncated file is an error, not SIGBUS.

    Args:
        file: open for reading; must stay open while the reader is used.
    """

    def __init__(self, file: h5py.File) -> None:
        self._file, self._extents = file, {name: _extent(item) for name, item in file.items()}
        self._descriptor = int(file.id.get_vfd_handle())

    def __contains__(self, name: str) -> bool:
        return name in self._extents

    def read(self, name: str, row: int | None, start: int, stop: int) -> NDArray[Any]:
        """`dataset[row, start:stop]`, or `dataset[start:stop]` if `row` is None.

        Raises:
            KeyError: the file has no such dataset.
            OSError: the file is truncated.
        """
        extent = self._extents[name]
        if extent is None:
            dataset = self._file[name]
            values: NDArray[Any] = dataset[start:stop] if row is None else dataset[row, start:stop]
            return values
        inner = extent.shape[1:] if row is None else extent.shape[2:]
        size = extent.dtype.itemsize * int(np.prod(inner, dtype=np.int64))
        first = start if row is None else row * extent.shape[1] + start
        data = bytearray(size * (stop - start))
        if os.preadv(self._descriptor, [data], extent.offset + first * size) < len(data):
            raise OSError(f"{name} is truncated")
        return np.frombuffer(data, extent.dtype).reshape(stop - start, *inner)


def _extent(item: Any) -> _Extent | None:
    """The extent of a dataset; None for groups and for compressed, unallocated or non-numeric datasets."""
    if not isinstance(item, h5py.Dataset) or item.chunks is not None or item.dtype.kind not in "fiub":
        return None
    offset = item.id.get_offset()
    return None if offset is None else _Extent(int(offset), item.dtype, item.shape)


def limit() -> int:
    """Maximum number of open files: half of `ulimit -n`; the rest is for other code."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(MAX_OPEN, allowed // 2)) if allowed != resource.RLIM_INFINITY else MAX_OPEN


def raise_limit() -> None:
    """Raise the soft limit of open files, as far as the hard limit allows, to what `MAX_OPEN` needs."""
    allowed, granted = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MAX_OPEN if granted == resource.RLIM_INFINITY else min(2 * MAX_OPEN, granted)
    if allowed != resource.RLIM_INFINITY and allowed < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, granted))


class OpenFiles:
    """The open files of a process; beyond the limit, the least recently used are closed.

    A file that is being read stays open. Safe in threads and across forks: a child process has its own state.
    """

    def __init__(self) -> None:
        self._inherited: list[PackFile] = []
        self._reset()
        os.register_at_fork(after_in_child=self._after_fork)

    def _reset(self) -> None:
        self._lock = threading.RLock()
        # Number of readers of each file, least recently used first. Weak: a file that is no longer referenced closes.
        self._readers: weakref.WeakKeyDictionary[PackFile, int] = weakref.WeakKeyDictionary()

    def _after_fork(self) -> None:
        self._inherited = list(self._readers)
        self._reset()  # another thread may have held the parent's lock

    @contextmanager
    def holding(self, owner: PackFile) -> Iterator[None]:
        """Keep the file of `owner` open during the body."""
        with self._lock:
            while self._inherited:
                self._inherited.pop().close_file()
            readers = self._readers.pop(owner, 0)
            if readers == 0 and len(self._readers) >= limit():
                raise_limit()
                self._close_some(len(self._readers) + 1 - limit())
            owner.open_file()
            self._readers[owner] = readers + 1
        try:
            yield
        finally:
            with self._lock:
                if owner in self._readers:  # not in a child process that was forked during the body
                    self._readers[owner] -= 1

    def close(self, owner: PackFile) -> None:
        """Close the file of `owner`, which has no readers."""
        with self._lock:
            self._readers.pop(owner, None)
            owner.close_file()

    def _close_some(self, count: int) -> None:
        idle = (owner for owner, readers in self._readers.items() if readers == 0)
        for owner in list(islice(idle, max(0, count))):
            self.close(owner)


_OPEN_FILES = OpenFiles()


class PackFile:
    """A pack file, opened on first use in every process, so it can be pickled, forked and passed to spawned workers.

    The lock of h5py makes it safe in threads. Of very many files the least recently read are closed until they are read
    again (2 ms; `OpenFiles`).

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
