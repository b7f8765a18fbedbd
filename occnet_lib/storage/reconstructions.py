"""A folder of reconstructed meshes: `<category>/<id>.ply` and `shapes.csv`, written atomically."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from occnet_lib.errors import DataError, MeshError
from occnet_lib.types import Mesh, ShapeKey

from .atomic import temporary_beside
from .meshes import MeshFrame, load_mesh, save_mesh
from .tables import read_rows, shape_name, write_rows

COLUMNS = ("category", "id", "status", "reason")


class FolderWriter:
    """Writer of the shapes of a folder; see `writing`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[dict[str, Any]] = []

    def add(
        self, key: ShapeKey, mesh: Mesh | None, status: str = "ok", reason: str = "", **values: Any
    ) -> None:
        """Add a shape. A mesh of None or without faces adds a row but no file."""
        self.rows.append(
            {"category": key.category, "id": key.id, "status": status, "reason": reason} | values
        )
        if mesh is None or len(mesh.faces) == 0:
            return
        path = self.folder / key.category / f"{key.id}.ply"
        save_mesh(mesh, path, mesh.vertex_normals, MeshFrame("unit"))


@contextmanager
def writing(folder: str | Path) -> Iterator[FolderWriter]:
    """Write a folder atomically: it appears complete, or not at all if the body fails.

    Args:
        folder: the folder; an existing one is replaced at the end.
    """
    folder = Path(folder)
    temporary, old = (temporary_beside(folder, folder.name, word) for word in (".new", ".old"))
    try:
        temporary.mkdir(parents=True)
        writer = FolderWriter(temporary)
        yield writer
        write_rows(temporary / "shapes.csv", writer.rows, COLUMNS)
        if folder.exists():
            folder.rename(old)
        temporary.rename(folder)
    finally:
        for rest in (temporary, old):
            shutil.rmtree(rest, ignore_errors=True)


def read_status(folder: str | Path) -> dict[str, Mapping[str, str]]:
    """Rows of `shapes.csv` by shape name.

    Raises:
        DataError: the table is missing or lacks columns.
    """
    path = Path(folder) / "shapes.csv"
    rows = read_rows(path)
    if rows and not set(COLUMNS) <= rows[0].keys():
        raise DataError(f"needs the columns {', '.join(COLUMNS)}", path=path, hint="run reconstruct again")
    return {shape_name(row): row for row in rows}


def read_mesh(folder: str | Path, key: ShapeKey) -> Mesh | None:
    """The mesh of a shape; None if the shape has no file.

    Raises:
        DataError: the file is damaged.
    """
    path = Path(folder) / key.category / f"{key.id}.ply"
    if not path.is_file():
        return None
    try:
        return load_mesh(path)
    except MeshError as error:
        raise DataError(error.message, path=path, hint="run reconstruct again") from error
