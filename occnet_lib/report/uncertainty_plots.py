"""Diagrams of the section on uncertainty."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .plots import Plot, Series, colors, finished, grid_of_axes, label_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Bin(NamedTuple):
    """A point of a reliability diagram: mean probability, occupied fraction with its interval."""

    probability: float
    occupied: float
    low: float | None
    high: float | None


class Cell(NamedTuple):
    """A cell of the view sphere: its centre in degrees, an effect, its number of views, whether these are enough to
    compare it, whether the effect is clear, its label."""

    azimuth: float
    elevation: float
    effect: float
    views: int
    compared: bool
    clear: bool
    label: str


def view_spheres(
    panels: Mapping[str, Sequence[Cell]], size: tuple[float, float], color_label: str, more_is_better: bool
) -> Plot:
    """Effects over azimuth and elevation, a map a class, three in a row; numbers are views, frames mark clear effects.

    Args:
        panels: title → cells with views.
        size: of a cell along azimuth and elevation in degrees.
        color_label: what the colours mean.
        more_is_better: which end of the colours is red, the worse one.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.patches import Rectangle

    cells = [cell for own in panels.values() for cell in own]
    largest = max((abs(cell.effect) for cell in cells if cell.compared), default=0.0) or 1.0
    scale = ScalarMappable(Normalize(-largest, largest), "RdBu" if more_is_better else "RdBu_r")
    low = min(cell.elevation for cell in cells) - size[1] / 2
    high = max(cell.elevation for cell in cells) + size[1] / 2
    height = 1.1 + 0.55 * (high - low) / size[1]
    figure, grid = grid_of_axes(len(panels), min(3, len(panels)), 3.7, height)
    series: dict[Axes, list[Series]] = {}
    for axes, (title, own) in zip(grid, panels.items(), strict=True):
        x, y = [cell.azimuth for cell in own], [cell.elevation for cell in own]
        for cell in own:
            corner = (cell.azimuth - size[0] / 2, cell.elevation - size[1] / 2)
            look = {"edgecolor": "#111111", "lw": 1.8, "zorder": 3} if cell.clear else {"edgecolor": "white"}
            color = scale.to_rgba(np.array(cell.effect), alpha=1.0 if cell.compared else 0.2)
            axes.add_patch(Rectangle(corner, *size, facecolor=color, **look))
            place = cell.azimuth, cell.elevation
            axes.text(*place, str(cell.views), ha="center", va="center", fontsize=6, zorder=4)
        series[axes] = [Series(title, "#111111", x, y, [cell.label for cell in own])]
        axes.set(xlim=(-size[0] / 2, 360 - size[0] / 2), ylim=(low, high))
        axes.set_xticks(range(0, 360, 90))
        label_axes(axes, title, "azimuth, °", "elevation, °")
        axes.grid(visible=False)
    bar = figure.colorbar(scale, ax=list(series), shrink=0.9, aspect=14, pad=0.02)
    bar.set_label(color_label, fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return finished(figure, series)


def _beside(
    panels: Mapping[str, Mapping[str, Any]],
    size: tuple[float, float],
    draw: Callable[[Axes, str, Any, str], Series],
    label: Callable[[Axes, str], None],
) -> Plot:
    """Panels of that size beside one another.

    Args:
        panels: title → name → values; a name has one colour in all panels.
        size: width and height of a panel in inches.
        draw: draws the values of a name in its colour.
        label: labels the axes of a title when all is drawn.
    """
    names = list(dict.fromkeys(name for own in panels.values() for name in own))
    palette = dict(zip(names, colors(len(names)), strict=True))
    figure, grid = grid_of_axes(len(panels), len(panels), *size)
    series = {}
    for axes, (title, own) in zip(grid, panels.items(), strict=True):
        series[axes] = [draw(axes, name, values, palette[name]) for name, values in own.items()]
        label(axes, title)
    return finished(figure, series)


def _unit_square(axes: Axes, title: str, x_label: str, y_label: str) -> None:
    """Axes of two quantities in [0, 1] with a legend, and the diagonal on which they are equal."""
    axes.plot([0, 1], [0, 1], color="#888888", lw=0.8, ls="--", zorder=1.9)
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.legend(fontsize=7, frameon=False, loc="upper left")
    label_axes(axes, title, x_label, y_label)


def reliability(panels: Mapping[str, Mapping[str, Sequence[Bin]]]) -> Plot:
    """Reliability diagrams beside one another: title → curve → bins; a calibrated field lies on the diagonal."""

    def draw(axes: Axes, name: str, bins: Sequence[Bin], color: str) -> Series:
        x, y = [b.probability for b in bins], [b.occupied for b in bins]
        axes.plot(x, y, color=color, lw=1.5, marker="o", ms=3, label=name)
        known = [(b.probability, b.low, b.high) for b in bins if b.low is not None and b.high is not None]
        x_known, low, high = ([values[k] for values in known] for k in range(3))
        axes.vlines(x_known, low, high, color, alpha=0.4)
        return Series(name, color, x, y, [f"says {b.probability:.2f}, is {b.occupied:.2f}" for b in bins])

    def label(axes: Axes, title: str) -> None:
        _unit_square(axes, title, "occupancy probability", "occupied fraction")

    return _beside(panels, (4.2, 3.9), draw, label)


def expected_against_true(
    panels: Mapping[str, Mapping[str, Sequence[tuple[float, float, str]]]], half_width: float | None
) -> Plot:
    """Expected and true IoU of images: title → class → (expected, true, what it is of); a band for the interval."""

    def draw(axes: Axes, name: str, points: Sequence[tuple[float, float, str]], color: str) -> Series:
        x, y, labels = [p[0] for p in points], [p[1] for p in points], [p[2] for p in points]
        axes.scatter(x, y, s=9, color=color, alpha=0.6, linewidths=0, label=name)
        return Series(name, color, x, y, labels)

    def label(axes: Axes, title: str) -> None:
        if half_width is not None:
            below, above = [-half_width, 1 - half_width], [half_width, 1 + half_width]
            axes.fill_between([0, 1], below, above, color="#888888", alpha=0.13, lw=0, zorder=0.9)
        _unit_square(axes, title, "expected IoU", "true IoU")

    return _beside(panels, (4.2, 3.9), draw, label)


def over_images(panels: Mapping[str, Mapping[str, Sequence[float]]]) -> Plot:
    """IoU over the number of images, beside one another: title → policy → IoU of 1, 2, … images."""

    def draw(axes: Axes, name: str, values: Sequence[float], color: str) -> Series:
        x, y = [float(k + 1) for k in range(len(values))], list(values)
        axes.plot(x, y, color=color, lw=1.5, marker="o", ms=3, label=name)
        labels = [f"{k:.0f} images: {value:.3f}" for k, value in zip(x, y, strict=True)]
        return Series(name, color, x, y, labels)

    def label(axes: Axes, title: str) -> None:
        axes.set(xticks=range(1, max(map(len, panels[title].values())) + 1))
        axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
        label_axes(axes, title, "images", "IoU")

    return _beside(panels, (6.6, 3.4), draw, label)
