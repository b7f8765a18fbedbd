"""NPZ files as `numpy.savez` writes them, but of the same bytes whenever they are written."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import DataError

from .atomic import replacing


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays, uncompressed and in their order, atomically.

    `numpy.savez` does the same but for the time in the file, which here is always the earliest there is.
    """
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as file:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            # numpy reserves room for large files' sizes, too.
            with file.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def read_npz(path: Path, names: Iterable[str] | None = None) -> dict[str, NDArray[Any]]:
    """Arrays of a file: those of the given names, or all.

    Raises:
        DataError: the file is missing or broken, or lacks a name.
    """
    try:
        # Opened here, since numpy leaves a broken file open.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            wanted = list(file.files if names is None else names)
            missing = [name for name in wanted if name not in file.files]
            if not missing:
                return {name: file[name] for name in wanted}
    except FileNotFoundError as error:
        raise DataError("no such file", path=path) from error
    except Exception as error:  # a broken zip or npy raises anything
        raise DataError(f"not readable as an NPZ file: {error}", path=path) from error
    raise DataError(f"lacks {', '.join(missing)}", path=path)
