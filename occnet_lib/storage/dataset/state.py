"""The state of a dataset as a short hash, which determines whether its catalogue is written again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from occnet_lib.config import Config, digest
from occnet_lib.errors import DataError
from occnet_lib.storage.atomic import write_text
from occnet_lib.types import ShapeKey

from . import sources
from .catalogue import read_table
from .signatures import signatures


def dataset_state(config: Config, keys: Sequence[ShapeKey]) -> str:
    """A hash of the shapes of a dataset and their `signatures`.

    If only a few dates have changed since the catalogue was written, so that it would be the same, the state it was
    written for.

    Args:
        config: `seed`, `results` and the section `dataset`.
        keys: all shapes of the dataset (`interop.conversion.shapes_of`).
    """
    root = Path(config.dataset_root)
    now = signatures(root, keys, config.results)
    folder = catalogue_folder(config)
    if _is_listed(folder, keys) and sources.is_unchanged(
        folder / "sources.csv", root, keys, now, lambda: processed_digests(config)
    ):
        return (folder / "state").read_text(encoding="utf-8").strip()
    return digest([(key.name, key.path, key.split, now[key.name]) for key in keys])


def write_state(config: Config, keys: Sequence[ShapeKey], state: str) -> tuple[int, int]:
    """Write the state of the dataset and of every shape; returns as `sources.update`."""
    folder, root = catalogue_folder(config), Path(config.dataset_root)
    counts = sources.update(
        folder / "sources.csv", root, keys, lambda: processed_digests(config), config.results
    )
    write_text(folder / "state", state + "\n")
    return counts


def catalogue_folder(config: Config) -> Path:
    """The folder of the catalogue."""
    return Path(config.results) / "catalogue"


def processed_digests(config: Config) -> dict[str, str]:
    """The digest that each shape was last processed from."""
    return sources.digests_of((Path(config.results) / "preprocess" / "shards").glob("*.csv"))


def _is_listed(folder: Path, keys: Sequence[ShapeKey]) -> bool:
    """Whether there is a catalogue with its state that lists exactly these shapes."""
    try:
        return (folder / "state").is_file() and read_table(folder / "shapes.csv") == list(keys)
    except DataError:
        return False
