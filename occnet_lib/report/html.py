"""HTML from plain values: everything that is not `Html` already is escaped, so no name can break the page."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from typing import Any

_LONG = 40  # characters of a text that gets a broad column
_VOID = frozenset({"br", "img", "input", "meta"})


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(value: Any) -> Html:
    """A value as HTML: escaped unless it is `Html`; None becomes a dash."""
    if isinstance(value, Html):
        return value
    return Html("–" if value is None else html.escape(str(value)))


def join(parts: Iterable[Any], between: str = "") -> Html:
    """Values, concatenated."""
    return Html(between.join(text(part) for part in parts))


def tag(element: str, /, *children: Any, **attributes: Any) -> Html:
    """An element; `class_` stands for the attribute `class`, `data_x` for `data-x`, None leaves one out."""
    words = [
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    ]
    opening = f"<{element}{''.join(words)}>"
    return Html(opening if element in _VOID else f"{opening}{join(children)}</{element}>")


def paragraph(*children: Any, note: bool = False, class_: str | None = None) -> Html:
    """A paragraph; a note is set smaller."""
    return tag("p", *children, class_="note" if note else class_)


def table(
    columns: Sequence[Any],
    rows: Iterable[Sequence[Any]],
    *,
    last: Sequence[Any] = (),
    caption: str = "",
    title: Any = "",
    note: Any = "",
    most: tuple[int, str] | None = None,
    sortable: bool = True,
) -> Html:
    """A table whose columns sort by a click or a key on their heads.

    Args:
        columns: heads; none for a table without.
        rows: cells, either `cell`s or plain values.
        last: a row of means or sums that stays below when the others are sorted.
        caption: of the table itself.
        title: heading above the table.
        note: small print below it.
        most: number of rows that are shown at most, and the file that has all of them.
        sortable: whether its columns sort.
    """
    cells = [[*map(_as_cell, row)] for row in rows]
    words = [value.startswith('<td class="word') for value in cells[0]] if cells else [False] * len(columns)
    shown, file = most or (len(cells), "")
    heads = [
        tag("th", column, scope="col", class_="word" if word else None)
        for column, word in zip(columns, words, strict=False)
    ]
    body = [tag("tr", *row) for row in cells[:shown]]
    if last:
        body.append(tag("tr", *map(_as_cell, last), class_="mean"))
    parts = [
        tag("caption", caption) if caption else "",
        tag("thead", tag("tr", *heads)) if columns else "",
        tag("tbody", *body),
    ]
    made = tag("div", tag("table", *parts, class_="sortable" if sortable else None), class_="scroll")
    more = f"… and {len(cells) - shown:,} more in {file}." if len(cells) > shown else ""
    notes = [paragraph(text, note=True) for text in (more, note) if text]
    return join([tag("h3", title) if title else "", made, *notes])


def cell(value: Any, *, shade: float | None = None, strong: bool = False, left: bool = False) -> Html:
    """A table cell: shaded by `shade` in [0, 1], bold when it is the best, to the left for words."""
    is_long = left and not isinstance(value, Html) and len(str(value)) > _LONG
    named = ("word", left), ("long", is_long), ("best", strong), ("heat", shade is not None)
    classes = " ".join(word for word, on in named if on)
    style = None if shade is None else f"--shade:{100 * min(max(shade, 0.0), 1.0):.0f}%"
    return tag("td", value, class_=classes or None, style=style)


def word(value: Any) -> Html:
    """A table cell of words."""
    return cell(value, left=True)


def _as_cell(value: Any) -> Html:
    return value if isinstance(value, Html) and value.startswith("<td") else tag("td", value)


def image_tag(data: bytes, alt: str, kind: str = "png", **attributes: Any) -> Html:
    """An image inside the page."""
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return tag("img", src=source, alt=alt, loading="lazy", **attributes)


def figure(content: Any, caption: Any, class_: str | None = None) -> Html:
    """A figure with a caption below."""
    return tag("figure", content, tag("figcaption", caption), class_=class_)
