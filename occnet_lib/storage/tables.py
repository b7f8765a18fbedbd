"""CSV tables of rows with named columns."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from occnet_lib.errors import DataError

from .atomic import replacing

# Tables contain file names, which need not be UTF-8.
TEXT: dict[str, Any] = {"newline": "", "encoding": "utf-8", "errors": "surrogateescape"}


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]], columns: Iterable[str] = ()) -> None:
    """Write rows, atomically. The columns are `columns`, then all other keys of the rows in order of appearance."""
    rows = list(rows)
    names = dict.fromkeys(columns) | dict.fromkeys(key for row in rows for key in row)
    # Python before 3.13 does not quote a carriage return, and then cannot read it.
    texts = (value for row in rows for value in row.values() if isinstance(value, str))
    quoting: Literal[0, 1] = csv.QUOTE_ALL if any("\r" in text for text in texts) else csv.QUOTE_MINIMAL
    with replacing(path) as temporary, temporary.open("w", **TEXT) as file:
        writer = csv.DictWriter(file, list(names), lineterminator="\n", quoting=quoting)
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
