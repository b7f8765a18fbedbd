"""The state of a dataset, and of the raw files of every shape, which determines whether a shape is processed again.

A *signature* is a hash of the names, sizes and times of the files that may affect a shape, so it is cheap. A *version* is
the signature at which the content last changed: if a signature changes but the content does not (the file was touched or
copied), the version and all results of the shape stay.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from occnet_lib.config import Config, digest
from occnet_lib.errors import DataError, MeshError
from occnet_lib.storage import meshes
from occnet_lib.storage.atomic import write_text
from occnet_lib.storage.tables import read_rows, shape_name, write_rows
from occnet_lib.types import ShapeKey

from .catalogue import read_table
from .signatures import signatures

logger = logging.getLogger(__name__)
COLUMNS = ("category", "id", "signature", "version")
_MANY = 1000  # shapes; reading more is logged on the terminal
_MAX_READ = 200_000_000  # bytes of mesh and side files that are read before a run
_READERS = 8  # threads that read files, limited by the disk


def read_versions(path: str | Path) -> dict[str, str]:
    """Version by shape; empty if the table does not exist."""
    return {name: version for name, (_, version) in _read(Path(path)).items()}


def _read(path: Path) -> dict[str, tuple[str, str]]:
    if not path.exists():
        return {}
    with suppress(DataError, KeyError):
        return {shape_name(row): (row["signature"], row["version"]) for row in read_rows(path)}
    return {}


def _is_unchanged(config: Config, keys: Sequence[ShapeKey], now: Mapping[str, str]) -> bool:
    """Whether every shape is as `update_versions` recorded it, or has new dates but the content that it was processed from.

    Files are read up to a total size; beyond it the answer is False, and `update_versions` reads them.

    Args:
        config: as for `dataset_state`.
        keys: the shapes of the dataset.
        now: their current signatures.
    """
    root, before = Path(config.dataset_root), _read(versions_file(config))
    if not all(key.name in before for key in keys):
        return False
    doubtful = [key for key in keys if before[key.name][0] != now[key.name]]
    if not doubtful:
        return True
    if sum(_size(root / key.path) for key in doubtful) > _MAX_READ:
        return False
    digests, left = processed_digests(config), _MAX_READ
    for key in doubtful:
        left -= _size_with_side_files(root / key.path)  # buffers of glTF are the largest part
        if left < 0 or key.name not in digests or content_of(root, key) != digests[key.name]:
            return False
    return True


def _size_with_side_files(path: Path) -> int:
    try:
        return _size(path) + sum(map(_size, meshes.side_files(path)))
    except OSError:
        return 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def update_versions(config: Config, keys: Sequence[ShapeKey]) -> tuple[int, int]:
    """Update the table of signatures and versions; the files of shapes whose signatures have changed are read.

    Args:
        config: as for `dataset_state`.
        keys: the shapes of the dataset.

    Returns:
        numbers of shapes that were read and of shapes whose content has changed.
    """
    root, path = Path(config.dataset_root), versions_file(config)
    now, before = signatures(root, keys, config.results), _read(path)
    versions = {name: before[name][1] if before.get(name, ("", ""))[0] == now[name] else "" for name in now}
    doubtful = [key for key in keys if not versions[key.name] and key.name in before]
    digests = processed_digests(config) if doubtful else {}
    doubtful = [key for key in doubtful if key.name in digests]
    if doubtful:
        level = logging.WARNING if len(doubtful) > _MANY else logging.INFO
        logger.log(level, "reading the files of %d shapes with new dates", len(doubtful))
    with ThreadPoolExecutor(_READERS) as pool:
        for key, content in zip(doubtful, pool.map(lambda key: content_of(root, key), doubtful), strict=True):
            if content == digests[key.name]:
                versions[key.name] = before[key.name][1]
    rows = []
    # Shapes that are not selected may be selected again, e.g. by `dataset.categories`.
    for name in sorted(before.keys() | now.keys()):
        signature, version = before.get(name, ("", ""))
        if name in now:
            signature, version = now[name], versions[name] or now[name]
        rows.append(dict(zip(COLUMNS, (*name.split("/"), signature, version), strict=True)))
    write_rows(path, rows, COLUMNS)
    return len(doubtful), sum(not versions[key.name] for key in doubtful)


def content_of(root: Path, key: ShapeKey) -> str:
    """The digest of a shape's mesh file and its side files; empty if it cannot be read."""
    try:
        return meshes.digest(root / key.path)
    except MeshError:  # loading will report the error
        return ""


def digests_of(tables: Iterable[Path]) -> dict[str, str]:
    """Source digest by shape, from the tables of shards; the newest wins, as a shape may have changed its shard."""
    digests: dict[str, str] = {}
    for table in sorted(tables, key=lambda path: path.stat().st_mtime_ns):
        with suppress(DataError):
            rows = [row for row in read_rows(table) if "source_digest" in row]
            digests |= {shape_name(row): row["source_digest"] for row in rows}
    return digests


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
    if _is_listed(folder, keys) and _is_unchanged(config, keys, now):
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
    """Write the state of the dataset and of every shape; returns as `update_versions`."""
    counts = update_versions(config, keys)
    write_text(catalogue_folder(config) / "state", state + "\n")
    return counts


def catalogue_folder(config: Config) -> Path:
    """The folder of the catalogue."""
    return Path(config.results) / "catalogue"


def versions_file(config: Config) -> Path:
    """The table of `update_versions`."""
    return catalogue_folder(config) / "sources.csv"


def processed_digests(config: Config) -> dict[str, str]:
    """The digest that each shape was last processed from."""
    return digests_of((Path(config.results) / "preprocess" / "shards").glob("*.csv"))


def _is_listed(folder: Path, keys: Sequence[ShapeKey]) -> bool:
    """Whether there is a catalogue with its state that lists exactly these shapes."""
    try:
        return (folder / "state").is_file() and read_table(folder / "shapes.csv") == list(keys)
    except DataError:
        return False
