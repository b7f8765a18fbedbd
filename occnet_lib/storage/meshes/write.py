"""Writing of mesh files."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import MeshError
from occnet_lib.geometry.colors import srgb_to_linear
from occnet_lib.geometry.textures import bake
from occnet_lib.storage.atomic import write_bytes
from occnet_lib.types import Mesh

from .frame import TURNS, MeshFrame, Up, marked

logger = logging.getLogger(__name__)

WRITABLE = (".obj", ".ply", ".off", ".stl", ".glb")

_DECIMALS = {".obj": 8, ".off": 10}  # minimum, of numbers in text formats
_MOST_ROUNDING = (
    1e-5  # rounding by the number format, as a fraction of the extent, up to which there is no warning
)


def save_mesh(
    mesh: Mesh, path: str | Path, normals: NDArray[np.floating] | None = None, frame: MeshFrame | None = None
) -> None:
    """Write a mesh as OBJ, PLY, OFF, STL or GLB, by its suffix, atomically.

    Colours and normals are written to OBJ, PLY and GLB. Textures become vertex colours.

    Args:
        mesh: y-up.
        path: file to write.
        normals: (V, 3) unit vertex normals.
        frame: written into the file; vertices and normals are turned from y-up to its up axis.

    Raises:
        MeshError: the suffix is not supported.
        DataError: the disk is full.
    """
    import trimesh

    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in WRITABLE:
        raise MeshError(
            f"cannot write {suffix or 'a file without suffix'}", path=path, hint=f"use {' '.join(WRITABLE)}"
        )
    mesh = bake(mesh)
    colors = None
    if mesh.colors is not None:
        values = srgb_to_linear(mesh.colors) if suffix == ".glb" else mesh.colors
        rgba = np.concatenate([values, np.ones((len(values), 1), np.float32)], axis=1)
        colors = np.round(255 * np.clip(rgba, 0, 1)).astype(np.uint8)
    up = frame.up if frame else "y"
    file_mesh = trimesh.Trimesh(
        _turned(mesh.vertices, up),
        mesh.faces,
        vertex_colors=colors,
        vertex_normals=None if normals is None else _turned(normals, up),
        process=False,
    )
    flag = {".ply": "vertex_normal", ".obj": "include_normals", ".glb": "include_normals"}
    options: dict[str, Any] = {flag[suffix]: normals is not None} if suffix in flag else {}
    if suffix in _DECIMALS:
        options["digits"] = _decimals(mesh, _DECIMALS[suffix])
    else:
        _check_float32(mesh, path)
    data: Any = file_mesh.export(file_type=suffix[1:], **options)
    data = data.encode() if isinstance(data, str) else data
    write_bytes(path, marked(data, suffix, frame) if frame else data)


def _turned(vectors: NDArray[np.floating], up: Up) -> NDArray[np.floating]:
    """(N, 3) vectors, +y up, in a frame with another up axis."""
    return vectors if up == "y" else vectors @ TURNS[up]


def _decimals(mesh: Mesh, least: int) -> int:
    """Decimal places of a text format that preserve the mesh to 1e-9 of its extent."""
    extent = _extent(mesh)
    return least if extent <= 0 else max(least, 9 - math.floor(math.log10(extent)))


def _check_float32(mesh: Mesh, path: Path) -> None:
    """Warn of a mesh so far from the origin that float32, the type of binary formats, distorts it."""
    extent = _extent(mesh)
    if extent <= 0:
        return
    error = float(np.spacing(np.float32(np.abs(mesh.vertices).max()))) / 2.0 / extent
    if error > _MOST_ROUNDING:
        text = "%s: so far from the origin, float32 rounds vertices by %.2g of the extent; write .obj or .off"
        logger.warning(text, path, error)


def _extent(mesh: Mesh) -> float:
    return float(np.ptp(mesh.vertices, axis=0).max()) if len(mesh.vertices) else 0.0
