"""NPZ files as `numpy.savez` writes them, but of the same bytes whenever they are written."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import DataError
from occnet_lib.storage.atomic import replacing


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
        DataError: the file is missing or broken, lacks a name or has another one.
    """
    try:
        # Opened here, since numpy leaves a broken file open.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        raise DataError("no such file", path=path) from error
    except Exception as error:  # a broken zip or npy raises anything
        raise DataError(f"not readable as an NPZ file: {error}", path=path) from error
    if names is not None:
        exactly(arrays, names, path)
    return arrays


def exactly(found: Iterable[str], names: Iterable[str], path: Path) -> None:
    """Raise where what is found is not what was expected.

    Raises:
        DataError: lists what is missing and what is left over.
    """
    there, expected = list(found), list(names)
    missing = [name for name in expected if name not in there]
    left_over = [name for name in there if name not in expected]
    if complaints := [
        *([f"lacks {', '.join(missing)}"] if missing else []),
        *([f"has {', '.join(left_over)} left over"] if left_over else []),
    ]:
        raise DataError(" and ".join(complaints), path=path)
