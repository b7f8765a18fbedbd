"""Shapes that occur twice, a leak between splits among them, and the score over the distance to the training shapes."""

from __future__ import annotations

from collections.abc import Sequence

from . import plots
from .html import Html, cell, join, paragraph, table, tag
from .readings import plotted
from .results import Results, Row, is_baseline, label, number, shown

_MOST_SHOWN = 100


def section(results: Results) -> Html:
    """Pairs of near-duplicates, and the IoU of test shapes over their distance to the nearest training shape.

    Raises:
        MissingResult: shapes were not compared.
    """
    results.path("analyse/duplicates/duplicates.csv", "comparison of shapes")
    pairs = results.rows_if_any("analyse/duplicates/duplicates.csv")
    leaks = [row for row in pairs if row.get("split") != row.get("other_split")]
    parts = []
    if leaks:
        text = (
            f"{len(leaks):,} pairs of near-duplicates are in different splits: "
            "scores of these test shapes are not those of new shapes."
        )
        parts.append(paragraph(tag("b", "Warning: "), text, class_="warn"))
    if pairs:
        parts.append(_table([*leaks, *(row for row in pairs if row not in leaks)]))
    else:
        parts.append(paragraph("No shape is a near-duplicate of another one."))
    note = (
        "Near-duplicates: mean distance of the surfaces below 0.002 of the longest edge, as they are (copy: also scaled, as "
        "all shapes fill the unit cube), or after a rotation or a reflection."
    )
    return join([*parts, paragraph(note, note=True), _scores(results)])


def _table(rows: Sequence[Row]) -> Html:
    body = [
        (
            cell(f"{row['category']}/{row['id']} ({row['split']})", left=True),
            cell(f"{row['other_category']}/{row['other_id']} ({row['other_split']})", left=True),
            cell(row["kind"], left=True),
            shown(number(row, "distance"), 5),
        )
        for row in rows[:_MOST_SHOWN]
    ]
    made = table(("Shape", "Other shape", "Kind", "Distance"), body)
    if len(rows) <= _MOST_SHOWN:
        return made
    rest = f"… and {len(rows) - _MOST_SHOWN:,} more in analyse/duplicates/duplicates.csv."
    return join([made, paragraph(rest, note=True)])


def _scores(results: Results) -> Html:
    """The plot that distinguishes recognition from reconstruction."""
    distances = {
        f"{row['category']}/{row['id']}": value
        for row in results.rows_if_any("analyse/duplicates/nearest.csv")
        if (value := number(row, "distance")) is not None
    }
    groups: dict[str, list[plots.Point]] = {}
    for (model, name), row in results.shape_rows.items():
        iou = number(row, "iou")
        if name in distances and iou is not None and not is_baseline(model):
            said = f"{name}: IoU {iou:.3f} at distance {distances[name]:.4f}"
            groups.setdefault(label(model), []).append(plots.Point(distances[name], iou, said, 0))
    if not groups:
        return join([])
    plot = plots.points(groups, "distance to the nearest training shape, longest edge = 1", "IoU")
    caption = (
        "IoU of test shapes over the mean distance of their surface to that of the nearest training shape. A network that "
        "only recognises training shapes falls with the distance."
    )
    return join(
        [
            tag("h3", "Recognition or reconstruction"),
            plotted(plot, "IoU over distance to training shapes", caption),
        ]
    )
