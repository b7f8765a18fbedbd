"""Parts of a mesh file as trimesh reads them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from .colors import part_of
from .parts import FileContents


def read_by_trimesh(path: Path, data: bytes | None = None) -> FileContents:
    """Read a file of a format that trimesh reads right."""
    import trimesh

    kind = path.suffix.lower()
    data = path.read_bytes() if data is None else data

    # Textures and buffers may be links or, as ShapeNet's, in a folder beside.
    resolver = trimesh.resolvers.FilePathResolver(str(path), allow_anywhere=True)
    loaded = trimesh.load(io.BytesIO(data), file_type=kind[1:], resolver=resolver, process=False)
    scene = loaded if isinstance(loaded, trimesh.Scene) else trimesh.Scene(loaded)
    contents = FileContents()
    for node in scene.graph.nodes_geometry:
        transform, name = scene.graph[node]
        mesh = scene.geometry[name]
        if not isinstance(mesh, trimesh.Trimesh):
            continue
        with np.errstate(invalid="ignore"):
            vertices = np.asarray(mesh.vertices, np.float64) @ transform[:3, :3].T + transform[:3, 3]
        faces = np.asarray(mesh.faces, np.int64)
        if np.linalg.det(transform[:3, :3]) < 0:
            faces = faces[:, ::-1]
        contents.parts.append(part_of(vertices, faces, mesh.visual))
    return contents
