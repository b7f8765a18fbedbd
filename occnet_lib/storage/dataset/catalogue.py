"""The catalogue: a table of all shapes of a dataset with their splits and shards."""

from __future__ import annotations

import csv
import logging
import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from occnet_lib.config import Config
from occnet_lib.errors import DataError
from occnet_lib.storage.meshes.suffixes import IMAGES
from occnet_lib.storage.tables import TEXT, write_rows
from occnet_lib.types import ShapeKey

from . import layouts
from .listing import Listing, ShapeLocation, file_name
from .splits import apply_limit, assign_shards, assign_splits, configured_table, select_by_table

logger = logging.getLogger(__name__)
COLUMNS = ("category", "id", "path", "split", "shard")


def scan(config: Config, root: str | Path, listing: Listing | None = None) -> list[ShapeKey]:
    """All shapes below a folder, sorted by name, with split and shard.

    A folder with several mesh files, none of them model.*, and a broken link are listed, so that they are reported as failed
    and not silently skipped.

    Args:
        config: `seed` and the section `dataset`.
        root: folder in one of `layouts.LAYOUTS`.
        listing: locations of the shapes; by default the mesh files of the folder.

    Returns:
        Keys whose `path` is relative to `root`.

    Raises:
        DataError: the folder is missing, has no shape in a known layout, lacks a requested category, or has an id twice.
    """
    root = Path(root)
    if root.is_file():
        raise DataError("is a file, not a folder", path=root, hint="give the folder of raw meshes")
    if not root.is_dir():
        raise DataError("no such folder", path=root, hint="set dataset=… to the folder of raw meshes")
    table = configured_table(config, root)
    if listing is None:
        wanted = () if table is not None else config.dataset.categories
        listing = layouts.find(root, wanted, named=table is not None, results=config.results)
    locations, notes = listing.locations, listing.warnings()
    if listing.modelnet and config.dataset.up == "y":
        notes.append("the meshes of ModelNet have z up; if these do, too, set dataset.up: z")
    if table is not None:
        locations, more = select_by_table(table, locations)
        notes += more
    only_images = not (table or locations or listing.deep or listing.skipped.keys() - {*IMAGES})
    if only_images and (count := layouts.count_images(root)):
        hint = (
            "occnet reconstruct makes meshes of photos, occnet import packs photos with their cameras for training "
            "(docs/how-to/adapt-to-photos.md); raw meshes: docs/datasets.md"
        )
        raise DataError("; ".join([f"no shapes, but {count} images", *notes]), path=root, hint=hint)
    if not locations:
        raise DataError("; ".join(["no shapes", *notes]), path=root, hint=f"supported: {layouts.LAYOUTS}")
    for note in notes:
        logger.warning("%s", note)
    by_name = _by_name(root, _wanted(root, locations, config.dataset.categories))
    splits = assign_splits(config, root, by_name, any(row["split"] for row in (table or {}).values()))
    by_category: dict[str, list[ShapeKey]] = defaultdict(list)
    for name, split in splits.items():
        category, id = name.split("/")
        by_category[category].append(ShapeKey(category, id, by_name[name].path, split))
    keys = [key for category in by_category.values() for key in apply_limit(config, category)]
    if not keys:
        raise DataError("no shape is in a list", path=root, hint="see the warnings above")
    return assign_shards(config, sorted(keys, key=lambda key: key.name))


def _wanted(root: Path, locations: list[ShapeLocation], categories: Iterable[str]) -> list[ShapeLocation]:
    """The locations of the requested categories; of all if none is requested."""
    wanted = set(categories)
    available = {location.category for location in locations}
    if missing := wanted - available - {file_name(name) for name in available}:
        hint = "available: " + ", ".join(sorted(available))
        raise DataError(f"no category {', '.join(sorted(missing))}", path=root, hint=hint)
    return [p for p in locations if not wanted or p.category in wanted or file_name(p.category) in wanted]


def _by_name(root: Path, locations: Iterable[ShapeLocation]) -> dict[str, ShapeLocation]:
    """Places by `<category>/<id>`."""
    by_name: dict[str, ShapeLocation] = {}
    for location in locations:
        id = file_name(location.name)
        other = by_name.setdefault(f"{file_name(location.category)}/{id}", location)
        if other is not location:
            first, second = (os.path.relpath(p.path, location.folder or ".") for p in (other, location))
            raise DataError(f"shape {id} occurs twice: {first} and {second}", path=root / location.folder)
    return by_name


def write_table(path: str | Path, keys: Iterable[ShapeKey]) -> None:
    """Write the catalogue as CSV, atomically."""
    write_rows(Path(path), map(vars, keys), COLUMNS)


def read_table(path: str | Path) -> list[ShapeKey]:
    """Read the catalogue.

    Raises:
        DataError: the file is missing or not a catalogue.
    """
    try:
        with open(path, **TEXT) as file:
            rows = list(csv.reader(file))
    except FileNotFoundError as error:
        raise DataError("no such file", path=path, hint="run the stage that makes it: catalogue") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot be read: {error}", path=path) from error
    if not rows or tuple(rows[0]) != COLUMNS:
        raise DataError(f"not a catalogue: the first line must be {','.join(COLUMNS)}", path=path)
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(COLUMNS):
            raise DataError(f"line {number} has {len(row)} columns instead of {len(COLUMNS)}", path=path)
    return [ShapeKey(*row) for row in rows[1:]]
