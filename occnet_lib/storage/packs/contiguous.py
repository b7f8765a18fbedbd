"""Reads of contiguous runs of values from large datasets, without the overhead of h5py.

Own code in place of np.memmap: a run of 12 kB takes 5 µs from the page cache against 1 µs, but random runs of a file that is
not cached read 37 times less from the disk, as memmap reads ahead, and a truncated file is an error, not SIGBUS.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray


class _Extent(NamedTuple):
    """The position of a contiguous dataset in its file."""

    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


class ContiguousReader:
    """Reads runs of values from an open HDF5 file; contiguous datasets by one system call.

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
