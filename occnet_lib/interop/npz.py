"""NPZ files, written atomically and read with checks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import DataError
from occnet_lib.storage.atomic import replacing

Arrays = dict[str, NDArray[Any]]
"""Arrays of a file, by name."""


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays, uncompressed and in their order, atomically. Equal arrays make equal bytes."""
    with replacing(path) as temporary, temporary.open("wb") as file:  # by its name, savez would add a suffix
        np.savez(file, **arrays)  # type: ignore[arg-type]  # of its keyword `allow_pickle`


def read_npz(path: Path, names: Iterable[str] | None = None) -> Arrays:
    """All arrays of a file, by name.

    Args:
        path: the file.
        names: the names that the file must have; None: any.

    Raises:
        DataError: the file is missing or damaged, or has other names.
    """
    try:
        # Opened here because numpy does not close a damaged file.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        raise DataError("no such file", path=path) from error
    except Exception as error:  # a damaged zip or npy raises any exception
        raise DataError(f"not readable as an NPZ file: {error}", path=path) from error
    if names is not None:
        require_names(arrays, names, path)
    return arrays


def require_names(names: Iterable[str], expected: Iterable[str], path: Path) -> None:
    """Check that a file has exactly the expected names.

    Raises:
        DataError: lists the missing and the unexpected names.
    """
    names, expected = list(names), list(expected)
    differences = {
        "missing": [name for name in expected if name not in names],
        "unexpected": [name for name in names if name not in expected],
    }
    if any(differences.values()):
        texts = (f"{word}: {', '.join(these)}" for word, these in differences.items() if these)
        raise DataError("; ".join(texts), path=path)
