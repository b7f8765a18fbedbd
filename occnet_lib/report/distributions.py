"""Distributions of the shapes' geometry and colours by category and split, and the mean shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from occnet_lib.geometry.measures import THIN
from occnet_lib.geometry.symmetry import TOLERANCE

from . import plots
from .html import Html, figure, image_tag, join, paragraph, table, tag, word
from .readings import plotted
from .results import Results, Row, number, percent

_SPLITS = ("train", "test")  # side by side; validation shapes are in the table
_ORDER = ("train", "val", "test")


def _mirror(row: Row) -> float | None:
    """The distance to the better one of the reflections at vertical planes."""
    known = [value for axis in "xz" if (value := number(row, f"mirror_{axis}")) is not None]
    return min(known, default=None)


def _column(name: str) -> Callable[[Row], float | None]:
    return lambda row: number(row, name)


_QUANTITIES: dict[str, Callable[[Row], float | None]] = {
    "Extent along x, longest edge = 1": _column("extent_x"),
    "Extent along y (up), longest edge = 1": _column("extent_y"),
    "Extent along z, longest edge = 1": _column("extent_z"),
    "Occupied fraction of the padded cube": _column("occupied"),
    "Volume, longest edge = 1": _column("volume"),
    "Surface area, longest edge = 1": _column("area"),
    "Thickness of walls, longest edge = 1": _column("thickness"),
    "Components": _column("components"),
    "Distance to the mirror image, longest edge = 1": _mirror,
    "Brightness of the object, first view": _column("brightness"),
    "Saturation of the object, first view": _column("saturation"),
}


def section(results: Results) -> Html:
    """A figure for each quantity, a table of fractions, and the mean shapes.

    Raises:
        MissingResult: the shapes were not measured.
    """
    rows = results.rows("analyse/distributions/shapes.csv", "table of shapes")
    groups: dict[str, dict[str, list[Row]]] = {}
    for row in sorted(rows, key=lambda row: row.get("category") or ""):
        groups.setdefault(row.get("category") or "", {}).setdefault(row.get("split") or "", []).append(row)
    note = paragraph(
        "Boxes: quartiles and median; lines: from the 5th to the 95th percentile of the shapes. Thickness: median over the "
        "surface of the distance along the inward normal to the opposite wall. Mirror image: mean distance of the surface "
        "to its reflection at the better one of the vertical planes x = 0 and z = 0.",
        note=True,
    )
    figures = [made for name, read in _QUANTITIES.items() if (made := _figure(results, groups, name, read))]
    parts = [note, tag("div", *figures, class_="side broad"), _fractions(results, groups)]
    return join([*parts, _mean_shapes(results, groups)])


def _figure(
    results: Results, groups: dict[str, dict[str, list[Row]]], name: str, read: Callable[[Row], float | None]
) -> Html | None:
    values = {
        results.category(category): {
            split: [value for row in by_split.get(split, ()) if (value := read(row)) is not None]
            for split in _SPLITS
        }
        for category, by_split in groups.items()
    }
    if not any(sample for by_split in values.values() for sample in by_split.values()):
        return None
    return plotted(plots.boxes(values, name), f"{name}, by category and split", "")


def _fractions(results: Results, groups: dict[str, dict[str, list[Row]]]) -> Html:
    """What a box does not show: how many shapes are in one piece, thin or symmetric."""
    columns: dict[str, Callable[[Row], float | None]] = {
        "In one piece": _passing("components", lambda value: value == 1),
        "Surface of thin walls": _column("thin"),
    }
    for axis in "xyz":
        columns[f"Symmetric at {axis} = 0"] = _passing(f"mirror_{axis}", lambda value: value < TOLERANCE)
    body = [
        (
            *(word(results.category(category)), word(split), f"{len(by_split[split]):,}"),
            *(_mean(by_split[split], read) for read in columns.values()),
        )
        for category, by_split in groups.items()
        for split in _ORDER
        if split in by_split
    ]
    note = (
        f"Fractions of shapes with one component and with a mean distance to their mirror image below {TOLERANCE}; mean "
        f"fraction of the surface with walls thinner than {THIN:.3f} of the longest edge (a voxel of a 32³ grid)."
    )
    return table(("Category", "Split", "Shapes", *columns), body, note=note)


def _passing(name: str, test: Callable[[float], bool]) -> Callable[[Row], float | None]:
    """1 where a column's value passes a test, 0 where it does not."""

    def read(row: Row) -> float | None:
        value = number(row, name)
        return None if value is None else float(test(value))

    return read


def _mean(rows: Sequence[Row], read: Callable[[Row], float | None]) -> str | None:
    known = [value for row in rows if (value := read(row)) is not None]
    return percent(sum(known) / len(known), 1) if known else None


def _mean_shapes(results: Results, groups: dict[str, dict[str, list[Row]]]) -> Html:
    made = {path.name: path for path in (results.root / "analyse" / "distributions").glob("mean_*.png")}
    figures = []
    for category, by_split in groups.items():
        for split in _SPLITS:
            path = made.get(f"mean_{category}_{split}.png")
            if split in by_split and path:
                said = f"{results.category(category)}, {split}"
                figures.append(figure(image_tag(path.read_bytes(), f"mean shape of {said}"), said))
    if not figures:
        return join([])
    note = paragraph(
        "Mean of the voxel grids: front, right side and top. A pixel is as dark as the highest fraction of shapes that "
        "occupy one voxel along the line of sight.",
        note=True,
    )
    return join([tag("h3", "Mean shapes"), note, tag("div", *figures, class_="side broad")])
