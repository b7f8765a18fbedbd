"""Signatures of the raw files of shapes: hashes of names, sizes and times, which are cheap."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from occnet_lib.storage.meshes.suffixes import known_suffix
from occnet_lib.types import ShapeKey

from .layouts import MESH_FOLDERS
from .listing import METADATA, file_name, kind

# Formats without side files (see `meshes.side_files`).
_WITHOUT_SIDE_FILES = (".off", ".stl", ".3mf", ".step", ".stp", ".iges", ".igs")


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
