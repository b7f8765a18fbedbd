"""Splits and shards: the files that define categories and splits (`dataset.table`, {train,val,test}.lst), and policy."""

from __future__ import annotations

import csv
import io
import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from occnet_lib.config import Config
from occnet_lib.errors import DataError
from occnet_lib.seeds import unit_hash
from occnet_lib.storage.meshes.suffixes import known_suffix, stem
from occnet_lib.types import ShapeKey

from .layouts import SPLITS
from .listing import ShapeLocation, file_name

_SPLIT_WORDS = {
    **{"train": "train", "training": "train", "test": "test", "testing": "test"},
    **{"val": "val", "valid": "val", "validation": "val"},
}


SplitTable = dict[str, dict[str, str]]
"""Rows of `dataset.table` by id: `category` and `split`, empty where the table does not define them; a shape without a split
gets a random one."""


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
    rows: SplitTable = {}
    for values in filter(None, reader):
        row = dict(zip(columns, map(str.strip, values), strict=False))
        id, word = row.get("id", ""), row.get("split", "").lower()
        if word and word not in _SPLIT_WORDS:
            text = f"line {reader.line_num}: split {row['split']!r} is not one of train, val, test"
            raise DataError(text, path=path)
        row = {"category": row.get("category", ""), "split": _SPLIT_WORDS.get(word, "")}
        if rows.setdefault(id, row) != row:
            raise DataError(f"line {reader.line_num}: {id} has two different rows", path=path)
    return rows


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
    ids = {(id[: -len(known_suffix(id))] if known_suffix(id) else id): id for id in table}
    ids |= {id: id for id in table}
    selected, unlisted, used = [], [], set()
    for location in locations:
        words = (location.path, stem(location.path), f"{location.category}/{location.name}", location.name)
        id = next((ids[word] for word in words if word in ids), None)
        if id is None:
            unlisted.append(location.path)
            continue
        used.add(id)
        category, split = table[id]["category"] or location.category, table[id]["split"] or location.split
        selected.append(replace(location, category=category, split=split))
    notes = []
    for shapes, what in (
        (table.keys() - used, "of its rows have no shape"),
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


logger = logging.getLogger(__name__)


def assign_splits(
    config: Config, root: Path, locations: Mapping[str, ShapeLocation], has_table_splits: bool
) -> dict[str, str]:
    """Split by name, `<category>/<id>`, of the shapes to use.

    In order of precedence: `dataset.table`, if it has splits; lists in the folder of the shape, which exclude shapes
    that they do not list; the layout; a random split by the name of the shape. If the dataset defines training and test
    splits only, the fraction `dataset.split.val` of the training shapes becomes the validation split.

    Args:
        config: `seed` and the section `dataset`.
        root: folder of the dataset.
        locations: by name; `split` is that of the table or of the layout.
        has_table_splits: whether `dataset.table` has splits.

    Raises:
        DataError: as `read_lists`.
    """
    groups: dict[str, dict[str, ShapeLocation]] = defaultdict(dict)
    for name, location in locations.items():
        groups["" if has_table_splits else location.folder][name] = location
    splits: dict[str, str] = {}
    for folder, members in groups.items():
        listed = {} if has_table_splits else read_lists(root / folder)
        if listed:
            _warn_of_lists(root / folder, members, listed)
            own = {name: listed[id] for name in members if (id := name.split("/")[1]) in listed}
            has_validation = (root / folder / "val.lst").is_file()
        else:
            own = {name: location.split or random_split(config, name) for name, location in members.items()}
            has_validation = any(location.split in ("", "val") for location in members.values())
        splits |= own if has_validation else {n: _maybe_validation(config, n, s) for n, s in own.items()}
    return splits


def _warn_of_lists(folder: Path, members: Collection[str], listed: Mapping[str, str]) -> None:
    there = {name.split("/")[1] for name in members}
    for shapes, what in (
        (listed.keys() - there, "are listed but missing"),
        (there - listed.keys(), "in no list skipped"),
    ):
        if shapes:
            logger.warning("%s: %d shapes %s, e.g. %s", folder, len(shapes), what, min(shapes))


def _maybe_validation(config: Config, name: str, split: str) -> str:
    drawn = split == "train" and unit_hash(config.seed, "validation", name) < config.dataset.split.val
    return "val" if drawn else split


def random_split(config: Config, name: str) -> str:
    """A random split that depends on seed and name only, with the fractions of `dataset.split`."""
    fractions, drawn = config.dataset.split, unit_hash(config.seed, "split", name)
    if drawn < fractions.test:
        return "test"
    return "val" if drawn < fractions.test + fractions.val else "train"


def apply_limit(config: Config, keys: list[ShapeKey]) -> list[ShapeKey]:
    """At most `dataset.limit` shapes of a category, selected by a hash of their names: the first ones are often similar."""
    if not config.dataset.limit:
        return keys
    return sorted(keys, key=lambda key: unit_hash(config.seed, "limit", key.name))[: config.dataset.limit]


def assign_shards(config: Config, keys: list[ShapeKey]) -> list[ShapeKey]:
    """Assign shards, named `<split>-<number>`.

    A split has 2^k shards, and a hash of the name determines the shard of a shape. A new shape moves no other shape,
    unless 2^k doubles, which divides every shard in two.
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
