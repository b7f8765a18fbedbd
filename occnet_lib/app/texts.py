"""HTML of the page; every text from outside is escaped."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from occnet_lib.storage.packs.image_codec import file_bytes

from .meshes import Outcome
from .photos import Photo

Kind = Literal["ok", "warning", "error"]


def lines(items: Iterable[tuple[Kind, str]]) -> str:
    """A list of one-line messages."""
    rows = [f'<li class="{kind}">{escape(text)}</li>' for kind, text in items]
    return f'<ul class="occnet-lines">{"".join(rows)}</ul>' if rows else ""


def error(text: str) -> str:
    """One message of an error."""
    return lines([("error", text)])


def notes(photos: Sequence[Photo]) -> str:
    """A line for every photo, and the way out where one has no mask."""
    items: list[tuple[Kind, str]] = []
    for photo in photos:
        if photo.cutout is None:
            items.append(("error", photo.note))
        else:
            items.append(("warning" if photo.cutout.touches_border else "ok", photo.note))
    if any(photo.cutout is None and photo.can_be_corrected for photo in photos):
        items.append(
            ("warning", "Or draw around the object with the green brush, and around its holes with red.")
        )
    return lines(items)


def times(seconds: Mapping[str, float]) -> str:
    """A table of CPU seconds by step."""
    rows = "".join(f"<tr><th>{escape(step)}</th><td>{value:.2f}</td></tr>" for step, value in seconds.items())
    total = f"<tr><th>sum</th><td>{sum(seconds.values()):.2f}</td></tr>"
    return f'<table class="occnet-times"><caption>CPU seconds</caption>{rows}{total}</table>'


def images(title: str, pixels: Sequence[NDArray[np.uint8]], names: Sequence[str]) -> str:
    """Images (H, W, 3) uint8 side by side."""
    parts = []
    for image, name in zip(pixels, names, strict=True):
        data = base64.b64encode(file_bytes(image)).decode()
        parts.append(f'<img alt="{escape(name)}" title="{escape(name)}" src="data:image/png;base64,{data}">')
    return f'<figure class="occnet-seen">{"".join(parts)}<figcaption>{escape(title)}</figcaption></figure>'


def command(text: str, is_configured: bool) -> str:
    """The command that makes the same mesh."""
    if not text:
        return ""
    more = " (and the --config of this page)" if is_configured else ""
    summary = f"<summary>The same on the command line{more}</summary>"
    return f'<details class="occnet-command">{summary}<code>{escape(text)}</code></details>'


def outcome(result: Outcome) -> str:
    """What was made, and the warnings."""
    made = f"{result.files['glb'].name}: {result.faces} faces at threshold {result.threshold:.3g}"
    notes: list[tuple[Kind, str]] = [("ok", text) for text in (made, *result.notes)]
    return lines([*notes, *(("warning", text) for text in result.warnings)])


def details(result: Outcome, names: Sequence[str]) -> str:
    """Times, what the network is given, and the command that makes the same mesh."""
    seen = images("What the network is given", result.seen, names)
    return times(result.seconds) + seen + command(result.command, result.is_configured)
