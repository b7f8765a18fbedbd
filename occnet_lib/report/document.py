"""An HTML page of sections: one file with its style and scripts, which needs no other file and no network.

Its policy lets no script but these run, and nothing be fetched.
"""

from __future__ import annotations

import base64
import hashlib
import io
import logging
import re
import zipfile
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from .html import Html, paragraph, tag


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


LOG = logging.getLogger(__name__)


def script(with_viewer: bool) -> Html:
    """The page's scripts as one element, with the viewer of meshes if there is something to view."""
    library = three() if with_viewer else None
    parts = [_own("tables.js"), _own("plots.js")]
    if library:
        parts += [library, _own("viewer.js")]
    return tag("script", Html("\n".join(parts)))


def _own(name: str) -> str:
    """A script of `static/` with names of its own."""
    return f'(() => {{\n"use strict";\n{static(name)}}})();'


def static(name: str) -> str:
    """The text of a file of `static/`."""
    return files(__package__).joinpath("static", name).read_text(encoding="utf-8")


def three() -> str | None:
    """three.js with its licence (MIT), from the viewer that trimesh is shipped with; None where that looks different."""
    from trimesh import resources

    try:
        with zipfile.ZipFile(io.BytesIO(resources.get_bytes("templates/viewer.zip"))) as archive:
            template = archive.read("viewer.html.template").decode("utf-8")
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        LOG.warning("the report's meshes cannot be turned: trimesh's viewer cannot be read: %s", error)
        return None
    library = re.search(
        r"/\*\*\s+\* @license\s.*?Three\.js.*?(?=\n\(function\(\)|</script>)", template, re.DOTALL
    )
    if library is None:
        LOG.warning("the report's meshes cannot be turned: trimesh's viewer holds no three.js")
    return library and library.group()


def policy(element: Html) -> Html:
    """A Content-Security-Policy (W3C, level 2): this one script by its hash, images inside the page, no network."""
    content = element.removeprefix("<script>").removesuffix("</script>")
    digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
    rules = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return tag("meta", http_equiv="Content-Security-Policy", content=rules)
