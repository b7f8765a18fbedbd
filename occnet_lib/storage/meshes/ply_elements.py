"""The elements of PLY files: header, text and binary data of either byte order, lists of any type."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"},
    **{"float": "f4", "double": "f8", "float16": "f2", "float32": "f4", "float64": "f8"},
    **{"int64": "i8", "uint64": "u8", "long": "i8", "ulong": "u8"},
}
_HEADER_END = re.compile(rb"(?:^|[\r\n])[ \t]*end_header[ \t]*(\r\n|\n|\r)")
_LONGEST_HEADER = 2**20
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass(frozen=True)
class Lists:
    """A list property: `values` of all rows, concatenated, and their number in each row (both 1D)."""

    values: NDArray[np.generic]
    sizes: NDArray[np.int64]


@dataclass(frozen=True)
class Property:
    """A property of an element. `count` is the type of a list's length, empty for scalars."""

    name: str
    type: str
    count: str = ""


@dataclass(frozen=True)
class Element:
    """A kind of element as the header declares it."""

    name: str
    rows: int
    properties: list[Property] = field(default_factory=list)


Columns = dict[str, "NDArray[np.generic] | Lists"]


def read_elements(data: bytes) -> tuple[dict[str, Columns], list[str], int]:
    """All elements of a PLY file.

    Returns:
        columns by element and property; the comments; and the number of bytes of a binary file after the declared data.

    Raises:
        ValueError: not a PLY file, a malformed header, less data than declared, or more numbers in a text file.
    """
    match = _HEADER_END.search(data, 0, _LONGEST_HEADER)
    if data[:3] != b"ply" or match is None:
        raise ValueError("no header from `ply` to `end_header`")
    header = data[: match.start()].decode("utf-8", "surrogateescape")
    order, elements, comments = _parse_header(re.split(r"[\r\n]+", header))
    if not order:
        from .numbers import numbers_of  # importing numba takes 0.5 s

        numbers = _Data(numbers_of(data[match.end() :]).tobytes(), 0, "")
        tables = {element.name: numbers.read(element) for element in elements}
        if numbers.at != numbers.size:
            surplus = (numbers.size - numbers.at) // numbers.width("f8")
            raise ValueError(f"{surplus} more numbers than the header declares")
        return tables, comments, 0
    # After lines that end in CR, LF is the first byte of the data.
    only_cr = data[3:4] == b"\r" and data[4:5] != b"\n" and match[1] == b"\r\n"
    source = _Data(data, match.end() - 1 if only_cr else match.end(), order)
    tables = {element.name: source.read(element) for element in elements}
    return tables, comments, len(data[source.at :].strip())


def _parse_header(lines: Sequence[str]) -> tuple[str, list[Element], list[str]]:
    """Byte order (empty: text), elements and comments."""
    order: str | None = None
    elements: list[Element] = []
    comments: list[str] = []
    for line in lines[1:]:
        words = line.split()
        if not words or words[0] == "obj_info":
            continue
        try:
            if words[0] == "comment":
                comments.append(line.strip()[len("comment") :].strip())
            elif words[0] == "format":
                order = _ORDERS[words[1]]
            elif words[0] == "element":
                elements.append(Element(words[1], int(words[2])))
            elif words[0] == "property" and words[1] == "list":
                elements[-1].properties.append(Property(words[4], _TYPES[words[3]], _TYPES[words[2]]))
            elif words[0] == "property":
                elements[-1].properties.append(Property(words[2], _TYPES[words[1]]))
            else:
                raise KeyError(words[0])
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(f"malformed header line: {line.strip()[:60]}") from error
    if order is None or any(element.rows < 0 for element in elements):
        raise ValueError("malformed header: no format, or a negative number of elements")
    return order, elements, comments


class _Data:
    """Bytes from `at` on, of a binary file in its byte order; or of the numbers of a text file (no order), float64 each."""

    def __init__(self, data: bytes, at: int, order: str) -> None:
        self.data, self.at, self.size, self.order = data, at, len(data), order

    def read(self, element: Element) -> Columns:
        """The columns of the element at `at`."""
        lists = [p for p in element.properties if p.count]
        least = sum(self.width(p.count or p.type) for p in element.properties)
        if element.rows and (not least or element.rows > (self.size - self.at) // least):
            room = (self.size - self.at) // max(1, least)
            raise ValueError(
                f"the header declares {element.rows} of {element.name}, the file has room for {room}"
            )
        if not element.rows:
            empty = np.zeros(0, np.int64)
            return {p.name: Lists(empty, empty) if p.count else empty for p in element.properties}
        if lists and (columns := self._of_equal_rows(element, self._first_sizes(element))):
            return columns
        return self._of_any_rows(element) if lists else self._of_equal_rows(element, {}) or {}

    def _first_sizes(self, element: Element) -> dict[str, int]:
        """Lengths of the lists of the first row."""
        at, sizes = self.at, {}
        for p in element.properties:
            if p.count:
                sizes[p.name] = self.length(at, p)
                at += self.width(p.count) + sizes[p.name] * self.width(p.type)
            else:
                at += self.width(p.type)
        return sizes

    def _of_equal_rows(self, element: Element, sizes: dict[str, int]) -> Columns | None:
        """Columns if all rows have lists of these lengths, otherwise None."""
        stride = sum(
            self.width(p.count) + sizes.get(p.name, 1) * self.width(p.type) for p in element.properties
        )
        rows = element.rows
        if rows > (self.size - self.at) // stride:
            return None
        columns: Columns = {}
        at = self.at
        for p in element.properties:
            length = sizes.get(p.name, 1)
            if p.count:
                if (self.table(at, rows, 1, stride, p.count) != length).any():
                    return None
                at += self.width(p.count)
            table = self.table(at, rows, length, stride, p.type)
            columns[p.name] = Lists(table.ravel(), np.full(rows, length)) if p.count else table[:, 0]
            at += length * self.width(p.type)
        self.at += rows * stride
        return columns

    def _of_any_rows(self, element: Element) -> Columns:
        """Columns of rows with lists of different lengths."""
        at = self.at
        starts: list[list[int]] = [[] for _ in element.properties]
        sizes: list[list[int]] = [[] for _ in element.properties]
        steps = [(p, self.width(p.count), self.width(p.type)) for p in element.properties]
        for row in range(element.rows):
            for k, (p, count, width) in enumerate(steps):
                length = 1
                if p.count:
                    length = self.length(at, p) if at + count <= self.size else -1
                at += count
                if length < 0 or at + length * width > self.size:
                    raise ValueError(f"the data ends in row {row} of {element.rows} of {element.name}")
                starts[k].append(at)
                sizes[k].append(length)
                at += length * width
        columns: Columns = {}
        for k, p in enumerate(element.properties):
            lengths = np.array(sizes[k], np.int64)
            first = np.repeat(np.array(starts[k], np.int64), lengths)
            step = np.arange(len(first)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            values = self.gather(first + step * self.width(p.type), p.type)
            columns[p.name] = Lists(values, lengths) if p.count else values
        self.at = at
        return columns

    def length(self, at: int, of: Property) -> int:
        """Length of the list at a position."""
        inside = at + self.width(of.count) <= self.size
        length = self.table(at, 1, 1, 1, of.count)[0, 0].item() if inside else np.nan
        if not 0 <= length <= self.size or length != int(length):
            raise ValueError(f"a list {of.name} of {length:g} values")
        return int(length)

    def dtype(self, kind: str) -> np.dtype[Any]:
        """Type of the stored values of a type."""
        return np.dtype(self.order + kind if self.order else np.float64)

    def width(self, kind: str) -> int:
        """Bytes of a stored value of a type; 0 for no type."""
        return self.dtype(kind).itemsize if kind else 0

    def table(self, at: int, rows: int, columns: int, stride: int, kind: str) -> NDArray[Any]:
        """(rows, columns) values, with a stride of `stride` bytes between rows."""
        dtype = self.dtype(kind)
        return self._typed(np.ndarray((rows, columns), dtype, self.data, at, (stride, dtype.itemsize)), kind)

    def gather(self, places: NDArray[np.int64], kind: str) -> NDArray[Any]:
        """Values at these positions."""
        dtype = self.dtype(kind)
        raw = np.frombuffer(self.data, np.uint8)
        values = raw[places[:, None] + np.arange(dtype.itemsize)].reshape(-1).view(dtype)
        return self._typed(values, kind)

    def _typed(self, values: NDArray[Any], kind: str) -> NDArray[Any]:
        """Numbers of a text converted to an integer type, unless the text has other numbers."""
        if self.order or kind[0] == "f":
            return values
        with np.errstate(invalid="ignore"):
            integers = values.astype(kind)
        return integers if (integers == values).all() else values
