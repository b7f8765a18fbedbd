"""An HTML page of sections: one file with its style and scripts, which needs no other file and no network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .html import Html, paragraph, tag
from .scripts import policy, script, static


def document(
    title: str, header: Sequence[Any], sections: Sequence[tuple[str, str, Html]], footer: str
) -> str:
    """The page as text.

    Args:
        title: of the page.
        header: what is above the sections, after the title.
        sections: (anchor, heading, content).
        footer: last line.
    """
    links = [tag("a", heading, href=f"#{slug}") for slug, heading, _ in sections]
    body = [tag("section", tag("h2", heading), content, id=slug) for slug, heading, content in sections]
    code = script(with_viewer=any("data-camera=" in part for part in body))
    head = [
        tag("meta", charset="utf-8"),
        policy(code),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", Html(static("report.css"))),
    ]
    page = [
        tag("header", tag("div", tag("h1", title), *header)),
        tag("nav", tag("div", *links)),
        tag("main", *body, tag("footer", paragraph(footer))),
        code,
    ]
    return "<!DOCTYPE html>\n" + tag("html", tag("head", *head), tag("body", *page), lang="en") + "\n"
