"""The page's JavaScript, and the policy that lets nothing else run and nothing be fetched."""

from __future__ import annotations

import base64
import hashlib
import io
import logging
import re
import zipfile
from importlib.resources import files

from .html import Html, tag

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
