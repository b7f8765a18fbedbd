"""STL files, binary and text."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .parts import FileContents, of_faces

_HEADER = 84  # bytes: a text of 80 and the number of faces
_FACE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_TEXT = re.compile(rb"[ \t\r\n]*solid\b", re.IGNORECASE)
_NAME = re.compile(rb"(?:end)?solid\b[^\r\n]*?(?=\bfacet\s+normal\b|[\r\n]|\Z)", re.IGNORECASE)
_LOOP = re.compile(rb"\bouter\s+loop\b", re.IGNORECASE)
_CORNER = re.compile(rb"\bvertex\s+(\S+\s+\S+\s+\S+)", re.IGNORECASE)


def read_stl(path: Path, data: bytes) -> FileContents:  # noqa: ARG001  # like every reader
    """Read an STL file; each face has its own vertices.

    Colours of binary files are read in the conventions of VisCAM and Materialise Magics.

    Raises:
        ValueError: the number of faces in the header of a binary file does not match its length; a text file ends within
            a face or has a malformed number.
    """
    return _read_text(data) if _is_text(data) else _read_binary(data)


def _is_text(data: bytes) -> bool:
    """Whether a file is text; headers of binary files may begin with `solid`, too."""
    if len(data) >= _HEADER and len(data) == _HEADER + _FACE.itemsize * _announced(data):
        return False
    start = data[:2048]
    return _TEXT.match(start) is not None and b"\0" not in start


def _announced(data: bytes) -> int:
    return int.from_bytes(data[80:84], "little")


def _read_binary(data: bytes) -> FileContents:
    if len(data) < _HEADER:
        raise ValueError(f"{len(data)} bytes are neither text nor a binary file")
    announced, rest = _announced(data), len(data) - _HEADER
    room, over = divmod(rest, _FACE.itemsize)
    count, contents = announced, FileContents()
    if announced > room:
        raise ValueError(f"the header declares {announced} faces, the file has room for {room}")
    if announced == 0 and room and not over:  # by programs that cannot seek back to the header
        count = room
        contents.unread.append(f"the header declares no faces; {room} were read")
    elif rest > count * _FACE.itemsize:
        surplus = rest - count * _FACE.itemsize
        contents.unread.append(f"{surplus} bytes after the last of {count} faces were not read")
    faces = np.frombuffer(data, _FACE, count, _HEADER)
    colors = _face_colors(faces["attribute"], data[:80])
    of_corners = None if colors is None else np.repeat(colors, 3, axis=0)
    contents.parts.append(of_faces(faces["corners"].astype(np.float64), of_corners))
    return contents


def _face_colors(attribute: NDArray[np.uint16], header: bytes) -> NDArray[np.float32] | None:
    """(F, 3) colours of 5 bits each.

    Magics writes `COLOR=` and the colour of the object in the header; faces with bit 15 have that colour, others their own
    with red in the low bits. VisCAM sets bit 15 for faces with a colour, with blue in the low bits.
    """
    bits = np.stack([attribute >> shift & 31 for shift in (0, 5, 10)], axis=1).astype(np.float32)
    bits /= 31
    own = np.asarray(attribute >> 15, bool)
    if (at := header.find(b"COLOR=")) >= 0 and len(header) >= at + 9:
        whole = np.frombuffer(header, np.uint8, 3, at + 6).astype(np.float32) / 255
        bits[own] = whole
        return bits
    return bits[:, ::-1].copy() if len(own) and own.all() else None


def _read_text(data: bytes) -> FileContents:
    from .numbers import numbers_of  # importing numba takes 0.5 s

    text = _NAME.sub(b"", data)  # names may have any words
    corners = _CORNER.findall(text)
    if len(corners) % 3 or len(_LOOP.findall(text)) not in (0, len(corners) // 3):
        raise ValueError("the file ends within a face, or has one without three corners")
    contents = FileContents([of_faces(numbers_of(b" ".join(corners)).reshape(-1, 3, 3), None)])
    if corners and b"endsolid" not in data[-1024:].lower():
        contents.unread.append("the file ends without endsolid: faces may be missing")
    return contents
