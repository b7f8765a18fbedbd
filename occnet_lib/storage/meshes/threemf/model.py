"""A model part of a 3MF file (3MF Core Specification 1.3, Materials and Properties Extension 1.2)."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from occnet_lib.types import Wrap

_NAMES = "http://schemas.microsoft.com/3dmanufacturing/"
_PRODUCTION = _NAMES + "production/2015/06"

# Extensions that a file may require: they are supported or do not affect geometry and colours.
_KNOWN = (_NAMES + "core/2015/02", _NAMES + "material/2015/02", _PRODUCTION)
_WRAPS: dict[str, Wrap] = {"wrap": "repeat", "mirror": "mirror", "clamp": "clamp", "none": "clamp"}
_UNREAD = ("multiproperties", "compositematerials", "beamlattice", "beam")

Transform = NDArray[np.float64]  # (4, 3): x' = x @ T[:3] + T[3]
Placement = tuple[str, str, Transform]  # model part (empty: the same), object, transform


@dataclass
class Object:
    """An object: a mesh, or placed components.

    Attributes:
        vertices: 3 numbers each.
        triangles: 3 vertex numbers each.
        properties: 4 numbers per triangle: property group, and index in it per corner; -1: that of the object.
        group, index: default property group and index, or -1.
        components: the placed objects.
    """

    vertices: array[float] = field(default_factory=lambda: array("d"))
    triangles: array[int] = field(default_factory=lambda: array("q"))
    properties: array[int] = field(default_factory=lambda: array("q"))
    group: int = -1
    index: int = 0
    components: list[Placement] = field(default_factory=list)


@dataclass
class Model:
    """A model part.

    Attributes:
        objects: by id.
        colors: RGB in bytes, by id of the group (base materials, colour groups).
        texture_groups: id of the texture and u, v of each index, by id of the group.
        textures: path in the archive and wrapping, by id.
        items: the objects to build.
        unread: names of unsupported elements.
    """

    objects: dict[str, Object] = field(default_factory=dict)
    colors: dict[int, array[int]] = field(default_factory=dict)
    texture_groups: dict[int, tuple[str, array[float]]] = field(default_factory=dict)
    textures: dict[str, tuple[str, tuple[Wrap, Wrap]]] = field(default_factory=dict)
    items: list[Placement] = field(default_factory=list)
    unread: set[str] = field(default_factory=set)


def parse_model(data: bytes) -> Model:
    """Parse a model part.

    Raises:
        ValueError, KeyError, expat.ExpatError: malformed.
        NotImplementedError: it requires an unsupported extension.
    """
    return _Parser().parse(data)


class _Parser:
    """Handlers for expat, which needs less time and memory than an element tree."""

    def __init__(self) -> None:
        self.model = Model()
        self._prefixes: dict[str, str] = {}
        self._object = Object()
        self._colors: array[int] = array("q")
        self._uv: array[float] = array("d")
        self._handlers: dict[str, Callable[[dict[str, str]], None]] = {
            **{"model": self._start_model, "object": self._start_object, "component": self._component},
            **{"vertex": self._vertex, "triangle": self._triangle, "item": self._item},
            **{"basematerials": self._color_group, "colorgroup": self._color_group},
            **{"base": self._color, "color": self._color, "texture2d": self._texture},
            **{"texture2dgroup": self._texture_group, "tex2coord": self._texture_coordinate},
        }

    def parse(self, data: bytes) -> Model:
        parser = expat.ParserCreate(namespace_separator="}")
        parser.StartElementHandler = self._start
        parser.StartNamespaceDeclHandler = self._namespace
        parser.StartDoctypeDeclHandler = _refuse_doctype
        parser.Parse(data, True)
        return self.model

    def _namespace(self, prefix: str | None, uri: str) -> None:
        self._prefixes[prefix or ""] = uri

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        tag = name.rpartition("}")[2]
        if handler := self._handlers.get(tag):
            handler(attributes)
        elif tag in _UNREAD:
            self.model.unread.add(tag)

    def _start_model(self, attributes: dict[str, str]) -> None:
        for prefix in attributes.get("requiredextensions", "").split():
            uri = self._prefixes.get(prefix, prefix)
            if uri not in _KNOWN:
                raise NotImplementedError(
                    f"requires the extension {uri.removeprefix(_NAMES)}, which is not read"
                )

    def _start_object(self, attributes: dict[str, str]) -> None:
        self._object = Object(group=_integer(attributes, "pid"), index=max(0, _integer(attributes, "pindex")))
        self.model.objects[attributes["id"]] = self._object

    def _vertex(self, attributes: dict[str, str]) -> None:
        x, y, z = float(attributes["x"]), float(attributes["y"]), float(attributes["z"])
        self._object.vertices.extend((x, y, z))

    def _triangle(self, attributes: dict[str, str]) -> None:
        a, b, c = int(attributes["v1"]), int(attributes["v2"]), int(attributes["v3"])
        self._object.triangles.extend((a, b, c))
        if "p1" not in attributes:
            self._object.properties.extend((-1, 0, 0, 0))
            return
        first = int(attributes["p1"])
        group = int(attributes.get("pid", self._object.group))
        others = int(attributes.get("p2", first)), int(attributes.get("p3", first))
        self._object.properties.extend((group, first, *others))

    def _component(self, attributes: dict[str, str]) -> None:
        self._object.components.append(_placement(attributes))

    def _item(self, attributes: dict[str, str]) -> None:
        self.model.items.append(_placement(attributes))

    def _color_group(self, attributes: dict[str, str]) -> None:
        self._colors = self.model.colors[int(attributes["id"])] = array("q")

    def _color(self, attributes: dict[str, str]) -> None:
        text = attributes.get("displaycolor", attributes.get("color", "")).lstrip("#")
        rgb = bytes.fromhex(text[:6])
        self._colors.extend(rgb if len(rgb) == 3 else (178, 178, 178))

    def _texture(self, attributes: dict[str, str]) -> None:
        wraps = [_WRAPS.get(attributes.get(f"tilestyle{axis}", "wrap"), "repeat") for axis in "uv"]
        self.model.textures[attributes["id"]] = attributes["path"], (wraps[0], wraps[1])

    def _texture_group(self, attributes: dict[str, str]) -> None:
        self._uv = array("d")
        self.model.texture_groups[int(attributes["id"])] = attributes["texid"], self._uv

    def _texture_coordinate(self, attributes: dict[str, str]) -> None:
        self._uv.extend((float(attributes["u"]), float(attributes["v"])))


def _refuse_doctype(*_: Any) -> None:
    raise ValueError("a document type declaration, which 3MF forbids")


def _integer(attributes: dict[str, str], name: str) -> int:
    return int(attributes.get(name, "-1"))


def _placement(attributes: dict[str, str]) -> Placement:
    path = attributes.get(f"{_PRODUCTION}}}path", "")
    numbers = [float(word) for word in attributes.get("transform", "1 0 0 0 1 0 0 0 1 0 0 0").split()]
    if len(numbers) != 12:
        raise ValueError(f"a transform of {len(numbers)} numbers")
    return path, attributes["objectid"], np.array(numbers).reshape(4, 3)
