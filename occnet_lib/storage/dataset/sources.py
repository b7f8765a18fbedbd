"""The state of a dataset, and of the raw files of every shape, which determines whether a shape is processed again.

A *signature* is a hash of the names, sizes and times of the files that may affect a shape, so it is cheap. A *version* is
the signature at which the content last changed: if a signature changes but the content does not (the file was touched or
copied), the version and all results of the shape stay.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from occnet_lib.errors import DataError, MeshError
from occnet_lib.storage.atomic import replacing
from occnet_lib.storage.meshes import digest, side_files
from occnet_lib.storage.tables import TEXT, read_rows, shape_name
from occnet_lib.types import ShapeKey

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


def is_unchanged(
    path: Path,
    root: Path,
    keys: Sequence[ShapeKey],
    now: Mapping[str, str],
    made: Callable[[], Mapping[str, str]],
) -> bool:
    """Whether every shape is as `update` recorded it, or has new dates but the content that it was processed from.

    Files are read up to a total size; beyond it the answer is False, and `update` reads them.

    Args:
        path: the table written by `update`.
        root: folder of the dataset.
        keys: its shapes.
        now: their current signatures.
        made: as for `update`.
    """
    before = _read(path)
    if not all(key.name in before for key in keys):
        return False
    doubtful = [key for key in keys if before[key.name][0] != now[key.name]]
    if not doubtful:
        return True
    if sum(_size(root / key.path) for key in doubtful) > _MAX_READ:
        return False
    digests, left = made(), _MAX_READ
    for key in doubtful:
        left -= _size_with_side_files(root / key.path)  # buffers of glTF are the largest part
        if left < 0 or key.name not in digests or content_of(root, key) != digests[key.name]:
            return False
    return True


def _size_with_side_files(path: Path) -> int:
    try:
        return _size(path) + sum(map(_size, side_files(path)))
    except OSError:
        return 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def update(
    path: Path,
    root: Path,
    keys: Sequence[ShapeKey],
    made: Callable[[], Mapping[str, str]],
    results: str | Path | None = None,
) -> tuple[int, int]:
    """Update the table of signatures and versions.

    Args:
        path: the table, `results/catalogue/sources.csv`.
        root: folder of the dataset.
        keys: its shapes.
        made: returns the digest (`meshes.digest`) that each shape was last processed from; called only if signatures
            have changed, in which case the files of these shapes are read.
        results: as for `signatures`.

    Returns:
        numbers of shapes that were read and of shapes whose content has changed.
    """
    now, before = signatures(root, keys, results), _read(path)
    versions = {name: before[name][1] if before.get(name, ("", ""))[0] == now[name] else "" for name in now}
    doubtful = [key for key in keys if not versions[key.name] and key.name in before]
    digests = made() if doubtful else {}
    doubtful = [key for key in doubtful if key.name in digests]
    if doubtful:
        level = logging.WARNING if len(doubtful) > _MANY else logging.INFO
        logger.log(level, "reading the files of %d shapes with new dates", len(doubtful))
    with ThreadPoolExecutor(_READERS) as pool:
        for key, content in zip(doubtful, pool.map(lambda key: content_of(root, key), doubtful), strict=True):
            if content == digests[key.name]:
                versions[key.name] = before[key.name][1]
    with replacing(path) as temporary, temporary.open("w", **TEXT) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for name in sorted(
            before.keys() | now.keys()
        ):  # shapes that are not selected may be selected again, e.g. by `dataset.categories`
            signature, version = before.get(name, ("", ""))
            if name in now:
                signature, version = now[name], versions[name] or now[name]
            writer.writerow((*name.split("/"), signature, version))
    return len(doubtful), sum(not versions[key.name] for key in doubtful)


def content_of(root: Path, key: ShapeKey) -> str:
    """The digest of a shape's mesh file and its side files; empty if it cannot be read."""
    try:
        return digest(root / key.path)
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
