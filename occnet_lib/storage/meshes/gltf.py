"""glTF files."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from occnet_lib.geometry.colors import DEFAULT_COLOR, linear_to_srgb

from .parts import FileContents, Part
from .trimesh_reader import read_by_trimesh


def read_gltf(path: Path) -> FileContents:
    """Read a .gltf or .glb file."""
    return _assimp_parts(path) if _needs_assimp(path) else read_by_trimesh(path)


def _needs_assimp(path: Path) -> bool:
    """Whether a glTF file is of version 1 or compressed by Draco, which trimesh alone cannot read."""
    tree = _gltf_tree(path)
    version = str(tree.get("asset", {}).get("version", "2"))
    return version.startswith("1") or "KHR_draco_mesh_compression" in tree.get("extensionsRequired", ())


def _gltf_tree(path: Path) -> dict[str, Any]:
    """The JSON part of a .gltf or .glb file of either version."""
    data = path.read_bytes()
    if data[:4] != b"glTF":
        tree = json.loads(data.decode("utf-8-sig"))
    else:
        version, _, length, kind = struct.unpack_from("<4I", data, 4)
        if version not in (1, 2) or (version == 1 and kind != 0):
            raise ValueError(f"glTF container of version {version}")
        tree = json.loads(data[20 : 20 + length])
    if not isinstance(tree, dict):
        raise ValueError("the JSON part is no object")
    return tree


def _assimp_parts(path: Path) -> FileContents:
    """Parts read by open3d's Assimp, which puts them in their places itself."""
    import open3d

    with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
        model = open3d.io.read_triangle_model(str(path))  # type: ignore[arg-type]  # wrong stubs
    contents = FileContents()
    for info in model.meshes:
        vertices = np.asarray(info.mesh.vertices, np.float64)
        faces = np.asarray(info.mesh.triangles, np.int64)
        color = np.full(3, DEFAULT_COLOR, np.float32)
        if 0 <= info.material_idx < len(model.materials):
            color = linear_to_srgb(np.array(model.materials[info.material_idx].base_color[:3], np.float32))
        contents.parts.append(Part(vertices, faces, np.tile(color, (len(vertices), 1))))
    return contents
