"""Typed arrays of a glTF file: buffer views, compressed or not, and accessors, sparse or not."""

from __future__ import annotations

from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from .document import Document, extension, integer

_COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}

# An accessor without a buffer view is zero apart from its sparse values. Each item belongs to a vertex, which has other data
# in the file, so a larger number of items per byte of the file is invalid.
_ZEROS_PER_BYTE = 4
_ZEROS = 65_536

# A block of 256 items takes at least two bits per byte of an item (KHR_meshopt_compression, Appendix A).
_MESHOPT_RATIO = 1024
_MESHOPT_LIMIT = 2**30  # bytes of one view


class Accessors:
    """The accessors of a document."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self._decoded: dict[int, memoryview] = {}

    def raw(self, index: Any, may_be_zero: bool = False) -> NDArray[Any]:
        """The items of an accessor as stored.

        Args:
            index: of the accessor.
            may_be_zero: whether an accessor without data means zeros, as in the standard. Vertices or faces without data
                belong to an unsupported extension.

        Returns:
            (count, width) array of the component type; it may be a view of the file's data.

        Raises:
            MeshError: more items than there is data, or a component type or shape that is not supported.
        """
        accessor = self.document.entry("accessors", index)
        component, kind = accessor["componentType"], accessor["type"]
        if component not in _COMPONENTS or kind not in _WIDTHS:
            raise self.document.error(
                f"accessor {index} has the type {kind} of {component}, which is not read"
            )
        dtype, width = np.dtype(_COMPONENTS[component]), _WIDTHS[kind]
        count = integer(accessor["count"])
        sparse = accessor.get("sparse")
        changes = self._sparse(index, sparse, dtype, width, count) if sparse is not None else None
        if "bufferView" in accessor:
            items = self._items(f"accessor {index}", accessor, dtype, width, count)
        elif changes is None and not may_be_zero:
            raise self.document.error(f"accessor {index} has no data")
        else:
            if count > _ZEROS + _ZEROS_PER_BYTE * self.document.size_loaded():
                raise self.document.error(f"accessor {index} declares {count} items without data")
            items = np.zeros((count, width), dtype)
        if changes is not None:
            items = items.copy()
            items[changes[0]] = changes[1]
        return items

    def floats(
        self, index: Any, normalized: bool | None = None, may_be_zero: bool = False
    ) -> NDArray[np.floating]:
        """The items of an accessor as numbers.

        Args:
            index: of the accessor.
            normalized: whether integers are fractions; by default as in the accessor.
            may_be_zero: as in `raw`.

        Returns:
            (count, width) float32 for stored floats, float64 for integers.
        """
        accessor = self.document.entry("accessors", index)
        fractions = bool(accessor.get("normalized")) if normalized is None else normalized
        return as_floats(self.raw(index, may_be_zero), fractions)

    def view(self, index: Any) -> tuple[memoryview, int]:
        """The bytes of a buffer view, decompressed, and its stride (0: items are packed tightly).

        Raises:
            MeshError: it exceeds its buffer, or it cannot be decompressed.
        """
        view = self.document.entry("bufferViews", index)
        stride = integer(view.get("byteStride") or 0)
        for name in ("EXT_meshopt_compression", "KHR_meshopt_compression"):
            if (compressed := extension(view, name)) is not None:
                if index not in self._decoded:
                    self._decoded[index] = self._decompressed(index, compressed)
                return self._decoded[index], stride
        return self._slice(f"bufferView {index}", view), stride

    def _slice(self, what: str, view: dict[str, Any]) -> memoryview:
        buffer = self.document.buffer(view["buffer"])
        start, size = integer(view.get("byteOffset", 0)), integer(view["byteLength"])
        if start + size > len(buffer):
            raise self.document.error(f"{what} ends at byte {start + size} of a buffer of {len(buffer)}")
        return buffer[start : start + size]

    def _items(
        self, what: str, where: dict[str, Any], dtype: np.dtype[Any], width: int, count: int
    ) -> NDArray[Any]:
        """(count, width) items of a buffer view from `where["byteOffset"]` on."""
        data, stride = self.view(where["bufferView"])
        start, size = integer(where.get("byteOffset", 0)), dtype.itemsize * width
        stride = stride or size
        if stride < size:
            raise self.document.error(f"{what} has items of {size} bytes, {stride} apart")
        if count and start + stride * (count - 1) + size > len(data):
            raise self.document.error(
                f"{what} needs {start + stride * (count - 1) + size} bytes, its buffer view has {len(data)}"
            )
        if not count:
            return np.zeros((0, width), dtype)
        return np.ndarray((count, width), dtype, data, start, (stride, dtype.itemsize))

    def _sparse(
        self, index: Any, sparse: dict[str, Any], dtype: np.dtype[Any], width: int, count: int
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """The items that sparse storage replaces, and their values."""
        changed = integer(sparse["count"])
        places = np.dtype(_COMPONENTS[sparse["indices"]["componentType"]])
        what = f"accessor {index} (sparse)"
        where = self._items(what, sparse["indices"], places, 1, changed)[:, 0]
        if places.kind != "u" or (changed and where.max() >= count):
            raise self.document.error(f"{what} replaces an item outside 0..{count - 1}")
        return where, self._items(what, sparse["values"], dtype, width, changed)

    def _decompressed(self, index: Any, compressed: dict[str, Any]) -> memoryview:
        """The bytes of a view with EXT_meshopt_compression or KHR_meshopt_compression."""
        import meshopt

        what = f"bufferView {index} (meshopt)"
        data = self._slice(what, compressed)
        count, size = integer(compressed["count"]), integer(compressed["byteStride"])
        if count * size > min(_MESHOPT_RATIO * len(data), _MESHOPT_LIMIT):
            raise self.document.error(f"{what} declares {count} items of {size} bytes in {len(data)} bytes")
        mode = cast(Literal["ATTRIBUTES", "TRIANGLES", "INDICES"], compressed["mode"])
        try:
            items = meshopt.decode_gltf_buffer(data, count, size, mode, compressed.get("filter", "NONE"))
        except Exception as error:
            raise self.document.error(f"{what} cannot be decompressed: {error}") from error
        return memoryview(items.tobytes())


def as_floats(items: NDArray[Any], normalized: bool) -> NDArray[np.floating]:
    """Stored items as numbers (glTF 2.0, section 3.11; KHR_mesh_quantization).

    Returns:
        float32 for floats, float64 for integers; normalised ones in [0, 1] or [-1, 1].
    """
    if items.dtype.kind == "f":
        return items.astype(np.float32, copy=False)
    values = items.astype(np.float64)
    if normalized:
        values /= np.iinfo(items.dtype).max
        np.maximum(values, -1.0, out=values)
    return values
