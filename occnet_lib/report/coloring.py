"""Colours of values in the viewer: maps, their scales in the page, and the choice between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .html import Html, join, tag

ERROR_LIMIT = 0.05
"""Signed distance, in longest edges of the ground truth, at which the colours of errors end."""
_ERROR_MAP = "coolwarm"  # Moreland 2009: distinguishable by all kinds of colour vision, grey in the middle
_PROBABILITY_MAP = "cividis"  # Nuñez et al. 2018: the same with and without red-green blindness
_STOPS = 17
MESH_MODES = {"plain": "by model", "error": "by error"}
"""Colours of meshes: words of viewer.js and their names."""


def error_colors() -> list[str]:
    """Colours of errors from -`ERROR_LIMIT` (inside the ground truth) to `ERROR_LIMIT`, evenly spaced."""
    return _sampled(_ERROR_MAP)


def probability_colors() -> list[str]:
    """Colours of probabilities from 0 to 1, evenly spaced."""
    return _sampled(_PROBABILITY_MAP)


def mapped(values: NDArray[np.floating], colors: Sequence[str]) -> NDArray[np.float64]:
    """(N, 3) sRGB of values (N,) in [0, 1], clipped and interpolated between evenly spaced colours."""
    stops = np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in colors]) / 255.0
    place = np.clip(values, 0.0, 1.0) * (len(stops) - 1)
    return np.stack([np.interp(place, np.arange(len(stops)), stops[:, c]) for c in range(3)], axis=1)


def switch(modes: Mapping[str, str], legends: Sequence[Html]) -> Html:
    """The choice of the colours of a section's 3D views, hidden until viewer.js runs.

    Args:
        modes: word of viewer.js → name; the first is the initial one.
        legends: of `scale` and `swatches`, each shown with its mode.
    """
    options = [tag("option", name, value=mode) for mode, name in modes.items()]
    choice = tag("label", "Colour ", tag("select", *options))
    return tag("div", choice, *legends, class_="coloring", hidden="")


def scale(mode: str, colors: Sequence[str], low: str, high: str, middle: str = "") -> Html:
    """A colour scale with its ends; `data-colors` is what viewer.js interpolates."""
    bar = tag("i", "", style=f"background:linear-gradient(to right,{','.join(colors)})")
    ends = [tag("span", low), tag("span", bar, tag("small", middle) if middle else ""), tag("span", high)]
    return tag("div", *ends, class_="legend", data_mode=mode, data_colors=" ".join(colors), hidden="")


def error_scale() -> Html:
    """The scale of errors of meshes."""
    ends = f"inside −{ERROR_LIMIT:g}", f"{ERROR_LIMIT:g} outside"
    return scale("error", error_colors(), *ends, "distance to the ground truth, whose longest edge is 1")


def swatches(mode: str, colors: Mapping[str, Sequence[float]]) -> Html:
    """Named colours; `data-colors` has them in their order."""
    codes = [hexadecimal(color) for color in colors.values()]
    entries = [
        join([tag("i", "", class_="swatch", style=f"background:{code}"), name])
        for name, code in zip(colors, codes, strict=True)
    ]
    spans = [tag("span", entry) for entry in entries]
    return tag("div", *spans, class_="legend", data_mode=mode, data_colors=" ".join(codes), hidden="")


def hexadecimal(color: Sequence[float]) -> str:
    """`#rrggbb` of sRGB in [0, 1]."""
    return "#" + "".join(f"{round(255 * float(channel)):02x}" for channel in color)


def _sampled(name: str) -> list[str]:
    from matplotlib import colormaps

    return [hexadecimal(colormaps[name](stop)[:3]) for stop in np.linspace(0.0, 1.0, _STOPS)]
