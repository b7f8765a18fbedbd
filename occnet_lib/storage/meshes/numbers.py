"""Numbers in text, compiled (numba)."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


def numbers_of(text: bytes) -> NDArray[np.float64]:
    """All numbers of a text that consists of numbers and white space.

    Raises:
        ValueError: a word that is not a number.
    """
    data = np.frombuffer(text, np.uint8)
    values = np.zeros(_count_words(data))
    wrong = _fill(data, values)
    if wrong >= 0:
        word = text[wrong : wrong + 40].split(maxsplit=1)[0]
        raise ValueError(f"not a number: {word.decode(errors='replace')}")
    return values


@njit(cache=True)
def _count_words(text):  # type: ignore[no-untyped-def]
    count, inside = 0, False
    for at in range(len(text)):
        space = text[at] <= 32
        count += 1 if inside and space else 0
        inside = not space
    return count + (1 if inside else 0)


@njit(cache=True)
def _fill(text, values):  # type: ignore[no-untyped-def]
    """Fill `values`; return the position of the first malformed number, or -1."""
    at, end = skip_space(text, 0, len(text)), len(text)
    for k in range(len(values)):
        stop = at
        while stop < end and text[stop] > 32:
            stop += 1
        values[k], right = number(text, at, stop)
        if not right:
            return at
        at = skip_space(text, stop, end)
    return -1


@njit(cache=True)
def skip_space(text, at, end):  # type: ignore[no-untyped-def]
    """The first position from `at` on that is not white space."""
    while at < end and text[at] <= 32:
        at += 1
    return at


@njit(cache=True)
def word_end(text, at, end):  # type: ignore[no-untyped-def]
    """End of the word at `at`; a comment has no words."""
    if at < end and text[at] == 35:
        return at
    while at < end and text[at] > 32:
        at += 1
    return at


@njit(cache=True)
def integer(text, at, end):  # type: ignore[no-untyped-def]
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
def number(text, at, end):  # type: ignore[no-untyped-def]
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
        return _named_number(text, at, end, sign)
    if at < end and (text[at] | 32) in (101, 100):  # e, or Fortran's d
        power, stop = integer(text, at + 1, end)
        if stop == at + 1:
            return np.nan, False
        exponent += max(-100000, min(100000, power))
        at = stop
    if at < end:
        # What Visual C++ writes for infinity and NaN: 1.#INF, 1.#QNAN.
        return np.nan, text[at] == 35
    return sign * _scaled(float(mantissa), exponent), True


@njit(cache=True)
def _named_number(text, at, end, sign):  # type: ignore[no-untyped-def]
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
