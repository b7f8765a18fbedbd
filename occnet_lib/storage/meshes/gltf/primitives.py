"""Geometry of a glTF mesh primitive: vertex attributes, morph targets, faces, skinning."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .accessors import Accessors, as_floats
from .document import extension

POINTS_AND_LINES = (0, 1, 2, 3)
_TRIANGLES, _STRIP, _FAN = 4, 5, 6
_CHUNK = 65_536  # vertices skinned together


class Attributes:
    """The vertex attributes of a primitive, with its morph targets at their weights."""

    def __init__(self, accessors: Accessors, primitive: dict[str, Any], weights: Sequence[float]) -> None:
        """Look up the attributes, and decompress Draco data.

        Raises:
            MeshError: the compressed data cannot be read.
        """
        self._accessors = accessors
        self._primitive = primitive
        self._index: dict[str, Any] = primitive.get("attributes", {})
        self._morphs = [
            (float(weight), target)
            for weight, target in zip(weights, primitive.get("targets", ()), strict=False)
            if weight
        ]
        self._decoded: dict[str, NDArray[Any]] = {}
        self._decoded_faces: NDArray[Any] | None = None
        if (draco := extension(primitive, "KHR_draco_mesh_compression")) is not None:
            self._decode(draco)

    def __contains__(self, semantic: str) -> bool:
        return semantic in self._index

    def raw(self, semantic: str) -> NDArray[Any]:
        """(V, width) items as stored, without morph targets."""
        if semantic in self._decoded:
            return self._decoded[semantic]
        return self._accessors.raw(self._index[semantic])

    def floats(self, semantic: str, width: int, normalized: bool | None = None) -> NDArray[np.floating]:
        """(V, width) values of an attribute; integers are fractions if `normalized` or the accessor requires it.

        Raises:
            MeshError: the attribute has fewer components, or another number of items than there are vertices.
        """
        accessor = self._accessors.document.entry("accessors", self._index[semantic])
        fractions = bool(accessor.get("normalized")) if normalized is None else normalized
        values = self._checked(semantic, as_floats(self.raw(semantic), fractions), width)
        for weight, target in self._morphs:
            if semantic in target:
                change = self._accessors.floats(target[semantic], normalized, may_be_zero=True)
                values = values + weight * self._checked(semantic, change, width, len(values))
        return values

    def faces(self, vertex_count: int) -> NDArray[np.int64]:
        """(F, 3) corners of the primitive's triangles.

        Raises:
            MeshError: a corner that is not a vertex, or an unknown mode.
        """
        document = self._accessors.document
        if self._decoded_faces is not None:
            faces = self._decoded_faces.astype(np.int64)
        else:
            if "indices" in self._primitive:
                order = self._accessors.raw(self._primitive["indices"])
                if order.dtype.kind != "u" or order.shape[1] != 1:
                    raise document.error("indices must be unsigned integers")
                corners = order[:, 0].astype(np.int64)
            else:
                corners = np.arange(vertex_count)
            mode = self._primitive.get("mode", _TRIANGLES)
            if mode not in (_TRIANGLES, _STRIP, _FAN):
                raise document.error(f"malformed glTF: a primitive has the mode {mode!r}")
            faces = triangles(corners, mode)
        if faces.size and faces.max() >= vertex_count:
            raise document.error(f"a face refers to a vertex outside 0..{vertex_count - 1}")
        return faces

    def influences(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(V, K) joints that move each vertex, and their (V, K) weights, which sum to one."""
        names = sorted(name for name in self._index if re.fullmatch(r"JOINTS_\d+", name))
        sets = [name.partition("_")[2] for name in names]
        if not sets or any(f"WEIGHTS_{number}" not in self._index for number in sets):
            raise self._accessors.document.error(
                "malformed glTF: a skinned primitive without joints or weights"
            )
        joints = np.hstack([self.raw(name).astype(np.int64) for name in names])
        weights = np.hstack([self.floats(f"WEIGHTS_{number}", 4, True) for number in sets]).astype(np.float64)
        weights = np.maximum(np.nan_to_num(weights), 0.0)
        total = weights.sum(axis=1, keepdims=True)
        weights[total[:, 0] == 0, 0] = 1.0  # as renderers do
        return joints, weights / np.where(total == 0, 1.0, total)

    def _checked(
        self, semantic: str, values: NDArray[np.floating], width: int, count: int | None = None
    ) -> NDArray[np.floating]:
        if values.shape[1] < width or (count is not None and len(values) != count):
            raise self._accessors.document.error(
                f"malformed glTF: {semantic} has the shape {values.shape}, ({count or 'n'}, {width}) was expected"
            )
        return values[:, :width]

    def _decode(self, draco: dict[str, Any]) -> None:
        """Decompress the data of KHR_draco_mesh_compression."""
        import DracoPy

        data, _ = self._accessors.view(draco["bufferView"])
        try:
            mesh = DracoPy.decode(bytes(data))
            faces = mesh.faces
        except Exception as error:  # FileTypeException, ValueError, AttributeError of a point cloud
            message = " ".join(str(error).split())
            raise self._accessors.document.error(f"Draco data cannot be decompressed: {message}") from error
        for semantic, number in draco["attributes"].items():
            attribute = mesh.get_attribute_by_unique_id(number)
            if attribute is None:
                raise self._accessors.document.error(f"Draco data has no attribute {number} ({semantic})")
            values = np.asarray(attribute["data"])
            self._decoded[semantic] = values.reshape(len(values), -1)
        self._decoded_faces = np.asarray(faces).reshape(-1, 3)


def triangles(corners: NDArray[np.int64], mode: int) -> NDArray[np.int64]:
    """(F, 3) triangles of a list, strip or fan; surplus corners are ignored (glTF 2.0, section 3.7.2.1).

    Triangles of a strip with a repeated vertex only connect its pieces and are dropped.
    """
    if mode == _TRIANGLES:
        return corners[: len(corners) // 3 * 3].reshape(-1, 3)
    count = max(len(corners) - 2, 0)
    number = np.arange(count)
    if mode == _FAN:
        return np.stack(
            [corners[number + 1], corners[number + 2], np.full(count, corners[0] if count else 0)], 1
        )
    odd = number % 2
    faces = np.stack([corners[number], corners[number + 1 + odd], corners[number + 2 - odd]], axis=1)
    a, b, c = faces.T
    return faces[(a != b) & (b != c) & (c != a)]


def skin(
    vertices: NDArray[np.float64],
    joints: NDArray[np.int64],
    weights: NDArray[np.float64],
    transforms: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Linear blend skinning (glTF 2.0, section 3.7.3.3).

    Args:
        vertices: (V, 3) as stored.
        joints: (V, K) into `transforms`.
        weights: (V, K), which sum to one.
        transforms: (J, 4, 4) of `Nodes.joints`.

    Returns:
        (V, 3) vertices in the scene, and (V,) whether the joint of the largest weight mirrors.
    """
    placed = np.zeros_like(vertices)
    mirrors = np.linalg.det(transforms[:, :3, :3]) < 0
    for start in range(0, len(vertices), _CHUNK):
        part = slice(start, start + _CHUNK)
        blended = np.einsum("vk,vkij->vij", weights[part], transforms[joints[part], :3])
        placed[part] = np.einsum("vij,vj->vi", blended[:, :, :3], vertices[part]) + blended[:, :, 3]
    strongest = np.take_along_axis(joints, weights.argmax(axis=1)[:, None], axis=1)[:, 0]
    return placed, mirrors[strongest]
