"""OFF files. Own code: other loaders do not read headers without a line break, free line breaks and colours."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import polygons
from .parts import FileContents, Part, finite_colors, of_faces, report_skipped
from .side_files import to_utf8

_HEADER = re.compile(r"(ST)?(C)?(N)?OFF(\d*)", re.IGNORECASE)

Words = list[list[str]]


def read_off(path: Path, data: bytes) -> FileContents:  # noqa: ARG001  # like every reader
    """Read an ASCII OFF file.

    Colours of vertices (COFF) or faces are read if every vertex and face has its own line. Otherwise the file is read
    as a sequence of numbers, without colours.

    Returns:
        one part; with colours of faces, each face has its own vertices.

    Raises:
        ValueError, IndexError: not an OFF file, fewer numbers than declared, or a corner that is not a vertex.
    """
    text = to_utf8(data).decode(errors="replace")
    lines = [words for line in text.splitlines() if (words := line.partition("#")[0].split())]
    header = _HEADER.fullmatch(lines[0][0]) if lines else None
    if header is None:
        raise ValueError("it does not begin with OFF")
    # "OFF8 12 0": some files, ModelNet's among them, have no line break after the word.
    lines[0] = ([header[4]] if header[4] else []) + lines[0][1:]
    lines = lines if lines[0] else lines[1:]
    if lines[0][:1] == ["BINARY"]:
        raise ValueError("binary OFF is not supported; save it as ASCII")
    texture, colored, normal, _ = header.groups()
    width = 3 + (3 if normal else 0) + (4 if colored else 0) + (2 if texture else 0)
    words = list(itertools.chain.from_iterable(lines))
    vertex_count, face_count = int(words[0]), int(words[1])
    if vertex_count < 0 or face_count < 0:
        raise ValueError(f"{vertex_count} vertices and {face_count} faces are declared")
    body, unread = lines[1:], []
    if _is_by_lines(lines, vertex_count, face_count):
        rows, faces = body[:vertex_count], body[vertex_count : vertex_count + face_count]
        if surplus := len(body) - vertex_count - face_count:
            unread.append(f"{surplus} lines after the last of {face_count} faces were not read")
    else:
        rows, faces = _by_numbers(words[3:], vertex_count, face_count, width)
    vertices = np.array([row[:3] for row in rows], np.float64).reshape(-1, 3)
    sizes = np.array([int(face[0]) for face in faces], np.int64)
    if sizes.size and sizes.min() < 0:
        raise ValueError("a face with a negative number of corners")
    report_skipped(sizes, unread)
    names = itertools.chain.from_iterable(face[1 : 1 + int(face[0])] for face in faces)
    corners = np.array([int(name) for name in names], np.int64)
    positions, owners = polygons.divide(vertices, corners, sizes)
    triangles = corners[positions]
    at = 3 + (3 if normal else 0)
    of_vertices = _colors([row[at : at + 3] for row in rows], unread) if colored else None
    of_face = _colors([face[1 + int(face[0]) :][:3] for face in faces], unread)
    if of_vertices is None and of_face is not None:
        colors = np.repeat(of_face[owners], 3, axis=0)
        return FileContents([of_faces(vertices[triangles], colors)], unread)
    return FileContents([Part(vertices, triangles, of_vertices)], unread)


def _is_by_lines(lines: Words, vertex_count: int, face_count: int) -> bool:
    """Whether counts, vertices and faces have one line each."""
    if len(lines[0]) not in (2, 3) or len(lines) < 1 + vertex_count + face_count:
        return False
    faces = lines[1 + vertex_count : 1 + vertex_count + face_count]
    return all(len(row) >= 3 for row in lines[1 : 1 + vertex_count]) and all(
        face[0].isdigit() and len(face) > int(face[0]) for face in faces
    )


def _by_numbers(words: list[str], vertex_count: int, face_count: int, width: int) -> tuple[Words, Words]:
    """Vertices and faces of a sequence of numbers."""
    if len(words) < width * vertex_count + face_count:
        raise ValueError(f"{vertex_count} vertices and {face_count} faces are declared, but missing")
    rows = [words[width * i : width * (i + 1)] for i in range(vertex_count)]
    faces: Words = []
    at = width * vertex_count
    for _ in range(face_count):
        size = 1 + int(words[at]) if at < len(words) else 0
        if not size or at + size > len(words):
            raise ValueError("the last faces are truncated")
        faces.append(words[at : at + size])
        at += size
    return rows, faces


def _colors(words: Words, unread: list[str]) -> NDArray[np.float32] | None:
    """(N, 3) colours from words, bytes or fractions of 1; None unless all rows have three."""
    if not words or any(len(row) != 3 for row in words):
        return None
    values = np.array(words, np.float64)
    fractions = any("." in word for row in words for word in row)
    return finite_colors(values / (1.0 if fractions else 255.0), unread).astype(np.float32)
