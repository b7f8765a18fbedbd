"""The JSON part of a glTF file and the binary data that it refers to."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from occnet_lib.errors import MeshError
from occnet_lib.storage.meshes.side_files import find_uri

_JSON, _BIN = 0x4E4F534A, 0x004E4942  # chunk types of a GLB container


class Document:
    """A glTF file of either version, and its buffers, which are read on use.

    Attributes:
        path: the .gltf or .glb file.
        tree: its JSON part.
    """

    def __init__(self, path: Path, data: bytes | None = None) -> None:
        """Read the file, unless its content is given, and parse its JSON part.

        Raises:
            MeshError: a container of an unknown version, or a truncated one.
            ValueError: not JSON.
        """
        self.path = path
        data = path.read_bytes() if data is None else data
        self._file_size = len(data)
        self._binary: memoryview | None = None
        self._buffers: dict[int, memoryview] = {}
        text: bytes | memoryview = data
        if data[:4] == b"glTF":
            text, self._binary = self._chunks(memoryview(data))
        # File names may have bytes that are not UTF-8.
        tree = json.loads(bytes(text).rstrip(b"\0").decode("utf-8-sig", "surrogateescape"))
        if not isinstance(tree, dict):
            raise ValueError("the JSON part is not an object")
        self.tree: dict[str, Any] = tree

    def error(self, message: str, hint: str = "") -> MeshError:
        """An error with the path of the file."""
        return MeshError(message, path=self.path, hint=hint)

    def entry(self, kind: str, index: Any) -> dict[str, Any]:
        """Element `index` of a top-level array, e.g. `accessors`.

        Raises:
            MeshError: the element does not exist.
        """
        entries = self.tree.get(kind, [])
        if not isinstance(index, int) or not 0 <= index < len(entries):
            raise self.error(f"malformed glTF: it refers to {kind}[{index}] of {len(entries)}")
        entry = entries[index]
        if not isinstance(entry, dict):
            raise self.error(f"malformed glTF: {kind}[{index}] is not an object")
        return entry

    def buffer(self, index: Any) -> memoryview:
        """The bytes of a buffer, as many as the file declares.

        Raises:
            MeshError: its file is missing, or it has fewer bytes than declared.
        """
        if index not in self._buffers:
            declared = self.entry("buffers", index)
            size = integer(declared["byteLength"])
            data = self._buffer_data(index, declared.get("uri"))
            if len(data) < size:
                raise self.error(
                    f"buffer {index} has {len(data)} bytes instead of {size}", "the file is truncated"
                )
            self._buffers[index] = data[:size]
        return self._buffers[index]

    def uri(self, uri: str) -> bytes | Path:
        """The data of a data URI, or the content of the file of a relative URI.

        Raises:
            ValueError: the file is missing, or the URI is of another kind.
        """
        if uri[:5].lower() == "data:":
            head, _, body = uri.partition(",")
            raw = unquote_to_bytes(body)
            return base64.b64decode(raw + b"=" * (-len(raw) % 4)) if head.endswith(";base64") else raw
        try:
            path = find_uri(self.path.parent, uri)
        except OSError as error:  # e.g. a name that is too long
            raise ValueError(f"{uri[:200]} cannot be read ({error.strerror})") from error
        if path is None:
            raise ValueError(f"no such file: {uri[:200]}")
        return path

    def size_loaded(self) -> int:
        """Bytes of the file and of the buffers read so far, an upper bound for declared counts."""
        return self._file_size + sum(len(data) for data in self._buffers.values())

    def _buffer_data(self, index: int, uri: Any) -> memoryview:
        if isinstance(uri, str):
            try:
                data = self.uri(uri)
                return memoryview(data if isinstance(data, bytes) else data.read_bytes())
            except (ValueError, OSError) as error:
                raise self.error(f"buffer {index} cannot be read: {error}") from error
        if index == 0 and self._binary is not None:
            return self._binary
        raise self.error(f"malformed glTF: buffer {index} has no data")

    def _chunks(self, data: memoryview) -> tuple[memoryview, memoryview | None]:
        """The JSON chunk and the binary chunk of a GLB container (glTF 2.0, section 4.4)."""
        version, _ = struct.unpack_from("<2I", data, 4)
        if version == 1:
            length, kind = struct.unpack_from("<2I", data, 12)
            if kind != 0:
                raise self.error("a GLB container of version 1 whose content is not JSON")
            return data[20 : 20 + length], None
        if version != 2:
            raise self.error(f"a GLB container of version {version}", "versions 1 and 2 are read")
        chunks: dict[int, memoryview] = {}
        at = 12
        # A rest shorter than a chunk header is padding; chunks of other types are ignored.
        while at + 8 <= len(data) and not (_JSON in chunks and _BIN in chunks):
            length, kind = struct.unpack_from("<2I", data, at)
            if kind in (_JSON, _BIN) and at + 8 + length > len(data):
                raise self.error(
                    f"a chunk declares {length} bytes, the file has {len(data) - at - 8}",
                    "the file is truncated",
                )
            chunks.setdefault(kind, data[at + 8 : at + 8 + length])
            at += 8 + length
        if _JSON not in chunks:
            raise self.error("malformed glb file: it has no JSON chunk")
        return chunks[_JSON], chunks.get(_BIN)


def integer(value: Any) -> int:
    """A whole number that is not negative; some exporters write 24.0.

    Raises:
        ValueError: anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value) or value < 0:
        raise ValueError(f"a whole number was expected, got {value!r}")
    return int(value)


def extension(entry: dict[str, Any], name: str) -> dict[str, Any] | None:
    """The object of an extension in an element of the JSON part, None if it has none."""
    extensions = entry.get("extensions")
    value = extensions.get(name) if isinstance(extensions, dict) else None
    return value if isinstance(value, dict) else None
