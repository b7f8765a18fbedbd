"""The scene of COLLADA files: nodes with their transforms, geometries, skins."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from occnet_lib.storage.meshes.frame import Up
from occnet_lib.storage.meshes.parts import (
    MAX_INSTANCES,
    FileContents,
    Part,
    compact,
    of_faces,
    of_one_color,
    turned,
)

from .document import Document, children, descend, numbers, text_of
from .geometry import Primitive, posed, primitives
from .materials import Look, Materials

logger = logging.getLogger(__name__)

_DEEPEST = 200  # depth of nodes


def read_dae(path: Path, data: bytes) -> FileContents:
    """Read a COLLADA file in its own units and axes; `up` is the axis that it defines.

    A texture replaces the colour of the material and vertex colours; vertex colours replace the colour. Opacity is not
    used, lines are skipped.

    Raises:
        MeshError, ValueError, IndexError: malformed, or with unsupported geometry (other files, polygons with
            holes, morph targets).
    """
    return _Reader(Document(path, data)).read()


class _Reader:
    def __init__(self, document: Document) -> None:
        self._document = document
        self._materials = Materials(document)
        self._geometries: dict[str, list[Primitive]] = {}
        self._contents = FileContents(unread=document.unread)
        self._worlds: dict[Element, NDArray[np.float64]] = {}
        self._skins: list[Element] = []
        self._nodes = 0

    def read(self) -> FileContents:
        scenes = list(self._roots())
        for scene in scenes:
            for node in scene.findall("node"):
                self._node(node, np.eye(4), 0)
        for instance in self._skins:
            self._controller(instance)
        if not scenes:
            for geometry in self._document.root.iter("geometry"):
                self._geometry(geometry, np.eye(4), {})
        if any(True for tag in ("lines", "linestrips") for _ in self._document.root.iter(tag)):
            logger.info("%s: lines are skipped, they have no surface", self._document.path)
        letter = text_of(descend(self._document.root, "asset", "up_axis"))[:1].lower()
        self._contents.up = letter if letter in get_args(Up) else None  # type: ignore[assignment]
        return self._contents

    def _roots(self) -> Iterator[Element]:
        """The visual scene of the file; by default the first."""
        shown = descend(self._document.root, "scene", "instance_visual_scene")
        if shown is not None:
            yield self._document.target(shown.get("url"))
        elif (first := next(self._document.root.iter("visual_scene"), None)) is not None:
            yield first

    def _node(self, node: Element, outer: NDArray[np.float64], depth: int) -> None:
        self._nodes += 1
        if depth > _DEEPEST or self._nodes > MAX_INSTANCES:
            raise self._document.error("malformed COLLADA: nodes in a circle, or too many instances of nodes")
        matrix = outer @ matrix_of(node)
        self._worlds.setdefault(node, matrix)
        for child in node:
            if child.tag == "node":
                self._node(child, matrix, depth + 1)
            elif child.tag == "instance_node":
                self._node(self._document.target(child.get("url")), matrix, depth + 1)
            elif child.tag == "instance_geometry":
                geometry = self._document.target(child.get("url"))
                self._geometry(geometry, matrix, _bindings(child))
            elif child.tag == "instance_controller":
                self._skins.append(child)  # its joints may come later

    def _controller(self, instance: Element) -> None:
        """A skinned geometry; the transform of its node is ignored."""
        controller = self._document.target(instance.get("url"))
        skin = controller.find("skin")
        if skin is None:
            raise self._document.error(f"morph targets ({controller.get('id')}) are not read")
        geometry = self._document.target(skin.get("source"))
        if geometry.tag != "geometry":
            raise self._document.error(f"a skin over {geometry.tag} {geometry.get('id')} is not read")
        for primitive in self._primitives(geometry):
            vertices = posed(self._document, instance, skin, primitive.positions, self._worlds)
            self._add(primitive, vertices, _bindings(instance))

    def _geometry(self, geometry: Element, matrix: NDArray[np.float64], bound: dict[str, Element]) -> None:
        for primitive in self._primitives(geometry):
            with np.errstate(invalid="ignore", over="ignore"):
                vertices = primitive.positions @ matrix[:3, :3].T + matrix[:3, 3]
            self._add(primitive, vertices, bound, mirrored=bool(np.linalg.det(matrix[:3, :3]) < 0))

    def _primitives(self, geometry: Element) -> list[Primitive]:
        name = geometry.get("id", "")
        if name not in self._geometries:
            self._geometries[name] = list(primitives(self._document, geometry))
        return self._geometries[name]

    def _add(
        self,
        primitive: Primitive,
        vertices: NDArray[np.float64],
        bound: dict[str, Element],
        mirrored: bool = False,
    ) -> None:
        instance = bound.get(primitive.material)
        look = Look()
        if instance is not None:
            look = self._materials.look(instance.get("target", ""))
        elif primitive.material and self._document.find(primitive.material) is not None:
            look = self._materials.look(f"#{primitive.material}")
        elif primitive.material and self._document.root.find("library_materials/material") is not None:
            self._document.unread.append(f"material {primitive.material}: the scene binds it to none")
        uv = self._uv(primitive, look, instance)
        part = _part(primitive, vertices, look, uv)
        self._contents.add(turned(part, mirrored), self._document.path)

    def _uv(self, primitive: Primitive, look: Look, instance: Element | None) -> NDArray[np.float32] | None:
        """(F, 3, 2) coordinates for the texture of a look, v downwards."""
        if look.texture is None:
            return None
        if not primitive.uv:
            self._document.unread.append(
                f"{len(primitive.faces)} faces with a texture have no texture coordinates"
            )
            return None
        inputs = () if instance is None else children(instance, "bind_vertex_input")
        number = next((i.get("input_set", "0") for i in inputs if i.get("semantic") == look.texcoord), "")
        uv = primitive.uv.get(number, next(iter(primitive.uv.values())))
        return np.stack([uv[..., 0], 1 - uv[..., 1]], axis=-1)


def _bindings(instance: Element) -> dict[str, Element]:
    """The `instance_material` of each symbol."""
    technique = descend(instance, "bind_material", "technique_common")
    if technique is None:
        return {}
    return {item.get("symbol", ""): item for item in technique.findall("instance_material")}


def _part(
    primitive: Primitive, vertices: NDArray[np.float64], look: Look, uv: NDArray[np.float32] | None
) -> Part:
    if uv is not None:
        return compact(vertices, primitive.faces, None, uv, look.texture)
    if primitive.colors is not None:
        return of_faces(vertices[primitive.faces], primitive.colors)
    if look.color is None:
        return compact(vertices, primitive.faces, None)
    return of_one_color(vertices, primitive.faces, look.color)


_SIZES = {"matrix": 16, "translate": 3, "rotate": 4, "scale": 3, "lookat": 9}


def matrix_of(node: Element) -> NDArray[np.float64]:
    """(4, 4) product of a node's transforms, in their order.

    Raises:
        ValueError: a transform with another number of values, or a shear.
    """
    matrix = np.eye(4)
    for child in node:
        if child.tag == "skew":
            raise ValueError("<skew> is not supported")
        if child.tag not in _SIZES:
            continue
        values = numbers(child)
        if len(values) != _SIZES[child.tag]:
            raise ValueError(f"a <{child.tag}> of {len(values)} numbers")
        with np.errstate(all="ignore"):
            matrix = matrix @ _MATRICES[child.tag](values)
    return matrix


def _translate(values: NDArray[np.float64]) -> NDArray[np.float64]:
    matrix = np.eye(4)
    matrix[:3, 3] = values
    return matrix


def _rotate(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """About an axis by an angle in degrees (Rodrigues' formula)."""
    matrix = np.eye(4)
    length = np.linalg.norm(values[:3])
    if length == 0:
        return matrix
    x, y, z = values[:3] / length
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(values[3])
    matrix[:3, :3] += np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return matrix


def _lookat(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Frame of an eye that looks along -z at a point, y being up."""
    eye, point, up = values.reshape(3, 3)
    back = eye - point
    right = np.cross(up, back)
    true_up = np.cross(back, right)
    matrix = np.eye(4)
    axes = [axis / (np.linalg.norm(axis) or 1.0) for axis in (right, true_up, back)]
    matrix[:3, :3], matrix[:3, 3] = np.stack(axes, axis=1), eye
    return matrix


_MATRICES: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "matrix": lambda values: values.reshape(4, 4),
    "scale": lambda values: np.diag([*values, 1.0]),
    **{"translate": _translate, "rotate": _rotate, "lookat": _lookat},
}
