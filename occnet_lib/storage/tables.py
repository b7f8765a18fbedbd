"""CSV tables of rows with named columns."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from occnet_lib.errors import DataError

from .atomic import replacing

# Tables contain file names, which need not be UTF-8.
TEXT: dict[str, Any] = {"newline": "", "encoding": "utf-8", "errors": "surrogateescape"}


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]], columns: Iterable[str] = ()) -> None:
    """Write rows, atomically. The columns are `columns`, then all other keys of the rows in order of appearance."""
    rows = list(rows)
    names = dict.fromkeys(columns) | dict.fromkeys(key for row in rows for key in row)
    with replacing(path) as temporary, temporary.open("w", **TEXT) as file:
        writer = csv.DictWriter(file, list(names), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def shape_name(row: Mapping[str, Any]) -> str:
    """`<category>/<id>` of the row of a shape; the id alone where it has no category."""
    return f"{row['category']}/{row['id']}" if row["category"] else str(row["id"])


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table, values as text.

    Raises:
        DataError: the file is missing or not a table.
    """
    try:
        with Path(path).open(**TEXT) as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot be read as a table: {error}", path=path) from None
