"""Writing mesh files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import MeshError
from occnet_lib.geometry.colors import srgb_to_linear
from occnet_lib.geometry.textures import bake
from occnet_lib.records import Mesh
from occnet_lib.storage.atomic import replacing

WRITABLE = (".obj", ".ply", ".off", ".stl", ".glb")


def save_mesh(mesh: Mesh, path: str | Path, normals: NDArray[np.floating] | None = None) -> None:
    """Write a mesh as OBJ, PLY, OFF, STL or GLB, told by the suffix, atomically.

    Colours, and vertex normals (V, 3) where they are given, are written to OBJ, PLY and GLB. Textures become vertex
    colours.

    Raises:
        MeshError: a suffix that cannot be written.
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
    file_mesh = trimesh.Trimesh(
        mesh.vertices, mesh.faces, vertex_colors=colors, vertex_normals=normals, process=False
    )
    flag = {".ply": "vertex_normal", ".obj": "include_normals", ".glb": "include_normals"}
    told: dict[str, Any] = {flag[suffix]: normals is not None} if suffix in flag else {}
    data: Any = file_mesh.export(file_type=suffix[1:], **told)
    with replacing(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)
