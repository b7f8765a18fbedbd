"""The page's JavaScript, and the policy that lets nothing else run and nothing be fetched."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from .html import Html, tag

_STATIC = "static"


def script(*names: str) -> Html:
    """Files of `static/`, one after the other, as one element."""
    folder = files(__package__).joinpath(_STATIC)
    return tag("script", Html("\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names)))


def policy(element: Html) -> Html:
    """A Content-Security-Policy (W3C, level 2): this one script by its hash, images inside the page, no network."""
    content = element.removeprefix("<script>").removesuffix("</script>")
    digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
    rules = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return tag("meta", http_equiv="Content-Security-Policy", content=rules)
