"""The XML of COLLADA files: elements without namespaces, references, numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from occnet_lib.errors import MeshError


class Document:
    """A parsed COLLADA file (1.4 or 1.5).

    Attributes:
        path: of the file, for messages and files beside it.
        root: its root; tags have no namespaces.
        unread: one line per part that cannot be read.
    """

    def __init__(self, path: Path, data: bytes) -> None:
        self.path = path
        self.root = ElementTree.fromstring(data)
        self.unread: list[str] = []
        self._by_id: dict[str, Element] = {}
        for element in self.root.iter():
            element.tag = element.tag.rpartition("}")[2]
            if name := element.get("id"):
                self._by_id.setdefault(name, element)
        if self.root.tag != "COLLADA":
            raise self.error(f"the root of the XML is {self.root.tag}, not COLLADA")

    def target(self, url: str | None) -> Element:
        """The element of a URL or id.

        Raises:
            MeshError: it does not exist or is in another file.
        """
        file, _, name = (url or "").strip().rpartition("#")
        if file:
            raise self.error(f"{url} is in another file, which is not read")
        if name not in self._by_id:
            raise self.error(f"malformed COLLADA: no element has the id {name!r}")
        return self._by_id[name]

    def find(self, name: str) -> Element | None:
        """The element with an id."""
        return self._by_id.get(name.strip().removeprefix("#"))

    def error(self, message: str) -> MeshError:
        """An error with the path of the file."""
        return MeshError(message, path=self.path)


def text_of(element: Element | None) -> str:
    """Text of an element without white space around it; empty without an element."""
    return ((element.text if element is not None else "") or "").strip()


def numbers(element: Element | None) -> NDArray[np.float64]:
    """Numbers in the text of an element; empty without an element."""
    from occnet_lib.storage.meshes.numbers import numbers_of  # importing numba takes 0.5 s

    return numbers_of(text_of(element).encode())


def integers(element: Element | None) -> NDArray[np.int64]:
    """Integers in the text of an element."""
    values = numbers(element)
    if not (np.abs(values) < 2**31).all():
        raise ValueError("an index that is not a 32-bit integer")
    return values.astype(np.int64)


def descend(element: Element | None, *tags: str) -> Element | None:
    """The first child of the first child … with these tags."""
    for tag in tags:
        if element is None:
            return None
        element = element.find(tag)
    return element


def children(element: Element, *tags: str) -> Iterator[Element]:
    """The children with one of the tags, in order."""
    return (child for child in element if child.tag in tags)
