"""The page's diagrams as PNG bytes (matplotlib without pyplot)."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours (2008), distinguishable by all kinds of colour vision; more classes walk around the hues.
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f5fb0", "#8c6d31")
_MOST_POINTS = 1500  # of a curve: more are not seen
Curve = tuple[Sequence[float], Sequence[float]]


def colors(count: int) -> list[str]:
    """That many distinguishable colours."""
    if count <= len(_COLORS):
        return list(_COLORS[:count])
    from matplotlib.colors import hsv_to_rgb, to_hex

    return [
        to_hex(tuple(hsv_to_rgb((i / count, 0.75, 0.85 - 0.25 * (i % 2))).tolist())) for i in range(count)
    ]


def curves(panels: Mapping[str, Mapping[str, Mapping[str, Curve]]], x_label: str) -> bytes:
    """Curves in panels, two in a row; below all of them a model's colour.

    Args:
        panels: title → model → kind ("validation" bold with dots, others thin) → (x, y).
        x_label: below every panel.
    """
    from matplotlib.lines import Line2D

    models = list(dict.fromkeys(model for panel in panels.values() for model in panel))
    palette = dict(zip(models, colors(len(models)), strict=True))
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = _figure(4.7 * columns, 2.9 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(panels) :]:
        axes.remove()
    for axes, (title, panel) in zip(grid, panels.items(), strict=False):
        for model, lines in panel.items():
            for kind, (x, y) in lines.items():
                step = -(-len(x) // _MOST_POINTS)
                look = (
                    {"lw": 1, "alpha": 0.5} if kind != "validation" else {"lw": 1.8, "marker": "o", "ms": 3}
                )
                axes.plot(x[::step], y[::step], color=palette[model], **look)
        values = {value for lines in panel.values() for _, y in lines.values() for value in y}
        if len(values) == 1:  # as a constant rate: matplotlib would magnify nothing
            axes.set_ylim(sorted([0.0, 1.25 * values.pop() or 1.0]))
        axes.ticklabel_format(axis="y", scilimits=(-3, 5))
        _label_axes(axes, title, x_label)
    handles = [Line2D([], [], color=palette[model], lw=1.8, label=model) for model in models]
    longest = max(map(len, models), default=0)
    fitting = max(1, 65 * columns // (longest + 8))  # characters of this size beside one another
    figure.legend(handles=handles, loc="outside lower center", ncols=fitting, fontsize=8, frameon=False)
    return _png(figure)


def intervals(values: Sequence[tuple[str, float, float | None, float | None]], x_label: str) -> bytes:
    """Values with their 95 % intervals, one line a model: (name, value, low, high)."""
    figure = _figure(5.2, 0.75 + 0.36 * len(values))
    axes = figure.subplots()
    for y, ((_, value, low, high), color) in enumerate(zip(values, colors(len(values)), strict=True)):
        if low is not None and high is not None:
            axes.plot([low, high], [y, y], color=color, lw=3, alpha=0.45, solid_capstyle="round")
        axes.plot([value], [y], "o", color=color, ms=7)
        axes.annotate(f"{value:.3f}", (value, y), (0, 7), textcoords="offset points", ha="center", fontsize=7)
    axes.set_yticks(range(len(values)), [name for name, *_ in values], fontsize=8)
    axes.set_ylim(len(values) - 0.5, -0.7)
    _label_axes(axes, "", x_label)
    return _png(figure)


def distributions(values: Mapping[str, Sequence[float]], x_label: str) -> bytes:
    """Fraction of shapes that reach at least x, one step curve a model."""
    figure = _figure(5.2, 3.0)
    axes = figure.subplots()
    for (name, sample), color in zip(values.items(), colors(len(values)), strict=True):
        x = np.sort(sample)
        axes.step(np.r_[0, x], np.r_[1, 1 - np.arange(len(x)) / len(x)], color=color, label=name, lw=1.6)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="fraction of shapes")
    axes.yaxis.label.set_fontsize(8)
    axes.legend(fontsize=7, frameon=False)
    _label_axes(axes, "", x_label)
    return _png(figure)


def scatter(groups: Mapping[str, ArrayLike], title: str) -> bytes:
    """Points in the plane, (N, 2) a group, without axes as distances along them mean nothing."""
    figure = _figure(5.6, 4.4)
    axes = figure.subplots()
    for (name, points), color in zip(groups.items(), colors(len(groups)), strict=True):
        xy = np.asarray(points, float).reshape(-1, 2)
        axes.scatter(xy[:, 0], xy[:, 1], s=16, color=color, label=name, alpha=0.75, linewidths=0)
    _label_axes(axes, title, "")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return _png(figure)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _label_axes(axes: Axes, title: str, x_label: str) -> None:
    axes.set_title(title, fontsize=9, loc="left")
    axes.set_xlabel(x_label, fontsize=8)
    axes.tick_params(labelsize=7, length=2)
    axes.grid(alpha=0.25, lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#999999")


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()
