"""Readers of the files that define categories and splits: `dataset.table` and {train,val,test}.lst."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from occnet_lib.config import Config
from occnet_lib.errors import DataError
from occnet_lib.storage.meshes.suffixes import known_suffix, stem

from .layouts import SPLITS
from .listing import ShapeLocation
from .names import file_name

_SPLIT_WORDS = {
    **{"train": "train", "training": "train", "test": "test", "testing": "test"},
    **{"val": "val", "valid": "val", "validation": "val"},
}


@dataclass(frozen=True)
class SplitTable:
    """`dataset.table`.

    Attributes:
        category: by id; empty if the table has no such column.
        split: by id; empty if the table has no such column. A shape without a split gets a random one.
        ids: those of all rows.
    """

    category: Mapping[str, str]
    split: Mapping[str, str]
    ids: Collection[str]


def read_table(path: Path) -> SplitTable:
    """Read a table with a column `id` and one or both of `category` and `split`, separated by comma, semicolon or tab.

    Raises:
        DataError: the file is missing, has other columns, an unknown split, or different rows for one shape.
    """
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", path=path) from error
    header = text.partition("\n")[0].lower()
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        return _table(reader, path)
    except csv.Error as error:
        raise DataError(f"line {reader.line_num}: {error}", path=path) from error


def _table(reader: Any, path: Path) -> SplitTable:
    """The table that a `csv.reader` reads."""
    columns = [name.strip().lower() for name in next(reader, [])]
    if "id" not in columns or not {"category", "split"} & set(columns):
        raise DataError(
            f"the columns must be id and category, split or both, got {', '.join(columns) or 'none'}",
            path=path,
            hint="dataset.table: a CSV file with the columns id, category, split",
        )
    rows: dict[str, dict[str, str]] = {}
    for values in filter(None, reader):
        row = dict(zip(columns, map(str.strip, values), strict=False))
        row = {name: row.get(name, "") for name in ("id", "category", "split")}
        word = row["split"].lower()
        if word and word not in _SPLIT_WORDS:
            text = f"line {reader.line_num}: split {row['split']!r} is not one of train, val, test"
            raise DataError(text, path=path)
        row["split"] = _SPLIT_WORDS.get(word, "")
        if rows.setdefault(row["id"], row) != row:
            raise DataError(f"line {reader.line_num}: {row['id']} has two different rows", path=path)
    by_column = {
        name: {id: row[name] for id, row in rows.items() if name in columns and row[name]}
        for name in ("category", "split")
    }
    return SplitTable(by_column["category"], by_column["split"], rows.keys())


def configured_table(config: Config, root: Path) -> SplitTable | None:
    """The table `dataset.table`, from the working directory or `dataset.root`; None if it is not set.

    Raises:
        DataError: as `read_table`.
    """
    if not config.dataset.table:
        return None
    path = Path(config.dataset.table)
    if not path.is_file() and not (root / path).is_file():
        hint = f"dataset.table: looked here and in {root}"
        raise DataError("no such file", path=path, hint=hint)
    return read_table(path if path.is_file() else root / path)


def select_by_table(
    table: SplitTable, locations: Iterable[ShapeLocation]
) -> tuple[list[ShapeLocation], list[str]]:
    """The shapes that a table lists, with its categories and splits, and notes about the others.

    A row identifies a shape by its path, `<category>/<name>` or name, with or without the suffix of its file.
    """
    ids = {(id[: -len(known_suffix(id))] if known_suffix(id) else id): id for id in table.ids}
    ids |= {id: id for id in table.ids}
    selected, unlisted, used = [], [], set()
    for location in locations:
        words = (location.path, stem(location.path), f"{location.category}/{location.name}", location.name)
        id = next((ids[word] for word in words if word in ids), None)
        if id is None:
            unlisted.append(location.path)
            continue
        used.add(id)
        category, split = table.category.get(id, location.category), table.split.get(id, "")
        selected.append(replace(location, category=category, split=split or location.split))
    notes = []
    for shapes, what in (
        (set(table.ids) - used, "of its rows have no shape"),
        (unlisted, "shapes in no row skipped"),
    ):
        if shapes:
            notes.append(f"dataset.table: {len(shapes)} {what}, e.g. {min(shapes)}")
    return selected, notes


def read_lists(folder: Path) -> dict[str, str]:
    """Split by id from the lists {train,val,test}.lst of a folder; empty if it has none.

    Raises:
        DataError: a list cannot be read, or a shape is in two lists.
    """
    split_of: dict[str, str] = {}
    for split in SPLITS:
        path = folder / f"{split}.lst"
        if not path.is_file():
            continue
        try:
            # Windows editors add a byte-order mark.
            lines = path.read_text(encoding="utf-8-sig", errors="surrogateescape").split("\n")
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror}", path=path) from error
        for line in filter(None, map(str.strip, lines)):
            shape = file_name(line)
            if split_of.setdefault(shape, split) != split:
                raise DataError(f"shape {line} is in {split_of[shape]}.lst and in {split}.lst", path=folder)
    return split_of
