"""Which prediction belongs to which ground truth: by name in two folders, or by a table."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from occnet_lib.errors import DataError
from occnet_lib.storage.meshes import known_suffix
from occnet_lib.storage.tables import read_rows

logger = logging.getLogger(__name__)


class Pair(NamedTuple):
    """A shape to measure.

    Attributes:
        category: first folder of its name; empty without one.
        id: the rest of its name.
        prediction: mesh file; None if there is none.
        ground_truth: mesh file.
    """

    category: str
    id: str
    prediction: Path | None
    ground_truth: Path

    @property
    def name(self) -> str:
        """`<category>/<id>`, or the id alone."""
        return f"{self.category}/{self.id}" if self.category else self.id


def match_folders(predictions: Path, ground_truth: Path) -> list[Pair]:
    """Pairs by the path below each folder without the suffix, one for each mesh of `ground_truth`, sorted by name.

    A prediction without a ground truth is not measured, with a warning.

    Raises:
        DataError: a folder has no meshes or two of the same name, or the two have no name in common.
    """
    predicted, expected = _meshes(predictions), _meshes(ground_truth)
    if not predicted.keys() & expected.keys():
        examples = f"{min(predicted)} here, {min(expected)} in {ground_truth}"
        hint = "give a table of pairs: --pairs pairs.csv"
        raise DataError(f"no mesh has the name of a ground truth: {examples}", path=predictions, hint=hint)
    if others := sorted(predicted.keys() - expected.keys()):
        text = "%s: %d meshes have no ground truth and are not measured: %s"
        logger.warning(text, predictions, len(others), abbreviated(others))
    return [_pair(name, predicted.get(name), path) for name, path in sorted(expected.items())]


def read_pairs(table: Path, predictions: Path, ground_truth: Path) -> list[Pair]:
    """Pairs of a CSV table with the columns `prediction`, `ground_truth` and optionally `name` (`<category>/<id>`).

    Paths are relative to the two folders. An empty prediction, or one whose file is missing, is a missing prediction.
    Without a name, the path of the ground truth without its suffix is the name. Outputs are files of these names.

    Raises:
        DataError: the table cannot be read, lacks a column, is empty, has a name twice or a name that is not a path
            below a folder; a ground truth is missing.
    """
    rows = read_rows(table)
    if not rows or not {"prediction", "ground_truth"} <= rows[0].keys():
        raise DataError("needs the columns prediction and ground_truth, and a row", path=table)
    pairs: dict[str, Pair] = {}
    for number, row in enumerate(rows, 2):
        if not row["ground_truth"]:
            raise DataError(f"line {number} has no ground_truth", path=table)
        path = ground_truth / row["ground_truth"]
        if not path.is_file():
            raise DataError(f"line {number}: no such ground truth: {path}", path=table)
        name = row.get("name") or _without_suffix(Path(row["ground_truth"]))
        if not _is_below(name):
            hint = "use <category>/<id> in the column name"
            raise DataError(
                f"line {number}: the name {name!r} is outside the folder of results", path=table, hint=hint
            )
        prediction = predictions / row["prediction"] if row["prediction"] else None
        if name in pairs:
            raise DataError(f"line {number}: the name {name} is there twice", path=table)
        pairs[name] = _pair(name, prediction if prediction and prediction.is_file() else None, path)
    return [pairs[name] for name in sorted(pairs)]


def abbreviated(names: Iterable[str]) -> str:
    """The first three names, and how many there are beyond."""
    names = list(names)
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + rest


def _meshes(folder: Path) -> dict[str, Path]:
    """Mesh files below a folder by name, without hidden ones."""
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inside.parts)
        if hidden or not known_suffix(path.name) or not path.is_file():
            continue
        name = _without_suffix(inside)
        if name in files:
            hint = "remove one, or give a table of pairs: --pairs pairs.csv"
            raise DataError(f"holds {files[name].name} and {path.name} of {name}", path=folder, hint=hint)
        files[name] = path
    if not files:
        raise DataError("holds no meshes", path=folder)
    return files


def _is_below(name: str) -> bool:
    """Whether a name is a path below any folder, without steps up, and printable."""
    parts = name.split("/")
    return name.isprintable() and not PurePosixPath(name).is_absolute() and not {"", ".", ".."} & set(parts)


def _without_suffix(path: Path) -> str:
    name = path.name
    return path.with_name(name[: len(name) - len(known_suffix(name))]).as_posix()


def _pair(name: str, prediction: Path | None, ground_truth: Path) -> Pair:
    category, _, rest = name.partition("/")
    return (
        Pair(category, rest, prediction, ground_truth) if rest else Pair("", name, prediction, ground_truth)
    )
