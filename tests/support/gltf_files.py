"""Small glTF files, written by hand, so that what is read was not made by the code that reads it."""

from __future__ import annotations

import base64
import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

COMPONENTS = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}
KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}

# The unit cube around the origin, faces outward.
CUBE = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
CUBE_FACES = np.array(
    [
        *([0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1]),
        *([2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]),
    ]
)
SQUARE = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
SQUARE_FACES = np.array([[0, 1, 2], [0, 2, 3]])


class GltfFile:
    """A glTF file in the making; `tree` is its JSON part, free to be changed."""

    def __init__(self) -> None:
        self.tree: dict[str, Any] = {"asset": {"version": "2.0"}}
        self.blob = bytearray()

    def add(self, kind: str, entry: dict[str, Any]) -> int:
        """Append to a top-level array; the number of the entry."""
        self.tree.setdefault(kind, []).append(entry)
        return len(self.tree[kind]) - 1

    def view(self, data: bytes, **more: Any) -> int:
        """A buffer view."""
        self.blob += b"\0" * (-len(self.blob) % 4)
        start = len(self.blob)
        self.blob += data
        return self.add("bufferViews", {"buffer": 0, "byteOffset": start, "byteLength": len(data), **more})

    def accessor(self, values: NDArray[Any], **more: Any) -> int:
        """An accessor of (count, width) or (count,) values, packed tightly."""
        entry = self.described(values)
        return self.add("accessors", {"bufferView": self.view(values.tobytes()), **entry, **more})

    @staticmethod
    def described(values: NDArray[Any]) -> dict[str, Any]:
        """Type, component type and count of an array."""
        rows = values.reshape(len(values), -1)
        return {
            "componentType": COMPONENTS[values.dtype.str[1:]],
            "type": KINDS[rows.shape[1]],
            "count": len(rows),
        }

    def primitive(self, vertices: Any, faces: Any = None, **attributes: Any) -> dict[str, Any]:
        """A primitive; attributes are arrays of float64 (stored as float32) or of what is stored, or accessors."""
        attributes = {"POSITION": vertices, **attributes}
        numbers = {name: self._stored(value) for name, value in attributes.items()}
        primitive: dict[str, Any] = {"attributes": numbers}
        if faces is not None:
            primitive["indices"] = self.accessor(np.asarray(faces).astype("<u2").ravel())
        return primitive

    def mesh(self, *primitives: dict[str, Any], **more: Any) -> int:
        """A mesh."""
        return self.add("meshes", {"primitives": list(primitives), **more})

    def node(self, **entry: Any) -> int:
        """A node."""
        return self.add("nodes", entry)

    def scene(self, *nodes: int) -> int:
        """A scene."""
        return self.add("scenes", {"nodes": list(nodes)})

    def require(self, *names: str) -> None:
        """Name extensions in extensionsRequired."""
        self.tree.setdefault("extensionsRequired", []).extend(names)

    def image(self, pixels: NDArray[np.uint8], encoding: str = "PNG", **sampler: int) -> int:
        """A texture of (H, W, 3) pixels in the file."""
        image = self.add("images", {"bufferView": self.view(encoded(pixels, encoding))})
        texture = {"source": image}
        if sampler:
            texture["sampler"] = self.add("samplers", dict(sampler))
        return self.add("textures", texture)

    def material(self, **pbr: Any) -> int:
        """A material of the metallic-roughness model."""
        return self.add("materials", {"pbrMetallicRoughness": pbr})

    def save_glb(self, path: Path, after: bytes = b"") -> Path:
        """Write a .glb file, with bytes behind its end."""
        path.write_bytes(self.glb() + after)
        return path

    def glb(self, chunk_padding: int = 0) -> bytes:
        """The bytes of a .glb file whose binary chunk has bytes too many."""
        self.tree["buffers"] = [{"byteLength": len(self.blob)}, *self.tree.get("buffers", [])[1:]]
        text = json.dumps(self.tree).encode()
        text += b" " * (-len(text) % 4)
        binary = bytes(self.blob) + b"\0" * (-len(self.blob) % 4 + chunk_padding)
        chunks = struct.pack("<2I", len(text), 0x4E4F534A) + text
        chunks += struct.pack("<2I", len(binary), 0x004E4942) + binary
        return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks

    def save_gltf(self, path: Path, uri: str | None = None) -> Path:
        """Write a .gltf file; its buffer is a data URI unless one is given."""
        data = "data:application/octet-stream;base64," + base64.b64encode(self.blob).decode()
        self.tree["buffers"] = [{"byteLength": len(self.blob), "uri": uri or data}]
        path.write_text(json.dumps(self.tree))
        return path

    def _stored(self, value: Any) -> int:
        if isinstance(value, int):
            return value
        array = np.asarray(value)
        return self.accessor(array.astype("<f4") if array.dtype == np.float64 else array)


def encoded(pixels: NDArray[np.uint8], encoding: str = "PNG") -> bytes:
    """The bytes of an image file."""
    from PIL import Image

    stream = io.BytesIO()
    options = {"lossless": True} if encoding == "WEBP" else {}
    Image.fromarray(pixels).save(stream, encoding, **options)
    return stream.getvalue()


def cube_file(**node: Any) -> GltfFile:
    """A file with one cube at one node."""
    file = GltfFile()
    file.node(mesh=file.mesh(file.primitive(CUBE, CUBE_FACES)), **node)
    return file
