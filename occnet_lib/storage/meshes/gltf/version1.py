"""glTF 1.0, which only Assimp reads."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from occnet_lib.geometry.colors import DEFAULT_COLOR, linear_to_srgb
from occnet_lib.storage.meshes.isolated import call_isolated
from occnet_lib.storage.meshes.parts import FileContents, of_one_color

from .document import Document

_Model = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float32] | None]


def read_gltf1(document: Document) -> FileContents:
    """Read a file of version 1.0 with open3d's Assimp, which places the parts.

    Textures are not read, which is reported.

    Raises:
        MeshError: Assimp reads nothing or crashes, or the file is compressed.
    """
    if document.path.suffix.lower() == ".gz":
        raise document.error("compressed glTF 1.0 is not supported", "decompress it: gunzip")
    try:
        models, _ = call_isolated(read_by_assimp, str(document.path))
    except ValueError as error:
        raise document.error(f"malformed glTF 1.0: {error}", "convert it to glTF 2.0") from error
    if not models:
        raise document.error("this glTF 1.0 file cannot be read", "convert it to glTF 2.0")
    contents = FileContents()
    for vertices, faces, base in models:
        color = np.full(3, DEFAULT_COLOR, np.float32) if base is None else linear_to_srgb(base)
        contents.parts.append(of_one_color(vertices, faces, color))
    if document.tree.get("textures"):
        contents.unread.append("textures of glTF 1.0 are not read; convert the file to glTF 2.0")
    return contents


def read_by_assimp(path: str) -> list[_Model]:
    """(V, 3) vertices, (F, 3) faces and (3,) base colour in linear light, or None, of every part of a file."""
    import open3d

    with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
        model = open3d.io.read_triangle_model(path)  # type: ignore[arg-type]  # wrong stubs
    parts: list[_Model] = []
    for info in model.meshes:
        base = None
        if 0 <= info.material_idx < len(model.materials):
            base = np.array(model.materials[info.material_idx].base_color[:3], np.float32)
        vertices = np.asarray(info.mesh.vertices, np.float64).copy()
        parts.append((vertices, np.asarray(info.mesh.triangles, np.int64).copy(), base))
    return parts
