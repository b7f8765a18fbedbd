"""Policy: the split and the shard of each shape, and `dataset.limit`."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from occnet_lib.config import Config
from occnet_lib.seeds import unit_hash
from occnet_lib.types import ShapeKey

from .listing import ShapeLocation
from .split_tables import read_lists

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
