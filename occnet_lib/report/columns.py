"""Tables of the page by a description: the head of each column, and what it shows of a row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from .html import Html, table, word
from .results import Row, number, percent, shown

T = TypeVar("T")
Reader = Callable[[Row], Any]


def described(rows: Iterable[T], columns: Mapping[str, Callable[[T], Any]], **options: Any) -> Html:
    """A `html.table` with a line for each row; `options` are its other arguments."""
    return table([*columns], [[read(row) for read in columns.values()] for row in rows], **options)


def words(name: str) -> Reader:
    """A column of words."""
    return lambda row: word(row[name])


def fixed(name: str, digits: int = 3) -> Reader:
    """A column of numbers with that many decimals."""
    return lambda row: shown(number(row, name), digits)


def fraction(name: str, digits: int = 0) -> Reader:
    """A column of fractions in percent."""
    return lambda row: percent(number(row, name), digits)
