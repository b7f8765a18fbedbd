"""Runs of values out of large datasets, without h5py's 0.1 ms a call."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray


class _Place(NamedTuple):
    """Where a dataset lies in its file."""

    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


class Windows:
    """Reads from an open file; datasets that lie in it in one piece by the operating system's own call.

    Args:
        file: open for reading, and open as long as this is used.
    """

    def __init__(self, file: h5py.File) -> None:
        self._file, self._places = file, {name: _place(item) for name, item in file.items()}
        self._descriptor = int(file.id.get_vfd_handle())

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def read(self, name: str, row: int | None, start: int, stop: int) -> NDArray[Any]:
        """`dataset[row, start:stop]`, or `dataset[start:stop]` where there are no rows.

        Raises:
            KeyError: no such dataset.
            OSError: the file is cut short.
        """
        place = self._places[name]
        if place is None:
            dataset = self._file[name]
            values: NDArray[Any] = dataset[start:stop] if row is None else dataset[row, start:stop]
            return values
        inner = place.shape[1:] if row is None else place.shape[2:]
        size = place.dtype.itemsize * int(np.prod(inner, dtype=np.int64))
        first = start if row is None else row * place.shape[1] + start
        data = bytearray(size * (stop - start))
        if os.preadv(self._descriptor, [data], place.offset + first * size) < len(data):
            raise OSError(f"{name} is cut short")
        return np.frombuffer(data, place.dtype).reshape(stop - start, *inner)


def _place(item: Any) -> _Place | None:
    """None for what is no dataset, or compressed, or not yet there."""
    if not isinstance(item, h5py.Dataset) or item.chunks is not None or item.dtype.kind not in "fiub":
        return None
    offset = item.id.get_offset()
    return None if offset is None else _Place(int(offset), item.dtype, item.shape)
