"""The state of a dataset as a short hash, which determines whether its catalogue is written again."""

from __future__ import annotations

import json
import os
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


def is_available(root: str | Path) -> bool:
    """Whether the folder of a dataset has anything in it; an unmounted disk leaves none, or an empty one."""
    try:
        with os.scandir(root) as entries:
            return next(entries, None) is not None
    except OSError:
        return False


def check_available(root: str | Path) -> None:
    """Raise a DataError, an error of the environment, where a dataset is not available as a whole."""
    if not is_available(root):
        hint = "mount it, or set dataset=… to where the meshes are; no shape was changed"
        raise DataError("this dataset is not available: no folder, or an empty one", path=root, hint=hint)


def last_state(config: Config) -> str | None:
    """The state for which the catalogue was written, for a dataset that is not available now.

    None where there is no catalogue, or the last run in `results` had another seed or section `dataset`.
    """
    try:
        before = json.loads((Path(config.results) / "config.json").read_text(encoding="utf-8"))
        read_table(catalogue_folder(config) / "shapes.csv")
        state = (catalogue_folder(config) / "state").read_text(encoding="utf-8").strip()
    except (OSError, ValueError, DataError):
        return None
    now = json.loads(config.model_dump_json())
    return state if all(before.get(key) == now[key] for key in ("seed", "dataset")) else None


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
