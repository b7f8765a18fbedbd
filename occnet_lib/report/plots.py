"""The page's diagrams as PNG bytes (matplotlib without pyplot), with their values for the browser."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours (2008), distinguishable by all kinds of colour vision; more classes walk around the hues.
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f5fb0", "#8c6d31")
_MOST_POINTS = 1500  # of a curve: more are not seen
_DPI = 150
_MOST_READ = 300  # of a curve: that many values can be read
Curve = tuple[Sequence[float], Sequence[float]]


class Point(NamedTuple):
    """A point of a scatter plot: place, words, and the place of its image among the page's photos, if it has one."""

    x: float
    y: float
    label: str
    photo: int | None = None


@dataclass(frozen=True)
class Series:
    """Values of one colour; `labels` in place of their numbers and `photos`, if any, are as many."""

    name: str
    color: str
    x: list[float]
    y: list[float]
    labels: list[str] = field(default_factory=list)
    photos: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Panel:
    """Linear axes: `box` is left, top, width, height in % of the image, `limits` are of x and of y."""

    title: str
    x_label: str
    box: tuple[float, float, float, float]
    limits: tuple[float, float, float, float]
    series: list[Series]


@dataclass(frozen=True)
class Plot:
    """An image of `size` (width, height) in pixels, and what it shows."""

    png: bytes
    size: tuple[int, int]
    panels: list[Panel]


def colors(count: int) -> list[str]:
    """That many distinguishable colours."""
    if count <= len(_COLORS):
        return list(_COLORS[:count])
    from matplotlib.colors import hsv_to_rgb, to_hex

    return [
        to_hex(tuple(hsv_to_rgb((i / count, 0.75, 0.85 - 0.25 * (i % 2))).tolist())) for i in range(count)
    ]


def curves(panels: Mapping[str, Mapping[str, Mapping[str, Curve]]], x_label: str) -> Plot:
    """Curves in panels, two in a row; below all of them a model's colour.

    Args:
        panels: title → model → kind ("validation" bold with dots, others thin) → (x, y).
        x_label: below every panel.
    """
    from matplotlib.lines import Line2D

    models = list(dict.fromkeys(model for panel in panels.values() for model in panel))
    palette = dict(zip(models, colors(len(models)), strict=True))
    columns = min(2, len(panels))
    figure, grid = grid_of_axes(len(panels), columns, 4.7, 2.9)
    series: dict[Axes, list[Series]] = {}
    for axes, (title, panel) in zip(grid, panels.items(), strict=True):
        for model, lines in panel.items():
            for kind, (x, y) in lines.items():
                step = -(-len(x) // _MOST_POINTS)
                look = (
                    {"lw": 1.8, "marker": "o", "ms": 3} if kind == "validation" else {"lw": 1, "alpha": 0.5}
                )
                axes.plot(x[::step], y[::step], color=palette[model], **look)
                thin = -(-len(x) // _MOST_READ)
                read = Series(f"{model}, {kind}", palette[model], list(x[::thin]), list(y[::thin]))
                series.setdefault(axes, []).append(read)
        values = {value for lines in panel.values() for _, y in lines.values() for value in y}
        if len(values) == 1:  # as a constant rate: matplotlib would magnify nothing
            axes.set_ylim(*sorted([0.0, 1.25 * values.pop() or 1.0]))
        axes.ticklabel_format(axis="y", scilimits=(-3, 5))
        label_axes(axes, title, x_label)
    handles = [Line2D([], [], color=palette[model], lw=1.8, label=model) for model in models]
    longest = max(map(len, models), default=0)
    fitting = max(1, 65 * columns // (longest + 8))  # characters of this size beside one another
    figure.legend(handles=handles, loc="outside lower center", ncols=fitting, fontsize=8, frameon=False)
    return finished(figure, series)


def intervals(values: Sequence[tuple[str, float, float | None, float | None]], x_label: str) -> Plot:
    """Values with their 95 % intervals, one line a model: (name, value, low, high)."""
    figure, axes = _axes(5.2, 0.75 + 0.36 * len(values))
    series = []
    for y, ((name, value, low, high), color) in enumerate(zip(values, colors(len(values)), strict=True)):
        if low is not None and high is not None:
            axes.plot([low, high], [y, y], color=color, lw=3, alpha=0.45, solid_capstyle="round")
        axes.plot([value], [y], "o", color=color, ms=7)
        axes.annotate(f"{value:.3f}", (value, y), (0, 7), textcoords="offset points", ha="center", fontsize=7)
        ends = "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
        series.append(Series(name, color, [value], [y], [f"{value:.3f}{ends}"]))
    axes.set_yticks(range(len(values)), [name for name, *_ in values], fontsize=8)
    axes.set_ylim(len(values) - 0.5, -0.7)
    label_axes(axes, "", x_label)
    return finished(figure, {axes: series})


def distributions(values: Mapping[str, Sequence[float]], x_label: str) -> Plot:
    """Fraction of shapes that reach at least x, one step curve a model."""
    figure, axes = _axes(5.2, 3.0)
    series = []
    for (name, sample), color in zip(values.items(), colors(len(values)), strict=True):
        x = np.sort(sample)
        axes.step(np.r_[0, x], np.r_[1, 1 - np.arange(len(x)) / len(x)], color=color, label=name, lw=1.6)
        reaching = 1 - np.arange(len(x)) / max(len(x), 1)
        labels = [f"{100 * y:.0f} % of shapes reach {at:.3f}" for at, y in zip(x, reaching, strict=True)]
        thin = -(-len(x) // _MOST_READ) or 1
        series.append(Series(name, color, x.tolist()[::thin], reaching.tolist()[::thin], labels[::thin]))
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(fontsize=7, frameon=False)
    label_axes(axes, "", x_label, "fraction of shapes")
    return finished(figure, {axes: series})


def boxes(values: Mapping[str, Mapping[str, Sequence[float]]], x_label: str) -> Plot:
    """Box plots, one line a group and kind: group → kind → sample, which may be empty.

    The box spans the quartiles, the line the 5th to the 95th percentile; the median is marked.
    """
    kinds = list(dict.fromkeys(kind for by_kind in values.values() for kind in by_kind))
    figure, axes = _axes(5.2, 0.9 + 0.22 * len(kinds) * len(values))
    step = 0.8 / len(kinds)
    series = []
    for k, (kind, color) in enumerate(zip(kinds, colors(len(kinds)), strict=True)):
        read = Series(kind, color, [], [])
        for i, (name, by_kind) in enumerate(values.items()):
            if not len(sample := by_kind.get(kind, ())):
                continue
            y = i + (k - (len(kinds) - 1) / 2) * step
            low, first, median, third, high = np.quantile(sample, (0.05, 0.25, 0.5, 0.75, 0.95)).tolist()
            axes.plot([low, high], [y, y], color=color, lw=1)
            axes.barh(y, third - first, 0.8 * step, first, color=color, alpha=0.5, linewidth=0)
            axes.plot([median] * 2, [y - 0.4 * step, y + 0.4 * step], color=color, lw=2)
            read.x.append(median)
            read.y.append(y)
            read.labels.append(
                f"{name}: median {median:.3g}, quartiles {first:.3g} to {third:.3g}, {len(sample):,} shapes"
            )
        axes.plot([], [], color=color, lw=5, alpha=0.5, label=kind)
        series.append(read)
    axes.set_yticks(range(len(values)), list(values), fontsize=8)
    axes.set_ylim(len(values) - 0.5, -0.5)
    figure.legend(fontsize=7, frameon=False, loc="outside upper right", ncols=len(kinds))
    label_axes(axes, "", x_label)
    return finished(figure, {axes: series})


def scatter(groups: Mapping[str, Sequence[Point]], title: str) -> Plot:
    """Points in the plane by group, without axes as distances along them mean nothing."""
    figure, axes, series = _dots(groups, 5.6, 4.4)
    label_axes(axes, title, "")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return finished(figure, {axes: series})


def points(groups: Mapping[str, Sequence[Point]], x_label: str, y_label: str) -> Plot:
    """Points by group on linear axes."""
    figure, axes, series = _dots(groups, 6.2, 3.6)
    axes.legend(fontsize=7, frameon=False)
    label_axes(axes, "", x_label, y_label)
    return finished(figure, {axes: series})


def _dots(
    groups: Mapping[str, Sequence[Point]], width: float, height: float
) -> tuple[Figure, Axes, list[Series]]:
    """A figure of that size in inches with points in a colour per group."""
    (figure, axes), series = _axes(width, height), []
    for (name, sample), color in zip(groups.items(), colors(len(groups)), strict=True):
        x, y = [point.x for point in sample], [point.y for point in sample]
        photos = [point.photo for point in sample if point.photo is not None]
        series.append(Series(name, color, x, y, [point.label for point in sample], photos))
        axes.scatter(x, y, s=16, color=color, label=name, alpha=0.75, linewidths=0)
    return figure, axes, series


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    figure = _figure(width, height)
    return figure, figure.subplots()


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def grid_of_axes(count: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure with that many axes in rows, each of that size in inches."""
    rows = -(-count // columns)
    figure = _figure(width * columns, height * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[count:]:
        axes.remove()
    return figure, list(grid[:count])


def label_axes(axes: Axes, title: str, x_label: str, y_label: str = "") -> None:
    """Title, labels and look of linear axes."""
    axes.set_title(title, fontsize=9, loc="left")
    axes.set_xlabel(x_label, fontsize=8)
    axes.set_ylabel(y_label, fontsize=8)
    axes.tick_params(labelsize=7, length=2)
    axes.grid(alpha=0.25, lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#999999")


def finished(figure: Figure, series: Mapping[Axes, list[Series]]) -> Plot:
    """The plot of a figure whose axes show these series."""
    png = _png(figure)  # places the axes
    panels = []
    for axes, values in series.items():
        place = axes.get_position()
        box = (place.x0, 1 - place.y1, place.width, place.height)
        left, top, width, height = (round(100 * float(value), 3) for value in box)
        x0, x1, y0, y1 = map(float, (*axes.get_xlim(), *axes.get_ylim()))
        panel = (axes.get_title(loc="left"), axes.get_xlabel(), (left, top, width, height), (x0, x1, y0, y1))
        panels.append(Panel(*panel, values))
    width, height = (round(_DPI * float(inches)) for inches in figure.get_size_inches())
    return Plot(png, (width, height), panels)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()
