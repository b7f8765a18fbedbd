"""The supported layouts of datasets, and the search for mesh files in them."""

from __future__ import annotations

import itertools
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from occnet_lib.errors import DataError
from occnet_lib.storage.meshes.suffixes import IMAGES, SUFFIXES, known_suffix, preference, stem

from .listing import COMPANIONS, UNCATEGORISED, Listing, ShapeLocation, kind

SPLITS = ("train", "val", "test")
LAYOUTS = (
    "<category>/<id>/models/model_normalized.obj (ShapeNetCore v2), <category>/<id>/model.obj (v1), "
    "<category>/<id>/<one mesh file>, <category>/<id>.<suffix>, <category>/{train,test}/<id>.off (ModelNet), "
    "<id>/meshes/model.obj (Google Scanned Objects), glbs/<number>-<number>/<id>.glb (Objaverse), "
    "<id>.<suffix> in one folder, with a suffix of " + " ".join(SUFFIXES)
)
_MODEL_STEMS = ("model_normalized", "model")
MESH_FOLDERS = ("models", "meshes")  # in the folder of a shape
_CHUNK = re.compile(r"\d{3}-\d{3}")  # a folder of Objaverse
_MAX_FILES = 10_000  # files that are examined below a folder without shapes
Entries = Sequence[os.DirEntry[str]]


def find(
    root: Path, wanted: Sequence[str] = (), named: bool = False, results: str | Path | None = None
) -> Listing:
    """The shapes below a folder.

    Args:
        root: a folder in one of `LAYOUTS`.
        wanted: only these categories, if folders are categories; empty: all.
        named: whether categories are defined elsewhere, so that a folder of shapes needs none.
        results: a folder that is not a category, though it may be in `root`.

    Raises:
        DataError: a folder cannot be read, a requested category is missing, or the layout is not supported.
    """
    folders, files = _entries(root)
    if results is not None:
        own = os.path.realpath(results)
        folders = [folder for folder in folders if os.path.realpath(folder.path) != own]
    chunks = _objaverse(root, folders)
    if chunks is not None:
        listing = Listing()
        for chunk in chunks:
            _flat(root, chunk, *_entries(root / chunk), listing)
        # Chunks are not categories: lists are those of the root.
        listing.locations = [replace(location, folder="") for location in listing.locations]
        return listing
    names = [folder.name for folder in folders]
    listing = _by_category(root, names if not wanted or UNCATEGORISED in wanted else wanted)
    if _are_shapes(listing):
        scanned = all(location.path.split("/")[1:-1] == ["meshes"] for location in listing.locations)
        if not named and not scanned:
            hint = (
                "one more level is needed: <category>/<id>/model.obj; or define categories by dataset.table"
            )
            raise DataError("its folders are shapes, not categories", path=root, hint=hint)
        listing = Listing()
        _shapes_in(root, "", folders, files, listing)
        return listing
    _refuse_folders_of_shapes(root, listing)
    loose = Listing()
    _flat(root, "", [], files, loose)
    if not listing.locations and loose.locations:
        loose.skipped += listing.skipped
        loose.deep += listing.deep
        return loose
    listing.skipped += loose.skipped
    listing.deep += [location.path for location in loose.locations]  # beside the categories
    return listing


def _are_shapes(listing: Listing) -> bool:
    """Whether the presumed categories are shapes: everything in them is called model or models."""
    names = {location.name for location in listing.locations}
    return bool(names) and names <= {*_MODEL_STEMS, *MESH_FOLDERS}


def _refuse_folders_of_shapes(root: Path, listing: Listing) -> None:
    """Refuse meshes that are one level too deep, which would become parts of one failed shape."""
    if not listing.locations or not all((root / location.path).is_dir() for location in listing.locations):
        return
    first = listing.locations[0]
    text = f"every shape folder has several mesh files, none of them model.*, e.g. {first.path}"
    hint = f"if they are shapes, <category>/<id>.obj is needed: set dataset.root to {root / first.folder}"
    if {location.category for location in listing.locations} <= set(SPLITS):
        hint = "splits must be folders of a category, as in ModelNet: <category>/{train,test}/<id>.off"
    raise DataError(text, path=root, hint=hint)


def category_folders(root: Path, wanted: Sequence[str] = ()) -> list[str]:
    """Names of the folders below `root`, or of the requested ones.

    Raises:
        DataError: a folder is missing or a broken link.
    """
    names = [folder.name for folder in _entries(root)[0]]
    missing = set(wanted) - set(names)
    if missing:
        hint = "available: " + (", ".join(names) or "none")
        raise DataError(f"no category {', '.join(sorted(missing))}", path=root, hint=hint)
    chosen = [name for name in names if not wanted or name in wanted]
    for name in chosen:
        if not os.path.exists(root / name):
            text = f"{name} is a broken link to {os.readlink(root / name)}"
            raise DataError(text, path=root, hint="mount it, or remove the link")
    return chosen


def _by_category(root: Path, categories: Sequence[str]) -> Listing:
    listing = Listing()
    for category in category_folders(root, categories) if categories else ():
        inside, files = _entries(root / category)
        if split_folders := _modelnet(inside):
            _add_splits(root / category, split_folders, listing)
            listing.modelnet = True
            inside = [entry for entry in inside if entry not in split_folders]
        _shapes_in(root, category, inside, files, listing)
    return listing


def _entries(folder: Path) -> tuple[Entries, Entries]:
    """Folders and files, sorted by name, without hidden ones. A broken link without a suffix counts as a folder."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", path=folder) from error
    shown = [(entry, _is_folder(entry)) for entry in entries if not entry.name.startswith(".")]
    folders = [entry for entry, is_folder in shown if is_folder]
    return folders, [entry for entry, is_folder in shown if not is_folder]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        if entry.is_dir():
            return True
        return entry.is_symlink() and not os.path.exists(entry.path) and "." not in entry.name
    except OSError:  # a link to itself
        return "." not in entry.name


def _objaverse(root: Path, folders: Entries) -> list[str] | None:
    """The chunks `000-023` of Objaverse, in the root or below `glbs`, relative to the root; None if it has none."""
    names = [folder.name for folder in folders]
    if names and all(map(_CHUNK.fullmatch, names)):
        return names
    if "glbs" in names:
        inner = [folder.name for folder in _entries(root / "glbs")[0]]
        if inner and all(map(_CHUNK.fullmatch, inner)):
            return [f"glbs/{name}" for name in inner]
    return None


def _modelnet(inside: Entries) -> Entries:
    """Folders train, val and test of a category, if they have mesh files of several shapes."""
    split_folders = [entry for entry in inside if entry.name in SPLITS]
    if len(split_folders) < 2 and len(split_folders) != len(inside):
        return []
    for entry in split_folders:
        if not any(known_suffix(file.name) for file in _entries(Path(entry.path))[1]):
            return []
    return split_folders


def _add_splits(category: Path, split_folders: Entries, listing: Listing) -> None:
    """Add the shapes of ModelNet's layout; if a name is in two splits, the split becomes part of both names."""
    by_split = {entry.name: Listing() for entry in split_folders}
    for entry in split_folders:
        part = by_split[entry.name]
        _flat(Path(entry.path), "", *_entries(Path(entry.path)), part)
        listing.skipped += part.skipped
        listing.notes += part.notes
        listing.deep += [f"{category.name}/{entry.name}/{path}" for path in part.deep]
    counts = Counter(location.name for part in by_split.values() for location in part.locations)
    for split, part in by_split.items():
        for location in part.locations:
            name = location.name if counts[location.name] == 1 else f"{split}_{location.name}"
            path = f"{category.name}/{split}/{location.path}"
            listing.locations.append(ShapeLocation(category.name, name, path, category.name, split))


def _shapes_in(root: Path, category: str, folders: Entries, files: Entries, listing: Listing) -> None:
    """Add the shapes of a category folder (or of the root): one per folder or per file."""
    word, prefix = category or UNCATEGORISED, f"{category}/" if category else ""
    without = 0
    for entry in folders:
        path = _mesh_in(entry)
        if path is not None:
            listing.locations.append(ShapeLocation(word, entry.name, prefix + path, category))
        elif not _skip_folder(root, prefix + entry.name, listing):
            without += 1
    _flat(root, category, [], files, listing, word)
    if without:
        listing.notes.append(f"{root / category}: {without} folders without a mesh file skipped")


def _skip_folder(root: Path, folder: str, listing: Listing) -> bool:
    """Count the files of a folder that is not a shape.

    Returns:
        whether it has only textures. Materials and buffers belong to a mesh file, which may be missing.
    """
    kinds = set()
    for number, file in enumerate(_files_below(root / folder)):
        if number == _MAX_FILES:
            break
        if known_suffix(file):
            listing.deep.append(os.path.relpath(file, root))
        else:
            listing.skip(file)
        kinds.add(kind(file))
    return bool(kinds) and kinds <= COMPANIONS - {".mtl", ".bin"}


def _files_below(folder: Path) -> Iterator[str]:
    for location, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (os.path.join(location, name) for name in sorted(files) if not name.startswith("."))


def count_images(root: Path) -> int:
    """Image files below a folder, among the first 10,000 files."""
    files = itertools.islice(_files_below(root), _MAX_FILES)
    return sum(kind(file) in IMAGES for file in files)


def _flat(
    root: Path, folder: str, folders: Entries, files: Entries, listing: Listing, category: str = UNCATEGORISED
) -> None:
    """Add the mesh files of a folder, one shape per file; folders in it are not shapes."""
    prefix = f"{folder}/" if folder else ""
    by_stem: dict[str, list[str]] = defaultdict(list)
    for entry in files:
        if known_suffix(entry.name):
            by_stem[stem(entry.name)].append(entry.name)
        else:
            listing.skip(entry.name)
    for entry in folders:
        _skip_folder(root, prefix + entry.name, listing)
    ranked = {name: _by_preference(names) for name, names in by_stem.items()}
    listing.locations += [
        ShapeLocation(category, name, prefix + names[0], folder) for name, names in sorted(ranked.items())
    ]
    if several := [names for names in ranked.values() if len(names) > 1]:
        text = "shapes have several files, of which the first is used, e.g."
        listing.notes.append(f"{root / folder}: {len(several)} {text} {', '.join(several[0])}")


def _mesh_in(shape: os.DirEntry[str]) -> str | None:
    """Path of the mesh file of a shape folder, relative to the parent folder; None if it has none."""
    where = shape.name
    try:
        names = os.listdir(shape.path)
        meshes = _by_preference(names)
        for inner in MESH_FOLDERS:
            if not meshes and inner in names and os.path.isdir(os.path.join(shape.path, inner)):
                where = f"{shape.name}/{inner}"
                meshes = _by_preference(os.listdir(os.path.join(shape.path, inner)))
    except OSError:  # loading will report the error
        return where
    if not meshes:
        return None
    return f"{where}/{meshes[0]}" if len(meshes) == 1 or stem(meshes[0]).lower() in _MODEL_STEMS else where


def _by_preference(names: Iterable[str]) -> list[str]:
    """The mesh files among `names`: first model.*, then in the order of `SUFFIXES`."""

    def rank(name: str) -> tuple[int, int, str]:
        base = stem(name).lower()
        first = _MODEL_STEMS.index(base) if base in _MODEL_STEMS else len(_MODEL_STEMS)
        return first, preference(name), name

    return sorted((n for n in names if known_suffix(n) and not n.startswith(".")), key=rank)
