"""Numbers of OBJ files, compiled (numba): two passes over the bytes, a few bytes of memory a number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

# Kinds of lines.
_OTHER, _VERTEX, _UV, _FACE, _SKIPPED = 0, 1, 2, 3, 4
_MISSING = np.iinfo(np.int32).min  # a corner without texture coordinates


@dataclass(frozen=True)
class Scan:
    """What an OBJ file holds.

    Attributes:
        values: (V, 3 or 6) float64: position, and colour where a vertex line has six numbers or more.
        uv: (T, 2) float32, v upwards.
        corners: (C,) int32 vertex of each face corner, from 0; numbers outside are as in the file.
        corner_uv: (C,) int32 row of `uv`, or a number outside where there is none.
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
def _skip_space(text, at, end):  # type: ignore[no-untyped-def]
    while at < end and text[at] <= 32:
        at += 1
    return at


@njit(cache=True)
def _word_end(text, at, end):  # type: ignore[no-untyped-def]
    """End of the word at `at`; a comment has no words."""
    if at < end and text[at] == 35:
        return at
    while at < end and text[at] > 32:
        at += 1
    return at


@njit(cache=True)
def _kind(text, at, end):  # type: ignore[no-untyped-def]
    """Kind of the line whose first word is at `at`, and the end of that word."""
    stop = _word_end(text, at, end)
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
        at = _skip_space(text, start, end)
        kind, at = _kind(text, at, end)
        if kind in (_VERTEX, _FACE):
            words = 0
            at = _skip_space(text, at, end)
            stop = _word_end(text, at, end)
            while stop > at:
                words += 1
                at = _skip_space(text, stop, end)
                stop = _word_end(text, at, end)
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
        word = _skip_space(text, start, end)
        kind, at = _kind(text, word, end)
        if kind in (_VERTEX, _UV):
            width = values.shape[1] if kind == _VERTEX else 2
            for k in range(width):
                at = _skip_space(text, at, end)
                stop = _word_end(text, at, end)
                value, right = _number(text, at, stop)
                if kind == _UV:
                    uv[texel, k] = value if right else 0.0
                elif right:
                    values[vertex, k] = value
                elif malformed < 0 and (k < 3 or stop > at):
                    malformed = start
                at = stop
            if kind == _VERTEX:
                vertex += 1
            else:
                texel += 1
        elif kind == _FACE:
            at = _skip_space(text, at, end)
            stop = _word_end(text, at, end)
            while stop > at:
                index, k = _integer(text, at, stop)
                if k == at or (k < stop and text[k] != 47):
                    bad_face = start if bad_face < 0 else bad_face
                corners[corner] = index - 1 if index > 0 else (vertex + index if index < 0 else -1)
                if k < stop:
                    index, k = _integer(text, k + 1, stop)
                    if index != 0:
                        corner_uv[corner] = index - 1 if index > 0 else texel + index
                corner += 1
                sizes[face] += 1
                at = _skip_space(text, stop, end)
                stop = _word_end(text, at, end)
            face += 1
        elif kind == _OTHER:
            statements[statement, 0], statements[statement, 1] = word, end
            at_face[statement] = face
            statement += 1
        start = end + 1
    return malformed, bad_face


@njit(cache=True)
def _integer(text, at, end):  # type: ignore[no-untyped-def]
    """Integer at `at` within ±(2^31 - 2), 0 for none, and where it ends."""
    sign = 1
    if at < end and (text[at] == 45 or text[at] == 43):
        sign = -1 if text[at] == 45 else 1
        if at + 1 >= end or not 48 <= text[at + 1] <= 57:
            return 0, at
        at += 1
    value = 0
    while at < end and 48 <= text[at] <= 57:
        value = min(value * 10 + text[at] - 48, 2147483646)
        at += 1
    return sign * value, at


@njit(cache=True)
def _number(text, at, end):  # type: ignore[no-untyped-def]
    """Number in text[at:end], within 1 unit in the last place of float64, and whether all of it is one."""
    if at == end:
        return np.nan, False
    sign = 1.0
    if text[at] == 45 or text[at] == 43:
        sign = -1.0 if text[at] == 45 else 1.0
        at += 1
    mantissa, digits, exponent, any_digit = np.uint64(0), 0, 0, False
    point = False
    while at < end:
        c = text[at]
        if 48 <= c <= 57:
            any_digit = True
            if digits < 19:
                mantissa = mantissa * np.uint64(10) + np.uint64(c - 48)
                digits += 1 if mantissa > 0 else 0
                exponent -= 1 if point else 0
            elif not point:
                exponent += 1
        elif c == 46 and not point:
            point = True
        else:
            break
        at += 1
    if not any_digit:
        return _word_number(text, at, end, sign)
    if at < end and (text[at] | 32) in (101, 100):  # e, or Fortran's d
        power, stop = _integer(text, at + 1, end)
        if stop == at + 1:
            return np.nan, False
        exponent += max(-100000, min(100000, power))
        at = stop
    if at < end:
        # What Visual C++ writes for infinity and NaN: 1.#INF, 1.#QNAN.
        return np.nan, text[at] == 35
    return sign * _scaled(float(mantissa), exponent), True


@njit(cache=True)
def _word_number(text, at, end, sign):  # type: ignore[no-untyped-def]
    """Infinity or NaN by name."""
    if end - at >= 3:
        a, b, c = text[at] | 32, text[at + 1] | 32, text[at + 2] | 32
        if (a, b, c) == (105, 110, 102):
            return sign * np.inf, True
        if (a, b, c) == (110, 97, 110):
            return np.nan, True
    return np.nan, False


@njit(cache=True)
def _scaled(mantissa, exponent):  # type: ignore[no-untyped-def]
    """mantissa · 10^exponent; powers of ten up to 22 are exact."""
    while exponent < -22 and mantissa != 0.0:
        mantissa /= 1e22
        exponent += 22
    while exponent > 22 and mantissa != 0.0 and mantissa < np.inf:
        mantissa *= 1e22
        exponent -= 22
    power = 1.0
    for _ in range(min(22, abs(exponent))):
        power *= 10.0
    return mantissa / power if exponent < 0 else mantissa * power
