"""The state of the raw files of every shape, which determines whether a shape is processed again.

A *signature* is a hash of the names, sizes and times of the files that may affect a shape, so it is cheap. A *version* is
the signature at which the content last changed: if a signature changes but the content does not (the file was touched or
copied), the version and all results of the shape stay.
"""

from __future__ import annotations

import csv
import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from occnet_lib.errors import DataError, MeshError
from occnet_lib.storage.atomic import replacing
from occnet_lib.storage.meshes import digest, side_files
from occnet_lib.storage.meshes.suffixes import known_suffix
from occnet_lib.storage.tables import TEXT, read_rows
from occnet_lib.types import ShapeKey

from .layouts import MESH_FOLDERS
from .listing import METADATA, kind
from .names import file_name

logger = logging.getLogger(__name__)
COLUMNS = ("category", "id", "signature", "version")
# Formats without side files (see `meshes.side_files`).
_WITHOUT_SIDE_FILES = (".off", ".stl", ".3mf", ".step", ".stp", ".iges", ".igs")
_MANY = 1000  # shapes; reading more is logged on the terminal
_MAX_READ = 200_000_000  # bytes of mesh and side files that are read before a run
_READERS = 8  # threads that read files, limited by the disk


def signatures(
    root: str | Path, keys: Iterable[ShapeKey], results: str | Path | None = None
) -> dict[str, str]:
    """The signature of every shape, by name.

    It covers the mesh file, all files below the folder of the shape, if it has one, and, for formats that may refer to
    other files, all files below `root` that may be materials, buffers or textures and are not in the folder of another
    shape. It depends on the path of the root and on size, modification time and inode change time of each file. The
    latter cannot be set, so a replaced file is detected whatever its date.

    Args:
        root: folder of the dataset.
        keys: its shapes.
        results: a folder that is not part of the dataset, though it may be below `root`.
    """
    root = Path(root)
    keys = list(keys)
    own = _own_folders(keys)
    location = os.path.realpath(root)
    shared: str | None = None
    result = {}
    for key in keys:
        lines = [location, key.path, _stat(root / key.path)]
        if key.name in own:
            lines += _below(os.path.join(root, own[key.name]))
        if not key.path.lower().removesuffix(".gz").endswith(_WITHOUT_SIDE_FILES):
            if shared is None:
                shared = _hash(_shared(root, keys, set(own.values()), results))
            lines.append(shared)
        result[key.name] = _hash(lines)
    return result


def _own_folders(keys: Sequence[ShapeKey]) -> dict[str, str]:
    """By name, the folder of the shapes that have one of their own, relative to the root."""
    owners: dict[str, str] = {}
    for key in keys:
        parts = key.path.split("/")
        for end in range(len(parts), 0, -1):
            if file_name(parts[end - 1]) == key.id and (end < len(parts) or not known_suffix(parts[-1])):
                owners.setdefault("/".join(parts[:end]), key.name)
                break
    for key in keys:  # the folder of a category may have the name of one of its shapes
        above = key.path
        while above:
            if owners.get(above, key.name) != key.name:
                del owners[above]
            above = above.rpartition("/")[0]
    return {name: folder for folder, name in owners.items()}


def _shared(root: Path, keys: Sequence[ShapeKey], own: set[str], results: str | Path | None) -> list[str]:
    """Names and states of the files that any shape may refer to: those outside the folders of shapes."""
    apart = set(own)
    if results:  # may also be a link in the root
        apart |= {os.path.relpath(of(results), of(root)) for of in (os.path.realpath, os.path.abspath)}
    homes = {"", *(key.path.rpartition("/")[0] for key in keys)}  # folders with several shapes

    def is_shared(folder: str, entries: Sequence[os.DirEntry[str]]) -> bool:
        if folder in homes:
            return True
        inner = [entry for entry in entries if entry.name in MESH_FOLDERS and entry.is_dir()]
        names = [entry.name for entry in entries] + [
            name for entry in inner for name in os.listdir(entry.path)
        ]
        return not any(map(known_suffix, names))

    return _below(str(root), lambda folder: folder not in apart, is_shared, _may_be_named)


def _may_be_named(name: str) -> bool:
    """Whether a file may be a material, a buffer or a texture."""
    return not name.startswith(".") and not known_suffix(name) and kind(name) not in METADATA


def _always(*_: object) -> bool:
    return True


def _below(
    folder: str,
    enters: Callable[[str], bool] = _always,
    reads: Callable[[str, Sequence[os.DirEntry[str]]], bool] = _always,
    counts: Callable[[str], bool] = _always,
) -> list[str]:
    """Names and states of the files below a folder, in order.

    Args:
        folder: the root of the walk.
        enters: whether to descend into a folder, by its path relative to `folder`.
        reads: whether to read a folder, by its path and its entries.
        counts: whether to include a file, by its name.
    """
    lines: list[str] = []
    seen: set[tuple[int, int]] = set()

    def walk(location: str, relative: str) -> None:
        try:
            entries = sorted(os.scandir(location), key=lambda entry: entry.name)
            if not reads(relative[:-1], entries):
                return
        except OSError as error:
            lines.append(f"{relative}\0{error.errno}")
            return
        for entry in entries:
            name = f"{relative}{entry.name}"
            if _is_folder(entry, seen):
                if not entry.name.startswith(".") and enters(name):
                    walk(entry.path, f"{name}/")
            elif counts(entry.name):
                lines.append(f"{name}\0{_stat(entry)}")

    walk(folder, "")
    return lines


def _is_folder(entry: os.DirEntry[str], seen: set[tuple[int, int]]) -> bool:
    """Whether to descend into an entry; into a linked folder only once."""
    try:
        if not entry.is_dir():
            return False
        if entry.is_symlink():
            where = entry.stat()
            if (where.st_dev, where.st_ino) in seen:
                return False
            seen.add((where.st_dev, where.st_ino))
    except OSError:
        return False
    return True


def _stat(file: Path | os.DirEntry[str]) -> str:
    try:
        state = file.stat()
    except OSError as error:
        return str(error.errno)
    return f"{state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}"


def _hash(lines: Iterable[str]) -> str:
    value = hashlib.blake2b(digest_size=8)
    for line in lines:
        value.update(line.encode("utf-8", "surrogateescape") + b"\0\0")
    return value.hexdigest()


def read_versions(path: str | Path) -> dict[str, str]:
    """Version by shape; empty if the table does not exist."""
    return {name: version for name, (_, version) in _read(Path(path)).items()}


def _read(path: Path) -> dict[str, tuple[str, str]]:
    if not path.exists():
        return {}
    with suppress(DataError, KeyError):
        return {f"{r['category']}/{r['id']}": (r["signature"], r["version"]) for r in read_rows(path)}
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
            rows = read_rows(table)
            digests |= {
                f"{r['category']}/{r['id']}": r["source_digest"] for r in rows if "source_digest" in r
            }
    return digests
