"""Diagrams whose values can be read in the browser, and the small images beside them."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict

from occnet_lib.errors import OccnetError
from occnet_lib.storage.packs import Shard
from occnet_lib.storage.packs.image_codec import file_bytes

from .html import Html, figure, image_tag, tag
from .plots import Plot

LOG = logging.getLogger(__name__)
_THUMBNAIL = 56  # pixels along an edge
_WIDE = 1000  # pixels of a diagram that a phone shows at a readable size, to be scrolled


def plotted(plot: Plot, alt: str, caption: str) -> Html:
    """A diagram with the data that plots.js shows under the pointer; an image without JavaScript."""
    data = json.dumps({"panels": [asdict(panel) for panel in plot.panels]}, separators=(",", ":"))
    width, height = plot.size
    image = image_tag(plot.png, alt, width=width, height=height)
    area = tag("div", image, class_="area", data_plot=data, aria_label=alt)
    if width < _WIDE:
        return figure(area, caption, "plot")
    return figure(tag("div", area, class_="scroll"), caption, "plot wide")


def thumbnail(shard: Shard, i: int, view: int, name: str, **attributes: object) -> Html | None:
    """A small image of the i-th shape of a shard; None where it cannot be read."""
    from PIL import Image

    view = min(view, shard.views - 1)
    try:
        image = Image.fromarray(shard.image(i, view)).convert("RGB")
    except (OccnetError, OSError, LookupError) as error:
        LOG.warning("no thumbnail of %s: %s", name, error)
        return None
    image.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.LANCZOS)
    data = file_bytes(image, "JPEG", quality=75, optimize=True)
    return image_tag(data, f"view {view} of {name}", "jpeg", **attributes)
