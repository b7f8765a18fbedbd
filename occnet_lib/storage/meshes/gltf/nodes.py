"""Placement of the meshes of a glTF file: scene, transforms, instances, skins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .accessors import Accessors
from .document import Document, extension

Matrix = NDArray[np.float64]


class Nodes:
    """The nodes of a document and their global transforms (glTF 2.0, section 3.5)."""

    def __init__(self, document: Document) -> None:
        """Compute the transform of every node.

        Raises:
            MeshError: a node that has two parents or is its own ancestor.
        """
        self.document = document
        count = len(document.tree.get("nodes", []))
        self._nodes = [document.entry("nodes", index) for index in range(count)]
        self._parents = self._find_parents()
        self._transforms: list[Matrix] = [np.eye(4)] * count
        self._visible = [True] * count
        self._compute_transforms()

    def shown(self) -> Iterator[tuple[dict[str, Any], Matrix]]:
        """The visible nodes that have a mesh, depth first, each with its (4, 4) global transform.

        They are the nodes of the default scene, of the first scene if there is no default, or all nodes without a scene.
        Without nodes, every mesh is at the origin.
        """
        if not self._nodes:
            for index in range(len(self.document.tree.get("meshes", []))):
                yield {"mesh": index}, np.eye(4)
            return
        for index in self._depth_first(self._scene_nodes()):
            node = self._nodes[index]
            if self._visible[index] and "mesh" in node:
                yield node, self._transforms[index]

    def instances(self, accessors: Accessors, node: dict[str, Any], transform: Matrix) -> list[Matrix]:
        """The (4, 4) transforms of a node's mesh: its own, or those of its instances.

        Raises:
            MeshError: instance attributes of different length.
        """
        instancing = extension(node, "EXT_mesh_gpu_instancing")
        if instancing is None:
            return [transform]
        attributes = instancing.get("attributes", {})
        values = {
            name.lower(): accessors.floats(attributes[name], normalized=True if name == "ROTATION" else None)
            for name in ("TRANSLATION", "ROTATION", "SCALE")
            if name in attributes
        }
        counts = {len(value) for value in values.values()}
        if len(counts) != 1:
            raise self.document.error("attributes of EXT_mesh_gpu_instancing differ in length")
        return [
            transform @ _compose({name: value[i] for name, value in values.items()})
            for i in range(counts.pop())
        ]

    def joints(self, accessors: Accessors, skin_index: Any) -> NDArray[np.float64]:
        """(J, 4, 4) transforms of a skin's joints, from the stored mesh to the scene.

        Raises:
            MeshError: fewer inverse bind matrices than joints.
        """
        skin = self.document.entry("skins", skin_index)
        for joint in skin["joints"]:
            self.document.entry("nodes", joint)
        placed = np.array([self._transforms[joint] for joint in skin["joints"]], np.float64).reshape(-1, 4, 4)
        if "inverseBindMatrices" not in skin:
            return placed
        inverse = accessors.floats(skin["inverseBindMatrices"]).astype(np.float64)
        if len(inverse) < len(placed) or inverse.shape[1] != 16:
            raise self.document.error(
                f"skin {skin_index} has {len(placed)} joints and {len(inverse)} inverse bind matrices"
            )
        return placed @ inverse[: len(placed)].reshape(-1, 4, 4).transpose(0, 2, 1)

    def _find_parents(self) -> list[int]:
        parents = [-1] * len(self._nodes)
        for index, node in enumerate(self._nodes):
            for child in node.get("children", ()):
                self.document.entry("nodes", child)
                if parents[child] >= 0 or child == index:
                    raise self.document.error(
                        f"malformed glTF: node {child} has two parents or is its own ancestor"
                    )
                parents[child] = index
        return parents

    def _compute_transforms(self) -> None:
        done = 0
        for index in self._depth_first([i for i, parent in enumerate(self._parents) if parent < 0]):
            node, parent = self._nodes[index], self._parents[index]
            local = _local_transform(node)
            visible = (extension(node, "KHR_node_visibility") or {}).get("visible", True) is not False
            if parent >= 0:
                local, visible = self._transforms[parent] @ local, visible and self._visible[parent]
            self._transforms[index], self._visible[index] = local, visible
            done += 1
        if done < len(self._nodes):  # each node has at most one parent, so the rest forms cycles
            raise self.document.error("malformed glTF: nodes are their own ancestors")

    def _scene_nodes(self) -> list[int]:
        scenes = self.document.tree.get("scenes", [])
        if not scenes:
            return [index for index, parent in enumerate(self._parents) if parent < 0]
        roots = self.document.entry("scenes", self.document.tree.get("scene", 0)).get("nodes", [])
        for root in roots:
            self.document.entry("nodes", root)
        return list(roots)

    def _depth_first(self, roots: list[int]) -> Iterator[int]:
        stack, seen = list(reversed(roots)), set()
        while stack:
            index = stack.pop()
            if index not in seen:
                seen.add(index)
                yield index
                stack += reversed(self._nodes[index].get("children", ()))


def _local_transform(node: dict[str, Any]) -> Matrix:
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T  # stored by columns
    return _compose(
        {name: np.array(node[name]) for name in ("translation", "rotation", "scale") if name in node}
    )


def _compose(parts: dict[str, NDArray[Any]]) -> Matrix:
    """The (4, 4) matrix of a translation, a rotation (quaternion x, y, z, w) and a scale; any may be absent."""
    matrix = np.eye(4)
    if "rotation" in parts:
        matrix[:3, :3] = _rotation(np.asarray(parts["rotation"], np.float64).reshape(4))
    if "scale" in parts:
        matrix[:3, :3] *= np.asarray(parts["scale"], np.float64).reshape(3)
    if "translation" in parts:
        matrix[:3, 3] = np.asarray(parts["translation"], np.float64).reshape(3)
    return matrix


def _rotation(quaternion: NDArray[np.float64]) -> Matrix:
    """(3, 3) matrix of a quaternion x, y, z, w, which quantisation leaves near unit length."""
    length = np.linalg.norm(quaternion)
    if not length > 0:
        return np.eye(3)
    x, y, z, w = quaternion / length
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
