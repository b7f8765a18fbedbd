"""Reading of a glTF file as placed parts; of version 1.0 through Assimp."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from occnet_lib.geometry.colors import DEFAULT_COLOR, linear_to_srgb
from occnet_lib.storage.meshes.isolated import call_isolated
from occnet_lib.storage.meshes.parts import FileContents, Part, of_one_color, turned

from .accessors import Accessors
from .document import Document, extension
from .materials import Materials
from .nodes import Matrix, Nodes
from .primitives import POINTS_AND_LINES, Attributes, skin

# A primitive before it is placed: a part in the frame of its mesh, and its attributes for skinning.
_Primitive = tuple[Part, Attributes]


def read_gltf(path: Path, data: bytes | None = None) -> FileContents:
    """Read a .gltf or .glb file.

    The default scene, or the first one if there is no default, is read with instances, skinned meshes in the pose of the
    file and morph targets at their default weights. Points and lines have no surface and are skipped, which is reported.

    Args:
        path: the file, which may refer to files beside it.
        data: its content, if it was read already.

    Returns:
        one part per primitive and placement. Colours are material × texture × vertex colours; a texture that cannot be
        read is replaced by grey and reported.

    Raises:
        MeshError: the file is truncated or malformed, or needs an unsupported extension.
    """
    document = Document(path, data)
    asset = document.tree.get("asset") or {}
    # Version 1 has objects where version 2 has arrays, and its version is optional.
    version = str(asset.get("version", "1.0" if isinstance(document.tree.get("meshes"), dict) else "2.0"))
    if version.startswith("1"):
        return read_gltf1(document)
    needed = str(asset.get("minVersion", version))
    if not needed.startswith("2"):
        raise document.error(f"glTF version {needed} is not supported", "versions 1 and 2 are read")
    check_required(document)
    return _Reader(document).read()


class _Reader:
    """One reading of a file of version 2."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._accessors = Accessors(document)
        self._materials = Materials(self._accessors)
        self._nodes = Nodes(document)
        self._meshes: dict[tuple[int, tuple[float, ...]], list[_Primitive]] = {}
        self._contents = FileContents()

    def read(self) -> FileContents:
        """All parts of the scene."""
        for node, transform in self._nodes.shown():
            for part in self._placed(node, transform):
                self._contents.add(part, self._document.path)
        if "scene" not in self._document.tree and len(self._document.tree.get("scenes", [])) > 1:
            self._contents.unread.append(
                "the file has several scenes and no default; only the first one is read"
            )
        self._contents.unread += self._materials.unread
        return self._contents

    def _placed(self, node: dict[str, Any], transform: Matrix) -> Iterator[Part]:
        """The parts of a node's mesh."""
        primitives = self._mesh(node)
        if "skin" in node:
            if extension(node, "EXT_mesh_gpu_instancing") is not None:
                raise self._document.error(
                    "instances of a skinned mesh (EXT_mesh_gpu_instancing) are not defined"
                )
            joints = self._nodes.joints(self._accessors, node["skin"])
            for part, attributes in primitives:
                yield self._skinned(part, attributes, joints)
            return
        for matrix in self._nodes.instances(self._accessors, node, transform):
            for part, _ in primitives:
                yield _moved(part, matrix)

    def _mesh(self, node: dict[str, Any]) -> list[_Primitive]:
        index = node["mesh"]
        mesh = self._document.entry("meshes", index)
        weights = tuple(float(weight) for weight in node.get("weights", mesh.get("weights", ())))
        if (index, weights) not in self._meshes:
            self._meshes[index, weights] = list(self._primitives(mesh, weights))
        return self._meshes[index, weights]

    def _primitives(self, mesh: dict[str, Any], weights: tuple[float, ...]) -> Iterator[_Primitive]:
        for primitive in mesh["primitives"]:
            if primitive.get("mode", 4) in POINTS_AND_LINES:
                self._contents.unread.append("points or lines are skipped, they have no surface")
                continue
            attributes = Attributes(self._accessors, primitive, weights)
            if "POSITION" not in attributes:
                self._contents.unread.append("a primitive without positions is skipped")
                continue
            vertices = attributes.floats("POSITION", 3).astype(np.float64)
            part = Part(vertices, attributes.faces(len(vertices)))
            yield self._materials.colored(part, primitive, attributes), attributes

    def _skinned(self, part: Part, attributes: Attributes, transforms: NDArray[np.float64]) -> Part:
        joints, weights = attributes.influences()
        if len(joints) != len(part.vertices) or weights.shape != joints.shape:
            raise self._document.error("malformed glTF: the numbers of joints, weights and vertices differ")
        if joints.size and (joints.min() < 0 or joints.max() >= len(transforms)):
            raise self._document.error(f"a vertex refers to a joint outside 0..{len(transforms) - 1}")
        vertices, mirrored = skin(part.vertices, joints, weights, transforms)
        return turned(replace(part, vertices=vertices), mirrored[part.faces[:, 0]])


def _moved(part: Part, matrix: Matrix) -> Part:
    """A placed part; faces stay counter-clockwise if the transform mirrors."""
    with np.errstate(invalid="ignore", over="ignore"):
        vertices = part.vertices @ matrix[:3, :3].T + matrix[:3, 3]
        mirrors = bool(np.linalg.det(matrix[:3, :3]) < 0)
    return turned(replace(part, vertices=vertices), mirrors)


# Supported: they affect geometry or colour.
READ = frozenset(
    {
        *("KHR_mesh_quantization", "KHR_draco_mesh_compression", "EXT_meshopt_compression"),
        *("KHR_meshopt_compression", "EXT_mesh_gpu_instancing", "KHR_node_visibility"),
        *("KHR_texture_transform", "EXT_texture_webp", "EXT_texture_avif", "MSFT_texture_dds"),
        *("KHR_materials_pbrSpecularGlossiness", "KHR_materials_unlit", "KHR_materials_variants"),
        # Its images are not decoded, which is reported; the geometry is right.
        "KHR_texture_basisu",
    }
)

# Ignored: reflection, transparency, light, animation, metadata and coarser levels of detail affect neither geometry nor
# base colour.
IGNORED = frozenset(
    {
        *(
            f"KHR_materials_{name}"
            for name in ("anisotropy", "clearcoat", "dispersion", "ior", "iridescence")
        ),
        *(
            f"KHR_materials_{name}"
            for name in ("sheen", "specular", "transmission", "volume", "volume_scatter")
        ),
        *("KHR_materials_diffuse_transmission", "KHR_lights_punctual", "EXT_lights_ies"),
        *("EXT_lights_image_based", "KHR_animation_pointer", "KHR_xmp_json_ld", "KHR_xmp"),
        *("KHR_materials_emissive_strength", "MSFT_packing_normalRoughnessMetallic"),
        *("MSFT_packing_occlusionRoughnessMetallic", "MSFT_lod", "EXT_mesh_features"),
        *("EXT_instance_features", "EXT_structural_metadata", "CESIUM_primitive_outline"),
        *("KHR_node_selectability", "KHR_node_hoverability", "KHR_audio_emitter", "KHR_interactivity"),
    }
)


def check_required(document: Document) -> None:
    """Refuse a file that requires an unsupported extension.

    Raises:
        MeshError: lists the extensions.
    """
    required = document.tree.get("extensionsRequired") or []
    missing = sorted({str(name)[:80] for name in required} - READ - IGNORED)
    if missing:
        raise document.error(
            f"it needs {' and '.join(missing)}, which {'are' if len(missing) > 1 else 'is'} not supported",
            "export it again without, e.g. as plain glTF 2.0 from Blender",
        )


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
