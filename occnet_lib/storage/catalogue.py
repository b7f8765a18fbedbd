"""Which shapes there are: finding them in a folder, dividing them into splits and shards."""

from __future__ import annotations

import csv
import hashlib
import logging
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from occnet_lib.config import Config
from occnet_lib.errors import DataError
from occnet_lib.records import ShapeKey
from occnet_lib.seeds import unit_hash

from .atomic import replacing
from .meshes import SUFFIXES, known_suffix
from .meshes.suffixes import stem
from .tables import TEXT

logger = logging.getLogger(__name__)
SPLITS = ("train", "val", "test")
COLUMNS = ("category", "id", "path", "split", "shard")
_LAYOUTS = (
    "<category>/<id>/models/model_normalized.obj (ShapeNetCore v2), <category>/<id>/model.obj (v1), "
    "<category>/<id>/<one mesh file>, <category>/<id>.<suffix>, with a suffix of " + " ".join(SUFFIXES)
)
_MODEL_STEMS = ("model_normalized", "model")
Finder = Callable[[Path], dict[str, str]]


def scan(config: Config, root: str | Path, find: Finder | None = None) -> list[ShapeKey]:
    """All shapes below a folder, sorted by name, with split and shard.

    A folder with several mesh files of which none is called model.* stays in the list, with the
    folder as its path, so that it is reported as failed instead of left out silently.

    Args:
        config: `seed` and the section `dataset`.
        root: folder with one folder a category.
        find: what a category's folder holds: path relative to it by id; by default mesh files.

    Returns:
        Keys whose `path` is relative to `root`.

    Raises:
        DataError: the folder is missing, holds no shape in a known layout, lacks a wanted category,
            or an id occurs twice.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError("no such folder", path=root, hint="set dataset=… to the folder of raw meshes")
    keys: list[ShapeKey] = []
    for folder in _category_folders(root, config.dataset.categories):
        category = file_name(folder.name)
        found = (find or _shapes_of)(folder)
        chosen = divided(config, category, found, read_lists(folder))
        keys += [replace(key, path=f"{folder.name}/{key.path}") for key in chosen]
    if not keys:
        raise DataError("no shapes found", path=root, hint=f"looked for {_LAYOUTS}")
    _refuse_single_category(root, keys)
    return with_shards(config, sorted(keys, key=lambda key: key.name))


def divided(
    config: Config, category: str, found: Mapping[str, str], listed: Mapping[str, str]
) -> list[ShapeKey]:
    """A category's shapes with their splits, as far as `dataset.limit` lets them in.

    Args:
        config: `seed` and the section `dataset`.
        category: its name.
        found: path by id.
        listed: split by id; empty: a shape's split is drawn by its name.
    """
    splits = _splits(config, category, found, listed)
    return _limited(config, [ShapeKey(category, i, found[i], split) for i, split in splits.items()])


def write_table(path: str | Path, keys: Iterable[ShapeKey]) -> None:
    """Write the catalogue as CSV, atomically."""
    with replacing(path) as temporary, temporary.open("w", **TEXT) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([getattr(key, column) for column in COLUMNS] for key in keys)


def read_table(path: str | Path) -> list[ShapeKey]:
    """Read the catalogue.

    Raises:
        DataError: the file is missing or is no catalogue.
    """
    try:
        with open(path, **TEXT) as file:
            rows = list(csv.reader(file))
    except FileNotFoundError as error:
        raise DataError("no such file", path=path, hint="run the stage that makes it: catalogue") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot be read: {error}", path=path) from error
    if not rows or tuple(rows[0]) != COLUMNS:
        raise DataError(f"no catalogue: the first line must be {','.join(COLUMNS)}", path=path)
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(COLUMNS):
            raise DataError(f"line {number} has {len(row)} columns instead of {len(COLUMNS)}", path=path)
    return [ShapeKey(*row) for row in rows[1:]]


def file_name(name: str) -> str:
    """A name that is safe in files, shells and workflow wildcards; most names are returned as they are.

    Other names lose their accents, get `_` for everything but ASCII letters, digits, `.`, `_`, `+`
    and `-`, and end in twelve hexadecimal digits of a hash of the name, so that they stay different.
    """
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,119}", name):
        return name
    ascii_only = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    cleaned = re.sub(r"[^A-Za-z0-9._+-]+", "_", ascii_only).lstrip(".-+")[:100]
    digest = hashlib.blake2b(os.fsencode(name), digest_size=6).hexdigest()
    return f"{cleaned or 'shape'}-{digest}"


def _category_folders(root: Path, wanted: Sequence[str]) -> list[Path]:
    there = sorted(
        Path(entry.path) for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith(".")
    )
    absent = set(wanted) - {folder.name for folder in there}
    if absent:
        hint = "there are: " + (", ".join(folder.name for folder in there) or "none")
        raise DataError(f"no category {', '.join(sorted(absent))}", path=root, hint=hint)
    return [folder for folder in there if not wanted or folder.name in wanted]


def _shapes_of(folder: Path) -> dict[str, str]:
    """Path relative to the category's folder by id."""
    files: dict[str, list[str]] = defaultdict(list)
    places: list[tuple[str, str]] = []
    without = 0
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        if not entry.is_dir():
            if known_suffix(entry.name):
                files[stem(entry.name)].append(entry.name)
        elif path := _mesh_in(entry):
            places.append((entry.name, path))
        else:
            without += 1
    ranked = {shape: _by_preference(names) for shape, names in files.items()}
    found: dict[str, str] = {}
    for name, path in [*places, *((shape, names[0]) for shape, names in ranked.items())]:
        if (shape := file_name(name)) in found:
            raise DataError(f"shape {shape} occurs twice: {found[shape]} and {path}", path=folder)
        found[shape] = path
    if without:
        logger.warning("%s: %d folders without a mesh file left out", folder, without)
    if several := [names for names in ranked.values() if len(names) > 1]:
        text = "%s: %d shapes are there in several files, of which the first is taken, as of %s"
        logger.warning(text, folder, len(several), ", ".join(several[0]))
    return found


def _mesh_in(shape: os.DirEntry[str]) -> str | None:
    """Path of a shape folder's mesh file, relative to the category's folder; None if there is none."""
    entries = {entry.name: entry for entry in os.scandir(shape.path)}
    meshes = _by_preference(entries)
    where = shape.name
    if not meshes and "models" in entries and entries["models"].is_dir():
        meshes = _by_preference(os.listdir(entries["models"].path))
        where = f"{shape.name}/models"
    if not meshes:
        return None
    clear = len(meshes) == 1 or stem(meshes[0]).lower() in _MODEL_STEMS
    return f"{where}/{meshes[0]}" if clear else where


def _by_preference(names: Iterable[str]) -> list[str]:
    """The mesh files among `names`, those called model.* first, then in the order of `SUFFIXES`."""

    def rank(name: str) -> tuple[int, int, str]:
        of = stem(name).lower()
        place = _MODEL_STEMS.index(of) if of in _MODEL_STEMS else len(_MODEL_STEMS)
        return place, SUFFIXES.index(known_suffix(name)), name

    return sorted((n for n in names if known_suffix(n) and not n.startswith(".")), key=rank)


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
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"cannot be read: {error}", path=path) from error
        for line in filter(None, map(str.strip, lines)):
            shape = file_name(line)
            if split_of.setdefault(shape, split) != split:
                raise DataError(f"shape {line} is in {split_of[shape]}.lst and in {split}.lst", path=folder)
    return split_of


def _splits(
    config: Config, category: str, found: Mapping[str, str], listed: Mapping[str, str]
) -> dict[str, str]:
    """Split by id, of the shapes that have one."""
    if not listed:
        return {shape: _drawn_split(config, f"{category}/{shape}") for shape in found}
    for shapes, what in (
        (listed.keys() - found, "listed but not there"),
        (found.keys() - listed, "in no list"),
    ):
        if shapes:
            example = min(shapes)
            logger.warning("%s: %d shapes %s left out, as %s", category, len(shapes), what, example)
    return {shape: listed[shape] for shape in found if shape in listed}


def _drawn_split(config: Config, name: str) -> str:
    share, drawn = config.dataset.split, unit_hash(config.seed, "split", name)
    if drawn < share.test:
        return "test"
    return "val" if drawn < share.test + share.val else "train"


def _limited(config: Config, keys: list[ShapeKey]) -> list[ShapeKey]:
    """At most `dataset.limit` of them, drawn by their names (the first ones are often alike)."""
    if not config.dataset.limit:
        return keys
    return sorted(keys, key=lambda key: unit_hash(config.seed, "limit", key.name))[: config.dataset.limit]


def _refuse_single_category(root: Path, keys: list[ShapeKey]) -> None:
    """Catch a folder of shapes that was given where a folder of categories belongs."""
    if all(key.id in _MODEL_STEMS or key.id == "models" for key in keys):
        hint = "one level more is needed: <category>/<id>/model.obj"
        raise DataError("the folders below look like shapes, not like categories", path=root, hint=hint)


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
