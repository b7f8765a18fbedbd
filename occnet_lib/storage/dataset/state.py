"""The state of a dataset as one short text, which decides whether its catalogue is made again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from occnet_lib.config import Config, digest
from occnet_lib.errors import DataError
from occnet_lib.storage.atomic import replacing
from occnet_lib.types import ShapeKey

from . import sources
from .catalogue import read_table


def dataset_state(config: Config, keys: Sequence[ShapeKey]) -> str:
    """The state of the dataset: which shapes it has, and their `sources.signatures`.

    Where the catalogue would be the same, as nothing but a few dates have changed since it was made, it is the state
    that the catalogue was made of.

    Args:
        config: `seed`, `results` and the section `dataset`.
        keys: all shapes of the dataset (`interop.conversion.shapes_of`).
    """
    root = Path(config.dataset_root)
    now = sources.signatures(root, keys, config.results)
    folder = catalogue_folder(config)
    if _is_listed(folder, keys) and sources.is_unchanged(
        folder / "sources.csv", root, keys, now, lambda: made_of(config)
    ):
        return (folder / "state").read_text(encoding="utf-8").strip()
    return digest([(key.name, key.path, key.split, now[key.name]) for key in keys])


def write_state(config: Config, keys: Sequence[ShapeKey], state: str) -> tuple[int, int]:
    """Write down the state that the catalogue is made of, and that of every shape; returns as `sources.update`."""
    folder, root = catalogue_folder(config), Path(config.dataset_root)
    counts = sources.update(folder / "sources.csv", root, keys, lambda: made_of(config), config.results)
    with replacing(folder / "state") as temporary:
        temporary.write_text(state + "\n", encoding="utf-8")
    return counts


def catalogue_folder(config: Config) -> Path:
    """Where the catalogue and what belongs to it are."""
    return Path(config.results) / "catalogue"


def made_of(config: Config) -> dict[str, str]:
    """The digest of what each shape was last made of."""
    return sources.digests_of((Path(config.results) / "preprocess" / "shards").glob("*.csv"))


def _is_listed(folder: Path, keys: Sequence[ShapeKey]) -> bool:
    """Whether there is a catalogue with its state, and lists just these shapes."""
    try:
        return (folder / "state").is_file() and read_table(folder / "shapes.csv") == list(keys)
    except DataError:
        return False
