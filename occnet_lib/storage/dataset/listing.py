"""The shapes of a dataset folder and their locations, counts of the files that were skipped, and safe names."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field

from occnet_lib.storage.meshes.suffixes import SUFFIXES, unread_format

# The category of shapes of datasets without categories, used for folders and in the report.
UNCATEGORISED = "objects"
# Suffixes of files that mesh files refer to.
COMPANIONS = frozenset(
    {
        *(".mtl", ".bin", ".png", ".jpg", ".jpeg", ".tga", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
        *(".ktx2", ".dds", ".hdr", ".exr", ".basis"),
    }
)
# Suffixes of files that describe a dataset or are derived from its meshes. A file with another suffix may be a shape.
METADATA = frozenset(
    {
        *(".txt", ".md", ".rst", ".pdf", ".html", ".htm", ".json", ".jsonl", ".csv", ".tsv", ".lst", ".xml"),
        *(".yaml", ".yml", ".toml", ".ini", ".config", ".log", ".db", ".py", ".sh", ".license", ".md5"),
        *(".sha256", ".npz", ".npy", ".h5", ".hdf5", ".binvox", ".pt", ".pkl", ".parquet", ".pbtxt", ".sdf"),
    }
)
_PACKED = (".gz", ".bz2", ".xz", ".zst")


@dataclass(frozen=True)
class ShapeLocation:
    """The location of a shape in a dataset.

    Attributes:
        category: as in the dataset; `UNCATEGORISED` if it has no categories.
        name: the name of the shape in the dataset.
        path: its mesh file (or a folder with several mesh files, none of them model.*), relative to the root.
        folder: folder that may have `{train,val,test}.lst`, relative to the root.
        split: as defined by the layout; empty if it is not.
    """

    category: str
    name: str
    path: str
    folder: str = ""
    split: str = ""


@dataclass
class Listing:
    """The shapes of a dataset, and what was skipped.

    Attributes:
        locations: the shapes.
        notes: messages for the user.
        skipped: numbers of files of unsupported kinds, by suffix.
        deep: mesh files in folders that no layout has.
        modelnet: whether categories have folders of splits, as in ModelNet, whose meshes have z up.
    """

    locations: list[ShapeLocation] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    deep: list[str] = field(default_factory=list)
    modelnet: bool = False

    def warnings(self) -> list[str]:
        """`notes`, and the numbers and kinds of skipped files."""
        lines = list(self.notes)
        if self.skipped:
            kinds = ", ".join(f"{count} {kind}" for kind, count in self.skipped.most_common())
            most = self.skipped.most_common(1)[0][0]
            way_out = unread_format(most)[1] or f"supported formats: {' '.join(SUFFIXES)}"
            text = f"{self.skipped.total()} files of {len(self.skipped)} unsupported kinds skipped: {kinds}"
            lines.append(f"{text} ({most}: {way_out})")
        if self.deep:
            lines.append(f"{len(self.deep)} mesh files in folders that no layout has, e.g. {min(self.deep)}")
        return lines

    def skip(self, name: str) -> None:
        """Count a file of an unsupported kind, if it may be a shape."""
        suffix = kind(name)
        if suffix and suffix not in COMPANIONS and suffix not in METADATA:
            self.skipped[suffix] += 1


def kind(name: str) -> str:
    """The suffix of a file in lower case; of a compressed file the last two (`.step.gz`)."""
    base, suffix = os.path.splitext(os.path.basename(name).lower())
    return os.path.splitext(base)[1] + suffix if suffix in _PACKED else suffix


def file_name(name: str) -> str:
    """A name that is safe in files, shells and workflow wildcards; most names are returned as they are.

    Other names lose their accents, get `_` for everything but ASCII letters, digits, `.`, `_`, `+`
    and `-`, and end in twelve hexadecimal digits of a hash of the name, so that they stay different.
    """
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,119}", name):
        return name
    ascii_only = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    cleaned = re.sub(r"[^A-Za-z0-9._+-]+", "_", ascii_only).lstrip(".-+")[:100]
    digest = hashlib.blake2b(os.fsencode(name), digest_size=6).hexdigest()
    return f"{cleaned or 'shape'}-{digest}"
