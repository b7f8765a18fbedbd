"""What was found of a dataset's folder: where its shapes lie, and how many files of which kinds were not taken."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field

from occnet_lib.storage.meshes.suffixes import SUFFIXES, unread_format

# The category of shapes whose dataset has none: a name of folders and of a class in the report.
UNCATEGORISED = "objects"
# Suffixes of files that meshes name.
COMPANIONS = frozenset(
    {
        *(".mtl", ".bin", ".png", ".jpg", ".jpeg", ".tga", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
        *(".ktx2", ".dds", ".hdr", ".exr", ".basis"),
    }
)
# Of files that describe a dataset or are made of its meshes. Any other suffix may be that of a shape.
ABOUT = frozenset(
    {
        *(".txt", ".md", ".rst", ".pdf", ".html", ".htm", ".json", ".jsonl", ".csv", ".tsv", ".lst", ".xml"),
        *(".yaml", ".yml", ".toml", ".ini", ".config", ".log", ".db", ".py", ".sh", ".license", ".md5"),
        *(".sha256", ".npz", ".npy", ".h5", ".hdf5", ".binvox", ".pt", ".pkl", ".parquet", ".pbtxt", ".sdf"),
    }
)
_PACKED = (".gz", ".bz2", ".xz", ".zst")


@dataclass(frozen=True)
class Place:
    """Where a shape lies.

    Attributes:
        category: as in the dataset; `UNCATEGORISED` where it has none.
        name: what the shape is called in the dataset.
        path: its mesh file (or a folder with several of which none is called model.*), relative to the root.
        folder: where `{train,val,test}.lst` may be, relative to the root.
        split: as the layout says; empty: it does not.
    """

    category: str
    name: str
    path: str
    folder: str = ""
    split: str = ""


@dataclass
class Listing:
    """The shapes of a dataset, and what was not taken.

    Attributes:
        places: the shapes.
        notes: a line for each thing that a user should know.
        skipped: files of a kind that is not read, by suffix.
        deep: mesh files in folders of no layout.
        modelnet: whether categories have folders of splits, as ModelNet, whose meshes have z up.
    """

    places: list[Place] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    deep: list[str] = field(default_factory=list)
    modelnet: bool = False

    def warnings(self) -> list[str]:
        """`notes`, and what was not taken by number and kind."""
        lines = list(self.notes)
        if self.skipped:
            kinds = ", ".join(f"{count} {kind}" for kind, count in self.skipped.most_common())
            most = self.skipped.most_common(1)[0][0]
            way_out = unread_format(most)[1] or f"formats that are read: {' '.join(SUFFIXES)}"
            text = f"{self.skipped.total()} files of {len(self.skipped)} kinds were not taken: {kinds}"
            lines.append(f"{text} (as to {most}: {way_out})")
        if self.deep:
            lines.append(f"{len(self.deep)} mesh files lie where no layout has them, as {min(self.deep)}")
        return lines

    def skip(self, name: str) -> None:
        """Count a file that is not read, if it may stand for a shape."""
        suffix = kind(name)
        if suffix and suffix not in COMPANIONS and suffix not in ABOUT:
            self.skipped[suffix] += 1


def kind(name: str) -> str:
    """The suffix of a file in lower case, of a packed one the last two (`.step.gz`)."""
    base, suffix = os.path.splitext(os.path.basename(name).lower())
    return os.path.splitext(base)[1] + suffix if suffix in _PACKED else suffix
