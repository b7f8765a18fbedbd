"""glTF 1.0, which only Assimp reads."""

from __future__ import annotations

import numpy as np

from occnet_lib.geometry.colors import DEFAULT_COLOR, linear_to_srgb
from occnet_lib.storage.meshes.parts import FileContents, Part

from .document import Document


def read_gltf1(document: Document) -> FileContents:
    """Read a file of version 1.0 with open3d's Assimp, which puts the parts in their places.

    Textures are not read, which is reported.

    Raises:
        MeshError: Assimp reads nothing of it, or it is compressed.
    """
    if document.path.suffix.lower() == ".gz":
        raise document.error("compressed glTF 1.0 is not supported", "decompress it: gunzip")
    import open3d

    with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
        model = open3d.io.read_triangle_model(str(document.path))  # type: ignore[arg-type]  # wrong stubs
    if not model.meshes:
        raise document.error("this glTF 1.0 file cannot be read", "convert it to glTF 2.0")
    contents = FileContents()
    for info in model.meshes:
        vertices = np.asarray(info.mesh.vertices, np.float64)
        faces = np.asarray(info.mesh.triangles, np.int64)
        color = np.full(3, DEFAULT_COLOR, np.float32)
        if 0 <= info.material_idx < len(model.materials):
            color = linear_to_srgb(np.array(model.materials[info.material_idx].base_color[:3], np.float32))
        contents.parts.append(Part(vertices, faces, np.tile(color, (len(vertices), 1))))
    if document.tree.get("textures"):
        contents.unread.append("textures of glTF 1.0 are not read; convert the file to glTF 2.0")
    return contents
