"""Which split and which category a shape has: by lists, by `dataset.table`, by its layout, or drawn by its name."""

from __future__ import annotations

import csv
import io
import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from occnet_lib.config import Config
from occnet_lib.errors import DataError
from occnet_lib.seeds import unit_hash
from occnet_lib.storage.meshes.suffixes import known_suffix, stem
from occnet_lib.types import ShapeKey

from .layouts import SPLITS
from .listing import Place
from .names import file_name

logger = logging.getLogger(__name__)
_SPLIT_WORDS = {
    **{"train": "train", "training": "train", "test": "test", "testing": "test"},
    **{"val": "val", "valid": "val", "validation": "val"},
}


@dataclass(frozen=True)
class Table:
    """`dataset.table`.

    Attributes:
        category: by id; empty: the table has no such column.
        split: by id, likewise; a shape without one gets a drawn one.
        ids: every row's.
    """

    category: Mapping[str, str]
    split: Mapping[str, str]
    ids: Collection[str]


def read_table(path: Path) -> Table:
    """Read a table with a column `id` and one or both of `category` and `split`, separated by comma, semicolon or tab.

    Raises:
        DataError: it is missing, has other columns, an unknown split, or two rows for a shape that differ.
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


def _table(reader: Any, path: Path) -> Table:
    """The table that a `csv.reader` reads."""
    columns = [name.strip().lower() for name in next(reader, [])]
    if "id" not in columns or not {"category", "split"} & set(columns):
        raise DataError(
            f"the first line must name id and category or split, but is {', '.join(columns) or 'empty'}",
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
            raise DataError(f"line {reader.line_num}: {row['id']} has two rows that differ", path=path)
    by_column = {
        name: {id: row[name] for id, row in rows.items() if name in columns and row[name]}
        for name in ("category", "split")
    }
    return Table(by_column["category"], by_column["split"], rows.keys())


def table_of(config: Config, root: Path) -> Table | None:
    """The table of `dataset.table`, which is in the working directory or in `dataset.root`; None without one.

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


def by_table(table: Table, places: Iterable[Place]) -> tuple[list[Place], list[str]]:
    """The places that a table names, with its categories and splits, and what is to be said of the others.

    A row names a shape by its path, by `<category>/<name>` or by its name; a name may end in the suffix of its file.
    """
    ids = {(id[: -len(known_suffix(id))] if known_suffix(id) else id): id for id in table.ids}
    ids |= {id: id for id in table.ids}
    taken, unknown, used = [], [], set()
    for place in places:
        words = (place.path, stem(place.path), f"{place.category}/{place.name}", place.name)
        id = next((ids[word] for word in words if word in ids), None)
        if id is None:
            unknown.append(place.path)
            continue
        used.add(id)
        category, split = table.category.get(id, place.category), table.split.get(id, "")
        taken.append(replace(place, category=category, split=split or place.split))
    notes = []
    for shapes, what in (
        (set(table.ids) - used, "of its rows are not there"),
        (unknown, "shapes in no row left out"),
    ):
        if shapes:
            notes.append(f"dataset.table: {len(shapes)} {what}, as {min(shapes)}")
    return taken, notes


def read_lists(folder: Path) -> dict[str, str]:
    """Split by id from {train,val,test}.lst of a folder; empty if there are none.

    Raises:
        DataError: a list cannot be read, or a shape is in two of them.
    """
    split_of: dict[str, str] = {}
    for split in SPLITS:
        path = folder / f"{split}.lst"
        if not path.is_file():
            continue
        try:
            # Editors of Windows begin a file with a byte-order mark.
            lines = path.read_text(encoding="utf-8-sig", errors="surrogateescape").split("\n")
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror}", path=path) from error
        for line in filter(None, map(str.strip, lines)):
            shape = file_name(line)
            if split_of.setdefault(shape, split) != split:
                raise DataError(f"shape {line} is in {split_of[shape]}.lst and in {split}.lst", path=folder)
    return split_of


def split_shapes(
    config: Config, root: Path, places: Mapping[str, Place], has_table_splits: bool
) -> dict[str, str]:
    """Split by name, `<category>/<id>`, of the shapes that have one.

    In this order: the split of `dataset.table`, if it has any; lists in the folder where a shape lies, which leave
    out whom they do not name; the layout; a draw by the shape's name. Where a dataset's own splits are training and
    test alone, `dataset.split.val` of the training shapes become validation shapes.

    Args:
        config: `seed` and the section `dataset`.
        root: folder of the dataset.
        places: by name; their `split` is that of the table or of the layout.
        has_table_splits: whether the table has splits.

    Raises:
        DataError: as `read_lists`.
    """
    groups: dict[str, dict[str, Place]] = defaultdict(dict)
    for name, place in places.items():
        groups["" if has_table_splits else place.folder][name] = place
    splits: dict[str, str] = {}
    for folder, members in groups.items():
        listed = {} if has_table_splits else read_lists(root / folder)
        if listed:
            _warn_of_lists(root / folder, members, listed)
            own = {name: listed[id] for name in members if (id := name.split("/")[1]) in listed}
            has_validation = (root / folder / "val.lst").is_file()
        else:
            own = {name: place.split or drawn_split(config, name) for name, place in members.items()}
            has_validation = any(place.split in ("", "val") for place in members.values())
        splits |= own if has_validation else {n: _perhaps_validation(config, n, s) for n, s in own.items()}
    return splits


def _warn_of_lists(folder: Path, members: Collection[str], listed: Mapping[str, str]) -> None:
    there = {name.split("/")[1] for name in members}
    for shapes, what in (
        (listed.keys() - there, "listed but not there"),
        (there - listed.keys(), "in no list"),
    ):
        if shapes:
            logger.warning("%s: %d shapes %s left out, as %s", folder, len(shapes), what, min(shapes))


def _perhaps_validation(config: Config, name: str, split: str) -> str:
    drawn = split == "train" and unit_hash(config.seed, "validation", name) < config.dataset.split.val
    return "val" if drawn else split


def drawn_split(config: Config, name: str) -> str:
    """The split that a shape's name alone decides, with the fractions of `dataset.split`."""
    share, drawn = config.dataset.split, unit_hash(config.seed, "split", name)
    if drawn < share.test:
        return "test"
    return "val" if drawn < share.test + share.val else "train"


def limited(config: Config, keys: list[ShapeKey]) -> list[ShapeKey]:
    """At most `dataset.limit` of a category's, drawn by their names (the first ones are often alike)."""
    if not config.dataset.limit:
        return keys
    return sorted(keys, key=lambda key: unit_hash(config.seed, "limit", key.name))[: config.dataset.limit]


def with_shards(config: Config, keys: list[ShapeKey]) -> list[ShapeKey]:
    """Shards named `<split>-<number>`.

    There are 2^k of a split and a shape's is told by a hash of its name: a new shape moves no other,
    but where 2^k doubles, and then every shard is divided in two.
    """
    sizes: dict[str, int] = defaultdict(int)
    for key in keys:
        sizes[key.split] += 1
    counts = {
        split: 1 << (-(-size // config.dataset.shard_size) - 1).bit_length() for split, size in sizes.items()
    }
    return [replace(key, shard=f"{key.split}-{_shard(config, key, counts[key.split]):03d}") for key in keys]


def _shard(config: Config, key: ShapeKey, count: int) -> int:
    return int(unit_hash(config.seed, "shard", key.name) * count)
