"""Numbers of OBJ files, compiled (numba): two passes over the bytes, a few bytes of memory per number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .numbers import integer, number, skip_space, word_end

# Kinds of lines.
_OTHER, _VERTEX, _UV, _FACE, _SKIPPED = 0, 1, 2, 3, 4
_MISSING = np.iinfo(np.int32).min  # a corner without texture coordinates


@dataclass(frozen=True)
class Scan:
    """The content of an OBJ file.

    Attributes:
        values: (V, 3 or 6) float64: position, and colour where a vertex line has six numbers or more: NaN without one, and
            infinite where it is not a number.
        uv: (T, 2) float32, v upwards.
        corners: (C,) int32 vertex of each face corner, from 0; invalid ones are out of range.
        corner_uv: (C,) int32 row of `uv`; out of range for corners without coordinates.
        sizes: (F,) int32 number of corners of each face.
        statements: (S, 2) byte range of each other line; (S,) `at`: number of faces before it.
        malformed: position of the first vertex line with a malformed number (which becomes NaN), or -1.
        bad_face: position of the first face with a malformed corner, or -1.
    """

    values: NDArray[np.float64]
    uv: NDArray[np.float32]
    corners: NDArray[np.int32]
    corner_uv: NDArray[np.int32]
    sizes: NDArray[np.int32]
    statements: NDArray[np.int64]
    at: NDArray[np.int64]
    malformed: int
    bad_face: int


def scan(data: bytes) -> Scan:
    """Read all numbers of an OBJ file whose continued lines have been joined."""
    text = np.frombuffer(data, np.uint8)
    counts, width = _count(text)
    vertices, uvs, faces, corners, statements = counts
    values = np.full((vertices, width), np.nan)
    out = (
        values,
        np.zeros((uvs, 2), np.float32),
        np.zeros(corners, np.int32),
        np.full(corners, _MISSING, np.int32),
        np.zeros(faces, np.int32),
        np.zeros((statements, 2), np.int64),
        np.zeros(statements, np.int64),
    )
    malformed, bad_face = _fill(text, *out)
    return Scan(*out, malformed=malformed, bad_face=bad_face)


@njit(cache=True)
def _line_end(text, start):  # type: ignore[no-untyped-def]
    end = start
    while end < len(text) and text[end] != 10 and text[end] != 13:
        end += 1
    return end


@njit(cache=True)
def _kind(text, at, end):  # type: ignore[no-untyped-def]
    """Kind of the line whose first word is at `at`, and the end of that word."""
    stop = word_end(text, at, end)
    length = stop - at
    if length == 0:
        return _SKIPPED, stop
    first = text[at]
    if length == 1:
        if first == 118:  # v
            return _VERTEX, stop
        if first == 102:  # f
            return _FACE, stop
        if first in (115, 103, 111, 108, 112):  # s g o l p
            return _SKIPPED, stop
    if length == 2 and first == 118:
        return (_UV if text[at + 1] == 116 else _SKIPPED), stop  # vt, else vn, vp
    if length == 2 and first == 102 and text[at + 1] == 111:  # fo, an old f
        return _FACE, stop
    return _OTHER, stop


@njit(cache=True)
def _count(text):  # type: ignore[no-untyped-def]
    """Numbers of vertices, texture coordinates, faces, corners and statements; values of a vertex (3 or 6)."""
    vertices, uvs, faces, corners, statements, width = 0, 0, 0, 0, 0, 3
    start = 0
    while start < len(text):
        end = _line_end(text, start)
        at = skip_space(text, start, end)
        kind, at = _kind(text, at, end)
        if kind in (_VERTEX, _FACE):
            words = 0
            at = skip_space(text, at, end)
            stop = word_end(text, at, end)
            while stop > at:
                words += 1
                at = skip_space(text, stop, end)
                stop = word_end(text, at, end)
            if kind == _VERTEX:
                vertices += 1
                if words >= 6:
                    width = 6
            else:
                faces += 1
                corners += words
        elif kind == _UV:
            uvs += 1
        elif kind == _OTHER:
            statements += 1
        start = end + 1
    return (vertices, uvs, faces, corners, statements), width


@njit(cache=True)
def _fill(text, values, uv, corners, corner_uv, sizes, statements, at_face):  # type: ignore[no-untyped-def]
    """Fill the arrays of a `Scan`; return positions of the first malformed vertex and face, or -1."""
    malformed, bad_face = -1, -1
    vertex, texel, face, corner, statement = 0, 0, 0, 0, 0
    start = 0
    while start < len(text):
        end = _line_end(text, start)
        word = skip_space(text, start, end)
        kind, at = _kind(text, word, end)
        if kind in (_VERTEX, _UV):
            width = values.shape[1] if kind == _VERTEX else 2
            for k in range(width):
                at = skip_space(text, at, end)
                stop = word_end(text, at, end)
                value, right = number(text, at, stop)
                if kind == _UV:
                    uv[texel, k] = value if right else 0.0
                elif right and not (k >= 3 and np.isnan(value)):
                    values[vertex, k] = value
                elif k >= 3 and stop > at:
                    values[vertex, k] = np.inf
                elif malformed < 0 and k < 3:
                    malformed = start
                at = stop
            if kind == _VERTEX:
                vertex += 1
            else:
                texel += 1
        elif kind == _FACE:
            at = skip_space(text, at, end)
            stop = word_end(text, at, end)
            while stop > at:
                index, k = integer(text, at, stop)
                if k == at or (k < stop and text[k] != 47):
                    bad_face = start if bad_face < 0 else bad_face
                corners[corner] = index - 1 if index > 0 else (vertex + index if index < 0 else -1)
                if k < stop:
                    index, k = integer(text, k + 1, stop)
                    if index != 0:
                        corner_uv[corner] = index - 1 if index > 0 else texel + index
                corner += 1
                sizes[face] += 1
                at = skip_space(text, stop, end)
                stop = word_end(text, at, end)
            face += 1
        elif kind == _OTHER:
            statements[statement, 0], statements[statement, 1] = word, end
            at_face[statement] = face
            statement += 1
        start = end + 1
    return malformed, bad_face
