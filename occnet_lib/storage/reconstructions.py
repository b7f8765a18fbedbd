"""A folder of reconstructed meshes: `<category>/<id>.ply` and `shapes.csv`, written as a whole."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import DataError
from occnet_lib.types import Mesh, ShapeKey

from .atomic import temporary_beside
from .tables import read_rows, write_rows

COLUMNS = ("category", "id", "status", "reason")
_VERTEX = np.dtype([("position", "<f4", 3), ("normal", "<f4", 3)])
_FACE = np.dtype([("count", "u1"), ("corners", "<i4", 3)])
_HEADER = """ply
format binary_little_endian 1.0
comment occnet: closed, outward, unit cube frame, +y up
element vertex {vertices}
property float x
property float y
property float z
property float nx
property float ny
property float nz
element face {faces}
property list uchar int vertex_indices
end_header
"""


def write_ply(path: Path, mesh: Mesh) -> None:
    """Write a mesh with its vertex normals as binary PLY (not atomic: see `writing`)."""
    vertices = np.zeros(len(mesh.vertices), _VERTEX)
    vertices["position"], vertices["normal"] = mesh.vertices, vertex_normals(mesh)
    faces = np.zeros(len(mesh.faces), _FACE)
    faces["count"], faces["corners"] = 3, mesh.faces
    header = _HEADER.format(vertices=len(vertices), faces=len(faces))
    path.write_bytes(header.encode() + vertices.tobytes() + faces.tobytes())


def read_ply(path: Path) -> Mesh:
    """Read what `write_ply` wrote.

    Raises:
        DataError: the file is missing, cut off or not written by `write_ply`.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", path=path) from None
    head, end, body = data.partition(b"end_header\n")
    counts = [int(count) for count in re.findall(rb"^element \w+ (\d+)$", head, re.MULTILINE)]
    expected = _HEADER.format(vertices=counts[0], faces=counts[1]) if len(counts) == 2 else ""
    if not expected or (head + end).decode("latin-1") != expected:
        raise DataError("is no PLY file written by occnet", path=path)
    border = counts[0] * _VERTEX.itemsize
    if len(body) != border + counts[1] * _FACE.itemsize:
        raise DataError("is cut off", path=path)
    vertices = np.frombuffer(body[:border], _VERTEX)["position"].astype(np.float64)
    return Mesh(
        vertices, np.ascontiguousarray(np.frombuffer(body[border:], _FACE)["corners"], dtype=np.int32)
    )


def vertex_normals(mesh: Mesh) -> NDArray[np.float32]:
    """(V, 3) float32 unit normals, those of the faces around weighted by area; 0 at vertices of no face."""
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    cross = np.cross(b - a, c - a)
    total = np.stack(
        [
            np.bincount(mesh.faces.reshape(-1), np.repeat(cross[:, k], 3), minlength=len(mesh.vertices))
            for k in range(3)
        ],
        axis=1,
    )
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return (total / np.where(length > 0, length, 1.0)).astype(np.float32)


class FolderWriter:
    """Takes the shapes of a folder one by one; see `writing`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[dict[str, Any]] = []

    def add(
        self,
        key: ShapeKey,
        mesh: Mesh | None,
        status: str = "ok",
        reason: str = "",
        **values: Any,
    ) -> None:
        """Add a shape; a mesh of None or without faces makes a row without a file."""
        self.rows.append(
            {"category": key.category, "id": key.id, "status": status, "reason": reason} | values
        )
        if mesh is None or len(mesh.faces) == 0:
            return
        path = self.folder / key.category / f"{key.id}.ply"
        path.parent.mkdir(exist_ok=True)
        write_ply(path, mesh)


@contextmanager
def writing(folder: str | Path) -> Iterator[FolderWriter]:
    """Write a folder that appears whole, or not at all when the body fails.

    Args:
        folder: where it is to be; what is there already is replaced at the end.
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
    return {f"{row['category']}/{row['id']}": row for row in rows}


def read_mesh(folder: str | Path, key: ShapeKey) -> Mesh | None:
    """The mesh of a shape, None where there is no file of it.

    Raises:
        DataError: the file is broken.
    """
    path = Path(folder) / key.category / f"{key.id}.ply"
    return read_ply(path) if path.is_file() else None
